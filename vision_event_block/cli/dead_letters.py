"""`vision-events requeue`, `recheck` and `drop`: a person's decisions about single events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Optional

import typer

from vision_event_block.cli import formatting
from vision_event_block.cli.options import (
    NEEDS_HELP,
    PATIENCE_S,
    USAGE,
    OutboxOption,
    PatienceOption,
    chosen,
    collected,
    fail,
    folder_of,
    opened,
    snapshot_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vision_event_block.outbox.outbox import Outbox
    from vision_event_block.outbox.snapshot import File

#: As the journal and the status name it.
BY_OPERATOR = "operator"

EventIds = Annotated[
    Optional[list[str]],  # noqa: UP045 -- the oldest typer knows no `|`
    typer.Argument(help="Event ids, or the first characters of them.", show_default=False),
]


def requeue(
    event_ids: EventIds = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="All dead letters.")] = False,
    outbox: OutboxOption = None,
) -> None:
    """Requeue dead letters after fixing the cause.

    A running host sends them; otherwise the next one does, or vision-events drain.
    """
    folder = folder_of(outbox)
    _either(event_ids, every=every, option="--all")
    found = snapshot_of(folder)
    letters = list(found.dead) if every else chosen(found.dead, event_ids or ())
    done, outdated = 0, 0
    if letters:
        with opened(folder) as own:
            names = [file.name for file in letters]
            try:
                outdated = len(own.drop_outdated(names))
                done = len(own.adopt_dead(names))
            except OSError as error:
                fail(f"Some could not be moved ({error}); vision-events list shows what is left.")
    typer.echo(f"Requeued: {formatting.count(done, 'event')}")
    if outdated:
        older = formatting.count(outdated, "event")
        typer.echo(f"Not sent again, a newer version was sent or waits: {older}")
    if done + outdated < len(letters):
        missing = formatting.count(len(letters) - done - outdated, "event")
        typer.echo(f"Moved by another command: {missing}", err=True)
        raise typer.Exit(NEEDS_HELP)


def recheck(*, outbox: OutboxOption = None) -> None:
    """Check damaged files again and requeue those that are intact.

    For files that were restored, or set aside while a disk was failing. Exits with 1 if damaged
    files remain.
    """
    folder = folder_of(outbox)
    damaged = snapshot_of(folder).corrupt
    done = 0
    if damaged:
        with opened(folder) as own:
            try:
                done = len(own.recheck())
            except OSError as error:
                fail(f"Some could not be read or moved ({error}); try again.")
    typer.echo(f"Requeued: {formatting.count(done, 'event')}")
    if done < len(damaged):
        left = formatting.count(len(damaged) - done, "event")
        typer.echo(f"Still damaged: {left}; restore or drop them", err=True)
        raise typer.Exit(NEEDS_HELP)


def drop(
    event_ids: EventIds = None,
    *,
    dead: Annotated[bool, typer.Option("--dead", help="All rejected or damaged events.")] = False,
    patience: PatienceOption = PATIENCE_S,
    outbox: OutboxOption = None,
) -> None:
    """Delete events for good. They are counted as dropped.

    Exits with 1 if the process that owns an event did not hand it over.
    """
    folder = folder_of(outbox)
    _either(event_ids, every=dead, option="--dead")
    found = snapshot_of(folder)
    aside = [*found.dead, *found.corrupt]
    files = aside if dead else chosen([*found.pending, *aside], event_ids or ())
    done = 0
    if files:
        with opened(folder) as own:
            done = _drop_aside(own, [file for file in files if file in aside])
            done += _drop_pending(own, [file for file in files if file not in aside], patience)
    typer.echo(f"Dropped: {formatting.count(done, 'event')}")
    if done < len(files):
        missing = formatting.count(len(files) - done, "event")
        typer.echo(f"Not dropped: {missing}, delivered or currently being sent", err=True)
        raise typer.Exit(NEEDS_HELP)


def _either(event_ids: list[str] | None, *, every: bool, option: str) -> None:
    if bool(event_ids) == every:
        fail(f"Give event ids or {option}.", USAGE)


def _drop_aside(own: Outbox, files: Iterable[File]) -> int:
    """Drops dead letters and damaged files, which no process owns."""
    done = 0
    for file in files:
        try:
            done += own.drop_aside(file.path, BY_OPERATOR)
        except OSError as error:  # noqa: PERF203 -- each for itself
            typer.echo(f"{file.event_id} cannot be moved: {error}", err=True)
    return done


def _drop_pending(own: Outbox, files: list[File], patience_s: float) -> int:
    done = 0
    for entry in collected(own, files, patience_s=patience_s):
        try:
            own.drop(entry, BY_OPERATOR)
        except OSError as error:  # noqa: PERF203 -- each for itself
            typer.echo(f"{entry.event_id} cannot be dropped now: {error}", err=True)
        else:
            done += 1
    return done

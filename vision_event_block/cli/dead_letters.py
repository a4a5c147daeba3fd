"""`vision-events requeue`, `recheck` and `drop`: an operator's decisions about single events."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from vision_event_block.cli import formatting
from vision_event_block.cli.options import (
    DISK,
    NEEDS_HELP,
    PATIENCE_S,
    USAGE,
    OutboxOption,
    PatienceOption,
    YesOption,
    api_destination,
    chosen,
    collected,
    fail,
    not_empty,
    opened,
    outbox_of,
    required_key,
    snapshot_of,
)
from vision_event_block.outbox.entry import Corrupt
from vision_event_block.redaction import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from vision_event_block.delivery.destinations import ApiDestination
    from vision_event_block.outbox.entry import Address
    from vision_event_block.outbox.operator_outbox import OperatorOutbox
    from vision_event_block.outbox.snapshot import File

#: As the journal and the status name it.
BY_OPERATOR = "operator"

EventIds = Annotated[
    Optional[list[str]],  # noqa: UP045 -- the oldest typer knows no `|`
    typer.Argument(help="Event ids, or the first characters of them.", show_default=False),
]


def requeue(  # noqa: PLR0913 -- each is a way out
    event_ids: EventIds = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="All dead letters.")] = False,
    use_case: Annotated[
        Optional[str],  # noqa: UP045 -- the oldest typer knows no `|`
        typer.Option(
            "--use-case",
            metavar="ID",
            help="Send them to this use case.",
            callback=not_empty,
            show_default=False,
        ),
    ] = None,
    key_from_environment: Annotated[
        bool,
        typer.Option(
            "--key-from-environment",
            help="Send events that wait for another key or address to the API of this environment, "
            "with its ROBOFLOW_API_KEY. Asks first.",
        ),
    ] = False,
    yes: YesOption = False,
    patience: PatienceOption = PATIENCE_S,
    outbox: OutboxOption = None,
) -> None:
    """Requeue dead letters after fixing the cause, or events that wait for a key that is gone.

    A running host sends them; otherwise the next one does, or vision-events drain.
    """
    folder = outbox_of(outbox)
    if not key_from_environment or event_ids or every:
        _either(event_ids, every=every, option="--all")
    found = snapshot_of(folder)
    letters = list(found.dead) if every else chosen(found.dead, event_ids or ())
    elsewhere: dict[File, Address] = {}
    destination = None
    if key_from_environment:
        destination = api_destination(folder, required_key())
        elsewhere = _elsewhere(found.pending, destination)
        if not _agrees(elsewhere, letters, destination, yes=yes):
            fail("Nothing was changed.")
    address = None if destination is None else destination.address
    done, outdated = 0, 0
    if letters or elsewhere:
        with opened(folder) as own:
            names = [file.name for file in letters]
            try:
                outdated = len(own.drop_outdated(names))
                entries = own.adopt_dead(names)
                entries += collected(own, elsewhere, patience_s=patience)
                for entry in entries:
                    if address is not None or use_case is not None:
                        own.readdress(entry, address=address, use_case_id=use_case)
                    done += 1
            except OSError as error:
                fail(
                    f"Some events could not be moved ({error}); vision-events list shows what is "
                    "left."
                )
    typer.echo(f"Requeued: {formatting.count(done, 'event')}")
    if outdated:
        older = formatting.count(outdated, "event")
        typer.echo(f"Not requeued, since a newer version was sent or is waiting: {older}")
    if missing := len(letters) + len(elsewhere) - done - outdated:
        words = formatting.count(missing, "event")
        typer.echo(f"Delivered, being sent, or moved by another command: {words}", err=True)
        raise typer.Exit(NEEDS_HELP)


def _elsewhere(files: Iterable[File], here: ApiDestination) -> dict[File, Address]:
    """The events for the API that wait for a key or address other than this one."""
    found = {}
    for file in files:
        with suppress(Corrupt, OSError):  # damaged, or gone meanwhile
            found[file] = file.metadata(DISK).address
    kind = here.address.kind
    return {file: to for file, to in found.items() if to.kind == kind and not here.takes(to)}


def _agrees(
    elsewhere: Mapping[File, Address], letters: Sequence[File], to: ApiDestination, *, yes: bool
) -> bool:
    """Whether events may go to an account other than the one they were recorded for."""
    if yes or not (elsewhere or letters):
        return True
    number = formatting.count(len(elsewhere) + len(letters), "event")
    addresses = ", ".join(sorted({str(address) for address in elsewhere.values()}))
    waiting = f" that wait for {addresses}" if addresses else ""
    return typer.confirm(printable(f"Send {number}{waiting} to {to.address} instead?"), err=True)


def recheck(*, outbox: OutboxOption = None) -> None:
    """Check damaged files again and requeue those that are intact.

    For files that were restored, or set aside while a disk was failing. Exits with 1 if damaged
    files remain.
    """
    folder = outbox_of(outbox)
    damaged = snapshot_of(folder).corrupt
    done = 0
    if damaged:
        with opened(folder) as own:
            try:
                done = len(own.recheck())
            except OSError as error:
                fail(f"Some files could not be read or moved ({error}); try again.")
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
    folder = outbox_of(outbox)
    _either(event_ids, every=dead, option="--dead")
    found = snapshot_of(folder)
    aside = dict.fromkeys((*found.dead, *found.corrupt))  # may be very many
    files = list(aside) if dead else chosen([*found.pending, *aside], event_ids or ())
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


def _drop_aside(own: OperatorOutbox, files: Iterable[File]) -> int:
    """Drops dead letters and damaged files, which no process owns."""
    done = 0
    for file in files:
        try:
            done += own.drop_aside(file.path, BY_OPERATOR)
        except OSError as error:  # noqa: PERF203 -- each for itself
            typer.echo(f"{file.event_id} cannot be moved: {error}", err=True)
    return done


def _drop_pending(own: OperatorOutbox, files: list[File], patience_s: float) -> int:
    done = 0
    for entry in collected(own, files, patience_s=patience_s):
        try:
            own.drop(entry, BY_OPERATOR)
        except OSError as error:  # noqa: PERF203 -- each for itself
            typer.echo(f"{entry.event_id} cannot be dropped now: {error}", err=True)
        else:
            done += 1
    return done

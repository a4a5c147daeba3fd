"""`vision-events doctor`: what is wrong on this machine, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from vision_event_block.cli import checks
from vision_event_block.cli.options import (
    NEEDS_HELP,
    JsonOption,
    OutboxOption,
    folder_of,
    not_an_outbox,
    print_json,
)
from vision_event_block.redaction import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def doctor(
    *,
    outbox: OutboxOption = None,
    as_json: JsonOption = False,
    host: Annotated[
        bool, typer.Option(help="Load the host to check that it finds the block.")
    ] = True,
) -> None:
    """Check what keeps events from reaching the API, and say what to do.

    Run it where the host runs, with the same environment. Exits with 1 if something is wrong.
    """
    folder = folder_of(outbox)
    found = []
    for check in _look(folder, host=host):
        found.append(check)
        if not as_json:
            _tell(check)
    if as_json:
        print_json([{**asdict(check), "is_fine": check.is_fine} for check in found])
    if not all(check.is_fine for check in found):
        raise typer.Exit(NEEDS_HELP)


def _look(folder: Path, *, host: bool) -> Iterator[checks.Check]:
    yield from checks.of_variables()
    if host:
        yield from checks.of_plugin()
    yield from checks.of_api()
    try:
        yield from checks.of_folder(folder)
        if why := not_an_outbox(folder):
            words, _, advice = why.partition(". ")
            yield checks.Check(
                "outbox", words, f"{advice}; vision-events send --through-outbox makes one"
            )
        yield from checks.of_room(folder)
        if not why:
            yield from checks.of_events(folder)
    except OSError as error:
        words = f"{error.filename or folder} cannot be read ({error.strerror})"
        advice = "run this as the user who owns it, or set VISION_EVENT_OUTBOX"
        yield checks.Check("outbox", words, advice)
    yield from checks.of_clock()


def _tell(check: checks.Check) -> None:
    mark = "ok   " if check.is_fine else "wrong"
    typer.echo(f"{mark}  {check.matter:7} {printable(check.words)}")
    if check.advice:
        typer.echo(f"{'':14} -> {check.advice}")

"""`vision-events doctor`: what is wrong on this machine, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from vision_event_block.cli import findings
from vision_event_block.cli.options import (
    NEEDS_HELP,
    JsonOption,
    OutboxOption,
    folder_of,
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
        bool, typer.Option(help="Load the host to see whether it finds the block.")
    ] = True,
) -> None:
    """Look for what keeps events from the API, and say what to do.

    Run it where the host runs, with the same environment. Ends with 1 if something is wrong.
    """
    folder = folder_of(outbox)
    found = []
    for finding in _look(folder, host=host):
        found.append(finding)
        if not as_json:
            _tell(finding)
    if as_json:
        print_json([{**asdict(finding), "is_fine": finding.is_fine} for finding in found])
    if not all(finding.is_fine for finding in found):
        raise typer.Exit(NEEDS_HELP)


def _look(folder: Path, *, host: bool) -> Iterator[findings.Finding]:
    if host:
        yield from findings.of_plugin()
    yield from findings.of_api()
    try:
        yield from findings.of_folder(folder)
        yield from findings.of_room(folder)
        yield from findings.of_events(folder)
        yield from findings.of_destinations(folder)
    except OSError as error:
        words = f"{error.filename or folder} cannot be read ({error.strerror})"
        advice = "run this as the user who owns it, or set VISION_EVENT_OUTBOX"
        yield findings.Finding("outbox", words, advice)
    yield from findings.of_clock()


def _tell(finding: findings.Finding) -> None:
    mark = "ok   " if finding.is_fine else "wrong"
    typer.echo(f"{mark}  {finding.matter:7} {printable(finding.words)}")
    if finding.advice:
        typer.echo(f"{'':14} -> {finding.advice}")

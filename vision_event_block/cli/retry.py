"""`vision-events retry`: makes running processes retry now instead of after their pause."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import typer

from vision_event_block.cli.options import (
    DISK,
    NEEDS_HELP,
    PATIENCE_S,
    OutboxOption,
    PatienceOption,
    fail,
    outbox_of,
    snapshot_of,
)
from vision_event_block.cli.status import findings_of
from vision_event_block.cli.verdict import MAX_AGE_S
from vision_event_block.outbox.owner_status import DestinationState
from vision_event_block.outbox.slot import RETRY, SLOTS
from vision_event_block.redaction import printable

if TYPE_CHECKING:
    from pathlib import Path

_POLL_S: Final = 0.1
#: How long to wait for the result of the retry; a process writes its status every second.
_ANSWER_S: Final = 5.0


def retry(*, patience: PatienceOption = PATIENCE_S, outbox: OutboxOption = None) -> None:
    """Make running processes retry now, even after the API refused the key.

    Only a pause that the API itself asked for is kept. Exits with 1 if a process did not take the
    request, or if something is still wrong afterwards.
    """
    folder = outbox_of(outbox)
    slots = [folder / SLOTS / slot.name for slot in snapshot_of(folder).slots if slot.has_owner]
    if not slots:
        fail("No process is running here; start the host, or run vision-events drain.")
    for slot in slots:
        with suppress(FileNotFoundError):  # it has just ended
            DISK.write(slot / RETRY, [b""], sync=False)
    took = _wait_for(slots, patience)
    if took < len(slots):
        typer.echo(f"Processes that did not take the request: {len(slots) - took}", err=True)
    if took:
        _wait_for_answers(folder)
    [first, *_] = findings_of(folder, snapshot_of(folder), max_age_s=MAX_AGE_S)
    typer.echo(printable(str(first)))
    if took < len(slots) or first.needs_help:
        raise typer.Exit(NEEDS_HELP)


def _wait_for(slots: list[Path], patience_s: float) -> int:
    """How many processes took the request; it is withdrawn from the others."""
    give_up_at_s = time.monotonic() + patience_s
    while (left := [slot for slot in slots if (slot / RETRY).exists()]) and (
        time.monotonic() < give_up_at_s
    ):
        time.sleep(_POLL_S)
    for slot in left:
        (slot / RETRY).unlink(missing_ok=True)
    return len(slots) - len(left)


def _wait_for_answers(folder: Path) -> None:
    """Waits until every destination works, or for `_ANSWER_S`."""
    give_up_at_s = time.monotonic() + _ANSWER_S
    while time.monotonic() < give_up_at_s:
        time.sleep(_POLL_S)
        slots = [slot for slot in snapshot_of(folder).slots if slot.has_owner]
        rows = [row for slot in slots for row in slot.status.destinations]
        if all(row.state is DestinationState.OPEN for row in rows):
            return

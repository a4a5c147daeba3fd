"""Entries of other processes, taken into this command's own slot.

Slots without an owner are adopted. A live owner is asked with `release.json` and hands over what
it is not sending at the moment. What this command then leaves in its slot is adopted again.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from vision_event_block.outbox.slot import RELEASE, SLOTS, Entry, event_id_of, notes_at

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from vision_event_block.outbox.census import File
    from vision_event_block.outbox.disk import Disk
    from vision_event_block.outbox.outbox import Outbox

#: How long a live owner may take; it looks every few seconds, and ends a request first.
PATIENCE_S: Final = 15.0
PatienceOption = Annotated[
    float,
    typer.Option(min=0.0, help="Seconds that a running host may take to hand events over."),
]
_POLL_S: Final = 0.05


def collect(outbox: Outbox, disk: Disk, files: Iterable[File], *, patience_s: float) -> list[Entry]:
    """The entries of these files, in this process's slot now; the others were not given."""
    wanted = {file.name: file for file in files}
    slots = {file.folder.name for file in wanted.values()}
    entries = [entry for entry in outbox.adopt() if entry.name in wanted]
    slots &= set(disk.names(outbox.folder / SLOTS))
    give_up_at_s = time.monotonic() + patience_s
    for slot in sorted(slots):
        names = [name for name, file in wanted.items() if file.folder.name == slot]
        received = _ask(outbox, disk, slot, names, give_up_at_s)
        for name in received:
            path = outbox.slot_folder / name
            notes = notes_at(disk, path)
            entries.append(Entry(name, disk.size_bytes(path), notes))
    return sorted(entries, key=lambda entry: entry.name)


def _ask(outbox: Outbox, disk: Disk, slot: str, names: list[str], give_up_at_s: float) -> list[str]:
    """What the owner of a slot handed over, after asking again for what it was sending."""
    giver = outbox.folder / SLOTS / slot
    # Before the first of them can come, so that nobody counts it as stored again.
    outbox.journal.adopted(map(event_id_of, names))
    missing = set(names)
    while missing and time.monotonic() < give_up_at_s:
        here = set(disk.names(giver))
        missing -= set(disk.names(outbox.slot_folder))
        if RELEASE in here:
            time.sleep(_POLL_S)  # another command asks, or the owner has not looked yet
        elif asked := missing & here:
            request = {"to": outbox.slot_folder.name, "names": sorted(asked)}
            try:
                disk.write(giver / f"{RELEASE}.tmp", [json.dumps(request).encode()], sync=False)
                disk.rename(giver / f"{RELEASE}.tmp", giver / RELEASE)
            except FileNotFoundError:
                break  # the slot was adopted by another process this very moment
        else:
            break  # the rest was delivered meanwhile
    _withdraw(outbox, disk, giver)
    received = set(disk.names(outbox.slot_folder))
    return [name for name in names if name in received]


def _withdraw(outbox: Outbox, disk: Disk, giver: Path) -> None:
    """Takes back a request that nobody has answered."""
    try:
        request = json.loads(disk.read(giver / RELEASE))
        if request["to"] == outbox.slot_folder.name:
            disk.remove(giver / RELEASE)
    except (OSError, ValueError, KeyError, TypeError):
        return

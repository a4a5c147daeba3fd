"""What is in an outbox folder, for all processes together: read-only, for status and metrics.

Every stored event is in one of four places: delivered, pending, dead or dropped. The files say
what is pending and dead, the journals say the rest, so that the sum can be checked.
"""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from vision_event_block.outbox import clock
from vision_event_block.outbox.disk import OutboxUnusable
from vision_event_block.outbox.entry_names import (
    event_id_of,
    is_entry,
    is_update,
    key_of,
    stored_at_s,
)
from vision_event_block.outbox.journal import (
    DELIVERED,
    DROPPED,
    STORED,
    SUPERSEDED,
    UNSTORED,
    VERSIONS,
    Journal,
)
from vision_event_block.outbox.owner_status import OwnerStatus
from vision_event_block.outbox.slot import CORRUPT, DEAD, JOURNAL, LOCK, SLOTS, STATUS, metadata_at
from vision_event_block.outbox.spool import MARK, NoSpool, is_spooled, spooled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from vision_event_block.outbox.disk import Disk
    from vision_event_block.outbox.entry import DeliveryMetadata

#: After this many readings that differ, a folder counts as moving.
MAX_READINGS: Final = 5
PAUSE_S: Final = 0.05
_SHED: Final = "shed"


@dataclass(frozen=True)
class File:
    """An entry, as its file shows it from outside."""

    folder: Path
    name: str
    size_bytes: int

    @property
    def path(self) -> Path:
        return self.folder / self.name

    @property
    def event_id(self) -> str:
        return event_id_of(self.name)

    @property
    def is_update(self) -> bool:
        """Whether it is counted separately from its event, which is in the sum already."""
        return is_update(self.name)

    @property
    def stored_at_s(self) -> float:
        return stored_at_s(self.name)

    def age_s(self, now_s: float) -> float | None:
        """How long the event has waited; None if a clock was wrong then or is now."""
        if not (clock.is_plausible(self.stored_at_s) and clock.is_plausible(now_s)):
            return None
        return max(0.0, now_s - self.stored_at_s)

    def metadata(self, disk: Disk) -> DeliveryMetadata:
        """What travels with the event; raises Corrupt or OSError."""
        return metadata_at(disk, self.path)


@dataclass(frozen=True)
class SlotView:
    """One process's folder, seen from outside."""

    name: str
    #: Whether a process holds it; None if we have no permission to ask.
    has_owner: bool | None
    pending: tuple[File, ...]
    totals: dict[str, int]
    #: What its owner last reported about itself.
    status: OwnerStatus = field(compare=False)
    #: Events that an ended process had in memory; the process that adopts the slot stores them.
    spooled: int = 0

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.pending)


@dataclass(frozen=True)
class OutboxSnapshot:
    """Everything in an outbox folder at one moment."""

    slots: tuple[SlotView, ...]
    dead: tuple[File, ...]
    corrupt: tuple[File, ...]
    #: No two readings were the same, so the sum may be off by what moved.
    is_moving: bool = field(default=False, compare=False)

    @property
    def pending(self) -> list[File]:
        """The waiting events of all slots, oldest first."""
        files = (file for slot in self.slots for file in slot.pending)
        return sorted(files, key=lambda file: file.name)

    @property
    def spooled(self) -> int:
        """Events that ended processes had in memory, to be stored by the next one."""
        return sum(slot.spooled for slot in self.slots)

    @property
    def totals(self) -> Counter[str]:
        return sum((Counter(slot.totals) for slot in self.slots), Counter())

    @property
    def stored(self) -> int:
        """Events that were ever on disk here."""
        return self.totals[STORED]

    @property
    def unstored(self) -> int:
        """Events that were never on disk and have ended: sent from memory, or lost."""
        return self.totals[UNSTORED]

    @property
    def delivered(self) -> int:
        return self.totals[DELIVERED]

    @property
    def dropped(self) -> dict[str, int]:
        """Dropped events, by reason."""
        return self.under(DROPPED)

    @property
    def shed(self) -> dict[str, int]:
        """Pictures shed, by reason; their events are in the sum."""
        return self.under(_SHED)

    @property
    def versions(self) -> int:
        """Newer versions of events that were taken; they are not part of the sum."""
        return self.totals[VERSIONS]

    @property
    def superseded(self) -> int:
        """Versions that were replaced by newer ones before they were sent."""
        return self.totals[SUPERSEDED]

    def under(self, name: str) -> dict[str, int]:
        """The counts that begin with one name, by the rest of their names."""
        return {
            full_name.removeprefix(name).strip(): number
            for full_name, number in sorted(self.totals.items())
            if full_name == name or full_name.startswith(f"{name} ")
        }

    @property
    def unaccounted(self) -> int:
        """By how much the sum is off: not 0 while it moves, and after a power cut."""
        files = itertools.chain(self.dead, self.corrupt, *(slot.pending for slot in self.slots))
        kept = sum(not file.is_update for file in files)
        came = self.stored + self.unstored
        return came - self.delivered - sum(self.dropped.values()) - kept

    @property
    def size_bytes(self) -> int:
        aside = sum(file.size_bytes for file in (*self.dead, *self.corrupt))
        return aside + sum(slot.size_bytes for slot in self.slots)


def take_snapshot(
    folder: Path, disk: Disk, *, pause: Callable[[float], object] = time.sleep
) -> OutboxSnapshot:
    """What is in the folder, read until two readings agree or it is clear that they will not.

    It creates and changes nothing. A slot's lock is tried to see whether it has an owner, and held
    no longer than that.

    Raises:
        OSError: the folder cannot be read.
    """
    before = _reading(folder, disk)
    for _ in range(MAX_READINGS):
        after = _reading(folder, disk)
        if after == before:
            return after
        before = after
        pause(PAUSE_S)
    return OutboxSnapshot(before.slots, before.dead, before.corrupt, is_moving=True)


def dead_letter_reason(folder: Path, name: str, disk: Disk) -> dict[str, Any]:
    """Why an event is a dead letter; empty if the reason was not recorded."""
    return _json_object(folder / DEAD / f"{name.removesuffix('.tar')}.json", disk)


def _reading(folder: Path, disk: Disk) -> OutboxSnapshot:
    slots = (_slot(folder / SLOTS / name, disk) for name in sorted(disk.names(folder / SLOTS)))
    return OutboxSnapshot(
        tuple(slot for slot in slots if slot is not None),
        _files(folder / DEAD, disk.names(folder / DEAD), disk),
        _files(folder / CORRUPT, disk.names(folder / CORRUPT), disk),
    )


def _slot(folder: Path, disk: Disk) -> SlotView | None:
    """None for a folder that vanished meanwhile, or that is not ours."""
    try:
        if not disk.is_folder(folder):
            return None
        names = disk.names(folder)
        # The journal is read after the names: an event that leaves in between is in the sum twice
        # or not at all, and the next reading differs.
        journal = Journal(disk, folder / JOURNAL, is_ours=False)
        totals = Counter(journal.totals)
        for name in names:
            other = name.removeprefix("journal-")
            if other != name and not journal.has_folded(other):
                totals += Journal(disk, folder / name, is_ours=False).totals
    except (FileNotFoundError, NotADirectoryError):
        return None
    entries = [name for name in names if is_entry(name)]
    # The next owner of the slot settles it in the same way.
    done = journal.delivered_ids | journal.dropped_ids
    pending = [name for name in entries if key_of(name) not in done]
    totals[STORED] += sum(
        not is_update(name) and key_of(name) not in journal.open_ids for name in pending
    )
    has_owner = _has_owner(folder, names, disk)
    return SlotView(
        folder.name,
        has_owner,
        _files(folder, pending, disk),
        {name: number for name, number in totals.items() if number},
        OwnerStatus.from_json(_json_object(folder / STATUS, disk) if STATUS in names else None),
        0 if has_owner else _spooled(folder, names, disk),
    )


def _has_owner(folder: Path, names: Iterable[str], disk: Disk) -> bool | None:
    try:
        return LOCK in names and disk.is_locked(folder / LOCK)
    except FileNotFoundError:
        return False
    except (OSError, OutboxUnusable):
        return None


def _spooled(folder: Path, names: Iterable[str], disk: Disk) -> int:
    number = 0
    for name in filter(is_spooled, names):
        with suppress(OSError, NoSpool):
            number += spooled(disk.read_head(folder / name, len(MARK))) is not None
    return number


def _files(folder: Path, names: Iterable[str], disk: Disk) -> tuple[File, ...]:
    files = []
    for name in sorted(filter(is_entry, names)):
        try:
            files.append(File(folder, name, disk.size_bytes(folder / name)))
        except FileNotFoundError:  # noqa: PERF203 -- each file may go while we look
            continue  # the next reading shows where it went
    return tuple(files)


def _json_object(path: Path, disk: Disk) -> dict[str, Any]:
    try:
        document = json.loads(disk.read(path))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}

"""The slot of this process: how it is taken, and what the process knows about it."""

from __future__ import annotations

import itertools
import logging
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from vision_event_block.events.bundle import encode_payload, without_pictures
from vision_event_block.outbox import clock
from vision_event_block.outbox.disk import OutboxUnusable
from vision_event_block.outbox.entry import pack
from vision_event_block.outbox.entry_index import EntryIndex
from vision_event_block.outbox.entry_names import entry_key, entry_name, is_entry, state_name
from vision_event_block.outbox.handover import Handover
from vision_event_block.outbox.leaving import Leaving
from vision_event_block.outbox.quota import Quota
from vision_event_block.outbox.set_aside import SetAside
from vision_event_block.outbox.slot import CORRUPT, DEAD, LOCK, SLOTS, Entry, Slot
from vision_event_block.outbox.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

    from vision_event_block.outbox.ballast import Ballast
    from vision_event_block.outbox.disk import Disk
    from vision_event_block.outbox.entry import DeliveryMetadata, EntryContents
    from vision_event_block.outbox.quota import OutboxLimits

    Step = Callable[[], None]

_logger = logging.getLogger(__name__)

_A_MILLISECOND_S: Final = 0.001


@dataclass(frozen=True)
class OwnSlot:
    """The slot of this process, and what keeps its entries: `Quota` and `Handover` work on it."""

    #: The folder of the outbox, around all slots.
    folder: Path
    disk: Disk
    ballast: Ballast
    slot: Slot
    index: EntryIndex
    aside: SetAside
    leaving: Leaving


@dataclass(frozen=True)
class Hold:
    """A slot, with what this process knows and does about its content."""

    slot: Slot
    index: EntryIndex
    aside: SetAside
    leaving: Leaving
    quota: Quota
    handover: Handover
    leftovers: Leftovers
    spool: Spool

    @classmethod
    def take(cls, folder: Path, disk: Disk, ballast: Ballast, limits: OutboxLimits) -> Hold:
        """The hold on a slot that is this process's from now on; raises OutboxUnusable."""
        slot = take_slot(folder, disk, ballast)
        try:
            index, aside = EntryIndex(), SetAside(folder, slot, disk)
            leaving = Leaving(slot, index, aside)
            own = OwnSlot(folder, disk, ballast, slot, index, aside, leaving)
            quota = Quota(own, limits)
            spool = Spool(slot.folder, disk, min_free_bytes=limits.min_free_bytes)
            handover, leftovers = Handover(own, quota, spool), Leftovers(disk)
            hold = cls(slot, index, aside, leaving, quota, handover, leftovers, spool)
            hold.look_around()
            with suppress(OSError):
                ballast.refill(hold.quota.spare_bytes(), slot.folder)
        except BaseException:
            slot.release()
            raise
        return hold

    def look_around(self) -> None:
        """Notes how much other processes take of the quota."""
        try:
            self.quota.look_around()
        except OSError as error:  # what is known from before is good enough
            _logger.debug("could not read the other slots: %s", error)

    def store(
        self,
        event_id: str,
        payload: dict[str, Any],
        pictures: Mapping[str, bytes],
        metadata: DeliveryMetadata,
        now_s: float,
    ) -> Entry:
        """See `Outbox.store`. A newer version takes the file of an older one, if that is here."""
        older = self.index.hold_older(event_id, metadata) if metadata.version else None
        if older is None:
            return self._write(event_id, payload, pictures, metadata, now_s)
        try:
            metadata = replace(metadata, is_update=older.metadata.is_update)
            return self._write(event_id, payload, pictures, metadata, now_s, in_place_of=older.name)
        finally:
            self.index.release(older.name)

    def rewrite(self, entry: Entry, contents: EntryContents) -> None:
        """Replaces what an entry's file holds; raises OSError if it is unchanged."""
        chunks = pack(encode_payload(contents.payload), contents.pictures, contents.metadata)
        self.slot.rewrite(entry.name, chunks)
        self.slot.remove_progress(entry.name)  # another key may not use the pictures of this one

    def _write(  # noqa: PLR0913 -- an event has these parts
        self,
        event_id: str,
        payload: dict[str, Any],
        pictures: Mapping[str, bytes],
        metadata: DeliveryMetadata,
        now_s: float,
        *,
        in_place_of: str = "",
    ) -> Entry:
        """Writes an event into a file of its own, or into the file of an older version."""
        chunks = pack(encode_payload(payload), pictures, metadata)
        name = self._new_name(entry_key(event_id, metadata), now_s)
        entry, shed = Entry(name, sum(map(len, chunks)), metadata), 0
        size_bytes = entry.size_bytes
        if not (self.quota.could_hold(size_bytes) and self.quota.reserve(name, size_bytes)):
            metadata = replace(metadata, shed={**metadata.shed, **dict.fromkeys(pictures, "quota")})
            payload = without_pictures(payload, list(pictures))
            chunks, shed = pack(encode_payload(payload), {}, metadata), len(pictures)
            entry = Entry(name, sum(map(len, chunks)), metadata)
            self.quota.reserve_bare(name, entry.size_bytes)
        try:  # on failure everything from the reservation on is undone
            if in_place_of:
                self.slot.replace(in_place_of, chunks)
                entry = replace(entry, name=in_place_of)
                self.slot.journal.count_all({"shed quota": shed} if shed else {})
            else:
                self.slot.commit(name, chunks)
            self.quota.note_pictures(entry, payload)
            self.index.put(entry)
            if in_place_of:
                self.index.forget(name)
            else:
                self.slot.journal.stored(entry.key, shed=shed)
        except BaseException:
            if not self.index.take_out(name):
                self.index.give_out(name)
            self.leaving.remove(name)
            raise
        return entry

    def end(self, entry: Entry, leave: Step, note: Step) -> bool:
        """Records the end of an entry and has its file leave; if that fails, the entry stays."""
        if not self.index.take_out(entry.name, entry.version):
            return False
        try:
            note()
        except BaseException:
            self.index.put_back(entry)
            raise
        try:
            leave()
        except MemoryError:  # memory may be free now, and the entry has ended already
            leave()
        return True

    def take_back(
        self, ballast: Ballast, names: Iterable[str], place: str, stored_at_s: float | None
    ) -> list[Entry]:
        """Takes back events that were set aside.

        Raises:
            OSError: some of them stay where they are.
        """
        taken = self.aside.take_all(names, place, ballast, stored_at_s=stored_at_s)
        entries = list(self.handover.take_in(taken))
        self.look_around()
        return entries

    def _new_name(self, key: str, now_s: float) -> str:
        while self.index.knows(entry_name(now_s, key)):
            now_s += _A_MILLISECOND_S
        return entry_name(now_s, key)


def take_slot(folder: Path, disk: Disk, ballast: Ballast) -> Slot:
    """A new slot in an outbox folder, created if needed; on a full disk one left behind.

    Raises:
        OutboxUnusable: nothing can be stored there.
    """
    try:
        return ballast.afford(lambda: _new_slot(folder, disk))
    except OSError as error:
        orphan = _orphan(folder / SLOTS, disk)
        if orphan is not None:
            return orphan
        raise OutboxUnusable(
            f"cannot write to {folder} ({error.strerror or error}); make it writable "
            "or set VISION_EVENT_OUTBOX to another folder"
        ) from None


def _new_slot(folder: Path, disk: Disk) -> Slot:
    for part in (folder, folder / SLOTS, folder / DEAD, folder / CORRUPT):
        make_folders(part, disk)
    for number in itertools.count():
        path = folder / SLOTS / f"{clock.boot_id()[:8]}-{os.getpid()}-{number}"
        if not disk.make_folder(path):
            continue
        try:
            disk.sync_folder(path.parent)
            slot = Slot.take(disk, path)
        except (OSError, OutboxUnusable):
            _remove(path, disk)
            raise
        if slot is not None:  # else another process is adopting it right now
            return slot
    raise AssertionError("unreachable")


def _remove(path: Path, disk: Disk) -> None:
    """Removes a slot that nobody could take; otherwise each try would leave one."""
    with suppress(OSError):
        disk.remove(path / LOCK)
    with suppress(OSError):
        disk.remove_folder(path)


def _orphan(slots: Path, disk: Disk) -> Slot | None:
    """A slot without an owner, used as it is: that needs no space at all."""
    with suppress(OSError, OutboxUnusable):
        for name in sorted(disk.names(slots)):
            if not disk.is_folder(slots / name):
                continue
            slot = Slot.take(disk, slots / name)
            if slot is not None:
                slot.settle()
                return slot
    return None


def make_folders(folder: Path, disk: Disk) -> None:
    """Creates a folder and, if needed, its parents."""
    try:
        disk.make_folder(folder)
    except FileNotFoundError:
        make_folders(folder.parent, disk)
        disk.make_folder(folder)
    # Even if it existed: the process that made it may have been killed before this.
    disk.sync_folder(folder.parent)


class Leftovers:
    """Files that a failure or a killed process has left, removed once nobody uses them.

    A file that is being written looks the same. But it is renamed within moments, so a file that
    is there at two looks in a row is left over. For one thread.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._seen: dict[Path, set[str]] = {}

    def sweep_slot(self, folder: Path, is_in_hand: Callable[[str], bool]) -> None:
        """Removes files that were already there at the last look and belong to no entry.

        Args:
            folder: The own slot.
            is_in_hand: Whether an entry of this name is being written; slow on some disks.

        Raises:
            OSError: the folder cannot be read.
        """
        names = self._disk.names(folder)
        belonging = {state_name(name) for name in names if is_entry(name)}
        left = _of_kind(names, (".tmp", state_name(""))) - belonging
        self._sweep(folder, {name for name in left if not is_in_hand(name.removesuffix(".tmp"))})

    def sweep_aside(self, folder: Path) -> None:
        """The same for the folders in which several processes set events aside."""
        names = self._disk.names(folder)
        belonging = {f"{name.removesuffix('.tar')}.json" for name in names if is_entry(name)}
        self._sweep(folder, _of_kind(names, (".tmp", ".json")) - belonging)

    def _sweep(self, folder: Path, left: set[str]) -> None:
        for name in left & self._seen.get(folder, set()):
            with suppress(OSError):  # retried at the next look
                self._disk.remove(folder / name)
        self._seen[folder] = left


def _of_kind(names: Collection[str], endings: tuple[str, ...]) -> set[str]:
    return {name for name in names if name.endswith(endings)}

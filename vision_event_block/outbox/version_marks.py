"""Versions that are about to be sent while an older one may be elsewhere in the outbox.

Usually one process has all versions of an event, and none of this is needed. But entries move: to a
command that exports or requeues them, or to the process that adopts a killed one's slot. So before
a newer version is sent, it is marked here, and waits while another process has an older one; a
process that takes over or requeues an older one finds the mark and does not send it. One of the two
always sees the other.

A lost line matters only after a power cut at the wrong moment, with an old version left as well. So
nothing is synced. A full file is kept next to its successor, and the one before that is removed.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from vision_event_block.outbox.disk import size_if_there
from vision_event_block.outbox.entry import Corrupt
from vision_event_block.outbox.entry_names import event_id_of, is_entry
from vision_event_block.outbox.journal import SUPERSEDED
from vision_event_block.outbox.slot import DEAD, SLOTS, metadata_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from vision_event_block.outbox.disk import Disk
    from vision_event_block.outbox.entry import DeliveryMetadata
    from vision_event_block.outbox.own_slot import Hold
    from vision_event_block.outbox.slot import Entry

NEW: Final = "versions"
OLD: Final = "versions.1"
#: For one file, some ten thousand events.
MAX_BYTES: Final = 2**19


class VersionMarks:
    """The marks of an outbox. Any thread may use it."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self._folder = folder
        self._disk = disk
        self._lock = threading.Lock()
        self._sizes_bytes: tuple[int, ...] = ()
        self._known: dict[str, int] = {}

    def is_outranked(self, event_id: str, version: int) -> bool:
        """Whether a newer version of an event was or is about to be sent."""
        return self._marked().get(event_id, -1) > version

    def older_elsewhere(self, hold: Hold, entry: Entry) -> dict[str, list[str]]:
        """Versions older than an entry, in other slots; any that get there later are not sent.

        Older versions among the dead letters are dropped. The own slot is up to the courier.
        Two readings: a file that moves to a folder that was already read is found by the second.

        Raises:
            OSError: the folder cannot be read.
        """
        if not self.is_outranked(entry.event_id, entry.version - 1):
            with suppress(OSError):  # a full disk: what is elsewhere is still seen
                self._mark(entry)
        found: dict[str, list[str]] = {}
        for _ in range(2):
            for name in self._older(self._folder / DEAD, entry):
                if hold.quota.drop_aside(name, DEAD):  # else another process has just taken it
                    hold.slot.journal.count(SUPERSEDED)
            slots = self._folder / SLOTS
            for slot in set(self._disk.names(slots)) - {hold.slot.folder.name}:
                names = list(self._older(slots / slot, entry))
                if names:
                    found[slot] = names
        return found

    def newer_files(self, names: Iterable[str]) -> set[str]:
        """Those of some dead letters that have a newer version, either marked or here.

        Raises:
            OSError: a folder cannot be read.
        """
        wanted: dict[str, list[tuple[str, int]]] = {}
        for name in names:
            metadata = self._metadata(self._folder / DEAD / name)
            if metadata is not None:
                wanted.setdefault(event_id_of(name), []).append((name, metadata.version))
        newest = {event_id: self._marked().get(event_id, -1) for event_id in wanted}
        slots = self._folder / SLOTS
        for folder in (self._folder / DEAD, *(slots / each for each in self._disk.names(slots))):
            for name in self._names(folder):
                event_id = event_id_of(name)
                metadata = self._metadata(folder / name) if event_id in wanted else None
                if metadata is not None:
                    newest[event_id] = max(newest[event_id], metadata.version)
        return {
            name
            for event_id, found in wanted.items()
            for name, version in found
            if version < newest[event_id]
        }

    def _older(self, folder: Path, than: Entry) -> Iterator[str]:
        for name in self._names(folder):
            if than.event_id not in name or name == than.name:
                continue
            metadata = self._metadata(folder / name)
            if metadata is None or event_id_of(name) != than.event_id:
                continue
            is_there = metadata.address.place == than.metadata.address.place
            if is_there and metadata.version < than.version:
                yield name

    def _names(self, folder: Path) -> list[str]:
        with suppress(FileNotFoundError, NotADirectoryError):
            return [name for name in self._disk.names(folder) if is_entry(name)]
        return []

    def _metadata(self, path: Path) -> DeliveryMetadata | None:
        """None for what has moved on, or cannot be read and so cannot be sent."""
        with suppress(OSError, Corrupt):
            return metadata_at(self._disk, path)
        return None

    def _mark(self, entry: Entry) -> None:
        line = f"{entry.event_id} {entry.version}\n"
        self._disk.append(self._folder / NEW, line.encode())
        if self._disk.size_bytes(self._folder / NEW) > MAX_BYTES:
            self._disk.rename(self._folder / NEW, self._folder / OLD)

    def _marked(self) -> dict[str, int]:
        with self._lock, suppress(OSError):
            sizes_bytes = tuple(size_if_there(self._disk, self._folder / it) for it in (OLD, NEW))
            if sizes_bytes != self._sizes_bytes:
                known: dict[str, int] = {}
                for name in (OLD, NEW):
                    with suppress(FileNotFoundError):
                        for line in self._disk.read(self._folder / name).decode().splitlines():
                            event_id, _, version = line.partition(" ")
                            if version.isdigit():  # else cut off
                                known[event_id] = max(int(version), known.get(event_id, 0))
                self._known, self._sizes_bytes = known, sizes_bytes
        return self._known

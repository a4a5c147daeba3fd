"""What one process holds in its slot, by name and in bytes, and who is using each entry.

    reserve() ─▶ being written ─put()─▶ waiting ◀─unclaim()─ claimed    being sent
                                          ▲ │    ─claim()──▶   │
                                 release()│ │hold()            │take_out()
                                          │ ▼                  ▼
                                          held  ─take_out()─▶ leaving ─gone()─▶
                                                               its file may still be there

An entry is held while its pictures are shed or it is handed to another process, for the time of
one write. A thread that wants to send it waits that long.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vision_event_block.outbox.entry import DeliveryMetadata
    from vision_event_block.outbox.slot import Entry


class EntryIndex:
    """The entries of a slot as their owner knows them. Any thread may use it."""

    def __init__(self) -> None:
        #: Notified when an entry is released.
        self._changed = threading.Condition(threading.RLock())
        self._entries: dict[str, Entry] = {}
        self._claimed: set[str] = set()
        self._held: set[str] = set()
        #: Names that are here but not entries, with their sizes: being written, and leaving.
        self._written: dict[str, int] = {}
        self._leaving: dict[str, int] = {}
        self._size_bytes = 0
        #: From then on nothing is reserved, held or taken out.
        self.is_closed = False

    def __len__(self) -> int:
        """Events that wait or are being sent, and those that are being written."""
        return len(self._entries) + len(self._written)

    @property
    def size_bytes(self) -> int:
        """What all files take, including those that are being written."""
        return self._size_bytes

    @property
    def unwritten_bytes(self) -> int:
        """What the disk does not know of yet."""
        with self._changed:
            return sum(self._written.values())

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Nothing is reserved meanwhile."""
        with self._changed:
            yield

    def entries(self) -> list[Entry]:
        with self._changed:
            return [self._entries[name] for name in sorted(self._entries)]

    def get(self, name: str) -> Entry | None:
        return self._entries.get(name)

    def knows(self, name: str) -> bool:
        """Whether the file of this name is in use already."""
        with self._changed:
            return name in self._entries or name in self._written or name in self._leaving

    def reserve(self, name: str, size_bytes: int) -> bool:
        """Counts what is about to be written; False if it is here, or the index is closed."""
        with self._changed:
            if self.is_closed or self.knows(name):
                return False
            total_bytes = self._size_bytes + size_bytes
            self._written[name], self._size_bytes = size_bytes, total_bytes
            return True

    def put(self, entry: Entry) -> None:
        """Adds an entry that was written or came from elsewhere, or one that became smaller."""
        with self._changed:
            known = self._entries.get(entry.name)
            before = self._written.get(entry.name, 0) if known is None else known.size_bytes
            size_bytes = self._size_bytes + entry.size_bytes - before
            self._entries[entry.name], self._size_bytes = entry, size_bytes
            self._written.pop(entry.name, None)
            self._changed.notify_all()

    def claim(self, name: str) -> bool:
        """Marks an entry as being sent; False if it already is, or is no longer here."""
        with self._changed:
            self._changed.wait_for(lambda: name not in self._held)
            if name not in self._entries or name in self._claimed:
                return False
            self._claimed.add(name)
            return True

    def unclaim(self, name: str) -> None:
        with self._changed:
            self._claimed.discard(name)

    def hold(self, name: str) -> Entry | None:
        """An unused entry, held until `release`; None if it is not available."""
        with self._changed:
            if self.is_closed or name in self._claimed or name in self._held:
                return None
            entry = self._entries.get(name)
            if entry is not None:
                self._held.add(name)
            return entry

    def hold_older(self, event_id: str, metadata: DeliveryMetadata) -> Entry | None:
        """The newest older version of an event, held even if it is being sent.

        Newer content may take its file's place: the sender of the older one has already read it.
        """
        with self._changed:
            while not self.is_closed:
                older = [
                    entry
                    for name, entry in self._entries.items()
                    if event_id in name and entry.may_hold(event_id, metadata)
                ]
                if not older:
                    break
                newest = max(older, key=lambda entry: entry.version)
                if newest.name not in self._held:
                    self._held.add(newest.name)
                    return newest
                self._changed.wait()
            return None

    def release(self, name: str) -> None:
        with self._changed:
            self._held.discard(name)
            self._changed.notify_all()

    def take_out(self, name: str, version: int | None = None) -> bool:
        """Takes out an entry, claimed or not; False if it is not here, or the index is closed.

        False, too, if a version is given and a newer one is in its place, which nobody may send
        yet. The entry's bytes count until it is gone.
        """
        with self._changed:
            self._changed.wait_for(lambda: name not in self._held or self.is_closed)
            entry = self._entries.get(name)
            if entry is not None and version is not None and entry.version > version:
                return False
            return not self.is_closed and self._take_out(name)

    def give_out(self, name: str) -> None:
        """The same for an entry that the caller holds, or has begun to write."""
        with self._changed:
            self._take_out(name)
            self.release(name)

    def forget(self, name: str) -> None:
        """Forgets a file that is not here, or about which nothing is decided."""
        with self._changed:
            self._take_out(name)
            self.gone(name)

    def put_back(self, entry: Entry) -> None:
        """Puts back an entry that was taken out and stays after all."""
        with self._changed:
            self.put(entry)
            self.gone(entry.name)

    def gone(self, name: str) -> None:
        """The file of a leaving entry no longer exists."""
        with self._changed:
            self._size_bytes -= self._leaving.pop(name, 0)
            self._changed.notify_all()

    def close(self, timeout_s: float) -> None:
        """Accepts nothing from now on; waits until nobody writes, at most this long."""
        with self._changed:
            self.is_closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._written and not self._held, timeout_s)

    def _take_out(self, name: str) -> bool:
        """Changes nothing before its last line, whatever is raised."""
        entry = self._entries.get(name)
        if entry is None and name not in self._written:
            return False
        # An entry that is being written leaves when storing it has failed.
        self._leaving[name] = self._written.get(name, 0) if entry is None else entry.size_bytes
        self._claimed.discard(name)
        self._written.pop(name, None)
        self._entries.pop(name, None)
        return True

"""Room for the next event: what may be written, and what is shed before an event is refused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from vision_event_block.events.bundle import encode_payload, input_members, without_pictures
from vision_event_block.outbox.entry import Contents, Corrupt, pack, unpack
from vision_event_block.outbox.slot import CORRUPT, DEAD, SLOTS, event_id_of, is_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from vision_event_block.outbox.disk import Disk
    from vision_event_block.outbox.slot import Slot
    from vision_event_block.outbox.stock import Stock

#: Pictures are shed from here on, so that the next event finds room at once.
SHED_FROM: Final = 0.9


class NoRoom(Exception):  # noqa: N818 - a state the operator can change
    """Not even the bare event fits; the message says which limit was reached."""


@dataclass(frozen=True)
class OutboxLimits:
    """How much the outbox takes."""

    max_bytes: int = 2 * 2**30
    min_free_bytes: int = 512 * 2**20
    max_events: int = 100_000
    max_age_s: float = 30 * 86_400.0


class Room:
    """The room in an outbox folder. Not thread-safe: the outbox has a lock."""

    def __init__(
        self, folder: Path, slot: Slot, stock: Stock, limits: OutboxLimits, disk: Disk
    ) -> None:
        self._folder = folder
        self._slot = slot
        self._stock = stock
        self._limits = limits
        self._disk = disk
        #: Of other slots, dead letters and unreadable files, as of the last look.
        self.other_bytes = 0
        #: Entries without pictures of a stage, so that shedding looks at each of them once.
        self._without_inputs: set[str] = set()
        self._bare: set[str] = set()
        self._bare_letters: set[str] = set()

    def could_hold(self, size_bytes: int) -> bool:
        """Whether so much would fit if the outbox were empty."""
        return size_bytes <= SHED_FROM * self._limits.max_bytes

    def make(self, size_bytes: int) -> bool:
        """Whether so much can be written, after shedding what may be."""
        if len(self._stock) >= self._limits.max_events:
            return False
        if self._free_bytes() >= size_bytes:
            return True
        for shed in (self._shed_unreadable, self._shed_dead, self._shed_inputs, self._shed_all):
            shed(size_bytes)
            if self._free_bytes() >= size_bytes:
                return True
        return False

    def drop_letters(self, size_bytes: int) -> None:
        """Gives up dead letters, oldest first, before a new event is refused for want of room."""
        folder = self._folder / DEAD
        names = self._disk.names(folder)
        for name in sorted(filter(is_entry, names)):
            if self._free_bytes() >= size_bytes:
                return
            reason = f"{name.removesuffix('.tar')}.json"
            try:
                file_bytes = self._disk.size_bytes(folder / name)
                self._slot.journal.dropped(event_id_of(name), "full")
                self._disk.remove(folder / name)
                if reason in names:
                    file_bytes += self._disk.size_bytes(folder / reason)
                    self._disk.remove(folder / reason)
            except FileNotFoundError:
                continue  # another process was faster
            self.other_bytes -= file_bytes

    def refuse_if_full(self, size_bytes: int) -> None:
        """Nothing, if a bare event may be written.

        Raises:
            NoRoom: it may not.
        """
        if len(self._stock) >= self._limits.max_events:
            raise NoRoom(f"{len(self._stock)} events wait (VISION_EVENT_OUTBOX_MAX_EVENTS)")
        total = self._stock.size_bytes + self.other_bytes + size_bytes
        if total > self._limits.max_bytes:
            raise NoRoom(
                f"the outbox holds {total / 1e6:.0f} MB (VISION_EVENT_OUTBOX_MAX_BYTES), and there "
                "are no pictures left to shed"
            )
        if self._disk.free_bytes(self._folder) - size_bytes < self._limits.min_free_bytes:
            raise NoRoom(
                f"less than {self._limits.min_free_bytes / 1e6:.0f} MB are free on the disk "
                "(VISION_EVENT_OUTBOX_MIN_FREE_BYTES)"
            )

    def bytes_elsewhere(self) -> int:
        """What others take now: other slots, dead letters, unreadable files."""
        total = 0
        folders = [self._folder / DEAD, self._folder / CORRUPT]
        folders += [
            self._folder / SLOTS / name
            for name in self._disk.names(self._folder / SLOTS)
            if name != self._slot.folder.name
        ]
        for folder in folders:
            try:
                names = self._disk.names(folder)
            except OSError:
                continue  # not of ours, gone meanwhile, or not for us to see
            for name in names:
                try:
                    total += self._disk.size_bytes(folder / name)
                except OSError:  # noqa: PERF203 -- each for itself
                    continue  # gone meanwhile
        return total

    def _free_bytes(self) -> int:
        """What may still be written before pictures have to go."""
        by_quota = (
            int(SHED_FROM * self._limits.max_bytes) - self._stock.size_bytes - self.other_bytes
        )
        by_disk = self._disk.free_bytes(self._folder) - self._limits.min_free_bytes
        return min(by_quota, by_disk)

    def _shed_unreadable(self, size_bytes: int) -> None:
        folder = self._folder / CORRUPT
        for name in sorted(filter(is_entry, self._disk.names(folder))):
            if self._free_bytes() >= size_bytes:
                return
            try:
                file_bytes = self._disk.size_bytes(folder / name)
            except FileNotFoundError:
                continue  # another process was faster
            self._slot.journal.dropped(event_id_of(name), "corrupt")
            self._disk.remove(folder / name)
            self.other_bytes -= file_bytes

    def _shed_dead(self, size_bytes: int) -> None:
        folder = self._folder / DEAD
        letters = set(filter(is_entry, self._disk.names(folder)))
        self._bare_letters &= letters
        for name in sorted(letters - self._bare_letters):
            if self._free_bytes() >= size_bytes:
                return
            try:
                tar = self._disk.read(folder / name)
                contents = unpack(tar)
            except (Corrupt, OSError):
                continue
            if contents.pictures:
                chunks = _without(contents, list(contents.pictures))
                # In our slot, where no other process writes and a cut-off file is swept.
                temporary = self._slot.folder / f"{name}.tmp"
                self._disk.write(temporary, chunks, sync=True)
                self._disk.rename(temporary, folder / name)
                self.other_bytes += sum(map(len, chunks)) - len(tar)
                self._slot.journal.count("shed dead", len(contents.pictures))
            self._bare_letters.add(name)

    def _shed_inputs(self, size_bytes: int) -> None:
        self._shed(size_bytes, self._without_inputs, input_members)

    def _shed_all(self, size_bytes: int) -> None:
        self._shed(size_bytes, self._bare, None)

    def _shed(
        self,
        size_bytes: int,
        done: set[str],
        chosen: Callable[[Mapping[str, Any]], list[str]] | None,
    ) -> None:
        if len(done) > 2 * len(self._stock):  # most are gone
            done &= set(self._stock.names)
        for name in self._stock.names:
            if self._free_bytes() >= size_bytes:
                return
            if name in done or self._stock.is_claimed(name):
                continue
            entry = self._stock[name]
            try:
                contents = unpack(self._slot.read(name))
            except (Corrupt, OSError):
                continue  # whoever sends it finds out
            members = list(contents.pictures) if chosen is None else chosen(contents.payload)
            if members:
                chunks = _without(contents, members)
                self._slot.commit(name, chunks, is_new=False)
            done.add(name)
            if not members:
                continue
            self._stock.put(replace(entry, size_bytes=sum(map(len, chunks))))
            self._slot.journal.count("shed quota", len(members))


def _without(contents: Contents, members: list[str]) -> list[bytes]:
    notes = replace(contents.notes, shed={**contents.notes.shed, **dict.fromkeys(members, "quota")})
    kept = {name: data for name, data in contents.pictures.items() if name not in members}
    return pack(encode_payload(without_pictures(contents.payload, members)), kept, notes)

"""How much the outbox may take, and what is shed before an event is refused.

Nothing here takes long at a time: one step sheds the pictures of one event. A thread that stores an
event does at most a few steps, and only when the last tenth is in use; the housekeeping thread does
the rest. No lock is held while a file is read or written.
"""

from __future__ import annotations

import heapq
import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from vision_event_block.events.bundle import encode_payload, input_members, without_pictures
from vision_event_block.outbox.entry import Corrupt, EntryContents, pack, unpack
from vision_event_block.outbox.entry_names import key_of
from vision_event_block.outbox.slot import CORRUPT, DEAD, SLOTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from vision_event_block.outbox.own_slot import OwnSlot
    from vision_event_block.outbox.slot import Entry

_logger = logging.getLogger(__name__)

#: Pictures are shed from here on, so that the next events find space immediately.
SHED_FROM: Final = 0.9
#: How many events a thread that stores one may shed pictures of.
STEPS_PER_STORE: Final = 4
#: How many events without pictures to shed one step skips.
_LOOKS_PER_STEP: Final = 16
_MANY: Final = 1024


class NoRoom(Exception):  # noqa: N818 - a state the operator can change
    """Not even the bare event fits; the message says which limit was reached."""


@dataclass(frozen=True)
class OutboxLimits:
    """How much an outbox may hold, and for how long."""

    max_bytes: int = 2 * 2**30
    min_free_bytes: int = 512 * 2**20
    max_events: int = 100_000
    max_age_s: float = 30 * 86_400.0


class Quota:
    """The space in an outbox folder, as the owner of a slot uses it. Any thread may use it."""

    def __init__(self, own: OwnSlot, limits: OutboxLimits) -> None:
        self._folder = own.folder
        self._slot = own.slot
        self._index = own.index
        self._leaving = own.leaving
        self._aside = own.aside
        self._ballast = own.ballast
        self._limits = limits
        self._disk = own.disk
        #: In other slots, dead letters and damaged files, as of the last look.
        self._other_bytes = 0
        #: What may still have pictures to shed, oldest first.
        self._with_inputs: list[str] = []
        self._with_pictures: list[str] = []
        #: What failed, until the next look or the next event that needs room.
        self._put_off: set[str] = set()
        self._bare_dead_letters: set[str] = set()

    def look_around(self) -> None:
        """Notes what others take now, and lets what failed be tried again."""
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
                continue  # not ours, gone meanwhile, or not readable for us
            if folder.name == DEAD:
                self._bare_dead_letters.intersection_update(names)
            for name in names:
                try:
                    total += self._disk.size_bytes(folder / name)
                except OSError:  # noqa: PERF203 -- each for itself
                    continue  # gone meanwhile
        self._other_bytes = total
        self._put_off.clear()

    def note_moved_out(self, name: str, folder: Path, size_bytes: int) -> None:
        """An entry has moved to where others count it too; its size, if the disk does not tell."""
        with suppress(OSError):
            size_bytes = self._disk.size_bytes(folder / name)
        self._other_bytes += size_bytes

    def note_pictures(self, entry: Entry, payload: Mapping[str, Any] | None = None) -> None:
        """Lists an entry that pictures may be shed of; without its payload, as any kind."""
        with self._index.unchanged():
            if payload is None or input_members(payload):
                self._push(self._with_inputs, entry.name)
            if payload is None or payload.get("images"):
                self._push(self._with_pictures, entry.name)

    def could_hold(self, size_bytes: int) -> bool:
        """Whether this much would fit if the outbox were empty."""
        return size_bytes <= SHED_FROM * self._limits.max_bytes

    def reserve(self, name: str, size_bytes: int) -> bool:
        """Reserves space for an entry, after shedding a little if there is none."""
        return self._reserve(name, size_bytes, self.shed_one)

    def reserve_bare(self, name: str, size_bytes: int) -> None:
        """The same for an event without its pictures; dead letters are dropped for it as well.

        Raises:
            NoRoom: it does not fit.
        """
        if not self._reserve(
            name, size_bytes, lambda: self.shed_one() or self._drop_aside(DEAD, "full")
        ):
            raise NoRoom(self._why_full(size_bytes))

    def is_short(self) -> bool:
        """Whether pictures have to go, to have space before it is needed."""
        return self._free_bytes(SHED_FROM) < 0

    def spare_bytes(self) -> int:
        """What the disk has beyond the space that is kept free for others."""
        return self._disk.free_bytes(self._folder) - self._limits.min_free_bytes

    def shed_one(self) -> bool:
        """Frees a little space: the pictures of one event, or one damaged file.

        Returns whether there may be more to free.
        """
        return (
            self._drop_aside(CORRUPT, "corrupt")
            or self._shed_dead_letter()
            or self._shed(self._with_inputs, input_members)
            or self._shed(self._with_pictures, None)
        )

    def _reserve(self, name: str, size_bytes: int, make_room: Callable[[], bool]) -> bool:
        if self._reserve_now(name, size_bytes):
            return True
        if len(self._index) >= self._limits.max_events:
            return False
        self._put_off.clear()
        for _ in range(STEPS_PER_STORE):
            if not make_room() or self._free_bytes(SHED_FROM) >= size_bytes:
                break
        return self._reserve_now(name, size_bytes)

    def _reserve_now(self, name: str, size_bytes: int) -> bool:
        with self._index.unchanged():
            return (
                len(self._index) < self._limits.max_events
                and self._free_bytes(1.0) >= size_bytes
                and self._index.reserve(name, size_bytes)
            )

    def _free_bytes(self, share: float) -> int:
        """What may still be written of a share of the quota."""
        taken_bytes = self._index.size_bytes + self._other_bytes
        by_quota = int(share * self._limits.max_bytes) - taken_bytes
        return min(by_quota, self.spare_bytes() - self._index.unwritten_bytes)

    def _why_full(self, size_bytes: int) -> str:
        if self._index.is_closed:
            return "the outbox is closed"
        if len(self._index) >= self._limits.max_events:
            return f"{len(self._index)} events wait (VISION_EVENT_OUTBOX_MAX_EVENTS)"
        total = self._index.size_bytes + self._other_bytes + size_bytes
        if total > self._limits.max_bytes:
            return (
                f"the outbox holds {total / 1e6:.0f} MB (VISION_EVENT_OUTBOX_MAX_BYTES), and there "
                "are no pictures left to shed"
            )
        return (
            f"less than {self._limits.min_free_bytes / 1e6:.0f} MB are free on the disk "
            "(VISION_EVENT_OUTBOX_MIN_FREE_BYTES)"
        )

    def _drop_aside(self, place: str, reason: str) -> bool:
        """Drops the oldest one, whichever process gets it."""
        name = next(iter(self._names(place)), None)
        if name is None:
            return False
        try:
            file_bytes = self._disk.size_bytes(self._aside.path(place, name))
            if self.drop_aside(name, place, reason):
                self._other_bytes -= file_bytes
            else:
                self._put_off.add(name)
        except OSError as error:
            self._put_off_for_now(name, error)
        return True

    def drop_aside(self, name: str, place: str, reason: str = "") -> bool:
        """Drops what was set aside; False if another process was faster.

        Without a reason it counts as delivered: a newer version is sent instead.

        Raises:
            OSError: it is still there.
        """
        if not self._index.reserve(name, 0):
            return False
        is_taken = False
        try:
            if self._ballast.afford(lambda: self._aside.take(name, place)) is None:
                return False
            try:
                if reason:
                    self._slot.journal.dropped(key_of(name), reason)
                else:
                    self._slot.journal.delivered(key_of(name))
                is_taken = True
            except OSError:
                self._aside.put(name, place)
                raise
        finally:
            self._index.give_out(name)
            if not is_taken:
                self._index.gone(name)
        self._leaving.remove(name)
        if place == DEAD:
            self._aside.forget_reason(name)
        return True

    def _shed_dead_letter(self) -> bool:
        """Sheds the pictures of the oldest dead letter that has any."""
        looks = 0
        for name in self._names(DEAD):
            if name in self._bare_dead_letters:
                continue
            looks += 1
            try:
                if self._shed_this_dead_letter(name):
                    return True
            except (OSError, MemoryError) as error:
                self._put_off_for_now(name, error)
                return True
            if looks >= _LOOKS_PER_STEP:
                return True
        return False

    def _shed_this_dead_letter(self, name: str) -> bool:
        try:
            tar = self._disk.read(self._aside.path(DEAD, name))
            contents = unpack(tar)
        except (Corrupt, FileNotFoundError):
            self._bare_dead_letters.add(name)
            return False
        if not contents.pictures:
            self._bare_dead_letters.add(name)
            return False
        if not self._index.reserve(name, 0):
            return False
        try:
            # Taken first: another process may requeue it meanwhile, and it must not come back here.
            if self._aside.take(name, DEAD) is None:
                return False
            try:
                chunks = _without(contents, list(contents.pictures))
                self._ballast.afford(lambda: self._slot.rewrite(name, chunks))
                self._other_bytes += sum(map(len, chunks)) - len(tar)
                self._slot.journal.count("shed dead", len(contents.pictures))
                self._bare_dead_letters.add(name)
            finally:
                self._aside.put(name, DEAD)
        finally:
            self._index.forget(name)
        return True

    def _push(self, candidates: list[str], name: str) -> None:
        heapq.heappush(candidates, name)
        # Most were delivered meanwhile, or are listed once for each version.
        if len(candidates) > 2 * len(self._index) + _MANY:
            candidates[:] = {each for each in candidates if self._index.knows(each)}
            heapq.heapify(candidates)

    def _shed(
        self, candidates: list[str], chosen: Callable[[Mapping[str, Any]], list[str]] | None
    ) -> bool:
        """Sheds the chosen pictures of the oldest unused entry that has any."""
        busy: list[str] = []
        entry = None
        try:
            for _ in range(_LOOKS_PER_STEP):
                entry = self._next(candidates, busy)
                if entry is None:
                    return False
                try:
                    if self._shed_this(entry, chosen):
                        return True
                except (OSError, MemoryError) as error:
                    busy.append(entry.name)
                    self._put_off_for_now(entry.name, error)
                    return True
                finally:
                    self._index.release(entry.name)
        except BaseException:
            if entry is not None:
                self._index.release(entry.name)
            raise
        else:
            return True
        finally:
            with self._index.unchanged():
                for name in busy:
                    heapq.heappush(candidates, name)

    def _next(self, candidates: list[str], busy: list[str]) -> Entry | None:
        """The oldest entry, held; entries that are in use are noted as busy."""
        with self._index.unchanged():
            while candidates:
                name = heapq.heappop(candidates)
                entry = None if name in self._put_off else self._index.hold(name)
                if entry is not None:
                    return entry
                if self._index.get(name) is not None:
                    busy.append(name)
            return None

    def _shed_this(
        self, entry: Entry, chosen: Callable[[Mapping[str, Any]], list[str]] | None
    ) -> bool:
        try:
            contents = unpack(self._slot.read(entry.name))
        except (Corrupt, FileNotFoundError):
            return False  # its sender finds out
        members = list(contents.pictures) if chosen is None else chosen(contents.payload)
        if not members:
            return False
        try:
            chunks = _without(contents, members)
            self._ballast.afford(lambda: self._slot.rewrite(entry.name, chunks))
        except OSError:
            # Without the other pictures as well it needs next to nothing.
            if len(members) == len(contents.pictures):
                raise
            members = list(contents.pictures)
            chunks = _without(contents, members)
            self._slot.rewrite(entry.name, chunks)
        try:
            self._note_shed(entry, chunks, members)
        except MemoryError:  # memory may be free now; the pictures are gone in any case
            self._note_shed(entry, chunks, members)
        return True

    def _note_shed(self, entry: Entry, chunks: list[bytes], members: list[str]) -> None:
        if self._index.get(entry.name) is entry:
            self._index.put(replace(entry, size_bytes=sum(map(len, chunks))))
        self._slot.journal.count("shed quota", len(members))

    def _names(self, place: str) -> list[str]:
        try:
            names = self._aside.names(place)
        except OSError as error:
            _logger.debug("could not list %s/: %s", place, error)
            return []
        return [name for name in names if name not in self._put_off]

    def _put_off_for_now(self, name: str, error: Exception) -> None:
        self._put_off.add(name)
        _logger.warning("could not free space by removing pictures of %s: %s", name, error)


def _without(contents: EntryContents, members: list[str]) -> list[bytes]:
    metadata = replace(
        contents.metadata, shed={**contents.metadata.shed, **dict.fromkeys(members, "quota")}
    )
    kept = {name: data for name, data in contents.pictures.items() if name not in members}
    return pack(encode_payload(without_pictures(contents.payload, members)), kept, metadata)

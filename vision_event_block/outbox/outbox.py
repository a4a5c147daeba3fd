"""The outbox as one process uses it: store, read, remove; adopt what others left; free space."""

from __future__ import annotations

import json
import logging
import threading
import time
import zlib
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from vision_event_block.outbox import clock
from vision_event_block.outbox.age_limit import AgeLimit
from vision_event_block.outbox.ballast import Ballast
from vision_event_block.outbox.disk import OutboxUnusable, RealDisk
from vision_event_block.outbox.entry import Corrupt, DeliveryMetadata, EntryContents, unpack
from vision_event_block.outbox.entry_names import state_name
from vision_event_block.outbox.journal import SUPERSEDED
from vision_event_block.outbox.own_slot import Hold
from vision_event_block.outbox.quota import NoRoom, OutboxLimits
from vision_event_block.outbox.receipts import Receipt, Receipts
from vision_event_block.outbox.slot import CORRUPT, DEAD, LOCK, RETRY, SLOTS, STATUS, Entry
from vision_event_block.outbox.spool import NoSpool
from vision_event_block.outbox.version_marks import VersionMarks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from vision_event_block.outbox.disk import Disk
    from vision_event_block.outbox.entry import Address
    from vision_event_block.outbox.journal import Journal
    from vision_event_block.outbox.own_slot import Step
    from vision_event_block.outbox.owner_status import OwnerStatus
    from vision_event_block.outbox.spool import Kept, Layout

_logger = logging.getLogger(__name__)

#: How long one call sheds pictures.
SHED_FOR_S: Final = 1.0
#: On closing: how long a write in progress may take to end.
CLOSE_WAIT_S: Final = 5.0
#: How long another process has to hand over an older version; it looks every second.
ASK_S: Final = 1.5

_Copy = TypeVar("_Copy")


class Outbox:
    """One process's hold on an outbox folder. Any thread may use it."""

    def __init__(
        self,
        folder: Path,
        limits: OutboxLimits = OutboxLimits(),
        *,
        disk: Disk | None = None,
        now: Callable[[], float] = time.time,
        uptime: Callable[[], float] = clock.uptime_s,
    ) -> None:
        """Takes a slot of its own in the folder, which is created if needed.

        Raises:
            OutboxUnusable: nothing can be stored there.
        """
        self.folder = folder
        self._limits = limits
        self._age_limit = AgeLimit(limits.max_age_s)
        self._disk: Disk = RealDisk() if disk is None else disk
        self._now = now
        self._uptime = uptime
        self._receipts = Receipts(folder, self._disk)
        self._marks = VersionMarks(folder, self._disk)
        self._ballast = Ballast(folder, self._disk, max_bytes=limits.max_bytes)
        #: Guards the two below.
        self._lock = threading.Lock()
        self._closed = False
        self._hold = Hold.take(folder, self._disk, self._ballast, limits)

    @property
    def slot_folder(self) -> Path:
        return self._hold.slot.folder

    @property
    def journal(self) -> Journal:
        return self._hold.slot.journal

    def store(
        self,
        event_id: str,
        payload: dict[str, Any],
        pictures: Mapping[str, bytes],
        metadata: DeliveryMetadata,
    ) -> Entry:
        """Stores the event, without its pictures if need be; after this it survives anything.

        Raises:
            NoRoom: not even the bare event fits.
            OSError: the disk refuses; nothing is stored.
        """
        try:
            return self._store(event_id, payload, pictures, metadata)
        except OSError:
            if not self._renew_if_lost():
                raise
        return self._store(event_id, payload, pictures, metadata)

    def keep_in_memory(self, layout: Layout[_Copy]) -> Kept[_Copy]:
        """A copy that survives this process, but not a power cut.

        Raises:
            NoSpool, OSError: it can be kept in private memory only.
        """
        if self._closed:
            raise NoSpool("the outbox is closed")
        return self._hold.spool.keep(layout)

    def read(self, entry: Entry) -> EntryContents | None:
        """What the entry holds; None if it is gone, or damaged and now set aside.

        Raises:
            OSError: it cannot be read now. Other errors that are not the file's pass through, too.
        """
        hold = self._hold
        try:
            return unpack(hold.slot.read(entry.name))
        except FileNotFoundError:
            hold.index.forget(entry.name)
        except Corrupt as error:
            _logger.error(  # noqa: TRY400 -- the message says it all
                "stored event %s is damaged (%s); moved to corrupt/", entry.name, error
            )
            if self._ends(entry, partial(hold.leaving.move_to_corrupt, entry.name)):
                hold.quota.note_moved_out(entry.name, self.folder / CORRUPT, entry.size_bytes)
        return None

    def delivered(self, entry: Entry) -> None:
        hold = self._hold
        note = partial(hold.slot.journal.delivered, entry.key)
        if not self._ends(entry, partial(hold.leaving.remove, entry.name), note):
            hold.index.unclaim(entry.name)  # a newer version has taken its place

    def supersede(self, entry: Entry) -> bool:
        """Removes an older version that a newer one has replaced; False if it is not here.

        It ends in the counts as delivered; the newer version is counted from there.
        """
        hold = self._hold
        note = partial(hold.slot.journal.delivered, entry.key)
        return self._ends(entry, partial(hold.leaving.remove, entry.name), note)

    def outrank(self, entry: Entry) -> bool:
        """Whether no one else can send an older version than this one from now on.

        A live process that has one is asked to hand it over.

        Raises:
            OSError: that cannot be determined now.
        """
        hold, slots = self._hold, self.folder / SLOTS
        held = self._marks.older_elsewhere(hold, entry)
        live = {slot: held[slot] for slot in held if self._disk.is_locked(slots / slot / LOCK)}
        for older in hold.handover.take_in(hold.handover.collect(live, ASK_S)):
            self.supersede(older)
            hold.slot.journal.count(SUPERSEDED)
        return not held

    def is_outranked(self, entry: Entry) -> bool:
        """Whether a newer version of an event was or is about to be sent, from any slot."""
        return self._marks.is_outranked(entry.event_id, entry.version)

    def note_delivery(self, payload: Mapping[str, Any], address: Address) -> None:
        """Records that the API has an event, for `verify`. Losing the record does no harm."""
        if "useCaseId" not in payload:
            return  # what a relay keeps is not a bundle
        with suppress(OSError, MemoryError):
            self._receipts.add(Receipt.of(payload, address.url, self._now()))

    def drop(self, entry: Entry, reason: str) -> None:
        """Drops an event.

        Raises:
            OSError: the drop cannot be recorded, so the event stays.
        """
        hold = self._hold
        note = partial(hold.slot.journal.dropped, entry.key, reason)
        self._ends(entry, partial(hold.leaving.remove, entry.name), note)

    def move_to_dead_letters(self, entry: Entry, reason: Mapping[str, Any]) -> None:
        hold = self._hold
        if self._ends(entry, partial(hold.leaving.move_to_dead_letters, entry.name, reason)):
            hold.quota.note_moved_out(entry.name, self.folder / DEAD, entry.size_bytes)
        else:
            hold.index.unclaim(entry.name)  # a newer version has taken its place

    def claim(self, entry: Entry) -> bool:
        """Marks an entry as being sent; False if it is no longer here."""
        return self._hold.index.claim(entry.name)

    def unclaim(self, entry: Entry) -> None:
        self._hold.index.unclaim(entry.name)

    def note_progress(self, entry: Entry, source_ids: Mapping[str, str]) -> None:
        """Records which pictures are uploaded, to save sending them again; may be lost."""
        if self._closed:  # the slot may be another process's by now
            return
        text = json.dumps(dict(source_ids))
        state = {"sourceIds": text, "crc32": zlib.crc32(text.encode())}
        try:
            self._hold.slot.write_beside(state_name(entry.name), json.dumps(state).encode())
        except OSError as error:
            _logger.debug("could not save the upload progress of %s: %s", entry.name, error)

    def progress(self, entry: Entry) -> dict[str, str]:
        """The API's id of each uploaded picture; empty if that is not certain."""
        try:
            state = json.loads(self._hold.slot.read(state_name(entry.name)))
            if zlib.crc32(state["sourceIds"].encode()) != state["crc32"]:
                return {}  # a wrong id would get the event rejected
            known: dict[str, str] = json.loads(state["sourceIds"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}
        return known

    def write_status(self, status: OwnerStatus) -> None:
        """Reports this process's condition to the command line and the metrics; raises OSError."""
        self._hold.slot.write_beside(STATUS, json.dumps(status.to_json()).encode())

    def take_retry_request(self) -> bool:
        """Whether an operator has asked for a retry since the last call."""
        try:
            self._disk.remove(self._hold.slot.folder / RETRY)
        except OSError:  # usually nobody has asked
            return False
        return True

    def entries(self) -> list[Entry]:
        """What this process owns, oldest first."""
        return self._hold.index.entries()

    def adoptions(self) -> Iterator[Entry]:
        """Takes over the slots without an owner, and yields each entry as soon as it is here.

        This includes entries of its own slot that could not be read when they came. Entries can be
        sent while others are still coming, however many there are.
        """
        hold = self._hold
        yield from hold.handover.adoptions()
        hold.look_around()

    def adopt(self) -> list[Entry]:
        """The same, as a list."""
        return list(self.adoptions())

    def drop_aside(self, path: Path, reason: str) -> bool:
        """Drops a dead letter or a damaged file; False if another process was faster.

        Raises:
            OSError: it stays where it is.
        """
        return self._hold.quota.drop_aside(path.name, path.parent.name, reason)

    def hand_over(self) -> list[str]:
        """Hands another process the entries that it asked for; returns their names."""
        return self._hold.handover.give()

    def do_housekeeping(self) -> None:
        """Periodic work: the age limit, what the disk has refused, space for the next events."""
        self._renew_if_lost()
        hold = self._hold
        hold.leaving.retry()
        hold.spool.renew()
        hold.spool.tidy()
        hold.look_around()
        self._age_limit.drop_old(
            hold.slot, hold.index, hold.leaving, wall_s=self._now(), uptime_s=self._uptime()
        )
        self.make_room()
        with suppress(OSError):
            hold.leftovers.sweep_slot(hold.slot.folder, hold.index.knows)
            hold.leftovers.sweep_aside(self.folder / DEAD)
            hold.leftovers.sweep_aside(self.folder / CORRUPT)
        with suppress(OSError):
            self._ballast.refill(hold.quota.spare_bytes(), hold.slot.folder)
        with suppress(OSError):
            hold.slot.journal.tend()

    def make_room(self) -> None:
        """Sheds pictures while space is short, for a second at most; then call again."""
        quota = self._hold.quota
        ends_at_s = time.monotonic() + SHED_FOR_S
        with suppress(OSError):
            while quota.is_short() and quota.shed_one() and time.monotonic() < ends_at_s:
                pass

    def close(self) -> None:
        """Releases the slot; what waits is adopted by the next process."""
        try:
            with self._lock:
                if self._closed:
                    return
                self._closed = True
            self._hold.index.close(CLOSE_WAIT_S)
            with suppress(OSError):  # what is not written now is never counted
                self._ballast.afford(self._hold.slot.journal.tend)
        finally:
            self._hold.spool.close()
            self._hold.slot.release()

    def abandon(self) -> None:
        """Closes what a forked child inherited; the slot stays its parent's."""
        self._closed = True
        self._hold.slot.release()

    def _store(
        self,
        event_id: str,
        payload: dict[str, Any],
        pictures: Mapping[str, bytes],
        metadata: DeliveryMetadata,
    ) -> Entry:
        if self._closed:
            raise NoRoom("the outbox is closed")
        hold = self._hold
        return hold.store(event_id, payload, pictures, metadata, self._now())

    def _ends(self, entry: Entry, leave: Step, note: Step = lambda: None) -> bool:
        # After closing, the slot may be another process's; after a fork, locks may be in any state.
        return not self._closed and self._hold.end(entry, leave, note)

    def _renew_if_lost(self) -> bool:
        """Takes another slot if its own was removed, or another disk is in its place."""
        with self._lock:
            lost = self._hold
            try:
                if self._closed or lost.slot.is_ours():
                    return False
                self._hold = Hold.take(self.folder, self._disk, self._ballast, self._limits)
            except (OSError, OutboxUnusable) as error:
                _logger.error(  # noqa: TRY400 -- the message says it all
                    "the outbox in %s was removed or replaced: %s", self.folder, error
                )
                return False
        left = len(lost.index)
        lost.index.close(0.0)
        lost.slot.release()
        _logger.error(
            "the outbox in %s was removed or replaced, and a new one is used there; %d events that "
            "waited in the old one are sent if it comes back",
            self.folder,
            left,
        )
        return True

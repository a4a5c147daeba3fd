"""The outbox as one process uses it: store, read, take off; adopt what others left; keep room."""

from __future__ import annotations

import itertools
import json
import logging
import os
import threading
import time
import zlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vision_event_block.events.bundle import encode_payload, without_pictures
from vision_event_block.outbox import clock
from vision_event_block.outbox.disk import OutboxUnusable, RealDisk
from vision_event_block.outbox.entry import Contents, Corrupt, Notes, pack, unpack
from vision_event_block.outbox.room import NoRoom, OutboxLimits, Room
from vision_event_block.outbox.slot import (
    CORRUPT,
    DEAD,
    LOCK,
    RELEASE,
    SLOTS,
    STATUS,
    Entry,
    Slot,
    entry_name,
    event_id_of,
    is_entry,
    state_name,
    stored_at_s,
)
from vision_event_block.outbox.stock import Stock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from vision_event_block.outbox.disk import Disk

_logger = logging.getLogger(__name__)


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
        """Takes a slot of its own in the folder, which is made if need be.

        Raises:
            OutboxUnusable: nothing can be stored there.
        """
        self.folder = folder
        self._limits = limits
        self._disk: Disk = RealDisk() if disk is None else disk
        self._now = now
        self._uptime = uptime
        self._clock_trust = clock.Trust()
        #: Guards all below.
        self._lock = threading.RLock()
        self._stock = Stock()
        #: Names of entries that are being written.
        self._in_the_making: set[str] = set()
        self._closed = False
        try:
            self._slot = self._take_new_slot()
        except OSError as error:
            raise OutboxUnusable(
                f"{folder} cannot be written to ({error.strerror or error}); make it writable "
                "or set VISION_EVENT_OUTBOX to another folder"
            ) from None
        self.journal = self._slot.journal
        self._room = Room(folder, self._slot, self._stock, limits, self._disk)
        self._look_elsewhere()

    @property
    def slot_folder(self) -> Path:
        """The folder of this process."""
        return self._slot.folder

    def store(
        self, event_id: str, payload: dict[str, Any], pictures: Mapping[str, bytes], notes: Notes
    ) -> Entry:
        """The event on disk, if need be without its pictures; after this it survives anything.

        Raises:
            NoRoom: not even the bare event fits.
            OSError: the disk refuses.
        """
        chunks = pack(encode_payload(payload), pictures, notes)
        size_bytes = sum(map(len, chunks))
        with self._lock:
            if self._closed:
                raise NoRoom("the outbox is closed")
            shed = 0
            if not (self._room.could_hold(size_bytes) and self._room.make(size_bytes)):
                notes = replace(notes, shed={**notes.shed, **dict.fromkeys(pictures, "quota")})
                payload = without_pictures(payload, list(pictures))
                chunks, shed = pack(encode_payload(payload), {}, notes), len(pictures)
                size_bytes = sum(map(len, chunks))
                if not self._room.make(size_bytes):
                    self._room.drop_letters(size_bytes)
                self._room.refuse_if_full(size_bytes)
            name = entry_name(self._now(), event_id)
            self._stock.size_bytes += size_bytes  # reserved while it is being written
            self._in_the_making.add(name)
        try:
            self._slot.commit(name, chunks)
            entry = Entry(name, size_bytes, notes)
            with self._lock:
                self._stock.put_reserved(entry)
        except BaseException:
            with self._lock:
                self._stock.size_bytes -= size_bytes
            raise
        finally:
            with self._lock:
                self._in_the_making.discard(name)
        if shed:
            self.journal.count("shed quota", shed)
        return entry

    def read(self, entry: Entry) -> Contents | None:
        """What the entry holds, None if it is gone or damaged; then it is put aside.

        Raises:
            OSError: it cannot be read now.
        """
        try:
            return unpack(self._slot.read(entry.name))
        except FileNotFoundError:
            self._forget(entry.name)
        except Corrupt as error:
            _logger.error(  # noqa: TRY400 -- the message says it all, as below
                "the stored event %s is damaged (%s); moved to corrupt/", entry.name, error
            )
            self._put_aside(entry.name)
        return None

    def delivered(self, entry: Entry) -> None:
        """Takes an event off: the API has it."""
        if self._closed:
            return  # the slot may be another process's by now
        self.journal.delivered(entry.event_id)
        self._slot.remove(entry.name)
        self._forget(entry.name)

    def drop(self, entry: Entry, reason: str) -> None:
        """Gives an event up."""
        if self._closed:
            return  # the slot may be another process's by now
        self.journal.dropped(entry.event_id, reason)
        self._slot.remove(entry.name)
        self._forget(entry.name)

    def bury(self, entry: Entry, reason: Mapping[str, Any]) -> None:
        """Puts an event among the dead letters, with the reason beside it."""
        if self._closed:
            return  # the slot may be another process's by now
        dead = self.folder / DEAD
        letter = dead / f"{entry.name.removesuffix('.tar')}.json"
        try:
            self._disk.write(letter.with_suffix(".tmp"), [json.dumps(reason).encode()], sync=True)
            self._disk.rename(letter.with_suffix(".tmp"), letter)
        except OSError as error:  # a full disk, mostly; the letter itself takes no more room there
            _logger.warning("why %s was refused cannot be written down: %s", entry.name, error)
        self._move_out(entry.name, dead)

    def claim(self, entry: Entry) -> bool:
        """Marks an entry as being sent; False if it is not here any more."""
        with self._lock:
            return self._stock.claim(entry.name)

    def unclaim(self, entry: Entry) -> None:
        """Ends a claim."""
        with self._lock:
            self._stock.unclaim(entry.name)

    def note_progress(self, entry: Entry, source_ids: Mapping[str, str]) -> None:
        """Keeps which pictures are up, to save sending them again. Losing it does no harm."""
        if self._closed:
            return  # the slot may be another process's by now
        try:
            text = json.dumps(dict(source_ids))
            state = {"sourceIds": text, "crc32": zlib.crc32(text.encode())}
            self._slot.write_beside(state_name(entry.name), json.dumps(state).encode())
        except OSError as error:
            _logger.debug("the progress of %s cannot be kept: %s", entry.name, error)

    def progress(self, entry: Entry) -> dict[str, str]:
        """The API's id of each picture that is up already."""
        try:
            state = json.loads(self._slot.read(state_name(entry.name)))
            if zlib.crc32(state["sourceIds"].encode()) != state["crc32"]:
                return {}  # a wrong id would have the event refused
            known: dict[str, str] = json.loads(state["sourceIds"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}
        return known

    def write_status(self, status: Mapping[str, Any]) -> None:
        """What this process says about itself to the command line and the metrics."""
        self._slot.write_beside(STATUS, json.dumps(status).encode())

    def entries(self) -> list[Entry]:
        """What this process owns, oldest first."""
        with self._lock:
            return [self._stock[name] for name in self._stock.names]

    def adopt(self) -> list[Entry]:
        """Takes over the slots without an owner; gives the entries that came with them.

        And those of its own slot that could not be read when they came.
        """
        adopted = self._take_in(self._strays())
        for name in sorted(self._disk.names(self.folder / SLOTS)):
            if name == self._slot.folder.name:
                continue
            try:
                orphan = Slot.take(self._disk, self.folder / SLOTS / name)
                if orphan is None:
                    continue
                try:
                    orphan.settle()
                    names = [name for name in self._disk.names(orphan.folder) if is_entry(name)]
                    try:
                        self._slot.adopt(orphan)
                    finally:  # also what came before something failed
                        here = set(self._disk.names(self._slot.folder))
                        adopted += self._take_in(name for name in names if name in here)
                finally:
                    orphan.release()
            except (OSError, OutboxUnusable) as error:
                _logger.warning("the slot %s cannot be taken over now: %s", name, error)
        self._look_elsewhere()
        return adopted

    def adopt_dead(self, names: Iterable[str]) -> list[Entry]:
        """Takes dead letters back into the line."""
        dead, taken = self.folder / DEAD, []
        for name in names:
            self.journal.adopted([event_id_of(name)])
            try:
                self._disk.rename(dead / name, self._slot.folder / name)
            except FileNotFoundError:
                self.journal.moved_on(event_id_of(name))  # another process was faster
            else:
                taken.append(name)
        if taken:
            self._disk.sync_folder(self._slot.folder)
            self._disk.sync_folder(dead)
        for name in taken:
            reason = dead / f"{name.removesuffix('.tar')}.json"
            if reason.name in self._disk.names(dead):
                self._disk.remove(reason)
        entries = self._take_in(taken)
        self._look_elsewhere()
        return entries

    def hand_over(self) -> list[str]:
        """Gives another process the entries that it asked for; their names."""
        path = self._slot.folder / RELEASE
        try:
            request = json.loads(self._disk.read(path))
            target = self.folder / SLOTS / Path(str(request["to"])).name
            wanted = set(request["names"])
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError):
            self._disk.remove(path)
            return []
        given = []
        # Else whoever asked is gone; and what is ours is here already.
        if target != self._slot.folder and LOCK in self._disk.names(target):
            given = self._give(wanted, target)
        with suppress(FileNotFoundError):  # whoever asked has taken it back
            self._disk.remove(path)
        return given

    def keep_house(self) -> None:
        """What is due now and then: the age limit, the room that others take, shedding."""
        self._look_elsewhere()
        now_s = self._now()
        with self._lock:  # to the end, so that nothing dropped is claimed meanwhile
            may_drop = self._clock_trust.given(now_s, self._uptime())
            too_old = [
                entry
                for entry in (self.entries() if may_drop else ())
                if clock.is_plausible(entry.notes.taken.wall_s)
                and now_s - stored_at_s(entry.name) > self._limits.max_age_s
                and not self._stock.is_claimed(entry.name)
            ]
            for entry in too_old:
                _logger.error("event %s waited longer than the age limit; dropped", entry.event_id)
                self.drop(entry, "age")
            self._room.make(0)
        self.journal.rotate_if_long()

    def close(self) -> None:
        """Lets go of the slot; what waits is adopted by the next process."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._slot.release()

    def abandon(self) -> None:
        """Closes what a forked child inherited; the slot stays its parent's."""
        self._closed = True
        self._slot.release()

    def _take_new_slot(self) -> Slot:
        for folder in (self.folder, self.folder / SLOTS, self.folder / DEAD, self.folder / CORRUPT):
            self._make_folder(folder)
        for number in itertools.count():
            name = f"{clock.boot_id()[:8]}-{os.getpid()}-{number}"
            folder = self.folder / SLOTS / name
            if not self._disk.make_folder(folder):
                continue
            self._disk.sync_folder(folder.parent)
            slot = Slot.take(self._disk, folder)
            if slot is not None:  # else another process adopts it this very moment
                return slot
        raise AssertionError("unreachable")

    def _make_folder(self, folder: Path) -> None:
        """Makes a folder and, if need be, its parents."""
        try:
            self._disk.make_folder(folder)
        except FileNotFoundError:
            self._make_folder(folder.parent)
            self._disk.make_folder(folder)
        # Also if it was there: whoever made it may have been killed before this.
        self._disk.sync_folder(folder.parent)

    def _strays(self) -> list[str]:
        names = list(filter(is_entry, self._disk.names(self._slot.folder)))
        with self._lock:
            return [n for n in names if n not in self._stock and n not in self._in_the_making]

    def _take_in(self, names: Iterable[str]) -> list[Entry]:
        taken = []
        for name in sorted(names):
            try:
                entry = self._slot.entry(name)
            except Corrupt as error:
                _logger.error("the stored event %s is damaged (%s)", name, error)  # noqa: TRY400
                self._put_aside(name)
                continue
            except FileNotFoundError:
                continue  # sent meanwhile
            except OSError as error:
                _logger.warning("the stored event %s cannot be read now: %s", name, error)
                continue
            with self._lock:
                self._stock.put(entry)
            taken.append(entry)
        return taken

    def _forget(self, name: str) -> None:
        with self._lock:
            self._stock.forget(name)

    def _put_aside(self, name: str) -> None:
        try:
            self._move_out(name, self.folder / CORRUPT)
        except OSError as error:
            _logger.error("%s cannot be moved to corrupt/: %s", name, error)  # noqa: TRY400
            self._forget(name)

    def _give(self, wanted: Iterable[str], target: Path) -> list[str]:
        given = []
        with self._lock:
            for name in wanted:
                if name not in self._stock or self._stock.is_claimed(name):
                    continue
                try:
                    self._disk.rename(self._slot.folder / name, target / name)
                except FileNotFoundError:
                    break  # whoever asked is gone
                self._forget(name)
                self.journal.moved_on(event_id_of(name))
                given.append(name)
        if given:
            self._disk.sync_folder(target)
            self._disk.sync_folder(self._slot.folder)
        for name in given:
            self._slot.remove(name)  # what lay beside it
        self._look_elsewhere()
        return given

    def _move_out(self, name: str, target: Path) -> None:
        self._disk.rename(self._slot.folder / name, target / name)
        self._disk.sync_folder(target)
        self._disk.sync_folder(self._slot.folder)
        size_bytes = self._disk.size_bytes(target / name)
        self._forget(name)
        self.journal.moved_on(event_id_of(name))
        self._slot.remove(name)  # what lay beside it
        with self._lock:
            self._room.other_bytes += size_bytes

    def _look_elsewhere(self) -> None:
        try:
            other_bytes = self._room.bytes_elsewhere()
        except OSError as error:  # what is known from before will do
            _logger.debug("the other slots cannot be looked at: %s", error)
            return
        with self._lock:
            self._room.other_bytes = other_bytes

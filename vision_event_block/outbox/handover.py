"""Entries on their way from one slot to another: adopted, or handed over on request.

A slot whose lock nobody holds is adopted. A live owner is asked with `release.json` and hands over
what it is not sending at the moment. Only a slot's owner moves what is in it.
"""

from __future__ import annotations

import json
import logging
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from vision_event_block.outbox.disk import OutboxUnusable
from vision_event_block.outbox.entry import Corrupt
from vision_event_block.outbox.entry_names import is_entry, key_of
from vision_event_block.outbox.recovery import store_recovered
from vision_event_block.outbox.slot import LOCK, RELEASE, SLOTS, Slot
from vision_event_block.outbox.spool import NoSpool, is_spooled, spooled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from vision_event_block.outbox.own_slot import OwnSlot
    from vision_event_block.outbox.quota import Quota
    from vision_event_block.outbox.slot import Entry
    from vision_event_block.outbox.spool import Spool

_logger = logging.getLogger(__name__)

#: This many are moved under one sync, and can then be sent, before the next ones are.
BATCH: Final = 256
_POLL_S: Final = 0.05


class Handover:
    """Moves entries into this slot from others, and from this slot to others."""

    def __init__(self, own: OwnSlot, quota: Quota, spool: Spool) -> None:
        self._slots = own.folder / SLOTS
        self._slot = own.slot
        self._index = own.index
        self._leaving = own.leaving
        self._quota = quota
        self._spool = spool
        self._ballast = own.ballast
        self._disk = own.disk

    def adoptions(self) -> Iterator[Entry]:
        """Takes over slots that nobody owns, and yields each entry as soon as it is here.

        This includes unclaimed entries in the own slot. An entry is yielded again next time if the
        caller stops iterating at it.
        """
        with suppress(OSError):
            self._slot.fold_all()
            self._store_spooled(self._slot)  # from the slot's previous owner
        yield from self.take_in(filter(is_entry, self._disk.names(self._slot.folder)))
        for name in sorted(self._disk.names(self._slots)):
            if name == self._slot.folder.name:
                continue
            try:
                yield from self._adopt(self._slots / name)
            except (OSError, OutboxUnusable) as error:
                _logger.warning("could not take over slot %s, will retry: %s", name, error)

    def take_in(self, names: Iterable[str]) -> Iterator[Entry]:
        """Yields entries in the own slot that are not in the index yet."""
        for name in sorted(names):
            if self._index.knows(name):
                continue
            entry = self._look_at(name)
            if entry is None:
                continue
            self._index.put(entry)
            was_taken = False
            try:
                yield entry
                was_taken = True
            finally:
                if not was_taken:
                    self._index.forget(name)
            self._quota.note_pictures(entry)

    def give(self) -> list[str]:
        """Hands another process the entries that it asked for; returns their names."""
        path = self._slot.folder / RELEASE
        try:
            content = self._disk.read(path)
        except OSError:
            return []  # usually nobody has asked
        target, wanted = self._request_in(content)
        given = [] if target is None else self._give(wanted, target)
        with suppress(OSError):  # the other process may have withdrawn it
            self._disk.remove(path)
        return given

    def collect(self, names_by_slot: Mapping[str, Sequence[str]], patience_s: float) -> list[str]:
        """Asks live owners for entries; returns the names of those that came."""
        give_up_at_s = time.monotonic() + patience_s
        received: list[str] = []
        for slot in sorted(set(names_by_slot) & set(self._disk.names(self._slots))):
            if slot != self._slot.folder.name:
                received += self._ask(slot, names_by_slot[slot], give_up_at_s)
        return received

    def _adopt(self, folder: Path) -> Iterator[Entry]:
        try:
            if not self._disk.is_folder(folder):
                return  # a link would lead outside the outbox
        except FileNotFoundError:
            return
        orphan = Slot.take(self._disk, folder)
        if orphan is None:
            return
        try:
            orphan.settle()
            self._store_spooled(orphan)
            names = orphan.entry_names()
            for begin in range(0, len(names), BATCH):
                yield from self._receive(orphan, names[begin : begin + BATCH])
            # A finished entry that cannot be unlinked needs its journal, and an entry may just have
            # been handed to the process that is gone.
            if not any(is_entry(name) or is_spooled(name) for name in self._disk.names(folder)):
                self._slot.take_over(orphan)
        finally:
            orphan.release()

    def _store_spooled(self, slot: Slot) -> None:
        """Encodes and stores what a killed process had in memory only; raises OSError."""
        for name in filter(is_spooled, self._disk.names(slot.folder)):
            if self._spool.owns(name):
                continue
            path = slot.folder / name
            try:
                content = spooled(self._disk.read(path))
                if content is not None:
                    store_recovered(slot, content, self._ballast)
            except NoSpool as error:
                _logger.warning("%s stays in the outbox: %s", path, error)
                continue
            self._disk.remove(path)

    def _receive(self, orphan: Slot, names: Sequence[str]) -> Iterator[Entry]:
        received: list[str] = []
        failure = None
        try:
            self._ballast.afford(lambda: self._slot.receive(orphan, names, received))
        except OSError as error:
            failure = error
        yield from self.take_in(received)
        if failure is not None:
            raise failure

    def _look_at(self, name: str) -> Entry | None:
        """What is known of a file; None if nothing can be done with it now."""
        try:
            return self._slot.entry(name)
        except Corrupt as error:
            _logger.error(  # noqa: TRY400 -- the message says it all
                "stored event %s is damaged (%s); moved to corrupt/", name, error
            )
            if self._index.reserve(name, 0):
                self._index.give_out(name)
                self._leaving.move_to_corrupt(name)
        except FileNotFoundError:
            pass  # sent meanwhile
        except OSError as error:
            _logger.warning("could not read stored event %s, will retry: %s", name, error)
        return None

    def _request_in(self, content: bytes) -> tuple[Path | None, list[str]]:
        """Who asks, and for what; None if the asker is gone or the request is not ours."""
        try:
            request = json.loads(content)
            target, names = request["to"], request["names"]
            wanted = [name for name in names if isinstance(name, str)]
        except (ValueError, LookupError, TypeError, RecursionError):
            return None, []
        if target == self._slot.folder.name or target not in self._disk.names(self._slots):
            return None, []
        folder = self._slots / target
        try:
            is_there = self._disk.is_folder(folder) and LOCK in self._disk.names(folder)
        except OSError:
            return None, []
        return (folder if is_there else None), wanted

    def _give(self, wanted: Iterable[str], target: Path) -> list[str]:
        given = []
        for name in wanted:
            entry = self._index.hold(name)
            if entry is None:
                continue
            try:
                self._disk.rename(self._slot.folder / name, target / name)
            except (OSError, MemoryError) as error:
                self._index.release(name)
                _logger.debug("could not hand over %s: %s", name, error)
                break  # usually the asker is gone
            try:
                self._note_given(entry, target)
            except MemoryError:  # retried, as memory may be free now; the file is there already
                self._note_given(entry, target)
            given.append(name)
        try:
            for folder in (target, self._slot.folder) if given else ():
                self._disk.sync_folder(folder)
        except OSError as error:  # the moves are complete anyway
            _logger.warning("could not sync the events handed over to %s: %s", target.name, error)
        return given

    def _note_given(self, entry: Entry, target: Path) -> None:
        self._index.give_out(entry.name)
        self._index.gone(entry.name)
        self._slot.journal.moved_on(entry.key)
        self._quota.note_moved_out(entry.name, target, entry.size_bytes)
        self._slot.remove_progress(entry.name)

    def _ask(self, slot: str, names: Sequence[str], give_up_at_s: float) -> list[str]:
        """What the owner of a slot hands over; asks again for what it is sending."""
        giver = self._slots / slot
        # Before the first of them can come, so that none is counted as stored again.
        self._slot.journal.adopted(map(key_of, names))
        missing = set(names)
        while missing and time.monotonic() < give_up_at_s:
            here = set(self._disk.names(giver))
            missing -= set(self._disk.names(self._slot.folder))
            if RELEASE in here:
                time.sleep(_POLL_S)  # another command is asking, or the owner has not looked yet
            elif asked := missing & here:
                if not self._try_to_ask(giver, sorted(asked)):
                    break
            else:
                break  # the rest was delivered meanwhile
        self._withdraw(giver)
        received = set(self._disk.names(self._slot.folder))
        return [name for name in names if name in received]

    def _try_to_ask(self, giver: Path, names: Sequence[str]) -> bool:
        """False if another process is adopting the slot at this very moment."""
        request = json.dumps({"to": self._slot.folder.name, "names": names}).encode()
        temporary = giver / f"{RELEASE}.tmp"
        try:
            self._ballast.afford(partial(self._disk.write, temporary, [request], sync=False))
            self._disk.rename(temporary, giver / RELEASE)
        except FileNotFoundError:
            return False
        return True

    def _withdraw(self, giver: Path) -> None:
        """Takes back a request that was not answered."""
        with suppress(OSError, ValueError, LookupError, TypeError):
            request = json.loads(self._disk.read(giver / RELEASE))
            if request["to"] == self._slot.folder.name:
                self._disk.remove(giver / RELEASE)

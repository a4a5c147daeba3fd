"""A slot: the folder of one process in the outbox, and what only its owner does in it."""

from __future__ import annotations

import threading
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vision_event_block.outbox.entry import Corrupt, Notes, read_notes, unpack
from vision_event_block.outbox.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from vision_event_block.outbox.disk import Disk

SLOTS: Final = "slots"
DEAD: Final = "dead"
CORRUPT: Final = "corrupt"
LOCK: Final = ".lock"
JOURNAL: Final = "journal"
STATUS: Final = "status.json"
RELEASE: Final = "release.json"
_STAMP_DIGITS: Final = 13
#: Of an entry; its notes are in there, as a rule.
_HEAD_BYTES: Final = 4096


def entry_name(stored_at_s: float, event_id: str) -> str:
    """The file name of an entry: names sort by time."""
    return f"{max(0, int(stored_at_s * 1000)):0{_STAMP_DIGITS}d}-{event_id}.tar"


def is_entry(name: str) -> bool:
    """Whether a file is named as an entry is."""
    stamp, dash, rest = name.partition("-")
    return bool(dash) and stamp.isascii() and stamp.isdigit() and rest.endswith(".tar")


def event_id_of(name: str) -> str:
    """The event's id, from the name of its entry."""
    return name.partition("-")[2].removesuffix(".tar")


def stored_at_s(name: str) -> float:
    """When the event was stored by the wall clock of then, from the name of its entry."""
    return int(name.partition("-")[0]) / 1000


@dataclass(frozen=True)
class Entry:
    """An event in a slot."""

    name: str
    size_bytes: int
    notes: Notes

    @property
    def event_id(self) -> str:
        """The event's."""
        return event_id_of(self.name)


class SyncedFolder:
    """Makes changes of names last; those who wait at the same time share one sync."""

    def __init__(self, disk: Disk, folder: Path) -> None:
        self._disk = disk
        self._folder = folder
        self._changed = threading.Condition()
        #: Syncs begun and syncs done; one is under way while they differ.
        self._begun = 0
        self._done = 0

    def sync(self) -> None:
        """Returns once a sync that began after this call is through."""
        with self._changed:
            needed = self._begun + 1
            while self._done < needed:
                if self._begun == self._done:
                    self._begun += 1
                    break
                self._changed.wait()
            else:
                return
        try:
            self._disk.sync_folder(self._folder)
        except BaseException:  # an interrupt too: the others wait for this one's end
            with self._changed:
                self._begun -= 1  # somebody else tries, and fails or not for itself
                self._changed.notify_all()
            raise
        with self._changed:
            self._done = self._begun
            self._changed.notify_all()


class Slot:
    """A slot that this process owns. Any thread may use it."""

    def __init__(self, disk: Disk, folder: Path, lock: int) -> None:
        self.folder = folder
        self._disk = disk
        self._lock = lock
        self._names = SyncedFolder(disk, folder)
        self.journal = Journal(disk, folder / JOURNAL)

    @classmethod
    def take(cls, disk: Disk, folder: Path) -> Slot | None:
        """The slot, if nobody owns it; None if somebody does or it is gone."""
        try:
            lock = disk.lock(folder / LOCK)
        except FileNotFoundError:
            return None
        if lock is None:
            return None
        try:
            return cls(disk, folder, lock)
        except BaseException:
            disk.unlock(lock)
            raise

    def settle(self) -> None:
        """Ends what a killed owner had begun, so that files and journal say the same."""
        for name in self._disk.names(self.folder):
            if name.endswith(".tmp"):
                self._disk.remove(self.folder / name)
            elif name.startswith("journal-"):
                self._fold(name)
            elif is_entry(name):
                event_id = event_id_of(name)
                if event_id in self.journal.delivered_ids or event_id in self.journal.dropped_ids:
                    self.remove(name)  # it is done with, only the unlink was missing
                elif event_id not in self.journal.open_ids:
                    self.journal.stored(event_id)

    def commit(self, name: str, chunks: Iterable[bytes], *, is_new: bool = True) -> None:
        """Writes an entry so that it survives a power cut; on return it is stored.

        Raises:
            OSError: it is not; what was written is gone again.
        """
        temporary = self.folder / f"{name}.tmp"
        try:
            self._disk.write(temporary, chunks, sync=True)
            self._disk.rename(temporary, self.folder / name)
        except OSError:
            self._remove_if_there(temporary)
            raise
        try:
            self._names.sync()
        except OSError:
            if is_new:
                self._remove_if_there(self.folder / name)
            raise
        if is_new:
            self.journal.stored(event_id_of(name))

    def read(self, name: str) -> bytes:
        """The bytes of an entry."""
        return self._disk.read(self.folder / name)

    def remove(self, name: str) -> None:
        """Unlinks an entry and what belongs to it."""
        self._remove_if_there(self.folder / name)
        self._remove_if_there(self.folder / state_name(name))

    def entry(self, name: str) -> Entry:
        """What is known of an entry; raises Corrupt or OSError."""
        path = self.folder / name
        return Entry(name, self._disk.size_bytes(path), notes_at(self._disk, path))

    def adopt(self, orphan: Slot) -> None:
        """Moves everything of a settled slot whose owner is gone here.

        Raises:
            OSError: not everything was moved.
        """
        files = self._disk.names(orphan.folder)
        names = [name for name in files if is_entry(name)]
        self.receive(orphan, names)
        for name in {state_name(name) for name in names}.intersection(files):
            self._disk.rename(orphan.folder / name, self.folder / name)
        # A name of its own: slots of the same name come and go where process ids are used again.
        folded = f"journal-{orphan.folder.name}-{uuid.uuid4().hex[:8]}"
        try:
            self._disk.rename(orphan.folder / JOURNAL, self.folder / folded)
        except FileNotFoundError:
            pass
        else:
            self._disk.sync_folder(self.folder)
            self._fold(folded)
        for name in self._disk.names(orphan.folder):
            if not is_entry(name):  # one that a live process hands over just now stays
                self._disk.remove(orphan.folder / name)
        orphan.release()
        self._disk.remove_folder(orphan.folder)
        self._disk.sync_folder(orphan.folder.parent)

    def receive(self, giver: Slot, names: Iterable[str]) -> None:
        """Moves entries of another slot, which this process owns too, here."""
        names = list(names)
        self.journal.adopted(event_id_of(name) for name in names)
        for name in names:
            self._disk.rename(giver.folder / name, self.folder / name)
        if names:
            self._disk.sync_folder(self.folder)
            self._disk.sync_folder(giver.folder)

    def write_beside(self, name: str, content: bytes) -> None:
        """A small file that may be lost, replaced in one step."""
        temporary = self.folder / f"{name}.tmp"
        self._disk.write(temporary, [content], sync=False)
        self._disk.rename(temporary, self.folder / name)

    def release(self) -> None:
        """Lets go of the slot; what is in it is adopted by another process."""
        if self._lock >= 0:
            self._disk.unlock(self._lock)
            self._lock = -1

    def _fold(self, journal_name: str) -> None:
        path = self.folder / journal_name
        self.journal.fold(Journal(self._disk, path), journal_name.removeprefix("journal-"))
        self._disk.remove(path)

    def _remove_if_there(self, path: Path) -> None:
        with suppress(FileNotFoundError):
            self._disk.remove(path)


def notes_at(disk: Disk, path: Path) -> Notes:
    """What travels with the event of an entry; raises Corrupt or OSError."""
    try:
        return read_notes(disk.read_head(path, _HEAD_BYTES))
    except Corrupt:
        # The notes name each picture that was shed and may be longer than that.
        return unpack(disk.read(path)).notes


def state_name(name: str) -> str:
    """The file that holds an entry's progress."""
    return f"{name.removesuffix('.tar')}.state.json"

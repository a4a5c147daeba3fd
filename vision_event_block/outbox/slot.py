"""A slot: the folder of one process in the outbox, and what only its owner does in it."""

from __future__ import annotations

import threading
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vision_event_block.outbox.entry import Corrupt, DeliveryMetadata, read_metadata, unpack
from vision_event_block.outbox.entry_names import event_id_of, is_entry, key_of, state_name
from vision_event_block.outbox.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from vision_event_block.outbox.disk import Disk

SLOTS: Final = "slots"
DEAD: Final = "dead"
CORRUPT: Final = "corrupt"
LOCK: Final = ".lock"
JOURNAL: Final = "journal"
STATUS: Final = "status.json"
RELEASE: Final = "release.json"
#: Present while an operator wants the slot's owner to retry immediately.
RETRY: Final = "retry"
#: The beginning of an entry that usually holds its delivery metadata.
_HEAD_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Entry:
    """An event in a slot."""

    name: str
    size_bytes: int
    metadata: DeliveryMetadata

    @property
    def event_id(self) -> str:
        return event_id_of(self.name)

    @property
    def key(self) -> str:
        return key_of(self.name)

    @property
    def version(self) -> int:
        return self.metadata.version

    def may_hold(self, event_id: str, metadata: DeliveryMetadata) -> bool:
        """Whether its file may hold a newer version of its event instead.

        Not if the two are counted separately: then the file's name tells them apart.
        """
        return (
            self.event_id == event_id
            and self.version < metadata.version
            and self.metadata.address.place == metadata.address.place
            and self.metadata.is_update <= metadata.is_update
        )


class SyncedFolder:
    """Makes renames durable; threads that wait at the same time share one sync."""

    def __init__(self, disk: Disk, folder: Path) -> None:
        self._disk = disk
        self._folder = folder
        self._changed = threading.Condition()
        #: Syncs begun and syncs done; one is in progress while they differ.
        self._begun = 0
        self._done = 0

    def sync(self) -> None:
        """Returns once a sync that began after this call is done."""
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
            with self._changed:
                self._done = self._begun
                self._changed.notify_all()
        except BaseException:  # an interrupt too: the others wait for this one to end
            with self._changed:
                self._begun = self._done  # another thread tries, with a result of its own
                self._changed.notify_all()
            raise


class Slot:
    """A slot that this process owns. Any thread may use it."""

    #: Not held.
    _lock = -1

    def __init__(self, disk: Disk, folder: Path, lock: int) -> None:
        self.folder = folder
        self._disk = disk
        self._names = SyncedFolder(disk, folder)
        self.journal = Journal(disk, folder / JOURNAL)
        self._lock = lock  # from here on this slot has to release it

    def __del__(self) -> None:
        """Whatever was raised on the way: a slot that nobody uses any more can be adopted."""
        self.release()

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
        """Finishes what a killed owner had begun, so that files and journal agree.

        Raises:
            OSError: a journal that was taken over cannot be read; nothing of it is lost.
        """
        names = self._disk.names(self.folder)
        self.journal.only_there({key_of(name) for name in names if is_entry(name)})
        for name in names:
            if name.endswith(".tmp"):
                self._remove_if_possible(self.folder / name)
            elif is_entry(name):
                key = key_of(name)
                if self._is_done(key):
                    with suppress(OSError):  # it needs another try
                        self.remove(name)  # only the unlink was missing
                elif key not in self.journal.open_ids:
                    self.journal.stored(key)
        self.fold_all()

    def fold_all(self) -> None:
        """Adds the journals that were taken over to this slot's own; raises OSError."""
        for name in self._disk.names(self.folder):
            if name.startswith(f"{JOURNAL}-"):
                self._fold(name)

    def entry_names(self) -> list[str]:
        """The entries in the folder, oldest first, without those that are finished."""
        names = self._disk.names(self.folder)
        return sorted(n for n in names if is_entry(n) and not self._is_done(key_of(n)))

    def entries_of(self, event_id: str) -> list[str]:
        """The entries that hold a version of this event."""
        return [name for name in self.entry_names() if event_id_of(name) == event_id]

    def commit(self, name: str, chunks: Iterable[bytes]) -> None:
        """Writes a new entry so that it survives a power cut; on return it is stored.

        It is not counted yet.

        Raises:
            OSError: it is not stored; what was written is removed again, if the disk allows it.
        """
        try:
            self._write_and_rename(name, chunks)
            self._names.sync()
        except BaseException:
            self._remove_if_possible(self.folder / name)
            raise

    def knows(self, key: str) -> bool:
        """Whether an entry is here, or was here and is finished."""
        return key in self.journal.open_ids or self._is_done(key)

    def rewrite(self, name: str, chunks: Iterable[bytes]) -> None:
        """Replaces an entry's content; a power cut leaves either the old or the new.

        Raises:
            OSError: the entry is unchanged.
        """
        self._write_and_rename(name, chunks)
        try:  # it is done; not even an error while entering a `with` may say otherwise
            self._names.sync()
        except (OSError, MemoryError):
            return

    def replace(self, name: str, chunks: Iterable[bytes]) -> None:
        """The same for content that counts as stored: on return it survives a power cut.

        Raises:
            OSError: it may not survive one, or the entry is unchanged.
        """
        self._write_and_rename(name, chunks)
        self._names.sync()

    def _write_and_rename(self, name: str, chunks: Iterable[bytes]) -> None:
        temporary = self.folder / f"{name}.tmp"
        try:
            self._disk.write(temporary, chunks, sync=True)
            self._disk.rename(temporary, self.folder / name)
        except BaseException:
            self._remove_if_possible(temporary)
            raise

    def read(self, name: str) -> bytes:
        return self._disk.read(self.folder / name)

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._disk.remove(self.folder / name)
        self.journal.removed(key_of(name))
        self.remove_progress(name)

    def remove_progress(self, name: str) -> None:
        """Removes an entry's upload progress; if that fails, it is swept later."""
        self._remove_if_possible(self.folder / state_name(name))

    def entry(self, name: str) -> Entry:
        """What is known of an entry; raises Corrupt or OSError."""
        path = self.folder / name
        return Entry(name, self._disk.size_bytes(path), metadata_at(self._disk, path))

    def receive(self, giver: Slot, names: Sequence[str], received: list[str]) -> None:
        """Moves entries here from another slot, which this process owns too.

        Args:
            giver: The other slot.
            names: What is to be moved.
            received: Gets the names that are here now.

        Raises:
            OSError: not all of them were moved.
        """
        self.journal.adopted(key_of(name) for name in names)
        try:
            for name in names:
                with suppress(FileNotFoundError):
                    self._disk.rename(giver.folder / name, self.folder / name)
                    received.append(name)
                with suppress(OSError):  # it saves sending pictures again, but is not needed
                    state = state_name(name)
                    self._disk.rename(giver.folder / state, self.folder / state)
        finally:
            if received:
                self._disk.sync_folder(self.folder)
                self._disk.sync_folder(giver.folder)

    def take_over(self, orphan: Slot) -> None:
        """Takes over the counts of an emptied slot, and removes what is left of it.

        Raises:
            OSError: something is left.
        """
        # A unique name: slots of the same name come and go where process ids are reused.
        folded = f"{JOURNAL}-{orphan.folder.name}-{uuid.uuid4().hex[:8]}"
        try:
            self._disk.rename(orphan.folder / JOURNAL, self.folder / folded)
        except FileNotFoundError:
            pass
        else:
            self._disk.sync_folder(self.folder)
            self._fold(folded)
        for name in self._disk.names(orphan.folder):
            if not is_entry(name):  # one that a live process is handing over right now stays
                self._disk.remove(orphan.folder / name)
        orphan.release()
        self._disk.remove_folder(orphan.folder)
        self._disk.sync_folder(orphan.folder.parent)

    def is_ours(self) -> bool:
        """Whether this is still the folder that was taken; raises OSError if that is unclear."""
        return self._lock < 0 or self._disk.is_locked_by(self._lock, self.folder / LOCK)

    def write_beside(self, name: str, content: bytes) -> None:
        """A small file that may be lost, replaced in one step."""
        temporary = self.folder / f"{name}.tmp"
        self._disk.write(temporary, [content], sync=False)
        self._disk.rename(temporary, self.folder / name)

    def release(self) -> None:
        """Releases the slot; what is in it is adopted by another process."""
        if self._lock < 0:
            return
        try:  # in one step: a closed number can be reused for another file at any moment
            self._lock, _ = -1, self._disk.unlock(self._lock)  # type: ignore[func-returns-value]
        except OSError:  # it is closed anyway
            self._lock = -1
            raise

    def _is_done(self, key: str) -> bool:
        return key in self.journal.delivered_ids or key in self.journal.dropped_ids

    def _fold(self, journal_name: str) -> None:
        path = self.folder / journal_name
        name = journal_name.removeprefix(f"{JOURNAL}-")
        self.journal.fold(Journal(self._disk, path, is_ours=False), name)
        if self.journal.is_written:  # otherwise it is still needed
            self._disk.remove(path)
            self.journal.unfolded(name)

    def _remove_if_possible(self, path: Path) -> None:
        """For files that do no harm if they stay, and are looked for again."""
        with suppress(OSError):
            self._disk.remove(path)


def metadata_at(disk: Disk, path: Path) -> DeliveryMetadata:
    """What travels with the event of an entry; raises Corrupt or OSError."""
    try:
        return read_metadata(disk.read_head(path, _HEAD_BYTES))
    except Corrupt:
        # The metadata names each shed picture and may be longer than that.
        return unpack(disk.read(path)).metadata

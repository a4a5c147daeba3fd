"""The spool: events that are not stored yet, in memory that a killed process leaves behind.

Each of them is a frame in a mapped file of its own. The copy costs as much as one into private
memory, and its pages belong to the kernel, however the process ends; the process that adopts the
slot finds the complete frames.

What is in the page cache and removed in time is never written to the medium. So a file is used for
a few seconds only: a page that stays dirty for half a minute would be written, and raw pixels are
large. Creating a file costs five times the copy that goes into it, so the next one is created in
advance, and not while a workflow waits.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar
from uuid import uuid4

from vision_event_block.outbox.mounts import file_system

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vision_event_block.outbox.disk import Disk

PREFIX: Final = "spool-"
#: On these, allocated space stays allocated: writing to it cannot fail.
FILE_SYSTEMS: Final = frozenset({"ext4", "xfs", "f2fs", "tmpfs", "overlay"})
#: A file is used no longer than this; the kernel writes what is dirty for 30 s.
MAX_AGE_S: Final = 15.0
#: A file older than this, and used as recently as that, gets a successor in advance. The thread
#: that sees to it comes every five or six seconds.
RENEW_AFTER_S: Final = 8.0
USED_LATELY_S: Final = 5.0
#: Files that wait to be reused, and what they may take.
MAX_IDLE: Final = 32
MAX_IDLE_BYTES: Final = 64 * 2**20
#: Written last. Its last character is the version of what follows.
MARK: Final = b"VEspool1"
_NO_MARK: Final = bytes(len(MARK))
#: Where the frame begins.
_START_BYTES: Final = 4096

_Copy = TypeVar("_Copy")
_Copy_co = TypeVar("_Copy_co", covariant=True)


class NoSpool(Exception):  # noqa: N818 - a property of the place
    """Events in memory cannot be kept here; the message says why."""


class Layout(Protocol[_Copy_co]):
    """What is to be kept."""

    @property
    def size_bytes(self) -> int:
        """How much memory it takes."""

    def write(self, memory: memoryview) -> _Copy_co:
        """Writes it there; returns the copy."""


@dataclass(eq=False)
class Kept(Generic[_Copy]):
    """What is kept, and the file that it is in."""

    copy: _Copy
    #: None after the release: a reference to this then keeps no pages, which would be written.
    file: _MappedFile | None
    spool: Spool

    def release(self) -> None:
        """Ends it: the event is stored, or over. The copy must not be read after this.

        It may be called again.
        """
        self.spool.release(self)


@dataclass(eq=False)
class _MappedFile:
    path: Path
    memory: mmap.mmap
    made_at_s: float
    used_at_s: float
    #: Another file has been created to replace it.
    is_renewed: bool = False

    @property
    def size_bytes(self) -> int:
        return len(self.memory)


class Spool:
    """The frames of one process. Any thread may use it."""

    def __init__(
        self,
        folder: Path,
        disk: Disk,
        *,
        min_free_bytes: int = 0,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Creates nothing yet.

        Args:
            folder: The slot of the process.
            disk: To check free space and to remove files.
            min_free_bytes: What has to stay free.
            clock_s: A monotonic clock, in seconds.
        """
        self._folder = folder
        self._disk = disk
        self._min_free_bytes = min_free_bytes
        self._clock_s = clock_s
        #: Distinguishes this process's files from those of the slot's previous owner.
        self._prefix = f"{PREFIX}{uuid4().hex[:8]}-"
        self._is_fit: bool | None = None
        #: Guards the fields below.
        self._lock = threading.Lock()
        self._made = 0
        #: The one used last comes last, and is used next: that way few pages are ever dirty.
        self._idle: list[_MappedFile] = []
        self._in_use: set[_MappedFile] = set()
        self._is_closed = False

    def keep(self, layout: Layout[_Copy]) -> Kept[_Copy]:
        """Copies something; when this returns, the copy survives the process.

        Raises:
            NoSpool: this file system is not suitable.
            OSError: there is no space for it.
        """
        file = self._take(_START_BYTES + layout.size_bytes)
        try:
            kept = Kept(layout.write(memoryview(file.memory)[_START_BYTES:]), file, self)
            file.memory[: len(MARK)] = MARK
        except BaseException:
            self._put_back(file)
            raise
        return kept

    def release(self, kept: Kept[Any]) -> None:
        """Makes the file available for something else."""
        with self._lock:
            file = kept.file
            if file is None:
                return
            file.memory[: len(MARK)] = _NO_MARK
            # In one step: a second release must not touch what is there by then.
            kept.file, _ = None, self._idle.append(file)  # type: ignore[func-returns-value]
            self._in_use.discard(file)
        self.tidy()

    def tidy(self) -> None:
        """Removes files that are not needed, or so old that they would soon be written."""
        with self._lock:
            newest_s, left_bytes = self._clock_s() - MAX_AGE_S, MAX_IDLE_BYTES
            kept: list[_MappedFile] = []
            removed: list[_MappedFile] = []
            for file in reversed(self._idle):
                left_bytes -= file.size_bytes
                is_kept = left_bytes >= 0 and file.made_at_s > newest_s
                is_kept &= not (self._is_closed or file.is_renewed)
                (kept if is_kept and len(kept) < MAX_IDLE else removed).append(file)
            self._idle = kept[::-1]
        for file in removed:
            with suppress(OSError):  # it goes with the slot
                self._disk.remove(file.path)

    def renew(self) -> None:
        """Creates files that will be needed soon, in place of those in use that get too old."""
        now_s = self._clock_s()
        with self._lock:
            ageing = [
                file
                for file in (*self._idle, *self._in_use)
                if not (self._is_closed or file.is_renewed)
                and file.made_at_s <= now_s - RENEW_AFTER_S
                and file.used_at_s > now_s - USED_LATELY_S
            ]
        for file in ageing:
            try:
                successor = self._new(file.size_bytes)
            except (NoSpool, OSError):
                return  # then it is created when it is needed
            try:
                with suppress(OSError), open("/dev/zero", "rb", buffering=0) as zeros:  # noqa: PTH123
                    zeros.readinto(successor.memory)  # every page exists from now on
            finally:
                with self._lock:
                    file.is_renewed = True
                    self._idle.insert(0, successor)
        if ageing:
            self.tidy()

    def owns(self, name: str) -> bool:
        """Whether a file is one of this process's own."""
        return name.startswith(self._prefix)

    def close(self) -> None:
        """Removes the unused files; frames stay, for the next owner of the slot."""
        with self._lock:
            self._is_closed = True
        self.tidy()

    def _put_back(self, file: _MappedFile) -> None:
        file.memory[: len(MARK)] = _NO_MARK
        with self._lock:
            self._in_use.discard(file)
            self._idle.append(file)
        self.tidy()

    def _take(self, size_bytes: int) -> _MappedFile:
        with self._lock:
            for position in reversed(range(len(self._idle))):
                file = self._idle[position]
                if size_bytes <= file.size_bytes <= 2 * size_bytes and not file.is_renewed:
                    file.used_at_s = self._clock_s()
                    self._in_use.add(file)
                    return self._idle.pop(position)
        file = self._new(size_bytes)
        with self._lock:
            self._in_use.add(file)
        return file

    def _new(self, size_bytes: int) -> _MappedFile:
        with self._lock:
            self._made += 1
            path = self._folder / f"{self._prefix}{self._made}"
            if self._is_fit is None:
                self._is_fit = (
                    hasattr(os, "posix_fallocate") and file_system(self._folder) in FILE_SYSTEMS
                )
        if not self._is_fit:
            raise NoSpool(f"the file system of {self._folder} cannot reserve space")
        if self._disk.free_bytes(self._folder) - size_bytes < self._min_free_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        now_s = self._clock_s()
        return _MappedFile(path, self._make(path, size_bytes), now_s, now_s)

    def _make(self, path: Path, size_bytes: int) -> mmap.mmap:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        try:
            # A full disk shows up here, and not as a signal in the middle of the copy.
            os.posix_fallocate(descriptor, 0, size_bytes)
            return mmap.mmap(descriptor, size_bytes)
        except BaseException:
            with suppress(OSError):
                self._disk.remove(path)
            raise
        finally:
            os.close(descriptor)


def is_spooled(name: str) -> bool:
    """Whether a file is named like those of a spool."""
    return name.startswith(PREFIX)


def spooled(content: bytes) -> bytes | None:
    """What a spool's file keeps; None if it holds nothing complete.

    Raises:
        NoSpool: it was written by another version of this package.
    """
    mark = content[: len(MARK)]
    if mark[:-1] != MARK[:-1]:
        return None
    if mark != MARK:
        raise NoSpool("it was written by another version of this package, which can read it")
    return content[_START_BYTES:]

"""The file system as the outbox uses it: few operations, with each sync a separate one.

Tests replace it by a model of a disk that forgets what was not synced.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


#: The most that POSIX guarantees for one call.
_MAX_CHUNKS: Final = 16
#: How a disk says that it is full.
FULL: Final = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})
_NO_LOCKS: Final = "this system has no flock, which the outbox needs"


class OutboxUnusable(Exception):  # noqa: N818 - a state the operator can change
    """Nothing can be stored in this folder; the message says why and what to do."""


class Disk(Protocol):
    """What the outbox needs from a file system."""

    def make_folder(self, folder: Path) -> bool:
        """Makes one folder if it is missing; says whether it was made now."""

    def is_folder(self, path: Path) -> bool:
        """Whether there is a folder here, and not a link to one."""

    def write(self, path: Path, chunks: Iterable[bytes], *, sync: bool) -> None:
        """Makes or replaces a file; with `sync` its bytes are on the medium afterwards."""

    def append(self, path: Path, content: bytes) -> None:
        """Appends to a file, making it if missing; all of it or nothing. Not synced."""

    def read(self, path: Path) -> bytes:
        """The whole file."""

    def read_head(self, path: Path, length_bytes: int) -> bytes:
        """The beginning of a file."""

    def rename(self, source: Path, target: Path) -> None:
        """Moves a file, replacing the target, in one step."""

    def remove(self, path: Path) -> None:
        """Removes a file."""

    def remove_folder(self, folder: Path) -> None:
        """Removes an empty folder."""

    def sync_folder(self, folder: Path) -> None:
        """Names made, moved and removed in the folder are on the medium afterwards."""

    def names(self, folder: Path) -> list[str]:
        """What is in the folder; empty if there is none."""

    def size_bytes(self, path: Path) -> int:
        """The size of a file."""

    def free_bytes(self, folder: Path) -> int:
        """The free space on the file system of the folder."""

    def lock(self, path: Path) -> int | None:
        """Takes the lock of a file until it is closed or the process ends; None if it is held."""

    def unlock(self, lock: int) -> None:
        """Releases a lock."""

    def is_locked(self, path: Path) -> bool:
        """Whether a file's lock is held; creates no file, and holds nothing afterwards."""

    def is_locked_by(self, lock: int, path: Path) -> bool:
        """Whether the file that was locked is still the one at this path."""


class RealDisk(Disk):
    """The operating system's file system.

    What root makes is given to the owner of the folder that it is made in: a command run with
    `sudo` leaves nothing that the host cannot reach.
    """

    def make_folder(self, folder: Path) -> bool:
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            return False
        _give_to_owner(folder, folder.parent)
        return True

    def is_folder(self, path: Path) -> bool:
        return stat.S_ISDIR(path.lstat().st_mode)

    def write(self, path: Path, chunks: Iterable[bytes], *, sync: bool) -> None:
        descriptor = _open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            _write_all(descriptor, chunks)
            if sync:
                getattr(os, "fdatasync", os.fsync)(descriptor)
        finally:
            os.close(descriptor)

    def append(self, path: Path, content: bytes) -> None:
        descriptor = _open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            end_bytes = os.fstat(descriptor).st_size
            try:
                _write_all(descriptor, [content])
            except OSError:
                os.ftruncate(descriptor, end_bytes)  # a full disk takes only a part
                raise
        finally:
            os.close(descriptor)

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def read_head(self, path: Path, length_bytes: int) -> bytes:
        with path.open("rb") as file:
            return file.read(length_bytes)

    def rename(self, source: Path, target: Path) -> None:
        source.replace(target)

    def remove(self, path: Path) -> None:
        path.unlink()

    def remove_folder(self, folder: Path) -> None:
        folder.rmdir()

    def sync_folder(self, folder: Path) -> None:
        if os.name == "nt":
            return  # Windows gives no handle on a folder
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def names(self, folder: Path) -> list[str]:
        try:
            return os.listdir(folder)  # noqa: PTH208 -- names, no paths
        except FileNotFoundError:
            return []

    def size_bytes(self, path: Path) -> int:
        return path.stat().st_size

    def free_bytes(self, folder: Path) -> int:
        return shutil.disk_usage(folder).free

    def lock(self, path: Path) -> int | None:
        if fcntl is None:
            raise OutboxUnusable(_NO_LOCKS)
        descriptor = _open(path, os.O_RDWR | os.O_CREAT)
        is_ours = False
        try:
            if not _flock(descriptor, fcntl.LOCK_EX, path):
                return None
            # Otherwise its last holder has removed it with its folder.
            is_ours = self.is_locked_by(descriptor, path)
            return descriptor if is_ours else None
        finally:
            if not is_ours:
                os.close(descriptor)

    def unlock(self, lock: int) -> None:
        os.close(lock)

    def is_locked(self, path: Path) -> bool:
        if fcntl is None:
            raise OutboxUnusable(_NO_LOCKS)
        descriptor = _open(path, os.O_RDWR)
        try:
            # Shared: two that look at the same time do not take each other for the owner.
            return not _flock(descriptor, fcntl.LOCK_SH, path)
        finally:
            os.close(descriptor)

    def is_locked_by(self, lock: int, path: Path) -> bool:
        try:
            return os.path.samestat(os.fstat(lock), path.stat())
        except FileNotFoundError:
            return False


def size_if_there(disk: Disk, path: Path) -> int:
    """The size of a file; 0 if there is none."""
    try:
        return disk.size_bytes(path)
    except FileNotFoundError:
        return 0


def _flock(descriptor: int, kind: int, path: Path) -> bool:
    """Whether the lock was free."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise OutboxUnusable(
            f"files in {path.parent} cannot be locked ({error.strerror}), as on some "
            "network drives; set VISION_EVENT_OUTBOX to a folder on a local disk"
        ) from None
    return True


def _open(path: Path, flags: int) -> int:
    """A descriptor of a file of ours; an error if somebody has put a link in its place."""
    flags |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        _give_to_owner(descriptor, path.parent)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _give_to_owner(made: int | Path, folder: Path) -> None:
    """Gives what root has made to the owner of the folder around it."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return
    owner = os.stat(folder)  # noqa: PTH116 -- next to chown, which has no other form
    if owner.st_uid != os.geteuid():
        with suppress(OSError):  # not every file system can; there owners do not matter
            os.chown(made, owner.st_uid, owner.st_gid)


def _write_all(descriptor: int, chunks: Iterable[bytes]) -> None:
    """All chunks, usually in one call: each further one would wait for the interpreter's lock."""
    rest = [memoryview(chunk) for chunk in chunks if chunk]
    while rest:
        if len(rest) > 1 and hasattr(os, "writev"):  # Windows has none
            written = os.writev(descriptor, rest[:_MAX_CHUNKS])
        else:
            written = os.write(descriptor, rest[0])
        while rest and written >= len(rest[0]):
            written -= len(rest.pop(0))
        if written:
            rest[0] = rest[0][written:]

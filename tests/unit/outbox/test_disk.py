"""The system's files as the outbox uses them: whole lines, and locks that mean something."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import stat
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.open_files import open_in
from vision_event_block.outbox.disk import OutboxUnusable, RealDisk

DISK = RealDisk()


@contextmanager
def files_up_to(size_bytes):
    """Beyond this size a write takes what fits and the next one fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


class Replaced(type(Path())):
    """A path whose file is another by the time that somebody looks at it again."""

    def stat(self, **how):
        os.unlink(self)  # noqa: PTH108 -- by name, not through this class
        if self.name == "replaced":
            Path(os.fspath(self)).write_bytes(b"")
        return super().stat(**how)


def test_bytes_are_appended_whole_or_not_at_all(tmp_path):
    path = tmp_path / "journal"
    DISK.append(path, b"first\n")
    with files_up_to(10), pytest.raises(OSError, match="too large"):
        DISK.append(path, b"second\n")
    DISK.append(path, b"third\n")
    assert path.read_bytes() == b"first\nthird\n"


def test_what_is_written_replaces_what_was_there_and_is_for_its_owner_only(tmp_path):
    path = tmp_path / "entry"
    DISK.write(path, [b"much longer than the next"], sync=True)
    DISK.write(path, [b"o", b"ne"], sync=False)
    DISK.append(tmp_path / "journal", b"line\n")
    assert path.read_bytes() == b"one"
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("number", [0, 1, 2, 16, 17, 100])
def test_chunks_of_any_number_and_size_stand_in_the_file_one_after_the_other(tmp_path, number):
    chunks = [bytes([n]) * (n * 37 % 1000) for n in range(number)]
    DISK.write(tmp_path / "entry", chunks, sync=True)
    assert (tmp_path / "entry").read_bytes() == b"".join(chunks)


@pytest.mark.parametrize("size_bytes", [3, 8, 9, 10])
def test_a_disk_that_takes_a_part_of_the_chunks_gets_the_rest_and_says_that_it_is_full(
    tmp_path, size_bytes
):
    with files_up_to(size_bytes), pytest.raises(OSError, match="too large"):
        DISK.write(tmp_path / "entry", [b"01234567", b"8", b"9abcdef"], sync=False)
    assert (tmp_path / "entry").read_bytes() == b"0123456789abcdef"[:size_bytes]


def test_the_head_of_a_file_is_only_its_head(tmp_path):
    (tmp_path / "file").write_bytes(b"head and tail")
    assert DISK.read_head(tmp_path / "file", 4) == b"head"


def test_a_folder_is_made_once(tmp_path):
    assert [DISK.make_folder(tmp_path / "new") for _ in range(2)] == [True, False]


def test_looking_whether_a_lock_is_held_neither_makes_nor_holds_it(tmp_path):
    path = tmp_path / ".lock"
    with pytest.raises(FileNotFoundError):
        DISK.is_locked(path)
    assert not path.exists()
    lock = DISK.lock(path)
    assert DISK.is_locked(path)
    DISK.unlock(lock)
    assert not DISK.is_locked(path)
    DISK.unlock(DISK.lock(path))


def test_two_who_look_at_a_lock_do_not_take_each_other_for_its_owner(tmp_path):
    path = tmp_path / ".lock"
    path.touch()
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert not DISK.is_locked(path)


def test_a_lock_is_held_by_one_until_it_lets_go(tmp_path):
    path = tmp_path / ".lock"
    lock = DISK.lock(path)
    assert DISK.lock(path) is None
    DISK.unlock(lock)
    again = DISK.lock(path)
    assert again is not None
    DISK.unlock(again)


@pytest.mark.parametrize("name", ["removed", "replaced"])
def test_the_lock_of_a_file_that_was_removed_meanwhile_is_none(tmp_path, name):
    assert DISK.lock(Replaced(tmp_path / name)) is None
    assert open_in(tmp_path) == []


def test_a_drive_without_locks_is_refused_with_what_to_do(tmp_path, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OutboxUnusable, match=r"No locks available.*VISION_EVENT_OUTBOX"):
        DISK.lock(tmp_path / ".lock")

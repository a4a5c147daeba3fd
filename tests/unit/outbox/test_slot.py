"""A slot commits whole entries or nothing, and threads share its syncs."""

from __future__ import annotations

import errno
import os
import threading
import time

import pytest

from tests.waiting import TIMEOUT_S
from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.entry_names import entry_name, event_id_of, is_entry, stored_at_s
from vision_event_block.outbox.slot import Slot, SyncedFolder


class SlowSyncs(RealDisk):
    """Writes down when each sync of a folder began."""

    def __init__(self):
        self.begun_s = []

    def sync_folder(self, folder):
        self.begun_s.append(time.monotonic())
        time.sleep(0.01)


@pytest.mark.parametrize("failing", ["write", "rename", "sync_folder"])
def test_a_commit_that_fails_leaves_nothing_and_counts_nothing(tmp_path, disk, failing):
    slot = Slot.take(disk, tmp_path)
    disk.fail(failing, is_done=failing == "write")
    with pytest.raises(OSError, match="refused"):
        slot.commit("1-e.tar", [b"x"])
    slot.release()
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert slot.journal.totals == {}


def test_threads_share_syncs_and_each_waits_for_one_that_began_after_its_call(tmp_path):
    disk = SlowSyncs()
    folder = SyncedFolder(disk, tmp_path)
    spans_s = []

    def store():
        for _ in range(10):
            called_s = time.monotonic()
            folder.sync()
            spans_s.append((called_s, time.monotonic()))

    threads = [threading.Thread(target=store) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(spans_s) == 80
    assert len(disk.begun_s) <= 40
    for called_s, returned_s in spans_s:
        assert any(called_s <= begun_s <= returned_s - 0.01 for begun_s in disk.begun_s)


def test_a_sync_that_fails_fails_for_its_caller_alone(tmp_path, disk):
    disk.fail("sync_folder", times=1)
    folder = SyncedFolder(disk, tmp_path)
    with pytest.raises(OSError, match="refused"):
        folder.sync()
    folder.sync()


def test_a_slot_that_is_held_or_gone_cannot_be_taken(tmp_path):
    slot = Slot.take(RealDisk(), tmp_path)
    assert Slot.take(RealDisk(), tmp_path) is None
    slot.release()
    assert Slot.take(RealDisk(), tmp_path / "gone") is None


def test_a_slot_whose_journal_cannot_be_read_is_let_go(tmp_path):
    (tmp_path / "journal").mkdir()
    with pytest.raises(IsADirectoryError):
        Slot.take(RealDisk(), tmp_path)
    (tmp_path / "journal").rmdir()
    slot = Slot.take(RealDisk(), tmp_path)
    assert slot is not None
    slot.release()


def test_an_entry_that_is_written_anew_stays_if_that_fails(tmp_path, disk):
    slot = Slot.take(disk, tmp_path)
    slot.commit("1-e.tar", [b"x"])
    for failing in ("write", "rename"):
        disk.fail(failing, times=1, is_done=failing == "write")
        with pytest.raises(OSError, match="refused"):
            slot.rewrite("1-e.tar", [b"y"])
    slot.release()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "1-e.tar"]


class Gate(RealDisk):
    """A disk whose syncs wait to be let through, one at a time, and may then fail."""

    def __init__(self):
        self.begun = threading.Semaphore(0)
        self.let = threading.Semaphore(0)
        self.failing = False

    def sync_folder(self, folder):
        self.begun.release()
        self.let.acquire()
        if self.failing:
            raise OSError(errno.EIO, "Input/output error")


def test_who_waits_for_a_sync_that_fails_tries_for_itself(tmp_path):
    disk = Gate()
    folder = SyncedFolder(disk, tmp_path)
    ended = {}

    def sync(name):
        try:
            folder.sync()
        except OSError:
            ended[name] = "failed"
        else:
            ended[name] = "synced"

    first = threading.Thread(target=sync, args=("first",), daemon=True)
    second = threading.Thread(target=sync, args=("second",), daemon=True)
    first.start()
    assert disk.begun.acquire(timeout=TIMEOUT_S)
    second.start()
    disk.failing = True
    disk.let.release()
    first.join(TIMEOUT_S)
    disk.failing = False
    assert disk.begun.acquire(timeout=TIMEOUT_S)
    disk.let.release()
    second.join(TIMEOUT_S)
    assert ended == {"first": "failed", "second": "synced"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("1800000000123-a-b.tar", True),
        ("1-e.tar", True),
        ("1800000000123-a-b.state.json", False),
        ("1800000000123-a-b.tar.tmp", False),
        ("journal-1.tar", False),
        ("\u00b9-e.tar", False),
        ("-e.tar", False),
        ("1.tar", False),
        ("", False),
    ],
)
def test_entries_are_known_by_their_names(name, expected):
    assert is_entry(name) is expected


def test_names_of_entries_sort_by_time_and_tell_time_and_id():
    names = [entry_name(at_s, "a-b") for at_s in (-5.0, 0.0, 1.5, 1_800_000_000.1234)]
    assert names == sorted(names)
    assert names[-1] == "1800000000123-a-b.tar"
    assert [stored_at_s(name) for name in names] == [0.0, 0.0, 1.5, 1_800_000_000.123]
    assert {event_id_of(name) for name in names} == {"a-b"}


def test_the_same_slot_is_let_go_once(tmp_path):
    slot = Slot.take(RealDisk(), tmp_path)
    slot.release()
    descriptor = os.open(tmp_path, os.O_RDONLY)  # gets the number of the lock
    slot.release()
    os.close(descriptor)

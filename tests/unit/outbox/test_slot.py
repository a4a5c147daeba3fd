"""A slot commits whole entries or nothing, and threads share its syncs."""

from __future__ import annotations

import errno
import threading
import time

import pytest

from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.slot import Slot, SyncedFolder


class SlowSyncs(RealDisk):
    """Writes down when each sync of a folder began."""

    def __init__(self):
        self.begun_s = []

    def sync_folder(self, folder):
        self.begun_s.append(time.monotonic())
        time.sleep(0.01)


class FailingDisk(RealDisk):
    """Refuses one operation."""

    def __init__(self, failing):
        self.failing = failing

    def write(self, path, chunks, *, sync):
        super().write(path, [b"half"], sync=False)
        if self.failing == "write":
            raise OSError(errno.ENOSPC, "No space left on device")

    def rename(self, source, target):
        if self.failing == "rename":
            raise OSError(errno.EIO, "Input/output error")
        super().rename(source, target)

    def sync_folder(self, folder):
        if self.failing == "sync_folder":
            raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("failing", ["write", "rename", "sync_folder"])
def test_a_commit_that_fails_leaves_nothing_and_counts_nothing(tmp_path, failing):
    slot = Slot.take(FailingDisk(failing), tmp_path)
    with pytest.raises(OSError, match="No space|Input"):
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


def test_a_sync_that_fails_fails_for_its_caller_alone(tmp_path):
    disk = FailingDisk("sync_folder")
    folder = SyncedFolder(disk, tmp_path)
    with pytest.raises(OSError, match="Input"):
        folder.sync()
    disk.failing = ""
    folder.sync()


def test_a_slot_that_is_held_or_gone_cannot_be_taken(tmp_path):
    slot = Slot.take(RealDisk(), tmp_path)
    assert Slot.take(RealDisk(), tmp_path) is None
    slot.release()
    assert Slot.take(RealDisk(), tmp_path / "gone") is None

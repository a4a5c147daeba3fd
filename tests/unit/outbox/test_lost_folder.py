"""An outbox whose folder is removed, or covered by another disk, is used again by itself."""

from __future__ import annotations

import shutil

import pytest

from tests.open_files import open_in
from tests.unit.outbox.test_quota import METADATA
from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.outbox import Outbox
from vision_event_block.outbox.owner_status import OwnerStatus
from vision_event_block.outbox.quota import OutboxLimits
from vision_event_block.outbox.snapshot import take_snapshot

LIMITS = OutboxLimits(min_free_bytes=0)


@pytest.fixture
def box(tmp_path, disk):
    box = Outbox(tmp_path / "data" / "outbox", LIMITS, disk=disk)
    yield box
    box.close()


def store(box, event_id="e"):
    return box.store(event_id, {"images": []}, {}, METADATA)


@pytest.mark.parametrize("what", ["data", "data/outbox", "data/outbox/slots"])
def test_events_are_stored_again_at_once(box, tmp_path, what):
    lost = store(box, "lost")
    shutil.rmtree(tmp_path / what)
    entry = store(box)

    assert box.read(entry) is not None
    assert box.entries() == [entry]
    assert not box.claim(lost)
    box.delivered(lost)
    box.delivered(entry)
    found = take_snapshot(box.folder, RealDisk())
    assert (found.stored, found.delivered, found.unaccounted) == (1, 1, 0)


def test_the_housekeeping_finds_out_too(box):
    before = box.slot_folder
    box.do_housekeeping()
    assert box.slot_folder == before
    shutil.rmtree(box.folder)
    box.do_housekeeping()
    assert box.slot_folder.is_dir()
    box.write_status(OwnerStatus())


def test_another_disk_in_its_place_is_used_and_the_first_one_when_it_is_back(box, tmp_path):
    entry = store(box, "on the first")
    (tmp_path / "data").rename(tmp_path / "unplugged")
    store(box, "on the second")
    assert box.adopt() == []
    (tmp_path / "data").rename(tmp_path / "second")
    (tmp_path / "unplugged").rename(tmp_path / "data")
    box.do_housekeeping()

    assert box.adopt() == [entry]
    assert box.read(entry) is not None
    assert len(list((tmp_path / "second").rglob("*-on the second.tar"))) == 1


def test_a_disk_that_cannot_tell_for_a_moment_is_no_reason_to_leave(box, disk):
    entry = store(box)
    before = box.slot_folder

    def cannot_tell(lock, path):
        raise PermissionError

    disk.is_locked_by = cannot_tell
    box.do_housekeeping()
    assert (box.slot_folder, box.entries()) == (before, [entry])


def test_a_folder_that_cannot_be_made_again_is_tried_again(box, disk):
    shutil.rmtree(box.folder)
    disk.fail("make_folder")
    with pytest.raises(FileNotFoundError):
        store(box)
    disk.heal()
    assert store(box) in box.entries()


def test_no_descriptor_is_left_behind(box):
    before = open_in(box.folder)
    for _ in range(5):
        shutil.rmtree(box.folder)
        store(box)
    assert before
    assert len(open_in(box.folder)) == len(before)

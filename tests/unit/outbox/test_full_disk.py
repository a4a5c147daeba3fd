"""On a disk without a free byte the outbox still begins, adopts, sheds and lets go.

`tests/faults/test_disk_full.py` does the same on a real file system.
"""

from __future__ import annotations

import errno
from functools import partial

import pytest

from tests.unit.outbox.test_quota import METADATA, PAYLOAD, PICTURES
from vision_event_block.outbox.ballast import BALLAST, MAX_BYTES
from vision_event_block.outbox.disk import OutboxUnusable, RealDisk
from vision_event_block.outbox.quota import NoRoom

BLOCK_BYTES = 4096


class SmallDisk(RealDisk):
    """A disk of so many blocks: files take them, and folders one each."""

    def __init__(self, root):
        self._root = root
        self.blocks = 2**30

    def fill(self):
        """Others take what is free."""
        self.blocks = self.used()

    def used(self):
        paths = [path for path in self._root.rglob("*") if not path.is_symlink()]
        return sum(1 if path.is_dir() else -(-path.stat().st_size // BLOCK_BYTES) for path in paths)

    def free_bytes(self, folder):
        return (self.blocks - self.used()) * BLOCK_BYTES

    def _take(self, size_bytes):
        if self.used() + -(-size_bytes // BLOCK_BYTES) > self.blocks:
            raise OSError(errno.ENOSPC, "No space left on device")

    def make_folder(self, folder):
        if folder.exists():
            return False
        self._take(1)
        return super().make_folder(folder)

    def write(self, path, chunks, *, sync):
        content = b"".join(chunks)
        self._take(len(content))
        super().write(path, [content], sync=sync)

    def append(self, path, content):
        there = path.stat().st_size if path.exists() else 0
        if (there + len(content) - 1) // BLOCK_BYTES > (there - 1) // BLOCK_BYTES:
            self._take(1)
        super().append(path, content)


@pytest.fixture
def disk(tmp_path):
    return SmallDisk(tmp_path)


@pytest.fixture
def opened(opened, disk):
    return partial(opened, disk=disk)


def store(box, event_id="e", payload=PAYLOAD, pictures=PICTURES):
    return box.store(event_id, payload, pictures, METADATA)


def test_a_process_begins_and_takes_over_what_waits(opened, disk):
    gone = opened()
    entry = store(gone)
    gone.close()
    disk.fill()
    box = opened()

    assert not (box.folder / BALLAST).exists()
    assert box.adopt() == [entry]
    assert box.read(entry).pictures == PICTURES


def test_without_the_reserve_it_goes_on_in_a_slot_that_was_left(opened, disk):
    gone = opened()
    entry = store(gone)
    gone.close()
    (gone.folder / BALLAST).unlink()
    disk.fill()
    box = opened()

    assert box.slot_folder == gone.slot_folder
    assert box.adopt() == [entry]
    box.delivered(entry)
    box.close()
    assert box.journal.totals == {"stored": 1, "delivered": 1}


def test_where_nothing_was_left_either_it_says_so(opened, disk):
    opened()
    disk.fill()
    opened()  # takes the reserve
    disk.fill()
    with pytest.raises(OutboxUnusable, match="No space left"):
        opened()


def test_pictures_are_shed_so_that_events_can_be_stored(opened, disk):
    box = opened()
    entries = [store(box, f"e{number}") for number in range(6)]
    disk.fill()
    store(box, "next", {"images": []}, {})

    shed = [PICTURES.keys() - box.read(entry).pictures.keys() for entry in entries]
    assert shed[0] == {"images/i.jpg"}
    assert box.journal.totals["shed quota"] == sum(map(len, shed))
    assert box.journal.totals["stored"] == 7


def test_without_the_reserve_damaged_files_and_dead_letters_make_room(opened, disk):
    box = opened()
    damaged, dead, waiting = (store(box, name) for name in ("damaged", "dead", "waiting"))
    (box.slot_folder / damaged.name).write_bytes(bytes(41_000))
    assert box.read(damaged) is None
    box.move_to_dead_letters(dead, {"why": "400"})
    (box.folder / BALLAST).unlink()
    disk.fill()
    store(box, "next", {"images": []}, {})

    assert list((box.folder / "corrupt").iterdir()) == []
    assert box.read(waiting) is not None
    assert box.journal.totals["dropped corrupt"] == 1


def test_the_reserve_is_laid_in_again_once_there_is_room(opened, disk, tmp_path):
    first = opened()
    assert (first.folder / BALLAST).stat().st_size == MAX_BYTES
    disk.fill()
    second = opened()
    assert not (first.folder / BALLAST).exists()
    second.do_housekeeping()
    assert not (first.folder / BALLAST).exists()
    disk.blocks = 2**30
    second.do_housekeeping()
    assert (first.folder / BALLAST).stat().st_size == MAX_BYTES
    assert not list(tmp_path.rglob("*.tmp"))


def test_the_reserve_of_a_small_outbox_is_small(opened, tmp_path):
    opened(max_bytes=64_000)
    assert (tmp_path / "outbox" / BALLAST).stat().st_size == 1_000


def test_room_that_is_left_to_others_is_not_taken_for_the_reserve(opened, disk, tmp_path):
    disk.blocks = 10_000
    opened(min_free_bytes=10_000 * BLOCK_BYTES)
    assert not (tmp_path / "outbox" / BALLAST).exists()


def test_nothing_is_lost_where_nothing_more_fits(opened, disk):
    box = opened()
    entry = store(box, "e", {"images": []}, {})
    (box.folder / BALLAST).unlink()
    disk.fill()
    with pytest.raises(NoRoom, match="MIN_FREE"):
        store(box, "next")
    assert box.entries() == [entry]
    box.delivered(entry)
    assert store(box, "next").metadata.shed.keys() == PICTURES.keys()

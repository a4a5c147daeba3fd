"""Nobody who stores or sends an event waits for work that has nothing to do with it."""

from __future__ import annotations

import sys
import threading

import pytest

from tests.unit.outbox.faulty_disk import FaultyDisk
from tests.unit.outbox.test_quota import EVENT_BYTES, METADATA, PAYLOAD, PICTURES
from vision_event_block.outbox.handover import BATCH
from vision_event_block.outbox.quota import STEPS_PER_STORE

BARE = {"images": []}
NOW_S = 1_800_000_000.0


class CountingDisk(FaultyDisk):
    """Does not sync, and counts what it is asked for."""

    def __init__(self):
        super().__init__()
        self.asked = []
        self.before = lambda operation, paths: self.asked.append((operation, paths[0]))

    def sync_folder(self, folder):
        """Does nothing: no power is cut here."""

    def write(self, path, chunks, *, sync):
        super().write(path, chunks, sync=False)

    def count(self, operation, word=""):
        return sum(op == operation and word in str(path) for op, path in self.asked)


@pytest.fixture
def disk():
    return CountingDisk()


def fill(box, count, payload=PAYLOAD, pictures=PICTURES):
    return [box.store(f"e{number:05}", payload, pictures, METADATA) for number in range(count)]


def test_a_store_into_a_full_outbox_sheds_of_a_few_events_whatever_the_backlog(opened, disk):
    small = {"images": [{"file": "images/o.jpg"}]}
    box = opened(disk=disk, max_bytes=2_000_000)
    fill(box, 300, small, {"images/o.jpg": b"o" * 2_000})
    disk.asked.clear()
    box.store("large", PAYLOAD, {**PICTURES, "images/o.jpg": b"o" * 500_000}, METADATA)

    assert disk.count("write", ".tar") <= STEPS_PER_STORE + 1
    assert disk.count("read", ".tar") <= STEPS_PER_STORE
    assert len(box.entries()) == 301


def test_the_housekeeping_makes_room_before_there_is_none(opened, disk):
    box = opened(disk=disk, max_bytes=20 * EVENT_BYTES)
    fill(box, 19)
    assert box.journal.totals["shed quota"] == 0
    box.make_room()
    shed = box.journal.totals["shed quota"]
    assert 0 < shed < 4
    disk.asked.clear()
    fill_one = box.store("next", PAYLOAD, PICTURES, METADATA)
    assert box.read(fill_one).pictures == PICTURES
    assert disk.count("write", ".tar") == 1
    box.make_room()
    assert box.journal.totals["shed quota"] > shed


def in_thread(work):
    results = []
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()
    return thread, results


def test_events_are_stored_and_sent_while_one_is_being_shed(opened, disk):
    box = opened(disk=disk, max_bytes=4 * EVENT_BYTES)
    first, second, *_ = fill(box, 4)
    reached, go_on = threading.Event(), threading.Event()

    def hang(operation, paths):
        if operation == "write" and first.name in paths[0].name:
            reached.set()
            go_on.wait(20)

    disk.before = hang
    shedding, _ = in_thread(box.make_room)
    assert reached.wait(20)
    storing, stored = in_thread(lambda: box.store("next", BARE, {}, METADATA))
    storing.join(20)
    assert len(stored) == 1
    assert box.claim(second)

    sending, claimed = in_thread(lambda: box.claim(first))
    sending.join(0.2)
    assert claimed == []  # until it is whole again
    go_on.set()
    sending.join(20)
    shedding.join(20)
    assert claimed == [True]
    assert box.read(first).pictures.keys() < PICTURES.keys()


def test_closing_waits_for_what_is_being_written(opened, disk):
    box = opened(disk=disk)
    reached, go_on = threading.Event(), threading.Event()

    def hang(operation, paths):
        if operation == "write" and paths[0].name.endswith(".tar.tmp"):
            reached.set()
            go_on.wait(20)

    disk.before = hang
    storing, stored = in_thread(lambda: box.store("e", BARE, {}, METADATA))
    assert reached.wait(20)
    closing, _ = in_thread(box.close)
    closing.join(0.2)
    assert closing.is_alive()
    go_on.set()
    closing.join(20)
    storing.join(20)
    assert opened().adopt() == stored


def test_the_first_adopted_events_can_be_sent_before_the_others_are_moved(opened, disk):
    gone = opened(disk=disk)
    fill(gone, 3 * BATCH, BARE, {})
    gone.close()
    box = opened(disk=disk)
    disk.asked.clear()
    adoptions = box.adoptions()
    first = next(adoptions)

    assert box.claim(first)
    assert disk.count("rename", ".tar") == BATCH
    assert disk.count("read_head") == 1
    assert [first.event_id, *(entry.event_id for entry in adoptions)] == [
        f"e{number:05}" for number in range(3 * BATCH)
    ]


def test_what_nobody_took_of_the_adopted_is_adopted_again(opened, disk):
    gone = opened(disk=disk)
    entries = fill(gone, BATCH + 2, BARE, {})
    gone.close()
    box = opened(disk=disk)
    adoptions = box.adoptions()
    taken = [next(adoptions), next(adoptions)]
    adoptions.close()  # as if the second could not be taken

    assert box.entries() == taken[:1]
    assert box.adopt() == entries[1:]
    assert box.entries() == entries
    assert box.journal.totals["stored"] == len(entries)


def test_adoption_goes_on_where_the_disk_failed(opened, disk):
    gone = opened(disk=disk)
    entries = fill(gone, BATCH + 20, BARE, {})
    gone.close()
    box = opened(disk=disk)
    disk.fail("rename", entries[BATCH + 10].name, times=1)
    first = box.adopt()
    assert first == entries[: BATCH + 10]
    assert first + box.adopt() == entries
    assert list((box.folder / "slots").iterdir()) == [box.slot_folder]


def test_what_takes_long_to_write_is_not_taken_for_a_leftover(opened, disk):
    box = opened(disk=disk)

    def look_often(operation, paths):
        if operation == "rename" and paths[0].name.endswith(".tar.tmp"):
            for _ in range(3):
                box.do_housekeeping()

    disk.before = look_often
    entry = box.store("e", BARE, {}, METADATA)
    assert box.read(entry) is not None


def test_what_was_delivered_is_not_kept_in_mind_for_shedding(opened, disk):
    box = opened(disk=disk)
    event = {"images": [{"file": "images/o.jpg", "inputFile": "images/i.jpg"}]}
    pictures = {"images/o.jpg": b"o", "images/i.jpg": b"i"}
    first = box.store("first", event, pictures, METADATA)
    box.delivered(first)
    known = sys.getrefcount(first.name)
    for number in range(1_100):
        disk.asked.clear()
        box.delivered(box.store(f"e{number}", event, pictures, METADATA))
    assert sys.getrefcount(first.name) < known

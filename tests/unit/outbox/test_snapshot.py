"""The snapshot against folders that processes are using, were killed in, or have never seen."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter

import pytest

from vision_event_block.outbox import clock
from vision_event_block.outbox.disk import OutboxUnusable, RealDisk
from vision_event_block.outbox.entry import Address, DeliveryMetadata
from vision_event_block.outbox.entry_names import entry_name
from vision_event_block.outbox.outbox import Outbox
from vision_event_block.outbox.owner_status import OwnerStatus
from vision_event_block.outbox.quota import OutboxLimits
from vision_event_block.outbox.snapshot import MAX_READINGS, File, dead_letter_reason, take_snapshot

DISK = RealDisk()
LIMITS = OutboxLimits(min_free_bytes=0)
ADDRESS = Address("api", "https://api.example", "0123456789ab")


def store(outbox, event_id, pictures=()):
    payload = {"eventId": event_id, "images": [{"file": name} for name in pictures]}
    metadata = DeliveryMetadata(ADDRESS, clock.reading())
    return outbox.store(event_id, payload, dict.fromkeys(pictures, b"picture" * 99), metadata)


def shown(found):
    return {
        "stored": found.stored,
        "delivered": found.delivered,
        "pending": [file.event_id for file in found.pending],
        "dead": len(found.dead),
        "corrupt": len(found.corrupt),
        "dropped": found.dropped,
        "unaccounted": found.unaccounted,
    }


EMPTY = {
    "stored": 0,
    "delivered": 0,
    "pending": [],
    "dead": 0,
    "corrupt": 0,
    "dropped": {},
    "unaccounted": 0,
}


def test_a_folder_that_is_not_there_holds_nothing(folder):
    assert shown(take_snapshot(folder, DISK)) == EMPTY
    assert not folder.exists()


def test_every_stored_event_is_in_one_place(folder):
    outbox = Outbox(folder, LIMITS)
    entries = {name: store(outbox, name) for name in ("a", "b", "c", "d", "e", "f")}
    outbox.delivered(entries["a"])
    outbox.drop(entries["b"], "age")
    outbox.drop(entries["c"], "operator")
    outbox.move_to_dead_letters(entries["d"], {"status": 400, "reason": "no"})
    (outbox.slot_folder / entries["e"].name).write_bytes(b"damaged")
    assert outbox.read(entries["e"]) is None
    found = take_snapshot(folder, DISK)
    outbox.close()
    assert shown(found) == {
        "stored": 6,
        "delivered": 1,
        "pending": ["f"],
        "dead": 1,
        "corrupt": 1,
        "dropped": {"age": 1, "operator": 1},
        "unaccounted": 0,
    }
    assert not found.is_moving
    assert dead_letter_reason(folder, entries["d"].name, DISK) == {"status": 400, "reason": "no"}
    assert dead_letter_reason(folder, entries["f"].name, DISK) == {}


def test_the_sum_survives_any_number_of_changes_of_hands(folder):
    for number in range(4):
        outbox = Outbox(folder, LIMITS)
        outbox.adopt()
        for entry in outbox.entries()[:1]:
            outbox.delivered(entry)
        store(outbox, f"{number}-a")
        outbox.move_to_dead_letters(store(outbox, f"{number}-b"), {})
        outbox.close()
        found = take_snapshot(folder, DISK)
        assert (found.stored, found.unaccounted) == (2 * number + 2, 0)
    assert found.delivered == 3
    assert len(found.slots) == 1


def test_what_a_killed_owner_left_half_done_is_counted_as_the_next_owner_will(folder):
    outbox = Outbox(folder, LIMITS)
    store(outbox, "kept")
    sent, unwritten = store(outbox, "sent"), store(outbox, "unwritten")
    given_up = store(outbox, "given-up")
    content = (outbox.slot_folder / sent.name).read_bytes()
    outbox.delivered(sent)
    (outbox.slot_folder / sent.name).write_bytes(content)  # killed before the unlink
    outbox.drop(given_up, "age")
    (outbox.slot_folder / given_up.name).write_bytes(content)  # here, too
    journal = outbox.slot_folder / "journal"
    journal.write_text(journal.read_text().replace("S unwritten\n", ""))  # before the line
    (outbox.slot_folder / "half.tar.tmp").write_bytes(b"half")
    outbox.close()
    before = shown(take_snapshot(folder, DISK))
    assert before == {
        **EMPTY,
        "stored": 4,
        "delivered": 1,
        "dropped": {"age": 1},
        "pending": ["kept", "unwritten"],
    }
    with_owner = Outbox(folder, LIMITS)
    with_owner.adopt()
    assert shown(take_snapshot(folder, DISK)) == before
    with_owner.close()
    assert unwritten.event_id in before["pending"]


@pytest.mark.parametrize("is_folded", [False, True])
def test_a_journal_that_was_being_taken_over_counts_once(folder, is_folded):
    outbox = Outbox(folder, LIMITS)
    store(outbox, "mine")
    (outbox.slot_folder / "journal-other").write_text("S x\nD x\nS y\nX y age\n")
    if is_folded:
        with (outbox.slot_folder / "journal").open("a") as journal:
            journal.write("+ delivered 1\n+ dropped age 1\n+ stored 2\nF other\n")
    found = shown(take_snapshot(folder, DISK))
    outbox.close()
    assert found == {
        **EMPTY,
        "stored": 3,
        "delivered": 1,
        "dropped": {"age": 1},
        "pending": ["mine"],
    }


def test_shed_pictures_are_counted_by_reason(folder):
    outbox = Outbox(folder, LIMITS)
    outbox.journal.count("shed quota", 3)
    outbox.journal.count("shed dead", 1)
    found = take_snapshot(folder, DISK)
    outbox.close()
    assert found.shed == {"quota": 3, "dead": 1}


def test_a_slot_shows_its_owner_its_files_and_its_status(folder):
    outbox = Outbox(folder, LIMITS)
    entry = store(outbox, "a", ["images/a.jpg"])
    outbox.write_status(OwnerStatus(7))
    (slot,) = take_snapshot(folder, DISK).slots
    assert (slot.name, slot.has_owner) == (outbox.slot_folder.name, True)
    assert slot.status == OwnerStatus(7)
    assert slot.size_bytes == entry.size_bytes
    (file,) = slot.pending
    assert file.metadata(DISK) == entry.metadata
    assert file.path == outbox.slot_folder / entry.name
    outbox.close()
    (slot,) = take_snapshot(folder, DISK).slots
    assert slot.has_owner is False


def test_looking_neither_holds_a_lock_nor_changes_a_file(folder):
    outbox = Outbox(folder, LIMITS)
    store(outbox, "a")
    outbox.close()
    (folder / "slots" / "without-lock").mkdir()

    def everything():
        return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}

    before = everything()
    found = take_snapshot(folder, DISK)
    assert everything() == before
    assert [slot.has_owner for slot in found.slots] == [False, False]
    lock = DISK.lock(outbox.slot_folder / ".lock")
    assert lock is not None
    DISK.unlock(lock)


@pytest.mark.parametrize("status", [b"", b"[1]", b"{", b"\xff"])
def test_a_status_that_cannot_be_read_is_no_status(folder, status):
    outbox = Outbox(folder, LIMITS)
    (outbox.slot_folder / "status.json").write_bytes(status)
    (slot,) = take_snapshot(folder, DISK).slots
    outbox.close()
    assert slot.status == OwnerStatus()


def test_stray_files_are_no_slots_and_no_events(folder):
    outbox = Outbox(folder, LIMITS)
    (folder / "slots" / "note.txt").write_text("hello")
    (folder / "dead" / "note.txt").write_text("hello")
    (outbox.slot_folder / "note.tar").write_text("hello")
    found = take_snapshot(folder, DISK)
    outbox.close()
    assert shown(found) == EMPTY
    assert len(found.slots) == 1


def test_a_folder_that_does_not_stand_still_is_said_to_move(folder):
    outbox = Outbox(folder, LIMITS)
    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        store(outbox, f"during-{len(pauses)}")

    found = take_snapshot(folder, DISK, pause=pause)
    # Each reading differs from the last one, except for the first two.
    assert not found.is_moving
    assert pauses == []

    reader = Busy(outbox)
    found = take_snapshot(folder, reader, pause=pause)
    outbox.close()
    assert found.is_moving
    assert len(pauses) == MAX_READINGS


class Busy(RealDisk):
    """A disk on which an event is stored each time that somebody looks."""

    def __init__(self, outbox):
        self._outbox = outbox
        self._count = 0

    def names(self, folder):
        if folder.name == "slots":
            self._count += 1
            store(self._outbox, f"look-{self._count}")
        return super().names(folder)


def test_a_snapshot_that_stands_still_beside_living_processes_adds_up(folder):
    """Three processes store, deliver, reject and adopt; each snapshot that agrees must add up."""
    program = (
        "import sys, time, uuid\n"
        "from pathlib import Path\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "from tests.unit.outbox.test_snapshot import LIMITS, Outbox, store\n"
        "end = time.monotonic() + 2.0\n"
        "while time.monotonic() < end:\n"
        "    outbox = Outbox(Path(sys.argv[1]), LIMITS)\n"
        "    outbox.adopt()\n"
        "    for number in range(6):\n"
        "        entry = store(outbox, str(uuid.uuid4()))\n"
        "        if number % 3 == 0: outbox.delivered(entry)\n"
        "        if number % 3 == 1: outbox.move_to_dead_letters(entry, {})\n"
        "    outbox.close()\n"
        "    time.sleep(0.15)\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(folder), "."]) for _ in range(3)
    ]
    seen = Counter()
    while any(process.poll() is None for process in processes):
        found = take_snapshot(folder, DISK)
        seen[found.is_moving] += 1
        if not found.is_moving:
            assert found.unaccounted == 0, shown(found)
        time.sleep(0.01)
    assert [process.returncode for process in processes] == [0, 0, 0]
    final = take_snapshot(folder, DISK)
    assert final.unaccounted == 0
    assert final.stored > 20
    assert seen[False] > 0


def test_letters_and_totals_are_plain_enough_for_json(folder):
    outbox = Outbox(folder, LIMITS)
    store(outbox, "a")
    found = take_snapshot(folder, DISK)
    outbox.close()
    assert json.loads(json.dumps([slot.totals for slot in found.slots])) == [{"stored": 1}]


@pytest.mark.parametrize(
    ("stored_at_s", "now_s", "age_s"),
    [
        (clock.EARLIEST_S, clock.EARLIEST_S + 5, 5.0),
        (clock.EARLIEST_S + 5, clock.EARLIEST_S, 0.0),
        (clock.EARLIEST_S - 1, clock.EARLIEST_S + 5, None),
        (clock.EARLIEST_S + 5, clock.EARLIEST_S - 1, None),
    ],
    ids=["as it is", "set back since", "wrong then", "wrong now"],
)
def test_an_age_is_told_only_where_both_clocks_may_be_right(folder, stored_at_s, now_s, age_s):
    file = File(folder, entry_name(stored_at_s, "a"), 1)
    assert file.age_s(now_s) == age_s


def test_a_journal_taken_over_counts_beside_none(folder):
    slot = folder / "slots" / "new"
    slot.mkdir(parents=True)
    (slot / "journal-other").write_text("S x\nD x\n")
    assert shown(take_snapshot(folder, DISK)) == {**EMPTY, "stored": 1, "delivered": 1}


def test_a_journal_cut_off_by_a_kill_is_left_as_it_is(folder):
    slot = folder / "slots" / "left"
    slot.mkdir(parents=True)
    (slot / "journal").write_bytes(b"S x\nD")
    (slot / "journal-other").write_bytes(b"S y\nD")
    take_snapshot(folder, DISK)
    assert (slot / "journal").read_bytes() == b"S x\nD"
    assert (slot / "journal-other").read_bytes() == b"S y\nD"


class Refusing(RealDisk):
    """A disk whose locks cannot be asked."""

    def __init__(self, error):
        self._error = error

    def is_locked(self, path):
        raise self._error


@pytest.mark.parametrize(
    ("error", "has_owner"),
    [
        (PermissionError(13, "Permission denied"), None),
        (OutboxUnusable("no locks here"), None),
        (FileNotFoundError(2, "No such file"), False),
    ],
    ids=["not ours to ask", "no locks", "gone meanwhile"],
)
def test_whether_a_slot_has_an_owner_may_be_unknown(folder, error, has_owner):
    Outbox(folder, LIMITS).close()
    (slot,) = take_snapshot(folder, Refusing(error)).slots
    assert slot.has_owner is has_owner


class Hasty(RealDisk):
    """A disk from which another process takes each entry once it was named."""

    def size_bytes(self, path):
        path.unlink()
        return super().size_bytes(path)


def test_an_event_that_goes_while_one_looks_is_not_among_those_that_wait(folder):
    outbox = Outbox(folder, LIMITS)
    store(outbox, "a")
    found = take_snapshot(folder, Hasty())
    outbox.close()
    assert found.pending == []


def test_the_room_that_all_events_take_includes_those_put_aside(folder):
    outbox = Outbox(folder, LIMITS)
    pending, dead, damaged = (store(outbox, name, ["images/a.jpg"]) for name in "abc")
    outbox.move_to_dead_letters(dead, {})
    (outbox.slot_folder / damaged.name).write_bytes(b"damaged")
    outbox.read(damaged)
    found = take_snapshot(folder, DISK)
    outbox.close()
    assert found.size_bytes == pending.size_bytes + dead.size_bytes + len(b"damaged")
    assert [file.stored_at_s for file in found.pending] == [int(pending.name[:13]) / 1000]

"""A disk that refuses something costs no event, and nothing is counted twice for it."""

from __future__ import annotations

import errno
import json

import pytest

from tests.open_files import open_in
from tests.unit.outbox.test_quota import METADATA, PAYLOAD, PICTURES, fill
from vision_event_block.outbox import clock
from vision_event_block.outbox.clock import PROBATION_S
from vision_event_block.outbox.disk import OutboxUnusable, RealDisk
from vision_event_block.outbox.entry import ClockReading, DeliveryMetadata
from vision_event_block.outbox.journal import MAX_BYTES
from vision_event_block.outbox.owner_status import OwnerStatus
from vision_event_block.outbox.quota import NoRoom
from vision_event_block.outbox.snapshot import take_snapshot

BARE = {"images": []}
NOW_S = 1_800_000_000.0


def store(box, event_id="e"):
    return box.store(event_id, BARE, {}, METADATA)


def tars(box):
    return sorted(path.name for path in box.folder.rglob("*.tar"))


def assert_sum_fits(box, **expected):
    found = take_snapshot(box.folder, RealDisk())
    assert found.unaccounted == 0
    shown = {"stored": found.stored, "delivered": found.delivered, "dead": len(found.dead)}
    assert {name: shown[name] for name in expected} == expected


def test_a_delivered_event_whose_file_stays_is_neither_here_nor_in_the_way(opened, disk):
    box = opened(disk=disk, max_events=1)
    entry = store(box)
    box.claim(entry)
    disk.fail("remove", ".tar")
    box.delivered(entry)

    assert box.entries() == box.adopt() == []
    assert_sum_fits(box, stored=1, delivered=1)
    store(box, "next")  # beyond the limit if the first one counted
    disk.heal()
    box.do_housekeeping()
    assert [name.partition("-")[2] for name in tars(box)] == ["next.tar"]
    assert_sum_fits(box, stored=2, delivered=1)


def test_an_event_is_dropped_once_however_often_its_unlink_fails(opened, disk):
    passed_s = 0.0
    box = opened(
        disk=disk,
        now=lambda: NOW_S + passed_s,
        uptime=lambda: 100.0 + passed_s,
        max_age_s=PROBATION_S / 2,
    )
    box.do_housekeeping()
    store(box)
    disk.fail("remove", ".tar")
    passed_s = 2 * PROBATION_S
    for _ in range(5):
        box.do_housekeeping()
    assert box.journal.totals == {"stored": 1, "dropped age": 1}
    disk.heal()
    box.do_housekeeping()
    assert tars(box) == []
    assert_sum_fits(box, stored=1)


def test_an_event_counts_once_if_its_unlink_failed_before_a_rotation(opened, disk):
    box = opened(disk=disk)
    entry = store(box)
    disk.fail("remove", ".tar")
    box.delivered(entry)
    box.journal.count("x" * MAX_BYTES)
    box.journal.tend()
    assert_sum_fits(box, stored=1, delivered=1)
    box.close()
    after = opened()
    assert after.adopt() == []
    assert_sum_fits(after, stored=1, delivered=1)
    assert tars(after) == []


def test_the_slot_of_one_whose_unlinks_fail_is_taken_over_all_the_same(opened, disk):
    first = opened(disk=disk)
    sent, waiting = store(first, "sent"), store(first, "waiting")
    disk.fail("remove", "sent.tar")
    first.delivered(sent)
    first.close()
    second = opened(disk=disk)
    assert second.adopt() == [waiting]
    assert second.adopt() == []
    assert_sum_fits(second, stored=2, delivered=1)
    disk.heal()
    assert second.adopt() == []
    assert list((second.folder / "slots").iterdir()) == [second.slot_folder]
    assert_sum_fits(second, stored=2, delivered=1)


@pytest.mark.parametrize("operation", ["remove", "rename", "size_bytes"])
def test_a_damaged_file_that_cannot_be_removed_does_not_stop_storing(opened, disk, operation):
    box = opened(disk=disk, max_bytes=100_000)
    (broken,) = fill(box, 1)
    (box.slot_folder / broken.name).write_bytes(bytes(41_000))
    assert box.read(broken) is None
    disk.fail(operation, broken.name)
    for event_id in ("a", "b", "c"):
        assert box.read(box.store(event_id, PAYLOAD, PICTURES, METADATA)) is not None
    assert box.journal.totals["stored"] == 4


def test_a_lock_is_let_go_if_its_file_cannot_be_looked_at(tmp_path):
    class Unreadable(type(tmp_path)):
        def stat(self, **_):
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input"):
        RealDisk().lock(Unreadable(tmp_path / ".lock"))
    assert open_in(tmp_path) == []
    lock = RealDisk().lock(tmp_path / ".lock")
    assert lock is not None
    RealDisk().unlock(lock)


def test_a_dead_letter_whose_move_cannot_be_synced_can_be_requeued_and_sent(opened, disk):
    host = opened(disk=disk)
    entry = store(host)
    host.claim(entry)
    disk.fail("sync_folder")
    host.move_to_dead_letters(entry, {"why": "400"})
    disk.heal()
    assert host.entries() == []
    assert_sum_fits(host, stored=1, dead=1)

    command = opened()
    command.adopt_dead([entry.name])
    command.close()
    (again,) = host.adopt()
    assert host.claim(again)
    assert_sum_fits(host, stored=1, dead=0)


def test_a_refused_event_that_cannot_be_moved_now_becomes_a_dead_letter_later(opened, disk):
    box = opened(disk=disk)
    entry = store(box)
    box.claim(entry)
    disk.fail("rename", "dead")
    box.move_to_dead_letters(entry, {"why": "400"})
    assert box.entries() == box.adopt() == []
    assert_sum_fits(box, stored=1, dead=0)
    disk.heal()
    box.do_housekeeping()
    assert json.loads((box.folder / "dead" / f"{entry.name[:-4]}.json").read_text())["why"] == "400"
    assert_sum_fits(box, stored=1, dead=1)


def test_pictures_that_are_shed_count_even_if_the_sync_after_it_fails(opened, disk):
    box = opened(disk=disk, max_bytes=80_000)
    (entry,) = fill(box, 1)
    disk.fail("sync_folder", box.slot_folder.name)
    with pytest.raises(OSError, match="refused"):
        box.store("next", PAYLOAD, PICTURES, METADATA)
    disk.heal()
    assert box.read(entry).pictures.keys() < PICTURES.keys()
    shed = len(PICTURES) - len(box.read(entry).pictures)
    assert box.journal.totals["shed quota"] == shed
    assert box.entries()[0].size_bytes == (box.slot_folder / entry.name).stat().st_size


def test_a_dead_letter_that_is_requeued_while_it_is_shed_is_there_once(opened, disk):
    host, command = opened(disk=disk, max_bytes=60_000), opened()
    dead = host.store("dead", PAYLOAD, PICTURES, METADATA)
    host.move_to_dead_letters(dead, {"why": "400"})
    taken = []

    def requeue(operation, paths):
        if operation == "write" and dead.name in paths[0].name and not taken:
            taken.append(command.adopt_dead([dead.name]))

    disk.before = requeue
    host.store("next", PAYLOAD, PICTURES, METADATA)
    command.close()
    host.adopt()
    assert len(taken) == 1
    assert [name.partition("-")[2] for name in tars(host)].count("dead.tar") == 1
    assert_sum_fits(host, stored=2)


def test_a_dead_letter_that_two_processes_drop_counts_once(opened, disk):
    host, command = opened(disk=disk, max_bytes=9_000), opened()
    dead_letter_reason = store(host, "letter")
    host.move_to_dead_letters(dead_letter_reason, {"why": "400"})
    done = []

    def drop(operation, paths):
        if (
            operation in {"remove", "rename"}
            and dead_letter_reason.name in str(paths[0])
            and not done
        ):
            done.append(None)
            done[:] = [
                command.drop_aside(host.folder / "dead" / dead_letter_reason.name, "operator")
            ]

    disk.before = drop
    fill_bare = (store(host, f"e{number}") for number in range(9))
    with pytest.raises(NoRoom):
        list(fill_bare)
    assert done == [True]
    totals = host.journal.totals + command.journal.totals
    assert (totals["dropped operator"], totals["dropped full"]) == (1, 0)
    assert_sum_fits(host, dead=0)


def test_a_store_that_fails_half_way_is_undone_as_soon_as_the_disk_lets_it(opened, disk):
    box = opened(disk=disk)
    disk.fail("sync_folder")
    disk.fail("remove")
    with pytest.raises(OSError, match="refused"):
        store(box)
    assert box.entries() == box.adopt() == []
    assert len(tars(box)) == 1
    disk.heal()
    box.do_housekeeping()
    assert box.adopt() == []
    assert tars(box) == []
    assert_sum_fits(box, stored=0)


def test_tries_on_a_drive_without_locks_leave_nothing(opened, disk, tmp_path):
    disk.faults.clear()
    disk.lock = lambda path: path.touch() or refuse()

    def refuse():
        raise OutboxUnusable("no file can be locked")

    for _ in range(3):
        with pytest.raises(OutboxUnusable, match="locked"):
            opened(disk=disk)
    assert list((tmp_path / "outbox" / "slots").iterdir()) == []


def test_the_files_behind_a_link_among_the_slots_are_left_alone(opened, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "note.txt").write_text("mine")
    (elsewhere / "1-e.tar").write_text("mine too")
    box = opened()
    (box.folder / "slots" / "link").symlink_to(elsewhere)
    assert box.adopt() == []
    box.do_housekeeping()
    assert sorted(path.name for path in elsewhere.iterdir()) == ["1-e.tar", "note.txt"]
    assert [slot.name for slot in take_snapshot(box.folder, RealDisk()).slots] == [
        box.slot_folder.name
    ]


def test_nothing_is_written_through_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for act in (RealDisk().lock, lambda path: RealDisk().write(path, [b"x"], sync=False)):
        with pytest.raises(OSError, match="symbolic"):
            act(tmp_path / "link")
    assert not (tmp_path / "target").exists()


def test_what_was_left_among_the_dead_letters_is_swept_at_the_second_look(opened):
    box = opened()
    entry = store(box)
    box.move_to_dead_letters(entry, {"why": "400"})
    dead = box.folder / "dead"
    for name in ("1-gone.json", "1-gone.tmp", "2-half.tar.tmp"):
        (dead / name).write_text("left")
    box.do_housekeeping()
    assert len(list(dead.iterdir())) == 5
    (dead / "3-new.tmp").write_text("being written")
    box.do_housekeeping()
    left = {entry.name, f"{entry.name[:-4]}.json", "3-new.tmp"}
    assert {path.name for path in dead.iterdir()} == left


def test_what_was_left_in_the_own_slot_is_swept_and_nothing_else(opened):
    box = opened()
    entry = store(box)
    box.note_progress(entry, {"i": "s"})
    box.write_status(OwnerStatus())
    for name in ("1-gone.state.json", "1-gone.tar.tmp"):
        (box.slot_folder / name).write_text("left")
    before = {path.name for path in box.slot_folder.iterdir()}
    box.do_housekeeping()
    box.do_housekeeping()
    after = {path.name for path in box.slot_folder.iterdir()}
    assert before - after == {"1-gone.state.json", "1-gone.tar.tmp"}


@pytest.mark.parametrize(
    "request_text",
    [
        json.dumps({"to": "a\0b", "names": []}),
        json.dumps({"to": ["x"], "names": ["n"]}),
        json.dumps({"to": "\ud800", "names": ["n"]}),
        json.dumps({"to": "x", "names": 7}),
        "[" * 100_000,
        "[]",
        "{}",
        "{",
        "",
    ],
    ids=["nul", "a list", "no text", "no names", "deep", "no object", "empty", "cut", "nothing"],
)
def test_a_bad_request_for_entries_is_removed_and_stops_nothing(opened, request_text):
    box = opened()
    entry = store(box)
    (box.slot_folder / "release.json").write_text(request_text)
    assert box.hand_over() == []
    assert not (box.slot_folder / "release.json").exists()
    assert box.entries() == [entry]


def test_what_could_not_be_handed_over_stays_with_its_owner(opened, disk):
    giver, taker = opened(disk=disk), opened()
    first, second = store(giver, "first"), store(giver, "second")
    request = {"to": taker.slot_folder.name, "names": [first.name, second.name]}
    (giver.slot_folder / "release.json").write_text(json.dumps(request))
    disk.fail("rename", second.name)
    disk.fail("sync_folder")
    assert giver.hand_over() == [first.name]
    assert giver.entries() == [second]
    assert giver.claim(second)
    assert not (giver.slot_folder / "release.json").exists()


def test_a_letter_that_waited_long_begins_to_wait_when_it_is_requeued(opened):
    passed_s = 0.0
    box = opened(
        now=lambda: NOW_S + passed_s, uptime=lambda: 100.0 + passed_s, max_age_s=PROBATION_S
    )
    box.do_housekeeping()
    taken = ClockReading(NOW_S, 100.0, clock.boot_id())
    for event_id, metadata in (
        ("e", METADATA),
        ("same start", DeliveryMetadata(METADATA.address, taken)),
    ):
        box.move_to_dead_letters(box.store(event_id, BARE, {}, metadata), {"why": "400"})
    passed_s = 10 * PROBATION_S
    letters = [path.name for path in (box.folder / "dead").glob("*.tar")]
    assert len(box.adopt_dead(letters)) == 2
    box.do_housekeeping()
    assert len(box.entries()) == 2
    passed_s += PROBATION_S + 1
    box.do_housekeeping()
    assert box.entries() == []


def test_an_event_whose_end_cannot_be_noted_stays(opened, disk):
    box = opened(disk=disk)
    waiting, dead_letter_reason = store(box, "waiting"), store(box, "letter")
    box.move_to_dead_letters(dead_letter_reason, {"why": "400"})
    disk.fail("append", number=errno.EMFILE)
    with pytest.raises(OSError, match="refused"):
        box.drop(waiting, "operator")
    with pytest.raises(OSError, match="refused"):
        box.drop_aside(box.folder / "dead" / dead_letter_reason.name, "operator")
    assert box.entries() == [waiting]
    assert box.journal.totals == {"stored": 2}
    assert_sum_fits(box, stored=2, dead=1)
    disk.heal()
    box.drop(waiting, "operator")
    assert box.drop_aside(box.folder / "dead" / dead_letter_reason.name, "operator")
    assert tars(box) == []
    assert_sum_fits(box, stored=2, dead=0)


def test_on_a_full_disk_an_event_may_go_without_its_line(opened, disk):
    box = opened(disk=disk)
    entry = store(box)
    disk.fail("append", number=errno.ENOSPC)
    box.drop(entry, "operator")
    assert tars(box) == []
    disk.heal()
    box.do_housekeeping()
    assert_sum_fits(box, stored=1)


def test_what_cannot_be_noted_as_adopted_is_adopted_later(opened, disk):
    gone = opened()
    entry = store(gone)
    gone.close()
    box = opened(disk=disk)
    disk.fail("append", number=errno.EMFILE)
    assert box.adopt() == []
    assert_sum_fits(box, stored=1)
    disk.heal()
    assert box.adopt() == [entry]
    assert_sum_fits(box, stored=1)


def test_counts_that_are_taken_over_are_written_down_before_their_journal_goes(opened, disk):
    gone = opened()
    entry = store(gone)
    gone.close()
    box = opened(disk=disk)

    def fail_from_here(operation, paths):
        if operation == "rename" and paths[1].name.startswith("journal-"):
            disk.fail("append", number=errno.EMFILE)

    disk.before = fail_from_here
    assert box.adopt() == [entry]
    assert_sum_fits(box, stored=1)
    box.close()
    disk.heal()
    after = opened()
    assert after.adopt() == [entry]
    assert_sum_fits(after, stored=1)
    assert after.adopt() == []
    assert list((after.folder / "slots").iterdir()) == [after.slot_folder]

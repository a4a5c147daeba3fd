"""An outbox among processes: who owns what, and that nothing is lost when they end."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys

import pytest

from vision_event_block.outbox.clock import PROBATION_S, boot_id
from vision_event_block.outbox.disk import OutboxUnusable, RealDisk
from vision_event_block.outbox.entry import Address, ClockReading, DeliveryMetadata
from vision_event_block.outbox.journal import Journal
from vision_event_block.outbox.outbox import Outbox
from vision_event_block.outbox.owner_status import OwnerStatus
from vision_event_block.outbox.quota import NoRoom

NOW_S = 1_800_000_000.0
METADATA = DeliveryMetadata(
    Address("api", "http://api.invalid", "k"), ClockReading(NOW_S, 1.0, "boot")
)
OWNER = """
import sys, time
from pathlib import Path
from vision_event_block.outbox.entry import Address, ClockReading, DeliveryMetadata
from vision_event_block.outbox.outbox import Outbox
box = Outbox(Path(sys.argv[1]))
metadata = DeliveryMetadata(Address("api", "http://api.invalid"), ClockReading(1.8e9, 1.0, "boot"))
for number in range(3):
    box.store(f"e{number}", {"images": []}, {}, metadata)
print(box.slot_folder.name, flush=True)
time.sleep(60)
"""


def store(box, event_id="e"):
    payload = {"images": [{"file": "images/o.jpg"}]}
    return box.store(event_id, payload, {"images/o.jpg": b"jpeg"}, METADATA)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "new" / "outbox"


def test_nobody_else_can_read_what_is_stored(opened, folder):
    box = opened()
    entry = store(box)
    box.note_progress(entry, {})
    box.write_status(OwnerStatus())
    box.move_to_dead_letters(store(box, "dead"), {"why": "400"})
    for path in (folder, *folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_the_events_of_a_process_are_adopted_once_it_is_killed_and_not_before(opened, folder):
    owner = subprocess.Popen([sys.executable, "-c", OWNER, folder], stdout=subprocess.PIPE)
    with owner:
        slot = owner.stdout.readline().decode().strip()
        box = opened()
        assert box.adopt() == []
        owner.send_signal(signal.SIGKILL)
    assert [entry.event_id for entry in box.adopt()] == ["e0", "e1", "e2"]
    assert box.journal.totals == {"stored": 3}
    assert slot not in os.listdir(folder / "slots")  # noqa: PTH208 -- names


def test_a_child_that_outlives_its_parent_does_not_keep_the_parents_slot(folder):
    script = f"""
import os, sys
{OWNER.rpartition("print")[0]}
if os.fork() == 0:
    box.abandon()
    print("abandoned", os.getpid(), flush=True)
    time.sleep(60)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", script, folder], stdout=subprocess.PIPE)
    with parent:
        _, child = parent.stdout.readline().decode().split()
        box = Outbox(folder)
        assert box.adopt() == []
        parent.kill()
        parent.wait()
        assert len(box.adopt()) == 3
        os.kill(int(child), signal.SIGKILL)
        box.close()


def test_slots_of_the_same_name_are_each_counted(opened, folder):
    keeper = opened()
    for event_id in ("a", "b"):
        other = Outbox(folder, now=lambda: NOW_S)
        store(other, event_id)
        other.close()
        keeper.adopt()
    assert keeper.journal.totals["stored"] == 2


def test_what_another_process_asked_for_is_handed_over_unless_it_is_being_sent(opened):
    giver, taker = opened(), opened()
    sent, wanted = store(giver, "sent"), store(giver, "wanted")
    giver.claim(sent)
    request = {"to": taker.slot_folder.name, "names": [sent.name, wanted.name, "nothing"]}
    (giver.slot_folder / "release.json").write_text(json.dumps(request))
    assert giver.hand_over() == [wanted.name]
    assert (taker.slot_folder / wanted.name).exists()
    assert giver.entries() == [sent]
    assert giver.hand_over() == []


@pytest.mark.parametrize("target", ["gone", "..", ""])
def test_nothing_is_handed_to_a_place_that_is_no_slot(opened, target):
    box = opened()
    entry = store(box)
    request = {"to": target, "names": [entry.name]}
    (box.slot_folder / "release.json").write_text(json.dumps(request))
    assert box.hand_over() == []
    assert box.read(entry) is not None


@pytest.mark.parametrize(
    ("left", "pending", "totals"),
    [
        ("", 1, {"stored": 1}),
        ("S e\n", 1, {"stored": 1}),
        ("A e\n", 1, {}),
        ("S e\nX e age\n", 0, {"stored": 1, "dropped age": 1}),
        ("S e\nD e\n", 0, {"stored": 1, "delivered": 1}),
    ],
    ids=["stored, not noted", "noted", "counted elsewhere", "dropped", "delivered"],
)
def test_an_owner_killed_between_journal_and_file_leaves_sums_that_fit(
    opened, left, pending, totals
):
    first = opened()
    store(first)
    (first.slot_folder / "journal").write_text(left)
    first.close()
    second = opened()
    assert len(second.adopt()) == pending
    assert second.journal.totals == totals
    assert Journal(RealDisk(), second.slot_folder / "journal").totals == totals


def test_an_event_older_than_the_limit_is_dropped_and_counted_unless_it_is_being_sent(opened):
    passed_s = 0.0
    box = opened(
        now=lambda: NOW_S + passed_s, uptime=lambda: 100.0 + passed_s, max_age_s=2 * PROBATION_S
    )
    box.do_housekeeping()
    sent = store(box, "sent")
    store(box, "old")
    box.claim(sent)
    passed_s = 2 * PROBATION_S
    box.do_housekeeping()
    assert len(box.entries()) == 2
    passed_s = 2 * PROBATION_S + 1
    box.do_housekeeping()
    assert box.entries() == [sent]
    assert [path.name for path in box.slot_folder.glob("*.tar")] == [sent.name]
    assert box.journal.totals == {"stored": 2, "dropped age": 1}


def test_a_clock_that_jumps_ahead_makes_no_event_too_old(opened):
    uptime_s, wall_s = 100.0, NOW_S
    box = opened(now=lambda: wall_s, uptime=lambda: uptime_s, max_age_s=60.0)
    box.do_housekeeping()
    store(box, "young")
    uptime_s += 2 * PROBATION_S
    wall_s += 2 * PROBATION_S + 15 * 365 * 86_400.0
    box.do_housekeeping()
    uptime_s, wall_s = uptime_s + 60.0, wall_s + 60.0
    box.do_housekeeping()
    assert len(box.entries()) == 1


def test_an_event_an_hour_old_survives_a_clock_that_is_set_by_months(opened):
    uptime_s, wall_s = 100.0, 1_772_323_200.0  # March
    box = opened(now=lambda: wall_s, uptime=lambda: uptime_s, max_age_s=30 * 86_400.0)
    taken = ClockReading(wall_s, uptime_s, boot_id())
    entry = box.store("e", {"images": []}, {}, DeliveryMetadata(METADATA.address, taken))
    wall_s = NOW_S
    for _ in range(4):
        uptime_s, wall_s = uptime_s + PROBATION_S, wall_s + PROBATION_S
        box.do_housekeeping()
    assert box.entries() == [entry]
    uptime_s, wall_s = uptime_s + 31 * 86_400.0, wall_s + 31 * 86_400.0
    box.do_housekeeping()
    assert box.entries() == []


def test_a_dead_letter_comes_back_with_its_reason_gone(opened, folder):
    box = opened()
    entry = store(box)
    box.move_to_dead_letters(entry, {"why": "400"})
    assert len(list((folder / "dead").iterdir())) == 2
    assert [entry.event_id for entry in box.adopt_dead([entry.name, "1-none.tar"])] == ["e"]
    assert list((folder / "dead").iterdir()) == []
    assert box.journal.totals == {"stored": 1}


def test_what_a_closed_outbox_is_asked_for_touches_no_file(opened, folder):
    box = opened()
    entry = store(box)
    box.close()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(NoRoom, match="closed"):
        store(box, "late")
    box.delivered(entry)
    box.drop(entry, "age")
    box.move_to_dead_letters(entry, {})
    box.note_progress(entry, {"images/o.jpg": "id"})
    box.close()
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_an_event_that_cannot_be_written_takes_no_room(opened, disk):
    box = opened(max_bytes=20_000, disk=disk)
    disk.fail("write", number=errno.ENOSPC)
    for _ in range(10):
        with pytest.raises(OSError, match="refused"):
            store(box)
    disk.heal()
    assert store(box).metadata.shed == {}


def test_a_folder_that_cannot_be_made_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutboxUnusable, match=r"cannot write to .* \(.*VISION_EVENT_OUTBOX"):
        Outbox(tmp_path / "file" / "outbox")


def test_an_entry_that_is_gone_is_forgotten(opened):
    box = opened()
    entry = store(box)
    (box.slot_folder / entry.name).unlink()
    assert box.read(entry) is None
    assert box.entries() == []
    assert not box.claim(entry)


def test_an_entry_that_cannot_be_read_now_stays(opened, disk):
    box = opened(disk=disk)
    entry = store(box)
    disk.fail("read", ".tar")
    with pytest.raises(OSError, match="refused"):
        box.read(entry)
    disk.heal()
    assert box.read(entry).pictures == {"images/o.jpg": b"jpeg"}


def test_a_damaged_entry_that_cannot_be_put_aside_now_is_put_aside_later(
    opened, disk, folder, caplog
):
    box = opened(disk=disk)
    entry = store(box)
    (box.slot_folder / entry.name).write_bytes(b"damaged")
    disk.fail("rename", "corrupt")
    assert box.read(entry) is None
    assert box.entries() == []
    assert box.adopt() == []
    assert "could not remove or move" in caplog.text
    disk.heal()
    box.do_housekeeping()
    assert [path.name for path in (folder / "corrupt").iterdir()] == [entry.name]


def test_of_what_is_adopted_the_damaged_is_put_aside_and_the_rest_goes_on(opened, folder):
    first = opened()
    damaged, whole = store(first, "damaged"), store(first, "whole")
    (first.slot_folder / damaged.name).write_bytes(b"damaged")
    first.close()
    second = opened()
    assert [entry.event_id for entry in second.adopt()] == ["whole"]
    assert second.entries() == [whole]
    assert [path.name for path in (folder / "corrupt").iterdir()] == [damaged.name]


def test_what_cannot_be_read_when_it_is_adopted_is_adopted_again_by_the_next(opened, disk, caplog):
    first = opened()
    entry = store(first)
    first.close()
    second = opened(disk=disk)
    disk.fail("read_head", ".tar")
    assert second.adopt() == []
    assert (second.slot_folder / entry.name).exists()
    assert "could not read stored event" in caplog.text
    second.close()
    assert opened().adopt() == [entry]


@pytest.mark.parametrize("operation", ["lock", "rename"])
def test_a_slot_that_cannot_be_taken_over_now_is_taken_over_later(opened, disk, caplog, operation):
    first = opened()
    entry = store(first)
    first.close()
    second = opened(disk=disk)
    disk.fail(operation)
    assert second.adopt() == []
    assert "could not take over slot" in caplog.text
    disk.heal()
    assert second.adopt() == [entry]


def test_what_was_adopted_keeps_its_progress_and_the_place_it_came_from_is_gone(opened, folder):
    first = opened()
    entry = store(first)
    first.note_progress(entry, {"images/o.jpg": "source-1"})
    (first.slot_folder / "half.tar.tmp").write_bytes(b"half")
    first.close()
    second = opened()
    assert second.adopt() == [entry]
    assert second.progress(entry) == {"images/o.jpg": "source-1"}
    assert list((folder / "slots").iterdir()) == [second.slot_folder]


def test_a_slot_whose_owner_wrote_no_line_is_taken_over(opened, folder):
    (folder / "slots" / "silent").mkdir(parents=True)
    box = opened()
    assert box.adopt() == []
    assert list((folder / "slots").iterdir()) == [box.slot_folder]


def test_progress_is_kept_and_anything_else_in_its_place_is_no_progress(opened):
    box = opened()
    entry = store(box)
    assert box.progress(entry) == {}
    box.note_progress(entry, {"images/o.jpg": "source-1"})
    assert box.progress(entry) == {"images/o.jpg": "source-1"}
    (state,) = box.slot_folder.glob("*.state.json")
    good = state.read_text()
    for damaged in (good.replace("source-1", "source-2"), good[:-9], "[]", "{}", "7"):
        state.write_text(damaged)
        assert box.progress(entry) == {}, damaged


def test_progress_that_cannot_be_kept_does_no_harm(opened, disk):
    box = opened(disk=disk)
    entry = store(box)
    disk.fail("write", "state.json")
    box.note_progress(entry, {"images/o.jpg": "source-1"})
    assert box.progress(entry) == {}


def test_nothing_is_lost_if_whoever_asked_goes_meanwhile(opened, disk):
    giver, taker = opened(disk=disk), opened()
    entry = store(giver)
    disk.fail("rename", taker.slot_folder.name, errno.ENOENT)
    request = {"to": taker.slot_folder.name, "names": [entry.name]}
    (giver.slot_folder / "release.json").write_text(json.dumps(request))
    assert giver.hand_over() == []
    assert giver.entries() == [entry]
    assert giver.read(entry) is not None
    assert not (giver.slot_folder / "release.json").exists()


def test_what_is_handed_over_leaves_nothing_behind_and_counts_once(opened):
    giver, taker = opened(), opened()
    entry = store(giver)
    giver.note_progress(entry, {"images/o.jpg": "source-1"})
    request = {"to": taker.slot_folder.name, "names": [entry.name]}
    (giver.slot_folder / "release.json").write_text(json.dumps(request))
    assert giver.hand_over() == [entry.name]
    assert list(giver.slot_folder.glob("*.tar")) == list(giver.slot_folder.glob("*.json")) == []
    assert giver.entries() == []
    assert giver.journal.open_ids == set()


def test_a_dead_letter_without_a_reason_comes_back_too(opened, folder):
    box = opened(now=lambda: NOW_S)
    entry = store(box)
    box.move_to_dead_letters(entry, {"why": "400"})
    (dead_letter_reason,) = (folder / "dead").glob("*.json")
    dead_letter_reason.unlink()
    assert box.adopt_dead([entry.name]) == [entry]
    assert box.entries() == [entry]
    assert box.adopt_dead([entry.name]) == []
    assert box.journal.open_ids == set()


def test_an_event_whose_clock_was_wrong_is_of_no_known_age(opened):
    passed_s = 0.0
    box = opened(now=lambda: NOW_S + passed_s, uptime=lambda: 100.0 + passed_s, max_age_s=1.0)
    box.do_housekeeping()
    metadata = DeliveryMetadata(METADATA.address, ClockReading(100.0, 1.0, "boot"))
    entry = box.store("e", {"images": []}, {}, metadata)
    passed_s = 2 * PROBATION_S
    box.do_housekeeping()
    assert box.entries() == [entry]


class Crowded(RealDisk):
    """A disk on which somebody else takes the first new slot before its maker can."""

    taken = None

    def lock(self, path):
        if self.taken is None:
            self.taken = path.parent
            return None
        return super().lock(path)


def test_a_slot_that_is_taken_before_its_maker_has_it_is_left_for_another(opened):
    disk = Crowded()
    box = opened(disk=disk)
    assert box.slot_folder != disk.taken
    assert store(box) in box.entries()

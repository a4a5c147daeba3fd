"""An outbox among processes: who owns what, and that nothing is lost when they end."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys

import pytest

from vision_event_block.outbox.clock import PROBATION_S
from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.entry import Address, Moment, Notes
from vision_event_block.outbox.journal import Journal
from vision_event_block.outbox.outbox import Outbox
from vision_event_block.outbox.room import OutboxLimits

NOW_S = 1_800_000_000.0
NOTES = Notes(Address("api", "http://api.invalid", "k"), Moment(NOW_S, 1.0, "boot"))
OWNER = """
import sys, time
from pathlib import Path
from vision_event_block.outbox.entry import Address, Moment, Notes
from vision_event_block.outbox.outbox import Outbox
box = Outbox(Path(sys.argv[1]))
notes = Notes(Address("api", "http://api.invalid"), Moment(1.8e9, 1.0, "boot"))
for number in range(3):
    box.store(f"e{number}", {"images": []}, {}, notes)
print(box.slot_folder.name, flush=True)
time.sleep(60)
"""


def store(box, event_id="e"):
    payload = {"images": [{"file": "images/o.jpg"}]}
    return box.store(event_id, payload, {"images/o.jpg": b"jpeg"}, NOTES)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "new" / "outbox"


@pytest.fixture
def opened(folder):
    boxes = []

    def opened(*limits, now=lambda: NOW_S, **more):
        boxes.append(Outbox(folder, *limits, now=now, **more))
        return boxes[-1]

    yield opened
    for box in boxes:
        box.close()


def test_nobody_else_can_read_what_is_stored(opened, folder):
    box = opened()
    entry = store(box)
    box.note_progress(entry, {})
    box.write_status({})
    box.bury(store(box, "dead"), {"why": "400"})
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
    limits = OutboxLimits(min_free_bytes=0, max_age_s=2 * PROBATION_S)
    box = opened(limits, now=lambda: NOW_S + passed_s, uptime=lambda: 100.0 + passed_s)
    box.keep_house()
    sent = store(box, "sent")
    store(box, "old")
    box.claim(sent)
    passed_s = 2 * PROBATION_S - 1
    box.keep_house()
    assert len(box.entries()) == 2
    passed_s = 2 * PROBATION_S + 1
    box.keep_house()
    assert box.entries() == [sent]
    assert box.journal.totals == {"stored": 2, "dropped age": 1}


def test_a_clock_that_jumps_ahead_makes_no_event_too_old(opened):
    uptime_s, wall_s = 100.0, NOW_S
    limits = OutboxLimits(min_free_bytes=0, max_age_s=60.0)
    box = opened(limits, now=lambda: wall_s, uptime=lambda: uptime_s)
    box.keep_house()
    store(box, "young")
    uptime_s += 2 * PROBATION_S
    wall_s += 2 * PROBATION_S + 15 * 365 * 86_400.0
    box.keep_house()
    uptime_s, wall_s = uptime_s + 60.0, wall_s + 60.0
    box.keep_house()
    assert len(box.entries()) == 1


def test_a_dead_letter_comes_back_with_its_reason_gone(opened, folder):
    box = opened()
    entry = store(box)
    box.bury(entry, {"why": "400"})
    assert len(list((folder / "dead").iterdir())) == 2
    assert [entry.event_id for entry in box.adopt_dead([entry.name, "1-none.tar"])] == ["e"]
    assert list((folder / "dead").iterdir()) == []
    assert box.journal.totals == {"stored": 1}

"""When room gets short, pictures go before events, the oldest first."""

from __future__ import annotations

import itertools

import pytest

from vision_event_block.outbox.entry import Address, Moment, Notes
from vision_event_block.outbox.outbox import Outbox
from vision_event_block.outbox.room import NoRoom, OutboxLimits

NOTES = Notes(Address("api", "http://api.invalid", "k"), Moment(1.8e9, 1.0, "boot"))
PAYLOAD = {"images": [{"inputFile": "images/i.jpg", "file": "images/o.jpg", "label": "w"}]}
PICTURES = {"images/i.jpg": b"i" * 20_000, "images/o.jpg": b"o" * 20_000}


@pytest.fixture
def opened(tmp_path):
    boxes = []

    def opened(**limits):
        clock = itertools.count(1_800_000_000)
        limits = OutboxLimits(**{"min_free_bytes": 0, **limits})
        boxes.append(Outbox(tmp_path / "outbox", limits, now=lambda: float(next(clock))))
        return boxes[-1]

    yield opened
    for box in boxes:
        box.close()


def fill(box, count):
    return [box.store(f"e{number}", PAYLOAD, PICTURES, NOTES) for number in range(count)]


def pictures(box):
    return ["".join(sorted(name[7] for name in box.read(e).pictures)) for e in box.entries()]


def disk_bytes(box):
    return sum(path.stat().st_size for path in box.folder.rglob("*") if path.is_file())


def test_two_hundred_events_stay_within_the_limit_and_all_are_kept(opened):
    box = opened(max_bytes=2_000_000)
    for number in range(200):
        box.store(f"e{number}", PAYLOAD, PICTURES, NOTES)
        assert disk_bytes(box) <= 2_000_000 * 1.05
    left = pictures(box)
    assert len(left) == 200
    assert left == sorted(left, key=["", "o", "io"].index)
    assert box.journal.totals["stored"] == 200
    assert box.journal.totals["shed quota"] == 400 - sum(map(len, left))


def test_input_pictures_go_before_output_pictures(opened):
    box = opened(max_bytes=200_000)
    fill(box, 5)
    assert pictures(box) == ["o", "o", "o", "io", "io"]


def test_dead_letters_lose_their_pictures_first_and_unreadable_files_before_them(opened):
    box = opened(max_bytes=270_000)
    broken, dead, *_ = fill(box, 4)
    (box.slot_folder / broken.name).write_bytes(b"x" * 42_000)
    assert box.read(broken) is None
    box.bury(dead, {"why": "400"})
    box.store("e4", PAYLOAD, PICTURES, NOTES)
    box.store("e5", PAYLOAD, PICTURES, NOTES)
    assert list((box.folder / "corrupt").iterdir()) == []
    assert box.journal.totals["dropped corrupt"] == 1
    assert "shed dead" not in box.journal.totals
    box.store("e6", PAYLOAD, PICTURES, NOTES)
    assert box.journal.totals["shed dead"] == 2
    assert pictures(box) == ["io"] * 5


def test_an_event_that_is_being_sent_keeps_its_pictures(opened):
    box = opened(max_bytes=120_000)
    sent, _ = fill(box, 2)
    box.claim(sent)
    box.store("e2", PAYLOAD, PICTURES, NOTES)
    assert pictures(box)[0] == "io"


def test_an_event_that_can_never_fit_does_not_cost_the_others_their_pictures(opened):
    box = opened(max_bytes=100_000)
    fill(box, 1)
    entry = box.store("big", PAYLOAD, {"images/i.jpg": b"i" * 200_000, "images/o.jpg": b""}, NOTES)
    assert pictures(box) == ["io", ""]
    assert entry.notes.shed == {"images/i.jpg": "quota", "images/o.jpg": "quota"}


def test_an_event_is_refused_only_when_not_even_bare_ones_fit(opened):
    box = opened(max_bytes=40_000)
    with pytest.raises(NoRoom, match="MAX_BYTES"):
        fill(box, 100)
    assert set(pictures(box)) == {""}
    assert 37_000 < sum(entry.size_bytes for entry in box.entries()) <= 40_000
    assert box.journal.totals["stored"] == len(box.entries())


def test_the_number_of_events_is_limited(opened):
    box = opened(max_events=2)
    with pytest.raises(NoRoom, match="MAX_EVENTS"):
        fill(box, 3)


def test_what_other_processes_hold_counts(opened):
    fill(opened(max_bytes=200_000), 4)
    second = opened(max_bytes=200_000)
    second.store("mine", PAYLOAD, PICTURES, NOTES)
    assert pictures(second) == [""]

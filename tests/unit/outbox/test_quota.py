"""When room gets short, pictures go before events, the oldest first."""

from __future__ import annotations

import errno

import pytest

from vision_event_block.events.bundle import encode_payload
from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.entry import Address, ClockReading, DeliveryMetadata, pack
from vision_event_block.outbox.quota import NoRoom

METADATA = DeliveryMetadata(
    Address("api", "http://api.invalid", "k"), ClockReading(1.8e9, 1.0, "boot")
)
PAYLOAD = {"images": [{"inputFile": "images/i.jpg", "file": "images/o.jpg", "label": "w"}]}
PICTURES = {"images/i.jpg": b"i" * 20_000, "images/o.jpg": b"o" * 20_000}
EVENT_BYTES = sum(map(len, pack(encode_payload(PAYLOAD), PICTURES, METADATA)))


def fill(box, count):
    return [box.store(f"e{number}", PAYLOAD, PICTURES, METADATA) for number in range(count)]


def pictures(box):
    return ["".join(sorted(name[7] for name in box.read(e).pictures)) for e in box.entries()]


def disk_bytes(box):
    return sum(path.stat().st_size for path in box.folder.rglob("*") if path.is_file())


def test_two_hundred_events_stay_within_the_limit_and_all_are_kept(opened):
    box = opened(max_bytes=2_000_000)
    for number in range(200):
        box.store(f"e{number}", PAYLOAD, PICTURES, METADATA)
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
    box.move_to_dead_letters(dead, {"why": "400"})
    box.store("e4", PAYLOAD, PICTURES, METADATA)
    box.store("e5", PAYLOAD, PICTURES, METADATA)
    assert list((box.folder / "corrupt").iterdir()) == []
    assert box.journal.totals["dropped corrupt"] == 1
    assert "shed dead" not in box.journal.totals
    box.store("e6", PAYLOAD, PICTURES, METADATA)
    assert box.journal.totals["shed dead"] == 2
    assert pictures(box) == ["io"] * 5


def test_an_event_that_is_being_sent_keeps_its_pictures(opened):
    box = opened(max_bytes=120_000)
    sent, _ = fill(box, 2)
    box.claim(sent)
    box.store("e2", PAYLOAD, PICTURES, METADATA)
    assert pictures(box)[0] == "io"


def test_an_event_that_can_never_fit_does_not_cost_the_others_their_pictures(opened):
    box = opened(max_bytes=100_000)
    fill(box, 1)
    entry = box.store(
        "big", PAYLOAD, {"images/i.jpg": b"i" * 200_000, "images/o.jpg": b""}, METADATA
    )
    assert pictures(box) == ["io", ""]
    assert entry.metadata.shed == {"images/i.jpg": "quota", "images/o.jpg": "quota"}


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
    second.store("mine", PAYLOAD, PICTURES, METADATA)
    assert pictures(second) == [""]


class SmallDisk(RealDisk):
    """A disk with so much room."""

    room_bytes = 2**40

    def free_bytes(self, folder):
        return self.room_bytes


def test_on_a_disk_that_others_fill_pictures_go_first_and_then_events_are_refused(opened):
    disk = SmallDisk()
    box = opened(disk=disk, min_free_bytes=1_000_000)
    fill(box, 2)
    disk.room_bytes = 1_005_000
    box.store("e2", PAYLOAD, PICTURES, METADATA)
    assert pictures(box) == ["", "", ""]
    bare_bytes = box.entries()[-1].size_bytes
    disk.room_bytes = 1_000_000 + bare_bytes
    box.store("e3", PAYLOAD, PICTURES, METADATA)
    disk.room_bytes -= 1
    with pytest.raises(NoRoom, match="less than 1 MB .*MIN_FREE_BYTES"):
        box.store("e4", PAYLOAD, PICTURES, METADATA)
    assert len(box.entries()) == 4


def room_for(events):
    """The limit below nine tenths of which so many whole events fit, and not a byte more."""
    return -(-events * EVENT_BYTES * 10 // 9)


def test_pictures_are_shed_from_nine_tenths_on_and_no_sooner_than_needed(opened):
    box = opened(max_bytes=room_for(3))
    fill(box, 3)
    assert [entry.size_bytes for entry in box.entries()] == [EVENT_BYTES] * 3
    box.store("e3", PAYLOAD, PICTURES, METADATA)
    assert pictures(box) == ["o", "o", "o", "io"]


def test_keeping_house_makes_room_that_others_have_taken_meanwhile(opened):
    box = opened(max_bytes=100_000)
    fill(box, 2)
    other = opened(max_bytes=100_000)
    other.store("theirs", PAYLOAD, {}, METADATA)
    (other.slot_folder / "1-big.tar").write_bytes(bytes(30_000))
    box.do_housekeeping()
    assert pictures(box) == ["o", "o"]


def test_strange_files_and_files_that_go_meanwhile_are_no_obstacle_to_counting(opened, disk):
    opened()
    box = opened(disk=disk)
    (box.folder / "slots" / "note.txt").write_text("hello")
    disk.fail("size_bytes", number=errno.ENOENT)
    box.do_housekeeping()
    assert len(fill(box, 1)) == 1


def test_an_unreadable_file_that_goes_meanwhile_is_not_counted_as_dropped(opened, disk):
    box = opened(disk=disk, max_bytes=100_000)
    (broken,) = fill(box, 1)
    (box.slot_folder / broken.name).write_bytes(bytes(50_000))
    assert box.read(broken) is None
    disk.fail("size_bytes", number=errno.ENOENT)
    box.store("e1", PAYLOAD, PICTURES, METADATA)
    assert "dropped corrupt" not in box.journal.totals


def test_no_more_unreadable_files_go_than_have_to(opened):
    box = opened(max_bytes=room_for(3))
    for entry in fill(box, 3):
        (box.slot_folder / entry.name).write_bytes(bytes(41_000))
        assert box.read(entry) is None
    for left in (2, 1):
        box.store(f"after-{left}", PAYLOAD, PICTURES, METADATA)
        assert len(list((box.folder / "corrupt").iterdir())) == left
        assert box.journal.totals["dropped corrupt"] == 3 - left
    assert pictures(box) == ["io", "io"]


def test_no_more_dead_letters_lose_their_pictures_than_have_to(opened):
    box = opened(max_bytes=room_for(3))
    for entry in fill(box, 3):
        box.move_to_dead_letters(entry, {"why": "400"})
    for number, shed in enumerate((4, 4)):
        box.store(f"after-{number}", PAYLOAD, PICTURES, METADATA)
        assert box.journal.totals["shed dead"] == shed
    assert pictures(box) == ["io", "io"]


def test_what_cannot_be_read_is_passed_over_when_pictures_are_shed(opened):
    box = opened(max_bytes=room_for(3))
    dead, damaged, whole = fill(box, 3)
    box.move_to_dead_letters(dead, {"why": "400"})
    (box.folder / "dead" / dead.name).write_bytes(bytes(41_000))
    (box.slot_folder / damaged.name).write_bytes(bytes(41_000))
    box.do_housekeeping()
    fourth = box.store("e3", PAYLOAD, PICTURES, METADATA)
    assert box.read(whole).pictures == {}
    assert box.read(fourth).pictures == PICTURES
    assert (box.slot_folder / damaged.name).stat().st_size == 41_000


def test_a_picture_that_is_shed_is_named_with_the_reason_and_out_of_the_payload(opened):
    box = opened(max_bytes=room_for(2))
    first, _ = fill(box, 2)
    box.store("e2", {"images": []}, {}, METADATA)
    box.do_housekeeping()
    contents = box.read(first)
    assert contents.metadata.shed == {"images/i.jpg": "quota"}
    assert contents.payload == {"images": [{"file": "images/o.jpg", "label": "w"}]}


def test_an_event_with_many_versions_is_one_that_pictures_may_be_shed_of(opened):
    box = opened()
    [entry] = fill(box, 1)
    quota = box._hold.quota
    for _ in range(5000):
        quota.note_pictures(entry, PAYLOAD)
    assert len(quota._with_pictures) < 2000, "else it grows as long as the event waits"


def test_an_event_is_refused_where_others_have_taken_all_the_room(opened):
    other = opened(max_bytes=200_000)
    (other.slot_folder / "1-theirs.tar").write_bytes(bytes(200_000 - 3_000))
    box = opened(max_bytes=200_000)
    with pytest.raises(NoRoom, match="MAX_BYTES"):
        fill(box, 1)
    (other.slot_folder / "1-theirs.tar").write_bytes(bytes(200_000 - 4_000))
    box.do_housekeeping()
    fill(box, 1)
    assert pictures(box) == [""]


def test_an_event_in_the_last_bytes_of_a_limit_is_taken(opened):
    bare = {"images": []}
    bare_bytes = sum(map(len, pack(encode_payload(bare), {}, METADATA)))
    box = opened(max_bytes=2 * bare_bytes, max_events=2)
    for number in range(2):
        box.store(f"e{number}", bare, {}, METADATA)
    with pytest.raises(NoRoom, match="2 events wait .*MAX_EVENTS"):
        box.store("e2", bare, {}, METADATA)

"""The disk, or somebody beside us, fails for a moment: nothing is forgotten for it."""

from __future__ import annotations

import errno
from contextlib import suppress

import pytest

from tests.unit.out_of_memory import each_line
from tests.unit.outbox.test_outbox import store
from tests.unit.outbox.test_quota import METADATA, PAYLOAD, PICTURES, fill, pictures
from vision_event_block.outbox.disk import RealDisk

BARE = {"images": []}


def test_what_was_adopted_is_told_even_if_the_look_around_fails(opened, disk):
    gone = opened()
    entry = store(gone)
    box = opened(disk=disk)
    gone.close()
    disk.fail("names", "dead", errno.EACCES)

    assert [each.name for each in box.adopt()] == [entry.name]


def test_what_could_not_be_read_when_it_came_is_taken_in_later(opened, disk):
    gone = opened()
    entry = store(gone)
    box = opened(disk=disk)
    gone.close()
    disk.fail("read_head", ".tar")
    assert box.adopt() == []
    disk.heal()

    assert [each.name for each in box.adopt()] == [entry.name]
    assert box.adopt() == []


def test_what_is_here_or_is_being_written_is_not_taken_in_again(opened):
    disk = Adopting()
    box = opened(disk=disk)
    entry = store(box)
    disk.adopt = box.adopt
    second = store(box, "second")

    assert disk.adopted == [[]]
    assert box.entries() == [entry, second]


class Adopting(RealDisk):
    """A disk that takes so long to write an entry that others adopt meanwhile."""

    adopt = None

    def __init__(self):
        self.adopted = []

    def rename(self, source, target):
        super().rename(source, target)
        if self.adopt is not None and target.suffix == ".tar":
            self.adopted.append(self.adopt())


def test_a_neighbours_slot_that_is_not_for_us_to_see_does_no_harm(opened, disk):
    box = opened(disk=disk)
    (box.folder / "slots" / "0-1-stranger").mkdir()
    disk.fail("names", "stranger", errno.EACCES)

    assert store(box) in box.entries()
    box.do_housekeeping()
    assert opened(disk=disk).entries() == []


def test_an_event_whose_shedding_failed_is_shed_later(opened, disk):
    box = opened(disk=disk, max_bytes=200_000)
    fill(box, 4)
    disk.fail("write", ".tar", errno.ENOSPC)
    with pytest.raises(OSError, match="refused"):
        box.store("e4", PAYLOAD, PICTURES, METADATA)
    disk.heal()
    box.store("e5", PAYLOAD, PICTURES, METADATA)

    left = pictures(box)
    assert left == sorted(left, key=["", "o", "io"].index)


def test_a_refused_event_becomes_a_dead_letter_even_without_its_reason(opened, disk):
    box = opened(disk=disk)
    entry = store(box)
    box.claim(entry)
    disk.fail("write", "dead", errno.ENOSPC)

    box.move_to_dead_letters(entry, {"why": "400"})

    assert box.entries() == []
    assert [path.name for path in (box.folder / "dead").iterdir()] == [entry.name]


def test_old_dead_letters_go_before_a_new_event_is_refused(opened):
    box = opened(max_bytes=20_000, max_events=1000)
    for number in range(60):  # none of these is refused
        box.move_to_dead_letters(box.store(f"e{number}", BARE, {}, METADATA), {"why": "400"})
    letters = sorted(path.name for path in (box.folder / "dead").glob("*.tar"))

    assert letters[-1].endswith("-e59.tar")
    dropped = box.journal.totals["dropped full"]
    assert 0 < dropped == 60 - len(letters)
    assert len(list((box.folder / "dead").glob("*.json"))) == len(letters)


def test_a_letter_that_is_bare_is_read_once(opened, disk):
    box = opened(disk=disk, max_bytes=100_000)
    for number in range(8):
        box.move_to_dead_letters(box.store(f"d{number}", BARE, {}, METADATA), {"why": "400"})
    reads = []
    disk_read = disk.read
    disk.read = lambda path: reads.append(path) or disk_read(path)
    for number in range(6):
        box.store(f"e{number}", PAYLOAD, PICTURES, METADATA)

    of_letters = [path for path in reads if path.parent.name == "dead"]
    assert len(of_letters) == len(set(of_letters)) == 8


#: What an entry goes through here.
ROOM = [f"outbox/{it}.py" for it in ("outbox", "slot", "entry_index", "journal", "leaving")]


@pytest.mark.parametrize("ends", ["delivered", "dropped", "dead"])
def test_without_memory_at_any_line_an_entry_is_here_or_has_ended_and_counts_once(opened, ends):
    box = opened()
    end = {
        "delivered": box.delivered,
        "dropped": lambda entry: box.drop(entry, "why"),
        "dead": lambda entry: box.move_to_dead_letters(entry, {"why": "400"}),
    }[ends]

    def pass_through():
        with suppress(OSError):  # the journal tells so until it has been tended
            end(store(box))

    for place, _ in each_line(ROOM, pass_through):
        box.do_housekeeping()
        for entry in box.entries():
            end(entry)
        box.do_housekeeping()
        assert not list(box.slot_folder.glob("*.tar")), place

    totals, stored = box.journal.totals, box.journal.totals["stored"]
    assert stored > 10
    assert {
        "delivered": totals["delivered"],
        "dropped": totals["dropped why"],
        "dead": len(list(box.folder.glob("dead/*.tar"))),
    }[ends] == stored
    assert box._hold.index.size_bytes == 0

"""The counts of a slot survive kills, damage, rotation and a full disk."""

from __future__ import annotations

import errno
from collections import Counter
from contextlib import suppress

import pytest

from tests.unit.out_of_memory import each_line
from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.journal import MAX_BYTES, Journal


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal"


def test_a_journal_read_back_counts_the_same(disk, path):
    journal = Journal(disk, path)
    journal.stored("a")
    journal.stored("b")
    journal.delivered("a")
    journal.dropped("b", "age")
    journal.count("shed quota", 3)
    again = Journal(disk, path)
    assert again.totals == journal.totals
    assert again.totals == {"stored": 2, "delivered": 1, "dropped age": 1, "shed quota": 3}
    assert again.delivered_ids == {"a"}


def test_rotation_keeps_the_counts_and_what_is_open(disk, path):
    journal = Journal(disk, path)
    journal.stored("kept")
    journal.stored("dead")
    journal.moved_on("dead")
    while path.stat().st_size < MAX_BYTES:
        journal.adopted(f"{number:040}" for number in range(1_000))
        for number in range(1_000):
            journal.moved_on(f"{number:040}")
    journal.tend()
    assert path.stat().st_size < 100
    again = Journal(disk, path)
    assert (again.totals, again.open_ids) == ({"stored": 2}, {"kept"})


def test_a_line_cut_off_by_a_kill_does_not_spoil_the_next_one(disk, path):
    path.write_bytes(b"S a\nS b\nD")
    Journal(disk, path).delivered("b")
    assert Journal(disk, path).totals == {"stored": 2, "delivered": 1}


def test_lines_that_a_full_disk_refused_are_written_with_the_next_one(disk, path):
    journal = Journal(disk, path)
    disk.fail("append", number=errno.ENOSPC)
    journal.stored("a")
    disk.heal()
    journal.stored("b")
    assert Journal(disk, path).totals == {"stored": 2}


def test_a_journal_taken_over_is_added_once(disk, path):
    other = Journal(disk, path.with_name("other"))
    other.stored("a")
    for _ in range(2):
        Journal(disk, path).fold(other, "other-1")
    assert Journal(disk, path).totals == {"stored": 1}


def test_a_damaged_line_is_no_reason_to_think_an_event_delivered(disk, path):
    path.write_bytes("D never-stored\n+ x ²\nT [1]\nT {\n\n".encode())
    assert Journal(disk, path).delivered_ids == set()


def test_a_count_of_more_digits_than_any_true_one_is_passed_over(disk, path):
    path.write_text(f"+ small {'9' * 15}\n+ large {'9' * 16}\n")
    assert Journal(disk, path).totals == {"small": 10**15 - 1}


def test_lines_read_back_after_a_refusal_are_there_once(disk, path):
    journal = Journal(disk, path)
    disk.fail("append", number=errno.ENOSPC)
    journal.stored("a")
    disk.heal()
    journal.stored("b")
    journal.stored("c")
    assert path.read_text() == "S a\nS b\nS c\n"


def test_an_event_that_moves_in_before_any_other_needs_no_line_of_none(disk, path):
    Journal(disk, path).adopted([])
    assert not path.exists()


def test_what_is_known_as_delivered_or_dropped_is_forgotten_with_the_lines(disk, path):
    journal = Journal(disk, path)
    for event_id in ("sent", "old"):
        journal.stored(event_id)
    journal.delivered("sent")
    journal.dropped("old", "age")
    journal.removed("sent")
    journal.removed("old")
    journal.count("x" * MAX_BYTES)
    journal.tend()
    assert (journal.delivered_ids, journal.dropped_ids) == (set(), set())
    assert path.read_text().startswith("T {")
    assert len(path.read_text().splitlines()) == 1


def test_a_short_journal_is_left_as_it_is(disk, path):
    journal = Journal(disk, path)
    journal.stored("a")
    journal.tend()
    assert path.read_text() == "S a\n"


def test_what_is_done_with_stays_known_until_its_file_is_gone(disk, path):
    journal = Journal(disk, path)
    for event_id in ("sent", "old"):
        journal.stored(event_id)
    journal.delivered("sent")
    journal.dropped("old", "age")
    journal.count("x" * MAX_BYTES)
    journal.tend()
    again = Journal(disk, path)
    assert again.delivered_ids | again.dropped_ids == {"sent", "old"}
    assert again.open_ids == set()
    assert again.totals == journal.totals
    assert (again.totals["stored"], again.totals["delivered"]) == (2, 1)


def test_a_journal_taken_over_is_added_once_even_if_its_file_stays_over_a_rotation(disk, path):
    other = Journal(disk, path.with_name("other"))
    other.stored("a")
    journal = Journal(disk, path)
    journal.fold(other, "other-1")
    journal.count("x" * MAX_BYTES)
    journal.tend()
    again = Journal(disk, path)
    again.fold(other, "other-1")
    assert again.totals["stored"] == 1


class Lying(RealDisk):
    """A disk that writes and says that it did not, or writes a part."""

    #: How much it writes before it fails; -1 once it is well.
    length = -1

    def append(self, path, content):
        is_well = self.length == -1
        super().append(path, content if is_well else content[: self.length])
        if not is_well:
            raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("length", [9, 3, 0], ids=["all", "a part", "nothing"])
def test_a_line_that_was_refused_and_written_all_the_same_counts_once(path, length):
    disk = Lying()
    journal = Journal(disk, path)
    disk.length = length
    journal.stored("a")
    disk.length = -1
    journal.stored("b")
    journal.tend()
    again = Journal(RealDisk(), path)
    assert (again.totals, again.open_ids) == ({"stored": 2}, {"a", "b"})


def test_without_memory_at_any_line_a_line_is_taken_in_or_not(disk, path):
    journal = Journal(disk, path)
    expected = Counter()
    number = 0

    def tell():
        nonlocal number
        number += 1
        for name, do in {
            "stored": lambda: journal.stored(f"{number}", shed=2),
            "dropped why": lambda: journal.dropped(f"{number}", "why"),
            "failed": lambda: journal.count_all({"failed": 1, "also failed": 1}),
        }.items():
            with suppress(OSError):  # after an append that failed, it is written with the next
                do()
                expected[name] += 1

    for _ in each_line(["outbox/journal.py"], tell):
        journal.tend()

    assert number > sum(expected.values()) / 3  # some of them were not taken in
    assert Journal(disk, path).totals == journal.totals
    assert {name: journal.totals[name] for name in expected} == expected
    assert journal.totals["shed quota"] == 2 * expected["stored"]
    assert journal.totals["also failed"] == expected["failed"]


class LyingDisk(RealDisk):
    """Carries an append out and says that it did not."""

    def append(self, path, content):
        super().append(path, content)
        raise OSError(errno.EIO, "Input/output error")


def test_without_memory_at_any_line_a_rotation_is_whole_or_is_done_again(path):
    journal = Journal(LyingDisk(), path)

    def rotate():
        journal.stored("event")
        journal.tend()

    for _ in each_line(["outbox/journal.py"], rotate):
        journal.tend()
        assert Journal(RealDisk(), path).totals == journal.totals

"""Shifts: names and hours of the day."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from vision_event_block.server.page.shifts import BadShifts, shifts_of, starts_of

THREE = "night 22:00-6:00, early 6:00-14:00, late shift 14:00-22:00"


@pytest.mark.parametrize(
    ("hour", "minute", "name"),
    [
        (5, 59, "night"),
        (6, 0, "early"),
        (13, 59, "early"),
        (14, 0, "late shift"),
        (22, 0, "night"),
        (0, 0, "night"),
    ],
)
def test_each_time_of_the_day_is_in_one_shift(hour, minute, name):
    moment = datetime(2026, 3, 1, hour, minute, tzinfo=timezone.utc)

    assert [each.name for each in shifts_of(THREE) if each.holds(moment)] == [name]


def test_periods_begin_with_shifts_and_with_what_lies_between():
    assert starts_of(shifts_of(THREE)) == (360, 840, 1320)
    assert starts_of(shifts_of("day 7:00-15:30")) == (420, 930)
    assert starts_of(shifts_of("")) == ()


def test_one_shift_may_last_the_whole_day():
    [shift] = shifts_of("always 6:00-6:00")

    assert all(shift.holds(datetime(2026, 3, 1, hour, tzinfo=timezone.utc)) for hour in range(24))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("early", "`early 6:00-14:00`, not 'early'"),
        ("early 6-14", "not 'early 6-14'"),
        ("early 6:00-14:60", "no such time"),
        ("early 25:00-6:00", "no such time"),
        ("early 6:00-14:00, late 13:00-22:00", "overlap"),
        ("night 22:00-6:00, early 5:00-14:00", "overlap"),
        ("one 0:00-24:00, two 0:00-24:00", "overlap"),
    ],
)
def test_what_is_no_shift_is_refused_with_the_reason(text, problem):
    with pytest.raises(BadShifts, match=problem):
        shifts_of(text)

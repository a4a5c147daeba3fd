"""Periods begin where clocks and calendars say so."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from vision_event_block.server.store.periods import days_before, edges_of, edges_on_days
from vision_event_block.server.store.timestamps import HOUR_US, microseconds, moment_of

BERLIN, KOLKATA = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kolkata")


def local(zone, *parts):
    return microseconds(datetime(*parts, tzinfo=zone))


def clock(edges, zone):
    return [f"{moment_of(edge).astimezone(zone):%d %H:%M}" for edge in edges]


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        (BERLIN, (2026, 3, 29), 23),
        (BERLIN, (2026, 10, 25), 25),
        (BERLIN, (2026, 6, 1), 24),
        (KOLKATA, (2026, 3, 29), 24),
    ],
)
def test_a_day_has_as_many_hours_as_its_clock_shows(zone, day, hours):
    first, last = local(zone, *day), local(zone, *day) + hours * HOUR_US - 1

    edges = edges_of(first, last, 30, zone)

    assert (edges[0], edges[-1], len(edges) - 1) == (first, last + 1, hours)
    assert {end - start for start, end in pairwise(edges)} == {HOUR_US}
    assert edges_of(first, last, 2, zone)[::2] == [first, last + 1]


def test_days_begin_at_midnight_of_the_zone():
    first, last = local(BERLIN, 2026, 3, 27, 15), local(BERLIN, 2026, 3, 31, 9)

    days = clock(edges_of(first, last, 6, BERLIN), BERLIN)

    assert days == ["27 00:00", "28 00:00", "29 00:00", "30 00:00", "31 00:00", "01 00:00"]


@pytest.mark.parametrize(
    ("name", "day", "clocks"),
    [
        ("America/Santiago", (2026, 9, 5), ["05 00:00", "06 01:00", "07 00:00", "08 00:00"]),
        ("America/Havana", (2026, 10, 31), ["31 00:00", "01 00:00", "02 00:00", "03 00:00"]),
    ],
)
def test_a_day_begins_once_where_clocks_are_changed_at_midnight(name, day, clocks):
    zone = ZoneInfo(name)
    first = local(zone, *day, 12)

    edges = edges_of(first, first + 50 * HOUR_US, 3, zone)

    assert clock(edges, zone) == clocks


def test_shifts_begin_once_where_their_hour_comes_never_or_twice():
    spring, autumn = local(BERLIN, 2026, 3, 29), local(BERLIN, 2026, 10, 25)

    in_spring, in_autumn = (
        clock(edges_on_days(day, day + 5 * HOUR_US, BERLIN, [120, 240]), BERLIN)
        for day in (spring, autumn)
    )

    assert in_spring == ["28 04:00", "29 03:00", "29 04:00", "30 02:00"]
    assert in_autumn == ["24 04:00", "25 02:00", "25 04:00", "26 02:00"]


def test_weeks_begin_on_mondays():
    first, last = local(BERLIN, 2026, 3, 4), local(BERLIN, 2026, 4, 8)

    starts = [moment_of(edge).astimezone(BERLIN) for edge in edges_of(first, last, 7, BERLIN)]

    assert {f"{start:%a %H:%M}" for start in starts} == {"Mon 00:00"}


def test_shifts_begin_at_their_hours_also_when_clocks_are_changed():
    first, last = local(BERLIN, 2026, 3, 28, 12), local(BERLIN, 2026, 3, 29, 15)

    edges = edges_on_days(first, last, BERLIN, [360, 840, 1320])

    assert clock(edges, BERLIN) == [
        "28 06:00",
        "28 14:00",
        "28 22:00",
        "29 06:00",
        "29 14:00",
        "29 22:00",
    ]


def test_a_week_before_is_the_same_time_of_the_clock():
    edges = [local(BERLIN, 2026, 3, day) for day in (30, 31)]

    earlier = days_before(edges, 7, BERLIN)

    assert clock(earlier, BERLIN) == ["23 00:00", "24 00:00"]
    assert edges[0] - earlier[0] == 7 * 24 * HOUR_US - HOUR_US


@pytest.mark.parametrize("at_most", [1, 3, 48, 168])
@pytest.mark.parametrize("zone", [timezone.utc, BERLIN, KOLKATA], ids=str)
@pytest.mark.parametrize("span_s", [0, 1, 100, 7_000, 90_000, 3_000_000, 90_000_000, 9_000_000_000])
def test_periods_hold_what_is_asked_for_and_are_not_too_many(at_most, zone, span_s):
    first = local(BERLIN, 2026, 3, 28, 13, 37)
    last = first + span_s * 1_000_000

    edges = edges_of(first, last, at_most, zone)

    assert edges[0] <= first < edges[1]
    assert edges[-2] <= last < edges[-1]
    assert edges == sorted(set(edges))
    assert len(edges) - 1 <= at_most
    assert timedelta(microseconds=edges[-1] - edges[0])

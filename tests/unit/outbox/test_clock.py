"""Times are mended where the clock was wrong, and left alone where it was not."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from vision_event_block.outbox.clock import (
    EARLIEST_S,
    MAX_DRIFT_S,
    PROBATION_S,
    UNKNOWN_BOOT,
    Trust,
    boot_id,
    corrected,
    reading,
    uptime_s,
    waited_s,
)
from vision_event_block.outbox.entry import ClockReading

SEEN = "1970-01-01T00:01:40+00:00"
NOW = ClockReading(1_800_000_060.0, 160.0, "boot-1")
RIGHT = "2027-01-15T08:00:00+00:00"
MARCH = "2026-03-01T00:00:00+00:00"
MARCH_S = 1_772_323_200.0
HOUR_S = PROBATION_S
YEAR_S = 365 * 86_400.0


@pytest.mark.parametrize(
    ("timestamp", "taken", "now", "expected"),
    [
        (SEEN, ClockReading(100.0, 100.0, "boot-1"), NOW, "2027-01-15T08:00:00+00:00"),
        (SEEN, ClockReading(100.0, 100.0, "boot-0"), NOW, "2027-01-15T08:01:00+00:00"),
        (SEEN, ClockReading(100.0, 100.0, "boot-1"), ClockReading(160.0, 160.0, "boot-1"), SEEN),
        (
            "2026-12-01T00:00:00Z",
            ClockReading(1_790_000_000.0, 1, "b"),
            NOW,
            "2026-12-01T00:00:00Z",
        ),
        (MARCH, ClockReading(MARCH_S, 100.0, "boot-1"), NOW, "2027-01-15T08:00:00+00:00"),
        (MARCH, ClockReading(MARCH_S + 30, 130.0, "boot-1"), NOW, "2027-01-15T08:00:00+00:00"),
        (MARCH, ClockReading(MARCH_S, 100.0, "boot-0"), NOW, MARCH),
        (
            MARCH,
            ClockReading(MARCH_S, 100.0, UNKNOWN_BOOT),
            replace(NOW, boot_id=UNKNOWN_BOOT),
            MARCH,
        ),
        ("2027-06-01T00:00:00Z", ClockReading(1_811_808_000.0, 100.0, "boot-1"), NOW, RIGHT),
        (RIGHT, ClockReading(1_800_000_000.0 + 3600, 100.0, "boot-1"), NOW, RIGHT),
        (
            "2026-02-20T10:00:00Z",
            ClockReading(MARCH_S, 100.0, "boot-1"),
            NOW,
            "2026-02-20T10:00:00Z",
        ),
        ("no time", ClockReading(MARCH_S, 100.0, "boot-1"), NOW, "no time"),
    ],
    ids=[
        "same start of the machine",
        "started anew",
        "still wrong",
        "was right",
        "wrong by months",
        "seen before it was taken",
        "wrong by months, perhaps, and started anew",
        "nobody knows whether it was started anew",
        "ahead by months",
        "an hour off",
        "given by somebody",
        "not to be read",
    ],
)
def test_the_time_of_an_event(timestamp, taken, now, expected):
    assert corrected(timestamp, taken, now) == expected


@pytest.mark.parametrize(
    ("readings", "is_trusted"),
    [
        ([(EARLIEST_S, 0.0)], False),
        ([(EARLIEST_S, 0.0), (EARLIEST_S + HOUR_S - 1, HOUR_S - 1)], False),
        ([(EARLIEST_S, 0.0), (EARLIEST_S + HOUR_S, HOUR_S)], True),
        ([(EARLIEST_S - HOUR_S - 1, 0.0), (EARLIEST_S - 1, HOUR_S)], False),
        ([(EARLIEST_S, 0.0), (EARLIEST_S + HOUR_S + MAX_DRIFT_S, HOUR_S)], True),
        ([(EARLIEST_S, 0.0), (EARLIEST_S + HOUR_S + MAX_DRIFT_S + 1, HOUR_S)], False),
        ([(EARLIEST_S + YEAR_S, 0.0), (EARLIEST_S + HOUR_S, HOUR_S)], False),
        (
            [
                (EARLIEST_S, 0.0),
                (EARLIEST_S + YEAR_S, 60.0),
                (EARLIEST_S + YEAR_S + HOUR_S, 60.0 + HOUR_S),
            ],
            True,
        ),
    ],
    ids=[
        "first look",
        "not yet an hour",
        "an hour in step",
        "before the software existed",
        "set by a minute",
        "jumped",
        "jumped back",
        "an hour after a jump",
    ],
)
def test_a_wall_clock_is_believed_after_an_hour_in_step_with_the_uptime(readings, is_trusted):
    trust = Trust()
    assert [trust.given(*reading) for reading in readings][-1] is is_trusted


def test_the_clocks_now_are_those_of_this_machine():
    now = reading()
    assert abs(now.wall_s - time.time()) < 5
    assert abs(now.uptime_s - uptime_s()) < 5
    assert now.boot_id == boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@pytest.mark.parametrize(
    ("taken", "stored_at_s", "is_wall_trusted", "expected_s"),
    [
        (ClockReading(MARCH_S, 100.0, "boot-1"), MARCH_S, True, 60.0),
        (ClockReading(100.0, 100.0, "boot-1"), 100.0, True, 60.0),
        (ClockReading(NOW.wall_s, 100.0, "boot-1"), NOW.wall_s, False, 60.0),
        (ClockReading(MARCH_S, 100.0, "boot-1"), MARCH_S + 50.0, True, 10.0),
        (ClockReading(MARCH_S, 100.0, "boot-0"), MARCH_S, True, NOW.wall_s - MARCH_S),
        (ClockReading(MARCH_S, 100.0, "boot-0"), MARCH_S, False, None),
        (ClockReading(100.0, 100.0, "boot-0"), 100.0, True, None),
        (ClockReading(MARCH_S, 100.0, UNKNOWN_BOOT), MARCH_S, False, None),
    ],
    ids=[
        "the clock was set",
        "the clock was impossible",
        "the clock is not trusted",
        "requeued",
        "started anew",
        "started anew, and not trusted",
        "started anew, and impossible",
        "nobody knows whether it was started anew",
    ],
)
def test_how_long_an_event_has_waited(taken, stored_at_s, is_wall_trusted, expected_s):
    assert waited_s(taken, stored_at_s, NOW, is_wall_trusted=is_wall_trusted) == expected_s

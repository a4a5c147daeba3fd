"""Times are mended where the clock was wrong, and left alone where it was not."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from vision_event_block.outbox.clock import (
    EARLIEST_S,
    MAX_DRIFT_S,
    PROBATION_S,
    Trust,
    boot_id,
    corrected,
    moment,
    uptime_s,
)
from vision_event_block.outbox.entry import Moment

SEEN = "1970-01-01T00:01:40+00:00"
NOW = Moment(1_800_000_060.0, 160.0, "boot-1")
HOUR_S = PROBATION_S
YEAR_S = 365 * 86_400.0


@pytest.mark.parametrize(
    ("timestamp", "taken", "now", "expected"),
    [
        (SEEN, Moment(100.0, 100.0, "boot-1"), NOW, "2027-01-15T08:00:00+00:00"),
        (SEEN, Moment(100.0, 100.0, "boot-0"), NOW, "2027-01-15T08:01:00+00:00"),
        (SEEN, Moment(100.0, 100.0, "boot-1"), Moment(160.0, 160.0, "boot-1"), SEEN),
        ("2026-12-01T00:00:00Z", Moment(1_790_000_000.0, 1, "b"), NOW, "2026-12-01T00:00:00Z"),
    ],
    ids=["same start of the machine", "started anew", "still wrong", "was right"],
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
    now = moment()
    assert abs(now.wall_s - time.time()) < 5
    assert abs(now.uptime_s - uptime_s()) < 5
    assert now.boot_id == boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()

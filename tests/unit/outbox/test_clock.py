"""Times are mended where the clock was wrong, and left alone where it was not."""

from __future__ import annotations

import pytest

from vision_event_block.outbox.clock import corrected
from vision_event_block.outbox.entry import Moment

SEEN = "1970-01-01T00:01:40+00:00"
NOW = Moment(1_800_000_060.0, 160.0, "boot-1")


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

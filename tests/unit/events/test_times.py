"""The event's time: the given one, else the live frame's, else now; always UTC with a zone."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import pytest

from vision_event_block.events.errors import UnfitEvent
from vision_event_block.events.times import event_time, iso, parse_time

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=timezone.utc)
MORNING = datetime(2026, 3, 1, 9, 15, 27, tzinfo=timezone.utc)

READABLE = {
    "zulu": "2026-03-01T09:15:27Z",
    "offset": "2026-03-01T11:15:27+02:00",
    "milliseconds": "2026-03-01T09:15:27.000Z",
    "one decimal": "2026-03-01T09:15:27.0+00:00",
    "nine decimals": "2026-03-01T09:15:27.000000000Z",
    "spaces around": " 2026-03-01T09:15:27z ",
    "datetime": MORNING,
    "datetime elsewhere": MORNING.astimezone(timezone(timedelta(hours=-5))),
    "naive is local": MORNING.astimezone().replace(tzinfo=None),
    "naive text is local": MORNING.astimezone().replace(tzinfo=None).isoformat(),
    "seconds since 1970": MORNING.timestamp(),
    "seconds since 1970 as text": f" {MORNING.timestamp()}",
}


@pytest.mark.parametrize("given", READABLE.values(), ids=READABLE)
def test_a_given_time_wins(given):
    moment = event_time(given, frame=NOW, now=NOW)

    assert moment == MORNING
    assert moment.utcoffset() == timedelta(0)


def test_a_date_is_its_local_midnight():
    assert parse_time(date(2026, 3, 1)) == datetime(2026, 3, 1).astimezone(timezone.utc)


@pytest.mark.parametrize("given", ["yesterday", "2026-13-01", True, [], float("nan"), 1e30])
def test_a_time_that_cannot_be_read_says_what_can(given):
    with pytest.raises(UnfitEvent, match="ISO 8601"):
        event_time(given, frame=None, now=NOW)


@pytest.mark.parametrize(
    "given",
    [NOW - timedelta(days=366), NOW + timedelta(days=1, seconds=1), 0],
)
def test_a_time_that_the_api_refuses_is_an_error_that_says_so(given):
    with pytest.raises(UnfitEvent, match="outside the range that the API takes"):
        event_time(given, frame=None, now=NOW)


@pytest.mark.parametrize("given", [NOW - timedelta(days=364), NOW + timedelta(hours=23)])
def test_a_time_at_the_edge_of_the_window_is_fine(given):
    assert event_time(given, frame=None, now=NOW) == given


def test_a_live_frames_naive_local_time_is_taken():
    frame = (NOW - timedelta(seconds=3)).astimezone().replace(tzinfo=None)

    assert event_time(None, frame=frame, now=NOW) == NOW - timedelta(seconds=3)


@pytest.mark.parametrize(
    "frame", [None, NOW - timedelta(hours=2), NOW + timedelta(minutes=1), datetime(1970, 1, 2)]  # noqa: DTZ001 - as a board without a clock gives it,
)  # fmt: skip
def test_without_a_plausible_frame_time_it_is_now(frame):
    assert event_time("", frame=frame, now=NOW) == NOW


def test_the_spelling_is_iso_8601_with_a_zone():
    assert iso(MORNING) == "2026-03-01T09:15:27.000000+00:00"

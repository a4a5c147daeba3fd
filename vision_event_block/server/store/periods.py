"""Divides time into periods that match clocks and calendars. Pure."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from vision_event_block.server.store.timestamps import DAY_US, HOUR_US, microseconds, moment_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import tzinfo

_SECOND_US: Final = 1_000_000
_MINUTE_US: Final = 60 * _SECOND_US
#: Below an hour the clocks of all zones agree, except for offsets of quarter hours.
_SHORT_US: Final = (
    *(seconds * _SECOND_US for seconds in (1, 2, 5, 10, 15, 30)),
    *(minutes * _MINUTE_US for minutes in (1, 2, 5, 10, 15, 30)),
)
_DAY_HOURS: Final = 24
_HOURS: Final = (1, 2, 3, 6, 12)
_DAYS: Final = (1, 2, 7, 14, 28, 91, 364)
#: Between these, every zone can express a time as its local time.
_FIRST_US: Final = microseconds(datetime(2, 1, 1, tzinfo=timezone.utc))
_LAST_US: Final = microseconds(datetime(9998, 1, 1, tzinfo=timezone.utc))
_MIN_US: Final = microseconds(datetime.min.replace(tzinfo=timezone.utc))


def edges_of(first_us: int, last_us: int, at_most: int, zone: tzinfo) -> list[int]:
    """Where at most `at_most` periods begin, and where the last one ends.

    Together they contain both times. Days and hours are those of the zone: a day on which clocks
    change has 23 or 25 hours.
    """
    if has_calendar(first_us, last_us):
        for width_us in _SHORT_US:
            if (last_us - first_us) // width_us <= at_most:
                offset = moment_of(first_us).astimezone(zone).utcoffset() or timedelta()
                origin_us = first_us - (first_us + offset // timedelta(microseconds=1)) % width_us
                edges = _even(origin_us, width_us, last_us)
                if len(edges) - 1 <= at_most:
                    return edges
        for days, hours in (
            *((1, hours) for hours in _HOURS),
            *((days, _DAY_HOURS) for days in _DAYS),
        ):
            if (last_us - first_us) // (days * hours * HOUR_US) <= at_most:
                starts = [60 * hour for hour in range(0, _DAY_HOURS, hours)]
                edges = edges_on_days(first_us, last_us, zone, starts, days=days)
                if len(edges) - 1 <= at_most:
                    return edges
    # Decades: a wrong clock or a mistake, but it is shown all the same.
    origin_us = max(_MIN_US, first_us - first_us % DAY_US)
    width_us = -(-(last_us - origin_us + 1) // (at_most * DAY_US)) * DAY_US
    return _even(origin_us, width_us, last_us)


def has_calendar(first_us: int, last_us: int) -> bool:
    """Whether every zone can express all times between the two as local times."""
    return first_us > _FIRST_US and last_us < _LAST_US


def edges_on_days(
    first_us: int, last_us: int, zone: tzinfo, starts_min: Sequence[int], *, days: int = 1
) -> list[int]:
    """Like `edges_of`, with periods that begin at these minutes of every day, or every `days`."""
    edges = sorted(set(_moments(first_us, last_us, zone, starts_min, days)))
    begin = max(n for n, edge in enumerate(edges) if edge <= first_us)
    end = min(n for n, edge in enumerate(edges) if edge > last_us)
    return edges[begin : end + 1]


def days_before(edges_us: Sequence[int], days: int, zone: tzinfo) -> list[int]:
    """The same periods by the clock in the zone, a number of days before."""
    if not has_calendar(edges_us[0] - days * DAY_US, edges_us[-1]):
        return [max(edge_us - days * DAY_US, _MIN_US) for edge_us in edges_us]
    earlier = []
    for edge_us in edges_us:
        local = moment_of(edge_us).astimezone(zone)
        earlier.append(microseconds(local - timedelta(days=days)))
    # An hour that is skipped in spring becomes an empty period.
    return [max(earlier[: n + 1]) for n in range(len(earlier))]


def width_of(edges_us: Sequence[int]) -> int:
    """The median width of the periods, so that clock changes do not count."""
    return sorted(end - start for start, end in pairwise(edges_us))[(len(edges_us) - 1) // 2]


def _even(origin_us: int, width_us: int, last_us: int) -> list[int]:
    count = (last_us - origin_us) // width_us + 1
    return [origin_us + number * width_us for number in range(count + 1)]


def _moments(
    first_us: int, last_us: int, zone: tzinfo, starts_min: Sequence[int], days: int
) -> Iterator[int]:
    first = moment_of(first_us).astimezone(zone).date().toordinal() - 1
    last = moment_of(last_us).astimezone(zone).date().toordinal() + 1
    # Weeks begin on Mondays, as did year 1.
    for ordinal in range(first - (first - 1) % days, last + days + 1, days):
        midnight = datetime.combine(date.fromordinal(ordinal), time(), zone)
        for minutes in starts_min:
            local = midnight + timedelta(minutes=minutes)
            moment = local.astimezone(timezone.utc)
            yield microseconds(moment)
            # A day or a shift begins once, even if its first hour occurs twice or not at all.
            again = local.replace(fold=1).astimezone(timezone.utc)
            if len(starts_min) == _DAY_HOURS and again > moment:
                yield microseconds(again)

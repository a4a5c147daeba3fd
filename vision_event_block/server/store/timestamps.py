"""Times as the database stores them: whole microseconds since 1970, in UTC."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    Clock = Callable[[], datetime]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND: Final = timedelta(microseconds=1)

HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US
#: Greater than any stored time.
MAX_TIME_US: Final = 2**62


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


def microseconds(moment: datetime) -> int:
    """The exact microseconds from 1970 to a time with a zone."""
    return (moment - EPOCH) // _MICROSECOND


def moment_of(time_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=time_us)


def now_us(clock: Clock) -> int:
    return microseconds(clock())


def iso_milliseconds(moment: datetime) -> str:
    """A time as JavaScript formats it: `2026-03-01T09:15:27.123Z`."""
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""Times as the database keeps them: whole microseconds since 1970, in UTC."""

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
#: Beyond this there is no time.
MAX_TIME_US: Final = 2**62


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


def microseconds(moment: datetime) -> int:
    """The microseconds from 1970 to a moment with a zone, exactly."""
    return (moment - EPOCH) // _MICROSECOND


def moment_of(time_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=time_us)


def now_us(clock: Clock) -> int:
    return microseconds(clock())


def iso_milliseconds(moment: datetime) -> str:
    """A time as JavaScript spells it: `2026-03-01T09:15:27.123Z`."""
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")

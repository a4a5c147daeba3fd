"""When an event happened: in UTC, with a zone, decided once."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

from vision_event_block.contract import limits
from vision_event_block.contract.text import clean_text, cut
from vision_event_block.events.errors import UnfitEvent

#: A live frame's own time counts if it is this close to now; a stream may lag behind.
MAX_FRAME_LAG = timedelta(hours=1)
MAX_FRAME_LEAD = timedelta(seconds=5)

_FRACTION = re.compile(r"\.(\d+)")
#: Nine digits or more: fewer could be a date such as 20260301.
_SECONDS = re.compile(r"\d{9,}(\.\d+)?")


def event_time(given: Any, *, frame: datetime | None, now: datetime) -> datetime:
    """The event's time in UTC: the given one, else the live frame's if plausible, else now.

    A time without a zone is taken as the machine's local time, as the host's own times are.

    Raises:
        UnfitEvent: the given time cannot be read, or the API would refuse it.
    """
    if given is None or given == "":
        frame = None if frame is None else _utc(frame)
        if frame is not None and now - MAX_FRAME_LAG <= frame <= now + MAX_FRAME_LEAD:
            return frame
        return _utc(now)
    moment = parse_time(given)
    if not now - limits.MAX_EVENT_AGE <= moment <= now + limits.MAX_EVENT_LEAD:
        raise UnfitEvent(
            f"timestamp {moment.isoformat()} is outside the range that the API takes, one year ago "
            f"to one day ahead; it is now {_utc(now).isoformat(timespec='seconds')}. "
            "Check the value and the machine's clock"
        )
    return moment


def parse_time(given: Any) -> datetime:
    """UTC from ISO 8601 text, a datetime, a date, or seconds since 1970.

    >>> parse_time("2026-03-01T09:15:27.5Z").isoformat()
    '2026-03-01T09:15:27.500000+00:00'

    Raises:
        UnfitEvent: it is none of these.
    """
    try:
        if isinstance(given, datetime):
            return _utc(given)
        if isinstance(given, date):
            return _utc(datetime.combine(given, time()))
        if isinstance(given, (int, float)) and not isinstance(given, bool):
            return datetime.fromtimestamp(given, timezone.utc)
        if isinstance(given, str):
            if _SECONDS.fullmatch(given.strip()):
                return parse_time(float(given))
            return _utc(datetime.fromisoformat(_as_python_3_10_reads_it(given)))
    except (ValueError, OverflowError, OSError):
        pass
    raise UnfitEvent(
        f"timestamp {cut(clean_text(given), 60)!r} cannot be read; give ISO 8601 text such as "
        "2026-03-01T09:15:27Z or seconds since 1970"
    )


def iso(moment: datetime) -> str:
    return _utc(moment).isoformat(timespec="microseconds")


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(timezone.utc)


def _as_python_3_10_reads_it(text: str) -> str:
    text = text.strip()
    if text[-1:] in ("Z", "z"):
        text = f"{text[:-1]}+00:00"
    return _FRACTION.sub(lambda match: f".{match[1][:6]:0<6}", text, count=1)

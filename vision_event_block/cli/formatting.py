"""Numbers, sizes and times for people to read."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Final

_UNITS: Final = (("d", 86_400), ("h", 3_600), ("min", 60))
_SPANS_S: Final = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400}


def count(number: int, noun: str) -> str:
    """`1 event`, `1,200 events`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def size(number_bytes: float) -> str:
    """`812 B`, `1.3 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if number_bytes < 1000:  # noqa: PLR2004 -- what the prefixes mean
            return f"{number_bytes:.0f} B" if unit == "B" else f"{number_bytes:.1f} {unit}"
        number_bytes /= 1000
    return f"{number_bytes:.1f} TB"


def age(seconds: float | None) -> str:
    """`3 d`, `5 min`, `12 s`."""
    if seconds is None:
        return "unknown, the clock was wrong"
    for unit, length_s in _UNITS:
        if seconds >= length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{seconds:.0f} s"


def time_of(wall_s: float, *, utc: bool = False) -> str:
    """A wall-clock time in the machine's zone with its offset, or in UTC.

    >>> time_of(0, utc=True)
    '1970-01-01 00:00:00Z'
    """
    moment = datetime.fromtimestamp(wall_s, timezone.utc)
    if utc:
        return moment.strftime("%Y-%m-%d %H:%M:%SZ")
    return moment.astimezone().isoformat(sep=" ", timespec="seconds")


def span_s(text: str) -> float:
    """The seconds of a period such as 45s, 90m, 24h or 7d; raises ValueError for anything else.

    >>> span_s("90m")
    5400
    """
    match = re.fullmatch(r"(\d{1,6})\s?(s|m|min|h|d)?", text)
    if match is None:
        raise ValueError(f"{text} is not a period such as 45s, 90m, 24h or 7d")
    return int(match[1]) * _SPANS_S[match[2] or "s"]

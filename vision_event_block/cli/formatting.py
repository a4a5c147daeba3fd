"""Figures as people read them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Final

_UNITS: Final = (("d", 86_400), ("h", 3_600), ("min", 60))


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


def time_of(wall_s: float) -> str:
    """A time of the wall clock, in UTC."""
    return datetime.fromtimestamp(wall_s, timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")

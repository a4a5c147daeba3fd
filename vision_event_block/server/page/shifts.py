"""The shifts in which a plant works: a name and hours of the day for each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

_SHIFT: Final = re.compile(r"\s*(\S.*?)\s+(\d\d?):(\d\d)\s*-\s*(\d\d?):(\d\d)\s*")
_DAY_MIN: Final = 24 * 60


class BadShifts(ValueError):  # noqa: N818 -- like the other names here
    """The text is not a valid list of shifts."""


@dataclass(frozen=True)
class Shift:
    """From one minute of the day to another, possibly on the next day."""

    name: str
    start_min: int
    end_min: int

    def holds(self, local: datetime) -> bool:
        after_start = (60 * local.hour + local.minute - self.start_min) % _DAY_MIN
        return after_start < self.length_min

    @property
    def length_min(self) -> int:
        return (self.end_min - self.start_min - 1) % _DAY_MIN + 1


def shifts_of(text: str) -> tuple[Shift, ...]:
    """The shifts of a setting such as `early 6:00-14:00, late 14:00-22:00, night 22:00-6:00`.

    Raises:
        BadShifts: it cannot be read, or two of them overlap.
    """
    shifts = []
    for part in filter(str.strip, text.split(",")):
        found = _SHIFT.fullmatch(part)
        if found is None:
            raise BadShifts(f"a shift is a name and hours as in `early 6:00-14:00`, not {part!r}")
        name, *clock = found.groups()
        hours = [int(each) for each in clock]
        if max(hours[::2]) > 24 or max(hours[1::2]) > 59:  # noqa: PLR2004 -- of a clock
            raise BadShifts(f"there is no such time of day: {part.strip()!r}")
        start, end = (60 * hours[n] + hours[n + 1] for n in (0, 2))
        shifts.append(Shift(name, start % _DAY_MIN, end % _DAY_MIN))
    shifts.sort(key=lambda shift: shift.start_min)
    if sum(shift.length_min for shift in shifts) > _DAY_MIN or any(
        (later.start_min - one.start_min) % _DAY_MIN < one.length_min
        for one, later in zip(shifts, [*shifts[1:], *shifts[:1]], strict=True)
        if one is not later
    ):
        raise BadShifts(f"shifts must not overlap: {text!r}")
    return tuple(shifts)


def starts_of(shifts: Sequence[Shift]) -> tuple[int, ...]:
    """The minutes of a day at which a shift, or the time between two shifts, begins."""
    return tuple(sorted({minute for each in shifts for minute in (each.start_min, each.end_min)}))

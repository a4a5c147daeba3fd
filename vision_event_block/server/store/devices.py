"""When devices and streams were last heard of, and which of them are quieter than is their habit.

The habit of a device is what it sent in the same hours a week before: nights and weekends are quiet
every week. If it is not known for so long, the day before counts, and on its first day how often it
sent since. A device is silent if by that at least MIN_MISSED events should have come since its
last one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from sqlalchemy import func, select

from vision_event_block.server.store import schema
from vision_event_block.server.store.facets import DEVICE_ID, STREAM_ID
from vision_event_block.server.store.fields import keys_of
from vision_event_block.server.store.schema import MAX_KEY_CHARS
from vision_event_block.server.store.timestamps import DAY_US, HOUR_US, moment_of
from vision_event_block.server.store.use_cases import number_of

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from vision_event_block.server.store.fields import Fields

    Habit = Literal["week", "day", "so far"]

#: Fewer may stay away by chance.
MIN_MISSED: Final = 10
#: Of one use case, of each kind.
MAX_DEVICES: Final = 200
#: What was not heard of for longer is not missed any more.
MAX_AGE_DAYS: Final = 28
_WEEK_US: Final = 7 * DAY_US


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device, or a stream, of one use case."""

    kind: Literal["device", "stream"]
    name: str
    last_event_at: datetime
    #: Events of the last hour, and of the same hour a week before, or else a day before.
    last_hour: int
    usual_hour: int | None
    #: How many events should have come since the last one, by which habit.
    missed: int
    habit: Habit

    @property
    def is_silent(self) -> bool:
        return self.missed >= MIN_MISSED


def devices_of(
    connection: Connection, use_case_id: str, fields: Fields, *, now_us: int
) -> list[Device]:
    """Those of a use case: the one that misses most first, then by their last events."""
    use_case_no = number_of(connection, use_case_id)
    if use_case_no is None:
        return []
    kinds = {(use_case_no, DEVICE_ID): "device", (use_case_no, STREAM_ID): "stream"}
    found = [
        device
        for key, field_no in fields.find(connection, kinds).items()
        for name in keys_of(connection, field_no, at_most=MAX_DEVICES)
        if (device := _Events(connection, field_no, name).device(kinds[key], now_us)) is not None
    ]
    return sorted(
        found, key=lambda each: (-each.missed * each.is_silent, each.last_event_at, each.name)
    )


class _Events:
    """The events of one device, which an index has together in the order of time."""

    def __init__(self, connection: Connection, field_no: int, name: str) -> None:
        self._connection = connection
        self._facet = schema.facets.c
        self._which = (self._facet.field_no == field_no, self._facet.key == name)
        self._name = name

    def device(self, kind: str, now_us: int) -> Device | None:
        first_us, last_us = (self._one(each(self._facet.time_us)) for each in (func.min, func.max))
        if len(self._name) == MAX_KEY_CHARS or last_us < now_us - MAX_AGE_DAYS * DAY_US:
            return None
        before_us = _WEEK_US if first_us <= now_us - _WEEK_US - HOUR_US else DAY_US
        is_known = first_us <= now_us - before_us - HOUR_US
        missed, habit = self._missed(first_us, last_us, now_us)
        return Device(
            kind="device" if kind == "device" else "stream",
            name=self._name,
            last_event_at=moment_of(last_us),
            last_hour=self._count(now_us - HOUR_US, now_us),
            usual_hour=self._count(now_us - HOUR_US - before_us, now_us - before_us)
            if is_known
            else None,
            missed=missed,
            habit=habit,
        )

    def _missed(self, first_us: int, last_us: int, now_us: int) -> tuple[int, Habit]:
        quiet_us = now_us - last_us
        habits: tuple[tuple[int, Habit], ...] = ((_WEEK_US, "week"), (DAY_US, "day"))
        for back_us, habit in habits:
            if first_us <= last_us - back_us:
                # The event itself, which began the silence, is not missed.
                start_us = last_us - back_us + 1
                return self._count(start_us, start_us + min(quiet_us, back_us)), habit
        sent = self._count(first_us, last_us)  # but for the last one
        lasted_us = last_us - first_us
        return sent * max(quiet_us, 0) // lasted_us if lasted_us else 0, "so far"

    def _count(self, first_us: int, end_us: int) -> int:
        time_us = self._facet.time_us
        return self._one(func.count(), time_us >= first_us, time_us < end_us)

    def _one(self, what: object, *conditions: object) -> int:
        query = select(what).where(*self._which, *conditions)  # type: ignore[call-overload]
        number: int = self._connection.execute(query).scalar_one()
        return number

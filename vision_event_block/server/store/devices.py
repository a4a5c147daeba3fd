"""When devices and streams were last heard from, and which are quieter than usual.

The habit of a device is what it sent in the same hours a week before: nights and weekends are quiet
every week. For a device known for less than a week the day before counts, and on its first day its
average rate so far. A device is silent if, by its habit, at least MIN_MISSED events should have
come since its last one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import case, func, select

from vision_event_block.server.store import schema
from vision_event_block.server.store.facets import DEVICE_ID, STREAM_ID
from vision_event_block.server.store.fields import different
from vision_event_block.server.store.schema import MAX_KEY_CHARS
from vision_event_block.server.store.timestamps import DAY_US, HOUR_US, moment_of
from vision_event_block.server.store.use_cases import number_of

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, Select

    from vision_event_block.server.store.fields import Fields

    Habit = Literal["week", "day", "so far"]

#: Fewer events may be missing by chance.
MIN_MISSED: Final = 10
#: Per use case and kind: more than this is a client that makes up names.
MAX_DEVICES: Final = 10_000
#: After a longer silence, a device no longer counts as missing.
MAX_AGE_DAYS: Final = 28
_WEEK_US: Final = 7 * DAY_US


@dataclass(frozen=True, kw_only=True)
class Device:
    kind: Literal["device", "stream"]
    name: str
    last_event_at: datetime
    #: Events of the last hour, and of the same hour a week or else a day before; None if unknown.
    last_hour: int
    usual_hour: int | None
    #: How many events should have come since the last one, and by which habit.
    missed: int
    habit: Habit

    @property
    def is_silent(self) -> bool:
        return self.missed >= MIN_MISSED


@dataclass(frozen=True)
class Devices:
    """The devices of a use case: silent ones first, by missed events, then by last event."""

    found: list[Device]
    #: Whether a kind has more than MAX_DEVICES: then only the first by name are here.
    is_cut: bool = False


def devices_of(connection: Connection, use_case_id: str, fields: Fields, *, now_us: int) -> Devices:
    use_case_no = number_of(connection, use_case_id)
    if use_case_no is None:
        return Devices([])
    numbers = fields.find(connection, [(use_case_no, DEVICE_ID), (use_case_no, STREAM_ID)])
    found = [
        _device("device" if field == DEVICE_ID else "stream", row, now_us)
        for (_, field), field_no in numbers.items()
        for row in connection.execute(_described(field_no, now_us))
    ]
    found.sort(key=lambda each: (-each.missed * each.is_silent, each.last_event_at, each.name))
    one_more = (
        connection.execute(different(no, schema.facets.c.key, 1).offset(MAX_DEVICES)).first()
        for no in numbers.values()
    )
    return Devices(found, is_cut=any(one_more))


def _device(kind: Literal["device", "stream"], row: Any, now_us: int) -> Device:
    habit: Habit = (
        "week"
        if row.first_us <= row.last_us - _WEEK_US
        else "day"
        if row.first_us <= row.last_us - DAY_US
        else "so far"
    )
    missed = row.sent
    if habit == "so far":
        quiet_us, lasted_us = max(now_us - row.last_us, 0), row.last_us - row.first_us
        missed = row.sent * quiet_us // lasted_us if lasted_us else 0
    return Device(
        kind=kind,
        name=row.key,
        last_event_at=moment_of(row.last_us),
        last_hour=row.last_hour,
        usual_hour=row.usual_hour,
        missed=missed,
        habit=habit,
    )


def _described(field_no: int, now_us: int) -> Select[Any]:
    """Selects what `_device` needs for each value of a field, from mostly short index ranges."""
    facet = schema.facets.c
    keys = different(field_no, facet.key, MAX_DEVICES).cte("keys")

    def of_key(key: Any, what: Any, *conditions: Any) -> Any:
        query = select(what).where(facet.field_no == field_no, facet.key == key, *conditions)
        return query.scalar_subquery()

    def count(start_us: Any, end_us: Any) -> Any:
        return of_key(each.c.key, func.count(), facet.time_us >= start_us, facet.time_us < end_us)

    each = (
        select(
            keys.c.value.label("key"),
            of_key(keys.c.value, func.min(facet.time_us)).label("first_us"),
            of_key(keys.c.value, func.max(facet.time_us)).label("last_us"),
        )
        .where(func.length(keys.c.value) < MAX_KEY_CHARS)  # a longer name is cut off
        .cte("each")
    )
    first_us, last_us = each.c.first_us, each.c.last_us
    quiet_us = now_us - last_us

    def in_the_hours_before(back_us: int) -> Any:
        # Excludes the counterpart of the last event itself, which is not missed.
        start_us = last_us - back_us + 1
        return count(start_us, start_us + case((quiet_us < back_us, quiet_us), else_=back_us))

    hour_ago_us = now_us - HOUR_US
    return select(
        each.c.key,
        first_us,
        last_us,
        count(hour_ago_us, now_us).label("last_hour"),
        case(
            *(
                (first_us <= hour_ago_us - back_us, count(hour_ago_us - back_us, now_us - back_us))
                for back_us in (_WEEK_US, DAY_US)
            )
        ).label("usual_hour"),
        case(
            *(
                (first_us <= last_us - back_us, in_the_hours_before(back_us))
                for back_us in (_WEEK_US, DAY_US)
            ),
            else_=count(first_us, last_us),  # without the last one
        ).label("sent"),
    ).where(last_us >= now_us - MAX_AGE_DAYS * DAY_US)

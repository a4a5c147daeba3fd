"""What a use case holds, in numbers: values to choose from, and counts over time.

A chart over everything is added up from `hourly`, whatever the number of events. One over a part
of the events, or in finer periods than hours, is counted from the newest of them, so that it
takes no longer than a page may.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, select

from vision_event_block.server.store import schema
from vision_event_block.server.store.conditions import clauses_of
from vision_event_block.server.store.facets import (
    CHARTED,
    CLASS,
    DEVICE_ID,
    EVENT_TYPE,
    STREAM_ID,
    WORKFLOW_ID,
)
from vision_event_block.server.store.fields import keys_of
from vision_event_block.server.store.records import Timeline
from vision_event_block.server.store.search import matching
from vision_event_block.server.store.timestamps import DAY_US, HOUR_US, microseconds, moment_of
from vision_event_block.server.store.use_cases import number_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection, Select

    from vision_event_block.server.store.facets import Part
    from vision_event_block.server.store.fields import Fields
    from vision_event_block.server.store.filters import Filters

MAX_CHOICES: Final = 200
MAX_BUCKETS: Final = 1_000
#: Events that a chart counts one by one, at most.
MAX_COUNTED: Final = 10_000
#: Values of one chart; the largest are kept.
MAX_SERIES: Final = 20

_SECOND_US: Final = 1_000_000
#: Widths of a period at which people read clocks.
_WIDTHS_US: Final = (
    *(seconds * _SECOND_US for seconds in (1, 2, 5, 10, 15, 30)),
    *(minutes * 60 * _SECOND_US for minutes in (1, 2, 5, 10, 15, 30)),
    *(hours * HOUR_US for hours in (1, 2, 3, 6, 12)),
    *(days * DAY_US for days in range(1, 10_000)),
)
#: The first moment that Python knows.
_FIRST_US: Final = microseconds(datetime.min.replace(tzinfo=timezone.utc))


def choices(connection: Connection, use_case_id: str) -> dict[str, list[str]]:
    """The first values of each field that a form offers, and the keys of the metadata."""
    fields = schema.fields.c
    use_case_no = number_of(connection, use_case_id)
    offered = (DEVICE_ID, STREAM_ID, WORKFLOW_ID, CLASS)
    numbers = _field_numbers(connection, use_case_no, offered)
    found: dict[str, list[str]] = {field.name: [] for field in offered}
    for name, number in numbers.items():
        found[name] = keys_of(connection, number, at_most=MAX_CHOICES)
    names = (
        select(fields.name)
        .where(fields.use_case_no == use_case_no, fields.part == "metadata")
        .distinct()
        .order_by(fields.name)
        .limit(MAX_CHOICES)
    )
    return {**found, "metadata": list(connection.execute(names).scalars())}


def metadata_schema(connection: Connection, use_case_id: str, part: Part) -> dict[str, list[str]]:
    """The types by key of the metadata of events or images, both sorted, still there."""
    fields, facets = schema.fields.c, schema.facets.c
    occurs = select(facets.event_no).where(facets.field_no == fields.no).exists()
    rows = connection.execute(
        select(fields.name, fields.type)
        .where(
            fields.use_case_no == number_of(connection, use_case_id),
            fields.part == part,
            occurs,
        )
        .order_by(fields.name, fields.type)
    )
    types: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        types[row.name].append(row.type)
    return dict(types)


def timeline(
    connection: Connection,
    filters: Filters,
    fields: Fields,
    *,
    since_us: int | None,
    buckets: int,
) -> Timeline:
    """Counts by period. The axis covers the period asked for, or else that of all events."""
    axis = _axis(connection, filters, since_us, max(1, min(buckets, MAX_BUCKETS)))
    if axis is None:
        return Timeline(
            starts=(),
            bucket_s=0.0,
            series={field.name: {} for field in CHARTED},
            event_count=0,
            is_complete=True,
        )
    whole_hours = axis.width_us % HOUR_US == 0 and not list(clauses_of(filters))
    if whole_hours:
        counts = _rolled_up(connection, axis)
    else:
        counts = Counter()
        selected = matching(connection, filters, fields, since_us=since_us)
        if selected is not None:
            counts = _one_by_one(connection, axis, selected.limit(MAX_COUNTED))
    event_count = sum(count for (name, _, _), count in counts.items() if name == EVENT_TYPE.name)
    return Timeline(
        starts=tuple(moment_of(axis.origin_us + n * axis.width_us) for n in range(axis.buckets)),
        bucket_s=axis.width_us / _SECOND_US,
        series=_series(counts, axis.buckets),
        event_count=event_count,
        is_complete=whole_hours or event_count < MAX_COUNTED,
    )


@dataclass(frozen=True)
class _Axis:
    use_case_no: int
    #: The fields that are charted, by number.
    names: Mapping[int, str]
    #: The events that count, from and to.
    first_us: int
    last_us: int
    #: The periods.
    origin_us: int
    width_us: int
    buckets: int


#: By name of the field, key, and number of the period.
_Counts = Counter[tuple[str, str, int]]


def _axis(
    connection: Connection, filters: Filters, since_us: int | None, buckets: int
) -> _Axis | None:
    use_case_no = number_of(connection, filters.use_case_id)
    if use_case_no is None:
        return None
    events = schema.events.c
    of_use_case = events.use_case_no == use_case_no
    first_us = since_us if filters.start is None else microseconds(filters.start)
    first_us = first_us if since_us is None else max(first_us or since_us, since_us)
    if filters.start is None:
        oldest = select(func.min(events.time_us)).where(of_use_case)
        if first_us is not None:
            oldest = oldest.where(events.time_us >= first_us)
        first_us = connection.execute(oldest).scalar()
    newest = select(func.max(events.time_us)).where(of_use_case)
    last_us = connection.execute(newest).scalar()
    if filters.end is not None:
        last_us = microseconds(filters.end)
    if first_us is None or last_us is None or last_us < first_us:
        return None
    origin_us, width_us, count = _periods(first_us, last_us, buckets)
    numbers = _field_numbers(connection, use_case_no, CHARTED)
    return _Axis(
        use_case_no=use_case_no,
        names={number: name for name, number in numbers.items()},
        first_us=first_us,
        last_us=last_us,
        origin_us=origin_us,
        width_us=width_us,
        buckets=count,
    )


def _periods(first_us: int, last_us: int, buckets: int) -> tuple[int, int, int]:
    """Where the first period begins, how wide each is, and how many there are."""
    for width_us in _WIDTHS_US:
        origin_us = max(_FIRST_US, first_us - first_us % width_us)
        count = (last_us - origin_us) // width_us + 1
        if count <= buckets:
            return origin_us, width_us, count
    # Over a thousand years: somebody's clock, or somebody's mistake, and shown all the same.
    origin_us = first_us - first_us % DAY_US
    width_us = -(-(last_us - origin_us + 1) // (buckets * DAY_US)) * DAY_US
    return origin_us, width_us, (last_us - origin_us) // width_us + 1


def _rolled_up(connection: Connection, axis: _Axis) -> _Counts:
    """Whole hours as they were counted on arrival, and the pieces at both ends one by one."""
    hourly, events = schema.hourly.c, schema.events.c
    first_hour = -(-axis.first_us // HOUR_US)
    end_hour = (axis.last_us + 1) // HOUR_US
    counts: _Counts = Counter()
    pieces = [(axis.first_us, axis.last_us)]
    if first_hour < end_hour:
        bucket = ((hourly.hour * HOUR_US - axis.origin_us) // axis.width_us).label("bucket")
        rows = connection.execute(
            select(hourly.field_no, hourly.key, bucket, func.sum(hourly.event_count).label("n"))
            .where(
                hourly.field_no.in_(sorted(axis.names)),
                hourly.hour >= first_hour,
                hourly.hour < end_hour,
            )
            .group_by(hourly.field_no, hourly.key, bucket)
        )
        counts = _counted(axis, rows)
        pieces = [
            (axis.first_us, first_hour * HOUR_US - 1),
            (end_hour * HOUR_US, axis.last_us),
        ]
    for first_us, last_us in pieces:
        piece = select(events.no, events.time_us).where(
            events.use_case_no == axis.use_case_no,
            events.time_us >= first_us,
            events.time_us <= last_us,
        )
        counts.update(_one_by_one(connection, axis, piece))
    return counts


def _one_by_one(connection: Connection, axis: _Axis, selected: Select[Any]) -> _Counts:
    """The charted facets of the selected events."""
    facets, chosen = schema.facets, selected.subquery()
    bucket = ((chosen.c.time_us - axis.origin_us) // axis.width_us).label("bucket")
    rows = connection.execute(
        select(facets.c.field_no, facets.c.key, bucket, func.count().label("n"))
        .select_from(chosen.join(facets, facets.c.event_no == chosen.c.no))
        .where(facets.c.field_no.in_(sorted(axis.names)))
        .group_by(facets.c.field_no, facets.c.key, bucket)
    )
    return _counted(axis, rows)


def _counted(axis: _Axis, rows: Iterable[Any]) -> _Counts:
    return Counter({(axis.names[row.field_no], row.key, row.bucket): int(row.n) for row in rows})


def _series(counts: _Counts, buckets: int) -> dict[str, dict[str, tuple[int, ...]]]:
    """The largest values of each field, largest first."""
    lines: dict[str, dict[str, list[int]]] = {field.name: {} for field in CHARTED}
    for (name, key, bucket), count in sorted(counts.items()):
        line = lines[name].setdefault(key, [0] * buckets)
        line[bucket] += count
    return {
        name: {
            key: tuple(line)
            for key, line in sorted(by_key.items(), key=lambda item: -sum(item[1]))[:MAX_SERIES]
        }
        for name, by_key in lines.items()
    }


def _field_numbers(connection: Connection, use_case_no: int | None, wanted: Any) -> dict[str, int]:
    fields = schema.fields.c
    rows = connection.execute(
        select(fields.part, fields.name, fields.no).where(
            fields.use_case_no == use_case_no,
            fields.name.in_([field.name for field in wanted]),
            fields.type == "string",
        )
    )
    parts = {(field.part, field.name) for field in wanted}
    return {row.name: row.no for row in rows if (row.part, row.name) in parts}

"""Statistics of a use case: values to choose from, and counts over time."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Final

from sqlalchemy import func, select

from vision_event_block.server.store import schema
from vision_event_block.server.store.counting import counted
from vision_event_block.server.store.errors import BadQuery
from vision_event_block.server.store.facets import (
    CHARTED,
    CLASS,
    DEVICE_ID,
    STREAM_ID,
    WORKFLOW_ID,
    Field,
    storable,
)
from vision_event_block.server.store.fields import keys_of, numbers_of
from vision_event_block.server.store.periods import (
    days_before,
    edges_of,
    edges_on_days,
    has_calendar,
    width_of,
)
from vision_event_block.server.store.records import Timeline
from vision_event_block.server.store.schema import MAX_KEY_CHARS
from vision_event_block.server.store.timestamps import DAY_US, microseconds, moment_of
from vision_event_block.server.store.use_cases import number_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import tzinfo

    from sqlalchemy import Connection

    from vision_event_block.server.store.counting import Counts
    from vision_event_block.server.store.facets import Part
    from vision_event_block.server.store.fields import Fields
    from vision_event_block.server.store.filters import Filters, ValueType

MAX_CHOICES: Final = 200
#: Suggestions for a field that a user types into.
MAX_SUGGESTED: Final = 50
MAX_BUCKETS: Final = 1_000
#: What is counted by default, each under its name.
BY_CHARTED: Final = {field.name: (field,) for field in CHARTED}
#: The latest time that Python can express.
_LAST_US: Final = microseconds(datetime.max.replace(tzinfo=timezone.utc))


def choices(connection: Connection, use_case_id: str, fields: Fields) -> dict[str, list[str]]:
    """The first values of each field that a form offers, and the metadata keys."""
    use_case_no = number_of(connection, use_case_id)
    offered = (DEVICE_ID, STREAM_ID, WORKFLOW_ID, CLASS)
    wanted = [] if use_case_no is None else [(use_case_no, field) for field in offered]
    found: dict[str, list[str]] = {field.name: [] for field in offered}
    for (_, field), number in fields.find(connection, wanted).items():
        found[field.name] = keys_of(connection, number, at_most=MAX_CHOICES)
    table = schema.fields.c
    names = (
        select(table.name)
        .where(table.use_case_no == use_case_no, table.part == "metadata")
        .distinct()
        .order_by(table.name)
        .limit(MAX_CHOICES)
    )
    return {**found, "metadata": list(connection.execute(names).scalars())}


def values_of(
    connection: Connection, use_case_id: str, fields: Fields, field: tuple[Part, str], prefix: str
) -> list[str]:
    """The first values of a field that start with a prefix, as a form accepts them."""
    use_case_no = number_of(connection, use_case_id)
    if use_case_no is None:
        return []
    types: tuple[ValueType, ...] = ("string", "boolean", "number")
    wanted = [(use_case_no, Field(field[0], storable(field[1]), each)) for each in types]
    found: list[str] = []
    for (_, each), number in fields.find(connection, wanted).items():
        if each.type == "number":
            numbers = numbers_of(connection, number, at_most=MAX_SUGGESTED)
            found += [repr(value).removesuffix(".0") for value in numbers]
        else:
            keys = keys_of(connection, number, at_most=MAX_SUGGESTED, prefix=storable(prefix))
            # The key of a longer text is cut off.
            found += [key for key in keys if len(key) < MAX_KEY_CHARS]
    return [value for value in found if value.startswith(prefix)][:MAX_SUGGESTED]


def metadata_schema(connection: Connection, use_case_id: str, part: Part) -> dict[str, list[str]]:
    """The types of each metadata key of events or images that still occurs, both sorted."""
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


def timeline(  # noqa: PLR0913 -- what, when, and by what
    connection: Connection,
    filters: Filters,
    fields: Fields,
    *,
    since_us: int | None,
    buckets: int,
    zone: tzinfo = timezone.utc,
    by: Mapping[str, Sequence[Field]] = BY_CHARTED,
    starts_min: Sequence[int] = (),
    beside_days: int | None = None,
) -> Timeline:
    """Counts by period. The axis covers the requested period, or else that of all events.

    Raises:
        BadQuery: there are too many periods, or too many values to count by.
    """
    buckets = max(1, min(buckets, MAX_BUCKETS))
    span = _span(connection, filters, since_us)
    if span is None:
        return Timeline(edges=(), bucket_s=0.0, events=(), series={name: {} for name in by})
    if starts_min and has_calendar(*span):
        if (span[1] - span[0]) // DAY_US * len(starts_min) > buckets:
            raise BadQuery(
                f"a chart by shift covers up to {buckets // len(starts_min)} days; choose a "
                "shorter time"
            )
        edges_us = edges_on_days(*span, zone, starts_min)
    else:
        edges_us = edges_of(*span, buckets, zone)
    counts = partial(counted, connection, fields=fields, by=by, since_us=since_us)
    beside = None
    if beside_days is not None:
        earlier_us = days_before(edges_us, beside_days, zone)
        start, end = map(moment_of, days_before(span, beside_days, zone))
        earlier = replace(filters, start=start, end=end)
        # A comparison may look back further than queries do.
        before = counts(earlier, edges_us=earlier_us, since_us=None)
        beside = _timeline(before, earlier_us, earlier)
    return _timeline(counts(filters, edges_us=edges_us), edges_us, filters, beside)


def _timeline(
    counts: Counts, edges_us: Sequence[int], filters: Filters, beside: Timeline | None = None
) -> Timeline:
    edges = [moment_of(min(edge_us, _LAST_US)) for edge_us in edges_us]
    # Counts do not include anything outside the requested period.
    if filters.start is not None:
        edges[0] = max(edges[0], filters.start)
    if filters.end is not None and filters.end < edges[-1]:
        edges[-1] = filters.end + timedelta(microseconds=1)
    return Timeline(
        edges=tuple(edges),
        bucket_s=width_of(edges_us) / 1_000_000,
        events=counts.events,
        series={
            name: dict(sorted(values.items(), key=lambda item: (-sum(item[1]), item[0])))
            for name, values in counts.by.items()
        },
        beside=beside,
    )


def _span(connection: Connection, filters: Filters, since_us: int | None) -> tuple[int, int] | None:
    use_case_no = number_of(connection, filters.use_case_id)
    if use_case_no is None:
        return None
    events = schema.events.c
    of_use_case = events.use_case_no == use_case_no
    first_us, last_us = filters.bounds_us(since_us)
    if filters.start is None:
        oldest = select(func.min(events.time_us)).where(of_use_case)
        if first_us is not None:
            oldest = oldest.where(events.time_us >= first_us)
        first_us = connection.execute(oldest).scalar()
    if last_us is None:
        newest = select(func.max(events.time_us)).where(of_use_case)
        last_us = connection.execute(newest).scalar()
    if first_us is None or last_us is None or last_us < first_us:
        return None
    return first_us, last_us

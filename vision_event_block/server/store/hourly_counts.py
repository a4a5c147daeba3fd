"""Counts of events by hour, kept up with every event that comes and goes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sqlalchemy import and_, bindparam, delete, func, or_, select

from vision_event_block.server.store import schema
from vision_event_block.server.store.database import upsert
from vision_event_block.server.store.facets import CHARTED
from vision_event_block.server.store.timestamps import HOUR_US

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

#: By number of the field, key, and hours since 1970.
Hours = Counter[tuple[int, str, int]]


def hours_of(connection: Connection, event_numbers: Collection[int]) -> Hours:
    """How often each charted facet occurs in each hour among these events."""
    facets, fields = schema.facets.c, schema.fields.c
    hour = (facets.time_us // HOUR_US).label("hour")
    charted = or_(
        *(
            and_(fields.part == field.part, fields.name == field.name, fields.type == field.type)
            for field in CHARTED
        )
    )
    rows = connection.execute(
        select(facets.field_no, facets.key, hour, func.count().label("event_count"))
        .select_from(schema.facets.join(schema.fields, fields.no == facets.field_no))
        .where(facets.event_no.in_(event_numbers), charted)
        .group_by(facets.field_no, facets.key, hour)
    )
    return Counter({(row.field_no, row.key, row.hour): row.event_count for row in rows})


def count_hours(connection: Connection, counts: Hours) -> None:
    """Adds to the counts of the hours; those that come to nothing are removed."""
    if not counts:
        return
    table = schema.hourly
    adding = upsert(connection, table)
    adding = adding.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={"event_count": table.c.event_count + adding.excluded.event_count},
    )
    rows = [
        {"field_no": field_no, "key": key, "hour": hour, "event_count": count}
        for (field_no, key, hour), count in sorted(counts.items())
    ]
    connection.execute(adding, rows)
    emptied = [
        {"of_field_no": field_no, "of_key": key, "of_hour": hour}
        for (field_no, key, hour), count in sorted(counts.items())
        if count < 0
    ]
    if emptied:
        connection.execute(
            delete(table).where(
                table.c.field_no == bindparam("of_field_no"),
                table.c.key == bindparam("of_key"),
                table.c.hour == bindparam("of_hour"),
                table.c.event_count <= 0,
            ),
            emptied,
        )

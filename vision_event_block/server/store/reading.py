"""Loads events from the database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from vision_event_block.server.store import schema
from vision_event_block.server.store.facets import FEEDBACK, PINNED, Field
from vision_event_block.server.store.fields import is_field
from vision_event_block.server.store.records import REVIEWER, StoredEvent
from vision_event_block.server.store.timestamps import moment_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, ScalarSelect, Select


#: JSON of the events that are loaded together. Parsed, it takes ten times as much memory.
MAX_LOADED_BYTES: Final = 4 * 2**20
#: Small events read at a time; fewer if they are large, so that few are read in vain.
_CHUNK: Final = 16
#: Feedback per event that its page shows.
_MAX_FEEDBACK: Final = 200


def load_events(connection: Connection, numbers: Sequence[int]) -> list[StoredEvent]:
    """The events with these numbers, in this order, up to MAX_LOADED_BYTES.

    Events beyond that size are left out at the end; the first is returned however large it is.
    """
    loaded: list[StoredEvent] = []
    size_bytes = largest_bytes = start = 0
    while start < len(numbers):
        room = (MAX_LOADED_BYTES - size_bytes) // largest_bytes if largest_bytes else 1
        chunk = numbers[start : start + max(1, min(room, _CHUNK))]
        start += len(chunk)
        rows = connection.execute(described().where(schema.events.c.no.in_(chunk)))
        found = {row.no: row for row in rows}
        for row in (found[number] for number in chunk if number in found):
            row_bytes = len(row.body) + len(row.received or "")
            size_bytes += row_bytes
            if loaded and size_bytes > MAX_LOADED_BYTES:
                return loaded
            largest_bytes = max(largest_bytes, row_bytes)
            loaded.append(stored_event(row))
    return loaded


def feedback_on(connection: Connection, event_id: str) -> list[StoredEvent]:
    """The latest feedback about an event, oldest first."""
    events = schema.events.c
    query = (
        select(events.no)
        .where(events.subject_id == event_id)
        .order_by(events.time_us.desc(), events.event_id.desc())
        .limit(_MAX_FEEDBACK)
    )
    return load_events(connection, connection.execute(query).scalars().all())[::-1]


def described() -> Select[Any]:
    """Selects everything that `stored_event` needs."""
    events, bodies, use_cases = schema.events.c, schema.bodies.c, schema.use_cases.c
    said, said_body = schema.events.alias(), schema.bodies.alias()
    latest_verdict = (
        select(said_body.c.body)
        .join_from(said, said_body, said_body.c.event_no == said.c.no)
        .where(said.c.subject_id == events.event_id)
        .order_by(said.c.time_us.desc(), said.c.event_id.desc())
        .limit(1)
        .correlate(schema.events)
        .scalar_subquery()
    )
    return (
        select(
            events.no,
            events.event_id,
            events.time_us,
            events.received_us,
            use_cases.id.label("use_case_id"),
            bodies.event_type,
            bodies.body,
            bodies.received,
            bodies.warnings,
            _key_of(FEEDBACK).label("feedback"),
            _key_of(PINNED).label("pinned"),
            latest_verdict.label("latest_verdict"),
        )
        .join(schema.bodies, bodies.event_no == events.no)
        .join(schema.use_cases, use_cases.no == events.use_case_no)
    )


def _key_of(field: Field) -> ScalarSelect[Any]:
    """The key of the event's facet of a field with one facet at most; null without one."""
    events, fields, facets = schema.events.c, schema.fields.c, schema.facets.c
    field_no = (
        select(fields.no)
        .where(fields.use_case_no == events.use_case_no, is_field(field))
        .correlate(schema.events)
        .scalar_subquery()
    )
    return (
        select(facets.key)
        .where(facets.event_no == events.no, facets.field_no == field_no)
        .correlate(schema.events)
        .scalar_subquery()
    )


def stored_event(row: Any) -> StoredEvent:
    body = json.loads(row.body)
    return StoredEvent(
        event_id=row.event_id,
        event_type=row.event_type,
        use_case_id=row.use_case_id,
        timestamp=moment_of(row.time_us),
        body=body,
        received={} if row.received is None else {**body, **json.loads(row.received)},
        warnings=tuple(json.loads(row.warnings or "[]")),
        received_at=moment_of(row.received_us),
        feedback=row.feedback,
        is_pinned=row.pinned is not None,
        feedback_by=_reviewer(row.latest_verdict) if row.feedback else None,
    )


def _reviewer(verdict_body: str) -> str | None:
    name = (json.loads(verdict_body).get("customMetadata") or {}).get(REVIEWER)
    return name if isinstance(name, str) else None

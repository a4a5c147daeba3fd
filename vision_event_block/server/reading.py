"""Events as they come back from the database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from vision_event_block.server import schema
from vision_event_block.server.records import StoredEvent
from vision_event_block.server.times import moment_of
from vision_event_block.server.traits import FEEDBACK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Select


def load_events(connection: Connection, numbers: Sequence[int]) -> list[StoredEvent]:
    """The events with these numbers, in the order of the numbers given."""
    if not numbers:
        return []
    found = {
        row.no: stored_event(row)
        for row in connection.execute(described().where(schema.events.c.no.in_(numbers)))
    }
    return [found[number] for number in numbers if number in found]


def described() -> Select[Any]:
    """Selects everything that `stored_event` needs."""
    events, bodies, use_cases = schema.events.c, schema.bodies.c, schema.use_cases.c
    fields, traits = schema.fields.c, schema.traits.c
    feedback_no = (
        select(fields.no)
        .where(
            fields.use_case_no == events.use_case_no,
            fields.part == FEEDBACK.part,
            fields.name == FEEDBACK.name,
            fields.type == FEEDBACK.type,
        )
        .correlate(schema.events)
        .scalar_subquery()
    )
    feedback = (
        select(traits.key)
        .where(traits.event_no == events.no, traits.field_no == feedback_no)
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
            bodies.warnings,
            feedback.label("feedback"),
        )
        .join(schema.bodies, bodies.event_no == events.no)
        .join(schema.use_cases, use_cases.no == events.use_case_no)
    )


def stored_event(row: Any) -> StoredEvent:
    """The event of a row of `described`."""
    return StoredEvent(
        event_id=row.event_id,
        event_type=row.event_type,
        use_case_id=row.use_case_id,
        timestamp=moment_of(row.time_us),
        body=json.loads(row.body),
        warnings=tuple(json.loads(row.warnings or "[]")),
        received_at=moment_of(row.received_us),
        feedback=row.feedback,
    )

"""Actions on events that were picked in the grid or named by their ids."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from sqlalchemy import select

from vision_event_block.server.store import schema
from vision_event_block.server.store.records import Pinned, is_storable
from vision_event_block.server.store.use_cases import number_of
from vision_event_block.server.store.writing import CHUNK, pin_events, pinned_among

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Connection

    from vision_event_block.server.store.database import Database
    from vision_event_block.server.store.fields import Fields


def judgeable(connection: Connection, use_case_id: str, event_ids: Iterable[str]) -> list[str]:
    """The given events that belong to the use case and are not feedback themselves."""
    events, bodies = schema.events.c, schema.bodies.c
    use_case_no = number_of(connection, use_case_id)
    # By id alone: with the use case, SQLite would walk over all of its events.
    query = select(events.event_id, events.use_case_no).join(
        schema.bodies, bodies.event_no == events.no
    )
    wanted = list(dict.fromkeys(event_ids))
    found: set[str] = set()
    for chunk in _storable_chunks(wanted):
        rows = connection.execute(
            query.where(
                events.event_id.in_(chunk),
                bodies.event_type != "operator_feedback",
            )
        )
        found.update(row.event_id for row in rows if row.use_case_no == use_case_no)
    return [event_id for event_id in wanted if event_id in found]


def pin(
    database: Database, fields: Fields, use_case_id: str, event_ids: Iterable[str], *, on: bool
) -> Pinned:
    """Pins or unpins events of a use case, in small steps."""
    wanted = list(dict.fromkeys(event_ids))
    found: set[str] = set()
    for chunk in _storable_chunks(wanted) if is_storable(use_case_id) else ():
        with database.writing() as connection:
            ids, numbers = pin_events(connection, use_case_id, chunk, fields, on=on)
        fields.remember(numbers)
        found |= ids
    return Pinned(
        event_ids=tuple(event_id for event_id in wanted if event_id in found),
        not_found=tuple(event_id for event_id in wanted if event_id not in found),
    )


def count_pinned(connection: Connection, event_ids: Iterable[str]) -> int:
    return sum(len(pinned_among(connection, chunk)) for chunk in _storable_chunks(event_ids))


def _storable_chunks(event_ids: Iterable[str]) -> Iterator[Sequence[str]]:
    """Splits the storable ids into chunks that fit one statement."""
    known = (event_id for event_id in event_ids if is_storable(event_id))
    while chunk := list(islice(known, CHUNK)):
        yield chunk

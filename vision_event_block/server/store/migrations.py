"""The database's schema, brought up to date from any earlier version."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, insert, inspect, select, text, update

from vision_event_block.server.store import schema
from vision_event_block.server.store.errors import NewerSchema
from vision_event_block.server.store.facets import ANY_CLASS, CLASS, IMAGE_COUNT, picture_facets
from vision_event_block.server.store.fields import Fields
from vision_event_block.server.store.views import make_views

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Connection

    Migration = Callable[[Connection], None]

log = logging.getLogger(__name__)


def _add_keys_and_sessions(connection: Connection) -> None:
    tables = [schema.api_keys, schema.sessions, schema.session_salt]
    schema.metadata.create_all(connection, tables=tables)


def _add_confidences_and_image_counts(connection: Connection) -> None:
    """Facets that all events have from now on, made for those that are there."""
    facets = schema.facets
    column = facets.c.least_confidence
    kind = column.type.compile(connection.dialect)
    connection.execute(text(f"ALTER TABLE {facets.name} ADD COLUMN {column.name} {kind}"))
    last_no = 0
    while rows := connection.execute(_BODIES, {"after": last_no}).all():
        last_no = rows[-1].no
        _add_picture_facets(connection, rows)
    for index in facets.indexes:
        if index.name in ("traits_by_confidence", "traits_by_least_confidence"):
            index.create(connection)


def _add_picture_facets(connection: Connection, rows: Sequence[Any]) -> None:
    use_cases = {row.use_case_no for row in rows}
    fields = (ANY_CLASS, CLASS, IMAGE_COUNT)
    numbers = Fields().find_or_make(
        connection, {(use_case, field) for use_case in use_cases for field in fields}
    )
    added, known = [], []
    for row in rows:
        for facet in picture_facets(json.loads(row.body)):
            field_no = numbers[row.use_case_no, facet.field]
            if facet.field != CLASS:
                added.append(facet.row(row.no, field_no, row.time_us))
            elif facet.least_confidence is not None:
                known.append(
                    {
                        "of_event": row.no,
                        "of_field": field_no,
                        "of_key": facet.key,
                        "least": facet.least_confidence,
                    }
                )
    connection.execute(insert(schema.facets), added)
    if known:
        connection.execute(_SET_LEAST, known)


_BODIES: Final = (
    select(
        schema.events.c.no,
        schema.events.c.use_case_no,
        schema.events.c.time_us,
        schema.bodies.c.body,
    )
    .join(schema.bodies, schema.bodies.c.event_no == schema.events.c.no)
    .where(schema.events.c.no > bindparam("after"))
    .order_by(schema.events.c.no)
    .limit(500)
)
_SET_LEAST: Final = (
    update(schema.facets)
    .where(
        schema.facets.c.event_no == bindparam("of_event"),
        schema.facets.c.field_no == bindparam("of_field"),
        schema.facets.c.key == bindparam("of_key"),
    )
    .values(least_confidence=bindparam("least"))
)


def _add_what_came_and_what_waits(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE bodies ADD COLUMN received TEXT"))
    schema.metadata.create_all(connection, tables=[schema.forwarding])


def _count_by_blocks(connection: Connection) -> None:
    """The clean-up seals the blocks that are there already; until then, facets are counted."""
    connection.execute(text("DROP TABLE IF EXISTS hourly"))
    schema.metadata.create_all(connection, tables=[schema.blocks, schema.columns])


def _add_ages_of_pictures(connection: Connection) -> None:
    """Columns that stay empty for what is there until room has to be made."""
    pictures = schema.pictures
    for column in (pictures.c.shown_us, pictures.c.is_output, pictures.c.shed_us):
        kind = column.type.compile(connection.dialect)
        connection.execute(text(f"ALTER TABLE pictures ADD COLUMN {column.name} {kind}"))
    [by_age] = (index for index in pictures.indexes if index.name == "pictures_by_age")
    by_age.create(connection)


def _add_views(connection: Connection) -> None:
    """They are made after every update, of the tables as they are then."""


def _seal_in_parts(_connection: Connection) -> None:
    """The blocks that fill from now on; programs before did not know parts, nor pins in views."""


VERSION: Final = 8
#: From here on no migration reads events.
_LAST_SLOW: Final = 2
#: By the version that it starts from: what makes the next one of it.
MIGRATIONS: Final[Mapping[int, Migration]] = {
    1: _add_keys_and_sessions,
    2: _add_confidences_and_image_counts,
    3: _add_what_came_and_what_waits,
    4: _count_by_blocks,
    5: _add_ages_of_pictures,
    6: _add_views,
    7: _seal_in_parts,
}


def migrate(
    connection: Connection,
    *,
    target: int = VERSION,
    migrations: Mapping[int, Migration] = MIGRATIONS,
) -> None:
    """A database of the target version, within the transaction of a connection that may write.

    Raises:
        NewerSchema: the database is ahead of this program.
    """
    if not inspect(connection).has_table(schema.version.name):
        schema.metadata.create_all(connection)
        make_views(connection)
        connection.execute(insert(schema.version).values(number=target))
        return
    found = connection.execute(select(schema.version.c.number)).scalar_one()
    if found > target:
        raise NewerSchema(
            f"the database has schema version {found}, this program knows up to {target}: "
            "use the version of vision-event-block that wrote it, or a later one"
        )
    if found < target:
        log.warning(
            "the database is updated from schema version %d to %d%s",
            found,
            target,
            "; with a million events this takes minutes, and an interrupted update starts over"
            if found <= _LAST_SLOW
            else "",
        )
    for number in range(found, target):
        migrations[number](connection)
    if found < target:
        make_views(connection)
        connection.execute(update(schema.version).values(number=target))

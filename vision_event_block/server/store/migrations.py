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
    from collections.abc import Sequence

    from sqlalchemy import Connection

log = logging.getLogger(__name__)


VERSION: Final = 8
#: Later versions already have the facets that release 0.1.0 (version 1) did not create.
_LAST_SLOW: Final = 2


def _update(connection: Connection, found: int) -> None:
    """Adds missing tables, columns and indexes, and the facets that old events lack.

    The clean-up seals the blocks of existing events later; until then, their facets are counted.
    """
    connection.execute(text("DROP TABLE IF EXISTS hourly"))
    schema.metadata.create_all(connection)
    tables = schema.metadata.sorted_tables
    there = inspect(connection)
    for table in tables:
        names = {column["name"] for column in there.get_columns(table.name)}
        for column in table.columns:
            if column.name not in names:
                kind = column.type.compile(connection.dialect)
                connection.execute(
                    text(f"ALTER TABLE {table.name} ADD COLUMN {column.name} {kind}")
                )
    if found <= _LAST_SLOW:
        last_no = 0
        while rows := connection.execute(_BODIES, {"after": last_no}).all():
            last_no = rows[-1].no
            _add_picture_facets(connection, rows)
    for table in tables:
        for index in table.indexes:
            index.create(connection, checkfirst=True)


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


def migrate(connection: Connection) -> None:
    """Creates or updates the schema, within the transaction of a connection that may write.

    Raises:
        NewerSchema: the database is ahead of this program.
    """
    if not inspect(connection).has_table(schema.version.name):
        schema.metadata.create_all(connection)
        make_views(connection)
        connection.execute(insert(schema.version).values(number=VERSION))
        return
    found = connection.execute(select(schema.version.c.number)).scalar_one()
    if found == VERSION:
        return
    if found > VERSION:
        raise NewerSchema(
            f"the database has schema version {found}, this program knows up to {VERSION}: "
            "use the version of vision-event-block that wrote it, or a later one"
        )
    log.warning(
        "the database is updated from schema version %d to %d%s",
        found,
        VERSION,
        "; with a million events this takes minutes, and an interrupted update starts over"
        if found <= _LAST_SLOW
        else "",
    )
    _update(connection, found)
    make_views(connection)
    connection.execute(update(schema.version).values(number=VERSION))

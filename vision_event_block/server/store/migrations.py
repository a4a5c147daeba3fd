"""The database's schema, brought up to date from any earlier version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import insert, inspect, select, update

from vision_event_block.server.store import schema
from vision_event_block.server.store.errors import NewerSchema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Connection

    Migration = Callable[[Connection], None]


def _add_keys_and_sessions(connection: Connection) -> None:
    tables = [schema.api_keys, schema.sessions, schema.session_salt]
    schema.metadata.create_all(connection, tables=tables)


VERSION: Final = 2
#: By the version that it starts from: what makes the next one of it.
MIGRATIONS: Final[Mapping[int, Migration]] = {1: _add_keys_and_sessions}


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
        connection.execute(insert(schema.version).values(number=target))
        return
    found = connection.execute(select(schema.version.c.number)).scalar_one()
    if found > target:
        raise NewerSchema(
            f"the database has schema version {found}, this program knows up to {target}: "
            "use the version of vision-event-block that wrote it, or a later one"
        )
    for number in range(found, target):
        migrations[number](connection)
    if found < target:
        connection.execute(update(schema.version).values(number=target))

"""A store's database turned back into that of an earlier version."""

from __future__ import annotations

from sqlalchemy import delete, or_, select, text, update

from vision_event_block.server.store import schema
from vision_event_block.server.store.facets import ANY_CLASS, IMAGE_COUNT


def as_version_1(store):
    """Takes away what version 2 added, and those after it."""
    as_version_2(store)
    with store._database.writing() as connection:
        for table in ("api_keys", "sessions", "session_salt"):
            connection.execute(text(f"DROP TABLE {table}"))
        connection.execute(update(schema.version).values(number=1))


def as_version_5(store):
    """Takes away what version 6 added."""
    with store._database.writing() as connection:
        connection.execute(text("DROP INDEX pictures_by_age"))
        for name in ("shown_us", "is_output", "shed_us"):
            connection.execute(text(f"ALTER TABLE pictures DROP COLUMN {name}"))
        connection.execute(update(schema.version).values(number=5))


def as_version_3(store):
    """Takes away what version 4 added, and those after it."""
    as_version_5(store)
    with store._database.writing() as connection:
        connection.execute(text("DROP TABLE forwarding"))
        connection.execute(text("ALTER TABLE bodies DROP COLUMN received"))
        connection.execute(update(schema.version).values(number=3))


def as_version_2(store):
    """Takes away what version 3 added, and gives what it had."""
    as_version_3(store)
    added = [schema.fields.c.name == field.name for field in (ANY_CLASS, IMAGE_COUNT)]
    with store._database.writing() as connection:
        numbers = connection.execute(select(schema.fields.c.no).where(or_(*added))).scalars().all()
        connection.execute(delete(schema.facets).where(schema.facets.c.field_no.in_(numbers)))
        connection.execute(delete(schema.fields).where(schema.fields.c.no.in_(numbers)))
        for name in ("confidence", "least_confidence"):
            connection.execute(text(f"DROP INDEX traits_by_{name}"))
        connection.execute(text("ALTER TABLE traits DROP COLUMN least_confidence"))
        connection.execute(update(schema.version).values(number=2))

"""A store's database turned back into that of an earlier version."""

from __future__ import annotations

from sqlalchemy import delete, or_, select, text, update

from vision_event_block.server.store import schema
from vision_event_block.server.store.facets import ANY_CLASS, IMAGE_COUNT


def as_version_1(store):
    """Takes away what release 0.1.0 did not have, and gives what it had."""
    added = [schema.fields.c.name == field.name for field in (ANY_CLASS, IMAGE_COUNT)]
    with store._database.writing() as connection:
        numbers = connection.execute(select(schema.fields.c.no).where(or_(*added))).scalars().all()
        connection.execute(delete(schema.facets).where(schema.facets.c.field_no.in_(numbers)))
        connection.execute(delete(schema.fields).where(schema.fields.c.no.in_(numbers)))
        for change in (
            *("DROP INDEX traits_by_confidence", "DROP INDEX traits_by_least_confidence"),
            "ALTER TABLE traits DROP COLUMN least_confidence",
            "DROP INDEX pictures_by_age",
            *(
                f"ALTER TABLE pictures DROP COLUMN {n}"
                for n in ("shown_us", "is_output", "shed_us")
            ),
            "ALTER TABLE bodies DROP COLUMN received",
            *(
                f"DROP TABLE {name}"
                for name in (
                    *("api_keys", "sessions", "session_salt"),
                    *("forwarding", "blocks", "columns"),
                )
            ),
            "CREATE TABLE hourly (field_no INTEGER)",
        ):
            connection.execute(text(change))
        connection.execute(update(schema.version).values(number=1))

"""The tables: what they hold and which queries their indexes serve.

An event is one row of `events`. Its JSON is kept separately in `bodies`, so that walking over many
events reads little. Everything that an event can be filtered by is a row of `facets`: its device,
its type, a detected class, a key of its metadata. A facet's field (use case, part, name, type) is
stored once, in `fields`. Facets are found in three ways:

* by event (the primary key): has this event that facet?
* by field and key, newest first: which events have that facet? Their times are kept with them,
  so that the newest fifty of a million are the first fifty rows.
* by number, or by the confidence of a class, for the few events at the end of a scale.

To count many events, `columns` holds a second copy of their facets, by field and in blocks, and
`blocks` says which events of a block, or of a part of one, still exist. `picture_uses` says which
`pictures` an event refers to. A picture without an event is idle, and its row says since when.

Times are microseconds since 1970, in UTC.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects import postgresql

#: Text ordered by code point, so that PostgreSQL sorts and compares like SQLite.
Plain = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

#: Event numbers. SQLite needs no separate index for plain INTEGER keys.
EventNo = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()


def _partial(name: str, *columns: str, where: str) -> Index:
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


#: One row: the schema version.
version = Table("schema_version", metadata, Column("number", Integer, nullable=False))

use_cases = Table(
    "use_cases",
    metadata,
    Column("no", Integer, primary_key=True, autoincrement=False),
    Column("id", Plain, nullable=False, unique=True),
    Column("name", Plain, nullable=False),
    #: The case-folded name.
    Column("folded_name", Plain, nullable=False, unique=True),
    Column("status", String(8), nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("event_count", BigInteger, nullable=False),
    #: Increases with every change to its events.
    Column("changes", BigInteger, nullable=False),
)

fields = Table(
    "fields",
    metadata,
    Column("no", Integer, primary_key=True, autoincrement=False),
    Column("use_case_no", ForeignKey("use_cases.no"), nullable=False),
    Column("part", String(8), nullable=False),
    Column("name", Plain, nullable=False),
    Column("type", String(8), nullable=False),
    Index("fields_by_name", "use_case_no", "part", "name", "type", unique=True),
)

events = Table(
    "events",
    metadata,
    Column("no", EventNo, primary_key=True, autoincrement=False),
    Column("event_id", Plain, nullable=False, unique=True),
    Column("use_case_no", ForeignKey("use_cases.no"), nullable=False),
    Column("time_us", BigInteger, nullable=False),
    Column("received_us", BigInteger, nullable=False),
    #: For operator feedback: the event that it is about, which may not have arrived yet.
    Column("subject_id", Plain),
    Column("verdict", String(12)),
    Index("events_by_time", "use_case_no", "time_us", "event_id"),
    _partial("events_by_subject", "subject_id", "time_us", where="subject_id IS NOT NULL"),
)

bodies = Table(
    "bodies",
    metadata,
    Column("event_no", EventNo, primary_key=True, autoincrement=False),
    Column("event_type", Plain, nullable=False),
    Column("body", Text, nullable=False),
    #: A JSON object of the parts that came in a different form than in `body`; null if none.
    Column("received", Text),
    #: A JSON list, or null if there were none.
    Column("warnings", Text),
)

#: The table keeps its original name, so that existing databases stay valid.
facets = Table(
    "traits",
    metadata,
    Column("event_no", EventNo, primary_key=True, autoincrement=False),
    Column("field_no", Integer, primary_key=True, autoincrement=False),
    #: The first characters of a text, "true" or "false"; empty for a number, unless an event may
    #: have several under one name.
    Column("key", Plain, primary_key=True),
    #: The whole text if it is longer than the key.
    Column("text", Plain),
    Column("number", Float(53)),
    #: For a detected class: the highest and the lowest confidence.
    Column("confidence", Float(53)),
    Column("least_confidence", Float(53)),
    Column("time_us", BigInteger, nullable=False),
    Index("traits_by_key", "field_no", "key", "time_us", "event_no", "confidence"),
    _partial(
        "traits_by_number", "field_no", "number", "time_us", "event_no", where="number IS NOT NULL"
    ),
    *(
        _partial(
            *(f"traits_by_{column}", "field_no", "key", column, "time_us", "event_no"),
            where=f"{column} IS NOT NULL",
        )
        for column in ("confidence", "least_confidence")
    ),
    sqlite_with_rowid=False,
)

blocks = Table(
    "blocks",
    metadata,
    #: The events' numbers divided by the size of a block. For a part of a block that still fills:
    #: -1 minus the events' numbers divided by the size of a part.
    Column("no", BigInteger, primary_key=True, autoincrement=False),
    #: The times of its events.
    Column("first_us", BigInteger, nullable=False),
    Column("last_us", BigInteger, nullable=False),
    #: A bit per event: whether it still exists.
    Column("is_there", LargeBinary, nullable=False),
)

#: Described in `columns.Column`.
columns = Table(
    "columns",
    metadata,
    Column("field_no", Integer, primary_key=True, autoincrement=False),
    Column("block_no", BigInteger, primary_key=True, autoincrement=False),
    #: A JSON list.
    Column("keys", Text, nullable=False),
    Column("positions", LargeBinary, nullable=False),
    Column("codes", LargeBinary, nullable=False),
    Column("numbers", LargeBinary),
    Column("confidences", LargeBinary),
    Column("least_confidences", LargeBinary),
    Index("columns_by_block", "block_no"),
)

pictures = Table(
    "pictures",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("media_type", String(16), nullable=False),
    Column("width", Integer),
    Column("height", Integer),
    Column("size_bytes", BigInteger, nullable=False),
    Column("name", Text),
    #: A JSON object.
    Column("metadata", Text, nullable=False),
    Column("uploaded_us", BigInteger, nullable=False),
    #: Since when no event refers to it; null while one does, REMOVING or SHEDDING while its bytes
    #: are being removed.
    Column("idle_since_us", BigInteger),
    #: The time of the newest event that refers to it, and whether any event has it as annotated.
    #: Null while no event does, or until pictures of an earlier version have been looked through.
    Column("shown_us", BigInteger),
    Column("is_output", Boolean),
    #: When its bytes were removed to make room; the row stays while an event refers to it.
    Column("shed_us", BigInteger),
    _partial("pictures_idle", "idle_since_us", where="idle_since_us IS NOT NULL"),
    _partial(
        "pictures_by_age",
        "is_output",
        "shown_us",
        "id",
        where="shown_us IS NOT NULL AND shed_us IS NULL",
    ),
)

#: In `pictures.idle_since_us`: readers see no picture any more, and the row is deleted next.
REMOVING: Final = -1
#: The same, but the row stays.
SHEDDING: Final = -2

picture_uses = Table(
    "picture_uses",
    metadata,
    Column("event_no", EventNo, primary_key=True, autoincrement=False),
    Column("picture_id", String(32), primary_key=True),
    Index("picture_uses_by_picture", "picture_id"),
    sqlite_with_rowid=False,
)

#: Outbox entries for events of this database: what waits to be forwarded is not cleaned up. Rows
#: are written with the event, and deleted some time after the entry is gone.
forwarding = Table(
    "forwarding",
    metadata,
    Column("outbox", String(32), primary_key=True),
    Column("entry", Plain, primary_key=True),
    Column("event_id", Plain, nullable=False),
    Index("forwarding_by_event", "event_id"),
    sqlite_with_rowid=False,
)

#: API keys created here, by the name that a person gave them.
api_keys = Table(
    "api_keys",
    metadata,
    Column("name", Plain, primary_key=True),
    #: SHA-256 of the random key, in hex.
    Column("digest", String(64), nullable=False, unique=True),
    Column("scopes", String(32), nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger),
    Column("revoked_us", BigInteger),
)

#: Browser sessions opened with a key, until they end or expire.
sessions = Table(
    "sessions",
    metadata,
    #: SHA-256 of the random id in the cookie, in hex.
    Column("digest", String(64), primary_key=True),
    #: The `digest` of a key above, or an id derived from a key the server was started with.
    Column("key_id", String(64), nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Index("sessions_by_key", "key_id", "expires_us"),
)

#: One row: 32 random bytes in hex.
session_salt = Table("session_salt", metadata, Column("salt", String(64), nullable=False))

#: For a text in `facets.key`: fits a PostgreSQL index entry in the worst case, and is enough for
#: nearly all texts.
MAX_KEY_CHARS: Final = 200

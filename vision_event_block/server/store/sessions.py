"""The sessions of browsers that logged in with a key.

A session is a random id in a cookie, and its hash is a row in the database: logging out ends it on
all servers, and a cookie reveals nothing about any key.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, insert, select

from vision_event_block.server.store import schema
from vision_event_block.server.store.timestamps import now_us

if TYPE_CHECKING:
    from vision_event_block.server.store.database import Database
    from vision_event_block.server.store.timestamps import Clock

SESSION_LIFETIME_S: Final = 12 * 3600
#: Per key; one more ends the oldest.
MAX_SESSIONS: Final = 100

_ID_BYTES: Final = 32
_table = schema.sessions


class Sessions:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._salt: bytes | None = None

    @property
    def salt(self) -> bytes:
        """A secret of this database for the ids of keys, created on first use."""
        if self._salt is None:
            table = schema.session_salt
            with self._database.writing() as connection:
                found = connection.execute(select(table.c.salt)).scalar()
                if found is None:
                    found = secrets.token_hex(_ID_BYTES)
                    connection.execute(insert(table).values(salt=found))
            self._salt = bytes.fromhex(found)
        return self._salt

    def open(self, key_id: str) -> str:
        """Opens a session for the key's holder; returns its id."""
        session = secrets.token_urlsafe(_ID_BYTES)
        now = now_us(self._clock)
        with self._database.writing() as connection:
            connection.execute(delete(_table).where(_table.c.expires_us <= now))
            newest = (
                select(_table.c.digest)
                .where(_table.c.key_id == key_id)
                .order_by(_table.c.expires_us.desc())
                .limit(MAX_SESSIONS - 1)
            )
            kept = connection.execute(newest).scalars().all()
            connection.execute(
                delete(_table).where(_table.c.key_id == key_id, _table.c.digest.not_in(kept))
            )
            connection.execute(
                insert(_table).values(
                    digest=_digest(session),
                    key_id=key_id,
                    expires_us=now + SESSION_LIFETIME_S * 1_000_000,
                )
            )
        return session

    def key_id_of(self, session: str | None) -> str | None:
        """The key that a session was opened with; None if it has ended or is unknown."""
        if not session:
            return None
        query = select(_table.c.key_id).where(
            _table.c.digest == _digest(session), _table.c.expires_us > now_us(self._clock)
        )
        with self._database.reading() as connection:
            return connection.execute(query).scalar()

    def end(self, session: str | None) -> None:
        """Ends a session, if there is one."""
        if session:
            with self._database.writing() as connection:
                connection.execute(delete(_table).where(_table.c.digest == _digest(session)))


def _digest(session: str) -> str:
    return hashlib.sha256(session.encode("utf-8", "surrogateescape")).hexdigest()

"""The keys that `vision-events keys` creates, names, limits and revokes.

They are stored in the database, so that all servers on it know them, and a running server notices a
new or revoked key within a second. A key is 256 random bits and its row holds a plain hash of it,
from which the key cannot be recovered.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from sqlalchemy import delete, insert, select, update

from vision_event_block.server.keys import SCOPES, Holder, Scope
from vision_event_block.server.store import schema
from vision_event_block.server.store.errors import DuplicateName, NoSuchKey
from vision_event_block.server.store.records import is_storable
from vision_event_block.server.store.timestamps import microseconds, moment_of, now_us

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from vision_event_block.server.store.database import Database
    from vision_event_block.server.store.timestamps import Clock

#: Makes a key recognizable if it turns up in a log or a repository.
PREFIX: Final = "vek_"
MAX_NAME_CHARS: Final = 64
#: How long keys that were read are cached.
FRESH_S: Final = 1.0

_SECRET_BYTES: Final = 32
_table = schema.api_keys


@dataclass(frozen=True, kw_only=True)
class StoredKey:
    """The stored facts about a key, without the key itself."""

    name: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    def is_valid(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class StoredKeys:
    """The keys of a database. Revoked and expired ones stay until `forget` removes them."""

    def __init__(
        self, database: Database, clock: Clock, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._clock = clock
        self._timer = timer
        self._lock = threading.Lock()
        #: The keys by hash, and when they were read. Guarded by the lock.
        self._read: dict[str, StoredKey] = {}
        self._read_at_s = float("-inf")

    @property
    def in_force(self) -> bool:
        """Whether there are any keys, valid or not: an expired last key still counts."""
        return bool(self._known())

    def new(
        self, name: str, scopes: Iterable[Scope] = SCOPES, expires_at: datetime | None = None
    ) -> str:
        """Creates a key and returns it; it cannot be read again later.

        Raises:
            DuplicateName: another key, perhaps a revoked one, has this name.
            ValueError: the name is invalid, or the key would have expired already.
        """
        if not (is_storable(name) and name.isprintable() and len(name) <= MAX_NAME_CHARS):
            raise ValueError(f"the name of a key has 1 to {MAX_NAME_CHARS} printable characters")
        now = self._clock()
        if expires_at is not None and expires_at <= now:
            raise ValueError("the key would have expired already")
        key = PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
        with self._database.writing() as connection:
            taken = select(_table.c.name).where(_table.c.name == name)
            if connection.execute(taken).one_or_none() is not None:
                raise DuplicateName(f"there is a key {name!r} already; take another name")
            connection.execute(
                insert(_table).values(
                    name=name,
                    digest=_digest(key),
                    scopes=",".join(scope for scope in SCOPES if scope in set(scopes)),
                    created_us=microseconds(now),
                    expires_us=None if expires_at is None else microseconds(expires_at),
                )
            )
        self._forget_what_was_read()
        return key

    def list(self) -> list[StoredKey]:
        with self._database.reading() as connection:
            return [_key(row) for row in connection.execute(select(_table).order_by(_table.c.name))]

    def revoke(self, name: str) -> None:
        """Revokes a key and ends its sessions; does nothing if it is revoked already.

        Raises:
            NoSuchKey: none has this name.
        """
        now = now_us(self._clock)
        with self._database.writing() as connection:
            found = connection.execute(select(_table).where(_table.c.name == name)).one_or_none()
            if found is None:
                raise _no_key(name)
            if found.revoked_us is None:
                one = _table.c.name == name
                connection.execute(update(_table).where(one).values(revoked_us=now))
        self._forget_what_was_read()

    def forget(self, name: str) -> None:
        """Deletes the record of a key. Without any key, the server requires none.

        Raises:
            NoSuchKey: none has this name.
        """
        with self._database.writing() as connection:
            done = connection.execute(delete(_table).where(_table.c.name == name))
            if done.rowcount == 0:
                raise _no_key(name)
        self._forget_what_was_read()

    def holder(self, key: str | None) -> Holder | None:
        """The holder of a key; None if it is unknown or no longer valid."""
        key_id = _digest(key or "")
        scopes = self.scopes_of_id(key_id)
        return None if scopes is None else Holder(key_id, scopes)

    def scopes_of_id(self, key_id: str) -> frozenset[Scope] | None:
        """The scopes of the key with this id; None if it is unknown or no longer valid."""
        found = self._known().get(key_id)
        return found.scopes if found is not None and found.is_valid(self._clock()) else None

    def _known(self) -> dict[str, StoredKey]:
        with self._lock:
            now_s = self._timer()
            if now_s - self._read_at_s >= FRESH_S:
                with self._database.reading() as connection:
                    rows = connection.execute(select(_table)).all()
                self._read = {row.digest: _key(row) for row in rows}
                self._read_at_s = now_s
            return self._read

    def _forget_what_was_read(self) -> None:
        with self._lock:
            self._read_at_s = float("-inf")


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def _no_key(name: str) -> NoSuchKey:
    return NoSuchKey(f"there is no key {name!r}")


def _key(row: Any) -> StoredKey:
    return StoredKey(
        name=row.name,
        scopes=frozenset(cast("list[Scope]", row.scopes.split(","))),
        created_at=moment_of(row.created_us),
        expires_at=None if row.expires_us is None else moment_of(row.expires_us),
        revoked_at=None if row.revoked_us is None else moment_of(row.revoked_us),
    )

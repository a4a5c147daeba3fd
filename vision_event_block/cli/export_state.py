"""The progress of a data set export: a small database in its folder, until it is done."""

from __future__ import annotations

import json
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from typing_extensions import Self

NAME: Final = ".vision-events-export"

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS request (options TEXT);
CREATE TABLE IF NOT EXISTS listings (name TEXT PRIMARY KEY, cursor TEXT);
CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, time_us INTEGER, body TEXT);
CREATE INDEX IF NOT EXISTS events_by_time ON events (time_us, id);
CREATE TABLE IF NOT EXISTS verdicts
    (subject TEXT PRIMARY KEY, time_us INTEGER, id TEXT, verdict TEXT);
CREATE TABLE IF NOT EXISTS pictures (address TEXT PRIMARY KEY, path TEXT, why_not TEXT);
"""
#: Stands in for the cursor once a list has been read to its end.
_DONE: Final = ""


class Fetched(NamedTuple):
    #: Relative to the data set's folder; None if the picture is not in it.
    path: str | None
    why_not: str | None


class ExportState:
    """What was asked for, what was listed, and which pictures were fetched. Survives a kill."""

    def __init__(self, folder: Path) -> None:
        """Raises sqlite3.Error if another process holds it, or if it cannot be written."""
        self._path = folder / NAME
        self._database = sqlite3.connect(self._path, isolation_level=None, timeout=0)
        try:
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.executescript(_TABLES)
        except sqlite3.Error:
            self._database.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def agree(self, options: Mapping[str, Any]) -> bool:
        """Whether the export began with these options; until anything is listed, any will do."""
        text = json.dumps(options, sort_keys=True)
        found = self._one("SELECT options FROM request")
        if found == text:
            return True
        if self._one("SELECT count(*) FROM listings"):
            return False
        with self._at_once():
            self._database.execute("DELETE FROM request")
            self._database.execute("INSERT INTO request VALUES (?)", (text,))
        return True

    def is_listed(self, name: str) -> bool:
        return bool(self._one("SELECT cursor FROM listings WHERE name = ?", name) == _DONE)

    def cursor(self, name: str) -> str | None:
        """Where the list continues; None at its start."""
        return self._one("SELECT cursor FROM listings WHERE name = ?", name) or None

    def add_events(
        self, events: Iterable[tuple[str, int, Mapping[str, Any]]], cursor: str | None
    ) -> None:
        """A page of events by id and time, and where the next one starts; None after the last."""
        with self._at_once():
            self._database.executemany(
                "INSERT OR REPLACE INTO events VALUES (?, ?, ?)",
                ((event_id, time_us, json.dumps(body)) for event_id, time_us, body in events),
            )
            self._set_cursor("events", cursor)

    def add_verdicts(
        self, verdicts: Iterable[tuple[str, int, str, str]], cursor: str | None
    ) -> None:
        """The same for verdicts by subject, time and id, of which the latest counts."""
        with self._at_once():
            self._database.executemany(
                "INSERT INTO verdicts VALUES (?, ?, ?, ?) ON CONFLICT (subject) DO UPDATE SET "
                "time_us = excluded.time_us, id = excluded.id, verdict = excluded.verdict "
                "WHERE (excluded.time_us, excluded.id) > (time_us, id)",
                verdicts,
            )
            self._set_cursor("feedback", cursor)

    def restart(self, name: str) -> None:
        """Reads a list from its start again; what was already listed is kept."""
        self._database.execute("DELETE FROM listings WHERE name = ?", (name,))

    @property
    def event_count(self) -> int:
        return int(self._one("SELECT count(*) FROM events"))

    def events(self) -> Iterator[tuple[str, dict[str, Any], str | None]]:
        """Id, body and latest verdict of each event, newest first, as the server lists them."""
        rows = self._database.execute(
            "SELECT events.id, body, verdict FROM events LEFT JOIN verdicts ON subject = events.id "
            "ORDER BY events.time_us DESC, events.id DESC"
        )
        for event_id, body, verdict in rows:
            yield event_id, json.loads(body), verdict

    def fetched(self, address: str) -> Fetched | None:
        """None if it has not been requested yet."""
        row = self._database.execute(
            "SELECT path, why_not FROM pictures WHERE address = ?", (address,)
        ).fetchone()
        return None if row is None else Fetched(*row)

    def remember(self, address: str, fetched: Fetched) -> None:
        row = (address, *fetched)
        self._database.execute("INSERT OR REPLACE INTO pictures VALUES (?, ?, ?)", row)

    def remove(self) -> None:
        """Deletes the state: the data set is complete."""
        self._database.close()
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def _set_cursor(self, name: str, cursor: str | None) -> None:
        row = (name, _DONE if cursor is None else cursor)
        self._database.execute("INSERT OR REPLACE INTO listings VALUES (?, ?)", row)

    def _one(self, query: str, *values: Any) -> Any:
        row = self._database.execute(query, values).fetchone()
        return None if row is None else row[0]

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        with self._database:  # commits, or rolls back
            self._database.execute("BEGIN")
            yield

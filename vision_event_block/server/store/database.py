"""The database: SQLite in a folder, or PostgreSQL; one writer at a time, concurrent readers."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from vision_event_block.server.store.errors import Busy
from vision_event_block.server.store.migrations import migrate
from vision_event_block.server.store.read_budget import current_budget

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection, Engine
    from typing_extensions import Self

    from vision_event_block.server.store.read_budget import Budget

FILE_NAME: Final = "vision-events.db"
#: How long a writer waits for another process to finish writing.
_BUSY_TIMEOUT_S: Final = 60
#: Page cache of each SQLite connection.
_CACHE_KIB: Final = 8 * 1024
#: An arbitrary number that nothing else in the same PostgreSQL database uses.
_ADVISORY_LOCK: Final = 7_316_590_242
#: SQLite VM instructions between two checks of the clock: a fraction of a millisecond.
_STEPS_BETWEEN_LOOKS: Final = 20_000
_QUERY_CANCELED: Final = "57014"
#: Statements find a few rows through an index and join them one by one. The planner cannot know
#: how few, and would read whole tables, or spend longer on JIT than the statement takes. And the
#: generic plan of a prepared statement treats a device that sent nearly all events like one that
#: sent a few.
_POSTGRESQL_SETTINGS: Final = {
    "plan_cache_mode": "force_custom_plan",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}


class Database:
    """Connections for reading and for writing.

    There is one writer at a time: SQLite allows no more, and in PostgreSQL an advisory lock
    enforces it across processes. So numbers can be given out without a race, and writers cannot
    deadlock. A commit is on disk when it returns.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer_options: dict[str, Any] = {"writes": True}
        self._is_postgresql = engine.dialect.name == "postgresql"
        if self._is_postgresql:
            # So that it sees what others wrote while it waited for the lock.
            self._writer_options["isolation_level"] = "READ COMMITTED"
        #: Per thread: the connection that `one_moment` holds.
        self._moment = threading.local()
        #: Held while writing: threads of one process take turns here, without polling.
        self._writing = threading.Lock()
        with self.writing() as connection:
            migrate(connection)

    @classmethod
    def open(cls, folder: Path, database_url: str | None = None) -> Self:
        """The database at a URL, or else the one in the folder; created or migrated if necessary.

        Raises:
            NewerSchema: a later version of this program wrote it.
        """
        if database_url is None:
            folder.mkdir(parents=True, exist_ok=True)
            database_url = f"sqlite:///{folder / FILE_NAME}"
        url = make_url(database_url)
        if url.get_backend_name() == "sqlite":
            return cls(_sqlite_engine(url))
        if url.get_backend_name() == "postgresql":
            return cls(_postgresql_engine(url))
        raise ValueError(
            f"the database is {url.get_backend_name()}; give a postgresql:// or a sqlite:// URL"
        )

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees a snapshot of the database, within the budget of the request.

        Within `one_moment` it is always the same connection.

        Raises:
            Busy: reading took too long, or the client has left.
        """
        held = getattr(self._moment, "connection", None)
        if held is not None:
            yield held
            return
        budget = current_budget()
        if budget is None:
            with self._engine.begin() as connection:
                yield connection
            return
        bounded = _bounded_postgresql if self._is_postgresql else _bounded_sqlite
        try:
            with self._engine.begin() as connection, bounded(connection, budget):
                yield connection
        except OperationalError as error:
            if not _is_cut_short(error):
                raise
            raise Busy(
                f"this took longer than {budget.read_s:g} s; ask for a shorter period, or for less "
                "of a text"
            ) from error

    @contextmanager
    def one_moment(self) -> Iterator[None]:
        """Makes all reads of this thread in the block see one snapshot, in one transaction.

        Raises:
            Busy: all reads together took too long, or the client has left.
        """
        with self.reading() as connection:
            self._moment.connection = connection
            try:
                yield
            finally:
                self._moment.connection = None

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection whose changes are all on disk afterwards, or, after an exception, none."""
        with self._writing, self._engine.connect() as connection:
            connection.execution_options(**self._writer_options)
            with connection.begin():
                if self._is_postgresql:
                    connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
                yield connection

    def size_bytes(self, connection: Connection) -> int:
        if self._is_postgresql:
            size = text("SELECT pg_database_size(current_database())")
        else:
            size = text("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        return int(connection.execute(size).scalar_one())

    def records_bytes(self, connection: Connection) -> int:
        """How much of the database's size is in use, and would be freed by deleting events.

        Zero in PostgreSQL: space freed by deletions stays in its files, and is reused.
        """
        if self._is_postgresql:
            return 0
        return self.size_bytes(connection) - self.freed_bytes(connection)

    def freed_bytes(self, connection: Connection) -> int:
        """How much space within the database is free for new events; 0 in PostgreSQL (unknown)."""
        if self._is_postgresql:
            return 0
        freed = text(
            "SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size"
        )
        return int(connection.execute(freed).scalar_one())

    def close(self) -> None:
        self._engine.dispose()


@contextmanager
def _bounded_sqlite(connection: Connection, budget: Budget) -> Iterator[None]:
    raw: Any = connection.connection.driver_connection
    with budget.read() as is_spent:
        raw.set_progress_handler(is_spent, _STEPS_BETWEEN_LOOKS)
        try:
            yield
        finally:
            raw.set_progress_handler(None, 0)


@contextmanager
def _bounded_postgresql(connection: Connection, budget: Budget) -> Iterator[None]:
    raw: Any = connection.connection.driver_connection
    with budget.read(cut_short=raw.cancel):
        # Applies to each statement, of which a read has few.
        connection.execute(text(f"SET LOCAL statement_timeout = {int(budget.read_s * 1000)}"))
        yield


def _is_cut_short(error: OperationalError) -> bool:
    sqlstate = getattr(error.orig, "sqlstate", None)
    return sqlstate == _QUERY_CANCELED or str(error.orig) == "interrupted"


def _sqlite_engine(url: Any) -> Engine:
    engine = create_engine(
        url,
        connect_args={"timeout": _BUSY_TIMEOUT_S},
        # Each pooled connection keeps its cache: pool a few, and reuse the latest first.
        pool_size=8,
        max_overflow=40,
        pool_use_lifo=True,
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: Any) -> None:
        # Transactions are begun below: the driver would begin them too late.
        connection.isolation_level = None
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",  # a commit survives a power cut
            "foreign_keys = ON",
            f"cache_size = -{_CACHE_KIB}",
            "temp_store = MEMORY",
            "case_sensitive_like = ON",  # as in PostgreSQL
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A reader that became a writer could find its snapshot outdated and fail.
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql_engine(url: Any) -> Engine:
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    engine = create_engine(
        url,
        isolation_level="REPEATABLE READ",
        pool_pre_ping=True,
        pool_size=16,
        max_overflow=32,
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: Any) -> None:
        for name, value in _POSTGRESQL_SETTINGS.items():
            connection.execute(f"SET {name} = {value}")
        connection.commit()

    return engine

"""What is removed with time: old events, then pictures that no event refers to any more."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, exists, or_, select, true, update

from vision_event_block.server.store import schema
from vision_event_block.server.store.timestamps import DAY_US, HOUR_US, now_us
from vision_event_block.server.store.writing import CHUNK, erase_events, settle_verdicts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy import ColumnElement, Connection

    from vision_event_block.server.store.database import Database
    from vision_event_block.server.store.fields import Fields
    from vision_event_block.server.store.timestamps import Clock

    #: Removes the bytes of pictures, given their media types by id.
    RemoveBytes = Callable[[Mapping[str, str]], None]

#: How long a picture may wait for the event that refers to it, and stays after the last one did.
IDLE_DAYS: Final = 1.0
#: The same where uploads without events take more room than they may.
UPLOAD_HOURS: Final = 1
#: Between two steps, at least: a lock is not handed on in order, so who waits needs a chance.
_PAUSE_S: Final = 0.02


def erase_older(database: Database, fields: Fields, before_us: int, clock: Clock) -> int:
    """Erases events whose timestamp lies before a time; returns how many."""
    events, use_cases = schema.events.c, schema.use_cases.c
    with database.reading() as connection:
        use_case_numbers = connection.execute(select(use_cases.no)).scalars().all()
    erased = 0
    for use_case_no in use_case_numbers:
        oldest = (
            select(events.no)
            .where(events.use_case_no == use_case_no, events.time_us < before_us)
            .order_by(events.time_us, events.event_id)
            .limit(CHUNK)
        )
        while True:
            with _step(database) as connection:
                numbers = connection.execute(oldest).scalars().all()
                subject_ids = erase_events(connection, numbers, now_us=now_us(clock))
                settle_verdicts(connection, subject_ids, fields)
            erased += len(numbers)
            if len(numbers) < CHUNK:
                break
    return erased


def sweep_pictures(database: Database, remove_bytes: RemoveBytes, clock: Clock) -> int:
    """Removes pictures that no event has referred to for IDLE_DAYS; returns how many."""
    return _sweep(database, remove_bytes, now_us(clock) - int(IDLE_DAYS * DAY_US), true())


def sweep_uploads(database: Database, remove_bytes: RemoveBytes, clock: Clock) -> int:
    """Removes what was uploaded an hour ago and never referred to; returns how many.

    For when there are too many: nearly all clients create an event seconds after its pictures.
    """
    is_upload = schema.pictures.c.idle_since_us.in_(
        (schema.pictures.c.uploaded_us, schema.REMOVING)
    )
    return _sweep(database, remove_bytes, now_us(clock) - UPLOAD_HOURS * HOUR_US, is_upload)


def _sweep(
    database: Database, remove_bytes: RemoveBytes, before_us: int, which: ColumnElement[bool]
) -> int:
    table = schema.pictures
    swept = 0
    while True:
        # Were the process killed after any of the steps, the rows would lead here again. No
        # writer waits for the bytes: they may go slowly, and lie on another machine.
        with _step(database) as connection:
            media_types = _taken(connection, before_us, which)
        remove_bytes(media_types)
        with _step(database) as connection:
            connection.execute(
                delete(table).where(
                    table.c.id.in_(sorted(media_types)), table.c.idle_since_us == schema.REMOVING
                )
            )
        swept += len(media_types)
        if len(media_types) < CHUNK:
            return swept


def _taken(connection: Connection, before_us: int, which: ColumnElement[bool]) -> dict[str, str]:
    """The media types of the longest idle pictures by id, from now on nobody's."""
    table, uses = schema.pictures, schema.picture_uses.c
    unused = ~exists().where(uses.picture_id == table.c.id)
    idle = (
        select(table.c.id, table.c.media_type)
        .where(
            table.c.idle_since_us < before_us,
            which,
            or_(table.c.idle_since_us == schema.REMOVING, unused),
        )
        .order_by(table.c.idle_since_us)
        .limit(CHUNK)
    )
    found = {row.id: row.media_type for row in connection.execute(idle)}
    connection.execute(
        update(table).where(table.c.id.in_(sorted(found))).values(idle_since_us=schema.REMOVING)
    )
    return found


@contextmanager
def _step(database: Database) -> Iterator[Connection]:
    """A transaction, and then as long a pause, which leaves half of the time to other writers."""
    started_s = time.monotonic()
    with database.writing() as connection:
        yield connection
    time.sleep(max(_PAUSE_S, time.monotonic() - started_s))

"""What is removed with time: old events, then pictures that no event refers to any more."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, exists, select

from vision_event_block.server import schema
from vision_event_block.server.times import DAY_US, now_us
from vision_event_block.server.writing import CHUNK, erase_events, settle_verdicts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from vision_event_block.server.database import Database
    from vision_event_block.server.fields import Fields
    from vision_event_block.server.pictures import Pictures
    from vision_event_block.server.times import Clock

#: How long a picture may wait for the event that refers to it, and stays after the last one did.
IDLE_DAYS: Final = 1.0
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


def sweep_pictures(database: Database, pictures: Pictures, clock: Clock) -> int:
    """Removes pictures that no event has referred to for IDLE_DAYS; returns how many."""
    table, uses = schema.pictures, schema.picture_uses.c
    before_us = now_us(clock) - int(IDLE_DAYS * DAY_US)
    idle = (
        select(table.c.id, table.c.media_type)
        .where(
            table.c.idle_since_us < before_us,
            ~exists().where(uses.picture_id == table.c.id),
        )
        .order_by(table.c.idle_since_us)
        .limit(CHUNK)
    )
    swept = 0
    while True:
        with _step(database) as connection:
            found = connection.execute(idle).all()
            # The files first: were the process killed now, the rows would lead here again.
            for row in found:
                pictures.remove_files(row.id, row.media_type)
            connection.execute(delete(table).where(table.c.id.in_([row.id for row in found])))
        swept += len(found)
        if len(found) < CHUNK:
            return swept


@contextmanager
def _step(database: Database) -> Iterator[Connection]:
    """A transaction, and then as long a pause, which leaves half of the time to other writers."""
    started_s = time.monotonic()
    with database.writing() as connection:
        yield connection
    time.sleep(max(_PAUSE_S, time.monotonic() - started_s))

"""Deletes events that are too old or were chosen, and pictures without an event."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, delete, exists, or_, select, true, update

from vision_event_block.server.store import schema
from vision_event_block.server.store.blocks import due_to_seal, is_sealed, seal
from vision_event_block.server.store.facets import RESULT, storable
from vision_event_block.server.store.keep_rules import ages_of
from vision_event_block.server.store.timestamps import DAY_US, HOUR_US, now_us
from vision_event_block.server.store.use_cases import number_of
from vision_event_block.server.store.writing import (
    CHUNK,
    IS_PINNED,
    erase_events,
    settle_verdicts,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection

    from vision_event_block.server.store.database import Database
    from vision_event_block.server.store.fields import Fields
    from vision_event_block.server.store.keep_rules import KeepRule
    from vision_event_block.server.store.timestamps import Clock

    #: Removes the bytes of pictures, given their media types by id.
    RemoveBytes = Callable[[Mapping[str, str]], None]

#: How long a picture may wait for its first event, and how long it stays after its last one.
IDLE_DAYS: Final = 1.0
#: The same when uploads without events exceed their limit.
UPLOAD_HOURS: Final = 1
#: Idle since then: pictures of deleted events, so that the next clean-up removes them.
LONG_AGO_US: Final = 0
#: Pictures removed per step while a client waits.
_CHOSEN_CHUNK: Final = 500
#: The least pause between two steps: locks are not fair, so waiting writers need a chance.
PAUSE_S: Final = 0.02

#: The condition that a row of `events` is still to be forwarded.
WAITS: Final = exists().where(schema.forwarding.c.event_id == schema.events.c.event_id)
_subjects = schema.events.alias()
#: Feedback is deleted with the event that it is about, whatever its own age.
_IS_ABOUT_ONE_HERE: Final = exists().where(_subjects.c.event_id == schema.events.c.subject_id)
MAY_GO: Final = and_(~WAITS, ~IS_PINNED, ~_IS_ABOUT_ONE_HERE)


def erase_due(database: Database, fields: Fields, rules: Sequence[KeepRule], clock: Clock) -> int:
    """Erases events that are older than the rules keep them; returns how many.

    Events that are pinned or wait to be forwarded stay, and so do their pictures.
    """
    use_cases = schema.use_cases.c
    with database.reading() as connection:
        known = connection.execute(select(use_cases.no, use_cases.id, use_cases.name)).all()
    now = now_us(clock)
    erased = 0
    for use_case in known:
        ages = ages_of(rules, (use_case.id, use_case.name))
        with database.reading() as connection:
            found = fields.find(connection, [(use_case.no, RESULT)])
        result_no = found.get((use_case.no, RESULT), 0)
        has = exists().where(
            schema.facets.c.event_no == schema.events.c.no, schema.facets.c.field_no == result_no
        )
        key = schema.facets.c.key
        named = key.in_([storable(result) for result in ages.by_result])
        due = [
            (has.where(key == storable(result)), days) for result, days in ages.by_result.items()
        ]
        for which, days in (*due, (~has.where(named), ages.others)):
            if days is not None:
                before_us = now - int(days * DAY_US)
                erased += _erase_before(
                    database, fields, use_case.no, before_us=before_us, which=which, now=now
                )
    return erased


def _erase_before(  # noqa: PLR0913 -- whose events, which, and until when
    database: Database,
    fields: Fields,
    use_case_no: int,
    *,
    before_us: int,
    which: ColumnElement[bool],
    now: int,
) -> int:
    events = schema.events.c
    erased, after = 0, None
    while True:
        # Found without blocking writers; events that stay are passed over once.
        with database.reading() as connection:
            rows = oldest_events(
                connection, use_case_no, after, CHUNK, events.time_us < before_us, which
            )
        if not rows:
            return erased
        with step(database) as connection:
            erased += erase_and_settle(connection, rows, fields, idle_since_us=now)
        if len(rows) < CHUNK:
            return erased
        after = (rows[-1].time_us, rows[-1].event_id)


def oldest_events(
    connection: Connection,
    use_case_no: int,
    after: tuple[int, str] | None,
    at_most: int,
    *which: ColumnElement[bool],
) -> Sequence[Any]:
    """The oldest events of a use case that may be deleted."""
    events = schema.events.c
    later = []
    if after is not None:
        later = [
            events.time_us >= after[0],
            or_(events.time_us > after[0], events.event_id > after[1]),
        ]
    query = (
        select(events.no, events.use_case_no, events.time_us, events.event_id)
        .where(events.use_case_no == use_case_no, *later, *which, MAY_GO)
        .order_by(events.time_us, events.event_id)
        .limit(at_most)
    )
    return connection.execute(query).all()


def erase_and_settle(
    connection: Connection, found: Sequence[Any], fields: Fields, *, idle_since_us: int
) -> int:
    """Erases the given oldest events, if they still may go, and the feedback about them.

    Returns how many were erased, feedback included.
    """
    events = schema.events.c
    # Meanwhile another event may have got the number of the newest one.
    meant = {(row.no, row.event_id, row.time_us) for row in found}
    query = select(events.no, events.event_id, events.time_us).where(
        events.no.in_([row.no for row in found]), MAY_GO
    )
    rows = [row for row in connection.execute(query) if tuple(row) in meant]
    erased = Erased()
    may_go = (~WAITS, ~IS_PINNED)
    _erase(connection, rows, fields, erased, *may_go, idle_since_us=idle_since_us)
    return len(erased.event_ids) + len(erased.feedback_ids)


@dataclass
class Erased:
    """The ids of the erased events, and of the pictures that they showed."""

    event_ids: list[str] = field(default_factory=list)
    feedback_ids: list[str] = field(default_factory=list)
    picture_ids: set[str] = field(default_factory=set)


def _erase(
    connection: Connection,
    rows: Sequence[Any],
    fields: Fields,
    erased: Erased,
    *which: ColumnElement[bool],
    idle_since_us: int,
) -> None:
    """Erases events, and the feedback about them that meets the conditions."""
    events = schema.events.c
    ids = {row.event_id for row in rows}
    feedback = select(events.no, events.event_id).where(events.subject_id.in_(ids), *which)
    subject_ids: set[str] = set()
    about, said = rows, erased.event_ids
    while about:
        numbers = [row.no for row in about]
        subjects, pictures = erase_events(connection, numbers, idle_since_us=idle_since_us)
        subject_ids |= subjects
        erased.picture_ids |= pictures
        said += [row.event_id for row in about]
        about, said = connection.execute(feedback.limit(CHUNK)).all(), erased.feedback_ids
    settle_verdicts(connection, subject_ids - ids, fields)


def erase_chosen(
    database: Database, fields: Fields, use_case_id: str, event_ids: Sequence[str]
) -> Erased:
    """Erases these events of a use case, and all feedback about them.

    The next clean-up removes their pictures, unless other events show them. It works in small
    steps: if one fails, the steps before it remain done.
    """
    events = schema.events.c
    erased = Erased()
    with database.reading() as connection:
        use_case_no = number_of(connection, use_case_id)
    for start in range(0, len(event_ids), CHUNK):
        # By id alone: with the use case, SQLite would walk over all of its events.
        chosen = select(events.no, events.event_id, events.use_case_no).where(
            events.event_id.in_(event_ids[start : start + CHUNK])
        )
        with step(database, max_pause_s=PAUSE_S) as connection:
            found = connection.execute(chosen)
            rows = [row for row in found if row.use_case_no == use_case_no]
            _erase(connection, rows, fields, erased, idle_since_us=LONG_AGO_US)
    return erased


def settle_forwarding(database: Database, outbox: str, waiting: Callable[[], set[str]]) -> None:
    """Deletes the records of outbox entries that are no longer in the outbox.

    An entry is in the outbox before it is in the database, so `waiting` is called last.
    """
    table = schema.forwarding
    with database.reading() as connection:
        noted = connection.execute(select(table.c.entry).where(table.c.outbox == outbox)).scalars()
        known = list(noted)
    there = waiting() if known else set()
    gone = [entry for entry in known if entry not in there]
    for start in range(0, len(gone), CHUNK):
        with step(database) as connection:
            chosen = table.c.entry.in_(gone[start : start + CHUNK])
            connection.execute(delete(table).where(table.c.outbox == outbox, chosen))


def seal_blocks(database: Database) -> None:
    """Seals what an earlier version left unsealed, one block or part at a time."""
    with database.reading() as connection:
        due = due_to_seal(connection)
    for no in due:
        with step(database) as connection:
            # Another server on this database may have sealed it.
            if not is_sealed(connection, no):
                seal(connection, no)


def sweep_pictures(database: Database, remove_bytes: RemoveBytes, clock: Clock) -> int:
    """Removes pictures that no event has referred to for IDLE_DAYS; returns how many."""
    return _sweep(database, remove_bytes, now_us(clock) - int(IDLE_DAYS * DAY_US), true())


def sweep_uploads(database: Database, remove_bytes: RemoveBytes, clock: Clock) -> int:
    """Removes uploads older than an hour that no event ever referred to; returns how many.

    For when there are too many: nearly all clients create an event seconds after its pictures.
    """
    is_upload = schema.pictures.c.idle_since_us.in_(
        (schema.pictures.c.uploaded_us, schema.REMOVING)
    )
    return _sweep(database, remove_bytes, now_us(clock) - UPLOAD_HOURS * HOUR_US, is_upload)


def sweep_chosen(
    database: Database, remove_bytes: RemoveBytes, picture_ids: Collection[str]
) -> int:
    """Removes the given pictures that no event refers to; returns how many."""
    ordered = sorted(picture_ids)
    return sum(
        _remove(
            database,
            remove_bytes,
            schema.pictures.c.id.in_(ordered[start : start + _CHOSEN_CHUNK]),
            at_most=_CHOSEN_CHUNK,
            max_pause_s=PAUSE_S,
        )
        for start in range(0, len(ordered), _CHOSEN_CHUNK)
    )


def _sweep(
    database: Database, remove_bytes: RemoveBytes, before_us: int, which: ColumnElement[bool]
) -> int:
    is_due = and_(schema.pictures.c.idle_since_us < before_us, which)
    swept = 0
    while True:
        count = _remove(database, remove_bytes, is_due, at_most=CHUNK)
        swept += count
        if count < CHUNK:
            return swept


def _remove(
    database: Database,
    remove_bytes: RemoveBytes,
    which: ColumnElement[bool],
    *,
    at_most: int,
    max_pause_s: float = math.inf,
) -> int:
    # If the process is killed after any step, the rows lead here again. Bytes are removed outside
    # the transactions: it may be slow, and they may be on another machine.
    table = schema.pictures
    with step(database, max_pause_s=max_pause_s) as connection:
        media_types = _taken(connection, which, at_most)
    if media_types:
        remove_bytes(media_types)
        with step(database, max_pause_s=max_pause_s) as connection:
            connection.execute(
                delete(table).where(
                    table.c.id.in_(sorted(media_types)), table.c.idle_since_us == schema.REMOVING
                )
            )
    return len(media_types)


def _taken(connection: Connection, which: ColumnElement[bool], at_most: int) -> dict[str, str]:
    """Marks the longest idle pictures as REMOVING; returns their media types by id."""
    table, uses = schema.pictures, schema.picture_uses.c
    unused = ~exists().where(uses.picture_id == table.c.id)
    idle = (
        select(table.c.id, table.c.media_type)
        .where(
            table.c.idle_since_us.is_not(None),
            which,
            or_(table.c.idle_since_us == schema.REMOVING, unused),
        )
        .order_by(table.c.idle_since_us)
        .limit(at_most)
    )
    found = {row.id: row.media_type for row in connection.execute(idle)}
    connection.execute(
        update(table).where(table.c.id.in_(sorted(found))).values(idle_since_us=schema.REMOVING)
    )
    return found


@contextmanager
def step(database: Database, *, max_pause_s: float = math.inf) -> Iterator[Connection]:
    """A transaction, then a pause of the same length, which leaves other writers half of the time.

    `max_pause_s` shortens the pause where a client waits.
    """
    started_s = time.monotonic()
    with database.writing() as connection:
        yield connection
    time.sleep(min(max_pause_s, max(PAUSE_S, time.monotonic() - started_s)))

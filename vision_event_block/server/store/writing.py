"""Writes, replaces and erases all rows of events."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    bindparam,
    case,
    delete,
    exists,
    false,
    func,
    insert,
    or_,
    select,
    update,
)

from vision_event_block.server.store import schema
from vision_event_block.server.store.blocks import last_number, seal_filled, strike_out
from vision_event_block.server.store.errors import NoSuchUseCase
from vision_event_block.server.store.facets import (
    FEEDBACK,
    PINNED,
    Facet,
    facets_of,
    pictures_of,
    verdict_of,
)
from vision_event_block.server.store.fields import is_field
from vision_event_block.server.store.timestamps import microseconds
from vision_event_block.server.store.use_cases import number_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Connection

    from vision_event_block.server.store.fields import Fields, Numbers
    from vision_event_block.server.store.records import NewEvent

#: Events or ids per statement, well within the databases' limits whatever the events hold.
CHUNK: Final = 100
_PIN: Final = Facet(PINNED, "true")
#: The condition that a row of `events` is pinned.
IS_PINNED: Final = (
    select(schema.facets.c.event_no)
    .join(schema.fields, schema.fields.c.no == schema.facets.c.field_no)
    .where(schema.facets.c.event_no == schema.events.c.no, is_field(PINNED))
    .correlate(schema.events)
    .exists()
)


def put_events(
    connection: Connection, events: Sequence[NewEvent], fields: Fields, *, now_us: int
) -> Numbers:
    """Writes events, replacing any with the same ids; of two with the same id the last counts.

    Returns:
        The fields' numbers, to be remembered after the commit.

    Raises:
        NoSuchUseCase: an event belongs to a use case that does not exist.
    """
    latest = list({event.event_id: event for event in events}.values())
    numbers: Numbers = {}
    for start in range(0, len(latest), CHUNK):
        numbers |= _put_chunk(connection, latest[start : start + CHUNK], fields, now_us)
    return numbers


def erase_events(
    connection: Connection, numbers: Collection[int], *, idle_since_us: int
) -> tuple[set[str], set[str]]:
    """Removes every row of these events, of which there are at most CHUNK.

    Their pictures, unless other events refer to them, count as unused since `idle_since_us`.

    Returns:
        The ids of the events that erased feedback was about, whose verdicts are to be settled; and
        the ids of the pictures that the erased events showed.
    """
    if not numbers:
        return set(), set()
    events, uses = schema.events, schema.picture_uses
    erased = connection.execute(
        select(events.c.use_case_no, events.c.subject_id).where(events.c.no.in_(numbers))
    ).all()
    shown = select(uses.c.picture_id).where(uses.c.event_no.in_(numbers)).distinct()
    picture_ids = set(connection.execute(shown).scalars())
    idle = [{"picture": picture_id, "since": idle_since_us} for picture_id in sorted(picture_ids)]
    strike_out(connection, numbers)
    for table in (schema.bodies, schema.facets, uses):
        connection.execute(delete(table).where(table.c.event_no.in_(numbers)))
    connection.execute(delete(events).where(events.c.no.in_(numbers)))
    if idle:
        connection.execute(_LEAVE_IDLE, idle)
        connection.execute(_STILL_SHOWN, idle)
    _count_events(connection, Counter(row.use_case_no for row in erased), sign=-1)
    return {row.subject_id for row in erased if row.subject_id is not None}, picture_ids


def settle_verdicts(
    connection: Connection, subject_ids: Collection[str], fields: Fields
) -> Numbers:
    """Marks each of these events with the latest feedback about it, if both exist."""
    numbers: Numbers = {}
    ordered = sorted(subject_ids)
    for start in range(0, len(ordered), CHUNK):
        numbers |= _settle_chunk(connection, ordered[start : start + CHUNK], fields)
    return numbers


def pin_events(
    connection: Connection,
    use_case_id: str,
    event_ids: Collection[str],
    fields: Fields,
    *,
    on: bool,
) -> tuple[set[str], Numbers]:
    """Pins or unpins events of a use case; returns the ids of those that exist.

    A pin is a facet, so it is found like any other. An event that is written again keeps it.
    """
    events, facets = schema.events, schema.facets
    use_case_no = number_of(connection, use_case_id)
    # By id alone: with the use case, SQLite would walk over all of its events.
    found = connection.execute(
        select(events.c.no, events.c.event_id, events.c.time_us, events.c.use_case_no).where(
            events.c.event_id.in_(event_ids)
        )
    )
    rows = [row for row in found if row.use_case_no == use_case_no]
    if use_case_no is None or not rows:
        return set(), {}
    numbers = fields.find_or_make(connection, {(use_case_no, PINNED)})
    [field_no] = numbers.values()
    connection.execute(
        delete(facets).where(
            facets.c.event_no.in_([row.no for row in rows]), facets.c.field_no == field_no
        )
    )
    if on:
        added = [_PIN.row(row.no, field_no, row.time_us) for row in rows]
        connection.execute(insert(facets), added)
    _count_changes(connection, {use_case_no})
    return {row.event_id for row in rows}, numbers


def pinned_among(connection: Connection, event_ids: Collection[str]) -> set[str]:
    """The given events that are pinned; at most CHUNK ids."""
    found = connection.execute(
        select(schema.events.c.event_id).where(schema.events.c.event_id.in_(event_ids), IS_PINNED)
    )
    return set(found.scalars())


def _put_chunk(
    connection: Connection, chunk: Sequence[NewEvent], fields: Fields, now_us: int
) -> Numbers:
    table = schema.events
    use_cases = _use_case_numbers(connection, {event.use_case_id for event in chunk})
    ids = [event.event_id for event in chunk]
    existing = select(table.c.no).where(table.c.event_id.in_(ids))
    replaced = connection.execute(existing).scalars().all()
    pinned_ids = pinned_among(connection, ids) if replaced else set()
    subject_ids, _ = erase_events(connection, replaced, idle_since_us=now_us)

    last = last_number(connection)
    numbered = list(enumerate(chunk, start=last + 1))
    facets = {
        no: [*facets_of(event), *([_PIN] if event.event_id in pinned_ids else [])]
        for no, event in numbered
    }
    numbers = fields.find_or_make(
        connection,
        {
            (use_cases[event.use_case_id], facet.field)
            for no, event in numbered
            for facet in facets[no]
        },
    )
    connection.execute(
        insert(table),
        [_event_row(no, event, use_cases[event.use_case_id], now_us) for no, event in numbered],
    )
    connection.execute(insert(schema.bodies), [_body_row(no, event) for no, event in numbered])
    rows = []
    for no, event in numbered:
        use_case_no, time_us = use_cases[event.use_case_id], microseconds(event.timestamp)
        rows += [facet.row(no, numbers[use_case_no, facet.field], time_us) for facet in facets[no]]
    connection.execute(insert(schema.facets), rows)
    seal_filled(connection, last + 1, last + 1 + len(chunk))
    _use_pictures(connection, numbered)
    waiting = [
        {**event.waits_as._asdict(), "event_id": event.event_id}
        for event in chunk
        if event.waits_as is not None
    ]
    if waiting:
        connection.execute(insert(schema.forwarding), waiting)
    _count_events(connection, Counter(use_cases[event.use_case_id] for event in chunk), sign=1)

    subject_ids |= {event.event_id for event in chunk}
    subject_ids |= {verdict[0] for event in chunk if (verdict := verdict_of(event))}
    return numbers | settle_verdicts(connection, subject_ids, fields)


def _use_case_numbers(connection: Connection, ids: set[str]) -> dict[str, int]:
    table = schema.use_cases
    rows = connection.execute(select(table.c.id, table.c.no).where(table.c.id.in_(sorted(ids))))
    numbers = {row.id: row.no for row in rows}
    missing = sorted(ids - set(numbers))
    if missing:
        raise NoSuchUseCase(f"there is no use case {missing[0]!r}")
    return numbers


def _event_row(no: int, event: NewEvent, use_case_no: int, now_us: int) -> dict[str, Any]:
    subject_id, verdict = verdict_of(event) or (None, None)
    return {
        "no": no,
        "event_id": event.event_id,
        "use_case_no": use_case_no,
        "time_us": microseconds(event.timestamp),
        "received_us": now_us,
        "subject_id": subject_id,
        "verdict": verdict,
    }


def _body_row(no: int, event: NewEvent) -> dict[str, Any]:
    received = {
        key: value
        for key, value in event.received.items()
        if key not in event.body or event.body[key] != value
    }
    # ASCII only: JSON may contain text that UTF-8 and PostgreSQL cannot represent.
    return {
        "event_no": no,
        "event_type": event.event_type,
        "body": json.dumps(event.body, separators=(",", ":")),
        "received": json.dumps(received, separators=(",", ":")) if received else None,
        "warnings": json.dumps(event.warnings) if event.warnings else None,
    }


def _count_events(connection: Connection, counts: Counter[int], *, sign: int) -> None:
    table = schema.use_cases
    for use_case_no, count in sorted(counts.items()):
        connection.execute(
            update(table)
            .where(table.c.no == use_case_no)
            .values(event_count=table.c.event_count + sign * count, changes=table.c.changes + count)
        )


_LEAVE_IDLE: Final = (
    update(schema.pictures)
    .where(
        schema.pictures.c.id == bindparam("picture"),
        schema.pictures.c.idle_since_us.is_distinct_from(schema.REMOVING),
        ~exists().where(schema.picture_uses.c.picture_id == bindparam("picture")),
    )
    .values(idle_since_us=bindparam("since"), shown_us=None)
)
#: Other events still show it, perhaps older ones than those that were erased.
_STILL_SHOWN: Final = (
    update(schema.pictures)
    .where(
        schema.pictures.c.id == bindparam("picture"),
        exists().where(schema.picture_uses.c.picture_id == bindparam("picture")),
    )
    .values(
        shown_us=select(func.max(schema.events.c.time_us))
        .join(schema.picture_uses, schema.picture_uses.c.event_no == schema.events.c.no)
        .where(schema.picture_uses.c.picture_id == bindparam("picture"))
        .scalar_subquery()
    )
)
_is_going = schema.pictures.c.idle_since_us < 0  # REMOVING or SHEDDING
_shown_us = schema.pictures.c.shown_us
_time_us = bindparam("time", type_=BigInteger())
PUT_TO_USE: Final = (
    update(schema.pictures)
    .where(schema.pictures.c.id == bindparam("picture"))
    .values(
        idle_since_us=case((_is_going, schema.pictures.c.idle_since_us), else_=None),
        shown_us=case((_shown_us > _time_us, _shown_us), else_=_time_us),
        is_output=or_(
            bindparam("output", type_=Boolean()),
            func.coalesce(schema.pictures.c.is_output, false()),
        ),
    )
)


def _use_pictures(connection: Connection, numbered: Sequence[tuple[int, NewEvent]]) -> None:
    used = [
        (no, microseconds(event.timestamp), picture_id, is_output)
        for no, event in numbered
        for picture_id, is_output in sorted(pictures_of(event.as_it_came).items())
    ]
    if used:
        uses = [{"event_no": no, "picture_id": picture_id} for no, _, picture_id, _ in used]
        connection.execute(insert(schema.picture_uses), uses)
        put_to_use = [
            {"picture": picture_id, "time": time_us, "output": is_output}
            for _, time_us, picture_id, is_output in used
        ]
        connection.execute(PUT_TO_USE, put_to_use)


def _settle_chunk(connection: Connection, subject_ids: Sequence[str], fields: Fields) -> Numbers:
    events, facets = schema.events.c, schema.facets
    verdicts: dict[str, str] = {
        row.subject_id: row.verdict  # the last one of each subject wins
        for row in connection.execute(
            select(events.subject_id, events.verdict)
            .where(events.subject_id.in_(subject_ids))
            .order_by(events.time_us, events.event_id)
        )
    }
    subjects = connection.execute(
        select(events.no, events.event_id, events.use_case_no, events.time_us).where(
            events.event_id.in_(subject_ids)
        )
    ).all()
    judged = [subject for subject in subjects if subject.event_id in verdicts]
    numbers = fields.find_or_make(
        connection, {(subject.use_case_no, FEEDBACK) for subject in judged}
    )
    stale = fields.find(connection, {(subject.use_case_no, FEEDBACK) for subject in subjects})
    if stale:
        connection.execute(
            delete(facets).where(
                facets.c.event_no.in_([subject.no for subject in subjects]),
                facets.c.field_no.in_(sorted(stale.values())),
            )
        )
    if judged:
        connection.execute(
            insert(facets),
            [
                Facet(FEEDBACK, verdicts[subject.event_id]).row(
                    subject.no, numbers[subject.use_case_no, FEEDBACK], subject.time_us
                )
                for subject in judged
            ],
        )
        _count_changes(connection, {subject.use_case_no for subject in judged})
    return numbers


def _count_changes(connection: Connection, use_case_numbers: set[int]) -> None:
    table = schema.use_cases
    connection.execute(
        update(table)
        .where(table.c.no.in_(sorted(use_case_numbers)))
        .values(changes=table.c.changes + 1)
    )

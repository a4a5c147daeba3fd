"""A second copy of the facets, by field and in blocks of events, as arrays that count quickly.

`facets` finds few events among many. To count many, one row of `columns` holds one field's facets
for a block of consecutive events. A block is sealed once its last number has been given out, and so
is each part of it while the block fills. Events that are not sealed yet (the newest ones, and all
events from an earlier version until the first clean-up) are read from the facets instead, so counts
are the same either way.

Deleted events stay in the columns and are struck out in `blocks`; a block is removed with its last
event. Facets that are added to an event later (`facets.LATER`) are not in the columns.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from sqlalchemy import bindparam, delete, func, insert, literal_column, null, or_, select, update

from vision_event_block.server.store import schema
from vision_event_block.server.store.columns import BLOCK_EVENTS, TIME, Column, joined
from vision_event_block.server.store.facets import LATER
from vision_event_block.server.store.fields import is_field

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from sqlalchemy import Connection

    from vision_event_block.server.store.columns import Array

#: Reading facets is slow, so at most this many of the newest events are not in a sealed part.
PART_EVENTS: Final = 256
_PARTS: Final = BLOCK_EVENTS // PART_EVENTS
#: Blocks that are in memory at the same time.
_READ_BLOCKS: Final = 32
#: The `columns.field_no` of the row with the times of all events of the block.
_TIMES: Final = 0


@dataclass(frozen=True)
class Block:
    """Some fields of the events of a block or a part, numbered consecutively from `first_no`."""

    first_no: int
    #: By position; only valid where `is_there` is true.
    times_us: Array
    is_there: Array
    columns: dict[int, Column]


def blocks(
    connection: Connection,
    field_numbers: Collection[int],
    first_us: int,
    last_us: int,
    *,
    with_confidences: bool,
) -> Iterator[Block]:
    """All blocks that may hold events of a period, with the columns of these fields.

    Reading the confidences takes longer than everything else.
    """
    sealed = {
        row.no: row
        for row in connection.execute(
            select(schema.blocks.c.no, schema.blocks.c.first_us, schema.blocks.c.last_us)
        )
    }
    due = sorted(
        no
        for no, row in sealed.items()
        if no >= 0 and first_us <= row.last_us and row.first_us <= last_us
    )
    for start in range(0, len(due), _READ_BLOCKS):
        some = due[start : start + _READ_BLOCKS]
        yield from _sealed(connection, some, field_numbers, with_confidences=with_confidences)
    for no in unsealed(connection, sealed):
        yield _open(connection, no, field_numbers, with_confidences=with_confidences)


def unsealed(connection: Connection, sealed: Collection[int]) -> Iterator[int]:
    """The blocks, oldest first, that hold events and are not among the sealed ones."""
    events = schema.events.c
    no = 0
    while True:
        following = select(func.min(events.no)).where(events.no >= no * BLOCK_EVENTS)
        next_no = connection.execute(following).scalar()
        if next_no is None:
            return
        no = next_no // BLOCK_EVENTS
        if no not in sealed:
            yield no
            no += 1
        while no in sealed:
            no += 1


def last_number(connection: Connection) -> int:
    """The greatest number of an event or in a block or part that still exists."""
    number = schema.blocks.c.no
    greatest = (func.max(schema.events.c.no), func.max(number), func.min(number))
    last_event, last_block, last_part = connection.execute(
        select(*(select(each).scalar_subquery() for each in greatest))
    ).one()
    ends = (
        (last_event or 0) + 1,
        BLOCK_EVENTS * (-1 if last_block is None else last_block) + BLOCK_EVENTS,
        PART_EVENTS * -(last_part or 0),
    )
    return max(ends) - 1


def seal_filled(connection: Connection, first_no: int, next_no: int) -> None:
    """Seals what is full, now that `first_no` up to before `next_no` are given out."""
    for part in range(first_no // PART_EVENTS, next_no // PART_EVENTS):
        block_no, place = divmod(part, _PARTS)
        seal(connection, block_no if place == _PARTS - 1 else -1 - part)


def seal(connection: Connection, no: int) -> None:
    """Stores the columns of a block, or a part, to which no event will be added.

    A block replaces its parts.
    """
    if no < 0:
        first_no = _first_no(no)
        _keep(connection, no, _read(connection, first_no, first_no + PART_EVENTS, None))
        return
    block = _open(connection, no, None, with_confidences=True)
    for number in (schema.blocks.c.no, schema.columns.c.block_no):
        connection.execute(delete(number.table).where(number.in_(_parts_of(no))))
    _keep(connection, no, block)


def due_to_seal(connection: Connection) -> list[int]:
    """The numbers of full blocks and parts that an earlier version left unsealed."""
    sealed = set(connection.execute(select(schema.blocks.c.no)).scalars())
    next_no = last_number(connection) + 1
    open_no = next_no // BLOCK_EVENTS
    full = next_no // PART_EVENTS - open_no * _PARTS
    return [
        *(no for no in unsealed(connection, sealed) if no < open_no),
        *(no for no in _parts_of(open_no)[:full] if no not in sealed),
    ]


def is_sealed(connection: Connection, no: int) -> bool:
    """Whether a block is sealed, or a part is, by itself or as part of its block."""
    numbers = (no, _first_no(no) // BLOCK_EVENTS)
    query = select(schema.blocks.c.no).where(schema.blocks.c.no.in_(numbers)).limit(1)
    return connection.execute(query).first() is not None


def _first_no(no: int) -> int:
    """The number of the first event of a block or a part."""
    return no * BLOCK_EVENTS if no >= 0 else (-1 - no) * PART_EVENTS


def _parts_of(no: int) -> list[int]:
    """The numbers under which the parts of a block are stored."""
    return [-1 - part for part in range(no * _PARTS, (no + 1) * _PARTS)]


def _keep(connection: Connection, no: int, block: Block) -> None:
    if not block.is_there.any():
        return
    times = block.times_us[block.is_there]
    connection.execute(
        insert(schema.blocks).values(
            no=no,
            first_us=int(times.min()),
            last_us=int(times.max()),
            is_there=np.packbits(block.is_there).tobytes(),
        )
    )
    rows = [column.row(no, field_no) for field_no, column in sorted(block.columns.items())]
    # The times of all events are stored under a number that no field has.
    nothing = Column.of(np.zeros(0, TIME), (), (), (), ()).row(no, _TIMES)
    times_row = {**nothing, "numbers": block.times_us.tobytes()}
    connection.execute(insert(schema.columns), [*rows, times_row])


def strike_out(connection: Connection, event_numbers: Collection[int]) -> None:
    """Excludes deleted events from the sealed blocks and parts from now on."""
    positions = defaultdict(list)
    for number in event_numbers:
        positions[number // BLOCK_EVENTS].append(number % BLOCK_EVENTS)
        positions[-1 - number // PART_EVENTS].append(number % PART_EVENTS)
    table = schema.blocks
    found = connection.execute(
        select(table.c.no, table.c.is_there).where(table.c.no.in_(sorted(positions)))
    ).all()
    kept, emptied = [], []
    for row in found:
        is_there = _unpacked(row.is_there)
        is_there[positions[row.no]] = False
        if is_there.any():
            kept.append({"block": row.no, "left": np.packbits(is_there).tobytes()})
        else:
            emptied.append(row.no)
    if kept:
        connection.execute(_LEAVE, kept)
    for each in (table.c.no, schema.columns.c.block_no):
        if emptied:
            connection.execute(delete(each.table).where(each.in_(emptied)))


_LEAVE: Final = (
    update(schema.blocks)
    .where(schema.blocks.c.no == bindparam("block"))
    .values(is_there=bindparam("left"))
)


def _sealed(
    connection: Connection,
    numbers: Sequence[int],
    field_numbers: Collection[int] | None,
    *,
    with_confidences: bool,
) -> Iterator[Block]:
    """The given blocks and parts, as far as they exist; all fields if `field_numbers` is None."""
    table, columns = schema.blocks.c, schema.columns.c
    confidences = (columns.confidences, columns.least_confidences)
    unread = (null().label(column.name) for column in confidences)
    is_there = {
        row.no: _unpacked(row.is_there)
        for row in connection.execute(select(table.no, table.is_there).where(table.no.in_(numbers)))
    }
    found: defaultdict[int, dict[int, Column]] = defaultdict(dict)
    times = {}
    query = select(
        columns.field_no,
        columns.block_no,
        columns["keys"],
        columns.positions,
        columns.codes,
        columns.numbers,
        *(confidences if with_confidences else unread),
    ).where(columns.block_no.in_(numbers))
    if field_numbers is not None:
        query = query.where(columns.field_no.in_([_TIMES, *sorted(field_numbers)]))
    for row in connection.execute(query):
        if row.field_no == _TIMES:
            times[row.block_no] = np.frombuffer(row.numbers, TIME)
        else:
            found[row.block_no][row.field_no] = Column.of_row(row)
    for no, there in is_there.items():
        yield Block(_first_no(no), times[no], there, found[no])


def _open(
    connection: Connection,
    no: int,
    field_numbers: Collection[int] | None,
    *,
    with_confidences: bool,
) -> Block:
    """A block assembled from its sealed parts, and from the facets where there are none."""
    first_no = no * BLOCK_EVENTS
    pieces = list(
        _sealed(connection, _parts_of(no), field_numbers, with_confidences=with_confidences)
    )
    start_no = first_no
    for end_no in [*sorted(piece.first_no for piece in pieces), first_no + BLOCK_EVENTS]:
        if start_no < end_no:
            pieces.append(_read(connection, start_no, end_no, field_numbers))
        start_no = end_no + PART_EVENTS
    times_us = np.zeros(BLOCK_EVENTS, TIME)
    is_there = np.zeros(BLOCK_EVENTS, bool)
    columns: defaultdict[int, list[tuple[int, Column]]] = defaultdict(list)
    for piece in pieces:
        offset = piece.first_no - first_no
        place = slice(offset, offset + len(piece.times_us))
        times_us[place], is_there[place] = piece.times_us, piece.is_there
        for field_no, column in piece.columns.items():
            columns[field_no].append((offset, column))
    whole = {field_no: joined(some) for field_no, some in columns.items()}
    return Block(first_no, times_us, is_there, whole)


def _read(
    connection: Connection, first_no: int, next_no: int, field_numbers: Collection[int] | None
) -> Block:
    """Reads events `first_no` up to before `next_no` from the facets; None for all fields."""
    facets = schema.facets.c
    query = select(
        facets.event_no,
        facets.field_no,
        facets.key,
        facets.number,
        facets.confidence,
        facets.least_confidence,
        facets.time_us,
    ).where(facets.event_no.between(first_no, next_no - 1))
    if field_numbers is None:
        later = select(schema.fields.c.no).where(or_(*map(is_field, LATER)))
        query = query.where(facets.field_no.not_in(later))
    else:
        # Keeps SQLite from looking up by field, which would read the field's facets of all events.
        query = query.where((facets.field_no + literal_column("0")).in_(sorted(field_numbers)))
    by_field: defaultdict[int, list[Any]] = defaultdict(list)
    for row in connection.execute(query).all():
        by_field[row[1]].append(row)
    times_us = np.zeros(next_no - first_no, TIME)
    is_there = np.zeros(next_no - first_no, bool)
    columns = {}
    for field_no, rows in by_field.items():
        numbers, _, *values, moments = zip(*rows, strict=True)
        column = columns[field_no] = Column.of(np.array(numbers, TIME) - first_no, *values)
        times_us[column.positions] = moments
        is_there[column.positions] = True
    return Block(first_no, times_us, is_there, columns)


def _unpacked(bits: bytes) -> Array:
    return np.unpackbits(np.frombuffer(bits, np.uint8)).astype(bool)

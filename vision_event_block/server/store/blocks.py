"""The facets once more, by field and in blocks of events, as arrays that are quick to count.

`facets` finds few events among many. To count many, each field's facets of a block of consecutive
events lie together as one row of `columns`: which events have one, and which. A block is sealed
once its last number is given out. What is not sealed (the newest events, and all of a database
that an earlier version wrote, until the clean-up was there) is read from the facets instead, so
that counts are the same either way.

Deleted events stay in the columns and are struck out in `blocks`; a block goes with its last one.
What is said about an event later (`facets.LATER`) is not in here.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from sqlalchemy import bindparam, delete, func, insert, literal_column, null, or_, select, update

from vision_event_block.server.store import schema
from vision_event_block.server.store.facets import LATER

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    import numpy.typing as npt
    from sqlalchemy import Connection

    Array = npt.NDArray[Any]

BLOCK_EVENTS: Final = 4096
#: Blocks that are in memory together.
_READ_BLOCKS: Final = 32
#: As they are kept, on whatever machine.
_POSITION, _CODE, _TIME, _FLOAT = map(np.dtype, ("<u2", "<u4", "<i8", "<f8"))
#: In `columns.field_no`: the times of all events of the block.
_TIMES: Final = 0


@dataclass(frozen=True)
class Column:
    """The facets of one field in one block; an event may have several."""

    #: Of the event within the block.
    positions: Array
    #: Into `keys`.
    codes: Array
    keys: Sequence[str]
    #: Those below are NaN, or None as a whole, where there are none.
    numbers: Array | None
    confidences: Array | None
    least_confidences: Array | None

    def with_key(self, is_wanted: Callable[[str], bool]) -> Array:
        """Which of the facets have a key like that."""
        wanted: Array = np.fromiter(map(is_wanted, self.keys), bool, len(self.keys))[self.codes]
        return wanted

    def with_value(self, name: str, compare: Callable[[Any, Any], Any], value: float) -> Array:
        """Which of the facets have a number, or a confidence, that compares so."""
        values = getattr(self, name)
        if values is None:
            return np.zeros(len(self.positions), bool)
        found: Array = compare(values, value)
        return found

    def of_events(self, chosen: Array) -> Array:
        """By position in the block: which events have one of the chosen facets."""
        mask = np.zeros(BLOCK_EVENTS, bool)
        mask[self.positions[chosen]] = True
        return mask


@dataclass(frozen=True)
class Block:
    """Some fields of BLOCK_EVENTS events with consecutive numbers, from `first_no`."""

    first_no: int
    #: By position. Only those of events that are there are meant.
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

    Reading the confidences takes longer than all the rest.
    """
    sealed = {
        row.no: row
        for row in connection.execute(
            select(schema.blocks.c.no, schema.blocks.c.first_us, schema.blocks.c.last_us)
        )
    }
    due = [no for no, row in sealed.items() if first_us <= row.last_us and row.first_us <= last_us]
    due.sort()
    for start in range(0, len(due), _READ_BLOCKS):
        some = due[start : start + _READ_BLOCKS]
        yield from _sealed(connection, some, field_numbers, with_confidences=with_confidences)
    for no in unsealed(connection, sealed):
        yield _unsealed(connection, no, field_numbers)


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
    """The greatest number that an event has, or had while its block is there."""
    last_event: int = connection.execute(select(func.max(schema.events.c.no))).scalar() or 0
    last_block: int | None = connection.execute(select(func.max(schema.blocks.c.no))).scalar()
    if last_block is None:
        return last_event
    return max(last_event, (last_block + 1) * BLOCK_EVENTS - 1)


def seal(connection: Connection, no: int) -> None:
    """Keeps the columns of a block to which no event will be added."""
    block = _unsealed(connection, no, None)
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
    rows = [_row(no, field_no, column) for field_no, column in sorted(block.columns.items())]
    connection.execute(insert(schema.columns), [*rows, _times_row(no, block.times_us)])


def strike_out(connection: Connection, event_numbers: Collection[int]) -> None:
    """Leaves events that are deleted out of the sealed blocks from now on."""
    positions = defaultdict(list)
    for number in event_numbers:
        positions[number // BLOCK_EVENTS].append(number % BLOCK_EVENTS)
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
    field_numbers: Collection[int],
    *,
    with_confidences: bool,
) -> Iterator[Block]:
    table, columns = schema.blocks.c, schema.columns.c
    confidences = (columns.confidences, columns.least_confidences)
    unread = (null().label(column.name) for column in confidences)
    is_there = {
        row.no: _unpacked(row.is_there)
        for row in connection.execute(select(table.no, table.is_there).where(table.no.in_(numbers)))
    }
    found: defaultdict[int, dict[int, Column]] = defaultdict(dict)
    times = {}
    rows = connection.execute(
        select(
            columns.field_no,
            columns.block_no,
            columns["keys"],
            columns.positions,
            columns.codes,
            columns.numbers,
            *(confidences if with_confidences else unread),
        ).where(
            columns.field_no.in_([_TIMES, *sorted(field_numbers)]), columns.block_no.in_(numbers)
        )
    )
    for row in rows:
        if row.field_no == _TIMES:
            times[row.block_no] = np.frombuffer(row.numbers, _TIME)
        else:
            found[row.block_no][row.field_no] = _column_of(row)
    for no in numbers:
        yield Block(no * BLOCK_EVENTS, times[no], is_there[no], found[no])


def _unsealed(connection: Connection, no: int, field_numbers: Collection[int] | None) -> Block:
    """A block as its facets say; with all of its fields, if none are given."""
    facets, fields = schema.facets.c, schema.fields.c
    first_no = no * BLOCK_EVENTS
    query = select(
        facets.event_no,
        facets.field_no,
        facets.key,
        facets.number,
        facets.confidence,
        facets.least_confidence,
        facets.time_us,
    ).where(facets.event_no.between(first_no, first_no + BLOCK_EVENTS - 1))
    if field_numbers is None:
        later = select(fields.no).where(
            or_(*(((fields.part == each.part) & (fields.name == each.name)) for each in LATER))
        )
        query = query.where(facets.field_no.not_in(later))
    else:
        # Not looked up by the field: SQLite would read all of its facets, of whatever event.
        query = query.where((facets.field_no + literal_column("0")).in_(sorted(field_numbers)))
    by_field: defaultdict[int, list[Any]] = defaultdict(list)
    for row in connection.execute(query).all():
        by_field[row[1]].append(row)
    times_us = np.zeros(BLOCK_EVENTS, _TIME)
    is_there = np.zeros(BLOCK_EVENTS, bool)
    columns = {}
    for field_no, rows in by_field.items():
        numbers, _, keys, values, confidences, least, moments = zip(*rows, strict=True)
        positions = (np.array(numbers, _TIME) - first_no).astype(_POSITION)
        times_us[positions] = moments
        is_there[positions] = True
        codes: dict[str, int] = {}
        numbered = [codes.setdefault(key, len(codes)) for key in keys]
        columns[field_no] = Column(
            positions,
            np.array(numbered, _CODE),
            tuple(codes),
            *map(_floats, (values, confidences, least)),
        )
    return Block(first_no, times_us, is_there, columns)


def _floats(values: Sequence[float | None]) -> Array | None:
    return None if all(value is None for value in values) else np.array(values, _FLOAT)


def _unpacked(bits: bytes) -> Array:
    return np.unpackbits(np.frombuffer(bits, np.uint8)).astype(bool)


def _row(no: int, field_no: int, column: Column) -> dict[str, Any]:
    values = (column.numbers, column.confidences, column.least_confidences)
    numbers, confidences, least = (None if array is None else array.tobytes() for array in values)
    return {
        "field_no": field_no,
        "block_no": no,
        "keys": json.dumps(column.keys, separators=(",", ":")),
        "positions": column.positions.tobytes(),
        "codes": column.codes.tobytes(),
        "numbers": numbers,
        "confidences": confidences,
        "least_confidences": least,
    }


def _times_row(no: int, times_us: Array) -> dict[str, Any]:
    nothing = {"keys": "[]", "positions": b"", "codes": b""}
    absent = {"confidences": None, "least_confidences": None}
    return {"field_no": _TIMES, "block_no": no, **nothing, "numbers": times_us.tobytes(), **absent}


def _column_of(row: Any) -> Column:
    return Column(
        np.frombuffer(row.positions, _POSITION),
        np.frombuffer(row.codes, _CODE),
        json.loads(row.keys),
        *(
            None if blob is None else np.frombuffer(blob, _FLOAT)
            for blob in (row.numbers, row.confidences, row.least_confidences)
        ),
    )

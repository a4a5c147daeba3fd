"""Exact counts of events, in total or by period and by field value, for any filters.

Charts, the bar of hours and everything else that counts many events use this.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final

import numpy as np
from sqlalchemy import select

from vision_event_block.server.store import schema
from vision_event_block.server.store.blocks import blocks
from vision_event_block.server.store.columns import BLOCK_EVENTS
from vision_event_block.server.store.conditions import clauses_of
from vision_event_block.server.store.errors import BadQuery
from vision_event_block.server.store.facets import EVENT_TYPE, LATER
from vision_event_block.server.store.search import count_if_few
from vision_event_block.server.store.timestamps import MAX_TIME_US, microseconds
from vision_event_block.server.store.use_cases import number_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection

    from vision_event_block.server.store.blocks import Block
    from vision_event_block.server.store.columns import Array, Column
    from vision_event_block.server.store.conditions import Clause
    from vision_event_block.server.store.facets import Field
    from vision_event_block.server.store.fields import Fields
    from vision_event_block.server.store.filters import Filters

#: The most different values to count by; with more, there is nothing to compare.
MAX_VALUES: Final = 10_000


@dataclass(frozen=True)
class Counts:
    """How many events there were in each period."""

    events: tuple[int, ...]
    #: By the given names and by value: how many events have the value in each period.
    by: Mapping[str, Mapping[str, tuple[int, ...]]]


def counted(  # noqa: PLR0913 -- what, when, and by what
    connection: Connection,
    filters: Filters,
    fields: Fields,
    *,
    edges_us: Sequence[int],
    by: Mapping[str, Sequence[Field]],
    since_us: int | None,
) -> Counts:
    """Counts the matching events.

    Args:
        connection: A connection for reading.
        filters: Which events to count.
        fields: Looks up the fields' numbers.
        edges_us: Where the periods begin, and where the last one ends.
        by: Under any names, the fields to count by; the values of one name's fields are merged.
        since_us: Events before this time are hidden.

    Raises:
        BadQuery: a field has more than MAX_VALUES values.
    """
    tallies = {name: _Tally(len(edges_us) - 1) for name in by}
    totals = np.zeros(len(edges_us) - 1, np.int64)
    edges = np.array(edges_us, np.int64)
    first_us = edges_us[0] if since_us is None else max(edges_us[0], since_us)
    split = list(chain(*by.values()))
    period_us = (first_us, edges_us[-1] - 1)
    for block, chosen, numbers in _matches(connection, filters, fields, period_us, split):
        periods = np.searchsorted(edges, block.times_us, "right") - 1
        totals += np.bincount(periods[chosen], minlength=len(totals))
        for name, field in ((name, field) for name, split in by.items() for field in split):
            if (column := block.columns.get(numbers.get(field, -1))) is not None:
                tallies[name].add(column, chosen, periods)
    return Counts(tuple(totals.tolist()), {name: tally.counts() for name, tally in tallies.items()})


def count_up_to(
    connection: Connection,
    filters: Filters,
    fields: Fields,
    *,
    since_us: int | None,
    at_most: int,
) -> int:
    """How many events match; `at_most` if there are that many or more."""
    few = count_if_few(connection, filters, fields, since_us=since_us)
    if few is not None:
        return min(few, at_most)
    found = 0
    period_us = (-MAX_TIME_US if since_us is None else since_us, MAX_TIME_US)
    for _, chosen, _ in _matches(connection, filters, fields, period_us, ()):
        found += int(np.count_nonzero(chosen))
        if found >= at_most:
            return at_most
    return found


def _matches(
    connection: Connection,
    filters: Filters,
    fields: Fields,
    period_us: tuple[int, int],
    split: Sequence[Field],
) -> Iterator[tuple[Block, Array, dict[Field, int]]]:
    """The blocks with matching events, a mask of those events, and the fields' numbers."""
    use_case_no = number_of(connection, filters.use_case_id)
    clauses = list(clauses_of(filters))
    wanted = [EVENT_TYPE, *split, *(clause.field for clause in clauses)]
    numbers = {
        field: number
        for (_, field), number in fields.find(
            connection, [] if use_case_no is None else [(use_case_no, each) for each in wanted]
        ).items()
    }
    first_us, last_us = period_us
    if filters.start is not None:
        first_us = max(first_us, microseconds(filters.start))
    if filters.end is not None:
        last_us = min(last_us, microseconds(filters.end))
    is_within = schema.facets.c.time_us.between(first_us, last_us)
    sieves = [
        _Sieve(connection, clause, numbers.get(clause.field), is_within) for clause in clauses
    ]
    is_vain = any(sieve.field_no is None and not sieve.clause.is_negated for sieve in sieves)
    if EVENT_TYPE not in numbers or is_vain:
        return
    is_sure = any(each.confidence is not None for each in filters.detections)
    found = blocks(connection, set(numbers.values()), first_us, last_us, with_confidences=is_sure)
    for block in found:
        every = block.columns.get(numbers[EVENT_TYPE])
        if every is None:
            continue
        times = block.times_us
        chosen = every.of_events(np.ones(len(every.positions), bool)) & block.is_there
        chosen &= (times >= first_us) & (times <= last_us)
        for sieve in sieves:
            if sieve.field_no is not None:
                chosen &= sieve.met_in(block)
        if chosen.any():
            yield block, chosen, numbers


class _Sieve:
    """A clause, applied to whole blocks."""

    def __init__(
        self,
        connection: Connection,
        clause: Clause,
        field_no: int | None,
        is_within: ColumnElement[bool],
    ) -> None:
        """Lookups in the facets are limited to `is_within`."""
        self.clause = clause
        self.field_no = field_no
        self._connection = connection
        self._is_within = is_within
        self._looked_up: Array | None = None

    def met_in(self, block: Block) -> Array:
        """Which events meet the clause, as a mask by position."""
        column = block.columns.get(self.field_no or -1)
        if self.clause.field in LATER:
            mask = self._in_facets(block.first_no)
        elif column is None:
            mask = np.zeros(BLOCK_EVENTS, bool)
        else:
            found = self.clause.sieve(column)
            mask = self._in_facets(block.first_no) if found is None else column.of_events(found)
        return ~mask if self.clause.is_negated else mask

    def _in_facets(self, first_no: int) -> Array:
        """The same mask from the facets, for what the columns cannot tell; not negated."""
        if self._looked_up is None:
            facet = schema.facets.c
            query = select(facet.event_no).where(
                facet.field_no == self.field_no, self.clause.holds(facet), self._is_within
            )
            found = list(self._connection.execute(query).scalars())
            self._looked_up = np.sort(np.array(found, np.int64))
        start, end = np.searchsorted(self._looked_up, (first_no, first_no + BLOCK_EVENTS))
        mask = np.zeros(BLOCK_EVENTS, bool)
        mask[self._looked_up[start:end] - first_no] = True
        return mask


class _Tally:
    """Counts by value and period over any number of blocks."""

    def __init__(self, periods: int) -> None:
        self._numbers: dict[str, int] = {}
        self._counts = np.zeros((64, periods), np.int64)

    def add(self, column: Column, chosen: Array, periods: Array) -> None:
        of_chosen = chosen[column.positions]
        when = periods[column.positions[of_chosen]]
        if not len(when):
            return
        keys, codes = _values(column, of_chosen)
        first, width = when.min(), when.max() - when.min() + 1
        cells = np.bincount(codes * width + (when - first), minlength=len(keys) * width)
        by_key = cells.reshape(len(keys), width)
        used = np.flatnonzero(by_key.any(axis=1))
        known = self._numbers
        rows = [known.setdefault(keys[code], len(known)) for code in used.tolist()]
        if len(known) > MAX_VALUES:
            raise BadQuery(f"there are more than {MAX_VALUES:,} different values to count by")
        while len(self._counts) < len(known):
            self._counts = np.concatenate([self._counts, np.zeros_like(self._counts)])
        self._counts[rows, first : first + width] += by_key[used]

    def counts(self) -> dict[str, tuple[int, ...]]:
        rows = self._counts.tolist()
        return {key: tuple(rows[number]) for key, number in self._numbers.items()}


def _values(column: Column, chosen: Array) -> tuple[Sequence[str], Array]:
    """The different values as text, and for each chosen facet the index of its value."""
    if column.numbers is None:
        return column.keys, column.codes[chosen].astype(np.int64)
    numbers, compact = np.unique(column.numbers[chosen], return_inverse=True)
    return [number_text(number) for number in numbers.tolist()], compact


def number_text(number: float) -> str:
    """A number as a user would type it, in a form that parses back to the same number."""
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)

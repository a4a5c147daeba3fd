"""Which events match, in the order of time: a query plan through the indexes that stays short.

The events of a use case can be walked newest first, and so can those with one certain facet, and
both the other way round from a place on: for each, the other conditions are looked up, until a page
is full. That is quick unless matches are rare. So before, each condition is counted, but never
further than to a bound: one that few facets fulfil is fetched first, whatever its order, and what
it found is sorted.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, func, literal_column, or_, select

from vision_event_block.server.store import schema
from vision_event_block.server.store.conditions import clauses_of
from vision_event_block.server.store.errors import BadQuery
from vision_event_block.server.store.fields import keys_of
from vision_event_block.server.store.records import is_storable
from vision_event_block.server.store.schema import MAX_KEY_CHARS
from vision_event_block.server.store.timestamps import MAX_TIME_US, microseconds
from vision_event_block.server.store.use_cases import number_of

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Select

    from vision_event_block.server.store.conditions import Clause
    from vision_event_block.server.store.fields import Fields
    from vision_event_block.server.store.filters import Filters
    from vision_event_block.server.store.records import StoredEvent

#: So few are fetched and sorted at once rather than walked in order.
_FEW: Final = 10_000
#: With so few at hand, looking for fewer costs more than it saves.
_VERY_FEW: Final = 2_000
#: Of a field with so many different texts, all facets are read to find a part of a text.
_MANY_KEYS: Final = 256


@dataclass(frozen=True)
class Position:
    """A place in the order of events, before which everything is newer."""

    time_us: int
    event_id: str

    @classmethod
    def of(cls, event: StoredEvent) -> Position:
        return cls(microseconds(event.timestamp), event.event_id)

    def as_cursor(self) -> str:
        return base64.urlsafe_b64encode(json.dumps([self.time_us, self.event_id]).encode()).decode()

    @classmethod
    def of_cursor(cls, cursor: str) -> Position:
        """The place that a client handed back.

        Raises:
            BadQuery: the text was not made by `as_cursor`.
        """
        try:
            read = json.loads(base64.b64decode(cursor, altchars=b"-_", validate=True))
        except (ValueError, binascii.Error, RecursionError):
            read = None
        match read:
            case [bool(), _]:
                pass  # an integer to Python, and none to a database
            case [int(time_us), str(event_id)] if abs(time_us) < MAX_TIME_US and is_storable(
                event_id
            ):
                return cls(time_us, event_id)
        raise BadQuery("the cursor is not one that this server gave out; start without one")


@dataclass(frozen=True)
class _Sought:
    """A clause and the number of its field in the use case."""

    clause: Clause
    field_no: int
    #: All keys that fulfil it, where they had to be looked up and are not many.
    keys: tuple[str, ...] | None = None

    def is_fulfilled_by(self, facet: Any) -> ColumnElement[bool]:
        """The condition to find facets by."""
        if self.keys is not None:
            return and_(facet.field_no == self.field_no, facet.key.in_(self.keys))
        return and_(facet.field_no == self.field_no, self.clause.holds(facet))

    def is_met_by(self, event_no: Any) -> ColumnElement[bool]:
        """The condition to check events by."""
        facet = schema.facets.alias().c
        # Looked up by the event, never by a number: SQLite takes a guess, and may guess badly.
        numbers = ("number", "confidence", "least_confidence")
        row = SimpleNamespace(**{**dict(facet), **{name: facet[name] + 0.0 for name in numbers}})
        # A value and not EXISTS, which PostgreSQL may turn into a join over all facets.
        found = (
            select(facet.event_no)
            .where(
                facet.event_no == event_no,
                facet.field_no == self.field_no,
                self.clause.holds(row),
            )
            .limit(1)
            .scalar_subquery()
        )
        # PostgreSQL takes IS NULL for rare, and would sort all; of "unequal" it expects much.
        return func.coalesce(found, 0) != event_no if self.clause.is_negated else found.is_not(None)


def matching(  # noqa: PLR0913 -- what is asked, and where to begin and end
    connection: Connection,
    filters: Filters,
    fields: Fields,
    *,
    since_us: int | None,
    after: Position | None = None,
    before: Position | None = None,
    first: int | None = None,
) -> Select[Any] | None:
    """Selects `no`, `time_us` and `event_id` of what matches, newest first; None if nothing can.

    With `before` it is the other way round: what comes before that place, the nearest first.

    Args:
        connection: Used to look up fields and to count.
        filters: What is asked for.
        fields: Knows the fields' numbers.
        since_us: Everything before is hidden.
        after: Only what comes after this place.
        before: Only what comes before this place.
        first: So many are read at most; more may be selected.
    """
    use_case_no = number_of(connection, filters.use_case_id)
    sought = _sought(connection, use_case_no, filters, fields)
    if use_case_no is None or sought is None:
        return None
    period = _Period.of(filters, since_us, after, before)
    start, _ = _start(connection, use_case_no, sought, period)
    return _walk(use_case_no, start, [each for each in sought if each is not start], period, first)


def count_if_few(
    connection: Connection, filters: Filters, fields: Fields, *, since_us: int | None
) -> int | None:
    """How many match, if an index says that they are few; None if it does not."""
    use_case_no = number_of(connection, filters.use_case_id)
    sought = _sought(connection, use_case_no, filters, fields)
    if use_case_no is None or sought is None:
        return 0
    period = _Period.of(filters, since_us, None, None)
    start, fewest = _start(connection, use_case_no, sought, period)
    if fewest > _VERY_FEW:
        return None
    others = [each for each in sought if each is not start]
    selected = _walk(use_case_no, start, others, period, None).order_by(None)
    return _count(connection, selected, at_most=fewest)


def _sought(
    connection: Connection, use_case_no: int | None, filters: Filters, fields: Fields
) -> list[_Sought] | None:
    """What the filters ask for; None if nothing can match."""
    if use_case_no is None:
        return None
    clauses = list(clauses_of(filters))
    numbers = fields.find(connection, [(use_case_no, clause.field) for clause in clauses])
    fields.remember(numbers)
    sought = []
    for clause in clauses:
        field_no = numbers.get((use_case_no, clause.field))
        if field_no is not None:
            keys = _keys_containing(connection, field_no, clause.contained)
            sought.append(_Sought(clause, field_no, keys))
        elif not clause.is_negated:
            return None
    return sought


@dataclass(frozen=True)
class _Period:
    first_us: int | None
    last_us: int | None
    after: Position | None
    before: Position | None

    @classmethod
    def of(
        cls,
        filters: Filters,
        since_us: int | None,
        after: Position | None,
        before: Position | None,
    ) -> _Period:
        start_us, end_us = filters.bounds_us(since_us)
        firsts = [start_us, None if before is None else before.time_us]
        lasts = [end_us, None if after is None else after.time_us]
        return cls(
            max((each for each in firsts if each is not None), default=None),
            min((each for each in lasts if each is not None), default=None),
            after,
            before,
        )

    def holds(self, time_us: Any) -> list[ColumnElement[bool]]:
        """That a row's time lies in the period; the place within one time is left open."""
        conditions = []
        if self.first_us is not None:
            conditions.append(time_us >= self.first_us)
        if self.last_us is not None:
            conditions.append(time_us <= self.last_us)
        return conditions

    def is_beyond(self, time_us: Any, event_id: Any) -> list[ColumnElement[bool]]:
        """That a row lies beyond the places, of those whose time the period holds."""
        conditions: list[ColumnElement[bool]] = []
        if self.after is not None:
            conditions.append(or_(time_us < self.after.time_us, event_id < self.after.event_id))
        if self.before is not None:
            conditions.append(or_(time_us > self.before.time_us, event_id > self.before.event_id))
        return conditions

    def in_order(self, *columns: Any) -> list[Any]:
        return [each.desc() if self.before is None else each.asc() for each in columns]


def _keys_containing(
    connection: Connection, field_no: int, part: str | None
) -> tuple[str, ...] | None:
    """The keys with a part; None if no part is asked for, or the field has too many keys."""
    if part is None:
        return None
    keys = keys_of(connection, field_no, at_most=_MANY_KEYS)
    if len(keys) == _MANY_KEYS or any(len(key) == MAX_KEY_CHARS for key in keys):
        return None
    return tuple(key for key in keys if part in key)


def _start(
    connection: Connection, use_case_no: int, sought: list[_Sought], period: _Period
) -> tuple[_Sought | None, int]:
    """The condition to begin with, None to walk over all events of the use case; and how many.

    At most how many, that is: of _FEW or more, _FEW.
    """
    events, facet = schema.events.c, schema.facets.c
    starts = [each for each in sought if not each.clause.is_negated]
    in_period = select(events.no).where(
        events.use_case_no == use_case_no, *period.holds(events.time_us)
    )
    best, fewest = None, _count(connection, in_period, at_most=_FEW)
    for each in starts:
        if each.clause.is_ordered:
            found = select(facet.event_no).where(
                each.is_fulfilled_by(facet), *period.holds(facet.time_us)
            )
            count = _count(connection, found, at_most=fewest)
            # Of two long ways the narrower one is never worse.
            if count < fewest or best is None:
                best, fewest = each, count
    for each in starts:
        if not each.clause.is_ordered and fewest > _VERY_FEW:
            found = select(facet.event_no).where(each.is_fulfilled_by(facet))
            count = _count(connection, found, at_most=fewest)
            if count < fewest:
                best, fewest = each, count
    return best, fewest


def _count(connection: Connection, rows: Select[Any], *, at_most: int) -> int:
    bounded = rows.limit(at_most).subquery()
    return connection.execute(select(func.count()).select_from(bounded)).scalar_one()


def _walk(
    use_case_no: int,
    start: _Sought | None,
    others: list[_Sought],
    period: _Period,
    first: int | None,
) -> Select[Any]:
    events = schema.events.c
    if start is None:
        return (
            select(events.no, events.time_us, events.event_id)
            .where(
                events.use_case_no == use_case_no,
                *period.holds(events.time_us),
                *period.is_beyond(events.time_us, events.event_id),
                *(each.is_met_by(events.no) for each in others),
            )
            .order_by(*period.in_order(events.time_us, events.event_id))
        )
    facets = schema.facets.alias()
    facet = facets.c
    # Otherwise a planner may read all facets of a class in the order of time for those few.
    time_us = facet.time_us + literal_column("0") if start.clause.is_ranged else facet.time_us
    conditions = [
        start.is_fulfilled_by(facet),
        *period.holds(time_us),
        *(each.is_met_by(facet.event_no) for each in others),
    ]
    found = (
        select(events.no, time_us.label("time_us"), events.event_id)
        .select_from(facets.join(schema.events, events.no == facet.event_no))
        .where(*conditions, *period.is_beyond(time_us, events.event_id))
        .order_by(*period.in_order(time_us, events.event_id))
    )
    if first is not None and not start.clause.is_ordered:
        # What is fetched and sorted is first sorted by the index alone, without the events' ids.
        times = select(facet.event_no, time_us.label("time_us")).where(*conditions).distinct()
        if period.after is not None:
            times = times.where(time_us < period.after.time_us)
        if period.before is not None:
            times = times.where(time_us > period.before.time_us)
        times = times.order_by(*period.in_order(time_us)).limit(1).offset(first - 1)
        last_us = select(times.subquery().c.time_us).scalar_subquery()
        if period.before is None:
            found = found.where(time_us >= func.coalesce(last_us, -MAX_TIME_US))
        else:
            found = found.where(time_us <= func.coalesce(last_us, MAX_TIME_US))
    return found.distinct() if start.clause.may_repeat else found

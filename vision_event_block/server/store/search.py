"""Finds matching events in time order, with a query plan through the indexes that stays short.

The events of a use case can be walked newest first, and so can those with one given facet; both
also in reverse from a given place. The other conditions are looked up for each event, until a page
is full. That is quick unless matches are rare. So each condition is first counted, up to a bound:
if few facets meet one, these are fetched first, whatever their order, and the result is sorted.
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

#: Fewer matches than this are fetched and sorted rather than walked in order.
_FEW: Final = 10_000
#: With this few candidates, looking for a narrower condition costs more than it saves.
_VERY_FEW: Final = 2_000
#: If a field has this many different texts, `contains` reads all of its facets.
_MANY_KEYS: Final = 256


@dataclass(frozen=True)
class Position:
    """A place in the order of events, newest first."""

    time_us: int
    event_id: str

    @classmethod
    def of(cls, event: StoredEvent) -> Position:
        return cls(microseconds(event.timestamp), event.event_id)

    def as_cursor(self) -> str:
        return base64.urlsafe_b64encode(json.dumps([self.time_us, self.event_id]).encode()).decode()

    @classmethod
    def of_cursor(cls, cursor: str) -> Position:
        """Parses a cursor from a client.

        Raises:
            BadQuery: the text was not made by `as_cursor`.
        """
        try:
            read = json.loads(base64.b64decode(cursor, altchars=b"-_", validate=True))
        except (ValueError, binascii.Error, RecursionError):
            read = None
        match read:
            case [bool(), _]:
                pass  # an integer in Python, but not in a database
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
    #: All keys that meet it, if they had to be looked up and are few.
    keys: tuple[str, ...] | None = None

    def is_fulfilled_by(self, facet: Any) -> ColumnElement[bool]:
        """The condition to find facets by."""
        if self.keys is not None:
            return and_(facet.field_no == self.field_no, facet.key.in_(self.keys))
        return and_(facet.field_no == self.field_no, self.clause.holds(facet))

    def is_met_by(self, event_no: Any) -> ColumnElement[bool]:
        """The condition to check events by."""
        facet = schema.facets.alias().c
        # Adding 0.0 forces a lookup by event: SQLite might otherwise choose the index by number.
        numbers = ("number", "confidence", "least_confidence")
        row = SimpleNamespace(**{**dict(facet), **{name: facet[name] + 0.0 for name in numbers}})
        # A scalar subquery, since PostgreSQL may turn EXISTS into a join over all facets.
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
        # PostgreSQL expects IS NULL to be rare and would sort all events, but != to match many.
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
    """Selects `no`, `time_us` and `event_id` of matches, newest first; None if nothing can match.

    With `before` the order is reversed: the event nearest to that place comes first.

    Args:
        connection: Used to look up fields and to count.
        filters: Which events to find.
        fields: Looks up the fields' numbers.
        since_us: Events before this time are hidden.
        after: Only events after this place.
        before: Only events before this place.
        first: How many rows the caller reads at most; the query may select more.
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
    """How many events match, if an index shows that they are few; otherwise None."""
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
    """The filters' clauses with field numbers; None if nothing can match."""
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
        """The conditions that a row's time is in the period; see `is_beyond` for its place."""
        conditions = []
        if self.first_us is not None:
            conditions.append(time_us >= self.first_us)
        if self.last_us is not None:
            conditions.append(time_us <= self.last_us)
        return conditions

    def is_beyond(self, time_us: Any, event_id: Any) -> list[ColumnElement[bool]]:
        """The conditions that a row in the period is beyond `after` and `before`."""
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
    """The keys that contain a text; None if there is no text, or too many or cut-off keys."""
    if part is None:
        return None
    keys = keys_of(connection, field_no, at_most=_MANY_KEYS)
    if len(keys) == _MANY_KEYS or any(len(key) == MAX_KEY_CHARS for key in keys):
        return None
    return tuple(key for key in keys if part in key)


def _start(
    connection: Connection, use_case_no: int, sought: list[_Sought], period: _Period
) -> tuple[_Sought | None, int]:
    """The condition to start from and the number of its rows, counted up to _FEW.

    The condition is None to walk over all events of the use case.
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
            # If both have many rows, the condition is never worse than walking over all events.
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
    # Otherwise a planner may read all facets of a class in time order to find those few.
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
        # Finds the last time of the page from the facets alone, before events are joined.
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

"""The numbers by which facets refer to their fields."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, func, insert, select

from vision_event_block.server.store import schema
from vision_event_block.server.store.facets import Field

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Select

_table = schema.fields
#: Enough for any sane set of metadata keys; clients that keep inventing keys cost extra reads.
_MAX_REMEMBERED: Final = 50_000

#: Sorts after any other character.
_GREATEST: Final = chr(0x10FFFF)

Numbers = dict[tuple[int, Field], int]


class Fields:
    """Looks up field numbers. A number, once committed, never changes."""

    def __init__(self) -> None:
        #: Replaced as a whole, so that threads may read it without a lock.
        self._known: Numbers = {}

    def find(self, connection: Connection, wanted: Iterable[tuple[int, Field]]) -> Numbers:
        """The numbers of the wanted fields that exist, by use case number and field."""
        found = {}
        missing: dict[int, set[Field]] = {}
        for use_case_no, field in wanted:
            number = self._known.get((use_case_no, field))
            if number is None:
                missing.setdefault(use_case_no, set()).add(field)
            else:
                found[use_case_no, field] = number
        for use_case_no, fields in missing.items():
            found |= _read(connection, use_case_no, fields)
        return found

    def find_or_make(self, connection: Connection, wanted: set[tuple[int, Field]]) -> Numbers:
        """The numbers of all wanted fields; `remember` them only after the commit."""
        found = self.find(connection, wanted)
        missing = sorted(wanted - set(found), key=repr)
        if missing:
            last = connection.execute(select(func.max(_table.c.no))).scalar() or 0
            made = {key: last + 1 + index for index, key in enumerate(missing)}
            rows = [
                {"no": no, "use_case_no": use_case_no, **asdict(field)}
                for (use_case_no, field), no in made.items()
            ]
            connection.execute(insert(_table), rows)
            found |= made
        return found

    def remember(self, numbers: Mapping[tuple[int, Field], int]) -> None:
        """Caches numbers that are committed."""
        if not numbers.items() <= self._known.items():
            kept = self._known if len(self._known) < _MAX_REMEMBERED else {}
            self._known = {**kept, **numbers}


def is_field(field: Field) -> ColumnElement[bool]:
    """The condition that a row of `fields` is this field, in any use case."""
    row = _table.c
    return and_(row.part == field.part, row.name == field.name, row.type == field.type)


def keys_of(connection: Connection, field_no: int, *, at_most: int, prefix: str = "") -> list[str]:
    """The first keys of a field, in order."""
    key = schema.facets.c.key
    starts, ends = ([key >= prefix], [key < prefix + _GREATEST]) if prefix else ([], [])
    found = different(field_no, key, at_most, *ends, starts=starts)
    return list(connection.execute(found).scalars())


def numbers_of(connection: Connection, field_no: int, *, at_most: int) -> list[float]:
    """The lowest numbers of a field, in order."""
    number = schema.facets.c.number
    found = different(field_no, number, at_most, starts=[number.is_not(None)])
    return list(connection.execute(found).scalars())


def different(
    field_no: int, column: Any, at_most: int, *within: Any, starts: Sequence[Any] = ()
) -> Select[Any]:
    """Selects the first values of a column of the facets, each once, as `value`.

    It jumps from each value to the next greater one instead of reading all facets.
    """
    within = (schema.facets.c.field_no == field_no, *within)
    first = select(func.min(column).label("value")).where(*within, *starts)
    values = first.cte("different", recursive=True)
    # Without `starts`: given two lower bounds, SQLite may begin at the wrong one.
    following = select(func.min(column)).where(*within, column > values.c.value).scalar_subquery()
    values = values.union_all(select(following).where(values.c.value.is_not(None)))
    return select(values.c.value).where(values.c.value.is_not(None)).limit(at_most)


def _read(connection: Connection, use_case_no: int, fields: set[Field]) -> Numbers:
    rows = connection.execute(
        select(_table).where(
            _table.c.use_case_no == use_case_no,
            _table.c.name.in_(sorted({field.name for field in fields})),
        )
    )
    numbers = {(use_case_no, Field(row.part, row.name, row.type)): row.no for row in rows}
    return {key: no for key, no in numbers.items() if key[1] in fields}

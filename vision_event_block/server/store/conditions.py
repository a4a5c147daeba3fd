"""Filters as conditions on the facets of an event."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Boolean, ColumnElement, and_, func, or_, select, true
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from vision_event_block.server.store import schema
from vision_event_block.server.store.facets import (
    ANY_CLASS,
    CLASS,
    DEVICE_ID,
    EVENT_TYPE,
    EXTERNAL_ID,
    FEEDBACK,
    HAS_WARNINGS,
    IMAGE_COUNT,
    PINNED,
    STREAM_ID,
    WORKFLOW_ID,
    Field,
    storable,
    text_facet,
)
from vision_event_block.server.store.filters import FEEDBACK_STATES
from vision_event_block.server.store.schema import MAX_KEY_CHARS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vision_event_block.server.store.columns import Array, Column
    from vision_event_block.server.store.filters import (
        Detection,
        FieldCondition,
        Filters,
        Operator,
        Value,
    )

    #: Maps the columns of `facets`, under any alias, to a condition on one row.
    RowCondition = Callable[[Any], ColumnElement[bool]]
    #: Maps a column of a block to a mask of the wanted facets; None if the column cannot tell.
    Sieve = Callable[[Column], Array | None]


@dataclass(frozen=True)
class Clause:
    """An event must have, or must not have, a facet of a field for which a condition holds."""

    field: Field
    holds: RowCondition
    #: The same condition, for counting.
    sieve: Sieve
    is_negated: bool = False
    #: Whether an index has the facets for which it holds in time order.
    is_ordered: bool = False
    #: Whether an index has them together only when ordered by the value that is compared.
    is_ranged: bool = False
    #: Whether an event may have more than one facet for which it holds.
    may_repeat: bool = False
    #: What the text must contain, for `contains`: no index has such facets together.
    contained: str | None = None


def clauses_of(filters: Filters) -> Iterator[Clause]:
    """Everything that the filters ask for, except the use case and the period."""
    if filters.event_types:
        yield _one_of(EVENT_TYPE, filters.event_types)
    for field, condition in (
        (DEVICE_ID, filters.device_id),
        (STREAM_ID, filters.stream_id),
        (WORKFLOW_ID, filters.workflow_id),
        (EXTERNAL_ID, filters.external_id),
    ):
        if condition is not None:
            yield _compared(field, condition.operator, condition.value)
    for each in filters.metadata:
        yield _compared(
            Field("metadata", storable(each.field), each.type), each.operator, each.value
        )
    yield from map(_of_an_image, filters.image_metadata)
    for each in filters.event_fields:
        data = Field("data", each.field, each.type)
        field = EVENT_TYPE if each.field == EVENT_TYPE.name else data
        yield _compared(field, each.operator, each.value)
    for detection in filters.detections:
        yield from _seen(detection)
    if (images := filters.image_count) is not None:
        yield _compared(IMAGE_COUNT, images.operator, images.value)
    if filters.feedback:
        yield from _judged(filters.feedback)
    yield from _flagged(HAS_WARNINGS, filters.has_warnings)
    yield from _flagged(PINNED, filters.is_pinned)


def _flagged(field: Field, flag: bool | None) -> Iterator[Clause]:  # noqa: FBT001 -- what is asked
    """The clause for a flag that events carry as a facet only where it is true."""
    if flag is not None:
        yield _compared(field, "eq" if flag else "neq", value=True)


def _of_an_image(condition: FieldCondition) -> Clause:
    """Holds if any image of the event has the value, or for `neq` if no image has it."""
    field = Field("image", storable(condition.field), condition.type)
    clause = _compared(field, condition.operator, condition.value)
    return replace(clause, may_repeat=condition.operator not in ("eq", "neq"))


def _one_of(field: Field, keys: Sequence[str]) -> Clause:
    def sieve(column: Column) -> Array:
        return column.with_key(keys.__contains__)

    if len(keys) == 1:
        return Clause(field, lambda facet: facet.key == keys[0], sieve, is_ordered=True)
    return Clause(field, lambda facet: facet.key.in_(keys), sieve)


def _seen(detection: Detection) -> Iterator[Clause]:
    """Up to two clauses, each with its own index; the second implies the first."""
    names = dict.fromkeys(storable(name)[:MAX_KEY_CHARS] for name in detection.classes)
    keys, field = (tuple(names), CLASS) if names else (("",), ANY_CLASS)
    of_class = replace(_one_of(field, keys), may_repeat=len(keys) > 1)
    confidence = detection.confidence
    if confidence is None:
        yield replace(of_class, is_negated=detection.is_negated)
        return
    if of_class.is_ordered and field == CLASS and not detection.is_negated:
        yield of_class
    compare = _COMPARE[confidence.operator]
    name = "confidence" if confidence.operator in ("gt", "gte") else "least_confidence"

    def sieve(column: Column) -> Array:
        return column.with_key(keys.__contains__) & column.with_value(
            f"{name}s", compare, confidence.value
        )

    yield replace(
        of_class,
        holds=lambda facet: and_(
            of_class.holds(facet), compare(getattr(facet, name), confidence.value)
        ),
        sieve=sieve,
        is_negated=detection.is_negated,
        is_ordered=False,
        is_ranged=True,
    )


def _judged(states: Sequence[str]) -> Iterator[Clause]:
    if "none" not in states:
        yield _one_of(FEEDBACK, states)
    elif others := [state for state in FEEDBACK_STATES if state not in states]:
        # No feedback, or one of the given states: the event has none of the other states.
        but_these = replace(_one_of(FEEDBACK, others), is_negated=True, is_ordered=False)
        yield but_these if len(states) > 1 else replace(but_these, holds=lambda _: true())


def _compared(field: Field, operator: Operator, value: Value) -> Clause:
    """The clause for a comparison; an event without the field is unequal to every value."""
    holds, sieve = _comparison("eq" if operator == "neq" else operator, value)
    return Clause(
        field,
        holds,
        sieve,
        is_negated=operator == "neq",
        is_ordered=operator == "eq",
        contained=storable(str(value)) if operator == "contains" else None,
    )


def _comparison(operator: Operator, value: Value) -> tuple[RowCondition, Sieve]:
    if isinstance(value, bool):
        key = "true" if value else "false"
        return lambda facet: facet.key == key, lambda column: column.with_key(key.__eq__)
    if isinstance(value, str):
        text = storable(value)
        return _text_comparison(operator, text), partial(_compared_keys, operator, text)
    compare = _COMPARE[operator]
    return (
        lambda facet: compare(facet.number, float(value)),
        lambda column: column.with_value("numbers", compare, float(value)),
    )


def _compared_keys(operator: Operator, value: str, column: Column) -> Array | None:
    if any(len(key) == MAX_KEY_CHARS for key in column.keys):
        return None  # the key may be cut off
    if operator == "contains":
        return column.with_key(lambda key: value in key)
    compare = _COMPARE[operator]
    return column.with_key(lambda key: compare(key, value))


def _text_comparison(operator: Operator, value: str) -> RowCondition:
    """Compares by the key wherever possible, since the key may be only the start of the text."""
    given = text_facet(EVENT_TYPE, value)
    if operator == "contains":
        return lambda facet: or_(
            _contains(facet.key, value),
            and_(func.length(facet.key) == MAX_KEY_CHARS, _whole_contains(facet, value)),
        )
    if operator == "eq":
        if len(given.key) < MAX_KEY_CHARS:
            return lambda facet: facet.key == given.key
        return lambda facet: and_(
            facet.key == given.key, facet.text.is_not_distinct_from(given.text)
        )
    compare = _COMPARE[operator]
    by_key = _COMPARE["gte" if operator in ("gt", "gte") else "lte"]
    return lambda facet: and_(
        by_key(facet.key, given.key), compare(func.coalesce(facet.text, facet.key), value)
    )


def _whole_contains(facet: Any, value: str) -> ColumnElement[bool]:
    """A separate lookup, so that the index alone answers for short texts."""
    whole = schema.facets.alias().c
    return (
        select(whole.event_no)
        .where(
            whole.event_no == facet.event_no,
            whole.field_no == facet.field_no,
            whole.key == facet.key,
            _contains(whole.text, value),
        )
        .exists()
    )


class _contains(GenericFunction[bool]):  # noqa: N801 -- in SQL
    """Whether a text contains another one.

    Not LIKE: a crafted pattern can make it take time proportional to the product of both lengths.
    """

    type = Boolean()
    inherit_cache = True


@compiles(_contains)
def _instr(element: Any, compiler: Any, **options: Any) -> str:
    return f"instr({compiler.process(element.clauses, **options)}) > 0"


@compiles(_contains, "postgresql")
def _strpos(element: Any, compiler: Any, **options: Any) -> str:
    return f"strpos({compiler.process(element.clauses, **options)}) > 0"


_COMPARE: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "eq": lambda column, value: column == value,
    "gt": lambda column, value: column > value,
    "gte": lambda column, value: column >= value,
    "lt": lambda column, value: column < value,
    "lte": lambda column, value: column <= value,
}

"""Which events are asked for: the filters of the API's query and of the page."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from vision_event_block.contract import limits
from vision_event_block.events.errors import UnfitEvent
from vision_event_block.events.times import parse_time
from vision_event_block.server.store.errors import BadQuery

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from typing_extensions import Self

Operator = Literal["eq", "neq", "gt", "gte", "lt", "lte", "contains"]
ValueType = Literal["string", "number", "boolean"]
Value = str | float | bool

#: What each type of value can be compared by. `contains` and the order of text mind the case.
OPERATORS: Final[Mapping[ValueType, tuple[Operator, ...]]] = {
    "string": ("eq", "neq", "contains", "gt", "gte", "lt", "lte"),
    "number": ("eq", "neq", "gt", "gte", "lt", "lte"),
    "boolean": ("eq", "neq"),
}
#: Keys of `eventData`, and the top-level `comment`, that can be filtered on.
EVENT_FIELDS: Final[Mapping[str, ValueType]] = {
    "result": "string",
    "externalId": "string",
    "location": "string",
    "itemCount": "number",
    "itemType": "string",
    "alertType": "string",
    "severity": "string",
    "description": "string",
    "value": "string",
    "relatedEventId": "string",
    "feedback": "string",
    "comment": "string",
}
FEEDBACK_STATES: Final = (*limits.FEEDBACKS, "none")
MAX_EVENT_TYPES: Final = 20
#: Of each list of conditions. The API names no limit; this one is ours.
MAX_CONDITIONS: Final = 20

_QUERY_KEYS: Final = (
    "useCaseId",
    "startTime",
    "endTime",
    "eventType",
    "eventTypes",
    "deviceId",
    "streamId",
    "workflowId",
    "externalId",
    "customMetadataFilters",
    "eventFieldFilters",
    "detectionClass",
    "feedbackStatus",
    "hasWarnings",
    "limit",
    "cursor",
)
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_ZONE = re.compile(r"(?:[Zz]|[+-]\d\d:\d\d)$")


@dataclass(frozen=True)
class Condition:
    """What a text must be: `eq`, `neq` or `contains` a value. `neq` holds where there is none."""

    operator: Operator
    value: str


@dataclass(frozen=True)
class FieldCondition:
    """What a field must be. `neq` holds for events without the field, too."""

    field: str
    operator: Operator
    value: Value
    type: ValueType


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which events: those of one use case for which everything that is given holds."""

    use_case_id: str
    #: Both ends are part of the period.
    start: datetime | None = None
    end: datetime | None = None
    #: Any of these; empty for any type.
    event_types: tuple[str, ...] = ()
    device_id: Condition | None = None
    stream_id: Condition | None = None
    workflow_id: Condition | None = None
    external_id: Condition | None = None
    metadata: tuple[FieldCondition, ...] = ()
    event_fields: tuple[FieldCondition, ...] = ()
    #: A class among the annotations, each list of every image, seen at least this surely.
    class_name: str | None = None
    min_confidence: float | None = None
    #: One of FEEDBACK_STATES.
    feedback: str | None = None
    has_warnings: bool | None = None

    @classmethod
    def of_query(cls, body: Mapping[str, Any]) -> Self:
        """The filters of a query's JSON body. `limit` and `cursor` are left to the caller.

        Raises:
            BadQuery: a filter is unknown or cannot be read. A filter that was ignored would
                answer with events that nobody asked for.
        """
        given = {key: value for key, value in body.items() if value is not None}
        unknown = sorted(set(given) - set(_QUERY_KEYS))
        if unknown:
            raise BadQuery(f"unknown filter {unknown[0]!r}; known are {', '.join(_QUERY_KEYS)}")
        class_name, min_confidence = _detection_class(given)
        return cls(
            use_case_id=_use_case_id(given),
            start=_moment(given, "startTime"),
            end=_moment(given, "endTime"),
            event_types=_event_types(given),
            device_id=_condition(given, "deviceId"),
            stream_id=_condition(given, "streamId"),
            workflow_id=_condition(given, "workflowId"),
            external_id=_condition(given, "externalId"),
            metadata=_conditions(given, "customMetadataFilters", "field"),
            event_fields=_conditions(given, "eventFieldFilters", "column"),
            class_name=class_name,
            min_confidence=min_confidence,
            feedback=_one_of(given, "feedbackStatus", FEEDBACK_STATES),
            has_warnings=_flag(given, "hasWarnings"),
        )


def _use_case_id(given: Mapping[str, Any]) -> str:
    value = given.get("useCaseId")
    if not isinstance(value, str) or not value:
        raise BadQuery("useCaseId is required and must be text")
    return value


def _moment(given: Mapping[str, Any], key: str) -> datetime | None:
    """UTC; a time without a zone is taken as UTC, and a day as its first instant."""
    if key not in given:
        return None
    text = given[key]
    try:
        if isinstance(text, str):
            text = text.strip()
            if _DAY.fullmatch(text):
                return parse_time(f"{text}T00:00:00Z")
            if _DAY.match(text):
                return parse_time(text if _ZONE.search(text) else f"{text}Z")
    except UnfitEvent:
        pass
    raise BadQuery(f"{key} must be ISO 8601 text such as 2026-03-01T09:15:27Z")


def _event_types(given: Mapping[str, Any]) -> tuple[str, ...]:
    """Those of `eventTypes` and `eventType` together."""
    names = given.get("eventTypes", [])
    if not isinstance(names, list) or len(names) > MAX_EVENT_TYPES:
        raise BadQuery(f"eventTypes must be a list of at most {MAX_EVENT_TYPES} event types")
    names = [*names, *([given["eventType"]] if "eventType" in given else [])]
    for name in names:
        if name not in limits.EVENT_TYPES:
            raise BadQuery(f"{name!r} is no event type; there are {', '.join(limits.EVENT_TYPES)}")
    return tuple(dict.fromkeys(names))


def _condition(given: Mapping[str, Any], key: str) -> Condition | None:
    if key not in given:
        return None
    read = given[key]
    if isinstance(read, str):
        return Condition("eq", read)
    if not isinstance(read, dict) or not isinstance(read.get("value"), str):
        raise BadQuery(f'{key} must look like {{"operator": "eq", "value": "text"}}')
    operator = _operator(key, read.get("operator", "eq"), ("eq", "neq", "contains"))
    return Condition(operator, _bounded(key, read["value"]))


def _conditions(given: Mapping[str, Any], key: str, name_key: str) -> tuple[FieldCondition, ...]:
    read = given.get(key, [])
    if not isinstance(read, list) or len(read) > MAX_CONDITIONS:
        raise BadQuery(f"{key} must be a list of at most {MAX_CONDITIONS} conditions")
    return tuple(
        _field_condition(f"{key}.{number}", each, name_key) for number, each in enumerate(read)
    )


def _field_condition(where: str, read: Any, name_key: str) -> FieldCondition:
    if not isinstance(read, dict) or not isinstance(read.get(name_key), str):
        raise BadQuery(
            f'{where} must look like {{"{name_key}": "name", "operator": "eq", "value": "text"}}'
        )
    name = read[name_key]
    if name_key == "column" and name not in EVENT_FIELDS:
        raise BadQuery(f"{where}: no column {name!r}; there are {', '.join(EVENT_FIELDS)}")
    value = read.get("value")
    assumed = EVENT_FIELDS[name] if name_key == "column" else _type_of(value)
    given_type = read.get("type") or assumed
    if given_type not in tuple(OPERATORS):
        raise BadQuery(f"{where}.type must be one of {', '.join(OPERATORS)}")
    type_ = cast("ValueType", given_type)
    return FieldCondition(
        field=name,
        operator=_operator(where, read.get("operator"), OPERATORS[type_]),
        value=_value(where, value, type_),
        type=type_,
    )


def _operator(where: str, name: Any, accepted: tuple[Operator, ...]) -> Operator:
    for operator in accepted:
        if operator == name:
            return operator
    raise BadQuery(f"{where}: no operator {name!r} here; there are {', '.join(accepted)}")


def _type_of(value: Any) -> ValueType:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, (int, float)) else "string"


def _value(where: str, value: Any, type_: ValueType) -> Value:
    """The value as its type; forms have text only, so a number and a boolean may be spelt out."""
    if type_ == "string" and isinstance(value, str):
        return _bounded(where, value)
    if type_ == "boolean" and value in (True, False, "true", "false"):
        return value in (True, "true")
    if type_ == "number" and not isinstance(value, bool):
        number = _number(value)
        if number is not None:
            return number
    raise BadQuery(f"{where}.value must be a {type_}")


def _bounded(where: str, text: str) -> str:
    if len(text) > limits.MAX_LONG_TEXT_CHARS:
        raise BadQuery(f"{where}: no value is longer than {limits.MAX_LONG_TEXT_CHARS} characters")
    return text


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _detection_class(given: Mapping[str, Any]) -> tuple[str | None, float | None]:
    if "detectionClass" not in given:
        return None, None
    read = given["detectionClass"]
    if isinstance(read, str):
        read = {"class": read}
    if not isinstance(read, dict) or not isinstance(read.get("class"), str):
        raise BadQuery('detectionClass must look like {"class": "name", "minConfidence": 0.5}')
    if read.get("minConfidence") is None:
        return read["class"], None
    confidence = _value("detectionClass.minConfidence", read["minConfidence"], "number")
    return read["class"], float(confidence)


def _one_of(given: Mapping[str, Any], key: str, accepted: tuple[str, ...]) -> str | None:
    value = given.get(key)
    if value is not None and value not in accepted:
        raise BadQuery(f"{key} must be one of {', '.join(accepted)}")
    return value


def _flag(given: Mapping[str, Any], key: str) -> bool | None:
    value = given.get(key)
    if value is not None and not isinstance(value, bool):
        raise BadQuery(f"{key} must be true or false")
    return value

"""The filters of a query's JSON body."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final, cast

from vision_event_block.contract import limits
from vision_event_block.events.errors import UnfitEvent
from vision_event_block.events.times import parse_time
from vision_event_block.server.store.errors import BadQuery
from vision_event_block.server.store.filters import (
    COLUMNS,
    CONFIDENCE_OPERATORS,
    DETECTION_OPERATORS,
    EVENT_FIELDS,
    FEEDBACK_STATES,
    MAX_CLASSES,
    MAX_CONDITIONS,
    MAX_EVENT_TYPES,
    OPERATORS,
    TEXT_OPERATORS,
    Condition,
    Confidence,
    Detection,
    FieldCondition,
    Filters,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from vision_event_block.server.store.filters import Operator, Value, ValueType

_QUERY_KEYS: Final = (
    *("useCaseId", "startTime", "endTime", "eventType", "eventTypes"),
    *("deviceId", "streamId", "workflowId", "externalId"),
    *("customMetadataFilters", "imageMetadataFilters", "eventFieldFilters"),
    *("detection", "detectionClass"),
    *("imageCount", "feedbackStatus", "hasWarnings", "isPinned", "limit", "cursor"),
)
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_ZONE = re.compile(r"(?:[Zz]|[+-]\d\d:\d\d)$")


def filters_of(body: Mapping[str, Any]) -> Filters:
    """The filters of a query's JSON body. `limit` and `cursor` are left to the caller.

    Raises:
        BadQuery: a filter is unknown or invalid. Ignoring it would return events that the
            client did not ask for.
    """
    given = {key: value for key, value in body.items() if value is not None}
    unknown = sorted(set(given) - set(_QUERY_KEYS))
    if unknown:
        raise BadQuery(f"unknown filter {unknown[0]!r}; known are {', '.join(_QUERY_KEYS)}")
    return Filters(
        use_case_id=_use_case_id(given),
        start=moment_in(given, "startTime"),
        end=moment_in(given, "endTime"),
        event_types=_event_types(given),
        device_id=_condition(given, "deviceId"),
        stream_id=_condition(given, "streamId"),
        workflow_id=_condition(given, "workflowId"),
        external_id=_condition(given, "externalId"),
        metadata=_conditions(given, "customMetadataFilters", "field"),
        image_metadata=_conditions(given, "imageMetadataFilters", "field"),
        event_fields=_conditions(given, "eventFieldFilters", "column"),
        detections=(*_detections(given), *_detection_class(given)),
        image_count=_image_count(given),
        feedback=_feedback(given),
        has_warnings=_flag(given, "hasWarnings"),
        is_pinned=_flag(given, "isPinned"),
    )


def _use_case_id(given: Mapping[str, Any]) -> str:
    value = given.get("useCaseId")
    if not isinstance(value, str) or not value:
        raise BadQuery("useCaseId is required and must be text")
    return value


def moment_in(given: Mapping[str, Any], key: str) -> datetime | None:
    """The time in UTC: without a zone it is taken as UTC, and a day as its first instant."""
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
    """The event types of `eventTypes` and `eventType` combined."""
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
        return Condition("eq", _bounded(key, read))
    if not isinstance(read, dict) or not isinstance(read.get("value"), str):
        raise BadQuery(f'{key} must be text, or look like {{"operator": "eq", "value": "text"}}')
    operator = _operator(key, read.get("operator", "eq"), TEXT_OPERATORS)
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
    name, value = read[name_key], read.get("value")
    if name_key == "column":
        if name not in COLUMNS:
            official = [column for column in COLUMNS if column == column.lower()]
            raise BadQuery(f"{where}: no column {name!r}; there are {', '.join(official)}")
        name = COLUMNS[name]
        accepted: tuple[ValueType, ...] = (EVENT_FIELDS[name],)
        assumed = EVENT_FIELDS[name]
    else:
        accepted, assumed = tuple(OPERATORS), _type_of(value)
    given_type = read.get("type") or assumed
    if given_type not in accepted:
        raise BadQuery(f"{where}.type must be {_one_of(accepted)}")
    type_ = cast("ValueType", given_type)
    return FieldCondition(
        field=name,
        operator=_operator(where, read.get("operator"), OPERATORS[type_]),
        value=_value(where, value, type_),
        type=type_,
    )


def _one_of(accepted: Sequence[str]) -> str:
    return accepted[0] if len(accepted) == 1 else f"one of {', '.join(accepted)}"


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
    """The value as its type. Forms only send text, so numbers and booleans may be text."""
    if type_ == "string" and isinstance(value, str):
        return _bounded(where, value)
    if type_ == "boolean" and value in (True, False, "true", "false"):
        return value in (True, "true")
    if type_ == "number" and (number := _number(value)) is not None:
        return number
    raise BadQuery(f"{where}.value must be a {type_}")


def _bounded(where: str, text: str) -> str:
    if len(text) > limits.MAX_LONG_TEXT_CHARS:
        raise BadQuery(f"{where}: no value is longer than {limits.MAX_LONG_TEXT_CHARS} characters")
    return text


def _number(value: Any) -> float | None:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _detections(given: Mapping[str, Any]) -> tuple[Detection, ...]:
    """The conditions in `detection`; a list of them is our extension of the API."""
    read = given.get("detection", [])
    if not isinstance(read, list):
        return (_detection("detection", read),)
    if len(read) > MAX_CONDITIONS:
        raise BadQuery(f"detection must be a list of at most {MAX_CONDITIONS} conditions")
    return tuple(_detection(f"detection.{number}", each) for number, each in enumerate(read))


def _detection(where: str, read: Any) -> Detection:
    if isinstance(read, str):
        read = {"value": read}
    if not isinstance(read, dict) or not (read.keys() & {"value", "confidence"}):
        raise BadQuery(f'{where} must look like {{"operator": "eq", "value": "class"}}')
    confidence = _confidence(f"{where}.confidence", read.get("confidence"))
    value = read.get("value")
    if value is None and confidence is not None and read.get("operator") is None:
        return Detection(confidence=confidence)
    operator = read.get("operator")
    if operator is None:
        operator = "in" if isinstance(value, list) else "eq"
    if operator not in DETECTION_OPERATORS:
        names = ", ".join(DETECTION_OPERATORS)
        raise BadQuery(f"{where}: no operator {operator!r} here; there are {names}")
    takes_many = operator in ("in", "not_in")
    given = value if takes_many and isinstance(value, list) else [value]
    classes = [name for name in given if isinstance(name, str)]
    if not 1 <= len(given) <= MAX_CLASSES or len(classes) < len(given):
        many = f"text, or a list of 1 to {MAX_CLASSES} texts, for {operator}"
        raise BadQuery(f"{where}.value must be {many if takes_many else f'text for {operator}'}")
    return Detection(
        tuple(dict.fromkeys(_bounded(f"{where}.value", name) for name in classes)),
        confidence,
        is_negated=operator in ("neq", "not_in"),
    )


def _confidence(where: str, read: Any) -> Confidence | None:
    if read is None:
        return None
    if not isinstance(read, dict):
        raise BadQuery(f'{where} must look like {{"operator": "gte", "value": 0.5}}')
    operator = _operator(where, read.get("operator"), CONFIDENCE_OPERATORS)
    return Confidence(operator, _share(f"{where}.value", read.get("value")))


def _share(where: str, value: Any) -> float:
    number = _number(value)
    if number is None or not 0 <= number <= 1:
        raise BadQuery(f"{where} must be a number from 0 to 1")
    return number


def _detection_class(given: Mapping[str, Any]) -> tuple[Detection, ...]:
    """The filter by class under our older name, `detectionClass`."""
    if "detectionClass" not in given:
        return ()
    read = given["detectionClass"]
    if isinstance(read, str):
        read = {"class": read}
    if not isinstance(read, dict) or not isinstance(read.get("class"), str):
        raise BadQuery('detectionClass must look like {"class": "name", "minConfidence": 0.5}')
    floor = read.get("minConfidence")
    confidence = (
        None if floor is None else Confidence("gte", _share("detectionClass.minConfidence", floor))
    )
    return (Detection((read["class"],), confidence),)


def _image_count(given: Mapping[str, Any]) -> FieldCondition | None:
    if "imageCount" not in given:
        return None
    read = given["imageCount"]
    if not isinstance(read, dict):
        read = {"operator": "eq", "value": read}
    operator = _operator("imageCount", read.get("operator"), OPERATORS["number"])
    number = _number(read.get("value"))
    if number is None or number < 0 or number != int(number):
        raise BadQuery("imageCount.value must be a whole number from 0 up")
    return FieldCondition("imageCount", operator, number, "number")


def _feedback(given: Mapping[str, Any]) -> tuple[str, ...]:
    read = given.get("feedbackStatus", [])
    states = read if isinstance(read, list) else [read]
    if not all(isinstance(state, str) and state in FEEDBACK_STATES for state in states):
        raise BadQuery(
            f"feedbackStatus must be one of {', '.join(FEEDBACK_STATES)}, or a list of some of them"
        )
    return tuple(dict.fromkeys(states))


def _flag(given: Mapping[str, Any], key: str) -> bool | None:
    value = given.get(key)
    if value is not None and not isinstance(value, bool):
        raise BadQuery(f"{key} must be true or false")
    return value

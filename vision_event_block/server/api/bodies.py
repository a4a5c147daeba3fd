"""The bodies that routes take and parse themselves, for the OpenAPI document."""

from __future__ import annotations

import json
import re
from typing import Any, Final, get_args

from vision_event_block.contract import limits
from vision_event_block.server.api import rules
from vision_event_block.server.api.device_ingest import DEVICE_EVENT
from vision_event_block.server.api.event_rules import IDENTITY, NEW_EVENT
from vision_event_block.server.store.filters import (
    EVENT_FIELDS,
    FEEDBACK_STATES,
    MAX_CONDITIONS,
    MAX_EVENT_TYPES,
    OPERATORS,
    Operator,
)

BATCH: Final = rules.record(
    {"events": rules.array(NEW_EVENT, minimum=1, maximum=limits.MAX_BATCH_EVENTS)}, ("events",)
).named("Batch", "Events, all or none of which are stored.")

_ANY_OPERATOR: Final = rules.choice(get_args(Operator))
_ANY_VALUE: Final = rules.either(rules.text(), rules.number(), rules.boolean())
_CONDITION: Final = rules.nullable(
    rules.record(
        {"operator": rules.choice(("eq", "neq", "contains")), "value": rules.text()}, ("value",)
    ).named("Condition", "What a field must be.")
)
_METADATA_CONDITION: Final = rules.record(
    {
        "field": rules.text(),
        "operator": _ANY_OPERATOR,
        "value": _ANY_VALUE,
        "type": rules.nullable(rules.choice(tuple(OPERATORS))),
    },
    ("field", "operator", "value"),
).named("MetadataCondition", "What a key of the custom metadata must be.")
_EVENT_FIELD_CONDITION: Final = rules.record(
    {
        "column": rules.choice(tuple(EVENT_FIELDS)),
        "operator": _ANY_OPERATOR,
        "value": _ANY_VALUE,
    },
    ("column", "operator", "value"),
).named("EventFieldCondition", "What a key of the event data must be.")
_DETECTION_CLASS: Final = rules.record(
    {"class": rules.text(), "minConfidence": rules.nullable(rules.number(0, 1))}, ("class",)
).named("DetectionClass", "A class that was seen.")
_TIME: Final = rules.nullable(rules.text(form="date-time"))
_EXTENSION: Final = "An extension of this server."
QUERY: Final = rules.record(
    {
        "useCaseId": rules.text(min_chars=1).described(
            "An id, or the exact name of an active use case."
        ),
        "startTime": _TIME,
        "endTime": _TIME,
        "eventType": rules.nullable(IDENTITY["eventType"]),
        "eventTypes": rules.array(IDENTITY["eventType"], maximum=MAX_EVENT_TYPES),
        **dict.fromkeys(("deviceId", "streamId", "workflowId", "externalId"), _CONDITION),
        "customMetadataFilters": rules.array(_METADATA_CONDITION, maximum=MAX_CONDITIONS),
        "eventFieldFilters": rules.array(_EVENT_FIELD_CONDITION, maximum=MAX_CONDITIONS),
        "detectionClass": rules.nullable(_DETECTION_CLASS).described(_EXTENSION),
        "feedbackStatus": rules.nullable(rules.choice(FEEDBACK_STATES)).described(_EXTENSION),
        "hasWarnings": rules.nullable(rules.boolean()).described(_EXTENSION),
        "limit": rules.number(1, whole=True).described("More than 100 counts as 100."),
        "cursor": rules.nullable(rules.text()).described("`nextCursor` of the page before."),
    },
    ("useCaseId",),
).named("Query", "Which events; all conditions hold together.")

#: Of a use case.
NAME: Final = rules.text(limits.MAX_USE_CASE_ID_CHARS, min_chars=1)
ID: Final = rules.text(pattern=re.compile(r"[A-Za-z0-9_-]{1,64}"))
STATUS: Final = rules.choice(("active", "inactive"))
NEW_USE_CASE: Final = rules.record(
    {
        "name": NAME,
        "id": rules.nullable(ID).described("An extension of this server: an id of your choice."),
    },
    ("name",),
).named("NewUseCase", "A use case to create.")
USE_CASE_CHANGE: Final = rules.record(
    {"name": rules.nullable(NAME), "status": rules.nullable(STATUS)}
).named("UseCaseChange", "A new name, a new status, or both.")

_ALL: Final = (NEW_EVENT, BATCH, QUERY, NEW_USE_CASE, USE_CASE_CHANGE, DEVICE_EVENT)


def body_shapes(*, strict: bool) -> dict[str, Any]:
    """The schemas of the bodies and of the events in replies, by name.

    Args:
        strict: The server refuses events without an id or a time.
    """
    shapes = {name: shape for rule in _ALL for name, shape in rule.shapes.items()}
    shapes = json.loads(json.dumps(shapes))  # nothing of the rules' own is handed out
    event = shapes["NewEvent"]
    warnings = {"type": "array", "items": {"$ref": "#/components/schemas/EventWarning"}}
    shapes["Event"] = {
        **event,
        "title": "Event",
        "description": "An event as it is kept.",
        "properties": {**event["properties"], "warnings": warnings},
        "required": list(IDENTITY),
    }
    if strict:
        event["required"] = list(IDENTITY)
    return dict(shapes)

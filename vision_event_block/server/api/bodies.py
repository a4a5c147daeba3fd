"""The bodies that routes parse themselves, for the OpenAPI document."""

from __future__ import annotations

import json
import re
from typing import Any, Final, get_args

from vision_event_block.contract import limits
from vision_event_block.server.api import rules
from vision_event_block.server.api.device_ingest import DEVICE_EVENT
from vision_event_block.server.api.event_rules import IDENTITY, NEW_EVENT
from vision_event_block.server.store.filters import (
    COLUMNS,
    CONFIDENCE_OPERATORS,
    DEFAULT_LIMIT,
    DETECTION_OPERATORS,
    FEEDBACK_STATES,
    MAX_CLASSES,
    MAX_CONDITIONS,
    MAX_EVENT_TYPES,
    MAX_LIMIT,
    OPERATORS,
    TEXT_OPERATORS,
    Operator,
)

BATCH: Final = rules.record(
    {"events": rules.array(NEW_EVENT, minimum=1, maximum=limits.MAX_BATCH_EVENTS)}, ("events",)
).named("Batch", "Events, all or none of which are stored.")

_ANY_OPERATOR: Final = rules.choice(get_args(Operator))
_ANY_VALUE: Final = rules.either(rules.text(), rules.number(), rules.boolean())
_CONDITION: Final = rules.nullable(
    rules.either(
        rules.record(
            {"operator": rules.choice(TEXT_OPERATORS), "value": rules.text()}, ("value",)
        ).named("Condition", "What a field must be."),
        rules.text(),
    )
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
        "column": rules.choice(tuple(COLUMNS)),
        "operator": _ANY_OPERATOR,
        "value": _ANY_VALUE,
    },
    ("column", "operator", "value"),
).named("EventFieldCondition", "What a key of the event data must be.")
_EXTENSION: Final = "An extension of this server."
_CONFIDENCE: Final = rules.record(
    {"operator": rules.choice(CONFIDENCE_OPERATORS), "value": rules.number(0, 1)},
    ("operator", "value"),
).named("ConfidenceCondition", "How confident the detection must be.")
_DETECTION: Final = rules.either(
    rules.record(
        {
            "operator": rules.nullable(rules.choice(DETECTION_OPERATORS)),
            "value": rules.either(
                rules.text(), rules.array(rules.text(), minimum=1, maximum=MAX_CLASSES)
            ),
            "confidence": rules.nullable(_CONFIDENCE),
        },
        ("value",),
    ).named(
        "DetectionCondition", "What must have been detected or, with neq and not_in, must not."
    ),
    rules.text(),
    rules.record({"confidence": _CONFIDENCE}, ("confidence",)).named(
        "AnyDetectionCondition", f"{_EXTENSION} Something of any class, with this confidence."
    ),
)
_IMAGE_COUNT: Final = rules.record(
    {"operator": rules.choice(OPERATORS["number"]), "value": rules.number(0, whole=True)},
    ("operator", "value"),
).named("ImageCountCondition", "How many images an event must have.")
_FEEDBACK: Final = rules.choice(FEEDBACK_STATES)
_DETECTION_CLASS: Final = rules.record(
    {"class": rules.text(), "minConfidence": rules.nullable(rules.number(0, 1))}, ("class",)
).named("DetectionClass", "A class that was detected.")
_TIME: Final = rules.nullable(rules.text(form="date-time"))
LIMIT: Final = rules.number(1, MAX_LIMIT, whole=True)
_USE_CASE: Final = rules.text(min_chars=1).described(
    "An id, or the exact name of an active use case."
)
QUERY: Final = rules.record(
    {
        "useCaseId": _USE_CASE,
        "startTime": _TIME,
        "endTime": _TIME,
        "eventType": rules.nullable(IDENTITY["eventType"]),
        "eventTypes": rules.array(IDENTITY["eventType"], maximum=MAX_EVENT_TYPES),
        **dict.fromkeys(("deviceId", "streamId", "workflowId", "externalId"), _CONDITION),
        "customMetadataFilters": rules.array(_METADATA_CONDITION, maximum=MAX_CONDITIONS),
        "imageMetadataFilters": rules.array(_METADATA_CONDITION, maximum=MAX_CONDITIONS),
        "eventFieldFilters": rules.array(_EVENT_FIELD_CONDITION, maximum=MAX_CONDITIONS),
        "detection": rules.nullable(
            rules.either(_DETECTION, rules.array(_DETECTION, maximum=MAX_CONDITIONS))
        ),
        "detectionClass": rules.nullable(rules.either(_DETECTION_CLASS, rules.text())).described(
            f"{_EXTENSION} The same as `detection` with `eq`, and `gte` for confidence."
        ),
        "imageCount": rules.nullable(rules.either(_IMAGE_COUNT, rules.number(0, whole=True))),
        "feedbackStatus": rules.nullable(rules.either(rules.array(_FEEDBACK), _FEEDBACK)),
        "hasWarnings": rules.nullable(rules.boolean()),
        "isPinned": rules.nullable(rules.boolean()).described(f"{_EXTENSION} Pinned or not."),
        "limit": rules.nullable(LIMIT).described(f"{DEFAULT_LIMIT} without it."),
        "cursor": rules.nullable(rules.text()).described("`nextCursor` of the page before."),
    },
    ("useCaseId",),
).named("Query", "Which events; all conditions must hold.")

EVENT_IDS: Final = rules.array(rules.text(), minimum=1, maximum=limits.MAX_DELETED_EVENTS)
_CHOSEN: Final = {"useCaseId": _USE_CASE, "eventIds": EVENT_IDS}
DELETION: Final = rules.record(
    {
        **_CHOSEN,
        "withPictures": rules.nullable(rules.boolean()).described(
            f"{_EXTENSION} Pictures that no other event shows are deleted immediately, not by the "
            "next clean-up."
        ),
    },
    ("useCaseId", "eventIds"),
).named("Deletion", "Events to delete for good, with the feedback about them.")

PIN: Final = rules.record(
    {
        **_CHOSEN,
        "isPinned": rules.nullable(rules.boolean()).described("True without it."),
    },
    ("useCaseId", "eventIds"),
).named("Pin", "Events to exclude from every clean-up, or no longer.")

#: The name of a use case.
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

_ALL: Final = (NEW_EVENT, BATCH, QUERY, DELETION, PIN, NEW_USE_CASE, USE_CASE_CHANGE, DEVICE_EVENT)


def body_shapes(*, strict: bool) -> dict[str, Any]:
    """The schemas of the bodies and of the events in replies, by name."""
    shapes = {name: shape for rule in _ALL for name, shape in rule.shapes.items()}
    shapes = json.loads(json.dumps(shapes))  # a copy: the rules' own objects are not handed out
    event = shapes["NewEvent"]
    warnings = {"type": "array", "items": {"$ref": "#/components/schemas/EventWarning"}}
    properties = {
        **event["properties"],
        "warnings": warnings,
        "isPinned": {"const": True, "description": f"{_EXTENSION} Absent unless it is pinned."},
    }
    del properties["useCaseId"]
    shapes["Event"] = {
        **event,
        "title": "Event",
        "description": "An event as stored. Its use case is the one in the query.",
        "properties": properties,
        "required": [
            *(name for name in IDENTITY if name != "useCaseId"),
            *("eventData", "images", "customMetadata"),
        ],
    }
    if strict:
        event["required"] = list(IDENTITY)
    return dict(shapes)

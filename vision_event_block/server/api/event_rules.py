"""What an event may contain: the API's rules, from the one table of limits.

They define what is valid. What is nearly valid is accepted too, with warnings: see `ingest`.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from vision_event_block.contract import limits
from vision_event_block.contract.names import EVENT_DATA_KEYS, IMAGE_METADATA, REQUIRED_EVENT_DATA
from vision_event_block.server.api import rules
from vision_event_block.server.api.rules import Violation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vision_event_block.server.api.rules import Rule

#: `eventId` and `relatedEventId`. The API documents no limit; this one is ours.
MAX_EVENT_ID_CHARS: Final = 256
MAX_DISPLAY_POSITION: Final = limits.MAX_IMAGES - 1

_SHORT_TEXT: Final = rules.text(limits.MAX_SHORT_TEXT_CHARS)
_LONG_TEXT: Final = rules.text(limits.MAX_LONG_TEXT_CHARS)
_CONTEXT_ID: Final = rules.text(limits.MAX_CONTEXT_ID_CHARS)

#: The four required fields of an event. They are checked strictly.
IDENTITY: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "eventId": rules.text(MAX_EVENT_ID_CHARS, min_chars=1).described(
            "The same id again overwrites the earlier event. Without one the server generates it, "
            "and an event that is sent again is stored twice."
        ),
        "eventType": rules.choice(limits.EVENT_TYPES),
        "useCaseId": rules.text(limits.MAX_USE_CASE_ID_CHARS, min_chars=1).described(
            "The id of an active use case, or its exact name. The id is what is stored."
        ),
        "timestamp": rules.text(form="date-time").described(
            "Between one year ago and tomorrow. Defaults to the time of arrival."
        ),
    }
)
_EVENT_DATA_VALUES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "result": rules.choice(limits.QC_RESULTS),
        "externalId": _SHORT_TEXT,
        "location": _SHORT_TEXT,
        "itemCount": rules.number(0, whole=True),
        "itemType": _SHORT_TEXT,
        "alertType": rules.text(limits.MAX_ALERT_TYPE_CHARS, limits.ALERT_TYPE_PATTERN),
        "severity": rules.choice(limits.SEVERITIES),
        "description": _LONG_TEXT,
        "value": _LONG_TEXT,
        "relatedEventId": rules.text(MAX_EVENT_ID_CHARS),
        "feedback": rules.choice(limits.FEEDBACKS),
    }
)
EVENT_DATA: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        event_type: rules.record(
            {key: _EVENT_DATA_VALUES[key] for key in keys},
            REQUIRED_EVENT_DATA.get(event_type, ()),
        ).named(event_type.title().replace("_", ""), f"The data of `{event_type}` events.")
        for event_type, keys in EVENT_DATA_KEYS.items()
    }
)
#: The event data of any event type.
ANY_EVENT_DATA: Final = rules.either(*EVENT_DATA.values())

_PIXELS: Final = rules.number(-limits.MAX_COORDINATE_PX, limits.MAX_COORDINATE_PX)
_BOX: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "class": rules.text(),
        **dict.fromkeys(("x", "y", "width", "height"), _PIXELS),
        "confidence": rules.number(0, 1),
    }
)
_OUTLINE: Final = rules.array(rules.array(_PIXELS, length=2), minimum=limits.MIN_POLYGON_POINTS)
_KEY_POINT: Final = rules.record(
    {
        "id": rules.either(rules.number(), _SHORT_TEXT),
        "x": _PIXELS,
        "y": _PIXELS,
        "occluded": rules.boolean(),
    },
    ("id", "x", "y"),
    is_tolerant=True,
).named("KeyPoint", "A point of a skeleton, in pixels of the picture.")


def _annotations(keys: Mapping[str, Rule], name: str, words: str) -> Rule:
    annotation = rules.record(keys, tuple(keys), is_tolerant=True).named(name, words)
    return rules.array(annotation, maximum=limits.MAX_ANNOTATIONS)


#: What was detected on an image.
ANNOTATIONS: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "label": rules.text(),
        "objectDetections": _annotations(
            _BOX, "ObjectDetection", "A box: its centre and size in pixels of the picture."
        ),
        "classifications": _annotations(
            {key: _BOX[key] for key in ("class", "confidence")},
            "Classification",
            "A class of the whole picture.",
        ),
        "instanceSegmentations": _annotations(
            {**_BOX, "points": _OUTLINE}, "InstanceSegmentation", "A box with an outline."
        ),
        "keypoints": _annotations(
            {**_BOX, "keypoints": rules.array(_KEY_POINT, minimum=limits.MIN_KEYPOINTS)},
            "KeyPointDetection",
            "A box with a skeleton.",
        ),
    }
)
_METADATA_KEY: Final = rules.text(limits.MAX_METADATA_KEY_CHARS, limits.METADATA_KEY_PATTERN)
_METADATA_TEXT: Final = rules.text(limits.MAX_METADATA_VALUE_CHARS)
_METADATA_NUMBER: Final = rules.number()
_METADATA_VALUE: Final = rules.either(_METADATA_TEXT, _METADATA_NUMBER, rules.boolean())


def clean_metadata(given: Any, path: str) -> tuple[dict[str, Any], Iterator[Violation]]:
    """The metadata whose keys and values are allowed, and violations for the others."""
    if not isinstance(given, dict):
        return {}, iter([Violation("object.base", path, given)])
    violations: list[Violation] = []
    kept: dict[str, Any] = {}
    for key, value in given.items():
        wrong = next(_metadata_violations(key, value, f"{path}.{key}"), None)
        if wrong is not None:
            violations.append(wrong)
        elif len(kept) < limits.MAX_METADATA_KEYS:
            kept[key] = value
    if len(given) > limits.MAX_METADATA_KEYS:
        violations.insert(0, Violation("object.max", path, given))
    return {key: _rounded(value) for key, value in kept.items()}, iter(violations)


def _metadata_violations(key: str, value: Any, path: str) -> Iterator[Violation]:
    yield from (Violation(violation.code, path, key) for violation in _METADATA_KEY(key, path))
    if isinstance(value, bool):
        return
    if isinstance(value, str):
        yield from _METADATA_TEXT(value, path)
    elif rules.is_number(value):
        yield from _METADATA_NUMBER(value, path)
    else:
        yield Violation("alternatives.types", path, value)


def _rounded(value: Any) -> Any:
    return round(value, limits.METADATA_DECIMALS) if isinstance(value, float) else value


def _metadata(value: Any, path: str) -> Iterator[Violation]:
    return clean_metadata(value, path)[1]


METADATA: Final = rules.Rule(
    _metadata,
    {
        "type": "object",
        "additionalProperties": _METADATA_VALUE.schema,
        "maxProperties": limits.MAX_METADATA_KEYS,
        "description": "Flat. Keys of letters, digits, `_`, `-` and spaces, at most "
        f"{limits.MAX_METADATA_KEY_CHARS} characters; numbers with up to "
        f"{limits.METADATA_DECIMALS} decimals.",
    },
)
_IMAGE: Final = rules.record(
    {
        **ANNOTATIONS,
        "sourceId": rules.text().described("The annotated picture, by its upload id."),
        "inputSourceId": rules.text().described("The original, by its upload id."),
        IMAGE_METADATA: rules.lenient(METADATA),
    },
    is_tolerant=True,
).named("Image", "A view of an event. Unknown keys are kept, with a warning.")
FIELDS: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        **dict.fromkeys(("deviceId", "streamId", "workflowId"), _CONTEXT_ID),
        "workflowVersion": rules.text(limits.MAX_WORKFLOW_VERSION_CHARS),
        "displayImagePosition": rules.number(0, MAX_DISPLAY_POSITION, whole=True),
        "comment": rules.text(limits.MAX_COMMENT_CHARS).described("The note on operator feedback."),
        "images": rules.array(_IMAGE, maximum=limits.MAX_IMAGES),
    }
)
NEW_EVENT: Final = rules.record(
    {**IDENTITY, "eventData": ANY_EVENT_DATA, **FIELDS, "customMetadata": METADATA},
    ("eventType", "useCaseId"),
).named(
    "NewEvent",
    "An event.\n\n`eventId`, `eventType`, `useCaseId` and `timestamp` are checked strictly. "
    "Anything else that is wrong is named in the `warnings` of the reply and left out of query "
    "results; so are unknown keys, except in images, which keep them. An id or a time that the "
    "server generated is named too.",
)

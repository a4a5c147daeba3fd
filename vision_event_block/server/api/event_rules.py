"""What an event may hold beside its identity: the API's rules, from the one table of limits."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from vision_event_block.contract import limits
from vision_event_block.contract.names import EVENT_DATA_KEYS, REQUIRED_EVENT_DATA
from vision_event_block.server.api import rules
from vision_event_block.server.api.rules import Violation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vision_event_block.server.api.rules import Rule

#: `eventId` and `relatedEventId`. The API names no limit; this one is ours.
MAX_EVENT_ID_CHARS: Final = 256
MAX_DISPLAY_POSITION: Final = limits.MAX_IMAGES - 1

_SHORT_TEXT: Final = rules.text(limits.MAX_SHORT_TEXT_CHARS)
_LONG_TEXT: Final = rules.text(limits.MAX_LONG_TEXT_CHARS)
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
            {key: _EVENT_DATA_VALUES[key] for key in keys}, REQUIRED_EVENT_DATA.get(event_type, ())
        )
        for event_type, keys in EVENT_DATA_KEYS.items()
    }
)

_PIXELS: Final = rules.number(-limits.MAX_COORDINATE_PX, limits.MAX_COORDINATE_PX)
_BOX: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "class": rules.text(),
        **dict.fromkeys(("x", "y", "width", "height"), _PIXELS),
        "confidence": rules.number(0, 1),
    }
)
_POINT: Final = rules.array(_PIXELS, length=2)
_KEY_POINT: Final = rules.record(
    {
        "id": rules.either(rules.number(), rules.text(limits.MAX_SHORT_TEXT_CHARS)),
        "x": _PIXELS,
        "y": _PIXELS,
        "occluded": rules.boolean,
    },
    ("id", "x", "y"),
)


def _annotations(keys: Mapping[str, Rule]) -> Rule:
    return rules.array(rules.record(keys, tuple(keys)), maximum=limits.MAX_ANNOTATIONS)


_OUTLINE: Final = rules.array(_POINT, minimum=limits.MIN_POLYGON_POINTS)
_KEY_POINTS: Final = rules.array(_KEY_POINT, minimum=limits.MIN_KEYPOINTS)
IMAGES: Final = rules.array(
    rules.record(
        {
            **dict.fromkeys(("label", "sourceId", "inputSourceId"), rules.text()),
            "objectDetections": _annotations(_BOX),
            "classifications": _annotations({key: _BOX[key] for key in ("class", "confidence")}),
            "instanceSegmentations": _annotations({**_BOX, "points": _OUTLINE}),
            "keypoints": _annotations({**_BOX, "keypoints": _KEY_POINTS}),
        }
    ),
    maximum=limits.MAX_IMAGES,
)
FIELDS: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        **dict.fromkeys(
            ("deviceId", "streamId", "workflowId"), rules.text(limits.MAX_CONTEXT_ID_CHARS)
        ),
        "workflowVersion": rules.text(limits.MAX_WORKFLOW_VERSION_CHARS),
        "displayImagePosition": rules.number(0, MAX_DISPLAY_POSITION, whole=True),
        "comment": rules.text(limits.MAX_COMMENT_CHARS),
        "images": IMAGES,
    }
)
_METADATA_KEY: Final = rules.text(limits.MAX_METADATA_KEY_CHARS, limits.METADATA_KEY_PATTERN)
_METADATA_TEXT: Final = rules.text(limits.MAX_METADATA_VALUE_CHARS)
_METADATA_NUMBER: Final = rules.number()


def clean_metadata(given: Any, path: str) -> tuple[dict[str, Any], Iterator[Violation]]:
    """The metadata whose keys and values are allowed, and violations about the others."""
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

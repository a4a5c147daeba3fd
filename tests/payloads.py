"""Whether an event's payload keeps every rule of the API, told by the rule it breaks.

Reads `vision_event_block.contract.limits` for the figures; the shapes stand here, so that the
checker shares no code with what it checks.
"""

from __future__ import annotations

import json
import math
from datetime import datetime, timezone

from vision_event_block.contract import limits

STRICT_KEYS = {"eventId", "eventType", "useCaseId", "timestamp"}
LOOSE_KEYS = {
    "comment",
    "customMetadata",
    "deviceId",
    "displayImagePosition",
    "eventData",
    "images",
    "streamId",
    "workflowId",
    "workflowVersion",
}
IMAGE_IDS = {"sourceId", "inputSourceId"}
BOX_KEYS = {"class", "x", "y", "width", "height", "confidence"}
ANNOTATION_KEYS = {
    "objectDetections": BOX_KEYS,
    "classifications": {"class", "confidence"},
    "instanceSegmentations": BOX_KEYS | {"points"},
    "keypoints": BOX_KEYS | {"keypoints"},
}
SHORT, LONG = limits.MAX_SHORT_TEXT_CHARS, limits.MAX_LONG_TEXT_CHARS
#: event type -> key -> what its value must be: a choice, a longest text, or a count.
EVENT_DATA = {
    "quality_check": {"result": limits.QC_RESULTS, "externalId": SHORT},
    "inventory_count": {
        "location": SHORT,
        "itemCount": int,
        "itemType": SHORT,
        "externalId": SHORT,
    },
    "safety_alert": {
        "alertType": limits.MAX_ALERT_TYPE_CHARS,
        "severity": limits.SEVERITIES,
        "description": LONG,
        "externalId": SHORT,
    },
    "custom": {"value": LONG, "externalId": SHORT},
    "operator_feedback": {
        "relatedEventId": limits.MAX_CONTEXT_ID_CHARS,
        "feedback": limits.FEEDBACKS,
    },
}
MAX_EXACT_INTEGER = 2**53 - 1


def assert_within_limits(payload, *, now=None):
    """Fails unless the body of `POST /vision-events` would be taken without a warning."""
    _assert_json(payload, "payload")
    assert json.loads(json.dumps(payload, allow_nan=False)) == payload
    json.dumps(payload, ensure_ascii=False).encode("utf-8")  # fails on half a surrogate pair
    assert STRICT_KEYS <= payload.keys() <= STRICT_KEYS | LOOSE_KEYS, sorted(payload)
    _assert_text(payload["eventId"], "eventId", limits.MAX_CONTEXT_ID_CHARS)
    assert payload["eventType"] in limits.EVENT_TYPES, payload["eventType"]
    _assert_text(payload["useCaseId"], "useCaseId", limits.MAX_USE_CASE_ID_CHARS)
    _assert_timestamp(payload["timestamp"], now or datetime.now(timezone.utc))
    for key in ("deviceId", "streamId", "workflowId"):
        if key in payload:
            _assert_text(payload[key], key, limits.MAX_CONTEXT_ID_CHARS)
    if "workflowVersion" in payload:
        _assert_text(
            payload["workflowVersion"], "workflowVersion", limits.MAX_WORKFLOW_VERSION_CHARS
        )
    if "comment" in payload:
        assert payload["eventType"] == "operator_feedback"
        _assert_text(payload["comment"], "comment", limits.MAX_COMMENT_CHARS)
    _assert_event_data(payload["eventType"], payload.get("eventData", {}))
    _assert_metadata(payload.get("customMetadata", {}))
    images = payload.get("images", [])
    assert type(images) is list
    assert len(images) <= limits.MAX_IMAGES
    for position, image in enumerate(images):
        _assert_image(image, f"images.{position}")
    shown = payload.get("displayImagePosition")
    if shown is not None:
        assert type(shown) is int
        assert 0 <= shown < len(images)
        assert IMAGE_IDS & images[shown].keys(), "the image to display has no picture"


def _assert_json(value, path):
    """Only the types that a JSON reader gives back, exactly: no subclass, no null."""
    assert type(value) in (dict, list, str, int, float, bool), f"{path} is a {type(value)}"
    if type(value) is dict:
        for key, inner in value.items():
            assert type(key) is str, f"{path} has the key {key!r}"
            _assert_json(inner, f"{path}.{key}")
    elif type(value) is list:
        for position, inner in enumerate(value):
            _assert_json(inner, f"{path}.{position}")
    elif type(value) is float:
        assert math.isfinite(value), f"{path} is {value}"
    elif type(value) is int:
        assert abs(value) <= MAX_EXACT_INTEGER, f"{path} is {value}"
    elif type(value) is str:
        assert "\x00" not in value, f"{path} holds NUL"


def _assert_text(value, path, max_chars):
    """A text that is not empty; its length is counted as JavaScript does."""
    assert type(value) is str, f"{path} is {value!r}"
    assert value, f"{path} is empty"
    chars = len(value.encode("utf-16-le")) // 2
    assert chars <= max_chars, f"{path} has {chars} characters"


def _assert_number(value, path):
    assert type(value) in (int, float), f"{path} is {value!r}"


def _assert_pixels(value, path):
    _assert_number(value, path)
    assert abs(value) <= limits.MAX_COORDINATE_PX, f"{path} is {value!r}"


def _assert_timestamp(text, now):
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    assert moment.tzinfo is not None, f"timestamp {text} has no zone"
    assert now - limits.MAX_EVENT_AGE <= moment <= now + limits.MAX_EVENT_LEAD, text


def _assert_event_data(event_type, event_data):
    rules = EVENT_DATA[event_type]
    assert event_data.keys() <= rules.keys(), sorted(event_data)
    if event_type == "operator_feedback":
        assert event_data.keys() == rules.keys(), sorted(event_data)
    for key, value in event_data.items():
        rule = rules[key]
        if rule is int:
            assert type(value) is int, f"{key} is {value!r}"
            assert value >= 0, f"{key} is {value}"
        elif type(rule) is tuple:
            assert value in rule, f"{key} is {value!r}"
        else:
            _assert_text(value, key, rule)
    if "alertType" in event_data:
        assert limits.ALERT_TYPE_PATTERN.fullmatch(event_data["alertType"])


def _assert_metadata(metadata):
    assert type(metadata) is dict
    assert len(metadata) <= limits.MAX_METADATA_KEYS
    for key, value in metadata.items():
        assert limits.METADATA_KEY_PATTERN.fullmatch(key), f"metadata key {key!r}"
        assert len(key) <= limits.MAX_METADATA_KEY_CHARS, f"metadata key {key!r}"
        assert type(value) in (str, int, float, bool), f"metadata {key} is {value!r}"
        if type(value) is str:
            _assert_text(value, key, limits.MAX_METADATA_VALUE_CHARS)
        if type(value) is float:
            assert value == round(value, limits.METADATA_DECIMALS), f"metadata {key} is {value!r}"


def _assert_image(image, path):
    assert image.keys() <= {"label", *IMAGE_IDS, *ANNOTATION_KEYS}, sorted(image)
    assert len(image) > 1, f"{path} holds nothing but a label"
    for key in ("label", *IMAGE_IDS):
        if key in image:
            _assert_text(image[key], f"{path}.{key}", SHORT)
    for key, keys in ANNOTATION_KEYS.items():
        entries = image.get(key)
        if entries is None:
            continue
        assert type(entries) is list
        assert 1 <= len(entries) <= limits.MAX_ANNOTATIONS, f"{path}.{key}: {len(entries)}"
        for position, entry in enumerate(entries):
            assert entry.keys() == keys, sorted(entry)
            _assert_annotation(entry, f"{path}.{key}.{position}")


def _assert_annotation(entry, path):
    _assert_text(entry["class"], f"{path}.class", SHORT)
    _assert_number(entry["confidence"], f"{path}.confidence")
    assert 0 <= entry["confidence"] <= 1, f"{path}.confidence is {entry['confidence']}"
    if "x" in entry:
        for side in ("x", "y", "width", "height"):
            _assert_pixels(entry[side], f"{path}.{side}")
        assert entry["width"] >= 0, path
        assert entry["height"] >= 0, path
    if "points" in entry:
        assert len(entry["points"]) >= limits.MIN_POLYGON_POINTS, path
        for point in entry["points"]:
            assert type(point) is list, path
            assert len(point) == 2, f"{path} has the point {point}"
            for value in point:
                _assert_pixels(value, f"{path}.points")
    if "keypoints" in entry:
        assert len(entry["keypoints"]) >= limits.MIN_KEYPOINTS, path
        for point in entry["keypoints"]:
            assert {"id", "x", "y"} <= point.keys() <= {"id", "x", "y", "occluded"}, sorted(point)
            assert type(point["id"]) is int, f"{path} has the key point {point}"
            assert type(point.get("occluded", False)) is bool, f"{path} has the key point {point}"
            for axis in ("x", "y"):
                _assert_pixels(point[axis], f"{path}.keypoints.{axis}")

"""The checker of payloads sees every kind of breach: a check that lets all pass shows nothing."""

from __future__ import annotations

import copy
from datetime import datetime, timezone

import numpy as np
import pytest

from tests.payloads import assert_within_limits

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
BOX = {"class": "cap", "x": 1, "y": 2.5, "width": 3, "height": 4, "confidence": 0.9}
GOOD = {
    "eventId": "5b0a3a52",
    "eventType": "inventory_count",
    "useCaseId": "dock",
    "timestamp": "2026-03-01T11:59:59.500Z",
    "deviceId": "d",
    "eventData": {"itemCount": 3, "itemType": "cap"},
    "images": [
        {
            "label": "workflow",
            "sourceId": "s",
            "objectDetections": [BOX],
            "classifications": [{"class": "cap", "confidence": 1}],
            "instanceSegmentations": [{**BOX, "points": [[0, 0], [1, 0], [1, 1]]}],
            "keypoints": [{**BOX, "keypoints": [{"id": 0, "x": 1, "y": 2, "occluded": True}]}],
        }
    ],
    "displayImagePosition": 0,
    "customMetadata": {"line 3": "a", "n": 1.123456, "b": True},
}


def changed(path, value):
    """The good payload with one value replaced, or removed by `...`; `a.0.b` leads into lists."""
    payload = copy.deepcopy(GOOD)
    *parents, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place = payload
    for step in parents:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return payload


def test_a_payload_within_all_limits_passes():
    assert_within_limits(GOOD, now=NOW)
    assert_within_limits({key: GOOD[key] for key in list(GOOD)[:4]}, now=NOW)


SEGMENT, KEY_POINT = "images.0.instanceSegmentations.0", "images.0.keypoints.0"
FIRST_BOX = "images.0.objectDetections.0"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("eventId", ...),
        ("eventId", ""),
        ("eventType", "count"),
        ("useCaseId", "x" * 257),
        ("useCaseId", "😀" * 129),
        ("timestamp", "2026-03-01T11:59:59"),
        ("timestamp", "2025-02-28T11:59:59Z"),
        ("timestamp", "2026-03-02T12:00:01Z"),
        ("deviceId", "x" * 257),
        ("deviceId", None),
        ("workflowVersion", "x" * 65),
        ("surprise", 1),
        ("comment", "not of this type"),
        ("displayImagePosition", 1),
        ("displayImagePosition", True),
        ("images.0.sourceId", ...),
        ("images", ({},)),
        ("images", [{"label": "a", "sourceId": "s"}] * 1001),
        ("images.0.surprise", 1),
        ("images.0.label", 7),
        ("images.0.objectDetections", []),
        ("images.0.objectDetections", [BOX] * 1001),
        (f"{FIRST_BOX}.class", ...),
        (f"{FIRST_BOX}.class", ""),
        (f"{FIRST_BOX}.class", np.str_("cap")),
        (f"{FIRST_BOX}.class", "a\x00b"),
        (f"{FIRST_BOX}.class", "\ud800"),
        (f"{FIRST_BOX}.confidence", 1.01),
        (f"{FIRST_BOX}.confidence", -0.01),
        (f"{FIRST_BOX}.confidence", True),
        (f"{FIRST_BOX}.x", float("nan")),
        (f"{FIRST_BOX}.x", np.float64(1)),
        (f"{FIRST_BOX}.x", 2**53 + 1),
        (f"{FIRST_BOX}.x", "1"),
        (f"{FIRST_BOX}.width", -1),
        (f"{FIRST_BOX}.tracker_id", 4),
        (f"{SEGMENT}.points", [[0, 0], [1, 1]]),
        (f"{SEGMENT}.points", [[0, 0], [1, 1], [2]]),
        (f"{SEGMENT}.points.0", [0, False]),
        (f"{KEY_POINT}.keypoints", []),
        (f"{KEY_POINT}.keypoints.0.id", "nose"),
        (f"{KEY_POINT}.keypoints.0.occluded", 1),
        (f"{KEY_POINT}.keypoints.0.confidence", 0.5),
        ("eventData.itemCount", -1),
        ("eventData.itemCount", 3.0),
        ("eventData.itemCount", True),
        ("eventData.itemType", "x" * 1001),
        ("eventData.result", "pass"),
        ("customMetadata", {f"key-{number}": 1 for number in range(101)}),
        ("customMetadata.temp°", 1),
        ("customMetadata.", 1),
        ("customMetadata." + "k" * 101, 1),
        ("customMetadata.n", 1.1234567),
        ("customMetadata.n", None),
        ("customMetadata.n", [1]),
        ("customMetadata.n", "x" * 1001),
        ("customMetadata.n", ""),
    ],
)
def test_a_breach_is_seen(path, value):
    with pytest.raises((AssertionError, UnicodeEncodeError)):
        assert_within_limits(changed(path, value), now=NOW)


@pytest.mark.parametrize(
    ("event_type", "event_data"),
    [
        ("quality_check", {"result": "ok"}),
        ("safety_alert", {"severity": "HIGH"}),
        ("safety_alert", {"alertType": "no hard hat"}),
        ("safety_alert", {"alertType": "a" * 257}),
        ("safety_alert", {"description": "x" * 10_001}),
        ("custom", {"value": 5}),
        ("operator_feedback", {"relatedEventId": "e"}),
        ("operator_feedback", {"relatedEventId": "e", "feedback": "maybe"}),
        ("operator_feedback", {"relatedEventId": "e", "feedback": "correct", "externalId": "x"}),
    ],
)
def test_a_breach_in_the_data_of_a_type_is_seen(event_type, event_data):
    payload = {**GOOD, "eventType": event_type, "eventData": {}}
    if event_type != "operator_feedback":
        assert_within_limits(payload, now=NOW)
    with pytest.raises(AssertionError):
        assert_within_limits({**payload, "eventData": event_data}, now=NOW)

"""What ingest refuses, what it warns about, and what it keeps: rule by rule."""

from __future__ import annotations

import gc
import json
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_event_block.contract import limits
from vision_event_block.contract.documents import (
    MAX_CONTAINERS,
    MAX_VALUES,
    NotJson,
    parse_json,
)
from vision_event_block.server.api.ingest import MAX_WARNINGS, RequestRefused, identify, ingest

NOW = datetime(2026, 3, 2, 12, tzinfo=timezone.utc)
EVENT = {
    "eventId": "e-1",
    "eventType": "custom",
    "useCaseId": "dock",
    "timestamp": "2026-03-01T09:15:27Z",
}
BOX = {"class": "pallet", "x": 4.5, "y": 3, "width": 8, "height": 6, "confidence": 0.5}
OUTLINE = {**BOX, "points": [[0, 0], [4, 0], [4, 4.5]]}
SKELETON = {**BOX, "keypoints": [{"id": 0, "x": 1, "y": 2.5, "occluded": True}]}
LABEL = {"class": "wet", "confidence": 1}


def event(**fields):
    return {**EVENT, **fields}


def without(key):
    return {name: value for name, value in EVENT.items() if name != key}


def of_type(event_type, event_data):
    return event(eventType=event_type, eventData=event_data)


def showing(**image):
    return event(images=[image])


def taken(body, **options):
    return ingest(body, now=NOW, **options).event


def warned(body):
    return [(warning["type"], warning["path"]) for warning in taken(body).warnings]


REFUSED = {
    "an event is an object": (["not", "one"], "object"),
    "eventId is required": (without("eventId"), "^eventId is required$"),
    "eventId is no null": (event(eventId=None), "^eventId is required$"),
    "eventId is a string": (event(eventId=7), "eventId"),
    "eventId is not empty": (event(eventId=""), "eventId"),
    "eventId has an end": (event(eventId="e" * 257), "eventId"),
    "eventId can be stored": (event(eventId="a\0b"), "eventId"),
    "eventType is required": (without("eventType"), "^eventType is required$"),
    "eventType is no null": (event(eventType=None), "^eventType is required$"),
    "eventType is one of five": (event(eventType="quality"), "eventType"),
    "eventType minds the case": (event(eventType="Custom"), "eventType"),
    "eventType is a string": (event(eventType=["custom"]), "eventType"),
    "useCaseId is required": (without("useCaseId"), "^useCaseId is required$"),
    "useCaseId is a string": (event(useCaseId={"id": "dock"}), "useCaseId"),
    "useCaseId is not empty": (event(useCaseId=""), "useCaseId"),
    "useCaseId has at most 256 characters": (event(useCaseId="u" * 257), "useCaseId"),
    "useCaseId counts as JavaScript does": (event(useCaseId="😀" * 129), "useCaseId"),
    "timestamp is required": (without("timestamp"), "^timestamp is required$"),
    "timestamp is no null": (event(timestamp=None), "^timestamp is required$"),
    "timestamp is a string": (event(timestamp=1_772_356_527), "timestamp"),
    "timestamp is ISO 8601": (event(timestamp="1 March 2026"), "timestamp"),
    "timestamp names a day that exists": (event(timestamp="2026-02-30T00:00:00Z"), "timestamp"),
    "timestamp names an hour that exists": (event(timestamp="2026-03-01T25:00:00Z"), "timestamp"),
    "timestamp names a zone that exists": (
        event(timestamp="2026-03-01T00:00:00+99:99"),
        "timestamp",
    ),
    "timestamp is not before all time": (event(timestamp="0001-01-01T00:00:00+14:00"), "timestamp"),
    "timestamp is in ASCII": (
        event(timestamp="\uff12\uff10\uff12\uff16-03-01T00:00:00Z"),
        "timestamp",
    ),
    "timestamp is at most a year ago": (event(timestamp="2025-03-02T11:59:59Z"), "timestamp"),
    "timestamp is at most tomorrow": (event(timestamp="2026-03-03T12:00:01Z"), "timestamp"),
}


@pytest.mark.parametrize("rule", REFUSED)
def test_a_wrong_strict_field_refuses_the_event_and_is_named(rule):
    body, name = REFUSED[rule]

    with pytest.raises(RequestRefused, match=name) as refused:
        taken(body)

    assert refused.value.status == 400


SPARE = {"spare_id": "spare"}


@pytest.mark.parametrize("missing", [("eventId",), ("timestamp",), ("eventId", "timestamp")])
@pytest.mark.parametrize("is_null", [False, True], ids=["absent", "null"])
def test_a_missing_id_or_time_is_made_with_a_warning_where_there_is_a_spare_id(missing, is_null):
    body = {key: value for key, value in EVENT.items() if key not in missing}

    stored = taken(body | dict.fromkeys(missing) if is_null else body, **SPARE)

    usual = taken(event())
    assert stored.event_id == ("spare" if "eventId" in missing else usual.event_id)
    assert stored.timestamp == (NOW if "timestamp" in missing else usual.timestamp)
    assert stored.body["eventId"] == stored.event_id
    assert datetime.fromisoformat(stored.body["timestamp"]) == stored.timestamp
    assert stored.warnings == tuple(
        {"type": "any.required", "path": key, "value": None, "valueType": "object"}
        for key in missing
    )


def test_an_event_that_names_both_needs_no_spare_id():
    assert taken(event(), **SPARE) == taken(event())


#: Of what an event must name, no spare id helps against these.
HOPELESS = [
    rule
    for rule in REFUSED
    if rule
    not in {
        "eventId is required",
        "eventId is no null",
        "timestamp is required",
        "timestamp is no null",
    }
]


@pytest.mark.parametrize("rule", HOPELESS)
def test_a_field_that_is_there_and_wrong_is_refused_even_with_a_spare_id(rule):
    body, name = REFUSED[rule]

    with pytest.raises(RequestRefused, match=name):
        taken(body, **SPARE)


def test_what_was_made_is_told_before_a_hundred_other_warnings():
    bad = {**BOX, "x": None, "y": None}
    images = [{"objectDetections": [bad] * 1000}]

    stored = taken({**without("eventId"), "images": images}, **SPARE)

    assert len(stored.warnings) == MAX_WARNINGS
    assert stored.warnings[0]["path"] == "eventId"


TIMES = {
    "2026-03-01T09:15:27Z": (9, 15, 27, 0),
    "2026-03-01T09:15:27.5Z": (9, 15, 27, 500_000),
    "2026-03-01t09:15:27.123z": (9, 15, 27, 123_000),
    "2026-03-01T09:15:27.123456+00:00": (9, 15, 27, 123_456),
    "2026-03-01T09:15:27.123456789Z": (9, 15, 27, 123_456),
    "2026-03-01T10:15:27+01:00": (9, 15, 27, 0),
    "2026-03-01T04:45:27-0430": (9, 15, 27, 0),
    "2026-03-01T11:15:27+02": (9, 15, 27, 0),
    "2026-03-01T09:15:27": (9, 15, 27, 0),
    "2026-03-01 09:15:27Z": (9, 15, 27, 0),
    "2026-03-01T09:15Z": (9, 15, 0, 0),
    "2026-03-01": (0, 0, 0, 0),
}


@pytest.mark.parametrize("text", TIMES)
def test_timestamps_are_read_in_all_spellings_of_iso_8601(text):
    moment = taken(event(timestamp=text)).timestamp

    assert moment == datetime(2026, 3, 1, *TIMES[text], tzinfo=timezone.utc)


def test_the_window_of_timestamps_includes_its_ends():
    for moment in (NOW - timedelta(days=365), NOW + timedelta(days=1)):
        assert taken(event(timestamp=moment.isoformat())).timestamp == moment


SOUND = {
    "only the strict fields": event(),
    "a use case of 256 characters": event(useCaseId="u" * 256),
    "empty event data": event(eventData={}),
    "a passed check": of_type("quality_check", {"result": "pass", "externalId": "x" * 1000}),
    "a count": of_type(
        "inventory_count",
        {"location": "l" * 1000, "itemCount": 0, "itemType": "pallet", "externalId": ""},
    ),
    "a count as a float without fraction": of_type("inventory_count", {"itemCount": 18.0}),
    "an alert": of_type(
        "safety_alert",
        {"alertType": "no_Helmet-1", "severity": "high", "description": "d" * 10_000},
    ),
    "a custom value": of_type("custom", {"value": "v" * 10_000, "externalId": "x"}),
    "feedback": event(
        eventType="operator_feedback",
        eventData={"relatedEventId": "e-0", "feedback": "inconclusive"},
        comment="seen twice",
    ),
    "context": event(
        deviceId="d" * 256, streamId="s" * 256, workflowId="w" * 256, workflowVersion="v" * 64
    ),
    "a thousand images": event(images=[{}] * 1000, displayImagePosition=999),
    "an image with everything": showing(
        label="workflow",
        sourceId="a",
        inputSourceId="b",
        objectDetections=[BOX] * 1000,
        classifications=[LABEL],
        instanceSegmentations=[OUTLINE],
        keypoints=[SKELETON],
    ),
    "a point of a skeleton without occlusion, with a name": showing(
        keypoints=[{**BOX, "keypoints": [{"id": "nose", "x": 1, "y": 2}]}]
    ),
    "boxes beyond the edge": showing(objectDetections=[{**BOX, "x": -5, "y": 1e6}]),
    "metadata of all types": event(
        customMetadata={"a b-C_9": "x" * 1000, "n": 3.25, "i": -7, "yes": True, "empty": ""}
    ),
    "metadata of 100 keys": event(customMetadata={f"k{i}": i for i in range(100)}),
    "a comment without feedback": event(comment="c" * 10_000),
}


@pytest.mark.parametrize("case", SOUND)
def test_what_is_right_is_kept_as_it_is_and_without_a_warning(case):
    body = SOUND[case]

    stored = taken(body)

    assert stored.warnings == ()
    expected = {"eventData": {}, **body, "timestamp": "2026-03-01T09:15:27.000000+00:00"}
    assert stored.body == expected


EVENT_DATA = {
    "a key that is required": ("operator_feedback", {"feedback": "correct"}, "any.required"),
    "a result that is none": ("quality_check", {"result": "passed"}, "any.only"),
    "a result that is no string": ("quality_check", {"result": True}, "any.only"),
    "an external id that is too long": ("custom", {"externalId": "x" * 1001}, "string.max"),
    "an external id that is a number": ("custom", {"externalId": 5}, "string.base"),
    "an external id for feedback": (
        "operator_feedback",
        {"relatedEventId": "e", "feedback": "correct", "externalId": "x"},
        "object.unknown",
    ),
    "a location that is too long": ("inventory_count", {"location": "x" * 1001}, "string.max"),
    "an item type that is too long": ("inventory_count", {"itemType": "x" * 1001}, "string.max"),
    "a count below zero": ("inventory_count", {"itemCount": -1}, "number.min"),
    "a count with a fraction": ("inventory_count", {"itemCount": 1.5}, "number.integer"),
    "a count as text": ("inventory_count", {"itemCount": "18"}, "number.base"),
    "a count that is a boolean": ("inventory_count", {"itemCount": True}, "number.base"),
    "a count beyond exact numbers": ("inventory_count", {"itemCount": 2**53 + 1}, "number.unsafe"),
    "an alert type with a space": (
        "safety_alert",
        {"alertType": "no helmet"},
        "string.pattern.base",
    ),
    "an alert type that ends in a line break": (
        "safety_alert",
        {"alertType": "helmet\n"},
        "string.pattern.base",
    ),
    "an alert type that is too long": ("safety_alert", {"alertType": "a" * 257}, "string.max"),
    "a severity that is none": ("safety_alert", {"severity": "critical"}, "any.only"),
    "a description that is too long": (
        "safety_alert",
        {"description": "d" * 10_001},
        "string.max",
    ),
    "a value that is a number": ("custom", {"value": 5}, "string.base"),
    "a value that is too long": ("custom", {"value": "v" * 10_001}, "string.max"),
    "a feedback that is none": (
        "operator_feedback",
        {"relatedEventId": "e", "feedback": "wrong"},
        "any.only",
    ),
    "a key of another type": ("quality_check", {"severity": "low"}, "object.unknown"),
    "a key of nobody": ("custom", {"value": "a", "colour": "red"}, "object.unknown"),
    "no object": ("custom", ["value"], "object.base"),
    "a null": ("custom", None, "object.base"),
}


@pytest.mark.parametrize("case", EVENT_DATA)
def test_wrong_event_data_is_stored_as_an_empty_object_with_a_warning(case):
    event_type, event_data, code = EVENT_DATA[case]

    stored = taken(of_type(event_type, event_data))

    assert [warning["type"] for warning in stored.warnings] == [code]
    assert stored.warnings[0]["path"].startswith("eventData")
    assert stored.body["eventData"] == {}


def test_feedback_without_any_event_data_names_both_keys():
    assert warned(event(eventType="operator_feedback")) == [
        ("any.required", "eventData.relatedEventId"),
        ("any.required", "eventData.feedback"),
    ]


IMAGES = {
    "no list": ({"label": "x"}, "array.base", "images"),
    "more than a thousand": ([{}] * 1001, "array.max", "images"),
    "an image that is no object": (["a"], "object.base", "images.0"),
    "a label that is no string": ([{"label": 5}], "string.base", "images.0.label"),
    "a source id that is no string": ([{"sourceId": 5}], "string.base", "images.0.sourceId"),
    "more than a thousand boxes": (
        [{"objectDetections": [BOX] * 1001}],
        "array.max",
        "images.0.objectDetections",
    ),
    "a confidence above one": (
        [{"objectDetections": [BOX, {**BOX, "confidence": 1.01}]}],
        "number.max",
        "images.0.objectDetections.1.confidence",
    ),
    "a confidence below zero": (
        [{"classifications": [{**LABEL, "confidence": -0.1}]}],
        "number.min",
        "images.0.classifications.0.confidence",
    ),
    "a box without a class": (
        [{"objectDetections": [{k: v for k, v in BOX.items() if k != "class"}]}],
        "any.required",
        "images.0.objectDetections.0.class",
    ),
    "a coordinate beyond all pictures": (
        [{"objectDetections": [{**BOX, "x": 1_000_000.5}]}],
        "number.max",
        "images.0.objectDetections.0.x",
    ),
    "an outline beyond all pictures": (
        [{"instanceSegmentations": [{**BOX, "points": [[0, 0], [1e9, 0], [4, 4]]}]}],
        "number.max",
        "images.0.instanceSegmentations.0.points.1.0",
    ),
    "a key point beyond all pictures": (
        [{"keypoints": [{**BOX, "keypoints": [{"id": 0, "x": 1, "y": -1e7}]}]}],
        "number.min",
        "images.0.keypoints.0.keypoints.0.y",
    ),
    "a coordinate as text": (
        [{"objectDetections": [{**BOX, "x": "4"}]}],
        "number.base",
        "images.0.objectDetections.0.x",
    ),
    "an outline of two points": (
        [{"instanceSegmentations": [{**BOX, "points": [[0, 0], [1, 1]]}]}],
        "array.min",
        "images.0.instanceSegmentations.0.points",
    ),
    "a point that is an object": (
        [{"instanceSegmentations": [{**BOX, "points": [[0, 0], {"x": 1, "y": 1}, [2, 2]]}]}],
        "array.base",
        "images.0.instanceSegmentations.0.points.1",
    ),
    "a point of three numbers": (
        [{"instanceSegmentations": [{**BOX, "points": [[0, 0], [1, 1], [2, 2, 2]]}]}],
        "array.length",
        "images.0.instanceSegmentations.0.points.2",
    ),
    "a skeleton without points": (
        [{"keypoints": [{**BOX, "keypoints": []}]}],
        "array.min",
        "images.0.keypoints.0.keypoints",
    ),
    "a skeleton without its list": (
        [{"keypoints": [BOX]}],
        "any.required",
        "images.0.keypoints.0.keypoints",
    ),
    "a point of a skeleton without id": (
        [{"keypoints": [{**BOX, "keypoints": [{"x": 1, "y": 1}]}]}],
        "any.required",
        "images.0.keypoints.0.keypoints.0.id",
    ),
    "an occlusion that is a number": (
        [{"keypoints": [{**BOX, "keypoints": [{"id": 1, "x": 1, "y": 1, "occluded": 1}]}]}],
        "boolean.base",
        "images.0.keypoints.0.keypoints.0.occluded",
    ),
}


@pytest.mark.parametrize("case", IMAGES)
def test_one_wrong_image_drops_all_images_with_a_warning(case):
    images, code, path = IMAGES[case]

    stored = taken(event(images=images, deviceId="cam"))

    assert [(warning["type"], warning["path"]) for warning in stored.warnings] == [(code, path)]
    assert "images" not in stored.body
    assert stored.body["deviceId"] == "cam"
    assert stored.other == {"images": images}


UNKNOWN = {
    "of an image": ([{"file": "a.jpg"}], "images.0.file"),
    "of a box": (
        [{"objectDetections": [{**BOX, "trackerId": 4}]}],
        "images.0.objectDetections.0.trackerId",
    ),
    "of a class": ([{"classifications": [{**LABEL, "of": []}]}], "images.0.classifications.0.of"),
    "of a key point": (
        [{"keypoints": [{**BOX, "keypoints": [{"id": 0, "x": 1, "y": 2, "z": 3}]}]}],
        "images.0.keypoints.0.keypoints.0.z",
    ),
    "with the metadata of an image": ([{"camera": {"gain": 2}}], "images.0.camera"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_an_unknown_key_of_an_image_is_kept_with_a_warning(case):
    images, path = UNKNOWN[case]

    stored = taken(event(images=images))

    assert [(it["type"], it["path"]) for it in stored.warnings] == [("object.unknown", path)]
    assert stored.body["images"] == images
    assert stored.other == {}


def test_a_wrong_value_behind_hundreds_of_unknown_keys_is_found_and_told_first():
    odd = [{**BOX, "trackerId": each} for each in range(500)]
    images = [{"objectDetections": [*odd, {**BOX, "x": "left"}]}]

    stored = taken(event(images=images))

    assert "images" not in stored.body
    assert len(stored.warnings) == MAX_WARNINGS
    assert stored.warnings[0]["type"] == "number.base"


IMAGE_METADATA = {
    "a nested value": {"gain": 2, "lens": {"mm": 8}},
    "a key with a dot": {"gain": 2, "a.b": 1},
    "no object": "gain 2",
}


@pytest.mark.parametrize("case", IMAGE_METADATA)
def test_metadata_of_an_image_that_break_a_rule_are_kept_as_they_came_with_a_warning(case):
    images = [{"sourceId": "a", "metadata": IMAGE_METADATA[case]}]

    stored = taken(event(images=images))

    assert len(stored.warnings) == 1
    assert stored.warnings[0]["path"].startswith("images.0.metadata")
    assert stored.body["images"] == images


def test_what_is_lost_stays_beside_the_event_as_it_came():
    wrong = {
        "eventData": {"value": "a", "colour": "red"},
        "customMetadata": {"n": 1, "deep": {"a": [1]}},
        "images": [{"label": 5}],
        "deviceId": 7,
        "invented": {"by": ["the", "cloud"]},
    }

    stored = taken(event(**wrong, streamId="s"))

    assert stored.other == wrong
    assert stored.as_it_came == event(**wrong, streamId="s")


def test_what_came_under_an_old_name_stays_under_the_new_one():
    stored = taken({**without("useCaseId"), "solution": "dock"})

    assert stored.as_it_came == EVENT
    assert stored.other == {}


FIELDS = {
    "a device id that is too long": ("deviceId", "d" * 257, "string.max"),
    "a device id that is a number": ("deviceId", 7, "string.base"),
    "a stream id that is too long": ("streamId", "s" * 257, "string.max"),
    "a workflow id that is too long": ("workflowId", "w" * 257, "string.max"),
    "a workflow version that is too long": ("workflowVersion", "v" * 65, "string.max"),
    "a display position below zero": ("displayImagePosition", -1, "number.min"),
    "a display position of 1000": ("displayImagePosition", 1000, "number.max"),
    "a display position between two": ("displayImagePosition", 0.5, "number.integer"),
    "a display position as text": ("displayImagePosition", "0", "number.base"),
    "a comment that is too long": ("comment", "c" * 10_001, "string.max"),
    "a key that nobody knows": ("colour", "red", "object.unknown"),
    "a null": ("deviceId", None, "string.base"),
}


@pytest.mark.parametrize("case", FIELDS)
def test_any_other_wrong_field_is_dropped_alone_with_a_warning(case):
    key, value, code = FIELDS[case]

    stored = taken(event(eventData={"value": "kept"}, **{key: value}))

    assert [(warning["type"], warning["path"]) for warning in stored.warnings] == [(code, key)]
    assert key not in stored.body
    assert stored.body["eventData"] == {"value": "kept"}


METADATA = {
    "a key with a dot": ({"temp.c": 1}, "string.pattern.base"),
    "an empty key": ({"": 1}, "string.pattern.base"),
    "a key that is too long": ({"k" * 101: 1}, "string.max"),
    "a text that is too long": ({"note": "x" * 1001}, "string.max"),
    "a null": ({"note": None}, "alternatives.types"),
    "a list": ({"note": [1]}, "alternatives.types"),
    "an object": ({"note": {"a": 1}}, "alternatives.types"),
    "a number beyond exact numbers": ({"n": 10**400}, "number.unsafe"),
}


@pytest.mark.parametrize("case", METADATA)
def test_only_the_wrong_keys_of_metadata_are_dropped(case):
    wrong, code = METADATA[case]

    stored = taken(event(customMetadata={"shift": "night", **wrong, "door": 4}))

    assert [warning["type"] for warning in stored.warnings] == [code]
    assert stored.body["customMetadata"] == {"shift": "night", "door": 4}


def test_metadata_beyond_100_keys_is_cut_and_named():
    stored = taken(event(customMetadata={f"k{i}": i for i in range(130)}))

    assert [warning["type"] for warning in stored.warnings] == ["object.max"]
    assert stored.body["customMetadata"] == {f"k{i}": i for i in range(100)}


def test_metadata_that_is_no_object_is_empty():
    stored = taken(event(customMetadata="night"))

    assert warned(event(customMetadata="night")) == [("object.base", "customMetadata")]
    assert stored.body["customMetadata"] == {}


def test_metadata_keeps_six_decimals():
    stored = taken(event(customMetadata={"temp": 0.123456789}))

    assert stored.body["customMetadata"] == {"temp": 0.123457}


WORDS = {
    "a missing value is null and an object": (
        of_type("operator_feedback", {"relatedEventId": "e"}),
        {
            "type": "any.required",
            "path": "eventData.feedback",
            "value": None,
            "valueType": "object",
        },
    ),
    "a text is repeated": (
        of_type("quality_check", {"result": "ok"}),
        {"type": "any.only", "path": "eventData.result", "value": "ok", "valueType": "string"},
    ),
    "a number": (
        event(deviceId=7),
        {"type": "string.base", "path": "deviceId", "value": 7, "valueType": "number"},
    ),
    "a boolean": (
        event(deviceId=True),
        {"type": "string.base", "path": "deviceId", "value": True, "valueType": "boolean"},
    ),
    "a list is an object": (
        event(deviceId=[1]),
        {"type": "string.base", "path": "deviceId", "value": None, "valueType": "object"},
    ),
    "a number beyond exact numbers is not repeated": (
        event(displayImagePosition=10**400),
        {
            "type": "number.unsafe",
            "path": "displayImagePosition",
            "value": None,
            "valueType": "number",
        },
    ),
}


@pytest.mark.parametrize("case", WORDS)
def test_a_warning_speaks_as_the_api_does(case):
    body, warning = WORDS[case]

    assert taken(body).warnings == (warning,)


def test_a_warning_repeats_only_the_beginning_of_a_long_text():
    [warning] = taken(event(**{"k" * 5000: "v" * 5000})).warnings

    assert len(warning["value"]) == len(warning["path"]) == 256


def test_an_event_full_of_mistakes_has_a_bounded_number_of_warnings():
    bad = {**BOX, "x": None, "y": None}

    stored = taken(event(images=[{"objectDetections": [bad] * 1000}] * 20, colour="red"))

    assert len(stored.warnings) == MAX_WARNINGS
    assert "images" not in stored.body


@pytest.mark.parametrize("older", ["solution", "solutionId"])
def test_the_older_name_of_a_use_case_counts_and_is_named(older):
    ingested = ingest({**without("useCaseId"), older: "old"}, now=NOW)

    assert ingested.event.use_case_id == "old"
    assert ingested.event.body["useCaseId"] == "old"
    assert older not in ingested.event.body
    assert ingested.event.warnings == ()
    assert ingested.deprecations == [
        {"field": older, "replacement": "useCaseId", "message": "use useCaseId"}
    ]


def test_the_present_name_of_a_use_case_counts_before_the_older_one():
    ingested = ingest(event(solution="old"), now=NOW)

    assert ingested.event.use_case_id == "dock"
    assert len(ingested.deprecations) == 1


@pytest.mark.parametrize("older", ["solution", "solutionId"])
def test_a_null_is_no_name_of_a_use_case(older):
    by_older = ingest(event(useCaseId=None, **{older: "old"}), now=NOW)
    by_present = ingest(event(**{older: None}), now=NOW)

    assert by_older.event.use_case_id == "old"
    assert [each["field"] for each in by_older.deprecations] == [older]
    assert by_present.event.use_case_id == "dock"
    assert (by_present.deprecations, by_present.event.warnings) == ([], ())


def test_a_given_use_case_counts_before_all_names():
    assert taken(event(solution="old"), use_case_id="given").body["useCaseId"] == "given"
    assert identify(without("useCaseId"), now=NOW, use_case_id="given").use_case_id == "given"


BAD_JSON = {
    "nothing": b"",
    "half": b'{"a": ',
    "NaN": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}',
    "a float beyond all measure": b'{"a": 1e999}',
    "an integer of 5000 digits": b"[" + b"9" * 5000 + b"]",
    "no UTF-8": b'{"a": "\xff"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "nested too deep": b"[" * 100_000 + b"]" * 100_000,
    "objects nested too deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
}


@pytest.mark.parametrize("case", BAD_JSON)
def test_what_is_no_json_is_refused(case):
    with pytest.raises(NotJson):
        parse_json(BAD_JSON[case])


ENDLESS = {
    "lists": (b"[" + b"[]," * MAX_CONTAINERS + b"1]", "more than 1000000 lists and objects"),
    "objects": (b"[" + b"{}," * MAX_CONTAINERS + b"1]", "more than 1000000 lists and objects"),
    "values": (b"[" + b"1," * MAX_VALUES + b"1]", "more than 4000000 values"),
    "a level too many": (b"[" * 65 + b"]" * 65, "nested deeper than 64"),
    "objects in lists": (b'[{"a":' * 33 + b"1" + b"}]" * 33, "nested deeper than 64"),
    "a hundred thousand levels": (b"[" * 100_000 + b"]" * 100_000, "nested"),
    "levels that never end": (b'{"a":' * 1000, "nested|column"),
}


@pytest.mark.parametrize("case", ENDLESS)
def test_a_document_without_end_is_refused_before_it_takes_time(case):
    content, words = ENDLESS[case]

    with pytest.raises(NotJson, match=words):
        parse_json(content)


def test_a_document_may_be_as_large_and_as_deep_as_an_event():
    points = [[123.456, 78.9]] * 200_000
    body = json.dumps({"images": [{"instanceSegmentations": [{"points": points}]}]}).encode()

    assert parse_json(body)["images"][0]["instanceSegmentations"][0]["points"] == points
    assert parse_json(b"[" * 64 + b"]" * 64)
    assert gc.isenabled()


def test_brackets_in_texts_are_no_levels():
    assert parse_json(b'["' + b"[{" * 500 + b'", {}]') == ["[{" * 500, {}]


def test_characters_that_no_database_keeps_are_replaced():
    document = parse_json(rb'{"a\u0000": ["\ud800", "\ud83d\ude00", {"b": "c\udfff"}]}')

    assert document == {"a�": ["�", "😀", {"b": "c�"}]}
    assert parse_json(b"\xef\xbb\xbf1") == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["class", "x", "points", "keypoints", "id", "value", "k"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
KEYS = ["eventData", "images", "customMetadata", "deviceId", "displayImagePosition", "comment", "?"]


@given(st.dictionaries(st.sampled_from(KEYS), json_values), st.sampled_from(limits.EVENT_TYPES))
def test_whatever_the_loose_fields_hold_the_event_is_kept_and_clean(fields, event_type):
    stored = taken(event(eventType=event_type, **fields))

    again = taken(stored.body)
    assert json.loads(json.dumps(stored.body, allow_nan=False)) == stored.body
    assert again.body == stored.body
    left = [(it["type"], it["path"].partition(".")[0]) for it in again.warnings]
    required = event_type == "operator_feedback"
    assert set(left) <= {("object.unknown", "images")} | (
        {("any.required", "eventData")} if required else set()
    )
    assert stored.as_it_came == event(eventType=event_type, **fields)
    json.dumps(stored.warnings, allow_nan=False)

from __future__ import annotations

import itertools
import random
from datetime import datetime, timedelta, timezone

import pytest

from tests.unit.server.scenes import NOON, event, everything, feedback, found, seen
from vision_event_block.contract import limits
from vision_event_block.server.api.bodies import QUERY
from vision_event_block.server.store.errors import BadQuery
from vision_event_block.server.store.filters import (
    EVENT_FIELDS,
    Condition,
    Confidence,
    Detection,
    FieldCondition,
    Filters,
)
from vision_event_block.server.store.query_filters import filters_of

EVERY_FILTER = {
    "useCaseId": "dock",
    "startTime": "2026-03-01T10:00:00+01:00",
    "endTime": "2026-03-02T00:00:00.5Z",
    "eventType": "custom",
    "eventTypes": ["safety_alert", "custom"],
    "deviceId": {"operator": "neq", "value": "cam"},
    "streamId": "stream",
    "workflowId": {"value": "w"},
    "externalId": {"operator": "contains", "value": "55"},
    "customMetadataFilters": [
        {"field": "temp", "operator": "gt", "value": 3, "type": "number"},
        {"field": "temp", "operator": "lt", "value": "4.5", "type": "number"},
        {"field": "sealed", "operator": "eq", "value": True},
    ],
    "eventFieldFilters": [
        {"column": "item_count", "operator": "gte", "value": "7"},
        {"column": "itemType", "operator": "eq", "value": "box"},
        {"column": "event_type", "operator": "neq", "value": "custom"},
    ],
    "detection": {
        "operator": "not_in",
        "value": ["person", "cat"],
        "confidence": {"operator": "lt", "value": 0.25},
    },
    "detectionClass": {"class": "pallet", "minConfidence": 0.5},
    "imageCount": {"operator": "gte", "value": 2},
    "feedbackStatus": ["none", "correct"],
    "hasWarnings": False,
    "limit": 5,
    "cursor": None,
}


def test_a_query_is_read_completely():
    assert filters_of(EVERY_FILTER) == Filters(
        use_case_id="dock",
        start=datetime(2026, 3, 1, 9, tzinfo=timezone.utc),
        end=datetime(2026, 3, 2, 0, 0, 0, 500_000, tzinfo=timezone.utc),
        event_types=("safety_alert", "custom"),
        device_id=Condition("neq", "cam"),
        stream_id=Condition("eq", "stream"),
        workflow_id=Condition("eq", "w"),
        external_id=Condition("contains", "55"),
        metadata=(
            FieldCondition("temp", "gt", 3.0, "number"),
            FieldCondition("temp", "lt", 4.5, "number"),
            FieldCondition("sealed", "eq", value=True, type="boolean"),
        ),
        event_fields=(
            FieldCondition("itemCount", "gte", 7.0, "number"),
            FieldCondition("itemType", "eq", "box", "string"),
            FieldCondition("eventType", "neq", "custom", "string"),
        ),
        detections=(
            Detection(("person", "cat"), Confidence("lt", 0.25), is_negated=True),
            Detection(("pallet",), Confidence("gte", 0.5)),
        ),
        image_count=FieldCondition("imageCount", "gte", 2.0, "number"),
        feedback=("none", "correct"),
        has_warnings=False,
    )


def test_a_query_with_nothing_but_a_use_case_asks_for_everything():
    nulls = dict.fromkeys(["startTime", "eventTypes", "deviceId", "detectionClass", "limit"])

    assert filters_of({"useCaseId": "dock", **nulls}) == everything()


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=timezone.utc)),
        ("2026-03-01T09:15", datetime(2026, 3, 1, 9, 15, tzinfo=timezone.utc)),
        (" 2026-03-01 09:15:27 ", datetime(2026, 3, 1, 9, 15, 27, tzinfo=timezone.utc)),
        (
            "2026-03-01T09:15:27.123456-08:00",
            datetime(2026, 3, 1, 17, 15, 27, 123456, timezone.utc),
        ),
    ],
)
def test_a_time_without_a_zone_is_in_utc(given, moment):
    assert filters_of({"useCaseId": "dock", "startTime": given}).start == moment


REFUSED = [
    ({"useCaseId": None}, "useCaseId"),
    ({"useCaseId": ""}, "useCaseId"),
    ({"useCaseId": 7}, "useCaseId"),
    ({"devices": "cam"}, "unknown filter 'devices'"),
    ({"startTime": "yesterday"}, "startTime"),
    ({"startTime": "0001-01-01T00:00:00+14:00"}, "startTime"),
    ({"endTime": 1_772_356_527}, "endTime"),
    ({"eventType": "party"}, "'party' is no event type"),
    ({"eventType": ["custom"]}, "no event type"),
    ({"eventTypes": "custom"}, "eventTypes must be a list"),
    ({"eventTypes": ["custom"] * 21}, "at most 20"),
    (
        {"deviceId": {"operator": "gt", "value": "a"}},
        "no operator 'gt' here; there are eq, neq",
    ),
    ({"deviceId": {"operator": "eq", "value": 7}}, "deviceId must be text, or look like"),
    ({"deviceId": ["cam"]}, "deviceId must be text, or look like"),
    ({"externalId": {"operator": "contains", "value": "x" * 10_001}}, "10000 characters"),
    ({"customMetadataFilters": {}}, "must be a list"),
    ({"customMetadataFilters": [{}] * 21}, "at most 20"),
    ({"customMetadataFilters": [7]}, "customMetadataFilters.0 must look like"),
    (
        {"customMetadataFilters": [{"field": "a", "operator": "like", "value": "b"}]},
        "no operator 'like' here; there are eq, neq, contains, gt, gte, lt, lte",
    ),
    (
        {"customMetadataFilters": [{"field": "a", "operator": "gt", "value": True}]},
        "no operator 'gt' here; there are eq, neq",
    ),
    (
        {"customMetadataFilters": [{"field": "a", "operator": "eq", "value": "b", "type": "x"}]},
        "type must be one of string, number, boolean",
    ),
    (
        {
            "customMetadataFilters": [
                {"field": "a", "operator": "eq", "value": "b", "type": "number"}
            ]
        },
        "customMetadataFilters.0.value must be a number",
    ),
    (
        {"customMetadataFilters": [{"field": "a", "operator": "eq", "value": float("nan")}]},
        "value must be a number",
    ),
    ({"customMetadataFilters": [{"field": "a", "operator": "eq"}]}, "value must be a string"),
    (
        {"eventFieldFilters": [{"column": "colour"}]},
        "no column 'colour'; there are event_type, result, external_id, location, item_count",
    ),
    (
        {
            "eventFieldFilters": [
                {"column": "item_count", "operator": "eq", "value": "5", "type": "string"}
            ]
        },
        "eventFieldFilters.0.type must be number",
    ),
    (
        {"eventFieldFilters": [{"column": "item_count", "operator": "contains", "value": 5}]},
        "no operator 'contains' here; there are eq, neq, gt, gte, lt, lte",
    ),
    (
        {"eventFieldFilters": [{"column": "severity", "operator": "eq", "value": 5}]},
        "eventFieldFilters.0.value must be a string",
    ),
    ({"detection": 7}, "detection must look like"),
    ({"detection": {}}, "detection must look like"),
    ({"detection": ["pallet", 7]}, "detection.1 must look like"),
    (
        {"detection": {"operator": "gt", "value": "a"}},
        "detection: no operator 'gt' here; there are eq, neq, in, not_in",
    ),
    ({"detection": {"operator": "eq", "value": ["a"]}}, "detection.value must be text for eq"),
    ({"detection": {"operator": "neq", "value": None, "confidence": None}}, "must be text for neq"),
    ({"detection": {"operator": "in", "value": []}}, "a list of 1 to 100 texts, for in"),
    ({"detection": {"operator": "not_in", "value": ["a", 7]}}, "texts, for not_in"),
    ({"detection": {"operator": "in", "value": ["a"] * 101}}, "1 to 100"),
    ({"detection": {"value": "a", "confidence": 0.5}}, "detection.confidence must look like"),
    (
        {"detection": {"value": "a", "confidence": {"operator": "eq", "value": 0.5}}},
        "detection.confidence: no operator 'eq' here; there are gt, gte, lt, lte",
    ),
    (
        {"detection": {"value": "a", "confidence": {"operator": "gt", "value": 50}}},
        "detection.confidence.value must be a number from 0 to 1",
    ),
    (
        {"detection": {"value": "a", "confidence": {"operator": "gt", "value": True}}},
        "must be a number from 0 to 1",
    ),
    ({"imageCount": {"operator": "contains", "value": 1}}, "no operator 'contains' here"),
    ({"imageCount": {"value": 1}}, "imageCount: no operator None here; there are eq, neq"),
    ({"imageCount": {"operator": "eq", "value": 1.5}}, "a whole number from 0 up"),
    ({"imageCount": -1}, "a whole number from 0 up"),
    ({"imageCount": True}, "a whole number from 0 up"),
    ({"feedbackStatus": ["correct", "good"]}, "must be one of correct, incorrect"),
    ({"feedbackStatus": [["correct"]]}, "must be one of correct, incorrect"),
    ({"eventFieldFilters": [{"field": "result"}]}, "eventFieldFilters.0 must look like"),
    ({"detectionClass": 7}, "detectionClass must look like"),
    ({"detectionClass": {"class": "a", "minConfidence": "high"}}, "must be a number"),
    ({"feedbackStatus": "good"}, "feedbackStatus must be one of correct, incorrect"),
    ({"feedbackStatus": {}}, "feedbackStatus must be one of"),
    ({"hasWarnings": "yes"}, "hasWarnings must be true or false"),
]


@pytest.mark.parametrize(("query", "words"), REFUSED)
def test_a_filter_that_cannot_be_read_is_refused_by_name(query, words):
    with pytest.raises(BadQuery) as refusal:
        filters_of({"useCaseId": "dock", **query})

    assert words in str(refusal.value)


#: What is refused and JSON Schema cannot say, by a piece of the error.
_BEYOND_A_SCHEMA = (
    *("startTime", "endTime", "10000 characters", "must be a number", "must be a string"),
    *("operator 'gt' here; there are eq, neq", "type must be number", "for eq", "for neq"),
    "operator 'contains' here; there are eq, neq, gt",
)


@pytest.mark.parametrize(("query", "words"), REFUSED)
def test_what_is_refused_is_refused_by_the_document_as_well(query, words):
    query = {"useCaseId": "dock", **query}

    if any(piece in words for piece in _BEYOND_A_SCHEMA):
        return
    assert not QUERY.allows(query)


def test_the_document_allows_every_filter():
    assert list(QUERY(EVERY_FILTER, "")) == []
    for short in (
        {"detection": "pallet", "imageCount": 2, "feedbackStatus": "none", "deviceId": "cam"},
        {"detection": [{"confidence": {"operator": "lt", "value": 1}}, "pallet"]},
        {"detectionClass": "pallet", "limit": 1000, "feedbackStatus": []},
    ):
        query = {"useCaseId": "dock", **short}
        assert list(QUERY(query, "")) == []
        filters_of(query)


def test_each_filter_by_itself_finds_what_it_says(store):
    store.put(
        [
            event(
                "a",
                event_type="quality_check",
                minutes=10,
                data={"result": "fail", "externalId": "order 55"},
                metadata={"temp": 3.25, "shift": "night", "sealed": True},
                seen=[("pallet", 0.9), ("pallet", 0.2), ("person", 0.4)],
                deviceId="cam-1",
                streamId="s-1",
                workflowId="w-1",
            ),
            event(
                "b",
                event_type="inventory_count",
                minutes=5,
                data={"itemCount": 18, "itemType": "pallet", "externalId": "order 7"},
                metadata={"temp": "3.25", "shift": "day", "sealed": False},
                seen=[("pallet", 0.3)],
                pictures=["1" * 32, "2" * 32],
                deviceId="cam-2",
                comment="well done",
            ),
            event("c", warnings=[{"type": "object.unknown"}]),
            event("elsewhere", use_case="line", deviceId="cam-1"),
            feedback("f", "a", "correct", use_case="line"),
        ]
    )

    def one(field, operator, value, type_):
        return (FieldCondition(field, operator, value, type_),)

    assert found(store) == ["c", "b", "a"]
    for expected, filters in [
        ("b", {"start": NOON - timedelta(minutes=5), "end": NOON - timedelta(minutes=5)}),
        ("", {"start": NOON, "end": NOON - timedelta(minutes=1)}),
        ("a", {"event_types": ("quality_check",)}),
        ("ba", {"event_types": ("quality_check", "inventory_count")}),
        ("", {"event_types": ("safety_alert",)}),
        ("a", {"device_id": Condition("eq", "cam-1")}),
        ("cb", {"device_id": Condition("neq", "cam-1")}),
        ("ba", {"device_id": Condition("contains", "cam")}),
        ("", {"device_id": Condition("contains", "CAM")}),
        ("", {"device_id": Condition("contains", "cam_1")}),
        ("a", {"stream_id": Condition("eq", "s-1")}),
        ("a", {"workflow_id": Condition("eq", "w-1")}),
        ("cba", {"workflow_id": Condition("neq", "w-2")}),
        ("a", {"external_id": Condition("contains", "55")}),
        ("b", {"external_id": Condition("eq", "order 7")}),
        ("a", {"metadata": one("temp", "eq", 3.25, "number")}),
        ("b", {"metadata": one("temp", "eq", "3.25", "string")}),
        ("a", {"metadata": one("temp", "gte", 3.25, "number")}),
        ("", {"metadata": one("temp", "gt", 3.25, "number")}),
        ("a", {"metadata": one("temp", "lt", 4.0, "number")}),
        ("cb", {"metadata": one("temp", "neq", 3.25, "number")}),
        ("a", {"metadata": one("sealed", "eq", value=True, type_="boolean")}),
        ("cb", {"metadata": one("sealed", "neq", value=True, type_="boolean")}),
        ("a", {"metadata": one("shift", "contains", "igh", "string")}),
        ("a", {"metadata": one("shift", "gt", "day", "string")}),
        ("ba", {"metadata": one("shift", "gte", "day", "string")}),
        ("b", {"metadata": one("shift", "lt", "night", "string")}),
        ("ba", {"metadata": one("shift", "lte", "night", "string")}),
        ("", {"metadata": one("nothing", "eq", "x", "string")}),
        ("cba", {"metadata": one("nothing", "neq", "x", "string")}),
        ("a", {"event_fields": one("result", "eq", "fail", "string")}),
        ("b", {"event_fields": one("itemCount", "gt", 17.0, "number")}),
        ("b", {"event_fields": one("comment", "contains", "done", "string")}),
        ("c", {"event_fields": one("eventType", "eq", "custom", "string")}),
        ("cb", {"event_fields": one("eventType", "neq", "quality_check", "string")}),
        ("ba", seen("pallet")),
        ("a", seen("pallet", gte=0.9)),
        ("", seen("pallet", gt=0.9)),
        ("ba", seen("pallet", gte=0.3)),
        ("a", seen("pallet", lte=0.2)),
        ("", seen("pallet", lt=0.2)),
        ("ba", seen("pallet", lt=0.31)),
        ("a", seen("pallet", gte=0.5, lte=0.25)),
        ("a", seen("person")),
        ("", seen("pal")),
        ("ba", seen("pallet", "person")),
        ("a", seen("person", "cat")),
        ("a", seen("pallet", "person", gt=0.35)),
        ("", seen("dog", "cat")),
        ("cb", seen("person", neither=True)),
        ("cb", seen("person", "cat", neither=True)),
        ("c", seen("person", "pallet", neither=True)),
        ("cb", seen("pallet", neither=True, gte=0.5)),
        ("cb", seen("pallet", "person", neither=True, lt=0.3)),
        ("a", seen(gte=0.8)),
        ("ba", seen(lte=0.3)),
        ("a", seen(lte=0.25)),
        ("", seen(gt=0.9)),
        ("b", {"image_count": FieldCondition("imageCount", "eq", 2.0, "number")}),
        ("ca", {"image_count": FieldCondition("imageCount", "neq", 2.0, "number")}),
        ("cba", {"image_count": FieldCondition("imageCount", "gte", 1.0, "number")}),
        ("", {"image_count": FieldCondition("imageCount", "lt", 1.0, "number")}),
        ("a", {"feedback": ("correct",)}),
        ("cb", {"feedback": ("none",)}),
        ("", {"feedback": ("incorrect",)}),
        ("a", {"feedback": ("incorrect", "correct")}),
        ("cba", {"feedback": ("none", "correct")}),
        ("cb", {"feedback": ("none", "incorrect")}),
        ("cba", {"feedback": ("none", "correct", "incorrect", "inconclusive")}),
        ("c", {"has_warnings": True}),
        ("ba", {"has_warnings": False}),
    ]:
        assert "".join(found(store, **filters)) == expected, filters


def test_long_texts_that_start_alike_are_told_apart(store):
    alike = "x" * 200
    store.put(
        [
            event("0", metadata={"text": alike}),
            event("1", metadata={"text": alike + "1"}),
            event("2", metadata={"text": alike + "2"}),
        ]
    )

    def holding(operator, value):
        return sorted(found(store, metadata=(FieldCondition("text", operator, value, "string"),)))

    assert holding("eq", alike) == ["0"]
    assert holding("eq", alike + "1") == ["1"]
    assert holding("neq", alike + "1") == ["0", "2"]
    assert holding("contains", "x2") == ["2"]
    assert holding("gt", alike + "1") == ["2"]
    assert holding("gte", alike + "1") == ["1", "2"]
    assert holding("lt", alike + "1") == ["0"]
    assert holding("lte", alike + "1") == ["0", "1"]


def test_a_class_seen_without_a_confidence_is_found_without_a_floor_only(store):
    store.put([event("a", seen=[("pallet", None)]), event("b", seen=[("pallet", 0.0)])])

    assert found(store, **seen("pallet")) == ["b", "a"]
    assert found(store, **seen("pallet", gte=0.0)) == ["b"]
    assert found(store, **seen("pallet", lte=1.0)) == ["b"]
    assert found(store, **seen(lte=1.0)) == ["b"]


def test_every_annotation_list_of_every_image_is_searched_for_classes(store):
    lists = ("objectDetections", "classifications", "instanceSegmentations", "keypoints")
    for name in lists:
        put = event(name)
        put.body["images"] = [{}, {name: [{"class": f"in {name}", "confidence": 0.5}]}]
        store.put([put])

    for name in lists:
        assert found(store, **seen(f"in {name}")) == [name]


def test_every_event_field_can_be_filtered_on(store):
    for name, type_ in EVENT_FIELDS.items():
        if name == "eventType":
            continue
        value = 7 if type_ == "number" else "seven"
        put = event(name, data={} if name == "comment" else {name: value})
        put.body["comment"] = "seven" if name == "comment" else None
        store.put([put])

        condition = FieldCondition(name, "eq", value, type_)
        assert found(store, event_fields=(condition,)) == [name]


def test_any_filters_together_find_what_each_of_them_finds(store):
    chance = random.Random(3)
    events = [
        event(
            f"e{number:03}",
            event_type=chance.choice(limits.EVENT_TYPES[:4]),
            minutes=number // 2,
            data={"result": chance.choice(("pass", "fail"))},
            metadata={"temp": chance.randrange(5), "shift": chance.choice("abc")},
            seen=[(chance.choice(("pallet", "person")), chance.random())],
            warnings=[{}] * chance.randrange(2),
            deviceId=f"cam-{chance.randrange(3)}",
        )
        for number in range(120)
    ]
    store.put(events)
    store.put([feedback(f"f{n}", f"e{n:03}", "correct", use_case="line") for n in range(0, 120, 3)])
    single = [
        {"event_types": ("custom", "quality_check")},
        {"device_id": Condition("neq", "cam-1")},
        {"metadata": (FieldCondition("temp", "gte", 2.0, "number"),)},
        {"event_fields": (FieldCondition("result", "eq", "fail", "string"),)},
        seen("pallet", gte=0.4),
        {"feedback": ("none",)},
        {"has_warnings": True},
        {"stream_id": Condition("neq", "s")},
        {"external_id": None, "start": NOON - timedelta(minutes=40)},
    ]
    alone = [set(found(store, **filters)) for filters in single]

    for (one, ones), (two, twos), (three, threes) in itertools.combinations(
        zip(single, alone, strict=True), 3
    ):
        together = found(store, **one, **two, **three)
        assert set(together) == ones & twos & threes
        assert together == sorted(
            together, key=lambda each: (-(int(each[1:]) // 2), each), reverse=True
        )

"""What is checked and what the OpenAPI document says are one: the rules carry both."""

from __future__ import annotations

import re

import pytest
from jsonschema_rs import Draft202012Validator

from vision_event_block.contract import limits
from vision_event_block.server.api import bodies, rules
from vision_event_block.server.api.device_ingest import DEVICE_EVENT
from vision_event_block.server.api.event_rules import NEW_EVENT

EVENT = {
    "eventId": "e1",
    "eventType": "custom",
    "useCaseId": "dock",
    "timestamp": "2026-03-01T09:15:27Z",
    "eventData": {"value": "1"},
}
RECORD = rules.record({"a": rules.number(), "b": rules.text()}, ("a",))
#: Values that a rule allows, and values that it does not.
CASES = {
    "text": (rules.text(), ["", "a", "é"], [None, 1, True, [], {}]),
    "bounded text": (rules.text(3, min_chars=1), ["a", "abc"], ["", "abcd", 1]),
    "text of a pattern": (rules.text(9, re.compile("[a-z]+")), ["a", "abc"], ["", "A", "a b", 1]),
    "choice": (rules.choice(("a", "b")), ["a", "b"], ["", "c", None, 1, ["a"]]),
    "number": (rules.number(), [0, -1, 1.5], [True, None, "1", []]),
    "bounded number": (rules.number(0, 1), [0, 0.5, 1, 1.0], [-0.1, 1.1, 2, False]),
    "whole number": (rules.number(0, whole=True), [0, 7, 7.0], [-1, 0.5, "0", True]),
    "boolean": (rules.boolean(), [True, False], [0, 1, None, "true"]),
    "array": (rules.array(rules.number()), [[], [1, 2]], [None, {}, ["a"], [1, True]]),
    "bounded array": (
        rules.array(rules.number(), minimum=1, maximum=2),
        [[1], [1, 2]],
        [[], [1, 2, 3]],
    ),
    "pair": (rules.array(rules.number(), length=2), [[1, 2]], [[], [1], [1, 2, 3], [1, "2"]]),
    "either": (rules.either(rules.number(), rules.text(2)), [1, "a"], ["abc", None, True, [1]]),
    "nullable": (rules.nullable(rules.text(2)), [None, "a"], ["abc", 1]),
    "record": (
        RECORD,
        [{"a": 1}, {"a": 1, "b": ""}],
        [{}, {"b": ""}, {"a": "1"}, {"a": 1, "c": 1}, []],
    ),
    "open record": (rules.record({"a": rules.number()}, is_open=True), [{}, {"c": 1}], [{"a": ""}]),
}


def validator(rule):
    shapes = {name: dict(shape) for name, shape in rule.shapes.items()}
    return Draft202012Validator({**rule.schema, "components": {"schemas": shapes}})


@pytest.mark.parametrize("case", CASES)
def test_a_rule_allows_what_its_schema_allows(case):
    rule, right, wrong = CASES[case]

    assert [rule.allows(value) for value in right] == [True] * len(right)
    assert [rule.allows(value) for value in wrong] == [False] * len(wrong)
    said = validator(rule)
    assert [said.is_valid(value) for value in right] == [True] * len(right)
    assert [said.is_valid(value) for value in wrong] == [False] * len(wrong)


def image(**annotations):
    return {"images": [{"label": "", "sourceId": "abc", **annotations}]}


BOX = {"class": "dent", "x": 1, "y": 2, "width": 3, "height": 4, "confidence": 0.5}
#: Changes to an event that is right, and whether it is right with them.
CHANGES = {
    "nothing": ({}, True),
    "an unknown key": ({"colour": "red"}, False),
    "a type that is none": ({"eventType": "party"}, False),
    "no use case": ({"useCaseId": ""}, False),
    "a long id": ({"eventId": "e" * 257}, False),
    "data of no type": ({"eventData": {"result": "pass", "value": "1"}}, False),
    "feedback without its event": ({"eventData": {"feedback": "correct"}}, False),
    "a count below zero": ({"eventData": {"itemCount": -1}}, False),
    "a display position too far": ({"displayImagePosition": limits.MAX_IMAGES}, False),
    "metadata": ({"customMetadata": {"shift": "night", "door": 4, "open": True}}, True),
    "nested metadata": ({"customMetadata": {"shift": {}}}, False),
    "too much metadata": ({"customMetadata": {f"k{n}": n for n in range(101)}}, False),
    "a box": (image(objectDetections=[BOX]), True),
    "a box without a class": (image(objectDetections=[{**BOX, "class": None}]), False),
    "a box far out": (image(objectDetections=[{**BOX, "x": 1e7}]), False),
    "half a box": (image(objectDetections=[{"class": "dent", "confidence": 1}]), False),
    "a class of the picture": (image(classifications=[{"class": "a", "confidence": 1}]), True),
    "an outline": (image(instanceSegmentations=[{**BOX, "points": [[0, 0]] * 3}]), True),
    "a line": (image(instanceSegmentations=[{**BOX, "points": [[0, 0]] * 2}]), False),
    "a skeleton": (image(keypoints=[{**BOX, "keypoints": [{"id": 1, "x": 0, "y": 0}]}]), True),
    "a skeleton without bones": (image(keypoints=[{**BOX, "keypoints": []}]), False),
    "images that are none": ({"images": {}}, False),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_event_is_right_by_the_rules_if_it_is_by_the_document(change):
    changes, is_right = CHANGES[change]
    event = {**EVENT, **changes}

    assert NEW_EVENT.allows(event) == is_right
    assert validator(NEW_EVENT).is_valid(event) == is_right


@pytest.mark.parametrize(
    ("rule", "body"),
    [
        (bodies.BATCH, {"events": [EVENT]}),
        (bodies.QUERY, {"useCaseId": "dock", "deviceId": {"value": "cam"}, "endTime": None}),
        (bodies.NEW_USE_CASE, {"name": "Dock", "id": None}),
        (bodies.USE_CASE_CHANGE, {"status": "active"}),
        (
            DEVICE_EVENT,
            {
                "event_schema": "custom",
                "inference_timestamp": "2026-03-01",
                "event_data": {},
                "x": 1,
            },
        ),
    ],
    ids=["batch", "query", "new use case", "change", "device event"],
)
def test_the_document_knows_every_shape_that_a_body_refers_to(rule, body):
    assert rule.allows(body)
    assert validator(rule).is_valid(body)
    assert not rule.allows({**body, "event_data": 1, "events": 1, "useCaseId": 1, "name": 1})


@pytest.mark.parametrize("strict", [False, True])
def test_what_is_handed_out_is_a_copy(strict):
    bodies.body_shapes(strict=True)["NewEvent"]["required"].append("more")

    shapes = bodies.body_shapes(strict=strict)

    assert ("eventId" in shapes["NewEvent"]["required"]) == strict
    assert "more" not in shapes["NewEvent"]["required"]

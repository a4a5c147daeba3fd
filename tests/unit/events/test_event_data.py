"""Event data: one wrong value must not cost the whole object."""

from __future__ import annotations

import numpy as np
import pytest

from vision_event_block.contract import limits
from vision_event_block.contract.names import EVENT_DATA_KEYS
from vision_event_block.events.errors import UnfitEvent
from vision_event_block.events.event_data import FIELD_OF, event_data

RIGHT = {
    "quality check": (
        "quality_check",
        {"qc_result": "pass", "external_id": "b-1"},
        {"result": "pass", "externalId": "b-1"},
    ),
    "inventory count": (
        "inventory_count",
        {"location": "dock", "item_count": 18, "item_type": "pallet", "external_id": "a"},
        {"location": "dock", "itemCount": 18, "itemType": "pallet", "externalId": "a"},
    ),
    "safety alert": (
        "safety_alert",
        {"alert_type": "no_hardhat", "severity": "high", "alert_description": "zone B"},
        {"alertType": "no_hardhat", "severity": "high", "description": "zone B"},
    ),
    "custom": ("custom", {"custom_value": "belt stopped"}, {"value": "belt stopped"}),
    "operator feedback has no external id": (
        "operator_feedback",
        {"related_event_id": "e-1", "feedback": "incorrect", "external_id": "b-1"},
        {"relatedEventId": "e-1", "feedback": "incorrect"},
    ),
    "only the fields of the type count": (
        "custom",
        {"custom_value": "x", "qc_result": "pass", "item_count": -3},
        {"value": "x"},
    ),
    "nothing given": ("quality_check", {}, {}),
    "numpy count": ("inventory_count", {"item_count": np.int64(3)}, {"itemCount": 3}),
    "count from a float step": ("inventory_count", {"item_count": 3.0}, {"itemCount": 3}),
    "count as text": ("inventory_count", {"item_count": "18"}, {"itemCount": 18}),
    "numbers as text": ("custom", {"custom_value": 12.5}, {"value": "12.5"}),
    "empty text says nothing": ("custom", {"custom_value": "", "external_id": "a"},
                                {"externalId": "a"}),
}  # fmt: skip


@pytest.mark.parametrize(("event_type", "fields", "expected"), RIGHT.values(), ids=RIGHT)
def test_right_data_goes_through_unchanged(event_type, fields, expected):
    data = event_data(event_type, fields)

    assert data.values == expected
    assert data.adjustments == []


WRONG = {
    "unknown result": ("quality_check", "qc_result", "maybe", None),
    "result in capitals": ("quality_check", "qc_result", " PASS", "pass"),
    "unknown severity": ("safety_alert", "severity", "catastrophic", None),
    "severity as number": ("safety_alert", "severity", 3, None),
    "negative count": ("inventory_count", "item_count", -1, None),
    "broken count": ("inventory_count", "item_count", 2.5, None),
    "count that is none": ("inventory_count", "item_count", "many", None),
    "count not a number": ("inventory_count", "item_count", float("nan"), None),
    "infinite count": ("inventory_count", "item_count", float("inf"), None),
    "boolean count": ("inventory_count", "item_count", True, None),
    "count beyond exact numbers": ("inventory_count", "item_count", 2**60, None),
    "alert type with forbidden letters": ("safety_alert", "alert_type", "no hat!", "no_hat_"),
    "alert type too long": ("safety_alert", "alert_type", "a" * 300, "a" * 256),
    "alert type of nothing": ("safety_alert", "alert_type", " ", None),
    "text too long": ("custom", "custom_value", "x" * 10_001, "x" * 9_999 + "…"),
    "external id too long": ("custom", "external_id", "x" * 1_001, "x" * 999 + "…"),
}


@pytest.mark.parametrize(("event_type", "field", "value", "kept"), WRONG.values(), ids=WRONG)
def test_a_wrong_value_is_named_and_the_rest_arrives(event_type, field, value, kept):
    other = {"location": "dock"} if field != "external_id" else {}
    key = next(key for key in EVENT_DATA_KEYS[event_type] if FIELD_OF[key] == field)

    data = event_data(event_type, {field: value, **other})

    assert data.values.get(key) == kept
    assert [adjustment.field for adjustment in data.adjustments] == [field]


@pytest.mark.parametrize("missing", ["related_event_id", "feedback"])
def test_feedback_without_a_required_field_is_an_error_that_names_it(missing):
    fields = {"related_event_id": "e-1", "feedback": "correct"}
    del fields[missing]

    with pytest.raises(UnfitEvent, match=missing):
        event_data("operator_feedback", fields)


def test_an_unknown_judgement_is_an_error_that_lists_the_known_ones():
    with pytest.raises(UnfitEvent, match="correct, incorrect, inconclusive"):
        event_data("operator_feedback", {"related_event_id": "e-1", "feedback": "fine"})


def test_the_operators_note_goes_beside_the_data():
    data = event_data(
        "operator_feedback",
        {"related_event_id": "e", "feedback": "correct", "feedback_comment": "seen twice"},
    )

    assert data.comment == "seen twice"
    assert "comment" not in data.values


@pytest.mark.parametrize("event_type", ["nonsense", "", "Quality_Check"])
def test_an_unknown_event_type_is_an_error_that_lists_the_known_ones(event_type):
    with pytest.raises(UnfitEvent, match="quality_check, inventory_count"):
        event_data(event_type, {})


def test_every_event_type_of_the_limits_has_its_keys():
    assert tuple(EVENT_DATA_KEYS) == limits.EVENT_TYPES

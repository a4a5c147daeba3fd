"""The filters in an address."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qsl

import pytest

from vision_event_block.server.page.filter_query import FilterQuery
from vision_event_block.server.store.errors import BadQuery
from vision_event_block.server.store.filters import (
    Condition,
    Confidence,
    Detection,
    FieldCondition,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
FULL = (
    "picture=output&range=8h&type=custom&type=safety_alert&class=a+b&min_confidence=0.5"
    "&max_confidence=0.8&feedback=none&warnings=yes&images=2&images_is=gte&longer_than=30&device=cam%261&device_is=neq&external=x&result=fail"
    "&meta_key=shift&meta_is=eq&meta_value=night&meta_key=door&meta_is=gt&meta_value=4"
)


def filter_query(query):
    return FilterQuery.of(parse_qsl(query, keep_blank_values=True))


def filters(query, types=None):
    return filter_query(query).filters("dock", types=types or {}, now=NOW)


def test_an_address_says_the_same_after_it_was_read():
    assert sorted(parse_qsl(filter_query(FULL).query)) == sorted(parse_qsl(FULL))
    assert filter_query(filter_query(FULL).query) == filter_query(FULL)


def test_what_is_empty_or_unknown_is_no_part_of_an_address():
    query = "device=&device_is=eq&type=&meta_key=&meta_is=eq&meta_value=&evil=1&cursor=abc&class=+"

    assert filter_query(query) == FilterQuery()
    assert not filter_query(query).is_filtered


def test_every_part_becomes_a_filter():
    found = filters(FULL, {"door": ["number"], "shift": ["string"]})

    assert found.start == NOW - timedelta(hours=8)
    assert found.event_types == ("custom", "safety_alert")
    assert found.detections == (
        Detection(("a b",), Confidence("gte", 0.5)),
        Detection(("a b",), Confidence("lte", 0.8)),
    )
    assert found.image_count == FieldCondition("imageCount", "gte", 2.0, "number")
    assert found.device_id == Condition("neq", "cam&1")
    assert found.external_id == Condition("eq", "x")
    assert (found.feedback, found.has_warnings) == (("none",), True)
    assert found.event_fields == (FieldCondition("result", "eq", "fail", "string"),)
    assert found.metadata == (
        FieldCondition("shift", "eq", "night", "string"),
        FieldCondition("door", "gt", 4.0, "number"),
        FieldCondition("duration_s", "gt", 30.0, "number"),
    )


def test_a_confidence_needs_no_class():
    assert filters("class=cap").detections == (Detection(("cap",)),)
    assert filters("max_confidence=0.4").detections == (Detection((), Confidence("lte", 0.4)),)
    assert [chip.name for chip in filter_query("max_confidence=.4").chips()] == [
        "Anything seen up to 40%"
    ]


@pytest.mark.parametrize(
    ("seen", "operator", "value", "expected"),
    [
        (["number"], "eq", "4", (4.0, "number")),
        (["string"], "eq", "4", ("4", "string")),
        (["number", "string"], "eq", "four", ("four", "string")),
        (["boolean"], "eq", "Yes", (True, "boolean")),
        (["boolean"], "neq", "false", (False, "boolean")),
        (["string"], "eq", "true", ("true", "string")),
        ([], "gt", "4", (4.0, "number")),
        (["number"], "eq", "nan", ("nan", "string")),
    ],
)
def test_text_is_compared_as_what_its_key_holds(seen, operator, value, expected):
    query = f"meta_key=k&meta_is={operator}&meta_value={value}"

    (condition,) = filters(query, {"k": seen}).metadata

    assert (condition.value, condition.type) == expected


def test_a_chip_takes_away_its_own_filter_and_no_other():
    everything = filter_query(FULL)
    chips = everything.chips()

    assert [chip.name for chip in chips] == [
        "Custom", "Safety alert", "Class: a b from 50% up to 80%",
        "Result: fail", "Feedback: none", "With warnings", "Longer than 30 s", "Images ≥ 2",
        "Device is not cam&1", "External id: x",
        "shift: night", "door > 4",
    ]  # fmt: skip
    for chip in chips:
        left = filter_query(chip.query)
        assert len(left.chips()) == len(chips) - 1
        assert chip.name not in [other.name for other in left.chips()]
        assert left.one("range") == "8h"


@pytest.mark.parametrize(
    "query",
    [
        *("range=9y", "start=soon", "type=x", "min_confidence=high", "max_confidence=80"),
        *("images=two", "images=-1", "images=2&images_is=like", "longer_than=soon"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(query):
    with pytest.raises(BadQuery, match=r"\w+ \w+"):
        filters(query)


def test_a_value_adds_to_what_is_asked_for():
    asked = filter_query("range=8h&device=cam-2&device_is=neq&type=custom&type=safety_alert")

    asked = asked.also("device", "cam-1").also("type", "custom").also("result", "fail")
    asked = asked.also_metadata("shift", "day").also_metadata("door", "4")

    assert parse_qsl(asked.also_metadata("shift", "night").query) == [
        ("range", "8h"), ("type", "custom"), ("device", "cam-1"), ("result", "fail"),
        ("meta_key", "door"), ("meta_is", "eq"), ("meta_value", "4"),
        ("meta_key", "shift"), ("meta_is", "eq"), ("meta_value", "night"),
    ]  # fmt: skip


def test_each_filter_has_a_chip_that_takes_it_away_and_leads_to_its_field():
    asked = filter_query(
        f"{FULL}&at=2026-03-01T11:00&start=2026-03-01&end=2026-03-02&severity=low&stream=s"
        "&workflow=w&pinned=yes&feedback_events=no"
    )
    chips = list(asked.chips())

    gone = [set(asked.pairs) - set(parse_qsl(chip.query)) for chip in chips]
    whole = set().union(*gone)
    assert whole == set(asked.pairs) - {("picture", "output"), ("range", "8h")}
    assert sum(map(len, gone)) == len(whole), "each by one chip only"
    assert {chip.field for chip in chips} == {
        f"f-{name}"
        for name in (
            "at", "start", "end", "type-custom", "type-safety_alert", "class", "result", "severity",
            "feedback", "warnings", "pinned", "feedback_events", "longer_than", "images", "device",
            "stream", "workflow", "external", "meta-1", "meta-2",
        )
    }  # fmt: skip
    assert chips[0].moment == NOW - timedelta(hours=1)


def test_a_value_keeps_its_spaces_and_leads_to_its_events():
    query = filter_query("result=+fail+").also_metadata("lot ", " 7").also("device", "cam ")

    found = filters(query.query)

    assert found.metadata == (FieldCondition("lot ", "eq", " 7", "string"),)
    assert found.device_id == Condition("eq", "cam ")
    assert found.event_fields == (FieldCondition("result", "eq", "fail", "string"),)
    assert [chip.name for chip in query.chips()] == ["Result: fail", "Device: “cam ”", "lot : “ 7”"]


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("2026-03-01T09:15", "2026-03-01T10:15:27.000001+01:00"),
        ("2026-03-01T09:15:00.000Z", "2026-03-01T10:15:27.000001+01:00"),
        ("2026-03-01T09:16", "2026-03-01T09:16"),
        ("", ""),
        ("noon", "noon"),
    ],
)
def test_a_time_that_nobody_changed_in_the_form_stays_as_exact_as_it_was(start, expected):
    was = "2026-03-01T10:15:27.000001%2B01:00"

    assert filter_query(f"start={start}&start_was={was}").one("start") == expected
    assert filter_query(f"start={start}&start_was=nonsense").one("start") == start


def test_operator_feedback_is_left_out_unless_it_is_asked_for_by_name():
    neq = FieldCondition("eventType", "neq", "operator_feedback", "string")

    assert filters("feedback_events=no").event_fields == (neq,)
    assert filters("feedback_events=no&type=operator_feedback").event_fields == ()

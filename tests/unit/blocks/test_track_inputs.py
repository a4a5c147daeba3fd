"""Any values for the fields of Track Event become one typed value; what is unusable is named."""

from __future__ import annotations

import pytest

from tests.unit.blocks.test_inputs import DEFAULTS
from vision_event_block.blocks.track_inputs import TrackInputs
from vision_event_block.tracking.tracks import TrackRules

OWN = {
    "report": "start_and_end",
    "pictures": "best",
    "minimum_seconds": 0.5,
    "lost_after_seconds": 2,
    "update_seconds": 0,
    "max_open": 200,
    "classes": None,
}


def read(**values):
    return TrackInputs.read({**DEFAULTS, **OWN, **values})


def test_the_defaults_are_read_without_an_adjustment():
    inputs = read()

    assert inputs.adjustments == ()
    assert inputs.rules == TrackRules()
    assert (inputs.report, inputs.pictures) == ("start_and_end", "best")


@pytest.mark.parametrize(
    ("field", "value", "read_as"),
    [
        ("minimum_seconds", -1, {"minimum_us": 0}),
        ("minimum_seconds", "soon", {"minimum_us": 500_000}),
        ("minimum_seconds", 1e300, {"minimum_us": 10**15}),
        ("lost_after_seconds", 0, {"lost_after_us": 2_000_000}),
        ("lost_after_seconds", None, {"lost_after_us": 2_000_000}),
        ("update_seconds", "60", {"update_us": 60_000_000}),
        ("max_open", 0, {"max_open": 200}),
        ("max_open", 7, {"max_open": 7}),
        ("classes", ["car", 7], {"classes": frozenset({"car", "7"})}),
        ("classes", "car", {"classes": frozenset({"car"})}),
        ("classes", [], {"classes": None}),
        ("classes", 7, {"classes": None}),
    ],
)
def test_a_value_over_a_wire_is_read_or_replaced_and_named(field, value, read_as):
    inputs = read(**{field: value})

    assert {name: getattr(inputs.rules, name) for name in read_as} == read_as
    is_default = read_as == {name: getattr(TrackRules(), name) for name in read_as}
    is_said = [each.field for each in inputs.adjustments] == [field]
    assert is_said == (is_default and value != [])


@pytest.mark.parametrize(("field", "default"), [("report", "start_and_end"), ("pictures", "best")])
def test_an_unknown_choice_is_the_default_and_named(field, default):
    inputs = read(**{field: "sometimes"})

    assert getattr(inputs, field) == default
    assert [each.field for each in inputs.adjustments] == [field]


@pytest.mark.parametrize(
    ("report", "update_s", "sent_at"), [("start_and_end", 0, "end"), ("start", 5, "start")]
)
def test_a_store_that_cannot_replace_an_event_gets_it_once(report, update_s, sent_at):
    inputs = read(write_to_event_store=True, report=report, update_seconds=update_s)

    assert (inputs.report, inputs.rules.update_us) == (sent_at, 0)
    assert f"sent once, at the {sent_at}" in str(inputs.adjustments)
    assert not read(write_to_event_store=True, report="end").adjustments


def test_what_comes_after_a_thing_is_not_told_where_only_its_start_is_sent():
    inputs = read(report="start", after_seconds=5, before_seconds=3)

    assert (inputs.story.before_s, inputs.story.after_s) == (3, 0)
    assert [each.field for each in inputs.adjustments] == ["after_seconds"]

"""What is told from a step's definition alone."""

from __future__ import annotations

import pytest

from vision_event_block.blocks.inputs import jpeg_quality
from vision_event_block.blocks.step_definition import (
    checked,
    read_step,
    step_fingerprint,
)
from vision_event_block.events.errors import UnfitEvent

FIELDS = (
    "type", "name", "input_image", "use_case", "solution", "qc_result", "event_type",
    "cooldown_key",
)  # fmt: skip
STEP = {"type": "t", "name": "event", "event_type": "custom", "use_case": "dock"}


def test_the_official_name_of_the_use_case_is_read_as_ours():
    given = {**{key: STEP[key] for key in STEP if key != "use_case"}, "solution": "$inputs.uc"}

    step = read_step(given, FIELDS)

    assert step["use_case"] == "$inputs.uc"
    assert "solution" not in step
    assert "solution" in given  # the caller's own is left alone


def test_the_same_use_case_under_both_names_is_fine_and_another_one_is_not():
    assert read_step({**STEP, "solution": "dock"}, FIELDS)["use_case"] == "dock"
    with pytest.raises(ValueError, match="use_case"):
        read_step({**STEP, "solution": "gate"}, FIELDS)


@pytest.mark.parametrize("empty", ["", None])
def test_a_name_that_an_editor_left_empty_is_not_given(empty):
    assert read_step({**STEP, "solution": empty}, FIELDS)["use_case"] == "dock"
    swapped = {**STEP, "use_case": empty, "solution": "dock"}
    assert read_step(swapped, FIELDS)["use_case"] == "dock"
    with pytest.raises(ValueError, match="needs the use case"):
        read_step({**STEP, "use_case": empty}, FIELDS)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"display_image": "topp", "extra_images": {"top": "$inputs.top"}}, "display_image.*topp"),
        ({"display_image": "top"}, "display_image.*top"),
        ({"extra_predictions": {"top": "$inputs.p"}}, "extra_predictions.top"),
    ],
)
def test_a_label_that_no_extra_image_has_is_told(fields, words):
    with pytest.raises(ValueError, match=words):
        read_step({**STEP, **fields}, FIELDS)


@pytest.mark.parametrize("shown", ["output", "input", "top", "$inputs.shown"])
def test_a_label_that_an_extra_image_has_or_may_have_is_fine(shown):
    fields = {
        "display_image": shown,
        "extra_images": {"top": "$inputs.top"},
        "extra_predictions": {"top": "$inputs.p"},
    }
    assert read_step({**STEP, **fields}, FIELDS)["display_image"] == shown


@pytest.mark.parametrize(
    ("typo", "meant"),
    [("qc_reslt", "qc_result"), ("usecase", "use_case"), ("cooldownkey", "cooldown_key"),
     ("soluton", "solution")],
)  # fmt: skip
def test_a_misspelled_field_is_told_with_what_was_meant(typo, meant):
    step = {key: STEP[key] for key in STEP if key != meant}

    with pytest.raises(ValueError, match=f"{typo}.*{meant}"):
        read_step({**step, typo: "x"}, FIELDS)


@pytest.mark.parametrize("name", ["ui_position", "comment", "x"])
def test_fields_of_somebody_else_do_no_harm(name):
    assert read_step({**STEP, name: 1}, FIELDS)[name] == 1


def test_a_fingerprint_tells_definitions_apart_and_nothing_else():
    one = step_fingerprint(STEP)

    assert one == step_fingerprint(dict(reversed(STEP.items())))
    assert one == step_fingerprint({**STEP, "step_fingerprint": "old"})
    assert one != step_fingerprint({**STEP, "name": "other"})
    assert one != step_fingerprint({**STEP, "custom_value": "x"})


def test_what_the_block_computes_cannot_be_given():
    step = read_step({**STEP, "step_fingerprint": "forged"}, FIELDS)

    assert step["step_fingerprint"] != "forged"


def test_a_literal_is_checked_and_a_wire_is_not():
    assert checked(50, jpeg_quality) == 50
    assert checked(None, jpeg_quality) is None
    assert checked("$inputs.quality", jpeg_quality) == "$inputs.quality"
    with pytest.raises(UnfitEvent):
        checked(0, jpeg_quality)


def test_errors_about_values_are_errors_of_pydantic_too():
    assert issubclass(UnfitEvent, ValueError)

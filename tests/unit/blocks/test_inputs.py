"""Any values for the block's fields become one typed value; what is unusable is named."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from vision_event_block.blocks.inputs import (
    MAX_EXTRA_IMAGES,
    Inputs,
    StoryOptions,
    is_on,
    jpeg_quality,
    max_image_side,
    share,
)
from vision_event_block.events.errors import UnfitEvent
from vision_event_block.events.event_data import DATA_FIELDS

#: A step that names its event type and use case, with what the manifest fills in for the rest.
DEFAULTS = {
    **dict.fromkeys(DATA_FIELDS),
    "event_type": "custom",
    "use_case": "dock",
    "input_image": None,
    "output_image": None,
    "predictions": None,
    "more_predictions": [],
    "extra_images": {},
    "extra_predictions": {},
    "custom_metadata": {},
    "image_metadata": {},
    "device_id": None,
    "stream_id": None,
    "workflow_id": None,
    "workflow_version": None,
    "timestamp": None,
    "display_image": "output",
    "occluded_below": None,
    "jpeg_quality": None,
    "max_image_side": None,
    "disable_sink": False,
    "trigger": True,
    "sample_percent": 100,
    "before_seconds": 0,
    "after_seconds": 0,
    "story_fps": 2,
    "story_side": 640,
    "cooldown_seconds": 1,
    "cooldown_key": None,
    "step_fingerprint": "",
    "fire_and_forget": True,
    "durability": "disk",
    "write_to_event_store": False,
    "event_store_url": "http://localhost:8001",
}


class Picture:
    """What the block recognises as a picture of the host."""

    numpy_image = None


def read(**values):
    return Inputs.read({**DEFAULTS, **values})


def test_the_defaults_are_read_without_an_adjustment():
    inputs = read()

    assert inputs.adjustments == ()
    assert (inputs.waits_for_api, inputs.durability, inputs.is_stored_first) == (
        False, "disk", True,
    )  # fmt: skip
    assert (inputs.cooldown_s, inputs.display_image, inputs.device_id) == (1.0, "output", "")
    assert inputs.predictions == (None,)
    assert inputs.images() == []


def test_inputs_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        read().use_case = "other"


ODD = {
    "text for a picture": ("input_image", "photo.jpg", "input_image", None),
    "list for a picture": ("output_image", [], "output_image", None),
    "text for the metadata of images": ("image_metadata", "x", "image_metadata", {}),
    "list for a mapping": ("custom_metadata", [1], "custom_metadata", {}),
    "text for extra images": ("extra_images", "x", "extra_images", {}),
    "text for extra predictions": ("extra_predictions", "x", "extra_predictions", {}),
    "quality out of range": ("jpeg_quality", 101, "jpeg_quality", None),
    "threshold out of range": ("occluded_below", 2, "occluded_below", None),
    "unknown durability": ("durability", "tape", "durability", "disk"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "value", "attribute", "read_as"), ODD.values(), ids=ODD)
def test_an_unusable_value_counts_as_unset_and_is_named(name, value, attribute, read_as):
    inputs = read(**{name: value})

    assert getattr(inputs, attribute) == read_as
    assert [adjustment.field for adjustment in inputs.adjustments] == [name]


@pytest.mark.parametrize(
    ("value", "seconds", "is_named"),
    [(0.5, 0.5, False), ("2", 2.0, False), (-1, 0.0, False), ("soon", 1.0, True),
     (float("inf"), 1.0, True), (None, 1.0, True)],
)  # fmt: skip
def test_a_cooldown_is_a_number_of_seconds(value, seconds, is_named):
    inputs = read(cooldown_seconds=value)

    assert inputs.cooldown_s == seconds
    assert bool(inputs.adjustments) is is_named


@pytest.mark.parametrize(
    ("fire_and_forget", "kept", "waits", "is_stored_first"),
    [(True, "disk", False, True), (True, "memory", False, False), (False, "disk", True, True),
     (False, "memory", True, True), ("off", "memory", True, True)],
)  # fmt: skip
def test_what_the_workflow_waits_for(fire_and_forget, kept, waits, is_stored_first):
    inputs = read(fire_and_forget=fire_and_forget, durability=kept)

    assert (inputs.waits_for_api, inputs.is_stored_first) == (waits, is_stored_first)


def test_more_predictions_come_after_the_first_one():
    assert read(predictions="boxes", more_predictions=["classes"]).predictions == (
        "boxes", "classes",
    )  # fmt: skip
    assert [a.field for a in read(more_predictions="classes").adjustments] == ["more_predictions"]


def test_the_pictures_come_in_order_and_only_as_many_as_an_event_takes():
    first, second, extra = Picture(), Picture(), Picture()
    many = {f"view {number}": extra for number in range(MAX_EXTRA_IMAGES + 1)}

    inputs = read(input_image=first, output_image=second, extra_images={"bad": 1, **many})

    assert inputs.images()[:2] == [first, second]
    assert len(inputs.extra_images) == MAX_EXTRA_IMAGES - 1
    assert [a.field for a in inputs.adjustments] == ["extra_images", "extra_images.bad"]


def test_numbers_and_arrays_are_text_where_text_is_asked():
    inputs = read(device_id=7, stream_id=0, workflow_version=np.int64(3), display_image="")

    assert (inputs.device_id, inputs.stream_id, inputs.workflow_version) == ("7", "0", "3")
    assert inputs.display_image == "output"


def test_a_switch_takes_text_for_what_it_says():
    assert not any(map(is_on, ("", "0", "false", " No ", "OFF", 0, None)))
    assert all(map(is_on, ("on", "true", "1", 1, True)))


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (jpeg_quality, [1, 100, 90.0, True], [0, 101, 89.5, "high", None, float("nan"), -1]),
        (max_image_side, [16, 1280, 65_500], [15, 65_501, 0, "wide", float("inf")]),
    ],
)
def test_a_number_out_of_its_range_is_refused_with_the_range(check, good, bad):
    assert [check(value) for value in good] == [int(value) for value in good]
    for value in bad:
        with pytest.raises(UnfitEvent, match="whole number from"):
            check(value)


def test_a_share_is_a_number_from_zero_to_one():
    assert [share(value) for value in (0, 0.3, 1, "0.5")] == [0.0, 0.3, 1.0, 0.5]
    for value in (-0.1, 1.1, "high", None, float("nan"), float("inf")):
        with pytest.raises(UnfitEvent, match="number from 0 to 1"):
            share(value)


# --- the story, the trigger and the sample


def test_without_seconds_before_or_after_there_is_no_story():
    inputs = Inputs.read({**DEFAULTS, "story_fps": "nonsense"})

    assert not inputs.story.is_wanted
    assert not inputs.adjustments


def test_what_is_wanted_of_the_time_around_an_event():
    given = {"before_seconds": 5, "after_seconds": "2.5", "story_fps": 4, "story_side": 320}

    inputs = Inputs.read({**DEFAULTS, **given})

    assert inputs.story == StoryOptions(5.0, 2.5, 4.0, 320)
    assert inputs.story.is_wanted


def test_an_event_that_cannot_be_replaced_has_no_pictures_of_what_came_after():
    inputs = Inputs.read(
        {**DEFAULTS, "before_seconds": 5, "after_seconds": 2, "write_to_event_store": True}
    )

    assert (inputs.story.before_s, inputs.story.after_s) == (5.0, 0.0)
    assert [each.field for each in inputs.adjustments] == ["after_seconds"]


@pytest.mark.parametrize(
    ("field", "value", "taken_as"),
    [
        ("before_seconds", -1, "taken as 0"),
        ("before_seconds", 61, "taken as 0"),
        ("after_seconds", float("nan"), "taken as 0"),
        ("after_seconds", [], "taken as 0"),
        ("story_fps", 0, "taken as 2"),
        ("story_fps", 11, "taken as 2"),
        ("story_fps", None, None),
        ("story_side", 63, "taken as 640"),
        ("story_side", 640.5, "taken as 640"),
        ("sample_percent", 101, "taken as 100"),
        ("sample_percent", "half", "taken as 100"),
    ],
)
def test_a_story_or_sample_that_cannot_be_is_named(field, value, taken_as):
    other = "after_seconds" if field == "before_seconds" else "before_seconds"

    inputs = Inputs.read({**DEFAULTS, other: 3, field: value})

    found = [each.what for each in inputs.adjustments if each.field == field]
    assert found == ([] if taken_as is None else [taken_as])
    assert inputs.story.is_wanted


@pytest.mark.parametrize(("value", "is_on"), [(True, True), ("off", False), (0, False), (None, 0)])
def test_the_trigger_is_a_switch(value, is_on):
    assert Inputs.read({**DEFAULTS, "trigger": value}).is_triggered is bool(is_on)


def test_what_waits_for_its_story_holds_no_picture():
    given = {"input_image": Picture(), "extra_images": {"top": Picture()}, "predictions": object()}

    kept = Inputs.read({**DEFAULTS, **given, "fire_and_forget": False}).without_pictures()

    assert kept.images() == []
    assert (kept.predictions, kept.waits_for_api, kept.use_case) == ((), False, "dock")

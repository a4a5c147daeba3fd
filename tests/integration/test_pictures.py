"""The record is true: whatever is drawn later, the picture is the one that the block saw."""

from __future__ import annotations

import base64

import cv2
import pytest

from tests.integration.workflows import predicted, workflow
from tests.pictures import assert_shows, pixels_of

DURABILITIES = ("disk", "memory")


def recording(*, steps_before=(), steps_after=(), **fields):
    """A workflow that records `image`, and boxes drawn into the very array of the picture."""
    record = {
        "type": "vision_event_block/vision_event@v1",
        "name": "record",
        "input_image": "$inputs.image",
        "event_type": "custom",
        "use_case": "my-use-case",
        "cooldown_seconds": 0,
        **fields,
    }
    steps = [*steps_before, record, *steps_after]
    return workflow(*steps, inputs=[predicted("predictions")], shown=["record"])


DRAWS_INTO_THE_INPUT = {
    "type": "roboflow_core/bounding_box_visualization@v1",
    "name": "boxes",
    "image": "$inputs.image",
    "predictions": "$inputs.predictions",
    "copy_image": False,
    "thickness": 60,
}
#: This one of the host's drawing steps leaves the original bytes on the picture it drew on.
LABELS_THE_INPUT = {
    "type": "roboflow_core/rich_label_visualization@v1",
    "name": "boxes",
    "image": "$inputs.image",
    "predictions": "$inputs.predictions",
    "copy_image": False,
    "font_size": 100,
}
BIG_BOX = [
    {
        "image": {"width": 640, "height": 480},
        "predictions": [
            {"x": 320, "y": 240, "width": 500, "height": 360, "confidence": 0.9, "class": "part",
             "class_id": 0},
        ],
    }
]  # fmt: skip
AFTER_THE_RECORD = {
    "type": "roboflow_core/continue_if@v1",
    "name": "after_the_record",
    "condition_statement": {
        "type": "StatementGroup",
        "statements": [
            {
                "type": "UnaryStatement",
                "operand": {"type": "DynamicOperand", "operand_name": "id"},
                "operator": {"type": "Exists"},
            }
        ],
    },
    "evaluation_parameters": {"id": "$steps.record.event_id"},
    "next_steps": ["$steps.boxes"],
}


@pytest.mark.parametrize("durability", DURABILITIES)
def test_what_a_later_step_draws_is_not_in_the_picture(durability, api, compiled, photo):
    frame, seen = photo.copy(), photo.copy()
    engine = compiled(
        recording(
            steps_after=[AFTER_THE_RECORD, DRAWS_INTO_THE_INPUT],
            durability=durability,
        )
    )
    engine.run(runtime_parameters={"image": frame, "predictions": BIG_BOX})
    (event,) = api.wait_for_events(1)
    assert cv2.absdiff(frame, seen).mean() > 10, "the later step has not drawn at all"
    assert_shows(api.picture_of(event, "input"), seen)


@pytest.mark.parametrize("durability", DURABILITIES)
def test_a_frame_that_the_caller_uses_again_at_once_is_still_recorded_as_it_was(
    durability, api, compiled, photo
):
    # Large, so that encoding takes a while, and several at once, so that they have to queue.
    seen = cv2.resize(photo, (1920, 1440))
    engine = compiled(recording(durability=durability))
    frame = seen.copy()
    for _ in range(5):
        frame[:] = seen
        engine.run(runtime_parameters={"image": frame, "predictions": BIG_BOX})
        frame[:] = 0
    for event in api.wait_for_events(5):
        assert_shows(api.picture_of(event, "input"), seen)


def as_base64(jpeg):
    return {"type": "base64", "value": base64.b64encode(jpeg).decode()}


@pytest.fixture
def jpeg(photo):
    done, content = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 80])
    assert done
    return content.tobytes()


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("prefix", ["", "data:image/jpeg;base64,"])
def test_a_jpeg_that_nobody_drew_on_arrives_byte_for_byte(prefix, durability, api, compiled, jpeg):
    image = as_base64(jpeg)
    image["value"] = prefix + image["value"]
    engine = compiled(recording(durability=durability))
    engine.run(runtime_parameters={"image": image, "predictions": BIG_BOX})
    (event,) = api.wait_for_events(1)
    assert api.picture_of(event, "input") == jpeg


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("drawing", [DRAWS_INTO_THE_INPUT, LABELS_THE_INPUT])
def test_a_jpeg_that_a_step_drew_on_is_encoded_anew(drawing, durability, api, compiled, jpeg):
    # The block waits for the drawing because it also records the step's picture.
    specification = recording(
        steps_before=[drawing], output_image="$steps.boxes.image", durability=durability
    )
    specification["outputs"].append(
        {"type": "JsonField", "name": "drawn", "selector": "$steps.boxes.image"}
    )
    (answer,) = compiled(specification).run(
        runtime_parameters={"image": as_base64(jpeg), "predictions": BIG_BOX}
    )
    (event,) = api.wait_for_events(1)
    assert cv2.absdiff(answer["drawn"].numpy_image, pixels_of(jpeg)).mean() > 3
    assert api.picture_of(event, "input") != jpeg
    assert_shows(api.picture_of(event, "input"), answer["drawn"].numpy_image)

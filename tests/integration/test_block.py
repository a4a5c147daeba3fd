"""The block on the real engine: gates, wires, odd values and what is said about them."""

from __future__ import annotations

import logging
import os
import signal
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest
import supervision as sv

from tests.host_environment import HOST_ENVIRONMENT, needs_new_host
from tests.paths import paths_in
from tests.waiting import eventually
from vision_event_block import settings
from vision_event_block.outbox.entry import unpack
from vision_event_block.testing import StandInApi

IMAGE = {"type": "WorkflowImage", "name": "image"}
BOXES = {"type": "WorkflowBatchInput", "name": "p", "kind": ["object_detection_prediction"]}
SIZE = {"width": 640, "height": 480}
BOX = {"x": 100.0, "y": 60.0, "width": 40.0, "height": 20.0, "confidence": 0.9,
       "class": "cat", "class_id": 1, "detection_id": "d-1"}  # fmt: skip
OUTPUTS = ("error_status", "throttling_status", "event_id", "message", "delivery_status")


def parameter(name, default=None):
    return {"type": "WorkflowParameter", "name": name, "default_value": default}


def prediction(*boxes):
    return {"image": SIZE, "predictions": list(boxes)}


def workflow(*, inputs=(IMAGE,), steps=(), **fields):
    """One Vision Event step behind the given ones; it waits for the API unless told otherwise."""
    step = {
        "type": "vision_event_block/vision_event@v1",
        "name": "event",
        "event_type": "custom",
        "use_case": "dock",
        "fire_and_forget": False,
        "cooldown_seconds": 0,
        **fields,
    }
    return {
        "version": "1.0",
        "inputs": list(inputs),
        "steps": [*steps, {key: value for key, value in step.items() if value is not ...}],
        "outputs": [
            {"type": "JsonField", "name": name, "selector": f"$steps.event.{name}"}
            for name in OUTPUTS
        ],
    }


@pytest.fixture
def run(compiled):
    def run(specification, init=None, **parameters):
        return compiled(specification, **(init or {})).run(runtime_parameters=parameters)

    return run


def the_event(api):
    (event,) = api.wait_for_events(1)
    return event


# --- what is recorded (gates have a module of their own)


@pytest.mark.parametrize("reader", ["qr_code_detector@v1", "barcode_detector@v1"])
def test_a_code_that_was_read_on_a_crop_lies_where_it_is_on_the_whole_picture(reader, run, api):
    code = cv2.QRCodeEncoder.create().encode("serial 7")
    code = cv2.resize(code, None, fx=6, fy=6, interpolation=cv2.INTER_NEAREST)
    photo = np.full((480, 640, 3), 255, np.uint8)
    photo[300 : 300 + len(code), 420 : 420 + len(code)] = code[:, :, None]
    rows, columns = np.nonzero(photo[..., 0] == 0)
    middle = ((columns.min() + columns.max()) / 2, (rows.min() + rows.max()) / 2)
    crop = {
        "type": "roboflow_core/absolute_static_crop@v1",
        "name": "crop",
        "images": "$inputs.image",
        "x_center": 500,
        "y_center": 380,
        "width": 240,
        "height": 200,
    }
    read = {"type": f"roboflow_core/{reader}", "name": "read", "images": "$steps.crop.crops"}
    specification = workflow(
        steps=[crop, read], input_image="$inputs.image", predictions="$steps.read.predictions"
    )

    [answer] = run(specification, image=photo)

    [box] = the_event(api)["images"][0]["objectDetections"]
    assert (box["x"], box["y"]) == pytest.approx(middle, abs=4)
    assert answer["message"] == "Delivered."


def test_a_picture_with_nothing_on_it_is_an_event_too(api, run, photo):
    (result,) = run(
        workflow(inputs=[IMAGE, BOXES], input_image="$inputs.image", predictions="$inputs.p"),
        image=[photo],
        p=[prediction()],
    )

    assert result["delivery_status"] == "delivered"
    assert set(the_event(api)["images"][0]) == {"label", "inputSourceId"}


def test_all_crops_of_a_picture_pass_the_cooldown_and_the_next_picture_waits(compiled, api, photo):
    crop = {
        "type": "roboflow_core/dynamic_crop@v1",
        "name": "crop",
        "images": "$inputs.image",
        "predictions": "$inputs.p",
    }
    engine = compiled(
        workflow(
            inputs=[IMAGE, BOXES],
            steps=[crop],
            input_image="$steps.crop.crops",
            predictions="$steps.crop.predictions",
            cooldown_seconds=3600,
            use_case="crops-and-cooldown",
        )
    )

    def statuses(*ids):
        boxes = [{**BOX, "detection_id": name} for name in ids]
        (result,) = engine.run(runtime_parameters={"image": [photo], "p": [prediction(*boxes)]})
        return result["delivery_status"]

    assert statuses("a", "b") == ["delivered", "delivered"]
    assert statuses("c", "d") == ["throttled", "throttled"]
    box = next(iter(api.events.values()))["images"][0]["objectDetections"][0]
    assert (box["x"], box["y"]) == (20, 10)


# --- pictures that are no 8-bit colour


def test_a_threshold_picture_arrives_in_its_shades(api, run, photo):
    steps = [
        {"type": "roboflow_core/convert_grayscale@v1", "name": "gray", "image": "$inputs.image"},
        {
            "type": "roboflow_core/threshold@v1",
            "name": "threshold",
            "image": "$steps.gray.image",
            "threshold_type": "binary",
            "thresh_value": 127,
        },
    ]

    run(workflow(steps=steps, input_image="$steps.threshold.image"), image=[photo])

    content = api.picture_of(the_event(api), "input")
    shown = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    expected = cv2.threshold(cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY), 127, 255, 0)[1]
    assert shown.ndim == 2
    assert np.abs(shown.astype(int) - expected.astype(int)).mean() < 2


def test_a_longest_side_shrinks_picture_and_boxes_together(api, run, photo):
    run(
        workflow(
            inputs=[IMAGE, BOXES],
            input_image="$inputs.image",
            predictions="$inputs.p",
            max_image_side=320,
        ),
        image=[photo],
        p=[prediction(BOX)],
    )

    event = the_event(api)
    content = api.picture_of(event, "input")
    assert cv2.imdecode(np.frombuffer(content, np.uint8), 1).shape == (240, 320, 3)
    box = event["images"][0]["objectDetections"][0]
    assert (box["x"], box["y"], box["width"], box["height"]) == (50, 30, 20, 10)


# --- values over wires

ODD = {
    "unknown result": (
        {"event_type": "quality_check", "qc_result": "$inputs.x"}, "maybe", "qc_result"),
    "negative count": (
        {"event_type": "inventory_count", "item_count": "$inputs.x"}, -4, "item_count"),
    "cooldown of text": ({"cooldown_seconds": "$inputs.x"}, "soon", "cooldown_seconds"),
    "quality of zero": (
        {"input_image": "$inputs.image", "jpeg_quality": "$inputs.x"}, 0, "jpeg_quality"),
    "side of one": (
        {"input_image": "$inputs.image", "max_image_side": "$inputs.x"}, 1, "max_image_side"),
    "nested metadata": ({"custom_metadata": {"deep": "$inputs.x"}}, {"a": [1]}, "customMetadata"),
    "long device id": ({"device_id": "$inputs.x"}, "d" * 300, "device_id"),
    "long version": ({"workflow_version": "$inputs.x"}, "7" * 65, "workflow_version"),
}  # fmt: skip


@pytest.mark.parametrize(("fields", "value", "named"), ODD.values(), ids=ODD)
def test_an_odd_value_is_named_and_the_event_arrives_without_a_warning_of_the_api(
    api, run, photo, fields, value, named, caplog
):
    from vision_event_block.blocks import event_block  # noqa: PLC0415

    caplog.set_level(logging.WARNING)
    event_block._log._memory().said.clear()  # an earlier test may have said it this minute

    (result,) = run(workflow(inputs=[IMAGE, parameter("x")], **fields), image=[photo], x=value)

    assert result["delivery_status"] == "delivered"
    assert named in result["message"]
    assert "The API warns" not in result["message"]
    assert named in caplog.text
    assert len(api.events) == 1


@pytest.fixture
def image_metadata_key(monkeypatch):
    """Sets the host's setting, or unsets it."""

    def set_key(key):
        if key is None:
            monkeypatch.delenv("VISION_EVENT_IMAGE_METADATA_KEY", raising=False)
        else:
            monkeypatch.setenv("VISION_EVENT_IMAGE_METADATA_KEY", key)
        settings.current.cache_clear()

    yield set_key
    settings.current.cache_clear()


OF_THE_PICTURES = {"exposure_us": 900, "lens": "$inputs.x"}
TWO_PICTURES = {"input_image": "$inputs.image", "extra_images": {"side": "$inputs.image"}}


def test_metadata_of_the_pictures_go_with_each_of_them_under_the_key_that_the_host_names(
    api, run, photo, image_metadata_key
):
    image_metadata_key("metadata")
    step = workflow(inputs=[IMAGE, parameter("x")], image_metadata=OF_THE_PICTURES, **TWO_PICTURES)

    (result,) = run(step, image=[photo], x="wide")

    images = the_event(api)["images"]
    kept = {"exposure_us": 900, "lens": "wide"}
    assert [image["label"] for image in images] == ["workflow", "side"]
    assert [image["metadata"] for image in images] == [kept, kept]
    assert result["message"] == "Delivered."


NOT_SENT = {
    "nobody named the key": (None, TWO_PICTURES, "set VISION_EVENT_IMAGE_METADATA_KEY"),
    "the key means something else": ("sourceId", TWO_PICTURES, "sourceId"),
    "there is no picture": ("metadata", {}, "no picture"),
}


@pytest.mark.parametrize(("key", "fields", "named"), NOT_SENT.values(), ids=NOT_SENT)
def test_metadata_of_the_pictures_that_cannot_be_sent_are_named_and_cost_nothing(
    api, run, photo, image_metadata_key, key, fields, named
):
    image_metadata_key(key)
    step = workflow(inputs=[IMAGE, parameter("x")], image_metadata=OF_THE_PICTURES, **fields)

    (result,) = run(step, image=[photo], x="wide")

    event = the_event(api)
    assert "exposure_us" not in str(event)
    assert len(event["images"]) == len(fields)
    assert "image_metadata: not sent" in result["message"]
    assert named in result["message"]


def test_only_the_values_of_the_pictures_that_cannot_be_kept_are_changed_and_named(
    api, run, photo, image_metadata_key
):
    image_metadata_key("metadata")
    step = workflow(inputs=[IMAGE, parameter("x")], image_metadata=OF_THE_PICTURES, **TWO_PICTURES)

    (result,) = run(step, image=[photo], x={"mm": 8})

    [first, _] = the_event(api)["images"]
    assert first["metadata"] == {"exposure_us": 900, "lens": '{"mm":8}'}
    assert "image_metadata: 'lens' sent as JSON text" in result["message"]


UNFIT = {
    "event type": ({"event_type": "$inputs.x"}, "nonsense", "event_type"),
    "feedback without its event": (
        {"event_type": "operator_feedback", "feedback": "correct", "related_event_id": "$inputs.x"},
        None,
        "related_event_id",
    ),
    "time long ago": ({"timestamp": "$inputs.x"}, "1970-01-01T00:00:00Z", "timestamp"),
    "time that cannot be read": ({"timestamp": "$inputs.x"}, "noon", "timestamp"),
    "no use case": ({"use_case": "$inputs.x"}, "", "use_case"),
    "use case too long": ({"use_case": "$inputs.x"}, "u" * 257, "use_case"),
}


@pytest.mark.parametrize(("fields", "value", "named"), UNFIT.values(), ids=UNFIT)
def test_an_event_that_the_api_would_refuse_is_rejected_with_what_to_change(
    api, run, photo, fields, value, named
):
    (result,) = run(workflow(inputs=[IMAGE, parameter("x")], **fields), image=[photo], x=value)

    assert result["error_status"] is True
    assert result["delivery_status"] == "rejected"
    assert result["event_id"] == ""
    assert named in result["message"]
    assert api.requests == []


def test_a_rejected_event_does_not_use_up_the_cooldown(compiled, api, photo):
    engine = compiled(
        workflow(
            inputs=[IMAGE, parameter("type")],
            event_type="$inputs.type",
            cooldown_seconds=3600,
            use_case="rejected-and-cooldown",
        )
    )

    def status(event_type):
        (result,) = engine.run(runtime_parameters={"image": [photo], "type": event_type})
        return result["delivery_status"]

    # The event type is part of the key, so the same one is asked for twice.
    assert status("nonsense") == "rejected"
    assert status("nonsense") == "rejected"
    assert status("custom") == "delivered"
    assert status("custom") == "throttled"


def dead_letter(event_id):
    folder = Path(HOST_ENVIRONMENT["VISION_EVENT_OUTBOX"]) / "dead"
    return next(folder.glob(f"*-{event_id}.json"), None)


def wait_for_rejection(event_id):
    """Waits until the event is a dead letter and its step knows, which comes a moment later."""
    from vision_event_block.delivery.shared_dispatch import shared_dispatch  # noqa: PLC0415

    eventually(lambda: dead_letter(event_id))
    shared_dispatch()._dispatch.flush(timeout_s=60)


def frames_of(compiled, photo, **fields):
    """A function that runs one frame through a step that does not wait."""
    engine = compiled(workflow(input_image="$inputs.image", fire_and_forget=True, **fields))

    def frame():
        (result,) = engine.run(runtime_parameters={"image": [photo]})
        return result

    return frame


def test_a_rejection_in_the_background_is_said_by_the_next_frames_until_one_gets_through(
    compiled, api, photo
):
    frame = frames_of(compiled, photo, use_case="mistyped-use-case")
    api.fail(404, route="create", body={"error": "no such use case"})

    first = frame()
    wait_for_rejection(first["event_id"])
    second = frame()
    wait_for_rejection(second["event_id"])
    api.heal()
    third = frame()
    api.wait_for_events(1)
    eventually(lambda: not frame()["error_status"])

    assert (first["delivery_status"], first["error_status"]) == ("stored", False)
    for later in (second, third):
        assert (later["delivery_status"], later["error_status"]) == ("stored", True)
        assert "no such use case" in later["message"]
        assert later["event_id"]


def test_a_rejection_is_not_said_by_the_frames_of_another_step(compiled, api, photo):
    wrong = frames_of(compiled, photo, use_case="wrong-of-two")
    right = frames_of(compiled, photo, use_case="right-of-two")
    api.fail(404, route="create", times=1, body={"error": "no such use case"})

    rejected = wrong()
    wait_for_rejection(rejected["event_id"])

    assert right()["error_status"] is False
    assert wrong()["error_status"] is True


def test_a_rejected_event_that_was_waited_for_is_found_under_its_id(api, run, photo):
    api.fail(404, route="create", body={"error": "no such use case"})

    (result,) = run(workflow(use_case="rejected-and-waited-for"), image=[photo])

    assert (result["delivery_status"], result["error_status"]) == ("rejected", True)
    assert "no such use case" in result["message"]
    assert dead_letter(result["event_id"])


DEPRECATION = {"path": "useCaseId", "message": "use solutionId"}
WARNING = {"type": "any.required", "path": "eventData.feedback"}


def test_what_the_api_calls_deprecated_is_said_when_it_is_waited_for(api, run, photo, caplog):
    api.fail(201, route="create", body={"created": True, "deprecations": [DEPRECATION]})

    (result,) = run(workflow(use_case="deprecated-and-waited-for"), image=[photo])

    assert (result["delivery_status"], result["error_status"]) == ("delivered", False)
    assert "useCaseId is deprecated: use solutionId" in result["message"]
    eventually(lambda: "useCaseId is deprecated" in caplog.text)


@pytest.mark.parametrize(
    ("remarks", "words"),
    [
        ({"deprecations": ["comment"]}, "comment is deprecated"),
        ({"warnings": [WARNING]}, "eventData.feedback is missing"),
    ],
)
def test_what_the_api_remarks_in_the_background_is_said_by_the_next_frames(
    compiled, api, photo, caplog, remarks, words
):
    frame = frames_of(compiled, photo, use_case=f"remarks-{next(iter(remarks))}")
    api.fail(201, route="create", body={"created": True, **remarks})

    first = frame()
    eventually(lambda: words in caplog.text)
    second = frame()

    assert words not in first["message"]
    assert words in second["message"]
    assert second["error_status"] is False


def test_steps_of_one_name_in_two_workflows_have_cooldowns_of_their_own(run, api, photo):
    def status(**fields):
        (result,) = run(
            workflow(cooldown_seconds=3600, use_case="same-name", stream_id="gate", **fields),
            image=[photo],
        )
        return result["delivery_status"]

    assert status(custom_value="belt") == "delivered"
    assert status(custom_value="door") == "delivered"
    assert status(custom_value="belt") == "throttled"


@pytest.mark.parametrize("switch", [True, "true", "1", 1])
def test_disabled_records_nothing(api, run, photo, switch):
    (result,) = run(
        workflow(inputs=[IMAGE, parameter("off")], disable_sink="$inputs.off"),
        image=[photo],
        off=switch,
    )

    assert result["delivery_status"] == "disabled"
    assert result["error_status"] is False
    assert api.requests == []


@needs_new_host("a host could not tell a plugin to disable its sinks")
def test_the_host_can_disable_all_sinks(api, run, photo):
    (result,) = run(workflow(), init={"disable_sinks": True}, image=[photo])

    assert result["delivery_status"] == "disabled"
    assert api.requests == []


# --- context


def test_the_context_of_the_run_is_told_unless_the_user_tells_it(api, run, photo):
    local = datetime.now().replace(microsecond=0) - timedelta(seconds=4)  # noqa: DTZ005 - as cameras do
    frame = {
        "type": "numpy_object",
        "value": photo,
        "video_metadata": {
            "video_identifier": "cam-7",
            "frame_number": 3,
            "frame_timestamp": local,
            "fps": 30,
            "comes_from_video_file": False,
        },
    }

    run(workflow(input_image="$inputs.image", device_id="jetson-3"), image=[frame])

    event = the_event(api)
    assert event["streamId"] == "cam-7"
    assert event["deviceId"] == "jetson-3"
    assert datetime.fromisoformat(event["timestamp"]) == local.astimezone()


MOMENT = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(days=2)
MOMENT_FORMS = [MOMENT.isoformat(), MOMENT.timestamp(), int(MOMENT.timestamp())]


@pytest.mark.parametrize(
    "given", [*MOMENT_FORMS, str(MOMENT.timestamp())], ids=["iso", "float", "int", "other"]
)
def test_a_literal_time_may_have_any_usual_form(api, run, photo, given):
    run(workflow(timestamp=given), image=[photo])

    assert datetime.fromisoformat(the_event(api)["timestamp"]) == MOMENT


@pytest.mark.parametrize("given", [*MOMENT_FORMS, MOMENT], ids=["iso", "float", "int", "other"])
def test_a_wired_time_may_have_any_usual_form(api, run, photo, given):
    run(workflow(inputs=[IMAGE, parameter("t")], timestamp="$inputs.t"), image=[photo], t=given)

    assert datetime.fromisoformat(the_event(api)["timestamp"]) == MOMENT


def test_more_views_of_one_event_keep_their_labels_and_pictures(api, run, photo):
    inputs = [IMAGE, {"type": "WorkflowImage", "name": "top"}]

    run(
        workflow(
            inputs=inputs, input_image="$inputs.image", extra_images={"top view": "$inputs.top"}
        ),
        image=[photo],
        top=[np.full((100, 200, 3), 60, np.uint8)],
    )

    main, top = the_event(api)["images"]
    assert (main["label"], top["label"]) == ("workflow", "top view")
    content = api.uploads[top["sourceId"]].picture
    assert cv2.imdecode(np.frombuffer(content, np.uint8), 1).shape == (100, 200, 3)


TOP = {"type": "WorkflowImage", "name": "top"}
PAINT = {"type": "roboflow_core/image_blur@v1", "name": "paint", "image": "$inputs.image"}


@pytest.mark.parametrize(
    ("shown", "label", "grey"),
    [(..., "workflow", 40), ("output", "workflow", 40), ("input", "workflow", 40),
     ("top", "top", 200)],
)  # fmt: skip
def test_the_dashboard_shows_the_picture_that_the_step_chooses(api, run, shown, label, grey):
    run(
        workflow(
            inputs=[IMAGE, TOP],
            steps=[PAINT],
            input_image="$inputs.image",
            output_image="$steps.paint.image",
            extra_images={"top": "$inputs.top"},
            display_image=shown,
        ),
        image=[np.tile(np.array([30, 50], np.uint8), (48, 32))[..., None].repeat(3, axis=2)],
        top=[np.full((48, 64, 3), 200, np.uint8)],
    )

    event = the_event(api)
    displayed = event["images"][event["displayImagePosition"]]
    assert displayed["label"] == label
    # The dashboard shows an entry's output, and its input where it has no other.
    key = "sourceId" if "sourceId" in displayed else "inputSourceId"
    assert key == ("inputSourceId" if shown == "input" else "sourceId")
    pixels = cv2.imdecode(np.frombuffer(api.uploads[displayed[key]].picture, np.uint8), 1)
    assert int(pixels.mean()) == pytest.approx(grey, abs=2)
    labels = ["workflow", "output", "top"] if shown == "input" else ["workflow", "top"]
    assert [image["label"] for image in event["images"]] == labels
    assert len(api.uploads) == 3


@pytest.mark.parametrize("durability", ["disk", "memory"])
@pytest.mark.parametrize("other", ["$inputs.image", "$inputs.top"])
@pytest.mark.parametrize("shown", ["output", "input"])
def test_the_same_picture_as_input_and_output_is_uploaded_once(
    api, run, photo, other, durability, shown
):
    run(
        workflow(
            inputs=[IMAGE, TOP, BOXES],
            input_image="$inputs.image",
            output_image=other,
            predictions="$inputs.p",
            display_image=shown,
            fire_and_forget=True,
            durability=durability,
        ),
        image=[photo],
        top=[photo.copy()],
        p=[prediction(BOX)],
    )

    event = the_event(api)
    (image,) = event["images"]
    assert image["sourceId"] == image["inputSourceId"]
    assert len(image["objectDetections"]) == 1
    assert event["displayImagePosition"] == 0
    (upload,) = api.uploads.values()
    as_input = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    assert upload.picture == as_input


def test_a_picture_that_differs_in_one_pixel_is_uploaded_too(api, run, photo):
    other = photo.copy()
    other[-1, -1] ^= 255

    run(
        workflow(inputs=[IMAGE, TOP], input_image="$inputs.image", output_image="$inputs.top"),
        image=[photo],
        top=[other],
    )

    (image,) = the_event(api)["images"]
    assert image["sourceId"] != image["inputSourceId"]
    assert len(api.uploads) == 2


def test_the_input_on_display_keeps_its_predictions(api, run, photo):
    run(
        workflow(
            inputs=[IMAGE, BOXES],
            steps=[PAINT],
            input_image="$inputs.image",
            output_image="$steps.paint.image",
            predictions="$inputs.p",
            display_image="input",
        ),
        image=[photo],
        p=[prediction(BOX)],
    )

    main, output = the_event(api)["images"]
    assert main.keys() == {"label", "inputSourceId", "objectDetections"}
    assert output.keys() == {"label", "sourceId"}


def test_a_picture_to_show_that_is_not_there_is_named(api, run, photo):
    (result,) = run(
        workflow(
            inputs=[IMAGE, parameter("shown", "side")],
            input_image="$inputs.image",
            display_image="$inputs.shown",
        ),
        image=[photo],
    )

    assert the_event(api)["displayImagePosition"] == 0
    assert "there is no picture 'side'" in result["message"]


def test_each_extra_picture_may_have_predictions_of_its_own(api, run, photo):
    run(
        workflow(
            inputs=[IMAGE, TOP, BOXES],
            input_image="$inputs.image",
            extra_images={"top": "$inputs.top"},
            extra_predictions={"top": "$inputs.p"},
        ),
        image=[photo],
        top=[photo],
        p=[prediction(BOX)],
    )

    main, top = the_event(api)["images"]
    assert "objectDetections" not in main
    (box,) = top["objectDetections"]
    assert (box["x"], box["y"], box["width"], box["height"]) == (100, 60, 40, 20)


def test_boxes_and_classes_of_one_frame_are_one_event(api, run, photo):
    classes = {
        "type": "WorkflowBatchInput",
        "name": "classes",
        "kind": ["classification_prediction"],
    }
    (result,) = run(
        workflow(
            inputs=[IMAGE, BOXES, classes],
            input_image="$inputs.image",
            predictions="$inputs.p",
            more_predictions=["$inputs.classes", "$inputs.p"],
            max_image_side=320,
        ),
        image=[photo],
        p=[prediction(BOX)],
        classes=[
            {
                "image": SIZE,
                "predictions": [{"class": "wet", "class_id": 0, "confidence": 0.75}],
                "top": "wet",
                "confidence": 0.75,
            }
        ],
    )

    (image,) = the_event(api)["images"]
    assert image["classifications"] == [{"class": "wet", "confidence": 0.75}]
    assert [(box["x"], box["y"]) for box in image["objectDetections"]] == [(50, 30), (50, 30)]
    assert result["message"] == "Delivered."


WAVED = {"start_frame_idx": 0, "end_frame_idx": 48, "class": "wave", "class_id": 3,
         "confidence": 0.8}  # fmt: skip
JUMPED = {**WAVED, "start_frame_idx": 60, "end_frame_idx": 95, "class": "jump", "confidence": 0.6}


@needs_new_host("no kind holds actions")
def test_actions_are_classes_with_their_first_and_last_frame_as_metadata(api, run, photo):
    kind = {"type": "WorkflowBatchInput", "name": "p", "kind": ["action_recognition_prediction"]}
    waved_again = {**WAVED, "start_frame_idx": 110, "end_frame_idx": 130, "confidence": 0.9}

    (result,) = run(
        workflow(
            inputs=[IMAGE, kind],
            input_image="$inputs.image",
            predictions="$inputs.p",
            custom_metadata={"line": 3, "jump_last_frame": "mine"},
        ),
        image=[photo],
        p=[[WAVED, JUMPED, waved_again]],
    )

    event = the_event(api)
    assert event["images"][0]["classifications"] == [
        {"class": "wave", "confidence": 0.9},
        {"class": "jump", "confidence": 0.6},
    ]
    assert event["customMetadata"] == {
        "line": 3,
        "wave_first_frame": 110,
        "wave_last_frame": 130,
        "jump_first_frame": 60,
        "jump_last_frame": "mine",
    }
    assert "2 of 3 ranges of frames kept" in result["message"]


@needs_new_host("no kind holds actions")
def test_a_video_in_which_nothing_happened_yet_is_an_event_without_classes(api, run, photo):
    kind = {"type": "WorkflowBatchInput", "name": "p", "kind": ["action_recognition_prediction"]}

    (result,) = run(
        workflow(inputs=[IMAGE, kind], input_image="$inputs.image", predictions="$inputs.p"),
        image=[photo],
        p=[[]],
    )

    assert the_event(api)["images"][0].keys() == {"label", "inputSourceId"}
    assert "Adjusted" not in result["message"]


def test_key_points_below_the_threshold_are_occluded(api, run, photo):
    points = [
        {"x": 90, "y": 50, "class": "nose", "class_id": 0, "confidence": 0.9},
        {"x": 95, "y": 55, "class": "eye", "class_id": 1, "confidence": 0.1},
    ]
    kind = ["keypoint_detection_prediction"]
    inputs = [IMAGE, {"type": "WorkflowBatchInput", "name": "p", "kind": kind}]
    fields = {"inputs": inputs, "input_image": "$inputs.image", "predictions": "$inputs.p"}
    row = prediction({**BOX, "keypoints": points})

    run(workflow(**fields, occluded_below=0.3), image=[photo], p=[row])

    (entry,) = the_event(api)["images"][0]["keypoints"]
    assert [point["occluded"] for point in entry["keypoints"]] == [False, True]


@pytest.mark.parametrize(
    ("given", "status", "named"),
    [("memory", "accepted", False), ("disk", "stored", False), ("ram", "stored", True)],
)
def test_durability_may_be_decided_by_the_run(api, run, photo, given, status, named):
    with api.refusing():
        (result,) = run(
            workflow(
                inputs=[IMAGE, parameter("durability")],
                input_image="$inputs.image",
                durability="$inputs.durability",
                fire_and_forget=True,
            ),
            image=[photo],
            durability=given,
        )

    assert result["delivery_status"] == status
    assert ("durability: taken as disk" in result["message"]) is named
    api.wait_for_events(1)


def test_the_prediction_object_itself_is_left_alone(api, photo):
    """Steps that run beside ours share the very object."""
    from vision_event_block.blocks.vision_event import VisionEventBlock  # noqa: PLC0415

    boxes = sv.Detections(
        xyxy=np.array([[1.0, 2, 3, 4]] * 3), confidence=np.array([np.nan, 0.5, 2.0])
    )
    before = (boxes.xyxy.copy(), boxes.confidence.copy(), dict(boxes.data))

    VisionEventBlock(api_key="k").run(
        predictions=boxes, event_type="custom", use_case="dock", fire_and_forget=False,
        cooldown_seconds=0,
    )  # fmt: skip

    np.testing.assert_array_equal(boxes.xyxy, before[0])
    np.testing.assert_array_equal(boxes.confidence, before[1])
    assert boxes.data == before[2]


# --- the way out


@needs_new_host("a host handed out no client for its platform")
def test_the_hosts_extra_headers_and_gateway_are_used(api, run, photo):
    class PlatformClient:
        """As the host's own: adds headers and leads through a gateway."""

        def build_api_headers(self, explicit_headers=None):
            return {**(explicit_headers or {}), "X-Plant": "7", "Authorization": "Bearer gateway"}

        def wrap_url(self, url):
            return f"{api.url}{url.removeprefix(api.url)}?via=gateway"

        def get_device_id(self):
            return "host-device"

        def __getattr__(self, name):  # the other operations of the platform, unused here
            return lambda *_, **__: None

    run(workflow(), init={"platform_client": PlatformClient()}, image=[photo])

    (request,) = api.requests
    assert request.headers["X-Plant"] == "7"
    assert request.headers["Authorization"] == "Bearer gateway"
    assert request.path == "/vision-events?via=gateway"
    assert the_event(api)["deviceId"] == "host-device"


@needs_new_host("there was no OFFLINE_MODE")
def test_a_host_that_is_told_to_stay_offline_sends_nothing(api, run, photo, monkeypatch):
    from roboflow_workflows import environment  # noqa: PLC0415

    monkeypatch.setattr(environment, "OFFLINE_MODE", True)

    (result,) = run(workflow(), image=[photo])

    assert result["delivery_status"] == "failed"
    assert "OFFLINE_MODE" in result["message"]
    assert "VISION_EVENT_API_URL" in result["message"]
    assert api.requests == []


def test_a_server_of_ones_own_gets_the_events_directly_and_needs_no_key(run, photo, monkeypatch):
    for name in ("ROBOFLOW_API_KEY", "API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with StandInApi() as own:
        monkeypatch.setenv("VISION_EVENT_API_URL", own.url)
        settings.current.cache_clear()
        try:
            (result,) = run(workflow(), init={"api_key": None}, image=[photo])
        finally:
            settings.current.cache_clear()

        assert result["delivery_status"] == "delivered"
        assert len(own.events) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_may_record_whatever_its_parent_was_doing(api, photo):
    from vision_event_block.blocks import host_destinations, vision_event  # noqa: PLC0415
    from vision_event_block.delivery.shared_dispatch import shared_dispatch  # noqa: PLC0415

    fields = {"event_type": "custom", "use_case": "fork", "fire_and_forget": False}
    once = (host_destinations._destinations, vision_event._cooldown, shared_dispatch)
    locks = [lock for each in once for lock in (each._lock, each()._lock)]
    with ExitStack() as held:  # as if other threads were in the middle of it right now
        for lock in locks:
            held.enter_context(lock)
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # which ends a child that hangs
            signal.alarm(120)
            try:
                outputs = vision_event.VisionEventBlock(api_key="child").run(**fields)
                os._exit(0 if outputs["delivery_status"] == "delivered" else 1)
            finally:
                os._exit(1)

    assert os.waitpid(child, 0)[1] == 0
    assert the_event(api)["useCaseId"] == "fork"


# --- the story, on frames that a loop of one's own hands to the engine


def video_frame(number, grey, *, camera="0"):
    """A frame of a video file of ten frames a second, in one grey."""
    video = {
        "video_identifier": camera,
        "frame_number": number,
        "frame_timestamp": datetime(2026, 3, 1, 9, 15),  # noqa: DTZ001 - as the host's own are
        "fps": 10,
        "comes_from_video_file": True,
    }
    pixels = np.full((48, 64, 3), grey, np.uint8)
    return {"type": "numpy_object", "value": pixels, "video_metadata": video}


def greys_of(api, event):
    """By the label of each image, how grey it is."""
    pictures = api.uploads
    return {
        image["label"]: round(
            cv2.imdecode(
                np.frombuffer(
                    pictures[image.get("sourceId") or image["inputSourceId"]].picture, np.uint8
                ),
                cv2.IMREAD_GRAYSCALE,
            ).mean()
        )
        for image in event["images"]
    }


def versions_on_disk(event_id):
    """Which versions of an event are in the outbox."""
    outbox = Path(HOST_ENVIRONMENT["VISION_EVENT_OUTBOX"])
    versions = []
    for path in paths_in(outbox, f"**/*{event_id}*.tar"):
        with suppress(FileNotFoundError):  # it was delivered or replaced just now
            versions.append(unpack(path.read_bytes()).metadata.version)
    return versions


@pytest.fixture
def story(compiled):
    """A function that runs a step with a story on frames of a video; gives its outputs."""

    def compile_step(**fields):
        wanted = {"before_seconds": 2, "after_seconds": 1, "trigger": "$inputs.trigger", **fields}
        inputs = [
            IMAGE,
            parameter("trigger", False),
            parameter("side", 640),
            parameter("no_use_case", ""),
        ]
        specification = workflow(
            inputs=inputs, input_image="$inputs.image", fire_and_forget=True, **wanted
        )
        engine = compiled(specification)

        def show(image, **parameters):
            [outputs] = engine.run(runtime_parameters={"image": image, **parameters})
            return outputs

        return show

    return compile_step


@pytest.mark.parametrize("durability", ["disk", "memory"])
def test_what_replaces_an_event_that_has_not_left_shows_the_frame_as_it_was(api, story, durability):
    """Other steps draw into the very array that the host hands out."""
    show = story(durability=durability)
    with api.refusing():
        frame = video_frame(6, 100)
        told = show(frame, trigger=True)
        frame["value"][:] = 0
        show(video_frame(11, 150))
        show(video_frame(17, 200))
        eventually(lambda: versions_on_disk(told["event_id"]) == [1])

    eventually(lambda: len(api.events.get(told["event_id"], {}).get("images", ())) == 2)
    assert greys_of(api, api.events[told["event_id"]]) == {"workflow": 100, "+0.5 s": 150}
    assert len(api.events) == 1


@pytest.mark.parametrize("durability", ["disk", "memory"])
def test_both_versions_show_the_frame_as_it_was_and_share_its_picture(api, story, durability):
    """Other steps draw into the very array that the host hands out."""
    show = story(durability=durability)
    show(video_frame(0, 50))
    frame = video_frame(6, 100)
    told = show(frame, trigger=True)
    frame["value"][:] = 0
    eventually(lambda: told["event_id"] in api.events)
    first = dict(api.events)[told["event_id"]]
    show(video_frame(11, 150))
    done = show(video_frame(17, 200))

    assert told["event_id"] in done["message"]
    eventually(lambda: len(api.events[told["event_id"]]["images"]) == 3)
    last = api.events[told["event_id"]]
    assert greys_of(api, first) == {"workflow": 100, "-0.6 s": 50}
    assert greys_of(api, last) == {"workflow": 100, "-0.6 s": 50, "+0.5 s": 150}
    assert len(api.uploads) == 3
    assert {key: first[key] for key in first if key != "images"} == {
        key: last[key] for key in last if key != "images"
    }


def test_a_camera_that_begins_again_completes_what_waits_and_begins_a_story(api, story):
    show = story(after_seconds=30)
    show(video_frame(100, 50))
    [first, second] = [
        show(video_frame(number, grey), trigger=True) for number, grey in ((105, 60), (110, 70))
    ]
    show(video_frame(1, 80))
    last = show(video_frame(6, 90), trigger=True)

    eventually(lambda: len(api.events) == 3 and len(api.events[first["event_id"]]["images"]) == 3)
    assert greys_of(api, api.events[first["event_id"]]) == {
        "workflow": 60, "-0.5 s": 50, "+0.5 s": 70
    }  # fmt: skip
    assert greys_of(api, api.events[second["event_id"]]) == {
        "workflow": 70, "-1.0 s": 50, "-0.5 s": 60
    }  # fmt: skip
    assert greys_of(api, api.events[last["event_id"]]) == {"workflow": 90, "-0.5 s": 80}


def test_an_event_that_was_refused_is_not_completed(api, story):
    show = story(use_case="$inputs.no_use_case")
    refused = show(video_frame(0, 50), trigger=True)
    show(video_frame(5, 50))
    later = show(video_frame(20, 50))

    assert refused["delivery_status"] == "rejected"
    assert later["message"] == "Nothing recorded: Trigger is off."
    assert not api.requests


def test_a_side_that_changes_begins_a_story_of_the_other_size(api, story):
    show = story(story_side="$inputs.side", after_seconds=0)
    show(video_frame(0, 50))
    show(video_frame(5, 60), side=64)
    told = show(video_frame(10, 70), side=64, trigger=True)

    [event] = api.wait_for_events(1)
    assert greys_of(api, event) == {"workflow": 70, "-0.5 s": 60}
    assert told["delivery_status"] == "stored"


def test_what_the_trigger_says_may_be_text(api, story):
    show = story()

    statuses = [
        show(video_frame(number, 50), trigger=said)["delivery_status"]
        for number, said in enumerate(["false", "off", 0, None, "true", 1])
    ]

    assert statuses == ["waiting"] * 4 + ["stored"] * 2

"""The block in an `InferencePipeline` over real video files."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.host_environment import HOST_ENVIRONMENT, IS_OLD_HOST, needs_new_host
from tests.integration import coordinate_process
from tests.integration.coordinate_rows import ROWS
from tests.integration.workflows import workflow
from tests.waiting import eventually

FRAMES = 30
FPS = 10
WIDTH, HEIGHT = 320, 240
#: Six bits as white and black squares survive any codec.
BITS, SQUARE_PX = 6, 40
#: Far below what waiting for each frame's answer would take.
JOIN_TIMEOUT_S = 60.0
#: An old host keeps the pipeline's key to itself.
KEY = HOST_ENVIRONMENT["ROBOFLOW_API_KEY"] if IS_OLD_HOST else "key-of-the-line"


def frame_with(number):
    """A grey frame with the number written on it as squares."""
    frame = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    for bit in range(BITS):
        left = 10 + bit * (SQUARE_PX + 10)
        shade = 255 if number >> bit & 1 else 0
        frame[100 : 100 + SQUARE_PX, left : left + SQUARE_PX] = shade
    return frame


def number_on(picture):
    """The number of the frame that the bytes of a picture show."""
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_GRAYSCALE)
    middles = [pixels[120, 30 + bit * (SQUARE_PX + 10)] for bit in range(BITS)]
    return sum(1 << bit for bit, shade in enumerate(middles) if shade > 128)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A video of thirty numbered frames."""
    path = tmp_path_factory.mktemp("clips") / "line.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), FPS, (WIDTH, HEIGHT))
    for number in range(FRAMES):
        writer.write(frame_with(number))
    writer.release()
    return str(path)


@pytest.fixture
def play(_host, monkeypatch):
    """A function that runs a workflow over videos to their end.

    It gives the outputs of the step `event`, frame by frame, and how long the run took.
    """
    from inference import InferencePipeline  # noqa: PLC0415

    monkeypatch.setenv("VISION_EVENT_CLOSE_TIMEOUT_S", "60")  # for all to arrive also if it is slow

    def run(videos, *steps, **more):
        outputs = []

        def keep(predictions, _frames):
            rows = predictions if isinstance(predictions, list) else [predictions]
            outputs.extend(row["event"] for row in rows if row is not None)

        started_s = time.monotonic()
        pipeline = InferencePipeline.init_with_workflow(
            video_reference=videos,
            workflow_specification={**workflow(*steps), **more},
            api_key="key-of-the-line",
            on_prediction=keep,
        )
        pipeline.start(use_main_thread=True)
        pipeline.join()
        return outputs, time.monotonic() - started_s

    return run


def event_step(request, **fields):
    """A step whose use case is the test's name, so that cooldowns do not reach across tests."""
    return {
        "type": "vision_event_block/vision_event@v1",
        "name": "event",
        "input_image": "$inputs.image",
        "event_type": "custom",
        "use_case": request.node.name,
        **fields,
    }


def constant(name, value):
    """A step whose output is always the same value."""
    return {
        "type": "roboflow_core/expression@v1",
        "name": name,
        "data": {"picture": "$inputs.image"},
        "switch": {
            "type": "CasesDefinition",
            "cases": [],
            "default": {"type": "StaticCaseResult", "value": value},
        },
    }


def recorded(api, outputs):
    """The events that the outputs name. Nothing is waited for: `join` has let the last one out."""
    ids = [output["event_id"] for output in outputs if output["event_id"]]
    if IS_OLD_HOST:  # whose engine closes no block
        eventually(lambda: set(ids) <= api.events.keys())
    return [api.events[event_id] for event_id in ids]


def test_every_frame_is_recorded_with_its_own_picture_before_the_pipeline_ends(
    api, play, clip, request
):
    outputs, _ = play(clip, event_step(request, cooldown_seconds=0))

    events = recorded(api, outputs)
    assert [number_on(api.picture_of(event, "input")) for event in events] == list(range(FRAMES))
    assert len({event["eventId"] for event in events}) == len(api.events) == FRAMES
    assert {event["streamId"] for event in events} == {"0"}
    assert {output["delivery_status"] for output in outputs} == {"stored"}
    keys = {upload.headers["Authorization"] for upload in api.uploads.values()}
    assert keys == {f"Bearer {KEY}"}


def test_a_recorded_frame_looks_as_the_video_shows_it(api, play, clip, request):
    outputs, _ = play(clip, event_step(request, cooldown_seconds=3600, max_image_side=WIDTH))

    video = cv2.VideoCapture(clip)
    _, first_frame = video.read()
    video.release()
    [event] = recorded(api, outputs)
    picture = cv2.imdecode(
        np.frombuffer(api.picture_of(event, "input"), np.uint8), cv2.IMREAD_COLOR
    )
    difference = np.abs(picture.astype(int) - first_frame.astype(int))
    assert (difference.mean(), difference.max()) < (2, 40)


def test_encoding_in_the_background_records_the_same_frames(api, play, clip, request):
    outputs, _ = play(clip, event_step(request, cooldown_seconds=0, durability="memory"))

    events = recorded(api, outputs)
    assert [number_on(api.picture_of(event, "input")) for event in events] == list(range(FRAMES))


def test_the_default_cooldown_records_a_frame_a_second(api, play, clip, request):
    outputs, _ = play(clip, event_step(request))

    accepted = [output for output in outputs if output["event_id"]]
    assert len(outputs) == FRAMES
    assert len(accepted) == FRAMES / FPS  # by the video's own time, however fast it runs
    assert Counter(output["delivery_status"] for output in outputs) == {
        "stored": len(accepted),
        "throttled": FRAMES - len(accepted),
    }
    assert len(recorded(api, outputs)) == len(api.events) == len(accepted)


def test_each_of_two_cameras_has_its_own_cooldown(api, play, clip, request):
    outputs, _ = play([clip, clip], event_step(request, cooldown_seconds=3600))

    assert len(outputs) == 2 * FRAMES
    assert sorted(event["streamId"] for event in recorded(api, outputs)) == ["0", "1"]


def test_the_first_camera_of_another_pipeline_is_another_camera(api, play, clip, request):
    """Pipelines only number their cameras; a name of one's own is what they may share."""

    def recorded_by_two(**fields):
        both = [play(clip, event_step(request, cooldown_seconds=3600, **fields)) for _ in range(2)]
        return [sum(bool(output["event_id"]) for output in outputs) for outputs, _ in both]

    unnamed, named = recorded_by_two(), recorded_by_two(stream_id="dock")

    assert unnamed == [1, 1]
    assert named == [1, 0]
    api.wait_for_events(3)


OFFICIAL = "roboflow_core/roboflow_vision_events@v1"


def test_behind_a_gate_both_blocks_record_the_same_frames(api, play, clip, request):
    """Every tenth frame is let through; the sink itself has the picture of all of them."""
    steps = [
        {
            "type": "roboflow_core/rate_limiter@v1",
            "name": "gate",
            "cooldown_seconds": 1.0,
            "video_reference_image": "$inputs.image",
            "depends_on": "$inputs.image",
            "next_steps": ["$steps.blur"],
        },
        {"type": "roboflow_core/image_blur@v1", "name": "blur", "image": "$inputs.image"},
    ]
    counts = {}
    for block_type in (OFFICIAL, "vision_event_block/vision_event@v1"):
        step = event_step(request, cooldown_seconds=0, fire_and_forget=False)
        step = {**step, "type": block_type, "output_image": "$steps.blur.image"}
        step["solution"] = step.pop("use_case")
        api.events.clear()
        play(clip, *steps, step)
        counts[block_type] = len(api.events)

    assert len(set(counts.values())) == 1, counts
    assert 1 <= next(iter(counts.values())) < FRAMES / 2


def test_a_pipeline_runs_to_its_end_while_the_api_is_down(api, play, clip, request):
    with api.refusing():
        outputs, took_s = play(clip, event_step(request, cooldown_seconds=0))

        assert not api.events

    assert len(outputs) == FRAMES
    assert not any(output["error_status"] for output in outputs)
    assert took_s < JOIN_TIMEOUT_S
    arrived = {event["eventId"] for event in api.wait_for_events(FRAMES)}
    assert arrived == {output["event_id"] for output in outputs}


def test_rejected_events_are_said_by_the_frames_and_counted_at_the_end(api, tell, caplog):
    api.fail(404, body={"error": "no such use case"}, route="create")
    api.fail(404, body={"error": "no such use case"}, route="batch")
    module = "vision_event_block.delivery.shared_dispatch"

    all_are_answered = (
        f"__import__({module!r}, fromlist=['x']).shared_dispatch()._dispatch.flush(60)"
    )
    outputs = tell(*range(FRAMES), last=all_are_answered)

    assert {output["delivery_status"] for output in outputs} == {"stored"}
    assert outputs[-1]["error_status"]
    assert "no such use case" in outputs[-1]["message"]
    if not IS_OLD_HOST:  # whose engine closes no block
        assert any(f" {FRAMES} rejected," in record.message for record in caplog.records)


def test_a_slow_api_slows_no_frame_and_every_event_arrives(api, play, clip, request):
    api.delay_s = 0.5

    outputs, _ = play([clip, clip], event_step(request, cooldown_seconds=0))

    assert [output["delivery_status"] for output in outputs] == ["stored"] * 2 * FRAMES
    arrived = {event["eventId"] for event in api.wait_for_events(2 * FRAMES, timeout_s=120)}
    assert arrived == {output["event_id"] for output in outputs}


def test_waiting_for_an_api_that_is_down_does_not_stop_the_pipeline(api, play, clip, request):
    step = event_step(request, cooldown_seconds=0, fire_and_forget=False)
    with api.refusing():
        outputs, took_s = play(clip, step)

    assert [output["delivery_status"] for output in outputs] == ["stored"] * FRAMES
    assert took_s < JOIN_TIMEOUT_S
    api.wait_for_events(FRAMES)


def test_an_event_type_that_turns_out_wrong_is_reported_for_every_frame(api, play, clip, request):
    step = event_step(request, event_type="$steps.type.output", cooldown_seconds=0)

    outputs, _ = play(clip, constant("type", "nonsense"), step)

    assert [output["delivery_status"] for output in outputs] == ["rejected"] * FRAMES
    assert all(output["error_status"] for output in outputs)
    assert all("event_type 'nonsense'" in output["message"] for output in outputs)
    assert not api.requests


def test_metadata_of_odd_make_does_not_stop_the_pipeline(api, play, clip, request):
    metadata = {"frame": "$inputs.image", "list": "$steps.list.output", "shift": "night"}
    step = event_step(request, custom_metadata=metadata, cooldown_seconds=0)

    outputs, _ = play(clip, constant("list", [1, {"a": None}]), step)

    assert [output["delivery_status"] for output in outputs] == ["stored"] * FRAMES
    events = recorded(api, outputs)
    assert {event["customMetadata"]["shift"] for event in events} == {"night"}
    assert all("customMetadata" in output["message"] for output in outputs)


@needs_new_host("it has not all of these steps")
@pytest.mark.usefixtures("_host")
def test_boxes_that_were_rolled_up_from_crops_lie_where_the_official_block_has_them(api, tmp_path):
    from inference import InferencePipeline  # noqa: PLC0415

    name = "`detections_list_rollup@v1`"
    _, pixels = coordinate_process.scene()
    size = (coordinate_process.WIDTH, coordinate_process.HEIGHT)
    path = str(tmp_path / "patch.mp4")
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"mp4v"), 10, size)
    for frame in (pixels, pixels):
        writer.write(frame)
    writer.release()
    pipeline = InferencePipeline.init_with_workflow(
        video_reference=path,
        workflow_specification=coordinate_process.workflow(ROWS[name], name),
        api_key="key-of-the-line",
        on_prediction=lambda *_: None,
    )
    pipeline.start(use_main_thread=True)
    pipeline.join()

    found = coordinate_process.middles(api.events.values())
    assert set(found) == {
        f"{name}|whole|{kind}|{block}"
        for kind in ROWS[name].kinds
        for block in coordinate_process.BLOCKS
    }
    for middle in found.values():
        assert middle == [pytest.approx((430, 330), abs=2)]


# --- the story, the trigger and the sample


def trigger_on(*numbers, last=""):
    """A step `trigger` that is on for the frames of these numbers, and its definition.

    Before the last frame it runs a line of code.
    """
    definition = {
        "type": "DynamicBlockDefinition",
        "manifest": {
            "type": "ManifestDescription",
            "block_type": "Trigger",
            "inputs": {
                "image": {
                    "type": "DynamicInputDefinition",
                    "selector_types": ["input_image", "step_output_image"],
                }
            },
            "outputs": {"is_on": {"type": "DynamicOutputDefinition", "kind": ["boolean"]}},
        },
        "code": {
            "type": "PythonCode",
            "run_function_code": f"""
def run(self, image):
    if image.video_metadata.frame_number == {FRAMES}:
        {last or "pass"}
    return {{"is_on": image.video_metadata.frame_number - 1 in {numbers!r}}}
""",
        },
    }
    step = {"type": "Trigger", "name": "trigger", "image": "$inputs.image"}
    return step, {"dynamic_blocks_definitions": [definition]}


@pytest.fixture
def tell(play, clip, request):
    """A function that plays the clip with a trigger on the frames of these numbers."""

    def told(*numbers, videos=clip, last="", **fields):
        trigger, definitions = trigger_on(*numbers, last=last)
        step = event_step(
            request, trigger="$steps.trigger.is_on", **{"cooldown_seconds": 0, **fields}
        )
        outputs, _ = play(videos, trigger, step, **definitions)
        return outputs

    return told


def story_of(api, event):
    """The labels of an event's images, each with the number of the frame that it shows."""
    uploads, keys = api.uploads, ("sourceId", "inputSourceId")
    return {
        image["label"]: {number_on(uploads[image[key]].picture) for key in keys if key in image}
        for image in event["images"]
    }


def statuses(outputs):
    return Counter(output["delivery_status"] for output in outputs)


def test_an_event_has_what_came_before_and_after_it_from_the_right_frames(api, tell):
    """A picture is kept every half second, beginning with the first frame."""
    outputs = tell(12, before_seconds=1, after_seconds=1)

    [event] = recorded(api, outputs)
    event_id = event["eventId"]
    eventually(lambda: len(api.events[event_id]["images"]) == 5)  # an old host closes no block
    event = api.events[event_id]
    assert story_of(api, event) == {
        "workflow": {12},
        "-0.7 s": {5},
        "-0.2 s": {10},
        "+0.3 s": {15},
        "+0.8 s": {20},
    }
    assert event["displayImagePosition"] == 0
    assert statuses(outputs) == {"waiting": FRAMES - 1, "stored": 1}
    completing = next(each for each in outputs if "now includes what came after" in each["message"])
    assert (outputs.index(completing), completing["delivery_status"]) == (23, "waiting")


@needs_new_host("it closes no block")
def test_the_first_version_has_what_came_before_and_the_end_of_the_video_completes_it(api, tell):
    outputs = tell(27, before_seconds=2, after_seconds=30, story_fps=10)

    [event] = recorded(api, outputs)
    labels = [f"{offset / 10:+.1f} s" for offset in (*range(-20, 0), 1, 2)]
    assert story_of(api, event) == {
        "workflow": {27},
        **{label: {27 + round(float(label[:-2]) * FPS)} for label in labels},
    }
    assert len(api.events) == 1


def test_triggers_close_to_each_other_each_have_a_story_of_their_own(api, tell):
    outputs = tell(10, 11, 12, before_seconds=0.5, after_seconds=0.5, durability="memory")

    events = recorded(api, outputs)
    assert [story_of(api, event) for event in events] == [
        {"workflow": {10}, "-0.5 s": {5}, "+0.5 s": {15}},
        {"workflow": {11}, "-0.1 s": {10}, "+0.4 s": {15}},
        {"workflow": {12}, "-0.2 s": {10}, "+0.3 s": {15}},
    ]


def test_frames_during_the_cooldown_are_part_of_the_story(api, tell):
    outputs = tell(*range(FRAMES), before_seconds=1, cooldown_seconds=2)

    events = recorded(api, outputs)
    assert [story_of(api, event) for event in events] == [
        {"workflow": {0}},
        {"workflow": {20}, "-1.0 s": {10}, "-0.5 s": {15}},
    ]
    assert statuses(outputs) == {"throttled": FRAMES - 2, "stored": 2}


def test_each_of_two_cameras_has_its_own_story(api, tell, clip):
    outputs = tell(11, before_seconds=1, videos=[clip, clip])

    events = recorded(api, outputs)
    assert sorted(event["streamId"] for event in events) == ["0", "1"]
    for event in events:
        assert story_of(api, event) == {"workflow": {11}, "-0.6 s": {5}, "-0.1 s": {10}}


@needs_new_host("it closes no block")
def test_the_workflow_of_the_documents_is_triggered_by_what_its_model_finds(api, play, clip):
    """In place of its model stands a step that finds a carton on frames 20 to 24."""
    page = (Path(__file__).parents[2] / "docs/track-events.md").read_text(encoding="utf-8")
    [text] = [it for it in re.findall(r"```json\n(.*?)```", page, re.DOTALL) if "trigger" in it]
    documented = json.loads(text)
    _, definitions = trigger_on(*range(20, 25))
    [finder] = definitions["dynamic_blocks_definitions"]
    output = {"type": "DynamicOutputDefinition", "kind": ["object_detection_prediction"]}
    finder["manifest"]["outputs"] = {"predictions": output}
    finder["code"]["run_function_code"] = """
def run(self, image):
    corners = np.array([[40, 40, 90, 90]]) if 20 <= image.video_metadata.frame_number - 1 < 25 else np.zeros((0, 4))
    found = sv.Detections(corners, confidence=np.ones(len(corners)), class_id=np.zeros(len(corners), int))
    found.data["class_name"] = np.array(["carton"] * len(corners), dtype=object)
    return {"predictions": found}
"""  # noqa: E501 - as users would paste it
    steps = [
        {"type": "Trigger", "name": "model", "image": "$inputs.image"}
        if step["name"] == "model"
        else step
        for step in documented["steps"]
    ]

    outputs, _ = play(clip, *steps, **definitions)

    [event] = recorded(api, outputs)
    assert story_of(api, event) == {
        "workflow": {20},
        **{f"{(number - 20) / FPS:+.1f} s": {number} for number in (0, 5, 10, 15, 25)},
    }
    assert [found["class"] for found in event["images"][0]["objectDetections"]] == ["carton"]
    assert statuses(outputs) == {"waiting": FRAMES - 5, "stored": 1, "throttled": 4}


def test_a_trigger_alone_keeps_no_picture(api, tell):
    outputs = tell(7, 22)

    assert [story_of(api, event) for event in recorded(api, outputs)] == [
        {"workflow": {7}},
        {"workflow": {22}},
    ]
    assert statuses(outputs) == {"waiting": FRAMES - 2, "stored": 2}
    assert outputs[0]["message"] == "Nothing recorded: Trigger is off."


def test_all_steps_and_all_runs_choose_the_same_sample_of_a_video(api, play, clip, request):
    def sampled(percent):
        step = event_step(request, cooldown_seconds=0, sample_percent=percent)
        outputs, _ = play(clip, step, {**step, "name": "other", "custom_value": "other"})
        return [number_on(api.picture_of(event, "input")) for event in recorded(api, outputs)]

    half = sampled(50)
    others = [event for event in api.events.values() if event["eventData"].get("value")]
    assert sorted(number_on(api.picture_of(event, "input")) for event in others) == half
    assert 5 <= len(half) <= 25
    fifth = sampled(20)
    assert 0 < len(fifth) < len(half)
    assert set(fifth) < set(half)


def test_a_frame_that_is_not_in_the_sample_says_so(api, play, clip, request):
    outputs, _ = play(clip, event_step(request, cooldown_seconds=0, sample_percent=0))

    assert statuses(outputs) == {"not_sampled": FRAMES}
    assert outputs[0]["message"] == "Nothing recorded: the frame is not in the 0 % sample (Sample)."
    assert not api.events

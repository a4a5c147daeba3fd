"""Every sample workflow on the real engine: what it sends, and that the pictures are true."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.clips import code_of, frames_of, lines_of
from tests.payloads import assert_within_limits
from tests.pictures import assert_shows, pixels_of
from tests.waiting import eventually
from vision_event_block.contract.names import SOURCE_IDS
from vision_event_block.testing import scenes

SAMPLES = Path(__file__).resolve().parents[2] / "sample_workflows"
BLOCK_TYPE = "vision_event_block/vision_event@v1"
SIZE = {"width": scenes.WIDTH_PX, "height": scenes.HEIGHT_PX}
#: How far the classical detectors of the host may be off.
TOLERANCE_PX = 2.0

PART = scenes.part("PART-0042")
FLOOR = scenes.floor([True, False, True])
CAPS = 7


def predicted(*entries, **more):
    """A model's answer for one picture."""
    return [{"image": SIZE, "predictions": list(entries), **more}]


def box(name, *xywh, confidence=1.0):
    """An annotation as the API gets it."""
    x, y, width, height = xywh
    return {"class": name, "x": x, "y": y, "width": width, "height": height,
            "confidence": confidence}  # fmt: skip


SCRATCH = {**box("scratch", 320, 200, 80, 40, confidence=0.9), "class_id": 0}
SCRATCH_CORNERS = [[280, 180], [360, 180], [360, 220], [280, 220]]
PERSON = {**box("person", 245, 283, 72, 238, confidence=0.89), "class_id": 0}
CODE_LEFT, CODE_TOP, CODE_RIGHT, CODE_BOTTOM = PART.code_box_px


@dataclass(frozen=True)
class Case:
    """One run of a sample and what must arrive for it."""

    inputs: dict[str, Any]
    event_type: str
    data: dict[str, Any]
    #: The annotation lists of the first image.
    annotations: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    comment: str | None = None
    labels: tuple[str, ...] = ("workflow",)


CASES = {
    "quality_check": Case(
        {"image": PART.picture, "line": "line-3"},
        "quality_check",
        {"result": "pass", "externalId": "PART-0042"},
        {
            "objectDetections": [
                box(
                    "barcode",
                    (CODE_LEFT + CODE_RIGHT) / 2,
                    (CODE_TOP + CODE_BOTTOM) / 2,
                    CODE_RIGHT - CODE_LEFT,
                    CODE_BOTTOM - CODE_TOP,
                )
            ]
        },
        {"line": "line-3"},
    ),
    "inventory_count": Case(
        {"image": scenes.tray(CAPS), "template": scenes.cap(), "location": "tray-9"},
        "inventory_count",
        {"location": "tray-9", "itemCount": CAPS, "itemType": "cap"},
        {
            "objectDetections": [
                box("template_match", x, y, scenes.CAP_SIDE_PX, scenes.CAP_SIDE_PX)
                for x, y in scenes.cap_centres_px(CAPS)
            ]
        },
    ),
    "safety_alert": Case(
        {"image": FLOOR.picture, "predictions": [FLOOR.predictions], "zone": "zone-b"},
        "safety_alert",
        {
            "alertType": "no_hard_hat",
            "severity": "high",
            "description": "Somebody is on the floor without a hard hat",
        },
        {"objectDetections": [box("no-hard-hat", 245, 283, 72, 238, confidence=0.89)]},
        {"zone": "zone-b"},
    ),
    "custom": Case(
        {"image": PART.picture},
        "custom",
        {"value": "camera in focus"},
        metadata={"camera": "camera-1", "focus": pytest.approx(600, rel=0.05)},
    ),
    "operator_feedback": Case(
        {"event_id": "5b0a3a52", "feedback": "incorrect", "comment": "Reflection, no scratch"},
        "operator_feedback",
        {"relatedEventId": "5b0a3a52", "feedback": "incorrect"},
        comment="Reflection, no scratch",
        labels=(),
    ),
    "instance_segmentation": Case(
        {
            "image": PART.picture,
            "predictions": predicted(
                {**SCRATCH, "points": [{"x": x, "y": y} for x, y in SCRATCH_CORNERS]}
            ),
            "serial_number": "SN-17",
        },
        "quality_check",
        {"result": "fail", "externalId": "SN-17"},
        {
            "instanceSegmentations": [
                {
                    **box("scratch", 320, 200, 80, 40, confidence=0.9),
                    # Counter-clockwise, as the mask's outline is followed.
                    "points": [SCRATCH_CORNERS[corner] for corner in (0, 3, 2, 1)],
                }
            ]
        },
    ),
    "key_points": Case(
        {
            "image": FLOOR.picture,
            "predictions": predicted(
                {
                    **PERSON,
                    "keypoints": [
                        {"x": 245, "y": 200, "class": "head", "class_id": 0, "confidence": 0.9},
                        {"x": 275, "y": 300, "class": "hand", "class_id": 4, "confidence": 0.8},
                    ],
                }
            ),
        },
        "safety_alert",
        {"alertType": "person_at_machine", "severity": "medium"},
        {
            "keypoints": [
                {
                    **box("person", 245, 283, 72, 238, confidence=0.89),
                    "keypoints": [{"id": 0, "x": 245, "y": 200}, {"id": 4, "x": 275, "y": 300}],
                }
            ]
        },
        {"zone": "press-2", "people": 1},
    ),
    "classification": Case(
        {
            "image": PART.picture,
            "predictions": predicted(
                {"class": "scratched", "class_id": 1, "confidence": 0.2},
                {"class": "good", "class_id": 0, "confidence": 0.8},
                top="good",
                confidence=0.8,
            ),
            "serial_number": "SN-18",
        },
        "quality_check",
        {"result": "pass", "externalId": "SN-18"},
        {
            "classifications": [
                {"class": "good", "confidence": 0.8},
                {"class": "scratched", "confidence": 0.2},
            ]
        },
    ),
    "crops": Case(
        {"image": FLOOR.picture, "predictions": predicted(PERSON)},
        "custom",
        {"value": "person"},
        # On the cut-out, which is the detection's box.
        {"objectDetections": [box("person", 36, 119, 72, 238, confidence=0.89)]},
    ),
    "several_cameras": Case(
        {"front": PART.picture, "top": scenes.tray(3), "side": FLOOR.picture, "truck": "B-XY 12"},
        "custom",
        {"value": "truck at the dock", "externalId": "B-XY 12"},
        labels=("workflow", "top", "side"),
    ),
}


#: The event's fields of the samples that follow objects through a video.
TRACKED = {
    "parts_on_belt": "quality_check",
    "people_in_zone": "safety_alert",
    "vehicle_story": "custom",
}
FPS = 10


def sample(name):
    return json.loads((SAMPLES / f"{name}.json").read_text("utf-8"))


def block_of(specification):
    (step,) = (step for step in specification["steps"] if step["type"] == BLOCK_TYPE)
    return step


def showing_pictures(specification):
    """The workflow with what its block is connected to as outputs: label and which -> selector."""
    block = block_of(specification)
    wires = {"workflow inputSourceId": block.get("input_image"),
             "workflow sourceId": block.get("output_image")}  # fmt: skip
    wires |= {f"{k} sourceId": wire for k, wire in block.get("extra_images", {}).items()}
    outputs = [
        {"type": "JsonField", "name": name, "selector": wire}
        for name, wire in wires.items()
        if wire
    ]
    return {**specification, "outputs": [*specification["outputs"], *outputs]}


def near(expected):
    """The structure with a tolerance on each coordinate."""
    if isinstance(expected, dict):
        return {key: near(value) for key, value in expected.items()}
    if isinstance(expected, list):
        return [near(value) for value in expected]
    is_number = isinstance(expected, int | float) and not isinstance(expected, bool)
    # Ids and certainties are whole numbers or at most 1; both must not be off by so much.
    return pytest.approx(expected, abs=TOLERANCE_PX) if is_number and expected > 8 else expected


@pytest.fixture
def use_case():
    """One for each test, so that no cooldown reaches from one to the other."""
    return f"use-case-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def run(api, compiled, use_case):
    """A function that runs a sample over some inputs, one after the other, on one engine."""

    def run(specification, *all_inputs):
        engine = compiled(specification)
        return [
            answer
            for inputs in all_inputs
            for answer in engine.run(runtime_parameters={"use_case": use_case, **inputs})
        ]

    return run


def test_every_sample_has_a_case():
    assert CASES.keys() | TRACKED.keys() == {path.stem for path in SAMPLES.glob("*.json")}


@pytest.mark.parametrize("name", [*CASES, *TRACKED])
def test_a_sample_is_written_as_it_is_printed(name):
    text = (SAMPLES / f"{name}.json").read_text("utf-8")
    assert text == json.dumps(json.loads(text), indent=2) + "\n"


@pytest.mark.parametrize("name", CASES)
def test_the_whole_event_of_a_sample_arrives(name, api, run, use_case):
    case = CASES[name]
    before = datetime.now(timezone.utc)
    (answer,) = run(showing_pictures(sample(name)), case.inputs)
    (event,) = api.wait_for_events(1)

    # One picture of a batch answers with a list of its crops.
    answer = {key: value[0] if isinstance(value, list) else value for key, value in answer.items()}
    assert answer["error_status"] is False
    assert answer["event_id"] == event["eventId"]
    waits = name == "operator_feedback"
    assert answer["delivery_status"] == ("delivered" if waits else "stored")
    # Nothing had to be adjusted: that would be named here.
    assert answer["message"] == (
        "Delivered." if waits else "The event is stored; it is sent in the background."
    )
    assert_within_limits(event)
    moment = datetime.fromisoformat(event["timestamp"])
    assert before <= moment <= before + timedelta(seconds=60)
    pictures = {
        (image["label"], key): image.pop(key)
        for image in event["images"]
        for key in image.keys() & {*SOURCE_IDS}
    }
    expected = {
        "eventId": answer["event_id"],
        "eventType": case.event_type,
        "useCaseId": use_case,
        "timestamp": event["timestamp"],
        "eventData": case.data,
        "images": [
            {"label": label, **(near(case.annotations) if label == "workflow" else {})}
            for label in case.labels
        ],
    }
    if case.metadata:
        expected["customMetadata"] = case.metadata
    if case.comment:
        expected["comment"] = case.comment
    if case.labels:
        expected["displayImagePosition"] = 0
    assert event == expected

    wired = {tuple(name.split()) for name in answer if name.endswith("ourceId")}
    assert pictures.keys() == wired
    assert len(api.uploads) == len(wired)
    for label, key in wired:
        assert_shows(
            api.uploads[pictures[label, key]].picture, answer[f"{label} {key}"].numpy_image
        )
    if ("workflow", "inputSourceId") in wired and name != "crops":
        given = case.inputs["front" if name == "several_cameras" else "image"]
        assert_shows(api.uploads[pictures["workflow", "inputSourceId"]].picture, given)


def test_a_part_without_a_readable_code_fails_and_has_no_external_id(api, run):
    torn = scenes.part("PART-0042", is_readable=False)
    (answer,) = run(sample("quality_check"), {"image": torn.picture})
    (event,) = api.wait_for_events(1)
    assert answer["error_status"] is False
    assert event["eventData"] == {"result": "fail"}
    assert_within_limits(event)


def test_the_leftmost_of_two_codes_is_the_part_number(api, run):
    left, right = scenes.part("LEFT-1").picture, scenes.part("RIGHT-2").picture
    both = np.hstack([left[:, 100:540], right[:, 100:540]])
    (answer,) = run(sample("quality_check"), {"image": both})
    (event,) = api.wait_for_events(1)
    assert answer["part_number"] == event["eventData"]["externalId"] == "LEFT-1"
    assert len(event["images"][0]["objectDetections"]) == 2


def test_the_same_part_is_recorded_once_and_the_next_part_at_once(api, run):
    answers = run(
        sample("quality_check"),
        *({"image": scenes.part(code).picture, "cooldown_seconds": 60} for code in "AABA"),
    )
    assert [answer["delivery_status"] for answer in answers] == [
        "stored", "throttled", "stored", "throttled",
    ]  # fmt: skip
    events = api.wait_for_events(2)
    assert sorted(event["eventData"]["externalId"] for event in events) == ["A", "B"]


def test_an_empty_tray_counts_zero(api, run):
    run(sample("inventory_count"), {"image": scenes.tray(0), "template": scenes.cap()})
    (event,) = api.wait_for_events(1)
    assert event["eventData"]["itemCount"] == 0
    assert_within_limits(event)


def test_a_blurred_picture_says_that_the_camera_is_out_of_focus(api, run):
    blurred = cv2.GaussianBlur(PART.picture, (0, 0), 6)
    run(sample("custom"), {"image": PART.picture}, {"image": blurred})
    values = {event["eventData"]["value"] for event in api.wait_for_events(2)}
    assert values == {"camera in focus", "camera out of focus"}


SAFE = scenes.floor([True, True])


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("safety_alert", {"image": SAFE.picture, "predictions": [SAFE.predictions]}),
        ("safety_alert", {"image": SAFE.picture, "predictions": predicted()}),
        ("key_points", {"image": SAFE.picture, "predictions": predicted()}),
    ],
)
def test_a_closed_gate_records_nothing_and_leaves_the_outputs_empty(name, inputs, api, run):
    (closed, opened) = run(sample(name), inputs, CASES[name].inputs)
    assert set(closed.values()) == {None}
    # The next one gets through, and it is the only one: the closed gate spent no cooldown.
    (event,) = api.wait_for_events(1)
    assert event["eventId"] == opened["event_id"]
    assert len(api.uploads) == 2


def frame_of_camera(camera, scene, number):
    return {
        "image": {
            "type": "numpy_object",
            "value": scene.picture,
            "video_metadata": {
                "video_identifier": camera,
                "frame_number": number,
                "frame_timestamp": datetime.now(timezone.utc).isoformat(),
            },
        },
        "predictions": [scene.predictions],
    }


def test_the_cooldown_of_an_alert_is_each_cameras_own(api, run):
    frames = [frame_of_camera(camera, FLOOR, n) for n, camera in enumerate("aabab", start=1)]
    answers = run(sample("safety_alert"), *frames)
    assert [answer["throttling_status"] for answer in answers] == [False, True, False, True, True]
    events = api.wait_for_events(2)
    assert sorted(event["streamId"] for event in events) == ["a", "b"]
    for event in events:
        assert_within_limits(event)


def test_each_crop_is_an_event_with_its_own_cut_out(api, run):
    (answer,) = run(sample("crops"), {"image": FLOOR.picture, "predictions": [FLOOR.predictions]})
    events = {event["eventId"]: event for event in api.wait_for_events(3)}
    assert len(answer["event_id"]) == 3
    for event_id, detection in zip(
        answer["event_id"], FLOOR.predictions["predictions"], strict=True
    ):
        event = events[event_id]
        assert event["eventData"] == {"value": detection["class"]}
        left, top = round(detection["x"] - 36), round(detection["y"] - 119)
        assert_shows(
            api.picture_of(event, "input"), FLOOR.picture[top : top + 238, left : left + 72]
        )


def test_boxes_of_a_detector_lie_on_the_cut_out(api, run):
    specification = sample("crops")
    detector = {
        "type": "roboflow_core/template_matching@v1",
        "name": "model",
        "image": "$inputs.image",
        "template": "$inputs.template",
        "matching_threshold": 0.9,
    }
    text = json.dumps({**specification, "steps": [detector, *specification["steps"]]})
    specification = json.loads(text.replace("$inputs.predictions", "$steps.model.predictions"))
    specification["inputs"][1] = {"type": "WorkflowImage", "name": "template"}
    (answer,) = run(specification, {"image": scenes.tray(CAPS), "template": scenes.cap()})
    side_px = scenes.CAP_SIDE_PX
    assert set(answer["message"]) == {"The event is stored; it is sent in the background."}
    for event in api.wait_for_events(CAPS):
        (image,) = event["images"]
        assert image["objectDetections"] == [
            box("template_match", side_px / 2, side_px / 2, side_px, side_px)
        ]
        assert pixels_of(api.picture_of(event, "input")).shape == (side_px, side_px, 3)


def test_a_picture_without_detections_has_no_crops_and_no_events(api, run):
    (answer,) = run(sample("crops"), {"image": FLOOR.picture, "predictions": predicted()})
    assert answer["event_id"] == []
    assert api.requests == []


def test_feedback_that_nobody_knows_is_refused_before_anything_is_sent(api, run):
    (answer,) = run(sample("operator_feedback"), {"event_id": "5b0a3a52", "feedback": "maybe"})
    assert answer["delivery_status"] == "rejected"
    assert answer["error_status"] is True
    assert "correct, incorrect, inconclusive" in answer["message"]
    assert api.requests == []


@pytest.fixture
def follow(compiled, use_case):
    """A function that plays a clip through a sample, whose host then ends: a row for each frame.

    The clip is a list of pictures with what a model says of each, ten in a second.
    """

    def follow(name, clip, **inputs):
        engine = compiled(sample(name))
        starts_at = datetime.now(timezone.utc) - timedelta(seconds=60)
        rows = []
        for number, (picture, found) in enumerate(clip, start=1):
            video = {
                "video_identifier": "gate",
                "frame_number": number,
                "frame_timestamp": (starts_at + timedelta(seconds=number / FPS)).isoformat(),
                "fps": FPS,
            }
            image = {"type": "numpy_object", "value": picture, "video_metadata": video}
            size = {"width": picture.shape[1], "height": picture.shape[0]}
            predictions = [{"image": size, "predictions": found}]
            given = {"image": image, "predictions": predictions, "use_case": use_case, **inputs}
            rows += engine.run(runtime_parameters=given)
        if hasattr(engine, "close"):
            engine.close()
        return rows, starts_at

    return follow


def numbered(number, boxes=()):
    """A frame that shows its number in grey, and what a model says of it."""
    picture = np.full((480, 640, 3), 2 * number, np.uint8)
    return picture, [
        {**box(name, *xywh, confidence=sure), "class_id": 0} for name, *xywh, sure in boxes
    ]


def last_versions(api, count):
    """The events once nothing is open any more."""

    def closed():
        events = list(api.events.values())
        states = {event["customMetadata"]["state"] for event in events}
        return events if len(events) == count and "still there" not in states else None

    return eventually(closed)


def test_each_part_on_the_belt_is_recorded_once_with_its_code(api, follow):
    told = (line["predictions"] for line in lines_of("part-labels"))
    clip = list(islice(zip(frames_of("part-labels"), told, strict=False), 24))
    clip += [(clip[0][0], [])] * (3 * FPS)

    rows, _ = follow("parts_on_belt", clip, minimum_seconds=0.2)

    events = last_versions(api, 3)
    assert [event["eventData"] for event in sorted(events, key=lambda one: one["timestamp"])] == [
        {"result": "pass", "externalId": code_of(index)} for index in range(3)
    ]
    for event in events:
        assert_within_limits(event)
        assert event["customMetadata"]["line"] == "line-1"
        assert event["customMetadata"]["state"] == "left"
        (image,) = event["images"]
        assert image["objectDetections"][0]["class"] == "part"
    told = [change for row in rows for change in row["events"]]
    assert len({change["event_id"] for change in told}) == 3
    assert [change["state"] for change in told].count("left") == 3
    assert not any(row["error_status"] for row in rows)


def test_who_enters_the_zone_is_one_event_and_who_passes_by_is_none(api, follow):
    """One walks from the left into the zone and stays; one stays outside; one only looks in."""

    def people(number):
        feet = [("person", 20 + min(8 * number, 440), 300, 60, 160, 0.9)]
        feet.append(("person", 60, 100 + number % 3, 50, 90, 0.8))
        if 30 <= number < 33:
            feet.append(("person", 600, 100, 40, 80, 0.7))
        return feet if number <= 90 else feet[1:2]

    zone = [[320, 0], [640, 0], [640, 480], [320, 480]]
    clip = [numbered(number, people(number)) for number in range(1, 126)]

    rows, starts_at = follow("people_in_zone", clip, zone=zone, zone_name="dock")

    (event,) = last_versions(api, 1)
    assert_within_limits(event)
    assert event["eventData"]["alertType"] == "person_in_zone"
    said = event["customMetadata"]
    assert (said["zone"], said["state"], said["class"]) == ("dock", "left", "person")
    entered = next(number for number in range(1, 91) if 20 + 8 * number > 320)
    first = datetime.fromisoformat(said["first_seen"]) - starts_at
    assert first.total_seconds() == pytest.approx(entered / FPS, abs=0.15)
    assert said["duration_s"] == pytest.approx((90 - entered) / FPS, abs=0.15)
    assert sum(bool(row["events"]) for row in rows) == 2  # when it was clear, and when it was over


def test_a_vehicle_brings_what_came_before_and_after_it(api, follow):
    """A car crosses the picture from frame 41 to 80; each frame shows its own number."""
    clip = [
        numbered(n, [("car", 12 * (n - 40), 240, 160, 100, 0.9)] if 41 <= n <= 80 else [])
        for n in range(1, 121)
    ]

    rows, _ = follow("vehicle_story", clip, gate="gate-7")

    (event,) = last_versions(api, 1)
    assert_within_limits(event)
    assert event["customMetadata"]["gate"] == "gate-7"
    shown = {
        image["label"]: round(float(pixels_of(picture).mean()) / 2)
        for image in event["images"]
        for picture in [api.uploads[image.get("inputSourceId") or image["sourceId"]].picture]
    }
    offsets = {label: number for label, number in shown.items() if label.endswith(" s")}
    assert offsets, "the event has no story"
    own = event["images"][event["displayImagePosition"]]["label"]
    assert "best" in own
    before = [float(label[:-2]) for label in offsets if label.startswith("-")]
    after = [float(label[:-2]) for label in offsets if label.startswith("+")]
    assert min(before) <= -2.5
    assert max(after) >= 1.5
    # Whatever the labels count from, they count it for all in the same way.
    zeros = {round(number / FPS - float(label[:-2]), 1) for label, number in offsets.items()}
    assert max(zeros) - min(zeros) <= 0.2
    assert not any(row["error_status"] for row in rows)

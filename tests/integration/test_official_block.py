"""Our block in the place of the host's own: the same step with another `type` records the same.

Where ours differs on purpose, a test of its own says in what and why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pytest

from tests.integration.workflows import predicted, workflow

OFFICIAL = "roboflow_core/roboflow_vision_events@v1"
OURS = "vision_event_block/vision_event@v1"
BOTH = [OFFICIAL, OURS]

AT_ONCE = {"fire_and_forget": False, "cooldown_seconds": 0}
SIZE = {"width": 640, "height": 480}
ANNOTATION_LISTS = ("objectDetections", "instanceSegmentations", "keypoints", "classifications")
#: What ours adds: the official block leaves these to the API's caller.
ONLY_OURS = {"deviceId", "streamId", "workflowId", "workflowVersion", "comment"}


@dataclass(frozen=True)
class Record:
    """What one run of a step answered and left at the API."""

    outputs: dict[str, Any]
    event: dict[str, Any]
    #: Decoded, by the keys of the event's first image.
    pictures: dict[str, Any]

    @property
    def annotations(self):
        """All annotations of the event's first image."""
        [image] = self.event["images"]
        return [entry for key in ANNOTATION_LISTS for entry in image.get(key, ())]


@pytest.fixture
def record(api, compiled):
    """A function that runs a step of a block type and gives what it recorded."""

    def run(block_type, step, *, inputs, before=(), **values):
        engine = compiled(
            workflow(*before, {**AT_ONCE, **step, "type": block_type}, inputs=inputs),
            api_key="a-key",
        )
        [row] = engine.run(runtime_parameters=values)
        outputs = row["event"]
        event = api.events[outputs["event_id"]]
        return Record(outputs, event, decoded_pictures(api, event))

    return run


@pytest.fixture
def scene(photo):
    """The photo with a patch that occurs nowhere else in it."""
    photo[300:340, 420:480] = np.random.default_rng(1).integers(0, 255, (40, 60, 3))
    return photo


def event_step(**fields):
    """A step as a user of the official block has it, without its type."""
    return {
        "name": "event",
        "input_image": "$inputs.image",
        "event_type": "custom",
        "solution": "bottles",
        **fields,
    }


def parameter(name):
    return {"type": "WorkflowParameter", "name": name}


def box(x, y, width, height, **more):
    return {
        "x": x,
        "y": y,
        "width": width,
        "height": height,
        "confidence": 0.9,
        "class": "bottle",
        "class_id": 1,
        "detection_id": f"{x}-{y}",
        **more,
    }


def corners(*points):
    return [{"x": x, "y": y} for x, y in points]


def point(x, y, name, number):
    return {"x": x, "y": y, "class": name, "class_id": number, "confidence": 0.8}


def detections(*boxes):
    return {"image": SIZE, "predictions": list(boxes)}


#: name -> (kind, prediction, the visualization whose image goes along).
PREDICTIONS = {
    "boxes": (
        "object_detection_prediction",
        detections(box(100.25, 60.5, 40.5, 20), box(300, 200, 33.3, 77.7, confidence=0.123456)),
        "bounding_box_visualization@v1",
    ),
    "tracked boxes": (
        "object_detection_prediction",
        detections(box(100, 60, 40, 20, tracker_id=7), box(300, 200, 30, 70, tracker_id=8)),
        None,
    ),
    "a box beyond the edge": (
        "object_detection_prediction",
        detections(box(5, 475, 40, 20)),
        None,
    ),
    "no boxes": ("object_detection_prediction", detections(), "bounding_box_visualization@v1"),
    "masks": (
        "instance_segmentation_prediction",
        detections(
            box(110, 80, 60, 60, points=corners((80, 50), (140, 50), (140, 110), (80, 110))),
            box(320, 240, 160, 160, points=corners((320, 160), (400, 240), (320, 320), (240, 240))),
        ),
        "polygon_visualization@v1",
    ),
    "key points": (
        "keypoint_detection_prediction",
        detections(
            box(
                110,
                80,
                60,
                60,
                keypoints=[
                    point(90.5, 70.25, "cap", 0),
                    point(120, 90, "neck", 1),
                    point(100, 100, "base", 4),
                ],
            ),
            box(320, 240, 160, 160, keypoints=[point(300, 200, "base", 4)]),
        ),
        "keypoint_visualization@v1",
    ),
    "one class of several": (
        "classification_prediction",
        {
            "image": SIZE,
            "inference_id": "i",
            "predictions": [
                {"class": "good", "class_id": 0, "confidence": 0.8},
                {"class": "dented", "class_id": 1, "confidence": 0.2},
            ],
            "top": "good",
            "confidence": 0.8,
        },
        None,
    ),
    "several labels": (
        "classification_prediction",
        {
            "image": SIZE,
            "inference_id": "i",
            "predictions": {
                "wet": {"confidence": 0.6, "class_id": 0},
                "dented": {"confidence": 0.1, "class_id": 1},
                "labelled": {"confidence": 0.9, "class_id": 2},
            },
            "predicted_classes": ["wet", "labelled"],
        },
        None,
    ),
}

EVENT_DATA = {
    "quality_check": {"qc_result": "fail", "external_id": "part-7"},
    "inventory_count": {
        "location": "dock-2",
        "item_count": 0,
        "item_type": "pallet",
        "external_id": "truck-3",
    },
    "safety_alert": {
        "alert_type": "no_hardhat",
        "severity": "high",
        "alert_description": "Somebody in zone B",
        "external_id": "alert-9",
    },
    "custom": {"custom_value": "belt stopped", "external_id": "belt-1"},
    "operator_feedback": {"related_event_id": "an-event", "feedback": "inconclusive"},
}


def decoded_pictures(api, event):
    images = event.get("images", ())[:1]
    return {
        key: cv2.imdecode(
            np.frombuffer(api.uploads[image[key]].picture, np.uint8), cv2.IMREAD_COLOR
        )
        for image in images
        for key in ("sourceId", "inputSourceId")
        if key in image
    }


def filled(points):
    canvas = np.zeros((480, 640), np.uint8)
    cv2.fillPoly(canvas, [np.round(points).astype(np.int32)], 1)
    return canvas.astype(bool)


def overlap(some, others):
    """Intersection over union of two masks."""
    return (some & others).sum() / (some | others).sum()


def assert_same_entry(official, ours):
    assert set(official) == set(ours)
    assert official["class"] == ours["class"]
    assert ours["confidence"] == pytest.approx(official["confidence"], abs=1e-3)
    for key in {"x", "y", "width", "height"} & set(official):
        assert ours[key] == pytest.approx(official[key], abs=0.01), key
    if "points" in official:
        assert overlap(filled(official["points"]), filled(ours["points"])) >= 0.98
    if "keypoints" in official:
        assert [entry["id"] for entry in ours["keypoints"]] == [
            entry["id"] for entry in official["keypoints"]
        ]
        for mine, other in zip(ours["keypoints"], official["keypoints"], strict=True):
            assert set(mine) == set(other)
            assert (mine["x"], mine["y"]) == pytest.approx((other["x"], other["y"]), abs=0.01)


def is_one_picture(event):
    """Whether nothing was drawn on the input, so that it is the output as well."""
    return any(
        image.get("sourceId") == image.get("inputSourceId") is not None
        for image in event.get("images", ())
    )


def assert_same_record(official, ours):
    """Everything that a reader of the event, or of the step's outputs, can see is the same."""
    assert set(official.outputs) < set(ours.outputs)
    for name in ("error_status", "throttling_status"):
        assert (official.outputs[name], ours.outputs[name]) == (False, False)
    assert ours.event.keys() - official.event.keys() <= ONLY_OURS
    assert official.event.keys() <= ours.event.keys()
    for key in official.event.keys() - {"eventId", "timestamp", "images"}:
        assert ours.event[key] == official.event[key], key
    for official_image, our_image in zip(
        official.event["images"], ours.event["images"], strict=True
    ):
        assert set(official_image) == set(our_image)
        assert official_image["label"] == our_image["label"]
        for key in set(ANNOTATION_LISTS) & set(official_image):
            for other, mine in zip(official_image[key], our_image[key], strict=True):
                assert_same_entry(other, mine)
    for key, picture in official.pictures.items():
        if is_one_picture(ours.event):  # kept once, in the quality of an input
            picture = official.pictures["inputSourceId"]  # noqa: PLW2901
        assert ours.pictures[key].shape == picture.shape
        difference = np.abs(ours.pictures[key].astype(int) - picture.astype(int))
        assert difference.mean() < 0.5, key


@pytest.mark.parametrize("name", PREDICTIONS)
def test_predictions_of_every_sort_are_recorded_alike(record, scene, name):
    kind, prediction, visualization = PREDICTIONS[name]
    before, fields = [], {"predictions": "$inputs.predictions", "custom_value": "text"}
    if visualization:
        before = [
            {
                "type": f"roboflow_core/{visualization}",
                "name": "drawn",
                "image": "$inputs.image",
                "predictions": "$inputs.predictions",
            }
        ]
        fields["output_image"] = "$steps.drawn.image"

    official, ours = (
        record(
            block_type,
            event_step(**fields),
            inputs=[predicted("predictions", kind)],
            before=before,
            image=scene,
            predictions=[prediction],
        )
        for block_type in BOTH
    )

    assert len(official.annotations) == {"no boxes": 0, "a box beyond the edge": 1}.get(name, 2)
    assert ("sourceId" in official.pictures) == bool(visualization)
    assert_same_record(official, ours)


@pytest.mark.parametrize("event_type", EVENT_DATA)
def test_every_event_type_is_recorded_alike(record, scene, event_type):
    step = event_step(
        event_type=event_type,
        custom_metadata={"shift": "night", "speed": 1.5, "count": 3, "rework": True},
        **EVENT_DATA[event_type],
    )

    official, ours = (record(block_type, step, inputs=[], image=scene) for block_type in BOTH)

    assert len(official.event["eventData"]) == len(EVENT_DATA[event_type])
    assert len(official.event["customMetadata"]) == 4
    assert_same_record(official, ours)


def test_values_from_inputs_and_steps_are_recorded_alike(record, scene):
    step = event_step(
        event_type="$inputs.event_type",
        solution="$inputs.use_case",
        qc_result="$inputs.verdict",
        external_id="$inputs.serial",
        custom_metadata={"line": "$inputs.line", "count": "$steps.count.output"},
        fire_and_forget="$inputs.in_background",
        cooldown_seconds="$inputs.cooldown_s",
    )
    count = {
        "type": "roboflow_core/property_definition@v1",
        "name": "count",
        "data": "$inputs.predictions",
        "operations": [{"type": "SequenceLength"}],
    }
    values = {
        "event_type": "quality_check",
        "use_case": "cans",
        "verdict": "pass",
        "serial": "part-8",
        "line": "line-2",
        "in_background": False,
        "cooldown_s": 0,
    }
    kind, prediction, _ = PREDICTIONS["boxes"]

    official, ours = (
        record(
            block_type,
            step,
            inputs=[predicted("predictions", kind), *map(parameter, values)],
            before=[count],
            image=scene,
            predictions=[prediction],
            **values,
        )
        for block_type in BOTH
    )

    assert official.event["useCaseId"] == "cans"
    assert official.event["eventData"] == {"result": "pass", "externalId": "part-8"}
    assert official.event["customMetadata"] == {"line": "line-2", "count": 2}
    assert_same_record(official, ours)


def test_matches_found_by_a_real_step_are_recorded_alike(record, scene):
    find = {
        "type": "roboflow_core/template_matching@v1",
        "name": "find",
        "image": "$inputs.image",
        "template": "$inputs.template",
    }

    official, ours = (
        record(
            block_type,
            event_step(predictions="$steps.find.predictions"),
            inputs=[{"type": "WorkflowImage", "name": "template"}],
            before=[find],
            image=scene,
            template=scene[300:340, 420:480].copy(),
        )
        for block_type in BOTH
    )

    assert (official.annotations[0]["x"], official.annotations[0]["y"]) == (450, 320)
    assert_same_record(official, ours)


def test_a_step_without_any_picture_or_prediction_is_recorded_alike(record, scene):
    step = event_step(custom_value="$inputs.text")
    del step["input_image"]

    official, ours = (
        record(block_type, step, inputs=[parameter("text")], image=scene, text="belt stopped")
        for block_type in BOTH
    )

    assert official.event["images"] == []
    assert_same_record(official, ours)


def manifests():
    """The official form and ours."""
    from roboflow_workflows.core_steps.sinks.roboflow.vision_events import (  # noqa: PLC0415
        v1 as official,
    )

    from vision_event_block.blocks.vision_event_manifest import VisionEventManifest  # noqa: PLC0415

    return official.BlockManifest, VisionEventManifest


@pytest.mark.usefixtures("_host")
def test_every_field_of_the_official_form_is_taken_with_all_its_examples():
    official, ours = manifests()
    least = {"type": OURS, **event_step()}
    given = {
        name: field.examples or ()
        for name, field in official.model_fields.items()
        if name not in ("type", "name")
    }

    for name, examples in given.items():
        assert examples, f"{name} has no example to try"
        for example in examples:
            step = ours(**{**least, name: example})
            kept_as = "use_case" if name == "solution" else name
            assert getattr(step, kept_as) == example


@pytest.mark.usefixtures("_host")
def test_every_connection_that_the_official_form_takes_may_stay():
    official, ours = (manifest.model_json_schema()["properties"] for manifest in manifests())

    def kinds(field):
        return {
            kind["name"]
            for part in [field, *field.get("anyOf", ())]
            for kind in part.get("kind", ())
        }

    for name, field in official.items():
        kept_as = "use_case" if name == "solution" else name
        assert kinds(field) <= kinds(ours[kept_as]), name


@pytest.mark.usefixtures("_host")
def test_defaults_are_those_of_the_official_form():
    official, ours = manifests()
    for name, field in official.model_fields.items():
        # The use case has two names in ours, so neither is required by itself.
        if name not in ("type", "solution"):
            assert ours.model_fields[name].get_default(
                call_default_factory=True
            ) == field.get_default(call_default_factory=True), name


def masked(mask):
    """A detection of the whole mask, as a model in the host hands it over."""
    import supervision as sv  # noqa: PLC0415

    rows, columns = np.nonzero(mask)
    corners = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    return sv.Detections(
        xyxy=np.array([corners], np.float32),
        mask=mask[None],
        confidence=np.array([0.9], np.float32),
        class_id=np.array([1]),
        data={"class_name": np.array(["bottle"]), "detection_id": np.array(["d-1"])},
    )


def both_outlines(record, scene, mask):
    """What the official block's outline and ours cover of the picture."""
    records = [
        record(
            block_type,
            event_step(predictions="$inputs.predictions"),
            inputs=[predicted("predictions", "instance_segmentation_prediction")],
            image=scene,
            predictions=[masked(mask)],
        )
        for block_type in BOTH
    ]
    return [filled(entry["points"]) for run in records for entry in run.annotations]


def test_a_mask_in_two_pieces_keeps_both(record, scene):
    """The official block records one piece; half an object would be missing from the record."""
    mask = np.zeros((480, 640), bool)
    mask[100:200, 100:200] = True
    mask[100:180, 300:400] = True

    official, ours = both_outlines(record, scene, mask)

    assert overlap(official, mask) < 0.6
    assert overlap(ours, mask) > 0.97


def test_a_hole_in_a_mask_stays_a_hole(record, scene):
    """The official block fills it; a gasket would be recorded as a disc."""
    mask = np.zeros((480, 640), np.uint8)
    cv2.circle(mask, (320, 240), 100, 1, -1)
    cv2.circle(mask, (320, 240), 60, 0, -1)
    mask = mask.astype(bool)

    official, ours = both_outlines(record, scene, mask)

    assert official[240, 320]
    assert not ours[240, 320]
    assert overlap(ours, mask) > 0.97


def test_a_confidence_that_is_no_number_counts_as_unknown_and_not_as_certain(record, scene):
    """The official block sends NaN as 1.0, and every filter for sure detections would find it."""
    prediction = detections(box(100, 60, 40, 20, confidence=float("nan")))

    official, ours = (
        record(
            block_type,
            event_step(predictions="$inputs.predictions"),
            inputs=[predicted("predictions", "object_detection_prediction")],
            image=scene,
            predictions=[prediction],
        )
        for block_type in BOTH
    )

    assert official.annotations[0]["confidence"] == 1.0
    assert ours.annotations[0]["confidence"] == 0.0
    assert "confidence" in ours.outputs["message"]


def test_predictions_without_a_picture_are_recorded(record, scene):
    """The official block drops them in silence; privacy may forbid the picture, not the data."""
    step = event_step(predictions="$inputs.predictions")
    del step["input_image"]
    kind, prediction, _ = PREDICTIONS["boxes"]

    official, ours = (
        record(
            block_type,
            step,
            inputs=[predicted("predictions", kind)],
            image=scene,
            predictions=[prediction],
        )
        for block_type in BOTH
    )

    assert official.event["images"] == []
    assert len(ours.event["images"][0]["objectDetections"]) == 2


def test_a_crowd_keeps_its_most_confident_and_its_pictures(record, scene):
    """The official block sends all of them, and the API then drops the event's images."""
    crowd = [box(10 + i % 60, 10, 5, 5, confidence=0.2 + i / 2000) for i in range(1001)]

    official, ours = (
        record(
            block_type,
            event_step(predictions="$inputs.predictions"),
            inputs=[predicted("predictions", "object_detection_prediction")],
            image=scene,
            predictions=[detections(*crowd)],
        )
        for block_type in BOTH
    )

    assert "images" not in official.event
    assert len(ours.annotations) == 1000
    assert min(entry["confidence"] for entry in ours.annotations) > 0.2
    assert list(ours.pictures) == ["inputSourceId"]
    assert "1000 most confident of 1001" in ours.outputs["message"]


def test_a_skeleton_without_points_is_a_box(record, scene):
    """The official block leaves out the list that the API wants, which costs all images."""
    official, ours = (
        record(
            block_type,
            event_step(predictions="$inputs.predictions"),
            inputs=[predicted("predictions", "keypoint_detection_prediction")],
            image=scene,
            predictions=[
                detections(
                    box(100, 60, 40, 20, keypoints=[point(90, 55, "nose", 0)]),
                    box(300, 200, 40, 20, keypoints=[]),
                )
            ],
        )
        for block_type in BOTH
    )

    assert "images" not in official.event
    [image] = ours.event["images"]
    assert [len(image[key]) for key in ("objectDetections", "keypoints")] == [1, 1]
    assert "1 sent as plain boxes" in ours.outputs["message"]


def test_a_wrong_value_at_run_time_costs_only_itself(record, scene):
    """The official block sends it on, and the API then empties the whole `eventData`."""
    say_passed = {
        "type": "roboflow_core/expression@v1",
        "name": "verdict",
        "data": {"picture": "$inputs.image"},
        "switch": {
            "type": "CasesDefinition",
            "cases": [],
            "default": {"type": "StaticCaseResult", "value": "passed"},
        },
    }
    step = event_step(
        event_type="quality_check", qc_result="$steps.verdict.output", external_id="part-7"
    )

    official, ours = (
        record(block_type, step, inputs=[], before=[say_passed], image=scene) for block_type in BOTH
    )

    assert official.event["eventData"] == {}
    assert official.outputs["message"] == "Vision event sent successfully"
    assert ours.event["eventData"] == {"externalId": "part-7"}
    assert "qc_result: 'passed' left out" in ours.outputs["message"]


def test_what_was_found_on_a_crop_lies_right_on_the_whole_picture(record, scene):
    """The official block sends the crop's coordinates; drawn on the picture they lie elsewhere."""
    before = [
        {
            "type": "roboflow_core/absolute_static_crop@v1",
            "name": "crop",
            "images": "$inputs.image",
            "x_center": 460,
            "y_center": 320,
            "width": 200,
            "height": 160,
        },
        {
            "type": "roboflow_core/template_matching@v1",
            "name": "find",
            "image": "$steps.crop.crops",
            "template": "$inputs.template",
        },
    ]

    official, ours = (
        record(
            block_type,
            event_step(predictions="$steps.find.predictions"),
            inputs=[{"type": "WorkflowImage", "name": "template"}],
            before=before,
            image=scene,
            template=scene[300:340, 420:480].copy(),
        )
        for block_type in BOTH
    )

    assert (official.annotations[0]["x"], official.annotations[0]["y"]) == (90, 80)
    assert (ours.annotations[0]["x"], ours.annotations[0]["y"]) == (450, 320)


def test_qr_codes_may_be_connected(compiled):
    """The official block does not compile with a code reader's output."""
    read = {
        "type": "roboflow_core/qr_code_detector@v1",
        "name": "read",
        "images": "$inputs.image",
    }
    step = event_step(predictions="$steps.read.predictions")

    with pytest.raises(Exception, match="Allowed kinds of references"):
        compiled(workflow(read, {**step, "type": OFFICIAL}))
    compiled(workflow(read, {**step, "type": OURS}))


def test_the_cooldown_lets_every_picture_of_a_batch_pass(api, compiled, scene):
    """The official block counts all pictures of a batch as one camera and drops all but one."""
    throttled = {}
    for block_type in BOTH:
        step = event_step(type=block_type, cooldown_seconds=3600)
        engine = compiled(workflow({**AT_ONCE, **step}), api_key="a-key")
        rows = engine.run(runtime_parameters={"image": [scene, scene, scene]})
        throttled[block_type] = [row["event"]["throttling_status"] for row in rows]

    assert throttled == {OFFICIAL: [False, True, True], OURS: [False, False, False]}
    assert len(api.events) == 1 + 3


def test_the_event_id_is_known_in_the_background_too(api, compiled, scene):
    """The official block gives none then, so later feedback could not name the event."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    ids = {}
    with ThreadPoolExecutor(1) as pool:
        for block_type in BOTH:
            engine = compiled(
                workflow({**AT_ONCE, **event_step(type=block_type, fire_and_forget=True)}),
                api_key="a-key",
                thread_pool_executor=pool,
            )
            [row] = engine.run(runtime_parameters={"image": scene})
            ids[block_type] = row["event"]["event_id"]

    api.wait_for_events(2)
    assert ids[OFFICIAL] == ""
    assert ids[OURS] in api.events


def test_an_api_that_is_down_does_not_lose_the_event(api, compiled, scene):
    """The official block reports the failure and forgets the event."""
    statuses = {}
    with api.refusing():
        for block_type in BOTH:
            engine = compiled(workflow({**AT_ONCE, **event_step(type=block_type)}), api_key="a-key")
            [row] = engine.run(runtime_parameters={"image": scene})
            statuses[block_type] = row["event"]["error_status"]

    [event] = api.wait_for_events(1)
    assert statuses == {OFFICIAL: True, OURS: False}
    assert event["eventId"] == row["event"]["event_id"]

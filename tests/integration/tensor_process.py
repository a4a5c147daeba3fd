"""A process that has the host in one of its two representations and records one event of each kind.

    ENABLE_TENSOR_DATA_REPRESENTATION=True python tensor_process.py

The workflow is the same in both: a Python step makes the predictions, which the host turns into
tensors where it is told to, and steps of the host's own change them. Says in a line of JSON what
the Vision Event steps were given and what they answered.
"""

from __future__ import annotations

import json
import os
import sys
import warnings

warnings.simplefilter("ignore")

#: What the Python step does; `image` has 640 x 480 pixels.
MAKES_PREDICTIONS = """
def run(self, image):
    rows = 3
    def made(rows=3, **more):
        data = {
            "class_name": np.array(["cat", "dog", "cat"][:rows]),
            "detection_id": np.array(["d-0", "d-1", "d-2"][:rows]),
            "image_dimensions": np.array([[480, 640]] * rows),
            "parent_id": np.array(["image"] * rows),
            "parent_coordinates": np.array([[0, 0]] * rows),
            "parent_dimensions": np.array([[480, 640]] * rows),
            "root_parent_id": np.array(["image"] * rows),
            "root_parent_coordinates": np.array([[0, 0]] * rows),
            "root_parent_dimensions": np.array([[480, 640]] * rows),
            "prediction_type": np.array(["object-detection"] * rows),
        }
        return sv.Detections(
            xyxy=np.array(
                [[100, 60, 180, 160], [300.5, 200.25, 420, 330], [10, 300, 50, 400]][:rows],
                np.float32,
            ).reshape(-1, 4),
            confidence=np.array([0.9, 0.5, 0.25][:rows], np.float32),
            class_id=np.array([0, 1, 0][:rows]),
            mask=more.pop("mask", None),
            data={**data, **more} if rows else {},
        )
    masks = np.zeros((3, 480, 640), np.uint8)
    for mask, centre in zip(masks, [(140, 110), (360, 265), (30, 350)]):
        cv2.circle(mask, centre, 18, 1, -1)
    points = dict(
        keypoints_xy=np.array([[[110, 70], [120.5, 90]], [[310, 210], [0, 0]], [[0, 0], [0, 0]]]),
        keypoints_confidence=np.array([[0.9, 0.8], [0.7, 0], [0, 0]]),
        keypoints_class_id=np.array([[0, 1], [0, 0], [0, 0]]),
        keypoints_class_name=np.array([["nose", "ear"], ["nose", ""], ["", ""]], dtype=object),
    )
    size = {"width": 640, "height": 480}
    return {
        "boxes": made(),
        "one_box": made(1),
        "no_boxes": made(0),
        "masks": made(mask=masks.astype(bool)),
        "run_lengths": made(mask=masks.astype(bool)),
        "key_points": made(**points),
        "classes": {
            "image": size,
            "predictions": [
                {"class": "ok", "class_id": 1, "confidence": 0.75},
                {"class": "nok", "class_id": 0, "confidence": 0.25},
            ],
            "top": "ok", "confidence": 0.75, "parent_id": "image", "root_parent_id": "image",
        },
        "labels": {
            "image": size,
            "predictions": {
                "wet": {"confidence": 0.75, "class_id": 0},
                "torn": {"confidence": 0.25, "class_id": 1},
            },
            "predicted_classes": ["wet"], "parent_id": "image", "root_parent_id": "image",
        },
    }
"""
KINDS = {
    "boxes": "object_detection_prediction",
    "one_box": "object_detection_prediction",
    "no_boxes": "object_detection_prediction",
    "masks": "instance_segmentation_prediction",
    "run_lengths": "rle_instance_segmentation_prediction",
    "key_points": "keypoint_detection_prediction",
    "classes": "classification_prediction",
    "labels": "classification_prediction",
}
#: Where the predictions of each case come from.
CASES = {
    **{case: f"$steps.source.{case}" for case in KINDS},
    "codes": "$steps.codes.predictions",
    "tracked": "$steps.tracker.tracked_detections",
    "crops": "$steps.crop.predictions",
}


def workflow():
    """One Vision Event step for each case."""
    steps = [
        {"type": "Source", "name": "source", "image": "$inputs.image"},
        {"type": "roboflow_core/qr_code_detector@v1", "name": "codes", "images": "$inputs.image"},
        {
            "type": "roboflow_core/byte_tracker@v3",
            "name": "tracker",
            "image": "$inputs.image",
            "detections": "$steps.source.boxes",
        },
        {
            "type": "roboflow_core/dynamic_crop@v1",
            "name": "crop",
            "images": "$inputs.image",
            "predictions": "$steps.source.one_box",
        },
    ]
    steps += [
        {
            "type": "vision_event_block/vision_event@v1",
            "name": f"record_{case}",
            "input_image": "$steps.crop.crops" if case == "crops" else "$inputs.image",
            "predictions": predictions,
            "event_type": "custom",
            "custom_value": case,
            "use_case": "both-ways",
            "fire_and_forget": False,
            "cooldown_seconds": 0,
        }
        for case, predictions in CASES.items()
    ]
    given = [
        {"type": "JsonField", "name": f"given_{case}", "selector": predictions}
        for case, predictions in CASES.items()
    ]
    answered = [
        {"type": "JsonField", "name": f"said_{case}", "selector": f"$steps.record_{case}.*"}
        for case in CASES
    ]
    return {
        "version": "1.0",
        "inputs": [{"type": "WorkflowImage", "name": "image"}],
        "dynamic_blocks_definitions": [
            {
                "type": "DynamicBlockDefinition",
                "manifest": {
                    "type": "ManifestDescription",
                    "block_type": "Source",
                    "inputs": {
                        "image": {
                            "type": "DynamicInputDefinition",
                            "selector_types": ["input_image"],
                        }
                    },
                    "outputs": {
                        case: {"type": "DynamicOutputDefinition", "kind": [kind]}
                        for case, kind in KINDS.items()
                    },
                },
                "code": {"type": "PythonCode", "run_function_code": MAKES_PREDICTIONS},
            }
        ],
        "steps": steps,
        "outputs": [*given, *answered],
    }


def picture():
    """Each colour runs its own way, and in a corner there is a code to read."""
    import cv2  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    rows, columns = np.mgrid[0:480, 0:640]
    pixels = np.stack([columns / 4, rows / 3, 255 - columns / 4], axis=2).astype(np.uint8)
    code = cv2.QRCodeEncoder.create().encode("serial 7")
    code = cv2.resize(code, None, fx=6, fy=6, interpolation=cv2.INTER_NEAREST)
    code = cv2.copyMakeBorder(code, 24, 24, 24, 24, cv2.BORDER_CONSTANT, value=255)
    pixels[20 : 20 + len(code), 440 : 440 + len(code)] = code[:, :, None]
    return pixels


def main():
    """Runs the workflow on one picture."""
    import inference.core  # noqa: F401, PLC0415 - takes the representation from the environment
    import torch  # noqa: PLC0415
    from inference.core.workflows.execution_engine.core import ExecutionEngine  # noqa: PLC0415

    pixels = picture()
    if os.environ.get("ENABLE_TENSOR_DATA_REPRESENTATION") == "True":
        pixels = torch.from_numpy(pixels[:, :, ::-1].copy()).permute(2, 0, 1)  # RGB, colours first
    engine = ExecutionEngine.init(
        workflow_definition=workflow(), init_parameters={"workflows_core.api_key": "key"}
    )
    [row] = engine.run(runtime_parameters={"image": pixels})
    facts = {
        "given": {case: kind_of(row[f"given_{case}"]) for case in CASES},
        "said": {case: row[f"said_{case}"] for case in CASES},
    }
    print(json.dumps(facts), flush=True)  # noqa: T201


def kind_of(value):
    """Whose type it is."""
    while isinstance(value, (list, tuple)):
        value = value[0]
    return f"{type(value).__module__.partition('.')[0]}.{type(value).__name__}"


if __name__ == "__main__":
    sys.exit(main())

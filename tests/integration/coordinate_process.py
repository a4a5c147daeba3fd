"""A process that puts each kind of step of the host between a model and the event, and records.

    ENABLE_TENSOR_DATA_REPRESENTATION=True python -m tests.integration.coordinate_process

On the picture there is one patch of a colour that occurs nowhere else. A Python step finds it on
whatever picture it is given and says so as the host's models do. Behind the steps of a row, the
Vision Event block and the official block record what was found, on the picture that the model saw
and on the whole picture. An event's value says which of all this it is. A line of JSON says what
our block answered, and which rows could not run and why.
"""

from __future__ import annotations

import json
import os
import sys
import warnings

from tests.integration.coordinate_rows import KINDS, ROWS

warnings.simplefilter("ignore")

WIDTH, HEIGHT = 640, 480
#: Left, top, right and bottom of the patch.
PATCH = (410, 310, 450, 350)

BLOCKS = {
    "official": "roboflow_core/roboflow_vision_events@v1",
    "ours": "vision_event_block/vision_event@v1",
}
FINDS_THE_PATCH = """
def run(self, image):
    from roboflow_workflows.core_steps.common.utils import (
        attach_parents_coordinates_to_sv_detections,
    )
    height, width = image.numpy_image.shape[:2]
    blue, green, red = (image.numpy_image[..., colour].astype(int) for colour in range(3))
    is_patch = (blue > 180) & (green < 90) & (red > 180)
    rows, columns = np.nonzero(is_patch)
    found = int(len(rows) > 0)
    corners = []
    if found:
        corners = [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]
    def made(kind, mask=None, **more):
        data = {
            "class_name": np.array(["patch"]),
            "detection_id": np.array([str(uuid.uuid4())]),
            "image_dimensions": np.array([[height, width]]),
            "prediction_type": np.array([kind]),
            **more,
        }
        boxes = sv.Detections(
            xyxy=np.array(corners, np.float32).reshape(-1, 4),
            confidence=np.array([0.9] * found, np.float32),
            class_id=np.array([0] * found),
            mask=mask if found else None,
            data=data if found else {},
        )
        return attach_parents_coordinates_to_sv_detections(boxes, image)
    points = dict(
        keypoints_xy=np.array(corners, np.float32).reshape(-1, 2, 2),
        keypoints_confidence=np.array([[0.9, 0.8]]),
        keypoints_class_id=np.array([[0, 1]]),
        keypoints_class_name=np.array([["first", "last"]], dtype=object),
    )
    return {
        "boxes": made("object-detection"),
        "masks": made("instance-segmentation", is_patch[None]),
        "points": made("keypoint-detection", **points),
        "classes": {
            "image": {"width": width, "height": height},
            "predictions": [{"class": "new", "class_id": 1, "confidence": 0.75}],
            "top": "new",
            "confidence": 0.75,
            "parent_id": image.parent_metadata.parent_id,
            "root_parent_id": image.workflow_root_ancestor_metadata.parent_id,
            "inference_id": "i",
            "prediction_type": "classification",
        },
    }
"""


def workflow(row, name):
    """The row's steps for each kind, each followed by both blocks with both pictures."""
    inputs = [{"type": "WorkflowImage", "name": "image"}]
    if row.text:
        text = {"type": "WorkflowBatchInput", "name": "text", "kind": ["language_model_output"]}
        inputs.append(text)
    steps, outputs = [], []
    for kind in row.kinds:
        own = json.dumps([row.steps, row.seen, row.whole, row.predictions]).replace("{kind}", kind)
        for given in [one["name"] for one in row.steps]:
            own = own.replace(f"$steps.{given}.", f"$steps.{given}_{kind}.")
        made, seen, whole, predictions = json.loads(own)
        steps += [{**one, "name": f"{one['name']}_{kind}"} for one in made]
        for shown, picture in {"seen": seen, "whole": whole}.items():
            for block, block_type in BLOCKS.items():
                if picture is None:
                    continue
                event = f"{block}_{shown}_{kind}"
                steps.append(
                    {
                        "type": block_type,
                        "name": event,
                        "input_image": picture,
                        "predictions": predictions,
                        "event_type": "custom",
                        "custom_value": f"{name}|{shown}|{kind}|{block}",
                        "solution": "places",
                        "fire_and_forget": False,
                        "cooldown_seconds": 0,
                    }
                )
                outputs.append(
                    {"type": "JsonField", "name": event, "selector": f"$steps.{event}.*"}
                )
    finder = {
        "type": "DynamicBlockDefinition",
        "manifest": {
            "type": "ManifestDescription",
            "block_type": "Finder",
            "inputs": {
                "image": {
                    "type": "DynamicInputDefinition",
                    "selector_types": ["input_image", "step_output_image"],
                }
            },
            "outputs": {
                output: {"type": "DynamicOutputDefinition", "kind": [kind]}
                for output, kind in KINDS.items()
            },
        },
        "code": {
            "type": "PythonCode",
            "imports": ["import uuid"],
            "run_function_code": FINDS_THE_PATCH,
        },
    }
    return {
        "version": "1.0",
        "inputs": inputs,
        "dynamic_blocks_definitions": [finder],
        "steps": steps,
        "outputs": outputs,
    }


def scene():
    """Dull, but with enough to see for steps that look for the same place on two pictures."""
    import cv2  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    noise = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    smooth = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 140, cv2.NORM_MINMAX)
    empty, pixels = smooth, smooth.copy()
    left, top, right, bottom = PATCH
    pixels[top:bottom, left:right] = (255, 0, 255)
    return empty, pixels


def middles(events):
    """Of each event that such a workflow records the middles of its boxes, by its value."""
    return {
        event["eventData"]["value"]: [
            (entry["x"], entry["y"])
            for entries in event["images"][0].values()
            if isinstance(entries, list)
            for entry in entries
        ]
        for event in events
    }


def main():
    """Runs all rows."""
    import inference.core  # noqa: F401, PLC0415 - takes the representation from the environment
    import torch  # noqa: PLC0415
    from roboflow_workflows.execution_engine.core import ExecutionEngine  # noqa: PLC0415

    pictures = scene()
    if os.environ.get("ENABLE_TENSOR_DATA_REPRESENTATION") == "True":
        pictures = [  # RGB, colours first
            torch.from_numpy(one[:, :, ::-1].copy()).permute(2, 0, 1) for one in pictures
        ]
    empty, pixels = pictures
    facts = {"said": {}, "failed": {}}
    for name, row in ROWS.items():
        texts = {"text": [row.text]} if row.text else {}
        try:
            engine = ExecutionEngine.init(
                workflow_definition=workflow(row, name),
                init_parameters={"workflows_core.api_key": "key"},
            )
            for frame in [empty] * row.empty_frames + [pixels]:
                [answer] = engine.run(runtime_parameters={"image": frame, **texts})
                for output in answer.values():
                    facts["said"].update(messages(output))
        except Exception as error:  # noqa: BLE001 - the other rows go on
            facts["failed"][name] = repr(error)
    print(json.dumps(facts), flush=True)  # noqa: T201


def messages(output):
    """What a step said, by the id of its event; steps behind a crop answer in lists."""
    if isinstance(output, list):
        return {event: said for one in output for event, said in messages(one).items()}
    return {output["event_id"]: output["message"]} if output else {}


if __name__ == "__main__":
    sys.exit(main())

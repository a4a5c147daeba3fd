"""The official blocks in the real engine, in a process of its own.

The host reads the address of its API when it is imported, as a user sets it:

    API_BASE_URL=http://127.0.0.1:9100 python block_process.py STEPS

`STEPS` is a JSON list of steps; each is run once on one picture, with the predictions that it
may ask for as `$inputs.predictions`. Prints what each answered, as one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys

import inference.core  # noqa: F401 -- first, or the engine takes no settings from the environment
import numpy as np
from roboflow_workflows.execution_engine.core import ExecutionEngine

BOX = {
    "x": 20,
    "y": 15,
    "width": 10,
    "height": 8,
    "confidence": 0.75,
    "class": "pallet",
    "class_id": 1,
    "detection_id": "d-1",
}
#: What a prediction of a kind holds beside its box.
MORE = {
    "object_detection_prediction": {},
    "instance_segmentation_prediction": {
        "points": [{"x": 15, "y": 11}, {"x": 25, "y": 11}, {"x": 20, "y": 19}]
    },
    "keypoint_detection_prediction": {
        "keypoints": [{"x": 18, "y": 13, "class": "nose", "class_id": 0, "confidence": 0.8}]
    },
}


def run(step, kind):
    """What the step answered."""
    engine = ExecutionEngine.init(
        workflow_definition={
            "version": "1.0",
            "inputs": [
                {"type": "WorkflowImage", "name": "image"},
                {"type": "WorkflowBatchInput", "name": "predictions", "kind": [kind]},
            ],
            "steps": [{"name": "event", "fire_and_forget": False, "cooldown_seconds": 0, **step}],
            "outputs": [{"type": "JsonField", "name": "event", "selector": "$steps.event.*"}],
        },
        init_parameters={"workflows_core.api_key": os.environ["ROBOFLOW_API_KEY"]},
    )
    picture = np.full((48, 64, 3), 90, np.uint8)
    size = {"width": 64, "height": 48}
    predictions = [{"image": size, "predictions": [{**BOX, **MORE[kind]}]}]
    [row] = engine.run(runtime_parameters={"image": picture, "predictions": predictions})
    return row["event"]


if __name__ == "__main__":
    answers = [run(step, kind) for step, kind in json.loads(sys.argv[1])]
    print(json.dumps(answers))  # noqa: T201

"""The sample workflows, and what is done to them before they run on a recording."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

_PACKAGE: Final = Path(__file__).resolve().parents[1]
#: Where a wheel puts them, and where they are in a checkout.
_FOLDERS: Final = (_PACKAGE / "demo" / "workflows", _PACKAGE.parent / "sample_workflows")
#: Of the plugin `demo.model`, which is not imported here: it brings the host.
MODEL_TYPE: Final = "vision_event_demo/scripted_model@v1"
RECORDING_TYPE: Final = "vision_event_demo/recording@v1"
_BLOCK_TYPES: Final = (
    "vision_event_block/vision_event@v1",
    "vision_event_block/track_event@v1",
)


def workflow(name: str) -> dict[str, Any]:
    """A sample workflow as it stands.

    Raises:
        LookupError: there is none of this name.
    """
    for folder in _FOLDERS:
        file = folder / f"{name}.json"
        if file.is_file():
            found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            return found
    raise LookupError(f"no sample workflow {name} in {' or '.join(map(str, _FOLDERS))}")


def with_model(
    definition: dict[str, Any], model_id: str, *, block_type: str = MODEL_TYPE
) -> dict[str, Any]:
    """The workflow with a model in place of the input `predictions`.

    This is what `sample_workflows/README.md` tells to do by hand.
    """
    model = {"type": block_type, "name": "model", "images": "$inputs.image", "model_id": model_id}
    wired = json.loads(
        json.dumps(definition).replace("$inputs.predictions", "$steps.model.predictions")
    )
    inputs = [given for given in wired["inputs"] if given["name"] != "predictions"]
    return {**wired, "inputs": inputs, "steps": [model, *wired["steps"]]}


def with_recording(
    definition: dict[str, Any], script: Path, fields: dict[str, Any]
) -> dict[str, Any]:
    """The workflow with a step `recording`, and these fields set on the step that records.

    The step knows what the line's control would: when the frame was taken, and of which part.
    """
    recording = {
        "type": RECORDING_TYPE,
        "name": "recording",
        "image": "$inputs.image",
        "script": str(script),
    }
    steps = [
        {**step, **fields} if step["type"] in _BLOCK_TYPES else step for step in definition["steps"]
    ]
    return {**definition, "steps": [recording, *steps]}

"""The five cameras of the demo: what each saw, and the sample workflow that watches it.

The recordings are in `clips/`: a video, and next to it a script with a line for each frame. Both
the pictures and the predictions are made up.
"""

from __future__ import annotations

import errno
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

CLIPS: Final = Path(__file__).with_name("clips")
_SIZE_PX: Final = {"width": 960, "height": 540}
_PACKAGE: Final = Path(__file__).resolve().parents[1]
#: Where the sample workflows are in a wheel, and in a checkout.
_FOLDERS: Final = (_PACKAGE / "demo" / "workflows", _PACKAGE.parent / "sample_workflows")
#: Defined in the plugin `demo.model`, which is not imported here because it imports the host.
MODEL_TYPE: Final = "vision_event_demo/scripted_model@v1"
RECORDING_TYPE: Final = "vision_event_demo/recording@v1"
_BLOCK_TYPES: Final = (
    "vision_event_block/vision_event@v1",
    "vision_event_block/track_event@v1",
)
#: The recordings play in seconds what took hours, and a Cooldown counts real seconds.
_NO_COOLDOWN: Final = 0


@dataclass(frozen=True)
class Recording:
    video: Path
    #: A line for each frame, as `demo.model` reads it.
    script: Path
    frames: int


@dataclass(frozen=True)
class Stream:
    """A camera, its workflow, and the use case that its events belong to."""

    #: Also the name of its clip.
    use_case_id: str
    use_case: str
    #: Name of the sample workflow.
    workflow: str
    device_id: str
    stream_id: str
    has_model: bool = False
    #: Inputs of the workflow other than the picture and the use case.
    parameters: Callable[[], Mapping[str, Any]] = dict
    #: Set on the step that records.
    fields: Mapping[str, Any] = field(default_factory=dict)
    #: The original and the annotated one.
    pictures_per_event: int = 2

    def definition(self, recording: Recording) -> dict[str, Any]:
        definition = workflow(self.workflow)
        if self.has_model:
            definition = with_model(definition, str(recording.script))
        fields = {
            "device_id": self.device_id,
            "stream_id": self.stream_id,
            "workflow_id": self.workflow,
            "timestamp": "$steps.recording.captured_at",
            **self.fields,
        }
        return with_recording(definition, recording.script, fields)

    def inputs(self) -> dict[str, Any]:
        return {"use_case": self.use_case_id, **self.parameters()}


STREAMS: Final = (
    Stream(
        "part-labels",
        "Part labels",
        "parts_on_belt",
        "line-1-box",
        "line-1/labels",
        has_model=True,
        parameters=lambda: {"line": "line-1"},
        pictures_per_event=1,
    ),
    Stream(
        "cap-trays",
        "Cap trays",
        "inventory_count",
        "store-box",
        "store/tray-1",
        parameters=lambda: {"template": cv2.imread(str(CLIPS / "cap.png"))},
        fields={"cooldown_seconds": _NO_COOLDOWN},
    ),
    Stream(
        "steel-sheets",
        "Steel sheets",
        "instance_segmentation",
        "line-2-box",
        "line-2/surface",
        has_model=True,
        fields={
            "external_id": "$steps.recording.serial_number",
            "cooldown_key": "$steps.recording.serial_number",
        },
    ),
    Stream(
        "press-2",
        "Press 2",
        "key_points",
        "hall-b-box",
        "hall-b/press-2",
        has_model=True,
        fields={"cooldown_seconds": _NO_COOLDOWN},
    ),
    Stream(
        "hard-hats",
        "Hard hats",
        "safety_alert",
        "hall-b-box",
        "hall-b/gate",
        has_model=True,
        parameters=lambda: {"zone": "hall-b", "cooldown_seconds": _NO_COOLDOWN},
    ),
)


def recording_of(name: str, folder: Path, *, ends_at: datetime, clips: Path = CLIPS) -> Recording:
    """The clip of this name, timed so that its last frame was taken at `ends_at`.

    Its script, with the time of each frame, is written to the folder.

    Raises:
        OSError: the video cannot be read here.
    """
    video = clips / f"{name}.mp4"
    if not cv2.VideoCapture(str(video)).isOpened():
        raise OSError(errno.EINVAL, "this build of OpenCV cannot read H.264 video", str(video))
    lines = json.loads((clips / f"{name}.json").read_text(encoding="utf-8"))
    starts_at_s = ends_at.timestamp() - lines[-1]["at_s"]
    script = folder / f"{name}.json"
    script.write_text(json.dumps([_told(line, starts_at_s) for line in lines]), encoding="utf-8")
    return Recording(video, script, len(lines))


def _told(line: dict[str, Any], starts_at_s: float) -> dict[str, Any]:
    return {
        "captured_at_s": round(starts_at_s + line["at_s"], 3),
        "serial_number": line.get("serial_number", ""),
        # In the format of a model on the Inference server.
        "answer": {"image": _SIZE_PX, "predictions": line.get("predictions", [])},
    }


def results(events: Iterable[Mapping[str, Any]]) -> str:
    """A summary of the events: `29 pass, 7 fail`."""
    counts: Counter[str] = Counter()
    items = []
    for event in events:
        data = event["eventData"]
        if "itemCount" in data:
            items.append(data["itemCount"])
        else:
            counts[data.get("result") or data["severity"]] += 1
    said = [f"{number} {result}" for result, number in counts.most_common()]
    if items:
        said.append(f"{min(items)} to {max(items)} items")
    return ", ".join(said)


def workflow(name: str) -> dict[str, Any]:
    """A sample workflow, unchanged.

    Raises:
        LookupError: there is no workflow of this name.
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

    `sample_workflows/README.md` describes how to do this by hand.
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

    The step stands in for the line's controller: when the frame was taken, and which part it shows.
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

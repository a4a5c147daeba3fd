"""The five cameras of the demo: what each sees, and which sample workflow watches it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import cv2

from vision_event_block.demo.recordings import CLIPS
from vision_event_block.demo.samples import with_model, with_recording, workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from vision_event_block.demo.recordings import Recording

#: The recordings play in seconds what took hours, and a Cooldown counts real seconds.
_NO_COOLDOWN: Final = 0


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
    #: Inputs of the workflow beside the picture and the use case.
    parameters: Callable[[], Mapping[str, Any]] = dict
    #: Set on the step that records.
    fields: Mapping[str, Any] = field(default_factory=dict)
    #: As the camera saw it, and annotated.
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


def results(events: Iterable[Mapping[str, Any]]) -> str:
    """What events say, in a few words: `29 pass, 7 fail`."""
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

"""A host plugin with two blocks that know a recording; only the demo loads it.

`vision_event_demo/scripted_model@v1` stands in for a model: its `model_id` is the recording's
script, and for each frame it returns the script's predictions. `vision_event_demo/recording@v1`
returns when a frame was taken, and which part it shows.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict

from vision_event_block import host

_DETECTION_KINDS = ("object_detection_prediction", "instance_segmentation_prediction")
_KEY_POINT_KIND = "keypoint_detection_prediction"


class ScriptedModelManifest(host.WorkflowBlockManifest):  # type: ignore[misc] # known at run time
    model_config = ConfigDict(
        json_schema_extra={"name": "Scripted Model", "short_description": "For demonstrations."},
        protected_namespaces=(),
    )
    type: Literal["vision_event_demo/scripted_model@v1"]
    images: host.Selector(kind=[host.IMAGE_KIND])  # type: ignore[valid-type]
    model_id: str

    @classmethod
    def describe_outputs(cls) -> list[Any]:
        names = (*_DETECTION_KINDS, _KEY_POINT_KIND)
        kinds = [kind for kind in host.PREDICTION_KINDS if kind.name in names]
        return [host.OutputDefinition(name="predictions", kind=kinds)]

    @classmethod
    def get_execution_engine_compatibility(cls) -> str:
        return ">=1.3.0,<2.0.0"


class ScriptedModelBlock(host.WorkflowBlock):  # type: ignore[misc] # known at run time
    @classmethod
    def get_manifest(cls) -> type[ScriptedModelManifest]:
        return ScriptedModelManifest

    def run(self, images: Any, model_id: str) -> dict[str, Any]:
        """The predictions for one frame, built as the host builds them from a request's JSON."""
        answer = _line(model_id, images)["answer"]
        has_key_points = any("keypoints" in found for found in answer["predictions"])
        kind = _KEY_POINT_KIND if has_key_points else _DETECTION_KINDS[0]
        loader = import_module(f"{host.ROOT}.core_steps.loader")
        return {"predictions": loader.KINDS_DESERIALIZERS[kind]("image", answer)}


class RecordingManifest(host.WorkflowBlockManifest):  # type: ignore[misc] # known at run time
    model_config = ConfigDict(
        json_schema_extra={"name": "Recording", "short_description": "For demonstrations."}
    )
    type: Literal["vision_event_demo/recording@v1"]
    image: host.Selector(kind=[host.IMAGE_KIND])  # type: ignore[valid-type]
    script: str

    @classmethod
    def describe_outputs(cls) -> list[Any]:
        return [
            host.OutputDefinition(name="captured_at", kind=[host.STRING_KIND]),
            host.OutputDefinition(name="serial_number", kind=[host.STRING_KIND]),
        ]

    @classmethod
    def get_execution_engine_compatibility(cls) -> str:
        return ">=1.3.0,<2.0.0"


class RecordingBlock(host.WorkflowBlock):  # type: ignore[misc] # known at run time
    @classmethod
    def get_manifest(cls) -> type[RecordingManifest]:
        return RecordingManifest

    def run(self, image: Any, script: str) -> dict[str, Any]:
        """The time in UTC as ISO 8601, and the serial number, which may be empty."""
        line = _line(script, image)
        moment = datetime.fromtimestamp(line["captured_at_s"], timezone.utc)
        return {"captured_at": moment.isoformat(), "serial_number": line["serial_number"]}


def load_blocks() -> list[type[Any]]:
    return [ScriptedModelBlock, RecordingBlock]


def _line(script: str, image: Any) -> dict[str, Any]:
    """The script's line for a frame; frames are counted from 1."""
    line: dict[str, Any] = _lines(script)[image.video_metadata.frame_number - 1]
    return line


@lru_cache(maxsize=8)
def _lines(script: str) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = json.loads(Path(script).read_text(encoding="utf-8"))
    return lines

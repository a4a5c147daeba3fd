"""Recordings: what a camera saw, and what a model would say about each frame."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import cv2

from vision_event_block.demo.canvas import HEIGHT_PX, WIDTH_PX, Pixels

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from pathlib import Path

_FPS: Final = 10
_QUALITY: Final = 95


@dataclass(frozen=True)
class Shot:
    picture: Pixels
    #: Since the recording began.
    at_s: float
    #: What is detected, as a model of the Inference server answers.
    predictions: Sequence[dict[str, Any]] = field(default_factory=tuple)
    #: The part's number, where the line knows it.
    serial_number: str = ""


@dataclass(frozen=True)
class Recording:
    video: Path
    #: What is known of each frame, as `demo.model` reads it.
    script: Path
    frames: int


def write(shots: Iterable[Shot], folder: Path, name: str, *, ends_at: datetime) -> Recording:
    """A video whose last frame was taken at `ends_at`, and its script beside it.

    Raises:
        OSError: the video cannot be written.
    """
    shots = list(shots)
    recording = Recording(folder / f"{name}.avi", folder / f"{name}.json", len(shots))
    # Motion JPEG: OpenCV writes it by itself, and each frame is as sharp as the first.
    writer = cv2.VideoWriter(
        str(recording.video), cv2.VideoWriter.fourcc(*"MJPG"), _FPS, (WIDTH_PX, HEIGHT_PX)
    )
    if not writer.isOpened():
        raise OSError(f"OpenCV cannot write {recording.video}")
    writer.set(cv2.VIDEOWRITER_PROP_QUALITY, _QUALITY)
    for shot in shots:
        writer.write(shot.picture)
    writer.release()
    recording.script.write_text(json.dumps(_script(shots, ends_at)), encoding="utf-8")
    return recording


def _script(shots: Sequence[Shot], ends_at: datetime) -> list[dict[str, Any]]:
    starts_at_s = ends_at.timestamp() - shots[-1].at_s
    return [
        {
            "captured_at_s": round(starts_at_s + shot.at_s, 3),
            "serial_number": shot.serial_number,
            "answer": {
                "image": {"width": WIDTH_PX, "height": HEIGHT_PX},
                "predictions": list(shot.predictions),
            },
        }
        for shot in shots
    ]

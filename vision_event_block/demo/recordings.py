"""Recordings: what a camera saw, and what a model would say about each frame."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from vision_event_block.demo.canvas import HEIGHT_PX, WIDTH_PX, Pixels

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from pathlib import Path

_FPS: Final = 10
_QUALITY: Final = 95
_NOTHING: Final[Pixels] = np.zeros((0, 0, 3), np.uint8)


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
    video, script = folder / f"{name}.avi", folder / f"{name}.json"
    # Motion JPEG: OpenCV writes it by itself, and each frame is as sharp as the first.
    writer = cv2.VideoWriter(
        str(video), cv2.VideoWriter.fourcc(*"MJPG"), _FPS, (WIDTH_PX, HEIGHT_PX)
    )
    if not writer.isOpened():
        raise OSError(f"OpenCV cannot write {video}")
    writer.set(cv2.VIDEOWRITER_PROP_QUALITY, _QUALITY)
    told = []
    for shot in shots:  # one at a time: all of them together are hundreds of megabytes
        writer.write(shot.picture)
        told.append(replace(shot, picture=_NOTHING))
    writer.release()
    script.write_text(json.dumps(_script(told, ends_at)), encoding="utf-8")
    return Recording(video, script, len(told))


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

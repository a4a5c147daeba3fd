"""Recordings: what a camera saw, and what a model would say about each frame.

They are in `clips/`: a video, and next to it a script with a line for each frame. Both the
pictures and the predictions are made up.
"""

from __future__ import annotations

import errno
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2

if TYPE_CHECKING:
    from datetime import datetime

CLIPS: Final = Path(__file__).with_name("clips")
_SIZE_PX: Final = {"width": 960, "height": 540}


@dataclass(frozen=True)
class Recording:
    video: Path
    #: A line for each frame, as `demo.model` reads it.
    script: Path
    frames: int


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

"""Actions in a video, as the host gives them: ranges of frames, each with a class.

The API has no ranges. The classes become classifications, and the first and last frame of each
action go into the event's metadata, where the dashboard can filter by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from vision_event_block.convert.origins import float_of
from vision_event_block.convert.predictions import Labels, class_name
from vision_event_block.events.adjustments import Adjustment


class _Range(NamedTuple):
    last_frame: int
    first_frame: int
    action: str
    confidence: float


def is_timeline(prediction: Any) -> bool:
    """Whether these are ranges of frames; a video in which nothing has happened yet has none."""
    return isinstance(prediction, list) and all(
        isinstance(_value(each, name), int)
        for each in prediction
        for name in ("start_frame_idx", "end_frame_idx")
    )


def read_timeline(timeline: list[Any]) -> tuple[Labels, dict[str, int], list[Adjustment]]:
    """The classes, for the metadata the frames of each one's last range, and what is lost.

    A timeline holds everything seen since the video began, and so does each of its events. If an
    action was seen several times, its last range counts.
    """
    ranges = sorted(_range(each) for each in timeline)
    last = {each.action: each for each in ranges}
    frames: dict[str, int] = {}
    for each in last.values():
        frames[f"{each.action}_first_frame"] = each.first_frame
        frames[f"{each.action}_last_frame"] = each.last_frame
    adjustments = []
    if len(last) < len(ranges):
        what = f"{len(last)} of {len(ranges)} ranges of frames kept"
        adjustments.append(Adjustment("predictions", what, "of each action the last one counts"))
    confidence = np.array([each.confidence for each in last.values()], dtype=np.float64)
    return Labels(list(last), confidence), frames, adjustments


def _range(given: Any) -> _Range:
    return _Range(
        last_frame=_value(given, "end_frame_idx"),
        first_frame=_value(given, "start_frame_idx"),
        action=class_name(_value(given, "class")),
        confidence=float_of(_value(given, "confidence")),
    )


def _value(given: Any, name: str) -> Any:
    """A value of the host's model, or of the dictionary in which it is sent."""
    if isinstance(given, Mapping):
        return given.get(name)
    return getattr(given, "class_name" if name == "class" else name, None)

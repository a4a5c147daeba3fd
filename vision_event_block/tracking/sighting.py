"""One object on one frame, and how well the frame shows it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

#: Closer to an edge of the picture than this share of its side, a box touches the edge.
EDGE_SHARE: Final = 0.005
#: What remains of the score then: most of the object may be outside.
EDGE_FACTOR: Final = 0.5
#: A frame must be better than the kept one by this factor. An object that grows steadily is then
#: copied a dozen times, not on each frame.
CLEAR_LEAD: Final = 1.1
#: The rule in words, as events hold it.
RULE: Final = (
    "confidence * sqrt(box area / picture area), halved if the box is within 0.5 % of the "
    "picture's edge; the first frame is kept until another scores over 10 % more, and so on"
)


@dataclass(frozen=True, slots=True)
class Sighting:
    """A detection with the id that the tracker gave it."""

    track_id: int
    class_name: str
    #: 0 if the model gave none.
    confidence: float
    #: Left, top, right and bottom in pixels of the picture.
    box: tuple[float, float, float, float]
    #: By the rule above.
    score: float
    #: Its row among the frame's detections.
    row: int = 0

    @property
    def middle(self) -> tuple[int, int]:
        left, top, right, bottom = self.box
        return round((left + right) / 2), round((top + bottom) / 2)


def picture_score(
    confidence: float, box: tuple[float, float, float, float], size_px: tuple[int, int]
) -> float:
    """How well a frame shows an object, from 0 to 1.

    >>> picture_score(0.8, (100, 100, 300, 300), (1000, 1000))
    0.16000000000000003
    >>> picture_score(0.8, (0, 100, 200, 300), (1000, 1000))
    0.08000000000000002
    """
    width, height = size_px
    left, top, right, bottom = box
    shown_x = min(right, width) - max(left, 0.0)
    shown_y = min(bottom, height) - max(top, 0.0)
    if not (shown_x > 0 and shown_y > 0 and confidence > 0):  # false for NaN as well
        return 0.0
    score = confidence * math.sqrt(shown_x * shown_y / (width * height))
    margin_x, margin_y = EDGE_SHARE * width, EDGE_SHARE * height
    touches = (
        left < margin_x or top < margin_y or right > width - margin_x or bottom > height - margin_y
    )
    return score * EDGE_FACTOR if touches else score

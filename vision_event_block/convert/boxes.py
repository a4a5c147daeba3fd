"""Boxes and their confidence as the API has them: centre, width and height."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vision_event_block.convert.origins import PICTURE_ID, SCALE, SIZE
from vision_event_block.convert.predictions import class_name
from vision_event_block.events.adjustments import Adjustment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vision_event_block.convert.origins import FloatArray
    from vision_event_block.convert.placement import PictureFrame, Placement
    from vision_event_block.convert.predictions import Instances

UNKNOWN_CONFIDENCE: Final = 0.0
#: A thousandth of a pixel and a millionth of certainty are finer than any model's output.
PIXEL_DECIMALS: Final = 3
CONFIDENCE_DECIMALS: Final = 6

#: Up to this many boxes are done before numpy has made its first array.
FEW: Final = 16
#: A prediction with one of these is more than boxes, or is placed elsewhere.
_SPECIAL: Final = frozenset(("keypoints_xy", "polygon", "rle_mask", SCALE))
#: From left, top, right and bottom to centre, width and height.
_CENTRE_AND_SIZE: Final = np.array(
    [[0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5], [-1, 0, 1, 0], [0, -1, 0, 1]]
)


def boxes(
    instances: Instances, placement: Placement
) -> tuple[list[dict[str, Any]], list[Adjustment]]:
    """A box for each detection, and what had to be changed in their confidence."""
    if not len(instances):
        return [], []
    corners = placement.of(instances.xyxy.reshape(-1, 2, 2)).reshape(-1, 4)
    centre_and_size = _CENTRE_AND_SIZE.dot(corners.T)
    np.abs(centre_and_size[2:], out=centre_and_size[2:])
    columns = centre_and_size.round(PIXEL_DECIMALS).tolist()
    confidence, adjustments = confidences(instances.confidence)
    return [
        {"class": name, "x": x, "y": y, "width": width, "height": height, "confidence": certainty}
        for name, x, y, width, height, certainty in zip(
            instances.class_names, *columns, confidence, strict=True
        )
    ], adjustments


def few_boxes(prediction: Any, picture: PictureFrame) -> list[dict[str, Any]] | None:
    """The same as `boxes` for the simplest predictions; None for any other.

    Simplest means a few boxes made on this very picture, inside it, with nothing to change. Most
    predictions are like that, and arrays would take several times as long for them.
    """
    found = []
    for name, (left, top, right, bottom), certainty in _few_rows(prediction, picture):
        if type(name) is not str or type(certainty) is not float or not 0 <= certainty <= 1:
            return None
        if not (0 <= left <= picture.width_px and 0 <= right <= picture.width_px):
            return None
        if not (0 <= top <= picture.height_px and 0 <= bottom <= picture.height_px):
            return None
        found.append(
            {
                "class": class_name(name),
                "x": round((left + right) / 2 * 1e3) / 1e3,
                "y": round((top + bottom) / 2 * 1e3) / 1e3,
                "width": round(abs(right - left) * 1e3) / 1e3,
                "height": round(abs(bottom - top) * 1e3) / 1e3,
                "confidence": round(certainty * 1e6) / 1e6,
            }
        )
    return found or None


def _few_rows(prediction: Any, picture: PictureFrame) -> Iterable[tuple[Any, list[float], Any]]:
    """Class, box and confidence of each detection, if they are few and made on this picture."""
    xyxy, data = getattr(prediction, "xyxy", None), getattr(prediction, "data", None)
    if not isinstance(xyxy, np.ndarray) or not isinstance(data, dict):
        return ()
    rows = len(xyxy)
    if not 0 < rows <= FEW or xyxy.shape[1:] != (4,) or xyxy.dtype.char not in "fd":
        return ()
    if prediction.mask is not None or not _SPECIAL.isdisjoint(data):
        return ()
    try:
        names, confidence = data["class_name"].tolist(), prediction.confidence.tolist()
        size = [picture.height_px, picture.width_px]
        is_of_picture = (
            data[PICTURE_ID].tolist() == [picture.picture_id] * rows
            and data[SIZE].tolist() == [size] * rows
        )
    except (AttributeError, KeyError, ValueError):  # missing, or not an array of plain values
        return ()
    if not is_of_picture or len(names) != rows or len(confidence) != rows:
        return ()
    return zip(names, xyxy.tolist(), confidence, strict=True)


def confidences(confidence: FloatArray) -> tuple[list[float], list[Adjustment]]:
    """Numbers from 0 to 1, and what had to be changed for them."""
    # Both are NaN if any value is.
    if (
        len(confidence)
        and np.minimum.reduce(confidence) >= 0
        and np.maximum.reduce(confidence) <= 1
    ):
        return confidence.round(CONFIDENCE_DECIMALS).tolist(), []
    adjustments = []
    unknown = ~np.isfinite(confidence)
    if unknown.any():
        adjustments.append(
            Adjustment(
                "confidence",
                f"{int(unknown.sum())} sent as {UNKNOWN_CONFIDENCE}",
                "the prediction has none",
            )
        )
    outside = ~unknown & ((confidence < 0) | (confidence > 1))
    if outside.any():
        adjustments.append(
            Adjustment("confidence", f"{int(outside.sum())} clamped", "must be from 0 to 1")
        )
    certain = np.clip(np.where(unknown, UNKNOWN_CONFIDENCE, confidence), 0.0, 1.0)
    return np.round(certain, CONFIDENCE_DECIMALS).tolist(), adjustments

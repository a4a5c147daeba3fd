"""The outlines of detections, from whichever form their segments came in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from pycocotools import mask as coco

from vision_event_block.events import limits
from vision_event_block.events.polygons import ring_from_mask
from vision_event_block.events.predictions import on_earth

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from vision_event_block.events.predictions import FloatArray, Instances


def outlines(instances: Instances) -> list[FloatArray | None]:
    """For each detection one closed ring (k, 2) that keeps its area; None if that is empty.

    A polygon that comes with a detection is what an earlier step made of the mask, so it goes
    before the mask.
    """
    given = _given_rings(instances.polygons, len(instances))
    return [
        _traced_ring(instances, row) if ring is None else ring for row, ring in enumerate(given)
    ]


def _traced_ring(instances: Instances, row: int) -> FloatArray | None:
    ring: npt.NDArray[Any] | None = None
    if instances.masks is not None:
        ring = _ring_of_mask(instances.masks, row, instances.mask_frame_px)
    if ring is None and instances.rle_masks is not None and instances.rle_masks[row] is not None:
        decoded = decode_rle(instances.rle_masks[row])
        ring = ring_from_mask(_stretched(decoded, instances.mask_frame_px))
    return None if ring is None else ring.astype(np.float64)


def decode_rle(rle: Mapping[str, Any]) -> npt.NDArray[np.uint8]:
    """The mask (h, w) behind a COCO run-length code, compressed or as a list of counts."""
    height, width = (int(side) for side in rle["size"])
    counts = rle["counts"]
    if isinstance(counts, (str, bytes)):
        packed = {"size": [height, width], "counts": counts}
    else:
        runs = {"size": [height, width], "counts": [int(count) for count in counts]}
        packed = coco.frPyObjects(runs, height, width)
    decoded: npt.NDArray[np.uint8] = coco.decode(packed)
    return decoded


def _given_rings(polygons: Any, rows: int) -> list[FloatArray | None]:
    if polygons is None:
        return [None] * rows
    if isinstance(polygons, np.ndarray) and polygons.ndim == 3 and polygons.dtype != object:  # noqa: PLR2004 - (n, k, 2)
        points = polygons.astype(np.float64)
        if points.shape[1] >= limits.MIN_POLYGON_POINTS and on_earth(points).all():
            return list(points)
    return [_given_ring(polygon) for polygon in polygons]


def _given_ring(polygon: Any) -> FloatArray | None:
    if polygon is None:
        return None
    points = np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
    points = points[on_earth(points).all(axis=1)]
    return points if len(points) >= limits.MIN_POLYGON_POINTS else None


def _ring_of_mask(
    masks: Any, row: int, frame_px: tuple[int, int] | None
) -> npt.NDArray[Any] | None:
    if hasattr(masks, "crop") and hasattr(masks, "offsets"):
        # supervision's compact masks hold only the detection's own cut-out.
        left, top = (int(side) for side in masks.offsets[row])
        return ring_from_mask(masks.crop(row), offset=(left, top))
    return ring_from_mask(_stretched(np.asarray(masks[row]), frame_px))


def _stretched(mask: npt.NDArray[Any], frame_px: tuple[int, int] | None) -> npt.NDArray[Any]:
    """The mask over the height and width that it covers, as the host stretches it."""
    if frame_px is None:
        return mask
    width_height = frame_px[::-1]
    stretched: npt.NDArray[Any] = cv2.resize(
        mask.astype(np.uint8), width_height, interpolation=cv2.INTER_NEAREST
    )
    return stretched

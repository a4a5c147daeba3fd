"""Predictions that arrive as tensors, in the form that the host gives without them.

With `ENABLE_TENSOR_DATA_REPRESENTATION` the host hands over what its models give: tensors, perhaps
on another device, along with what holds for the picture (`image_metadata`) and for each box
(`bboxes_metadata`). They are recognised by their shape, so that nothing here imports torch, and
each tensor is copied from the device once, however many rows it has: every transfer waits for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from vision_event_block.convert.origins import FloatArray

#: The host's name for the least confidence that counts, where a model has one.
THRESHOLD_KEY: Final = "classification_confidence_threshold"


@dataclass(frozen=True)
class Detections:
    """What `sv.Detections` would hold: arrays, and in `data` columns, with a row for each box."""

    xyxy: FloatArray  # (n, 4)
    confidence: FloatArray | None  # (n,)
    class_id: npt.NDArray[np.int64]  # (n,)
    tracker_id: list[int] | None
    mask: npt.NDArray[np.bool_] | None  # (n, H, W)
    data: Mapping[str, Sequence[Any]]
    #: Height and width that the masks cover, where they are coarser than the picture.
    mask_frame_px: tuple[int, int] | None = None


def without_tensors(prediction: Any) -> Any:
    """The prediction as the host gives it without tensors; unchanged if it holds none.

    Raises:
        ValueError: a classification of more than one picture.
    """
    if isinstance(prediction, tuple) and len(prediction) == 2:  # noqa: PLR2004 - points and boxes
        key_points, boxes = prediction
        return _detections(boxes, key_points) if _is_native(boxes) else prediction
    if _is_native(prediction):
        return _detections(prediction)
    if hasattr(prediction, "images_metadata"):
        return _classes(prediction)
    if hasattr(prediction, "class_ids") and hasattr(prediction, "image_metadata"):
        return _labels(prediction)
    return prediction


def _is_native(boxes: Any) -> bool:
    return hasattr(boxes, "bboxes_metadata") and hasattr(boxes, "xyxy")


def _detections(boxes: Any, key_points: Any = None) -> Detections:
    xyxy = _numbers(boxes.xyxy).reshape(-1, 4)
    rows = len(xyxy)
    of_picture = boxes.image_metadata or {}
    of_boxes = boxes.bboxes_metadata
    if of_boxes is None or len(of_boxes) != rows:
        of_boxes = [{}] * rows
    class_id = _numbers(boxes.class_id).reshape(-1).astype(np.int64)
    data: dict[str, Any] = {key: [value] * rows for key, value in of_picture.items()}
    data |= _columns(of_boxes)
    data["class_name"] = [
        of_box.get("class", name)  # such as a text that was read; it takes precedence
        for of_box, name in zip(of_boxes, _names(class_id, of_picture), strict=True)
    ]
    if key_points is not None and "keypoints_xy" not in data:
        is_seen = _numbers(key_points.confidence)[..., None] > 0
        data["keypoints_xy"] = np.where(is_seen, _numbers(key_points.xy), np.nan)

    mask: Any = getattr(boxes, "mask", None)
    dense = grid_px = None
    if hasattr(mask, "masks"):  # run lengths
        grid_px = getattr(mask, "mask_size", None) or mask.image_size
        data["rle_mask"] = [{"size": list(grid_px), "counts": counts} for counts in mask.masks]
    elif mask is not None:
        dense = mask.detach().bool().cpu().numpy()
        grid_px = dense.shape[1:]
    frame_px = _mask_frame(boxes, grid_px)
    if frame_px is not None and grid_px is not None:
        # Such boxes are on the masks' grid.
        height, width = np.divide(frame_px, grid_px)
        xyxy = xyxy * [width, height, width, height]
    trackers = [of_box.get("tracker_id") for of_box in of_boxes]
    return Detections(
        xyxy=xyxy,
        confidence=None if boxes.confidence is None else _numbers(boxes.confidence).reshape(-1),
        class_id=class_id,
        tracker_id=None if None in trackers or not trackers else [int(one) for one in trackers],
        mask=dense,
        data=data,
        mask_frame_px=frame_px,
    )


def _classes(prediction: Any) -> dict[str, Any]:
    """The score of each class that a model chooses among, for one picture."""
    scores = _numbers(prediction.confidence)
    if scores.ndim > 1 and len(scores) != 1:
        raise ValueError(f"expected the classes of one picture, found {len(scores)}")
    scores = scores.reshape(-1)
    of_picture = (prediction.images_metadata or [{}])[0]
    known = of_picture.get("class_names") or {}
    # Compared in the tensor's own precision: 0.9 is not less than 0.9.
    counts = scores >= np.float32(of_picture.get(THRESHOLD_KEY) or 0)
    return {
        "predictions": [
            {"class": name, "confidence": score}
            for index, (name, score) in enumerate(
                zip(_names(range(len(scores)), of_picture), scores.tolist(), strict=True)
            )
            # The host fills gaps between class ids with zeros.
            if counts[index] and (score or index in known)
        ]
    }


def _labels(prediction: Any) -> dict[str, Any]:
    """The classes that a model found in one picture, with their scores."""
    scores = dict(enumerate(_numbers(prediction.confidence).reshape(-1).tolist()))
    found = _numbers(prediction.class_ids).reshape(-1).astype(np.int64).tolist()
    names = _names(found, prediction.image_metadata or {})
    return {
        "predictions": {name: scores.get(i) for i, name in zip(found, names, strict=True)},
        "predicted_classes": names,
    }


def _numbers(tensor: Any) -> FloatArray:
    """The tensor's numbers, copied from its device. Numpy has fewer types than torch."""
    numbers: FloatArray = tensor.detach().cpu().double().numpy()
    return numbers


def _names(class_ids: Any, of_picture: Mapping[str, Any]) -> list[Any]:
    known = of_picture.get("class_names") or {}
    return [known.get(int(class_id), f"class_{class_id}") for class_id in class_ids]


def _columns(of_boxes: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """What each box holds, turned from rows into columns."""
    keys = dict.fromkeys(key for of_box in of_boxes for key in of_box)
    return {
        key: [of_box.get(key, () if key.startswith("keypoints_") else None) for of_box in of_boxes]
        for key in keys
    }


def _mask_frame(boxes: Any, grid_px: Sequence[int] | None) -> tuple[int, int] | None:
    """What the masks cover, unless each of their pixels is simply one of the picture's."""
    frame_px = (
        getattr(boxes, "mask_frame_size", None)
        or getattr(boxes, "image_size", None)
        or getattr(getattr(boxes, "mask", None), "image_size", None)
    )
    if grid_px is None or frame_px is None or not all((*grid_px, *frame_px)):
        return None
    height, width = (int(side) for side in frame_px)
    return None if (height, width) == tuple(grid_px) else (height, width)

"""Predictions as the host hands them over, read into the one form that the converters take.

The host's types are recognised by their shape, so that nothing here imports the host.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vision_event_block.contract import limits
from vision_event_block.contract.text import clean_text
from vision_event_block.convert.origins import (
    FloatArray,
    Origin,
    Origins,
    column,
    float_of,
    plain_texts,
)
from vision_event_block.convert.tensors import Detections, without_tensors
from vision_event_block.events.adjustments import Adjustment

#: The class of a detection that has neither a name nor an id.
UNKNOWN_CLASS = "unknown"
#: For all detections together, each counted with as many as the one with the most.
MAX_KEY_POINT_SLOTS = 2_000_000
#: Placeholder slots after a detection's real key points carry this class name.
PADDING_CLASS = ""


@dataclass(frozen=True)
class KeyPoints:
    """Key points of n detections in k slots; `real` tells them from padding and NaN."""

    xy: FloatArray  # (n, k, 2)
    ids: npt.NDArray[np.int64]  # (n, k)
    real: npt.NDArray[np.bool_]  # (n, k)
    confidence: FloatArray | None = None  # (n, k)


@dataclass(frozen=True)
class Instances:
    """Detections of one picture, a row each."""

    xyxy: FloatArray  # (n, 4)
    class_names: list[str]
    confidence: FloatArray  # (n,), NaN where the prediction has none
    #: The least x and y of all boxes, and the greatest; NaN where a box has it.
    bounds_px: tuple[float, float, float, float]
    #: Of all detections of the prediction, of which these may be a selection.
    origins: Origins
    selection: npt.NDArray[np.intp] | None = None
    key_points: KeyPoints | None = None
    #: Outlines given as such, None for a row without one.
    polygons: Sequence[Any] | None = None
    #: (n, H, W) array of booleans, or supervision's compact masks.
    masks: Any = None
    #: COCO run-length masks: {"size": [h, w], "counts": ...}.
    rle_masks: Sequence[Any] | None = None
    #: Height and width that masks cover, where they are coarser than the picture.
    mask_frame_px: tuple[int, int] | None = None
    #: One per row, if a tracker has numbered them.
    tracker_ids: Sequence[int] | None = None

    def __len__(self) -> int:
        return len(self.class_names)

    def origin(self, row: int) -> Origin:
        return self.origins.of(row if self.selection is None else int(self.selection[row]))

    @property
    def has_outlines(self) -> bool:
        """Whether these are segments of a picture and not just boxes."""
        return not (self.polygons is None and self.masks is None and self.rle_masks is None)


@dataclass(frozen=True)
class Labels:
    """Classes of a whole picture."""

    class_names: list[str]
    confidence: FloatArray  # NaN where the prediction has none


def read_prediction(prediction: Any) -> tuple[Instances | Labels | None, list[Adjustment]]:
    """The prediction in our form; None if there is none or, with the reason, if it is unknown."""
    if prediction is None:
        return None, []
    prediction = without_tensors(prediction)
    if hasattr(prediction, "xyxy") and hasattr(prediction, "data"):
        return read_detections(prediction), []
    if isinstance(prediction, Mapping):
        return read_classification(prediction), []
    return None, [
        Adjustment(
            "predictions",
            f"a {type(prediction).__name__} left out",
            "predictions are detections or a classification",
        )
    ]


def read_detections(detections: Any) -> Instances:
    """Instances from `sv.Detections`, whatever core block or model made them."""
    data: Mapping[str, Any] = detections.data
    xyxy = np.asarray(detections.xyxy, dtype=np.float64).reshape(-1, 4)
    rows = len(xyxy)
    return Instances(
        xyxy=xyxy,
        class_names=_class_names(data.get("class_name"), detections.class_id, rows),
        confidence=_floats(detections.confidence, rows),
        bounds_px=_bounds(xyxy),
        origins=Origins(data, rows, is_of_tensors=isinstance(detections, Detections)),
        key_points=_key_points(data, rows) if rows else None,
        polygons=column(data, "polygon", rows),
        masks=detections.mask,
        rle_masks=column(data, "rle_mask", rows),
        mask_frame_px=getattr(detections, "mask_frame_px", None),
        tracker_ids=column({"": getattr(detections, "tracker_id", None)}, "", rows),
    )


def read_classification(prediction: Mapping[str, Any]) -> Labels:
    """Labels from a classification.

    Of several classes the best comes first; of several labels only the predicted ones count.
    """
    entries = prediction.get("predictions")
    predicted = prediction.get("predicted_classes")
    if isinstance(predicted, Sequence) and not isinstance(predicted, str):
        scores = _scores(entries)
        names = list(dict.fromkeys(class_name(name) for name in predicted))
        return Labels(names, _floats([scores.get(name) for name in names], len(names)))
    if isinstance(entries, Mapping):
        scores = _scores(entries)
        return Labels(list(scores), _floats(list(scores.values()), len(scores)))
    names, values = [], []
    for entry in entries if isinstance(entries, Sequence) else ():
        if isinstance(entry, Mapping):
            names.append(class_name(entry.get("class", entry.get("class_name"))))
            values.append(entry.get("confidence"))
    if not names and prediction.get("top"):
        top = prediction["top"]
        names = [class_name(name) for name in (top if isinstance(top, list) else [top])]
        values = [prediction.get("confidence")] * len(names)
    confidence = _floats(values, len(names))
    best_first = np.argsort(-np.nan_to_num(confidence, nan=-1.0), kind="stable")
    return Labels([names[i] for i in best_first], confidence[best_first])


def on_earth(coordinates: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Which coordinates are numbers that a picture could hold."""
    return np.asarray(np.abs(coordinates) <= limits.MAX_COORDINATE_PX)  # false for NaN, too


def _scores(entries: Any) -> dict[str, Any]:
    """Confidence by class name, from `{name: {"confidence": c}}`, `{name: c}` or a list."""
    if isinstance(entries, Mapping):
        return {
            class_name(name): entry.get("confidence") if isinstance(entry, Mapping) else entry
            for name, entry in entries.items()
        }
    return {
        class_name(entry.get("class", entry.get("class_name"))): entry.get("confidence")
        for entry in (entries if isinstance(entries, Sequence) else ())
        if isinstance(entry, Mapping)
    }


def class_name(value: Any) -> str:
    """The class name that the API gets, which may not be empty."""
    return UNKNOWN_CLASS if value is None or value == "" else clean_text(value)


def _class_names(names: Any, class_ids: Any, rows: int) -> list[str]:
    if names is not None and len(names) == rows:
        plain = plain_texts(names)
        if plain is None:
            return [class_name(name) for name in names]
        clean = {name: class_name(name) for name in set(plain)}
        return [clean[name] for name in plain]
    if class_ids is not None and len(class_ids) == rows:
        return [f"class_{int(class_id)}" for class_id in class_ids]
    return [UNKNOWN_CLASS] * rows


def _floats(values: Any, rows: int) -> FloatArray:
    """One float per row; NaN where there is no number."""
    if values is None or len(values) != rows:
        return np.full(rows, np.nan)
    array = np.asarray(values)
    if array.dtype.kind in "biuf":
        return array.astype(np.float64).reshape(rows)
    return np.array([float_of(value) for value in values], dtype=np.float64)


def _bounds(xyxy: FloatArray) -> tuple[float, float, float, float]:
    if not len(xyxy):
        return (0.0, 0.0, 0.0, 0.0)
    x_and_y = xyxy.reshape(-1, 2).T.copy()  # rows are fast, columns are not
    least, greatest = np.minimum.reduce(x_and_y, axis=1), np.maximum.reduce(x_and_y, axis=1)
    return (*least.tolist(), *greatest.tolist())


def _key_points(data: Mapping[str, Any], rows: int) -> KeyPoints | None:
    points = column(data, "keypoints_xy", rows)
    if points is None:
        return None
    slots = max(len(row) for row in points)
    if rows * slots > MAX_KEY_POINT_SLOTS:
        raise ValueError(f"{slots} key points of one of {rows} detections are not a skeleton")
    xy = _padded(points, (rows, slots, 2), np.nan).astype(np.float64)
    real = np.asarray(on_earth(xy).all(axis=2))
    names = column(data, "keypoints_class_name", rows)
    if names is not None:
        real &= _padded(names, (rows, slots), PADDING_CLASS, dtype=object) != PADDING_CLASS
    ids = column(data, "keypoints_class_id", rows)
    return KeyPoints(
        xy=xy,
        ids=(
            np.broadcast_to(np.arange(slots), (rows, slots))
            if ids is None
            else np.nan_to_num(_padded(ids, (rows, slots), 0).astype(np.float64)).astype(np.int64)
        ),
        real=real,
        confidence=_point_confidence(data, rows, slots),
    )


def _point_confidence(data: Mapping[str, Any], rows: int, slots: int) -> FloatArray | None:
    values = column(data, "keypoints_confidence", rows)
    # If it does not match the points, it says nothing about them.
    if values is None or any(len(row) > slots for row in values):
        return None
    return _padded(values, (rows, slots), np.nan).astype(np.float64)


def _padded(
    values: Any, shape: tuple[int, ...], filler: Any, dtype: Any = None
) -> npt.NDArray[Any]:
    """The rows as one array; shorter rows, as some models give, are padded."""
    array = np.asarray(values) if isinstance(values, np.ndarray) else None
    if array is not None and array.dtype != object and array.shape == shape:
        return array
    padded = np.full(shape, filler, dtype=dtype)
    for row, row_values in enumerate(values):
        if len(row_values):
            padded[row, : len(row_values)] = row_values
    return padded

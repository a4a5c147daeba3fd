"""Predictions as the host hands them over, read into the one form that the converters take.

The host's types are recognised by their shape, so that nothing here imports the host.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from vision_event_block.contract import limits
from vision_event_block.contract.text import clean_text
from vision_event_block.convert.tensors import Detections, without_tensors
from vision_event_block.events.adjustments import Adjustment

FloatArray: TypeAlias = npt.NDArray[np.float64]
Pair: TypeAlias = tuple[float, float]

#: The class of a detection that carries neither a name nor an id.
UNKNOWN_CLASS = "unknown"
#: Of all detections together, which have as many each as the one with the most.
MAX_KEY_POINT_SLOTS = 2_000_000
#: Placeholder slots after a detection's real key points carry this class name.
PADDING_CLASS = ""

PICTURE_ID: Final = "parent_id"
SIZE: Final = "image_dimensions"
SCALE: Final = "scaling_relative_to_root_parent"
#: As they follow each other in an origin.
_TEXTS: Final = (PICTURE_ID, "root_parent_id")
#: These, too. Of a size the host writes the height first.
_PLACES: Final = {
    SIZE: True,
    "parent_coordinates": False,
    "parent_dimensions": True,
    "root_parent_coordinates": False,
    "root_parent_dimensions": True,
}


class Origin(NamedTuple):
    """What the host says of a picture that coordinates live on, cut from a parent, from a root.

    Everything is optional because the host leaves it out where it does not matter to itself.
    Sizes are width and height, offsets left and top.
    """

    picture_id: str | None = None
    root_id: str | None = None
    size_px: Pair | None = None
    parent_offset_px: Pair | None = None
    parent_size_px: Pair | None = None
    root_offset_px: Pair | None = None
    root_size_px: Pair | None = None
    #: Pixels of the picture for each pixel of the root.
    scale_to_root: float = 1.0
    is_of_tensors: bool = False


@dataclass(frozen=True)
class Origins:
    """Where the detections of one prediction come from: one picture as a rule, or several.

    Most predictions were made on the very picture that they are attached to, and two columns
    show that. The others are read only if they do not.
    """

    data: Mapping[str, Any]
    count: int
    is_of_tensors: bool

    def are_all(self, picture_id: str, size_px: Pair) -> bool:
        """Whether all have this origin, as it is; if it takes a closer look to say so, no."""
        ids: Any = self.data.get(PICTURE_ID)
        sizes: Any = self.data.get(SIZE)
        return (
            _is_constant(ids, self.count)
            and _is_constant(sizes, self.count)
            and _plain(ids[0]) == picture_id
            and _plain(sizes[0]) == [size_px[1], size_px[0]]
            and SCALE not in self.data
        )

    def is_detection(self, picture_id: str) -> bool:
        """Whether a detection has the name of a picture."""
        ids = _column(self.data, "detection_id", self.count)
        return ids is not None and picture_id in (_plain_texts(ids) or map(str, ids))

    def of(self, row: int) -> Origin:
        """The one of a detection."""
        return self.distinct[0 if self.rows is None else self.rows[row]]

    def spread(self, values: Sequence[Pair]) -> FloatArray:
        """A value of each as a row for each detection, or as one row that is for all."""
        array = np.array(values)
        return array if self.rows is None else array[self.rows]

    @property
    def distinct(self) -> tuple[Origin, ...]:
        """Each origin once."""
        return self._read[0]

    @property
    def rows(self) -> npt.NDArray[np.intp] | None:
        """Which of the distinct ones is each detection's; None if all have the first."""
        return self._read[1]

    @cached_property
    def _read(self) -> tuple[tuple[Origin, ...], npt.NDArray[np.intp] | None]:
        data, count = self.data, self.count
        if not count:
            return (Origin(),), None
        scales = _column(data, SCALE, count)
        scale = 1.0 if scales is None else float_of(scales[0])
        scale = scale if math.isfinite(scale) and scale > 0 else 1.0
        given = {key: _column(data, key, count) for key in (*_TEXTS, *_PLACES)}
        if all(values is None or _is_constant(values, count) for values in given.values()):
            count = 1
        columns = [
            *(
                [None] * count if (texts := given[key]) is None else map(str, texts[:count])
                for key in _TEXTS
            ),
            *(_first_pairs(given[key], count, is_size=_PLACES[key]) for key in _PLACES),
            [scale] * count,
            [self.is_of_tensors] * count,
        ]
        numbers: dict[Origin, int] = {}
        rows = [numbers.setdefault(Origin(*it), len(numbers)) for it in zip(*columns, strict=True)]
        return tuple(numbers), None if len(numbers) == 1 else np.array(rows)


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
    #: The least x and y of all boxes and the greatest; NaN where a box has it.
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
    #: One a row, where a tracker has numbered them.
    tracker_ids: Sequence[int] | None = None

    def __len__(self) -> int:
        return len(self.class_names)

    def origin(self, row: int) -> Origin:
        """Where a detection comes from."""
        return self.origins.of(row if self.selection is None else int(self.selection[row]))

    @property
    def has_outlines(self) -> bool:
        """Whether these are segments of a picture and not only boxes."""
        return not (self.polygons is None and self.masks is None and self.rle_masks is None)


@dataclass(frozen=True)
class Labels:
    """Classes of a whole picture."""

    class_names: list[str]
    confidence: FloatArray  # NaN where the prediction has none


def read_prediction(prediction: Any) -> tuple[Instances | Labels | None, list[Adjustment]]:
    """The prediction in our form; None if there is none, or with the reason if it is unknown."""
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
    """Instances from `sv.Detections`, whichever core block or model made them."""
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
        polygons=_column(data, "polygon", rows),
        masks=detections.mask,
        rle_masks=_column(data, "rle_mask", rows),
        mask_frame_px=getattr(detections, "mask_frame_px", None),
        tracker_ids=_column({"": getattr(detections, "tracker_id", None)}, "", rows),
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
    """Which of the coordinates are numbers that a picture could hold."""
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
    """The name that the API gets, which may not be empty."""
    return UNKNOWN_CLASS if value is None or value == "" else clean_text(value)


def _class_names(names: Any, class_ids: Any, rows: int) -> list[str]:
    if names is not None and len(names) == rows:
        plain = _plain_texts(names)
        if plain is None:
            return [class_name(name) for name in names]
        clean = {name: class_name(name) for name in set(plain)}
        return [clean[name] for name in plain]
    if class_ids is not None and len(class_ids) == rows:
        return [f"class_{int(class_id)}" for class_id in class_ids]
    return [UNKNOWN_CLASS] * rows


def _plain_texts(values: Any) -> list[str] | None:
    """The texts of a column of numpy's, which gives them out slowly one by one; else None."""
    if isinstance(values, np.ndarray) and values.dtype.kind == "U" and values.ndim == 1:
        texts: list[str] = values.tolist()
        return texts
    return None


def _floats(values: Any, rows: int) -> FloatArray:
    """One float a row; NaN where there is no number."""
    if values is None or len(values) != rows:
        return np.full(rows, np.nan)
    array = np.asarray(values)
    if array.dtype.kind in "biuf":
        return array.astype(np.float64).reshape(rows)
    return np.array([float_of(value) for value in values], dtype=np.float64)


def float_of(value: Any) -> float:
    """The number, NaN if it is none."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def _column(data: Mapping[str, Any], key: str, rows: int) -> Sequence[Any] | None:
    values = data.get(key)
    return values if values is not None and len(values) == rows and rows else None


def _bounds(xyxy: FloatArray) -> tuple[float, float, float, float]:
    if not len(xyxy):
        return (0.0, 0.0, 0.0, 0.0)
    x_and_y = xyxy.reshape(-1, 2).T.copy()  # rows are quick, columns not
    least, greatest = np.minimum.reduce(x_and_y, axis=1), np.maximum.reduce(x_and_y, axis=1)
    return (*least.tolist(), *greatest.tolist())


def _is_constant(values: Any, rows: int) -> bool:
    """Whether all rows of a column clearly hold the same; a cheap look, no comparison of each."""
    if values is None or len(values) != rows or not rows:
        return False
    if isinstance(values, np.ndarray):
        raw = values.tobytes()
        return not values.dtype.hasobject and raw == raw[: len(raw) // rows] * rows
    return all(value is values[0] for value in values)


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def _first_pairs(values: Any, count: int, *, is_size: bool) -> Iterable[Pair | None]:
    try:
        pairs = None if values is None else np.asarray(values[:count], dtype=np.float64)
    except (TypeError, ValueError):  # no numbers, or not as many in each row
        pairs = None
    if pairs is None or pairs.shape != (count, 2):
        return [None] * count
    return map(tuple, (pairs[:, ::-1] if is_size else pairs).tolist())


def _key_points(data: Mapping[str, Any], rows: int) -> KeyPoints | None:
    points = _column(data, "keypoints_xy", rows)
    if points is None:
        return None
    slots = max(len(row) for row in points)
    if rows * slots > MAX_KEY_POINT_SLOTS:
        raise ValueError(f"{slots} key points of one of {rows} detections are no skeleton")
    xy = _padded(points, (rows, slots, 2), np.nan).astype(np.float64)
    real = np.asarray(on_earth(xy).all(axis=2))
    names = _column(data, "keypoints_class_name", rows)
    if names is not None:
        real &= _padded(names, (rows, slots), PADDING_CLASS, dtype=object) != PADDING_CLASS
    ids = _column(data, "keypoints_class_id", rows)
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
    values = _column(data, "keypoints_confidence", rows)
    # What does not fit the points says nothing about them.
    if values is None or any(len(row) > slots for row in values):
        return None
    return _padded(values, (rows, slots), np.nan).astype(np.float64)


def _padded(
    values: Any, shape: tuple[int, ...], filler: Any, dtype: Any = None
) -> npt.NDArray[Any]:
    """The rows as one array; rows of different length, as some models give, are filled up."""
    array = np.asarray(values) if isinstance(values, np.ndarray) else None
    if array is not None and array.dtype != object and array.shape == shape:
        return array
    padded = np.full(shape, filler, dtype=dtype)
    for row, row_values in enumerate(values):
        if len(row_values):
            padded[row, : len(row_values)] = row_values
    return padded

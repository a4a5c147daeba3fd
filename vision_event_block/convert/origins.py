"""Where detections come from: what the host says of the picture that their coordinates refer to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FloatArray: TypeAlias = npt.NDArray[np.float64]
Pair: TypeAlias = tuple[float, float]

PICTURE_ID: Final = "parent_id"
SIZE: Final = "image_dimensions"
SCALE: Final = "scaling_relative_to_root_parent"
#: In the order of an origin's fields.
_TEXTS: Final = (PICTURE_ID, "root_parent_id")
#: These as well. The host writes the height of a size first.
_PLACES: Final = {
    SIZE: True,
    "parent_coordinates": False,
    "parent_dimensions": True,
    "root_parent_coordinates": False,
    "root_parent_dimensions": True,
}


class Origin(NamedTuple):
    """What the host says of a picture that coordinates refer to, cut from a parent, from a root.

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
    """Where the detections of one prediction come from: usually one picture, sometimes several.

    Most predictions were made on the very picture that they are attached to, and two columns show
    that. The others are read only if they do not.
    """

    data: Mapping[str, Any]
    count: int
    is_of_tensors: bool

    def are_all(self, picture_id: str, size_px: Pair) -> bool:
        """Whether all have exactly this origin; False if only a closer look could tell."""
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
        """Whether a detection is named like this picture."""
        ids = column(self.data, "detection_id", self.count)
        return ids is not None and picture_id in (plain_texts(ids) or map(str, ids))

    def of(self, row: int) -> Origin:
        return self.distinct[0 if self.rows is None else self.rows[row]]

    def spread(self, values: Sequence[Pair]) -> FloatArray:
        """A value of each origin as a row for each detection, or as one row that stands for all."""
        array = np.array(values)
        return array if self.rows is None else array[self.rows]

    @property
    def distinct(self) -> tuple[Origin, ...]:
        """Each origin once."""
        return self._read[0]

    @property
    def rows(self) -> npt.NDArray[np.intp] | None:
        """Which of the distinct origins each detection has; None if all have the first."""
        return self._read[1]

    @cached_property
    def _read(self) -> tuple[tuple[Origin, ...], npt.NDArray[np.intp] | None]:
        data, count = self.data, self.count
        if not count:
            return (Origin(),), None
        scales = column(data, SCALE, count)
        scale = 1.0 if scales is None else float_of(scales[0])
        scale = scale if math.isfinite(scale) and scale > 0 else 1.0
        given = {key: column(data, key, count) for key in (*_TEXTS, *_PLACES)}
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


def float_of(value: Any) -> float:
    """The number; NaN if it is not one."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def column(data: Mapping[str, Any], key: str, rows: int) -> Sequence[Any] | None:
    """A column with one value for each row; None if there is no such column."""
    values = data.get(key)
    return values if values is not None and len(values) == rows and rows else None


def plain_texts(values: Any) -> list[str] | None:
    """The texts of a numpy column, which is slow to give them out one by one; else None."""
    if isinstance(values, np.ndarray) and values.dtype.kind == "U" and values.ndim == 1:
        texts: list[str] = values.tolist()
        return texts
    return None


def _is_constant(values: Any, rows: int) -> bool:
    """Whether all rows of a column are certainly the same, without comparing value by value."""
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
    except (TypeError, ValueError):  # not numbers, or not the same count in each row
        pairs = None
    if pairs is None or pairs.shape != (count, 2):
        return [None] * count
    return map(tuple, (pairs[:, ::-1] if is_size else pairs).tolist())

"""The facets of one field in one block of events, as arrays and as a stored row."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt
    from typing_extensions import Self

    Array = npt.NDArray[Any]

BLOCK_EVENTS: Final = 4096
#: The stored formats: little-endian on every machine.
_POSITION, _CODE, TIME, _FLOAT = map(np.dtype, ("<u2", "<u4", "<i8", "<f8"))


@dataclass(frozen=True)
class Column:
    """The facets of one field in one block; an event may have several."""

    #: The event's position within the block.
    positions: Array
    #: Indexes into `keys`.
    codes: Array
    keys: Sequence[str]
    #: The arrays below are NaN where a facet has no value, or None if no facet has one.
    numbers: Array | None
    confidences: Array | None
    least_confidences: Array | None

    def with_key(self, is_wanted: Callable[[str], bool]) -> Array:
        """Which of the facets have a wanted key, as a mask."""
        wanted: Array = np.fromiter(map(is_wanted, self.keys), bool, len(self.keys))[self.codes]
        return wanted

    def with_value(self, name: str, compare: Callable[[Any, Any], Any], value: float) -> Array:
        """Which of the facets have a number or a confidence for which the comparison holds."""
        values = getattr(self, name)
        if values is None:
            return np.zeros(len(self.positions), bool)
        found: Array = compare(values, value)
        return found

    def of_events(self, chosen: Array) -> Array:
        """Which events have one of the chosen facets, as a mask by position in the block."""
        mask = np.zeros(BLOCK_EVENTS, bool)
        mask[self.positions[chosen]] = True
        return mask

    @classmethod
    def of(
        cls,
        positions: Array,
        keys: Sequence[str],
        numbers: Sequence[float | None],
        confidences: Sequence[float | None],
        least_confidences: Sequence[float | None],
    ) -> Self:
        """The column of these facets, given one entry per facet in each list."""
        codes: dict[str, int] = {}
        numbered = [codes.setdefault(key, len(codes)) for key in keys]
        return cls(
            positions.astype(_POSITION),
            np.array(numbered, _CODE),
            tuple(codes),
            *(
                None if all(value is None for value in values) else np.array(values, _FLOAT)
                for values in (numbers, confidences, least_confidences)
            ),
        )

    @classmethod
    def of_row(cls, row: Any) -> Self:
        """The column stored in a row of `schema.columns`."""
        return cls(
            np.frombuffer(row.positions, _POSITION),
            np.frombuffer(row.codes, _CODE),
            json.loads(row.keys),
            *(
                None if blob is None else np.frombuffer(blob, _FLOAT)
                for blob in (row.numbers, row.confidences, row.least_confidences)
            ),
        )

    def row(self, block_no: int, field_no: int) -> dict[str, Any]:
        """The row of `schema.columns` that stores this column."""
        values = (self.numbers, self.confidences, self.least_confidences)
        numbers, confidences, least = (
            None if array is None else array.tobytes() for array in values
        )
        return {
            "field_no": field_no,
            "block_no": block_no,
            "keys": json.dumps(self.keys, separators=(",", ":")),
            "positions": self.positions.tobytes(),
            "codes": self.codes.tobytes(),
            "numbers": numbers,
            "confidences": confidences,
            "least_confidences": least,
        }


def joined(columns: Sequence[tuple[int, Column]]) -> Column:
    """Joins several columns into one, given the position where the events of each begin."""
    keys: dict[str, int] = {}
    codes = [
        np.array([keys.setdefault(key, len(keys)) for key in column.keys], _CODE)[column.codes]
        for _, column in columns
    ]

    def floats(name: str) -> Array | None:
        values: list[Array | None] = [getattr(column, name) for _, column in columns]
        if all(value is None for value in values):
            return None
        filled: Array = np.concatenate(
            [
                np.full(len(column.positions), np.nan) if value is None else value
                for (_, column), value in zip(columns, values, strict=True)
            ]
        )
        return filled

    return Column(
        np.concatenate([column.positions + _POSITION.type(offset) for offset, column in columns]),
        np.concatenate(codes),
        tuple(keys),
        *map(floats, ("numbers", "confidences", "least_confidences")),
    )

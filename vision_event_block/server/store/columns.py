"""The facets of one field in one block of events, as arrays, and as they are stored."""

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
#: As they are kept, on whatever machine.
_POSITION, _CODE, TIME, _FLOAT = map(np.dtype, ("<u2", "<u4", "<i8", "<f8"))


@dataclass(frozen=True)
class Column:
    """The facets of one field in one block; an event may have several."""

    #: Of the event within the block.
    positions: Array
    #: Into `keys`.
    codes: Array
    keys: Sequence[str]
    #: Those below are NaN, or None as a whole, where there are none.
    numbers: Array | None
    confidences: Array | None
    least_confidences: Array | None

    def with_key(self, is_wanted: Callable[[str], bool]) -> Array:
        """Which of the facets have a key like that."""
        wanted: Array = np.fromiter(map(is_wanted, self.keys), bool, len(self.keys))[self.codes]
        return wanted

    def with_value(self, name: str, compare: Callable[[Any, Any], Any], value: float) -> Array:
        """Which of the facets have a number, or a confidence, that compares so."""
        values = getattr(self, name)
        if values is None:
            return np.zeros(len(self.positions), bool)
        found: Array = compare(values, value)
        return found

    def of_events(self, chosen: Array) -> Array:
        """By position in the block: which events have one of the chosen facets."""
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
        """The column of these facets, of each what it has."""
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
        """The column that `row` was made of."""
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
        """As `schema.columns` keeps it."""
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
    """One column of several, given where the events of each begin."""
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

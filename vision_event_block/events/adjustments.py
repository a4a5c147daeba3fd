"""Changes that an event needs before the API accepts it. None is made without a record of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Adjustment:
    """One change: which field, what was done to it, and why."""

    #: The field's name as the API or the block's form spells it: `customMetadata`.
    field: str
    #: What was done, with the figures of this event: "cut to the 1000 most confident of 1312".
    what: str
    #: The rule behind it, the same for every event: "the API takes at most 1000".
    why: str

    @property
    def kind(self) -> tuple[str, str]:
        """What similar adjustments of different events share; the log counts by it."""
        return (self.field, self.why)

    def __str__(self) -> str:
        return f"{self.field}: {self.what} ({self.why})"


#: How many adjustments one message names before it only counts the rest.
NAMED_IN_MESSAGE = 6


def sentence(adjustments: Iterable[Adjustment]) -> str:
    """One line that names the adjustments, empty if there are none."""
    named = [str(adjustment) for adjustment in dict.fromkeys(adjustments)]
    if not named:
        return ""
    rest = len(named) - NAMED_IN_MESSAGE
    more = f"; and {rest} more" if rest > 0 else ""
    return f"Adjusted: {'; '.join(named[:NAMED_IN_MESSAGE])}{more}."

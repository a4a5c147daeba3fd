"""The colour of each class, the same on every picture and chart of a use case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Colours of Okabe and Ito, which people with any colour vision can tell apart, as classes
#: `c0` to `c6` of the style sheet.
HUES: Final = 7
#: After these, the same colours with dashed strokes.
SLOTS: Final = 2 * HUES


def slots_of(classes: Iterable[str]) -> dict[str, int]:
    """A slot for each class; classes share slots only if there are more classes than slots.

    The preferred slot comes from a hash of the name, so a new class rarely moves the others.
    Dashed slots are used only once all colours are taken.

    >>> slots_of(["scratch", "dent"])
    {'dent': 5, 'scratch': 6}
    """
    slots: dict[str, int] = {}
    taken: set[int] = set()
    for name in sorted(set(classes)):
        if len(taken) == SLOTS:
            taken = set()
        wanted = slot_of(name)
        round_ = HUES * (len(taken) // HUES)
        slot = next(
            free for step in range(HUES) if (free := round_ + (wanted + step) % HUES) not in taken
        )
        taken.add(slot)
        slots[name] = slot
    return slots


def slot_of(name: str, slots: Mapping[str, int] | None = None) -> int:
    """The slot of a class, even if it was not known when the slots were assigned."""
    if slots and name in slots:
        return slots[name]
    return crc32(name.encode("utf-8", "replace")) % HUES


def colour_classes(slot: int) -> str:
    """The classes of the style sheet for a slot.

    >>> colour_classes(9)
    'c2 dashed'
    """
    return f"c{slot % HUES}" + (" dashed" if slot >= HUES else "")

"""Where to place the name of a class next to its shape, so that names do not hide each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from vision_event_block.server.page.formatting import shortened

#: In units of the font's size.
HEIGHT_EM: Final = 1.5
#: In DejaVu Sans Bold, the widest of the default system fonts.
_CHAR_EM: Final = 0.72
_PADDING_EM: Final = 0.7
_MAX_CHARS: Final = 40
_NARROW: Final = frozenset("ijlIt.,:;'|!()[]f r-")
_BROAD: Final = frozenset("#&+<=>^~")
_WIDE: Final = frozenset("mwMWœŒ%@—")
#: Greek and Cyrillic letters are broad; later scripts in Unicode, and symbols, are wide.
_FIRST_GREEK: Final = "\u0370"
_LAST_CYRILLIC: Final = "\u052f"
#: With more labels than this, every place counts as free.
_MAX_CROWD: Final = 200

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Label:
    """A plate with a class's name, on a point or below it.

    Its size is in units of the font's size, so that it can stay the same when a reader zooms in;
    `width_em` is approximately what the text takes.
    """

    text: str
    x: float
    y: float
    width_em: float
    is_below: bool


@dataclass
class LabelPlacer:
    width: float
    height: float
    font_size: float
    _taken: list[Box] = field(default_factory=list)

    def on(self, box: Box, text: str) -> Label:
        """Above a box; if that is taken or outside the picture, below it or inside it."""
        text = shortened(text, _MAX_CHARS)
        left, top, lower = box[0], max(box[1], 0.0), box[1] + box[3]
        width_em = width_of(text)
        width, height = width_em * self.font_size, HEIGHT_EM * self.font_size
        x = max(0.0, min(left, self.width - width))
        places = [(top, False), (lower, True), (top, True)]
        fitting = [
            place
            for place in places
            if self._top(place) >= 0 and self._top(place) + height <= self.height
        ]
        free = (place for place in fitting if self._is_free((x, self._top(place), width, height)))
        y, is_below = next(free, (fitting or [(top, True)])[0])
        self._taken.append((x, self._top((y, is_below)), width, height))
        return Label(text, round(x, 2), round(y, 2), width_em, is_below)

    def in_corner(self, text: str) -> Label:
        """The next label for the whole picture, from the upper left corner down."""
        text = shortened(text, _MAX_CHARS)
        row = (HEIGHT_EM + 0.2) * self.font_size
        y = len(self._taken) * row
        self._taken.append((0.0, y, width_of(text) * self.font_size, row))
        return Label(text, 0.0, round(y, 2), width_of(text), is_below=True)

    def _top(self, place: tuple[float, bool]) -> float:
        y, is_below = place
        return y if is_below else y - HEIGHT_EM * self.font_size

    def _is_free(self, box: Box) -> bool:
        if len(self._taken) > _MAX_CROWD:
            return True
        x, y, width, height = box
        return not any(
            x < left + other_width
            and left < x + width
            and y < top + other_height
            and top < y + height
            for left, top, other_width, other_height in self._taken
        )


def width_of(text: str) -> float:
    """The width of a plate that fits the text; narrower fonts leave more room around it."""
    return round(sum(map(_char_em, text)) + _PADDING_EM, 2)


def _char_em(char: str) -> float:
    if char in _NARROW:
        return 0.45
    if char in _WIDE or char > _LAST_CYRILLIC:
        return 1.1
    return 0.87 if char.isupper() or char in _BROAD or char >= _FIRST_GREEK else _CHAR_EM

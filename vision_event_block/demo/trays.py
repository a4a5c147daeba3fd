"""A tray of caps that empties and is filled up again, seen from above."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from vision_event_block.demo.canvas import HEIGHT_PX, WIDTH_PX, Canvas, Pixels, surface
from vision_event_block.demo.recordings import Shot

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How many caps lie in the tray, frame by frame.
COUNTS: Final = (
    15, 14, 12, 12, 9, 8, 5, 4, 1, 15, 13, 12, 10, 7, 7, 6, 3, 0, 15, 15, 12, 11, 9, 6,
)  # fmt: skip
CAP_SIDE_PX: Final = 84
_EVERY_S: Final = 870.0
_COLUMNS, _ROWS = 5, 3
_PITCH_PX: Final = 142
_RECESS_PX: Final = 66
_TRAY: Final = (132, 96, 58)
_RECESS: Final = (70, 48, 26)


def shots() -> Iterator[Shot]:
    """A look at the tray every quarter of an hour."""
    random = np.random.default_rng(15)
    bench = surface((120, 138, 150), seed=3, grain=(60, 1.5), roughness=7)
    cap_here = cap()
    places = [(column, row) for row in range(_ROWS) for column in range(_COLUMNS)]
    for index, count in enumerate(COUNTS):
        canvas = Canvas(bench.copy())
        left, top = (int(shift) for shift in random.integers((186, 122), (202, 134)))
        centres = [(left + _PITCH_PX * column, top + _PITCH_PX * row) for column, row in places]
        _tray(canvas, centres)
        taken = random.permutation(len(centres))[:count]
        for place in sorted(taken):
            x, y = centres[place] + random.integers(-4, 5, 2)
            half = CAP_SIDE_PX // 2
            canvas.pixels[y - half : y + half, x - half : x + half] = cap_here
        yield Shot(canvas.pixels, index * _EVERY_S + random.uniform(0, 200))


def cap() -> Pixels:
    """One cap in its recess, to look for."""
    canvas = Canvas(np.full((CAP_SIDE_PX, CAP_SIDE_PX, 3), _RECESS, np.uint8))
    middle = CAP_SIDE_PX / 2 - 0.5
    for angle in np.radians(np.arange(0, 360, 12)):  # its ridges
        where = (middle + 36 * float(np.cos(angle)), middle + 36 * float(np.sin(angle)))
        canvas.circle(where, 4, (52, 150, 236))
    canvas.circle((middle, middle), 36, (40, 132, 222))
    canvas.circle((middle, middle), 29, (70, 168, 248))
    canvas.circle((middle, middle), 29, (34, 116, 200), 2)
    for start_deg, colour in ((200, (170, 218, 255)), (20, (44, 128, 212))):
        angles = np.radians(np.arange(start_deg, start_deg + 70, 5))
        arc = [(middle + 22 * float(np.cos(a)), middle + 22 * float(np.sin(a))) for a in angles]
        canvas.line(arc, colour, 4)
    return canvas.pixels


def _tray(canvas: Canvas, centres: list[tuple[int, int]]) -> None:
    (left, top), (right, bottom) = centres[0], centres[-1]
    margin = 94
    outline = [
        (left - margin, top - margin),
        (right + margin, top - margin),
        (right + margin, bottom + margin),
        (left - margin, bottom + margin),
    ]
    canvas.shadow([(x + 10, y + 12) for x, y in outline], blur_px=12, strength=0.55)
    canvas.polygon(outline, (168, 128, 84))
    inner = [(x + (12 if x < WIDTH_PX / 2 else -12), y + (12 if y < HEIGHT_PX / 2 else -12))
             for x, y in outline]  # fmt: skip
    canvas.polygon(inner, _TRAY)
    for x, y in centres:
        canvas.circle((x + 2, y + 3), _RECESS_PX, (160, 122, 80))
        canvas.circle((x, y), _RECESS_PX, _RECESS)

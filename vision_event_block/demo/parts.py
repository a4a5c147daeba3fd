"""Housings that pass a camera on a conveyor, each with a code on its label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from vision_event_block.demo.canvas import HEIGHT_PX, WIDTH_PX, Canvas, Pixels, box_of, surface
from vision_event_block.demo.recordings import Shot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PARTS: Final = 36
#: Parts, counted from 0, whose label came off or got oil on it.
TORN: Final = frozenset({6, 19, 20, 33})
SMEARED: Final = frozenset({11, 21, 28})
#: Where a part is on the frames that show it, from the middle of the picture.
WAY_PX: Final = (-420, -300, -180, -60, 60, 180, 300, 420)
FRAME_S: Final = 0.25
#: When the belt is empty again, after the last part: long enough for it to have left.
_AFTERWARDS_S: Final = (1.0, 2.0, 3.0)
#: Less sure by so much for each pixel from the middle, where the light is.
_DOUBT_PER_PX: Final = 0.0006

_RAIL_PX: Final = 46
_MODULE_PX: Final = 6
_LABEL: Final = (300, 185, 660, 355)  # left, top, right, bottom
_BODY: Final = (232, 112, 728, 428)
_SCREWS: Final = ((266, 146), (694, 146), (266, 394), (694, 394))


def code_of(index: int) -> str:
    """What the label of a part says."""
    return f"PART-{index + 1041:04}"


def is_readable(index: int) -> bool:
    """Whether the code of a part can be read."""
    return index not in TORN | SMEARED


def shots() -> Iterator[Shot]:
    """Each part on its way through the picture, and an empty belt at the end."""
    random = np.random.default_rng(41)
    belt, housing = _belt(), _housing()
    rail = surface((176, 172, 166), seed=9, size_px=(WIDTH_PX, _RAIL_PX), grain=(24, 0.5))
    at_s = 0.0
    for index in range(PARTS):
        angle_deg, shift_px = random.uniform(-4, 4), random.uniform((-34, -14), (34, 14))
        turn = cv2.getRotationMatrix2D((WIDTH_PX / 2, HEIGHT_PX / 2), angle_deg, 1.0)
        turn[:, 2] += shift_px
        part, canvas = Canvas(housing.copy()), Canvas(belt.copy())
        _label(part, index)
        outline = _put(canvas, part.pixels, turn)
        for way_px in WAY_PX:
            # What leaves on one side is belt, and comes in on the other as belt.
            frame = Canvas(np.roll(canvas.pixels, way_px, axis=1))
            gone = slice(None, way_px) if way_px > 0 else slice(way_px, None)
            frame.pixels[:, gone] = belt[:, gone]
            _rails(frame, rail)
            box = box_of(outline + np.array((way_px, 0)))
            off_px = abs(box["x"] - WIDTH_PX / 2)
            sure = round(0.96 - _DOUBT_PER_PX * off_px, 3)
            found = {"class": "part", "class_id": 0, "confidence": sure, **box}
            yield Shot(frame.pixels, at_s, [found])
            at_s += FRAME_S
    canvas = Canvas(belt.copy())
    _rails(canvas, rail)
    for pause_s in _AFTERWARDS_S:
        yield Shot(canvas.pixels, at_s + pause_s)


def _belt() -> Pixels:
    pixels = surface((62, 60, 58), seed=7, grain=(1.2, 0.8), roughness=5)
    # The belt goes round: its surface has no light of its own that would travel with it.
    canvas = Canvas(pixels)
    for x in range(0, WIDTH_PX, 60):
        canvas.line([(x, 0), (x, HEIGHT_PX)], (50, 48, 46), 2)
        canvas.line([(x + 2, 0), (x + 2, HEIGHT_PX)], (74, 72, 70), 1)
    return canvas.pixels


def _rails(canvas: Canvas, rail: Pixels) -> None:
    for top, bottom in ((0, _RAIL_PX), (HEIGHT_PX - _RAIL_PX, HEIGHT_PX)):
        canvas.pixels[top:bottom] = rail
        inner = bottom if top == 0 else top
        canvas.line([(0, inner), (WIDTH_PX, inner)], (40, 38, 36), 5)
        for x in range(40, WIDTH_PX, 176):
            _screw(canvas, (x, (top + bottom) / 2), 9)


def _housing() -> Pixels:
    left, top, right, bottom = _BODY
    canvas = Canvas(surface((168, 160, 150), seed=13, grain=(1.6, 1.6), roughness=3))
    corners = _rounded(_BODY, 26)
    canvas.line([*corners, corners[0]], (206, 200, 192), 8)
    canvas.line([*_rounded((left + 14, top + 14, right - 14, bottom - 14), 20)], (138, 130, 120), 3)
    for centre in _SCREWS:
        _screw(canvas, centre, 15)
    for x in range(left + 90, right - 80, 26):  # cooling fins
        canvas.line([(x, top + 24), (x, top + 54)], (116, 110, 102), 9)
        canvas.line([(x, bottom - 54), (x, bottom - 24)], (116, 110, 102), 9)
    return canvas.pixels


def _label(canvas: Canvas, index: int) -> None:
    left, top, right, bottom = _LABEL
    canvas.polygon(_rounded(_LABEL, 8), (246, 247, 247))
    modules = cv2.QRCodeEncoder.create().encode(code_of(index))
    code = np.kron(modules, np.ones((_MODULE_PX, _MODULE_PX), np.uint8))
    side = len(code)
    x, y = left + 10, (top + bottom - side) // 2
    # Printed in dark grey on the label's white, not in black on white.
    canvas.pixels[y : y + side, x : x + side] = np.where(code[:, :, None] > 0, 246, 34)
    words_x = x + side + 12
    canvas.text(code_of(index), (words_x, top + 46), (40, 40, 40), 19)
    canvas.text("DC DRIVE 24 V", (words_x, top + 82), (90, 90, 90), 12)
    canvas.text("REV C", (words_x, top + 108), (90, 90, 90), 12)
    canvas.rectangle((words_x, bottom - 40), (right - 16, bottom - 24), (40, 110, 230))
    if index in TORN:
        edge = [(x + 60, top - 1), (x + 78, top + 40), (x + 52, top + 74), (x + 96, bottom - 50),
                (x + 70, bottom + 1)]  # fmt: skip
        # What stays of the glue is a little lighter than the housing.
        canvas.polygon([(left - 1, top - 1), *edge, (left - 1, bottom + 1)], (178, 172, 164))
        canvas.line(edge, (225, 228, 230), 5)
    if index in SMEARED:
        _oil(canvas, (x + side / 2, (top + bottom) / 2))


def _oil(canvas: Canvas, centre: tuple[float, float]) -> None:
    """A smear across the code, thinner at its ends."""
    x, y = centre
    smear = Canvas(np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8))
    for offset, reach, width_px in ((-34, 70, 22), (-8, 150, 38), (24, 110, 30), (44, 60, 14)):
        path = [(x - 0.7 * reach, y + offset - 9), (x, y + offset + 7), (x + reach, y + offset - 4)]
        smear.line(path, (250, 250, 250), width_px)
    mask = cv2.GaussianBlur(smear.pixels[:, :, 0], (0, 0), 5)
    canvas.paste(surface((40, 56, 66), seed=17, grain=(30, 1.5), roughness=9), mask)


def _screw(canvas: Canvas, centre: tuple[float, float], radius_px: float) -> None:
    x, y = centre
    canvas.circle((x + 2, y + 2), radius_px, (92, 88, 84))
    canvas.circle(centre, radius_px, (150, 146, 142))
    canvas.circle(centre, radius_px * 0.55, (70, 66, 62))


def _put(canvas: Canvas, part: Pixels, turn: np.ndarray) -> np.ndarray:
    """Lays the part on the belt; returns its outline."""
    outline: np.ndarray = np.array([(x, y, 1.0) for x, y in _rounded(_BODY, 26)]) @ turn.T
    canvas.shadow(outline + np.array((12, 16)), blur_px=14, strength=0.6)
    mask = Canvas(np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8))
    mask.polygon(map(tuple, outline), (255, 255, 255))
    size = (WIDTH_PX, HEIGHT_PX)
    canvas.paste(cv2.warpAffine(part, turn, size, flags=cv2.INTER_LINEAR), mask.pixels[:, :, 0])
    return outline


def _rounded(box: tuple[int, int, int, int], radius_px: float) -> Sequence[tuple[float, float]]:
    left, top, right, bottom = box
    angles = np.radians(np.arange(0, 91, 10))
    corners = (
        (right - radius_px, bottom - radius_px, 0.0),
        (left + radius_px, bottom - radius_px, np.pi / 2),
        (left + radius_px, top + radius_px, np.pi),
        (right - radius_px, top + radius_px, 3 * np.pi / 2),
    )
    return [
        (x + radius_px * float(np.cos(turn + angle)), y + radius_px * float(np.sin(turn + angle)))
        for x, y, turn in corners
        for angle in angles
    ]

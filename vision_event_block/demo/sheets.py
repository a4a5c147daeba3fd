"""Brushed steel sheets, some of them scratched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vision_event_block.demo.canvas import HEIGHT_PX, WIDTH_PX, Canvas, box_of, surface
from vision_event_block.demo.recordings import Shot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vision_event_block.demo.canvas import Point

#: How many scratches each sheet has.
SCRATCHES: Final = (
    0, 0, 1, 0, 0, 0, 2, 0, 0, 1, 0, 0, 0, 0, 3, 2, 1, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1,
)  # fmt: skip
_EVERY_S: Final = 700.0
_EDGE_PX: Final = 36


def shots() -> Iterator[Shot]:
    random = np.random.default_rng(5)
    # Wider than the picture: each sheet shows another stretch of it.
    steel = surface(
        (196, 190, 184), seed=21, size_px=(WIDTH_PX + 400, HEIGHT_PX), grain=(46, 0.6), roughness=6
    )
    for index, scratches in enumerate(SCRATCHES):
        start = int(random.integers(0, 400))
        canvas = Canvas(steel[:, start : start + WIDTH_PX].copy())
        _reflection(canvas, float(random.uniform(0.2, 0.8)))
        _edges(canvas, float(random.uniform(-5, 5)))
        found = [_scratch(canvas, random, number) for number in range(scratches)]
        yield Shot(
            canvas.pixels,
            index * _EVERY_S + random.uniform(0, 300),
            found,
            serial_number=f"SHEET-{index + 2207}",
        )


def _reflection(canvas: Canvas, middle: float) -> None:
    columns = np.linspace(0, 1, WIDTH_PX, dtype=np.float32)
    light = 1 + 0.22 * np.exp(-(((columns - middle) / 0.16) ** 2)) - 0.06
    canvas.pixels[:] = (canvas.pixels * light[None, :, None]).clip(0, 255).astype(np.uint8)


def _edges(canvas: Canvas, shift_px: float) -> None:
    top, bottom = _EDGE_PX + shift_px, HEIGHT_PX - _EDGE_PX + shift_px
    canvas.rectangle((0, 0), (WIDTH_PX, top), (40, 38, 36))
    canvas.rectangle((0, bottom), (WIDTH_PX, HEIGHT_PX), (40, 38, 36))
    canvas.line([(0, top), (WIDTH_PX, top)], (236, 234, 230), 3)
    canvas.line([(0, bottom), (WIDTH_PX, bottom)], (120, 116, 112), 4)


def _scratch(canvas: Canvas, random: np.random.Generator, number: int) -> dict[str, Any]:
    outline, spine = _outline(random, number)
    canvas.polygon([(x + 1.5, y + 2.5) for x, y in outline], (232, 230, 226))
    canvas.polygon(outline, (92, 88, 86))
    canvas.line(spine, (58, 56, 54), 2)
    return {
        **box_of(outline),
        "confidence": round(float(random.uniform(0.71, 0.97)), 2),
        "class": "scratch",
        "class_id": 0,
        "points": [{"x": round(x, 1), "y": round(y, 1)} for x, y in outline],
    }


def _outline(random: np.random.Generator, number: int) -> tuple[list[Point], list[Point]]:
    """The outline of a scratch and the line through its middle. Each has its third of the sheet."""
    steps = 14
    length_px = random.uniform(150, 250)
    heading = random.uniform(-0.9, 0.9)
    bends = heading + np.cumsum(random.normal(0, 0.13, steps))
    x = 60 + 300 * number + random.uniform(0, 30) + np.cumsum(np.cos(bends)) * length_px / steps
    y = np.cumsum(np.sin(bends)) * length_px / steps
    y += HEIGHT_PX / 2 - y.mean() + random.uniform(-70, 70)
    # Pointed at both ends, and of uneven width.
    half = np.sin(np.linspace(0.12, np.pi - 0.12, steps)) * random.uniform(5, 9)
    half *= random.uniform(0.7, 1.2, steps)
    across_x, across_y = -np.sin(bends) * half, np.cos(bends) * half
    one_side = list(zip((x + across_x).tolist(), (y + across_y).tolist(), strict=True))
    other_side = list(zip((x - across_x).tolist(), (y - across_y).tolist(), strict=True))
    return [*one_side, *reversed(other_side)], list(zip(x.tolist(), y.tolist(), strict=True))

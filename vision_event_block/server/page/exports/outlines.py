"""Outlines and boxes, clipped to their pictures; outlines that are too long to draw are left out.

COCO's tools draw an outline point by point at five times its size, however long it is. One that
reaches far beyond its picture, or crosses it again and again, uses up all memory or crashes the
process. That holds for this server and for the tools that train on the export.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Point = tuple[float, float]
    Ring = list[Point]

#: The longest perimeter. A comb with a tooth in every second row of 1280 x 720 pixels has less.
MAX_RING_PX: Final = 1_000_000
_MIN_POINTS: Final = 3


def clipped(points: Sequence[Sequence[float]], width: int, height: int) -> Ring:
    """The part of a ring that lies on a picture; empty if none does.

    >>> clipped([(5, 5), (25, 5), (25, 8), (5, 8)], 20, 10)
    [(5, 5), (20, 5.0), (20, 8.0), (5, 8)]
    """
    ring = [(x, y) for x, y in points]
    if all(0 <= x <= width and 0 <= y <= height for x, y in ring):
        return ring
    # One edge of the picture after the other (Sutherland and Hodgman).
    for axis, edge, is_upper in ((0, 0, False), (0, width, True), (1, 0, False), (1, height, True)):
        ring = _cut(ring, axis, edge, is_upper=is_upper)
    return ring if len(ring) >= _MIN_POINTS else []


def drawable(points: Sequence[Sequence[float]] | None, width: int, height: int) -> Ring | None:
    """The clipped ring, if tools can draw it; None if there is none, or if it is too long."""
    ring = clipped(points, width, height) if points else []
    return ring if ring and length_px(ring) <= MAX_RING_PX else None


def clipped_box(
    entry: Mapping[str, Any], width: int, height: int
) -> tuple[float, float, float, float] | None:
    """Left, top, width and height of the part of a box that lies on a picture; None if none does.

    >>> clipped_box({"x": 5, "y": 5, "width": 20, "height": 4}, 12, 10)
    (0, 3.0, 12, 4.0)
    """
    across, down = entry["width"] / 2, entry["height"] / 2
    left, right = max(0, entry["x"] - across), min(width, entry["x"] + across)
    top, lower = max(0, entry["y"] - down), min(height, entry["y"] + down)
    if left >= right or top >= lower:
        return None
    return left, top, right - left, lower - top


def length_px(ring: Ring) -> float:
    return sum(
        max(abs(x - before_x), abs(y - before_y))
        for (x, y), (before_x, before_y) in zip(ring, [ring[-1], *ring[:-1]], strict=True)
    )


def _cut(ring: Ring, axis: int, edge: float, *, is_upper: bool) -> Ring:
    """The part of a ring on the inner side of one edge of the picture."""
    kept: Ring = []
    for before, point in zip([*ring[-1:], *ring[:-1]], ring, strict=True):
        was_in, is_in = (
            each[axis] <= edge if is_upper else each[axis] >= edge for each in (before, point)
        )
        if was_in != is_in:
            other = 1 - axis
            share = (edge - before[axis]) / (point[axis] - before[axis])
            crossing = before[other] + share * (point[other] - before[other])
            kept.append((edge, crossing) if axis == 0 else (crossing, edge))
        if is_in:
            kept.append(point)
    return kept

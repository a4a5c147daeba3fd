"""The mask of one detection as one polygon.

The API takes exactly one ring for an instance, but a mask may be in several pieces and have holes.
The outlines of all of them are joined by bridges: the ring crosses to the next outline, goes around
it, and back along the same segment, so a bridge has no width and encloses nothing. Outer outlines
and holes run in opposite directions, so both fill rules, even-odd and nonzero, give the mask back.

Code that *draws* the filled ring in pixels, as `cv2.fillPoly` does, shows a bridge as a line of one
pixel where it crosses from one piece to another. No single ring can avoid that; hence bridges are
short, and a small stray piece with fewer pixels than its bridge would cost is left out.

The work is bounded: it is linear in the mask's bounding box, bridges are looked up among at most
`MAX_SEARCH_CELLS`, and no more than `MAX_OUTLINES` are joined.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Points = NDArray[np.int32]
    Indices = NDArray[np.intp]
    Box = tuple[int, int, int, int]

MIN_POINTS: Final = 3

#: How far the ring may stray from the pixels' outline; the first that keeps the area is taken.
#: Below 1 px, bars of two pixels keep their corners.
TOLERANCES_PX: Final = (0.95, 0.7, 0.5)
#: Pixels that are wrong when the ring is filled again, relative to the mask's, such that the
#: intersection over union is more than 98 %.
MAX_WRONG_SHARE: Final = 0.018
#: Where the bridges alone cost more than that, the points may still cost this much.
LEAST_WRONG_SHARE: Final = 0.006

#: Pieces and holes of at most this many pixels, or this share of the mask, are specks ...
SPECK_AREA_PX: Final = 8
SPECK_SHARE: Final = 0.001
#: ... and are left out, smallest first, as long as they add up to at most this share.
SPECKS_SHARE: Final = 0.005
#: Strays, pieces with fewer pixels than their bridge, are left out up to this share in all.
STRAYS_SHARE: Final = 0.015

#: Of a mask that is mostly noise only the largest outlines are kept, whatever the cost.
MAX_OUTLINES: Final = 2048
#: A larger bounding box is searched for bridges on a coarser grid.
MAX_SEARCH_CELLS: Final = 1 << 12


def ring_from_mask(
    mask: NDArray[np.bool_] | NDArray[np.uint8],
    *,
    offset: tuple[int, int] = (0, 0),
    near: Box | None = None,
) -> Points | None:
    """The ring of shape (k, 2), k >= 3, of x and y in pixels that fills to the mask; None if empty.

    Points are pixel centres, as `cv2.findContours` gives them: a rectangle that fills the columns
    10 to 20 has its corners at 10 and 20. A single pixel is three times the same point.

    Args:
        mask: Array of shape (h, w) in any memory layout; what is not zero is inside.
        offset: x and y of the mask's first pixel in the picture.
        near: Where the mask probably is; it is found sooner if that is right.
    """
    box = mask_box(mask, near=near)
    if box is None:
        return None
    x_min, y_min, x_max, y_max = box
    crop = _zeros_and_ones(mask[y_min:y_max, x_min:x_max])
    ring = _ring(crop)
    # A line or a pixel has fewer points than a polygon needs: points are repeated.
    ring = np.resize(ring, (max(len(ring), MIN_POINTS), 2))
    return ring + np.array([x_min + offset[0], y_min + offset[1]], np.int32)


def mask_box(mask: NDArray[np.bool_] | NDArray[np.uint8], *, near: Box | None = None) -> Box | None:
    """The bounds (x_min, y_min, x_max, y_max) of the mask, maxima excluded; None if it is empty."""
    if mask.strides[0] < mask.strides[1]:  # column after column in memory
        box = mask_box(mask.T, near=near and (near[1], near[0], near[3], near[2]))
        return box and (box[1], box[0], box[3], box[2])
    if near is not None and mask.dtype.itemsize == 1:
        height, width = mask.shape
        left, right = np.clip(near[0::2], 0, width).tolist()
        top, bottom = np.clip(near[1::2], 0, height).tolist()
        part = mask[top:bottom, left:right]
        # Counting all pixels takes a third of the time that finding them takes.
        if cv2.countNonZero(part.view(np.uint8)) == cv2.countNonZero(mask.view(np.uint8)):
            box = mask_box(part)
            return box and (box[0] + left, box[1] + top, box[2] + left, box[3] + top)
    columns = np.flatnonzero(mask.any(axis=0))
    if columns.size == 0:
        return None
    x_min, x_max = int(columns[0]), int(columns[-1]) + 1
    rows = np.flatnonzero(mask[:, x_min:x_max].any(axis=1))
    return x_min, int(rows[0]), x_max, int(rows[-1]) + 1


def _zeros_and_ones(mask: NDArray[np.bool_] | NDArray[np.uint8]) -> NDArray[np.uint8]:
    if mask.dtype == np.bool_:
        mask = mask.view(np.uint8)  # any byte but zero may stand for "true"
    return mask.astype(np.bool_, order="C").view(np.uint8)


def _ring(crop: NDArray[np.uint8]) -> Points:
    found, hierarchy = cv2.findContours(crop, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outlines = [outline.reshape(-1, 2) for outline in found]
    mask_px = cv2.countNonZero(crop)
    if len(outlines) > 1:
        outlines, expendable_px = _without_specks(outlines, hierarchy[0, :, 3], mask_px)
    arcs, expected = outlines, crop
    spare_px = MAX_WRONG_SHARE * mask_px
    if len(outlines) > 1:
        points = np.concatenate(outlines)
        owners = np.repeat(np.arange(len(outlines)), [len(outline) for outline in outlines])
        bridges = _bridges(points, owners, crop.shape)
        bridges = _without_strays(bridges, points, owners, expendable_px, STRAYS_SHARE * mask_px)
        arcs = list(_walk(bridges, points, owners)) or [outlines[int(np.argmax(expendable_px))]]
        expected = crop.copy()
        cv2.polylines(expected, list(points[bridges]), isClosed=False, color=1)
        # Pixels that drawn bridges cost are not available for leaving out points.
        spare_px -= cv2.countNonZero(expected) - mask_px
        spare_px = max(spare_px, LEAST_WRONG_SHARE * mask_px)

    for tolerance_px in (*TOLERANCES_PX, 0.0):
        ring = _simplified(arcs, tolerance_px)
        filled = cv2.fillPoly(np.zeros_like(crop), [ring], 1)
        if cv2.countNonZero(filled ^ expected) <= spare_px:
            break
    return ring


def _without_specks(
    outlines: list[Points], parents: NDArray[np.int32], mask_px: int
) -> tuple[list[Points], NDArray[np.float64]]:
    """The outlines to keep, and how many pixels each is worth: infinity if it must stay."""
    is_hole = parents >= 0
    # Pick's theorem gives the pixels inside; those of the outline itself belong to the piece.
    areas_px = np.array([cv2.contourArea(outline) for outline in outlines]) + 1
    areas_px += np.where(is_hole, -0.5, 0.5) * [len(outline) for outline in outlines]

    # Smallest first, so a hole, being smaller than the piece around it, never outlives it.
    by_area = np.argsort(areas_px, kind="stable")
    ascending_px = areas_px[by_area]
    specks = min(
        np.searchsorted(ascending_px, max(SPECK_AREA_PX, SPECK_SHARE * mask_px), "right"),
        np.searchsorted(np.cumsum(ascending_px), SPECKS_SHARE * mask_px, "right"),
    )
    kept = by_area[max(specks, len(outlines) - MAX_OUTLINES) :]

    # Without its outer outline a hole would become a piece.
    must_stay = is_hole.copy()
    must_stay[parents[kept][is_hole[kept]]] = True
    expendable_px = np.where(must_stay, np.inf, areas_px)
    return [outlines[index] for index in kept], expendable_px[kept]


def _bridges(points: Points, owners: Indices, shape: tuple[int, ...]) -> Indices:
    """The shortest bridges that join all outlines: (n - 1, 2) indices of points.

    A distance transform finds the outline point nearest to each cell. Outlines whose cells touch
    are neighbours, and a minimum spanning tree needs no other pairs.
    """
    stride_px = max(1, int(np.ceil(np.sqrt(shape[0] * shape[1] / MAX_SEARCH_CELLS))))
    columns, rows = points.T // stride_px
    vacant = np.ones((rows.max() + 1, columns.max() + 1), np.uint8)
    vacant[rows, columns] = 0
    _, labels = cv2.distanceTransformWithLabels(
        vacant, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    point_of_label = np.zeros(labels.max() + 1, np.intp)
    point_of_label[labels[rows, columns]] = np.arange(len(points))
    nearest = point_of_label[labels]

    owner = owners[nearest]
    # Next to each other, below each other, and in one cell, which names only one of its points.
    beside = owner[:, 1:] != owner[:, :-1]
    below = owner[1:] != owner[:-1]
    hidden = np.flatnonzero(owner[rows, columns] != owners)
    ones = (nearest[:, 1:][beside], nearest[1:][below], nearest[rows, columns][hidden])
    others = (nearest[:, :-1][beside], nearest[:-1][below], hidden)
    pairs = np.stack((np.concatenate(ones), np.concatenate(others)), axis=1)

    squared_gaps = ((points[pairs[:, 0]] - points[pairs[:, 1]]) ** 2).sum(axis=1)
    pairs = pairs[np.argsort(squared_gaps, kind="stable")]
    outlines = np.sort(owners[pairs], axis=1) @ np.array([owners[-1] + 1, 1])
    _, firsts = np.unique(outlines, return_index=True)
    pairs = pairs[np.sort(firsts)]

    tree: Indices = pairs[_spanning(owners[pairs], int(owners[-1]) + 1)]
    if stride_px == 1:
        return tree
    return np.array([_narrowed(pair, points, owners, 2 * stride_px) for pair in tree], np.intp)


def _spanning(pairs: Indices, nodes: int) -> list[int]:
    """The pairs that make a spanning tree; the shortest come first (Kruskal's algorithm)."""
    group_of = list(range(nodes))

    def group(node: int) -> int:
        while group_of[node] != node:
            group_of[node] = group_of[group_of[node]]
            node = group_of[node]
        return node

    tree = []
    for index, (one, other) in enumerate(pairs.tolist()):
        if group(one) != group(other):
            group_of[group(one)] = group(other)
            tree.append(index)
    return tree


def _narrowed(pair: Indices, points: Points, owners: Indices, reach: int) -> tuple[int, int]:
    """The nearest two among the points that follow or precede the given two on their outlines."""
    around = [np.arange(max(0, end - reach), min(len(points), end + reach + 1)) for end in pair]
    ones, others = (
        near[owners[near] == owners[end]] for near, end in zip(around, pair, strict=True)
    )
    squared_gaps = ((points[ones][:, None] - points[others]) ** 2).sum(axis=2)
    one, other = divmod(int(squared_gaps.argmin()), len(others))
    return int(ones[one]), int(others[other])


def _without_strays(
    bridges: Indices,
    points: Points,
    owners: Indices,
    expendable_px: NDArray[np.float64],
    allowance_px: float,
) -> Indices:
    """The bridges without those that end at a piece with fewer pixels than the bridge has."""
    lengths_px = np.abs(points[bridges[:, 0]] - points[bridges[:, 1]]).max(axis=1)
    ends = owners[bridges]
    bridges_at = np.bincount(ends.ravel())
    kept = np.ones(len(bridges), np.bool_)
    for bridge in np.argsort(-lengths_px, kind="stable"):
        for outline in ends[bridge]:
            area_px = expendable_px[outline]
            if bridges_at[outline] == 1 and area_px < min(lengths_px[bridge], allowance_px):
                allowance_px -= area_px
                bridges_at[ends[bridge]] -= 1
                kept[bridge] = False
                break
    return bridges[kept]


def _walk(bridges: Indices, points: Points, owners: Indices) -> Iterator[Points]:
    """The arcs of the outlines in the order in which one walks around the whole tree.

    Each arc leads from one bridge's end to the next on the same outline, both included, and there
    one crosses over. In a tree this passes every bridge twice and then returns to the start.
    """
    ends = bridges.ravel()  # 2 i and 2 i + 1 are the two ends of bridge i
    in_order = sorted(range(len(ends)), key=ends.tolist().__getitem__)
    arcs: dict[int, Points] = {}
    next_end: dict[int, int] = {}
    for owner, group in groupby(in_order, key=lambda end: owners[ends[end]]):
        stops = list(group)
        start, stop = np.searchsorted(owners, [owner, owner + 1])
        first = ends[stops[0]]
        closed = np.concatenate((points[first:stop], points[start : first + 1]))
        cuts = [*(ends[stops] - first).tolist(), len(closed) - 1]
        for index, end in enumerate(stops):
            arcs[end] = closed[cuts[index] : cuts[index + 1] + 1]
            next_end[end] = stops[(index + 1) % len(stops)]
    end = 0
    for _ in ends:
        yield arcs[end]
        end = next_end[end] ^ 1


def _simplified(arcs: list[Points], tolerance_px: float) -> Points:
    """The ring of all arcs with fewer points; where bridges begin and end it stays exact."""
    if len(arcs) == 1:
        return _approximated(arcs[0], tolerance_px, closed=True)
    parts: list[Points] = []
    for arc in arcs:
        cut = 0
        if np.array_equal(arc[0], arc[-1]):
            # A ring that ends where it began has no chord to be measured against; its halves have.
            cut = int(((arc - arc[0]) ** 2).sum(axis=1).argmax())
        parts += [_approximated(part, tolerance_px) for part in (arc[: cut + 1], arc[cut:])]
    ring = np.concatenate(parts)
    changes = (ring != np.roll(ring, 1, axis=0)).any(axis=1)
    return np.compress(changes, ring, axis=0)


def _approximated(line: Points, tolerance_px: float, *, closed: bool = False) -> Points:
    simpler: Points = cv2.approxPolyDP(line, tolerance_px, closed=closed).reshape(-1, 2)
    return simpler

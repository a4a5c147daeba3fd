"""The outlines of detections, whatever form their segments came in.

The size and runs of a run-length mask come from outside: they are compared with each other and with
the picture before anything is allocated, and no C library gets to see them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from vision_event_block.contract import limits
from vision_event_block.convert.polygons import ring_from_mask
from vision_event_block.convert.predictions import on_earth

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from vision_event_block.convert.origins import FloatArray
    from vision_event_block.convert.predictions import Instances

#: Boxes and masks are rounded differently; an outline this close to its box touches it.
TOUCHING_PX: Final = 1.0
#: Masks of models hardly reach further beyond their boxes.
NEAR_PX: Final = 8
#: Of one mask, which takes a byte for each while it is examined.
MAX_MASK_PIXELS: Final = 100_000_000
#: Characters of one packed count; more would be a longer run than any mask has.
_MAX_COUNT_CHARS: Final = 7


class UnfitMask(ValueError):  # noqa: N818 - named for what it is
    """A mask that cannot be right: its size or its runs do not fit together, or fit no picture."""


def outlines(instances: Instances) -> tuple[FloatArray, list[int], int]:
    """For each detection one closed ring that keeps its area.

    A polygon that comes with a detection is what an earlier step made of the mask, so it takes
    precedence over the mask. Steps of the host that move boxes forget one or the other: an outline
    outside its box does not belong to that box.

    Returns:
        The points (k, 2) of all rings, one ring after the other; how many each detection has, 0
        if its outline is empty; and how many outlines are left out because they cannot be right.
    """
    sound = _sound_polygons(instances.polygons, instances.xyxy)
    if sound is not None:
        return (*sound, 0)
    rings, unfit = _rings_one_by_one(instances)
    present = [ring for ring in rings if ring is not None]
    points = np.concatenate(present) if present else np.empty((0, 2))
    return points, [0 if ring is None else len(ring) for ring in rings], unfit


def _sound_polygons(polygons: Any, xyxy: FloatArray) -> tuple[FloatArray, list[int]] | None:
    """All polygons together if nothing is wrong with any, which is nearly always so; else None."""
    if polygons is None:
        return None
    try:
        lengths = [len(polygon) for polygon in polygons]
        points = np.concatenate(list(polygons), dtype=np.float64)
    except (TypeError, ValueError):  # a detection has none, or one of another shape
        return None
    if min(lengths) < limits.MIN_POLYGON_POINTS or points.ndim != 2 or points.shape[1] != 2:  # noqa: PLR2004 - x and y
        return None
    least, greatest = _extents(points, lengths)
    is_sound = on_earth(least) & on_earth(greatest) & ~_is_beside(least, greatest, xyxy)
    return (points, lengths) if is_sound.all() else None


def _rings_one_by_one(instances: Instances) -> tuple[list[FloatArray | None], int]:
    given = _given_rings(_polygons(instances.polygons, len(instances)))
    drawn = _without_those_beside([ring for ring, _ in given], instances.xyxy)
    if all(ring is not None for ring in drawn):
        return drawn, 0
    traced = [
        (ring, is_fit) if ring is not None or not is_fit else _if_fit(_traced_ring, instances, row)
        for row, (ring, (_, is_fit)) in enumerate(zip(drawn, given, strict=True))
    ]
    unfit = sum(not is_fit for _, is_fit in traced)
    return _without_those_beside([ring for ring, _ in traced], instances.xyxy), unfit


def _if_fit(
    read: Callable[..., FloatArray | None], *arguments: Any
) -> tuple[FloatArray | None, bool]:
    """The ring that is read, and whether it can be right."""
    try:
        return read(*arguments), True
    except UnfitMask:
        return None, False


def _without_those_beside(
    rings: list[FloatArray | None], xyxy: FloatArray
) -> list[FloatArray | None]:
    """The rings; None for those that share nothing with their box."""
    rows = [row for row, ring in enumerate(rings) if ring is not None]
    present = [ring for ring in rings if ring is not None]
    if not present:
        return rings
    extents = _extents(np.concatenate(present), [len(ring) for ring in present])
    rings = list(rings)
    for index in np.flatnonzero(_is_beside(*extents, xyxy[rows]).any(axis=1)):
        rings[rows[index]] = None
    return rings


def _extents(points: FloatArray, lengths: list[int]) -> tuple[FloatArray, FloatArray]:
    """The least x and y of each ring (n, 2), and the greatest; NaN where a point has it."""
    starts = np.cumsum([0, *lengths[:-1]])
    return np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)


def _is_beside(least: FloatArray, greatest: FloatArray, xyxy: FloatArray) -> npt.NDArray[np.bool_]:
    """Whether each ring ends before its box begins, or the other way round, in x and in y."""
    boxes = xyxy.reshape(-1, 2, 2)
    is_before = greatest < boxes.min(axis=1) - TOUCHING_PX
    return np.asarray(is_before | (least > boxes.max(axis=1) + TOUCHING_PX))


def _traced_ring(instances: Instances, row: int) -> FloatArray | None:
    ring: npt.NDArray[Any] | None = None
    if instances.masks is not None:
        ring = _ring_of_mask(instances, row)
    if ring is None and instances.rle_masks is not None and instances.rle_masks[row] is not None:
        size_px = None
        picture_px = instances.origin(row).size_px
        if instances.mask_frame_px is None and picture_px is not None:
            size_px = int(picture_px[1]), int(picture_px[0])
        decoded = decode_rle(instances.rle_masks[row], at_most_px=size_px)
        mask = _stretched(decoded, instances.mask_frame_px)
        ring = ring_from_mask(mask, near=_near(instances.xyxy[row]))
    return None if ring is None else ring.astype(np.float64)


def decode_rle(
    rle: Mapping[str, Any], *, at_most_px: tuple[int, int] | None = None
) -> npt.NDArray[np.uint8]:
    """The mask (h, w) behind a COCO run-length code, compressed or as a list of counts.

    Args:
        rle: Size (height, width) and counts.
        at_most_px: Height and width of the picture, where they are known.

    Raises:
        UnfitMask: the mask is larger than the picture, or its runs do not fill its size.
    """
    try:
        height, width = (int(side) for side in rle["size"])
        _refuse_larger(height, width, at_most_px)
        counts = _counts(rle["counts"])
    except (ArithmeticError, KeyError, TypeError, ValueError) as error:
        raise UnfitMask(f"this is no run-length mask: {error}") from error
    # Each is compared by itself as well: a sum of huge numbers may wrap around to the right one.
    is_within = bool(((counts >= 0) & (counts <= height * width)).all())
    if not is_within or int(counts.sum()) != height * width:
        raise UnfitMask(f"its runs do not fill {width} x {height} pixels")
    pixels = np.repeat(np.arange(len(counts), dtype=np.uint8) & 1, counts)
    return pixels.reshape(width, height).T


def _counts(given: Any) -> npt.NDArray[np.int64]:
    """The lengths of the runs, beginning with one outside the mask."""
    if not isinstance(given, (str, bytes)):
        return np.array([int(count) for count in given], dtype=np.int64)
    text = given.encode("ascii") if isinstance(given, str) else given
    # Each character holds five bits of a number, lowest first, and whether more follow.
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - ord("0")
    if not len(codes):
        return codes
    if (codes & ~0x3F).any() or codes[-1] & 0x20:
        raise UnfitMask("its counts are not packed as COCO packs them")
    ends = np.flatnonzero(codes & 0x20 == 0)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > _MAX_COUNT_CHARS:
        raise UnfitMask("it has a run longer than any mask")
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    counts = np.add.reduceat((codes & 0x1F) << shifts, starts)
    counts -= np.where(codes[ends] & 0x10, np.int64(1) << (5 * lengths), 0)
    # From the fourth on, each is the difference from the last but one.
    counts[1::2] = np.cumsum(counts[1::2])
    counts[2::2] = np.cumsum(counts[2::2])
    return counts


def _refuse_larger(height: int, width: int, at_most_px: tuple[int, int] | None) -> None:
    if min(height, width) < 1 or height * width > MAX_MASK_PIXELS:
        raise UnfitMask(f"no picture has {width} x {height} pixels")
    if at_most_px is not None and (height > at_most_px[0] or width > at_most_px[1]):
        raise UnfitMask(f"{width} x {height} pixels are more than its picture has")


def _polygons(polygons: Any, rows: int) -> Sequence[Any]:
    if polygons is None:
        return [None] * rows
    if isinstance(polygons, np.ndarray) and polygons.dtype != object:
        return list(polygons.astype(np.float64))
    return list(polygons)


def _given_rings(polygons: Sequence[Any]) -> list[tuple[FloatArray | None, bool]]:
    """The rings, None for what is not a ring, and whether they can be right."""
    rings = [
        None if polygon is None else np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
        for polygon in polygons
    ]
    present = [ring for ring in rings if ring is not None]
    # All points together, as nearly always they are good.
    if present and not on_earth(np.concatenate(present)).all():
        return [_if_fit(_ring_on_earth, ring) for ring in rings]
    return [(_if_ring(ring), True) for ring in rings]


def _ring_on_earth(points: FloatArray | None) -> FloatArray | None:
    if points is not None and not on_earth(points).all():
        points = points[np.isfinite(points).all(axis=1)]
        if not on_earth(points).all():
            raise UnfitMask("a point of the outline is on no picture")
    return _if_ring(points)


def _if_ring(points: FloatArray | None) -> FloatArray | None:
    return None if points is None or len(points) < limits.MIN_POLYGON_POINTS else points


def _ring_of_mask(instances: Instances, row: int) -> npt.NDArray[Any] | None:
    masks = instances.masks
    if hasattr(masks, "crop") and hasattr(masks, "offsets"):
        # supervision's compact masks hold only the detection's own cut-out.
        left, top = (int(side) for side in masks.offsets[row])
        return ring_from_mask(masks.crop(row), offset=(left, top))
    mask = _stretched(np.asarray(masks[row]), instances.mask_frame_px)
    return ring_from_mask(mask, near=_near(instances.xyxy[row]))


def _near(xyxy: FloatArray) -> tuple[int, int, int, int]:
    one_x, one_y, other_x, other_y = xyxy.astype(int).tolist()
    return (
        min(one_x, other_x) - NEAR_PX,
        min(one_y, other_y) - NEAR_PX,
        max(one_x, other_x) + NEAR_PX,
        max(one_y, other_y) + NEAR_PX,
    )


def _stretched(mask: npt.NDArray[Any], frame_px: tuple[int, int] | None) -> npt.NDArray[Any]:
    """The mask stretched over the height and width that it covers, as the host stretches it."""
    if frame_px is None:
        return mask
    _refuse_larger(*frame_px, None)
    width_height = frame_px[::-1]
    stretched: npt.NDArray[Any] = cv2.resize(
        mask.astype(np.uint8), width_height, interpolation=cv2.INTER_NEAREST
    )
    return stretched

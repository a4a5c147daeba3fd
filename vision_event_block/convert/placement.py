"""Where a prediction's coordinates lie on the picture that it is attached to.

A model may have seen a crop while the event shows the whole picture, or the other way round. For
both, the host notes their position in their common root picture, but some of its steps change the
coordinates, or the picture, and leave that note as it was. Hence the rule:

Coordinates stay as the step gave them, unless they were made on another part of the same root
picture and everything the host says of it is consistent; then they move by the difference. What
cannot be right for this picture, a size or a place outside it, is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from vision_event_block.convert.predictions import on_earth
from vision_event_block.events.adjustments import Adjustment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vision_event_block.convert.origins import FloatArray, Origin, Pair
    from vision_event_block.convert.predictions import Instances

#: How far a box may reach beyond the picture before that is named, as a share of its side.
TOLERATED_SHARE: Final = 0.1

_FIELD = "predictions"
_OTHER_SIZE = "coordinates are only true on the picture they were made on"
_OUTSIDE = "what they mark is not on this picture, or they were made on another"


@dataclass(frozen=True)
class PictureFrame:
    """The size of a picture, and its position in its root picture."""

    width_px: int
    height_px: int
    picture_id: str
    root_id: str
    root_left_px: float = 0.0
    root_top_px: float = 0.0
    root_size_px: tuple[int, int] | None = None


@dataclass(frozen=True)
class Placement:
    """How coordinates are moved onto the picture: `xy * scale + shift`, a row each."""

    shift_px: FloatArray | None = None  # (n, 2)
    scale: float = 1.0

    @property
    def is_as_given(self) -> bool:
        return self.shift_px is None and self.scale == 1.0

    def of(self, points: FloatArray) -> FloatArray:
        """Points of shape (n, k, 2) on the picture."""
        if self.scale != 1.0:
            points = points * self.scale
        return points if self.shift_px is None else points + self.shift_px[:, None, :]

    def resized(self, factor: float) -> Placement:
        if factor == 1.0:
            return self
        shift = None if self.shift_px is None else self.shift_px * factor
        return Placement(shift, self.scale * factor)


AS_GIVEN: Final = Placement()


def place(instances: Instances, picture: PictureFrame | None) -> tuple[Placement, list[Adjustment]]:
    """How to get onto the picture, and what cannot be right there."""
    if picture is None or len(instances) == 0:
        return AS_GIVEN, []
    size_px = (picture.width_px, picture.height_px)
    # The ordinary case. Nothing else that is said of the picture would move them.
    if _are_inside(instances.bounds_px, size_px) and instances.origins.are_all(
        picture.picture_id, size_px
    ):
        return AS_GIVEN, []
    if instances.origins.is_detection(picture.picture_id):
        # The host's crop step names the crop after the detection that it cut out and gives that
        # detection in the crop's coordinates, but leaves the whole picture's description on it.
        return AS_GIVEN, []
    placement, named = AS_GIVEN, []
    origins = instances.origins
    if _lie_on_their_picture(instances):
        shifts = [_shift(origin, picture) for origin in origins.distinct]
        certain = [shift for shift in shifts if shift is not None]
        if len(certain) < len(shifts):
            named = _other_size(origins.distinct, picture)
        else:
            rows = None
            if set(certain) != {(0.0, 0.0)}:
                rows = np.broadcast_to(origins.spread(certain), (len(instances), 2))
            placement = Placement(rows, 1.0 / origins.distinct[0].scale_to_root)
    return placement, named or _outside(instances, placement, picture)


def _lie_on_their_picture(instances: Instances) -> bool:
    """Whether the boxes' centres are on the picture that they are said to have been made on.

    If not, an earlier step has moved the boxes already without saying so.
    """
    sizes = [origin.size_px for origin in instances.origins.distinct]
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes):
        return True
    origins = instances.origins
    if len(known) == 1 and _are_inside(instances.bounds_px, known[0]):
        return True
    twice_middle = instances.xyxy[:, :2] + instances.xyxy[:, 2:]
    is_beyond = (twice_middle < 0) | (twice_middle > 2 * origins.spread(known))
    return not (is_beyond.any() and is_beyond[on_earth(instances.xyxy).all(axis=1)].any())


def _shift(origin: Origin, picture: PictureFrame) -> Pair | None:
    """From the coordinates' picture to this one in pixels; None where that is not certain."""
    size, root = origin.size_px, origin.root_size_px
    if size is None or root is None or origin.root_id != picture.root_id:
        return None
    offset = _offset_in_root(origin) if _fits(picture, root) else None
    if offset is None:
        return None
    if origin.picture_id == picture.picture_id:
        is_as_made = size == (picture.width_px, picture.height_px)
        return (0.0, 0.0) if is_as_made else None  # resized or rotated since
    if origin.picture_id == picture.root_id and size != root:
        return None
    return offset[0] - picture.root_left_px, offset[1] - picture.root_top_px


def _fits(picture: PictureFrame, root_px: Pair) -> bool:
    """Whether a picture of this size can be at that place in a root picture of that size."""
    size = (picture.width_px, picture.height_px)
    if picture.root_size_px is not None and root_px != picture.root_size_px:
        return False
    if picture.picture_id == picture.root_id:
        return root_px == size
    return _is_inside((picture.root_left_px, picture.root_top_px), size, root_px)


def _offset_in_root(origin: Origin) -> Pair | None:
    """Left and top of the coordinates' picture in its root; None if the figures contradict it."""
    offset, size, root = origin.root_offset_px, origin.size_px, origin.root_size_px
    if offset is None or size is None or root is None:
        return None
    in_parent = origin.parent_offset_px or offset
    parent = origin.parent_size_px or root
    of_parent = offset[0] - in_parent[0], offset[1] - in_parent[1]
    if size == root and parent == root:
        # The host's roll-up moves what was found on crops onto the picture that they were cut
        # from, and overwrites all sizes with the root's, but keeps the position of the crop. Its
        # version for tensors does write the position of that picture.
        offset = offset if origin.is_of_tensors else of_parent
        return offset if _is_inside(offset, (0.0, 0.0), root) else None
    size = size[0] / origin.scale_to_root, size[1] / origin.scale_to_root
    is_sound = (
        _is_inside(offset, size, root)
        and _is_inside(in_parent, size, parent)
        and _is_inside(of_parent, parent, root)
        and not _is_root_resized(of_parent, parent, root)
    )
    return offset if is_sound else None


def _is_root_resized(offset: Pair, size: Pair, root: Pair) -> bool:
    """Whether a parent is probably the whole root picture made smaller, and not a part of it."""
    is_same_shape = abs(size[1] * root[0] - root[1] * size[0]) < root[0]
    return is_same_shape and offset == (0.0, 0.0) and size != root


def _is_inside(offset: Pair, size: Pair, outer: Pair) -> bool:
    return (
        offset[0] >= 0
        and offset[1] >= 0
        and offset[0] + size[0] <= outer[0]
        and offset[1] + size[1] <= outer[1]
    )


def _are_inside(bounds: tuple[float, float, float, float], outer: Pair) -> bool:
    left, top, right, bottom = bounds
    return left >= 0 and top >= 0 and right <= outer[0] and bottom <= outer[1]


def _other_size(origins: Sequence[Origin], picture: PictureFrame) -> list[Adjustment]:
    own = (picture.width_px, picture.height_px)
    other = next((each.size_px for each in origins if each.size_px not in (None, own)), None)
    if other is None:
        return []
    what = f"made for {other[0]:.0f}x{other[1]:.0f}, attached to a picture of {own[0]}x{own[1]}"
    return [Adjustment(_FIELD, what, _OTHER_SIZE)]


def _outside(instances: Instances, placement: Placement, picture: PictureFrame) -> list[Adjustment]:
    side, xyxy = (picture.width_px, picture.height_px), instances.xyxy
    if placement.is_as_given and _are_inside(instances.bounds_px, side):
        return []
    margin = TOLERATED_SHARE * np.array(side)
    corners = placement.of(xyxy.reshape(-1, 2, 2))
    beyond = (corners < -margin) | (corners > margin + side)
    count = int((beyond.any(axis=(1, 2)) & on_earth(xyxy).all(axis=1)).sum())
    if count == 0:
        return []
    return [Adjustment(_FIELD, f"{count} of {len(xyxy)} boxes outside the picture", _OUTSIDE)]

"""Where a prediction's coordinates lie on the picture that it is attached to.

A model may have looked at a crop while the event shows the whole picture, or the other way
round. The host notes for both where they lie within their common root picture, but some of its
steps change the coordinates, or the picture, and leave the note as it was. Hence the rule:

Coordinates stay as the step gave them, unless they were made on another part of the same root
picture and all that the host says of it fits together; then they move by the difference. What
cannot be true of coordinates on this picture, a size or a place outside it, is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from vision_event_block.events.adjustments import Adjustment
from vision_event_block.events.predictions import on_earth

if TYPE_CHECKING:
    from vision_event_block.events.predictions import FloatArray, Frame, Instances

#: How far a box may reach beyond the picture before that is named, as a share of its side.
TOLERATED_SHARE: Final = 0.1

_FIELD = "predictions"
_OTHER_SIZE = "coordinates are only true on the picture they were made on"
_OUTSIDE = "what they mark is not on this picture, or they were made on another"


@dataclass(frozen=True)
class PictureFrame:
    """Size of a picture and where it lies within its root picture."""

    width_px: int
    height_px: int
    picture_id: str
    root_id: str
    root_left_px: float = 0.0
    root_top_px: float = 0.0
    root_size_px: tuple[int, int] | None = None


@dataclass(frozen=True)
class Placement:
    """How coordinates get onto the picture: `xy * scale + shift`, a row each."""

    shift_px: FloatArray | None = None  # (n, 2)
    scale: float = 1.0

    def of(self, points: FloatArray) -> FloatArray:
        """Points of shape (n, k, 2) on the picture."""
        if self.scale != 1.0:
            points = points * self.scale
        return points if self.shift_px is None else points + self.shift_px[:, None, :]

    def resized(self, factor: float) -> Placement:
        """The placement on the same picture made larger or smaller."""
        if factor == 1.0:
            return self
        shift = None if self.shift_px is None else self.shift_px * factor
        return Placement(shift, self.scale * factor)


def place(instances: Instances, picture: PictureFrame | None) -> tuple[Placement, list[Adjustment]]:
    """The way onto the picture, and what cannot be true there."""
    frame = instances.frame
    if picture is None or len(instances) == 0:
        return Placement(), []
    if frame.detection_ids is not None and picture.picture_id in frame.detection_ids:
        # The host's crop step names the crop by the detection it cut out and gives that
        # detection in the crop's coordinates, but leaves the whole picture's description on it.
        return Placement(), []
    placement, named = Placement(), []
    if _lie_on_their_picture(instances):
        shift = _shift(frame, picture)
        if shift is None:
            named = _other_size(frame, picture)
        else:
            placement = Placement(shift if shift.any() else None, 1.0 / frame.scale_to_root)
    return placement, named or _outside(instances.xyxy, placement, picture)


def _lie_on_their_picture(instances: Instances) -> bool:
    """Whether the boxes' middles are on the picture that they are said to have been made on.

    If not, an earlier step has moved the boxes already and has not said so.
    """
    if instances.frame.size_px is None:
        return True
    is_on_earth = on_earth(instances.xyxy).all(axis=1)
    middles = instances.xyxy[is_on_earth].reshape(-1, 2, 2).mean(axis=1)
    return _is_inside(middles, 0.0, instances.frame.size_px[is_on_earth])


def _shift(frame: Frame, picture: PictureFrame) -> FloatArray | None:
    """From the coordinates' picture to this one in pixels, None where that is not certain."""
    offset, size, root = frame.root_offset_px, frame.size_px, frame.root_size_px
    if offset is None or size is None or root is None:
        return None
    if frame.root_ids is None or set(frame.root_ids) != {picture.root_id}:
        return None
    if not _fits(picture, root):
        return None
    offset = _offset_in_root(frame, offset, size, root)
    if offset is None:
        return None
    shift = offset - [picture.root_left_px, picture.root_top_px]
    if frame.picture_ids is not None:
        ids = np.array(frame.picture_ids)
        is_own, is_root = ids == picture.picture_id, ids == picture.root_id
        own_size = np.where(is_own[:, None], [picture.width_px, picture.height_px], root)
        if (size != own_size)[is_own | is_root].any():
            return None  # resized or turned since
        shift[is_own] = 0.0
    return shift


def _fits(picture: PictureFrame, root_px: FloatArray) -> bool:
    """Whether a picture of this size can lie there in a root picture of that size."""
    size = np.array([picture.width_px, picture.height_px])
    if picture.root_size_px is not None and (root_px != picture.root_size_px).any():
        return False
    if picture.picture_id == picture.root_id:
        return bool((root_px == size).all())
    return _is_inside(np.array([picture.root_left_px, picture.root_top_px]), size, root_px)


def _offset_in_root(
    frame: Frame, offset: FloatArray, size: FloatArray, root: FloatArray
) -> FloatArray | None:
    """Left and top of the coordinates' picture in its root, None if the figures contradict it."""
    in_parent = offset if frame.parent_offset_px is None else frame.parent_offset_px
    parent = root if frame.parent_size_px is None else frame.parent_size_px
    # The host's roll-up brings what was found on crops onto the picture that they were cut
    # from, and writes the root's size over every other, but leaves where the crop was. Its
    # version for tensors does write where that picture is.
    is_rolled_up = ((size == root) & (parent == root)).all(axis=1)
    if not frame.is_of_tensors:
        offset = np.where(is_rolled_up[:, None], offset - in_parent, offset)
    size = np.where(is_rolled_up[:, None], 0.0, size / frame.scale_to_root)
    is_cut = ~is_rolled_up
    in_parent, parent, of_parent = in_parent[is_cut], parent[is_cut], (offset - in_parent)[is_cut]
    is_sound = (
        _is_inside(offset, size, root)
        and _is_inside(in_parent, size[is_cut], parent)
        and _is_inside(of_parent, parent, root[is_cut])
        and not _is_root_resized(of_parent, parent, root[is_cut])
    )
    return offset if is_sound else None


def _is_root_resized(offset: FloatArray, size: FloatArray, root: FloatArray) -> bool:
    """Whether a parent is probably the whole root picture made smaller, and no part of it."""
    same_shape = np.abs(size - root * (size[:, :1] / root[:, :1])).max(axis=1) < 1.0
    return bool((same_shape & (offset == 0).all(axis=1) & (size != root).any(axis=1)).any())


def _is_inside(offset: FloatArray, size: FloatArray | float, outer: FloatArray) -> bool:
    return not ((offset < 0) | (offset + size > outer)).any()


def _other_size(frame: Frame, picture: PictureFrame) -> list[Adjustment]:
    if frame.size_px is None:
        return []
    differs = (frame.size_px != [picture.width_px, picture.height_px]).any(axis=1)
    if not differs.any():
        return []
    width, height = frame.size_px[differs][0]
    what = (
        f"made for {width:.0f}x{height:.0f}, attached to a picture of "
        f"{picture.width_px}x{picture.height_px}"
    )
    return [Adjustment(_FIELD, what, _OTHER_SIZE)]


def _outside(xyxy: FloatArray, placement: Placement, picture: PictureFrame) -> list[Adjustment]:
    corners = placement.of(xyxy.reshape(-1, 2, 2))
    side = np.array([picture.width_px, picture.height_px])
    beyond = (corners < -TOLERATED_SHARE * side) | (corners > (1 + TOLERATED_SHARE) * side)
    count = int((beyond.any(axis=(1, 2)) & on_earth(xyxy).all(axis=1)).sum())
    if count == 0:
        return []
    return [Adjustment(_FIELD, f"{count} of {len(xyxy)} boxes outside the picture", _OUTSIDE)]

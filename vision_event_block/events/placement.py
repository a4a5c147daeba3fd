"""Where a prediction's coordinates lie on the picture that it is attached to.

A model may have looked at a crop while the event shows the whole picture, or the other way
round. The host notes for both where they lie within their common root picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vision_event_block.events.adjustments import Adjustment

if TYPE_CHECKING:
    from vision_event_block.events.predictions import FloatArray, Instances

_FIELD = "predictions"
_UNRELATED = "coordinates are only true on the picture they were made on"


@dataclass(frozen=True)
class PictureFrame:
    """Size of a picture and where it lies within its root picture."""

    width_px: int
    height_px: int
    picture_id: str
    root_id: str
    root_left_px: float = 0.0
    root_top_px: float = 0.0


@dataclass(frozen=True)
class Placement:
    """How coordinates get onto the picture: `xy * scale + shift`, a row each."""

    shift_px: FloatArray | None = None  # (n, 2)
    scale: float = 1.0

    def resized(self, factor: float) -> Placement:
        """The placement on the same picture made larger or smaller."""
        if factor == 1.0:
            return self
        shift = None if self.shift_px is None else self.shift_px * factor
        return Placement(shift, self.scale * factor)


def place(instances: Instances, picture: PictureFrame | None) -> tuple[Placement, list[Adjustment]]:
    """The way onto the picture, and a warning where the two cannot belong together."""
    frame = instances.frame
    if picture is None or len(instances) == 0:
        return Placement(), []
    if frame.detection_ids is not None and picture.picture_id in frame.detection_ids:
        # The host's crop step names the crop by the detection it cut out and gives that
        # detection in the crop's coordinates, but leaves the whole picture's description on it.
        return Placement(), []
    if frame.root_offset_px is None or frame.root_ids is None:
        return Placement(), _mismatch(frame.width_px, frame.height_px, picture)
    if set(frame.root_ids) != {picture.root_id}:
        return Placement(), _mismatch(frame.width_px, frame.height_px, picture)
    if frame.picture_ids is not None and set(frame.picture_ids) == {picture.picture_id}:
        return Placement(), _mismatch(frame.width_px, frame.height_px, picture)

    scale = 1.0 / frame.scale_to_root
    shift = frame.root_offset_px - np.array([picture.root_left_px, picture.root_top_px])
    if frame.picture_ids is not None:
        same = np.array([own == picture.picture_id for own in frame.picture_ids])
        shift[same] = 0.0
    if not shift.any() and scale == 1.0:
        return Placement(), _mismatch(frame.width_px, frame.height_px, picture)
    is_root = picture.picture_id == picture.root_id
    warnings = _mismatch(frame.root_width_px, frame.root_height_px, picture) if is_root else []
    return Placement(shift, scale), warnings


def _mismatch(
    width_px: int | None, height_px: int | None, picture: PictureFrame
) -> list[Adjustment]:
    if width_px is None or height_px is None:
        return []
    if (width_px, height_px) == (picture.width_px, picture.height_px):
        return []
    what = (
        f"made for {width_px}x{height_px}, attached to a picture of "
        f"{picture.width_px}x{picture.height_px}"
    )
    return [Adjustment(_FIELD, what, _UNRELATED)]

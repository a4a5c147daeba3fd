"""A picture of an event: as the block saw it, and then as the bytes that are sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np

from vision_event_block.events import encoding

if TYPE_CHECKING:
    from vision_event_block.events.encoding import Pixels


#: Pictures that differ usually differ in one of this many rows.
_ROWS_AT_ONCE = 32


def _new_id() -> str:
    return str(uuid4())


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """A picture as the JPEG bytes that are sent."""

    content: bytes = field(repr=False)
    #: Our own, to tell an event's pictures apart; the API assigns another one.
    picture_id: str = field(default_factory=_new_id)

    @property
    def size_bytes(self) -> int:
        return len(self.content)


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """A picture as the block saw it, not encoded yet."""

    #: Nobody else draws on these while the snapshot lives.
    pixels: Pixels = field(repr=False)
    quality: int
    max_side_px: int | None = None
    #: JPEG bytes that the pixels were decoded from, if the host still has them.
    original: bytes | None = field(default=None, repr=False)
    picture_id: str = field(default_factory=_new_id)

    @property
    def size_bytes(self) -> int:
        return int(self.pixels.nbytes) + len(self.original or b"")

    def encode(self) -> Picture:
        """The picture as JPEG: the very bytes that it came as, if they still show it.

        Raises:
            UnfitPicture: these pixels cannot become a JPEG.
        """
        content = self._untouched_original()
        if content is None:
            content = encoding.encode_jpeg(
                self.pixels, quality=self.quality, max_side_px=self.max_side_px
            )
        return Picture(content=content, picture_id=self.picture_id)

    def _untouched_original(self) -> bytes | None:
        if self.original is None:
            return None
        facts = encoding.jpeg_facts(self.original)
        if facts is None or facts.orientation != 1:
            return None
        if encoding.resize_factor(facts.width_px, facts.height_px, self.max_side_px) != 1.0:
            return None
        return self.original if encoding.shows(self.original, self.pixels) else None


def are_equal(one: Picture | Snapshot, other: Picture | Snapshot) -> bool:
    if isinstance(one, Snapshot) and isinstance(other, Snapshot):
        return one.pixels is other.pixels or _are_equal(one.pixels, other.pixels)
    if isinstance(one, Picture) and isinstance(other, Picture):
        return one.content == other.content
    return False


def _are_equal(one: Pixels, other: Pixels) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype or not one.ndim:
        return False
    # A few rows of the whole picture first: nearly always they show whether something was drawn.
    # The rest goes in strips, since a comparison allocates an array as large as what it compares.
    strips = (slice(top, top + _ROWS_AT_ONCE) for top in range(0, len(one), _ROWS_AT_ONCE))
    rows = (slice(None, None, _ROWS_AT_ONCE), *strips)
    return all(np.array_equal(one[some], other[some]) for some in rows)

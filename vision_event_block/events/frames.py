"""An event whose pictures are not encoded yet, as bytes that another process can read back.

A block that does not wait hands over pixels. Stored with the rest of the event, they can be
encoded by this process or, if it is killed, by another one. In memory a frame is

    0   4 bytes   length of the head
    4   4 bytes   checksum of the head
    8             the head, JSON: the event, and what each part is and where it begins
    ...           the parts: pixels, and pictures that are encoded already
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vision_event_block.events.bundle import Bundle, bundle_payload, member_of, without_pictures
from vision_event_block.events.errors import UnfitPicture
from vision_event_block.events.images import Picture, Snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vision_event_block.events.encoding import Pixels
    from vision_event_block.events.event import VisionEvent

_PREFIX: Final = struct.Struct("<II")
_PAGE_BYTES: Final = 4096
#: Of the head, roughly, for each part.
_LINE_BYTES: Final = 200
#: One byte of every page, each at a different place in it.
_SAMPLE_STEP: Final = _PAGE_BYTES - 3


@dataclass(frozen=True)
class Frame:
    """An event taken apart; nothing is copied yet."""

    event: VisionEvent
    #: Everything but the parts.
    document: str
    parts: tuple[Pixels, ...] = field(repr=False)
    #: Where in the memory each part begins, and where the last one ends.
    starts: tuple[int, ...]
    #: For each part that is a snapshot's pixels, the picture's id.
    picture_ids: tuple[str | None, ...]

    @classmethod
    def of(cls, event: VisionEvent, metadata: str) -> Frame:
        """The frame of an event, and of the metadata that goes with it."""
        pictures: dict[str, dict[str, Any]] = {}
        parts: list[tuple[Pixels, str | None]] = []
        for picture in event.pictures:
            how: dict[str, Any] = {}
            if isinstance(picture, Picture):
                how["encoded"] = len(parts)
                parts.append((_as_bytes(picture.content), None))
            else:
                how |= {"quality": picture.quality, "max_side_px": picture.max_side_px}
                how["pixels"] = len(parts)
                parts.append((picture.pixels, picture.picture_id))
                if picture.original is not None:
                    how["original"] = len(parts)
                    parts.append((_as_bytes(picture.original), None))
            pictures[member_of(picture)] = how
        document = json.dumps(
            {"payload": bundle_payload(event), "pictures": pictures, "delivery": metadata},
            allow_nan=False,
            separators=(",", ":"),
        )
        starts = [_aligned(_PREFIX.size + len(document) + _LINE_BYTES * (len(parts) + 1))]
        for part, _ in parts:
            starts.append(_aligned(starts[-1] + part.nbytes))
        return cls(
            event,
            document,
            tuple(part for part, _ in parts),
            tuple(starts),
            tuple(picture_id for _, picture_id in parts),
        )

    @property
    def size_bytes(self) -> int:
        return self.starts[-1]

    def write(self, memory: memoryview) -> VisionEvent:
        """Writes the frame; returns the event with its pixels in this memory."""
        copies = []
        for part, start in zip(self.parts, self.starts, strict=False):
            copy = np.frombuffer(memory, part.dtype, part.size, start).reshape(part.shape)
            np.copyto(copy, part)
            copies.append(copy)
        lines = [
            {"dtype": copy.dtype.str, "shape": copy.shape, "start": start, "sample": _sample(copy)}
            for copy, start in zip(copies, self.starts, strict=False)
        ]
        head = f'{{"parts":{json.dumps(lines)},"document":{self.document}}}'.encode()
        _PREFIX.pack_into(memory, 0, len(head), zlib.crc32(head))
        memory[_PREFIX.size : _PREFIX.size + len(head)] = head
        named = zip(self.picture_ids, copies, strict=True)
        return self.event.with_pixels({name: copy for name, copy in named if name is not None})


@dataclass(frozen=True)
class Recovered:
    """The event of a frame, encoded."""

    bundle: Bundle
    metadata: str
    #: The reasons, for pictures that could not be encoded.
    left_out: tuple[str, ...]


def recovered(memory: bytes) -> Recovered:
    """The event of a frame that was read back, encoded.

    Raises:
        ValueError, LookupError, TypeError: it is not a frame, or it is incomplete.
    """
    length_bytes, checksum = _PREFIX.unpack_from(memory)
    head = memory[_PREFIX.size : _PREFIX.size + length_bytes]
    if zlib.crc32(head) != checksum:
        raise ValueError("the head is damaged")
    read = json.loads(head)
    parts = [_part(memory, **line) for line in read["parts"]]
    document = read["document"]
    pictures: dict[str, bytes] = {}
    left_out: dict[str, str] = {}
    for member, how in document["pictures"].items():
        try:
            pictures[member] = _content(how, parts)
        except UnfitPicture as error:  # noqa: PERF203 -- each for itself
            left_out[member] = str(error)
    payload = document["payload"]
    if left_out:
        payload = without_pictures(payload, left_out.keys())
    return Recovered(Bundle(payload, pictures), document["delivery"], tuple(left_out.values()))


def _part(memory: bytes, dtype: str, shape: list[int], start: int, sample: int) -> Pixels:
    part = np.frombuffer(memory, dtype, math.prod(shape), start).reshape(shape)
    if _sample(part) != sample:
        raise ValueError("a part is not as it was written")
    return part


def _content(how: Mapping[str, Any], parts: Sequence[Pixels]) -> bytes:
    if "encoded" in how:
        return bytes(parts[how["encoded"]])
    original = how.get("original")
    snapshot = Snapshot(
        pixels=parts[how["pixels"]],
        quality=how["quality"],
        max_side_px=how["max_side_px"],
        original=None if original is None else parts[original].tobytes(),
    )
    return snapshot.encode().content


def _as_bytes(content: bytes) -> Pixels:
    return np.frombuffer(content, np.uint8)


def _sample(part: Pixels) -> int:
    """A checksum of one byte of every page: it reveals pages that a power cut has taken."""
    return zlib.crc32(part.reshape(-1).view(np.uint8)[::_SAMPLE_STEP].tobytes())


def _aligned(length_bytes: int) -> int:
    return -(-length_bytes // _PAGE_BYTES) * _PAGE_BYTES

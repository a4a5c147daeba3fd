"""Pixels to JPEG bytes, and what JPEG bytes say about themselves."""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from vision_event_block.events.errors import UnfitPicture

Pixels: TypeAlias = npt.NDArray[Any]

#: What the format can hold.
MAX_JPEG_SIDE_PX = 65_500
_GRAY_AXES, _COLOUR_AXES = 2, 3
_BGR, _BGRA = 3, 4


def encode_jpeg(pixels: Pixels, *, quality: int, max_side_px: int | None = None) -> bytes:
    """JPEG bytes of a picture: (h, w), (h, w, 1), BGR or BGRA, 8 bits or convertible to that.

    Raises:
        UnfitPicture: these are not pixels, or they are more than a JPEG can hold.
    """
    pixels = _eight_bit_gray_or_bgr(pixels)
    height, width = pixels.shape[:2]
    factor = resize_factor(width, height, max_side_px)
    if factor != 1.0:
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    done, content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise UnfitPicture(f"a picture of {width}x{height} could not be encoded as JPEG")
    return content.tobytes()


def resize_factor(width_px: int, height_px: int, max_side_px: int | None) -> float:
    """The factor by which a picture shrinks so that no side is longer; 1.0 if it fits.

    >>> resize_factor(1920, 1080, 960)
    0.5
    """
    if not max_side_px or max(width_px, height_px) <= max_side_px:
        return 1.0
    return max_side_px / max(width_px, height_px)


def _eight_bit_gray_or_bgr(pixels: Pixels) -> Pixels:
    shape = pixels.shape
    if pixels.ndim == _COLOUR_AXES and shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (_GRAY_AXES, _COLOUR_AXES) or pixels.size == 0:
        raise UnfitPicture(f"expected (height, width) or (height, width, channels), found {shape}")
    if pixels.ndim == _COLOUR_AXES and shape[2] not in (_BGR, _BGRA):
        raise UnfitPicture(f"expected 1, 3 or 4 channels, found {shape[2]}")
    if max(shape[:2]) > MAX_JPEG_SIDE_PX:
        raise UnfitPicture(f"a JPEG holds at most {MAX_JPEG_SIDE_PX} pixels a side, found {shape}")
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    elif pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    elif pixels.dtype != np.uint8:
        pixels = np.clip(np.nan_to_num(pixels), 0, 255).astype(np.uint8)
    pixels = np.ascontiguousarray(pixels)
    if pixels.ndim == _COLOUR_AXES and shape[2] == _BGRA:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGRA2BGR)
    return pixels


@dataclass(frozen=True)
class JpegFacts:
    """What a JPEG's header says about its picture."""

    width_px: int
    height_px: int
    #: EXIF orientation; 1 is upright.
    orientation: int = 1


def jpeg_facts(content: bytes) -> JpegFacts | None:
    """The facts in a JPEG's header, None if these are not the bytes of a whole JPEG."""
    if not content.startswith(b"\xff\xd8") or b"\xff\xd9" not in content[-64:]:
        return None
    position, orientation = 2, 1
    while position + 4 <= len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        (length,) = struct.unpack_from(">H", content, position + 2)
        segment = content[position + 4 : position + 2 + length]
        if marker == 0xE1 and segment.startswith(b"Exif\0\0"):
            orientation = _exif_orientation(segment[6:])
        # A frame header, in any of the coding variants; C4, C8 and CC are other things.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and len(segment) >= 5:
            height, width = struct.unpack_from(">HH", segment, 1)
            return JpegFacts(width, height, orientation)
        position += 2 + length
    return None


def _exif_orientation(tiff: bytes) -> int:
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return 1
    (offset,) = struct.unpack_from(f"{order}I", tiff, 4)
    if offset + 2 > len(tiff):
        return 1
    (entries,) = struct.unpack_from(f"{order}H", tiff, offset)
    for start in range(offset + 2, min(offset + 2 + 12 * entries, len(tiff) - 11), 12):
        tag, kind, count, value = struct.unpack_from(f"{order}HHIH", tiff, start)
        if tag == 0x0112 and kind == 3 and count == 1:
            return int(value)
    return 1


#: How far, of 255, the mean of an 8x8 block may be off before the pixels count as drawn upon.
#: Decoding at an eighth gives these means but for rounding; a line one pixel wide through a
#: block shifts its mean by an eighth of the line's contrast.
SAME_PICTURE_TOLERANCE = 12


def shows(content: bytes, pixels: Pixels) -> bool:
    """Whether the JPEG still shows these pixels: nobody drew on them since they were decoded.

    Compares the means of blocks of 8x8 pixels, for less than half the cost of decoding it all.
    A faint drawing can go unnoticed; the picture is then sent as the camera delivered it.
    """
    facts = jpeg_facts(content)
    if facts is None or pixels.dtype != np.uint8 or pixels.ndim != _COLOUR_AXES:
        return False
    height, width = pixels.shape[:2]
    if (facts.width_px, facts.height_px, pixels.shape[2]) != (width, height, _BGR):
        return False
    means = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_REDUCED_COLOR_8)
    whole = (height // 8, width // 8)
    if means is None or means.shape[:2] < whole or not all(whole):
        return False
    seen = cv2.resize(
        pixels[: whole[0] * 8, : whole[1] * 8], whole[::-1], interpolation=cv2.INTER_AREA
    )
    return bool(cv2.absdiff(means[: whole[0], : whole[1]], seen).max() <= SAME_PICTURE_TOLERANCE)


def decode_base64(text: str) -> bytes | None:
    """The bytes behind base64 text, with or without a `data:` prefix; None if it is not base64."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=False)
    except (binascii.Error, ValueError):
        return None

"""A picture's media type and size, read from its bytes without decoding them."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Final

from PIL import Image

from vision_event_block.server.store.errors import NotAPicture

MAX_PIXELS: Final = 100_000_000

#: By media type: the suffix of its files and its name in Pillow.
FORMATS: Final = {
    "image/jpeg": ("jpg", "JPEG"),
    "image/png": ("png", "PNG"),
    "image/webp": ("webp", "WEBP"),
    "image/gif": ("gif", "GIF"),
    "image/tiff": ("tif", "TIFF"),
    "image/bmp": ("bmp", "BMP"),
    "image/heic": ("heic", "HEIF"),
    "image/avif": ("avif", "AVIF"),
}
_SIGNATURES: Final = (
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), "image/tiff"),
    (re.compile(rb"BM.{4}\0{4}", re.DOTALL), "image/bmp"),
)
_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
_HEIC_BRANDS: Final = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)
#: Boxes in HEIC and AVIF: the size of an image or of one of its tiles, then a rotation by quarters.
_SIZE_BOX: Final = re.compile(rb"\0\0\0\x14ispe\0{4}(.{4})(.{4})", re.DOTALL)
_TURN_BOX: Final = re.compile(rb"\0\0\0\x09irot(.)", re.DOTALL)
#: The boxes come before the picture's data; only this much is searched for them.
_BOXES_BYTES: Final = 64 * 1024

_EXIF_ORIENTATION: Final = 0x0112
#: Orientations that swap width and height.
_ON_ITS_SIDE: Final = (5, 6, 7, 8)
#: Media types whose EXIF data Pillow reads without decoding the picture.
_WITH_EXIF: Final = ("image/jpeg", "image/tiff", "image/webp")

# Pillow warns above a limit of its own and refuses above twice that; here the size is checked
# before anything is decoded.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True)
class Appearance:
    """The media type, and the size in pixels as displayed; None if it is unknown."""

    media_type: str
    width: int | None
    height: int | None


def appearance_of(data: bytes) -> Appearance:
    """The media type and size of a picture, from its signature and header.

    Raises:
        NotAPicture: its format is not in FORMATS, its header is broken, or it would take too much
            memory to decode.
    """
    media_type = _media_type(data)
    if media_type is None:
        raise NotAPicture(
            "the file is not a JPEG, PNG, WebP, GIF, TIFF, BMP, HEIC or AVIF picture, going by its "
            "first bytes"
        )
    if media_type in ("image/heic", "image/avif"):
        size = _boxed_size(data)
        if size is None:
            return Appearance(media_type, None, None)
    else:
        size = _header_size(data, media_type)
    width, height = size
    if width < 1 or height < 1:
        raise NotAPicture("the picture has no pixels")
    if width * height > MAX_PIXELS:
        raise NotAPicture(
            f"the picture has {width} x {height} pixels; at most {MAX_PIXELS // 10**6} megapixels "
            "are accepted"
        )
    return Appearance(media_type, width, height)


def _media_type(data: bytes) -> str | None:
    for signature, media_type in _SIGNATURES:
        if signature.match(data):
            return media_type
    if data[4:8] == b"ftyp":
        # The major brand, a version, then the compatible brands.
        end = min(int.from_bytes(data[:4], "big"), 256)
        brands = {data[8:12], *(data[start : start + 4] for start in range(16, end, 4))}
        if brands & _AVIF_BRANDS:
            return "image/avif"
        if brands & _HEIC_BRANDS:
            return "image/heic"
    return None


def _header_size(data: bytes, media_type: str) -> tuple[int, int]:
    try:
        with Image.open(io.BytesIO(data), formats=(FORMATS[media_type][1],)) as picture:
            width, height = picture.size
            if media_type in _WITH_EXIF and _is_on_its_side(picture):
                return height, width
            return width, height
    except Exception as error:  # a parser of untrusted bytes may fail in any way
        raise NotAPicture(f"the header of this {media_type} is broken") from error


def _is_on_its_side(picture: Image.Image) -> bool:
    return picture.getexif().get(_EXIF_ORIENTATION) in _ON_ITS_SIDE


def _boxed_size(data: bytes) -> tuple[int, int] | None:
    """The largest size in the boxes: a large picture consists of tiles, which have sizes too."""
    head = data[:_BOXES_BYTES]
    sizes = [
        (int.from_bytes(width, "big"), int.from_bytes(height, "big"))
        for width, height in _SIZE_BOX.findall(head)
    ]
    if not sizes:
        return None
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    turn = _TURN_BOX.search(head)
    if turn is not None and turn[1][0] % 2:
        return height, width
    return width, height

"""Pixels to JPEG, and whether JPEG bytes still show the pixels."""

from __future__ import annotations

import base64
import struct

import cv2
import numpy as np
import pytest

from vision_event_block.events import encoding
from vision_event_block.events.errors import UnfitPicture
from vision_event_block.events.images import Picture, Snapshot


def smooth(height=120, width=160):
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows // 2, columns // 3, (rows + columns) // 5], axis=2).astype(np.uint8)


def decoded(content, flag=cv2.IMREAD_COLOR):
    return cv2.imdecode(np.frombuffer(content, np.uint8), flag)


def jpeg(pixels, quality=95):
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def with_exif(content, orientation, order="<"):
    """The JPEG with an EXIF segment as cameras write it."""
    mark = b"II" if order == "<" else b"MM"
    tiff = mark + struct.pack(f"{order}HI", 42, 8) + struct.pack(f"{order}H", 1)
    tiff += struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0) + b"\0\0\0\0"
    segment = b"Exif\0\0" + tiff
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + content[2:]


GRAY = smooth()[:, :, 2]
PIXELS = {
    "colour": (smooth(), smooth()),
    "gray (h, w)": (GRAY, cv2.cvtColor(GRAY, cv2.COLOR_GRAY2BGR)),
    "gray (h, w, 1)": (GRAY[:, :, None], cv2.cvtColor(GRAY, cv2.COLOR_GRAY2BGR)),
    "with alpha": (cv2.cvtColor(smooth(), cv2.COLOR_BGR2BGRA), smooth()),
    "a view with strides": (np.repeat(smooth(), 2, axis=1)[:, ::2], smooth()),
    "mask": (GRAY > 25, cv2.cvtColor((GRAY > 25).astype(np.uint8) * 255, cv2.COLOR_GRAY2BGR)),
    "16 bits": (smooth().astype(np.uint16) * 256, smooth()),
    "floats": (smooth().astype(np.float32) + 0.2, smooth()),
}


@pytest.mark.parametrize(("pixels", "expected"), PIXELS.values(), ids=PIXELS)
def test_every_make_of_pixels_becomes_the_same_picture(pixels, expected):
    result = decoded(encoding.encode_jpeg(pixels, quality=95))

    difference = np.abs(result.astype(int) - expected.astype(int))
    assert result.shape == expected.shape
    # A mask has hard edges, at which JPEG rings.
    assert difference.mean() < 2


@pytest.mark.parametrize("shape", [(0, 5, 3), (5,), (5, 5, 2), (5, 5, 3, 1), (1, 70_000)])
def test_what_is_no_picture_is_refused_with_its_shape(shape):
    with pytest.raises(UnfitPicture, match="expected|holds"):
        encoding.encode_jpeg(np.zeros(shape, np.uint8), quality=90)


def test_quality_decides_the_size():
    noise = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)

    assert len(encoding.encode_jpeg(noise, quality=30)) < len(
        encoding.encode_jpeg(noise, quality=95)
    )


@pytest.mark.parametrize(
    ("size", "longest", "expected"),
    [
        ((160, 120), None, (160, 120)),
        ((160, 120), 160, (160, 120)),
        ((160, 120), 80, (80, 60)),
        ((120, 160), 80, (60, 80)),
        ((1000, 2), 100, (100, 1)),
    ],
)
def test_a_longest_side_makes_pictures_smaller_and_never_larger(size, longest, expected):
    content = encoding.encode_jpeg(
        np.zeros((size[1], size[0], 3), np.uint8), quality=90, max_side_px=longest
    )

    assert decoded(content).shape[1::-1] == expected


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_header_tells_size_and_orientation(orientation, order):
    facts = encoding.jpeg_facts(with_exif(jpeg(smooth()), orientation, order))

    assert facts == encoding.JpegFacts(160, 120, orientation)


@pytest.mark.parametrize("offset", [8, 9, 10, 2**31])
def test_exif_that_points_beyond_itself_counts_as_upright(offset):
    segment = b"Exif\0\0II" + struct.pack("<HI", 42, offset) + b"\1"
    content = jpeg(smooth())
    content = (
        content[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + content[2:]
    )

    assert encoding.jpeg_facts(content) == encoding.JpegFacts(160, 120, 1)


NOT_A_JPEG = {
    "empty": b"",
    "png": cv2.imencode(".png", smooth())[1].tobytes(),
    "cut off": jpeg(smooth())[:-200],
    "header only": b"\xff\xd8\xff\xe0",
    "marker without end": b"\xff\xd8\xff\xe0\xff\xff\xff\xd9",
    "text": b"hello",
}


@pytest.mark.parametrize("content", NOT_A_JPEG.values(), ids=NOT_A_JPEG)
def test_what_is_no_whole_jpeg_has_no_facts(content):
    assert encoding.jpeg_facts(content) is None


@pytest.mark.parametrize("end", range(2, 40))
def test_a_header_cut_anywhere_is_read_without_an_error(end):
    encoding.jpeg_facts(with_exif(jpeg(smooth()), 6)[:end] + b"\xff\xd9")


def test_the_original_bytes_travel_while_they_show_the_picture():
    original = jpeg(smooth(480, 640), quality=60)

    picture = Snapshot(pixels=decoded(original), quality=95, original=original).encode()

    assert picture.content == original


def drawn_upon(pixels):
    pixels = pixels.copy()
    cv2.line(pixels, (10, 10), (300, 200), (255, 255, 255), 1)
    return pixels


def text_upon(pixels):
    return cv2.putText(pixels.copy(), "part 7", (30, 60), 0, 0.4, (255, 255, 255), 1)


REENCODED = {
    "a thin line": (lambda pixels, original: (drawn_upon(pixels), original)),
    "small text": (lambda pixels, original: (text_upon(pixels), original)),
    "another picture": (lambda pixels, original: (255 - pixels, original)),
    "another size": (lambda pixels, original: (pixels[:240].copy(), original)),
    "turned by exif": (lambda pixels, original: (pixels, with_exif(original, 3))),
    "not a jpeg": (lambda pixels, _: (pixels, cv2.imencode(".png", pixels)[1].tobytes())),
    "became gray": (lambda pixels, original: (pixels[:, :, 0].copy(), original)),
}


@pytest.mark.parametrize("change", REENCODED.values(), ids=REENCODED)
def test_bytes_that_no_longer_show_the_picture_do_not_travel(change):
    original = jpeg(smooth(480, 640), quality=90)
    pixels, original = change(decoded(original), original)

    picture = Snapshot(pixels=pixels, quality=95, original=original).encode()

    assert picture.content != original
    shown = decoded(picture.content, cv2.IMREAD_UNCHANGED)
    assert np.abs(shown.astype(int) - pixels.astype(int)).mean() < 2


def test_a_picture_that_has_to_shrink_is_encoded_anew():
    original = jpeg(smooth(480, 640))

    snapshot = Snapshot(pixels=decoded(original), quality=90, max_side_px=320, original=original)

    assert decoded(snapshot.encode().content).shape == (240, 320, 3)


@pytest.mark.parametrize("prefix", ["", "data:image/jpeg;base64,"])
def test_base64_is_read_with_and_without_its_prefix(prefix):
    assert encoding.decode_base64(prefix + base64.b64encode(b"pixels").decode()) == b"pixels"


def test_what_is_no_base64_gives_none():
    assert encoding.decode_base64("abcde") is None


def test_pictures_of_an_event_are_told_apart_and_say_what_they_weigh():
    one, other = Picture(content=b"same"), Picture(content=b"same")

    assert one.picture_id != other.picture_id
    assert one.size_bytes == 4


def test_what_can_hold_no_frame_is_no_picture_of_ours():
    empty = b"\xff\xd8" + b"\xff\xe0\0\4ab" + b"\xff\xda\0\2" + b"\xff\xd9"

    assert encoding.jpeg_facts(empty) is None


def test_an_original_too_small_to_compare_is_encoded_anew():
    original = jpeg(smooth(7, 7))

    picture = Snapshot(pixels=decoded(original), quality=95, original=original).encode()

    assert picture.content != original

"""Small files that cost whoever decodes them much."""

from __future__ import annotations

import io
import struct
from pathlib import Path

from PIL import Image

#: One colour, 12,000 x 9,000 pixels in 2 kB; to encode it takes seconds and gigabytes.
HUGE_AVIF = Path(__file__).with_name("huge.avif")

_SCAN, _END = 0xDA, 0xD9


def endless_jpeg(scans, side=6000):
    """A progressive JPEG of one grey whose last refinement comes again and again.

    Each scan of 36 million pixels takes a few hundred bytes, and a hundredth of a second.
    """
    out = io.BytesIO()
    Image.new("L", (side, side), 128).save(out, "JPEG", progressive=True)
    data = out.getvalue()
    start, last = 2, b""
    while data[start + 1] != _END:
        end = start + 2 + struct.unpack(">H", data[start + 2 : start + 4])[0]
        if data[start + 1] == _SCAN:
            while data[end] != 0xFF or data[end + 1] == 0:
                end += 1
            last = data[start:end]
        start = end
    return data[:start] + last * scans + data[start:]


def hiding_its_size(avif):
    """The same picture, whose size stands behind more bytes than an upload is searched for it."""
    end = struct.unpack(">I", avif[:4])[0]
    filler = struct.pack(">I4s", 100_000, b"free") + bytes(99_992)
    moved = avif.index(b"mdat") + 4
    before, after = (struct.pack(">I", place) for place in (moved, moved + len(filler)))
    assert avif.count(before) == 1, "the place of the pixels stands elsewhere, too"
    shifted = avif.replace(before, after)
    return shifted[:end] + filler + shifted[end:]


def huge_webp(width=16_383, height=16_383):
    """A few dozen bytes that say they are a picture of 268 megapixels."""
    out = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(out, "WEBP", lossless=True)
    data = bytearray(out.getvalue())
    start = data.index(b"VP8L") + 9
    (bits,) = struct.unpack("<I", data[start : start + 4])
    bits = bits >> 28 << 28 | (height - 1) << 14 | width - 1
    data[start : start + 4] = struct.pack("<I", bits)
    return bytes(data)

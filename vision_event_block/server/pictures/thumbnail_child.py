"""The process that decodes pictures for thumbnails, one after the other.

Decoders are C code that reads untrusted bytes, and a small file can keep one busy for minutes or
make it use gigabytes. So they run here, where the system ends a process that uses more time or
memory than a picture needs; the server then starts another one. Nothing of the server is imported:
this process reads jobs from its standard input and writes JPEGs to its standard output.

    job     a line of JSON: the format, the side, and a path or the size of the bytes that follow
    answer  four bytes with a size, then a JPEG of that size; size 0 for what cannot be decoded
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import resource
import struct
import sys
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from PIL import Image, ImageOps

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE: Final = struct.Struct(">I")
#: Only one process at a time decodes a larger picture, so that their memory does not add up.
LARGE_PIXELS: Final = 4_000_000
#: Memory of the interpreter and the decoders without a picture.
_BASE_BYTES: Final = 128 * 2**20
#: Per pixel: once in the decoder's own format, and once in Pillow's.
_PIXEL_BYTES: Final = 8
_NICENESS: Final = 5
_JPEG_QUALITY: Final = 80


def work(max_pixels: int, max_cpu_s: int, lock_path: Path) -> None:
    """Answers jobs until there are no more.

    Args:
        max_pixels: Larger pictures are not decoded.
        max_cpu_s: The processor time that one picture may take before this process is ended.
        lock_path: A file that is locked while a large picture is decoded.
    """
    os.nice(_NICENESS)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_AS, _BASE_BYTES + _PIXEL_BYTES * max_pixels)
    _decode_in_one_thread()
    Image.MAX_IMAGE_PIXELS = None  # compared below, once a picture is open
    jobs, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # so that a decoder's output does not mix with the answers
    with lock_path.open("wb") as lock:
        for line in jobs:
            job = json.loads(line)
            source = io.BytesIO(jobs.read(job["size"])) if "size" in job else job["path"]
            used = resource.getrusage(resource.RUSAGE_SELF)
            _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + 1 + max_cpu_s)
            try:
                thumbnail = _thumbnail(source, job, max_pixels, lock)
            except Exception:  # noqa: BLE001 - a decoder of untrusted bytes may fail in any way
                thumbnail = b""
            answers.write(SIZE.pack(len(thumbnail)) + thumbnail)
            answers.flush()


def _thumbnail(
    source: BinaryIO | str, job: dict[str, Any], max_pixels: int, lock: BinaryIO
) -> bytes:
    side = job["side"]
    with Image.open(source, formats=(job["format"],)) as picture:
        pixels = picture.width * picture.height
        if pixels > max_pixels:
            return b""
        with _locked(lock) if pixels > LARGE_PIXELS else nullcontext():
            picture.thumbnail((side, side), reducing_gap=2.0)
        flat = _on_white(ImageOps.exif_transpose(picture))
    out = io.BytesIO()
    flat.save(out, "JPEG", quality=_JPEG_QUALITY)
    return out.getvalue()


def _on_white(picture: Image.Image) -> Image.Image:
    """The picture in a colour mode that JPEG supports, without transparency."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layer = picture.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")


@contextmanager
def _locked(file: BinaryIO) -> Iterator[None]:
    """Holds the lock on this file; a process that is ended releases it."""
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _decode_in_one_thread() -> None:
    """Limits decoding to one thread: each would use limited address space for its own heap."""
    with suppress(ImportError):
        from PIL import AvifImagePlugin  # noqa: PLC0415 -- not in every Pillow

        AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def _limit(what: int, value: int) -> None:
    with suppress(OSError, ValueError):  # not every system has every limit
        resource.setrlimit(what, (value, resource.getrlimit(what)[1]))


if __name__ == "__main__":
    work(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))

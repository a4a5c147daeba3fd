"""Small versions of pictures, made when they are first asked for and kept while there is room."""

from __future__ import annotations

import os
import threading
import uuid
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from vision_event_block.server.pictures.decoders import MAX_CPU_S, MAX_PIXELS, Decoders

if TYPE_CHECKING:
    from pathlib import Path

    from vision_event_block.server.pictures.place import PictureFile

#: A few sizes, so that each is made once for all requests of about that size.
SIDES: Final = (160, 320, 640, 1280)
MAX_CACHE_BYTES: Final = 512 * 1024 * 1024
#: The share that a full cache is reduced to.
_KEPT_SHARE: Final = 0.8


class Thumbnails:
    """A cache on disk with a limit; the least recently used are dropped first."""

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int = MAX_CACHE_BYTES,
        max_pixels: int = MAX_PIXELS,
        max_cpu_s: int = MAX_CPU_S,
    ) -> None:
        """Decodes nothing and starts no process before the first request."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._decoders = Decoders(
            folder / "decoding.lock", self._keep, max_pixels=max_pixels, max_cpu_s=max_cpu_s
        )
        #: Guards the size, which is None until the folder has been scanned.
        self._counting = threading.Lock()
        self._size_bytes: int | None = None

    def ask(self, picture_id: str, file: PictureFile, side: int) -> Future[bytes | None]:
        """A JPEG that fits into a square of the next of SIDES; None if it cannot be decoded.

        The future raises FileNotFoundError if the bytes of the picture are gone, and StorageDown
        if they cannot be reached.

        Raises:
            Busy: too many are waiting already.
        """
        side = next((each for each in SIDES if each >= side), SIDES[-1])
        path = self._path(picture_id, side)
        with suppress(FileNotFoundError):
            kept: Future[bytes | None] = Future()
            kept.set_result(path.read_bytes())
            os.utime(path)
            return kept
        return self._decoders.ask(picture_id, file, side)

    def close(self) -> None:
        self._decoders.close()

    def remove(self, picture_id: str) -> None:
        self._decoders.forget(picture_id)
        for side in SIDES:
            with suppress(FileNotFoundError):
                path = self._path(picture_id, side)
                size_bytes = path.stat().st_size
                path.unlink()
                self._grow(-size_bytes)

    def picture_ids(self) -> set[str]:
        """The pictures that have thumbnails."""
        return {path.name.partition("-")[0] for path in self._folder.glob("*/*.jpg")}

    def _path(self, picture_id: str, side: int) -> Path:
        return self._folder / picture_id[:2] / f"{picture_id}-{side}.jpg"

    def _keep(self, picture_id: str, side: int, thumbnail: bytes) -> None:
        """Writes without a sync: a thumbnail lost in a power cut is made again."""
        path = self._path(picture_id, side)
        path.parent.mkdir(parents=True, exist_ok=True)
        arriving = path.with_name(f".{uuid.uuid4().hex}")
        arriving.write_bytes(thumbnail)
        arriving.replace(path)
        self._grow(len(thumbnail))

    def _grow(self, size_bytes: int) -> None:
        with self._counting:
            if self._size_bytes is None:
                self._size_bytes = sum(size for _, size, _ in self._listed())
            else:
                self._size_bytes += size_bytes
            if self._size_bytes > self._max_bytes:
                self._size_bytes = self._drop_oldest()

    def _drop_oldest(self) -> int:
        """Reduces the cache; returns the size of what is left."""
        files = sorted(self._listed())
        left_bytes = sum(size for _, size, _ in files)
        for _, size, path in files:
            if left_bytes <= self._max_bytes * _KEPT_SHARE:
                break
            path.unlink(missing_ok=True)
            left_bytes -= size
        return left_bytes

    def _listed(self) -> list[tuple[float, int, Path]]:
        """When it was last used, size and path of everything in the cache."""
        listed = []
        for path in self._folder.glob("*/*"):
            with suppress(FileNotFoundError):
                status = path.stat()
                listed.append((status.st_mtime, status.st_size, path))
        return listed

"""Pictures as files in a folder, which may be shared with other machines.

3f/3f0c...e1.jpg          the bytes as they came
arriving/                 not yet complete
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

#: Incomplete files older than this were left behind by a process that died.
_ABANDONED_S: Final = 3600
_UNLINKS_AT_ONCE: Final = 8


class PictureFolder:
    """A folder of files; see `PicturePlace`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._arriving = folder / "arriving"
        self._make_folders()

    def put(self, name: str, data: bytes, media_type: str) -> None:  # noqa: ARG002 - the name says it
        """Writes the whole file to disk under its name, or nothing."""
        path = self.path(name)
        arriving = self._arriving / path.name
        try:
            with arriving.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            arriving.replace(path)
        except BaseException:
            arriving.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)

    def read(self, name: str) -> bytes:
        return self.path(name).read_bytes()

    def has(self, name: str) -> bool:
        return self.path(name).is_file()

    def remove(self, names: Sequence[str]) -> None:
        """Deletes files; missing ones count as deleted."""
        with ThreadPoolExecutor(_UNLINKS_AT_ONCE) as threads:  # most of it is waiting for the disk
            for _ in threads.map(lambda name: self.path(name).unlink(missing_ok=True), names):
                pass

    def path(self, name: str) -> Path:
        return self._folder / name

    def _make_folders(self) -> None:
        """Creates all folders in advance, so that an upload syncs only one."""
        self._arriving.mkdir(parents=True, exist_ok=True)
        for number in range(256):
            (self._folder / f"{number:02x}").mkdir(exist_ok=True)
        _sync_folder(self._folder)
        _sync_folder(self._folder.parent)
        for path in self._arriving.iterdir():
            if path.stat().st_mtime < time.time() - _ABANDONED_S:
                path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

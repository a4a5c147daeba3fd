"""A file of no use but its size: what a full disk can be asked for when not a byte is left.

A process that begins needs a block for its slot, a command one for its request, and shedding
pictures one for the event without them. On a disk that others have filled to the last byte none of
it would be possible, and what waits could neither leave nor shrink.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

from vision_event_block.outbox.disk import FULL

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vision_event_block.outbox.disk import Disk

_logger = logging.getLogger(__name__)

BALLAST: Final = "ballast"
MAX_BYTES: Final = 256 * 1024
#: Of the room of the outbox, at most.
SHARE: Final = 1 / 64
#: It is laid in again once so many times as much is free.
REFILL_FACTOR: Final = 8

_Result = TypeVar("_Result")


class Ballast:
    """The ballast of one outbox, for all its processes. Any thread may use it."""

    def __init__(self, folder: Path, disk: Disk, *, max_bytes: int) -> None:
        self._path = folder / BALLAST
        self._disk = disk
        self._size_bytes = min(MAX_BYTES, int(max_bytes * SHARE))

    def refill(self, free_bytes: int, by_way_of: Path) -> None:
        """Lays it in where it is missing and there is room.

        Args:
            free_bytes: What may be taken of the disk.
            by_way_of: A folder where nobody else writes.
        """
        try:
            if self._size() >= self._size_bytes or free_bytes < REFILL_FACTOR * self._size_bytes:
                return
            temporary = by_way_of / f"{BALLAST}.tmp"
            # A file system that compresses would keep zeros for nothing.
            self._disk.write(temporary, [os.urandom(self._size_bytes)], sync=False)
            self._disk.rename(temporary, self._path)
        except OSError as error:
            _logger.debug("could not reserve emergency disk space: %s", error)

    def afford(self, action: Callable[[], _Result]) -> _Result:
        """Does something that may need a little room, if need be once more without the ballast.

        Raises:
            OSError: as the action does.
        """
        try:
            return action()
        except OSError as error:
            if error.errno not in FULL or not self._give_back():
                raise
        return action()

    def _give_back(self) -> bool:
        try:
            self._disk.remove(self._path)
        except OSError:
            return False
        _logger.warning("the disk is full; the outbox released its reserved space")
        return True

    def _size(self) -> int:
        with suppress(FileNotFoundError):
            return self._disk.size_bytes(self._path)
        return 0

"""A file that only takes up space, to be freed when the disk has not a byte left.

A process that starts needs a block for its slot, a command needs one for its request, and shedding
pictures needs one for the event without them. On a disk that others have filled to the last byte
all of this would fail, and waiting events could neither be sent nor shrunk.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final, TypeVar

from vision_event_block.outbox.disk import FULL, size_if_there

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vision_event_block.outbox.disk import Disk

_logger = logging.getLogger(__name__)

BALLAST: Final = "ballast"
MAX_BYTES: Final = 256 * 1024
#: As a share of the outbox's quota, at most.
SHARE: Final = 1 / 64
#: It is created again once this many times its size is free.
REFILL_FACTOR: Final = 8

_Result = TypeVar("_Result")


class Ballast:
    """The ballast of one outbox, for all its processes. Any thread may use it."""

    def __init__(self, folder: Path, disk: Disk, *, max_bytes: int) -> None:
        self._path = folder / BALLAST
        self._disk = disk
        self._size_bytes = min(MAX_BYTES, int(max_bytes * SHARE))

    def refill(self, free_bytes: int, by_way_of: Path) -> None:
        """Creates the file where it is missing and there is space.

        Args:
            free_bytes: How much of the disk may be taken.
            by_way_of: A folder where nobody else writes.
        """
        try:
            is_there = size_if_there(self._disk, self._path) >= self._size_bytes
            if is_there or free_bytes < REFILL_FACTOR * self._size_bytes:
                return
            temporary = by_way_of / f"{BALLAST}.tmp"
            # On a file system that compresses, zeros would reserve nothing.
            self._disk.write(temporary, [os.urandom(self._size_bytes)], sync=False)
            self._disk.rename(temporary, self._path)
        except OSError as error:
            _logger.debug("could not reserve emergency disk space: %s", error)

    def afford(self, action: Callable[[], _Result]) -> _Result:
        """Does something that may need a little space; if it fails, once more without the ballast.

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

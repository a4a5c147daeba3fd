"""Memory for copies of pictures, reused again and again.

The system hands out new memory page by page, which for a picture takes longer than copying it.
"""

from __future__ import annotations

import weakref
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from vision_event_block.events.encoding import Pixels

#: Two pictures of an event, while two more are being encoded.
MAX_IDLE: Final = 4
MAX_IDLE_BYTES: Final = 64 * 2**20


class Buffers:
    """Copies pictures into memory that is reused once nobody holds the copy. Thread-safe."""

    def __init__(self) -> None:
        # A deque, whose operations are atomic: memory can come back in the middle of anything.
        self._idle: deque[np.ndarray[Any, Any]] = deque()

    def copy(self, pixels: Pixels) -> Pixels:
        """A private copy of the pixels. Views of it must not outlive it."""
        memory = self._find(pixels.nbytes)
        copied = memory[: pixels.nbytes].view(pixels.dtype).reshape(pixels.shape)
        np.copyto(copied, pixels)
        weakref.finalize(copied, self._take_back, memory).atexit = False
        return copied

    @property
    def idle_bytes(self) -> int:
        return sum(memory.nbytes for memory in tuple(self._idle))

    def _find(self, size_bytes: int) -> np.ndarray[Any, Any]:
        for _ in range(len(self._idle)):
            try:
                memory = self._idle.popleft()
            except IndexError:  # another thread was faster
                break
            if size_bytes <= memory.nbytes <= 2 * size_bytes:
                return memory
            self._idle.append(memory)
        return np.empty(size_bytes, np.uint8)

    def _take_back(self, memory: np.ndarray[Any, Any]) -> None:
        self._idle.append(memory)
        while len(self._idle) > MAX_IDLE or self.idle_bytes > MAX_IDLE_BYTES:
            with suppress(IndexError):  # another thread was faster
                self._idle.popleft()

"""Frames that are kept for open objects: copied once, and encoded once, in the background."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from vision_event_block.delivery import encoder
from vision_event_block.events.buffers import Buffers
from vision_event_block.events.errors import UnfitPicture
from vision_event_block.events.images import Picture, Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future

#: Frames that may wait as pixels to be encoded. Beyond it the workflow encodes the next one itself.
MAX_RAW_FRAMES: Final = 4


class KeptPicture:
    """One frame, shared by all objects that keep it."""

    def __init__(self, frame: Picture | Snapshot) -> None:
        self._frame: Picture | Snapshot | UnfitPicture = frame
        self._lock = threading.Lock()
        self._work: Future[Picture | None] | None = None

    @property
    def is_raw(self) -> bool:
        return isinstance(self._frame, Snapshot)

    @property
    def size_bytes(self) -> int:
        frame = self._frame
        return 0 if isinstance(frame, UnfitPicture) else frame.size_bytes

    def encode_soon(self) -> None:
        """Has another thread encode it, if that has not begun."""
        if self._work is None and self.is_raw:
            self._work = encoder.run_soon(self.picture)

    def picture(self) -> Picture | None:
        """The encoded picture, once it is ready; None where the pixels cannot become one."""
        with self._lock:
            if isinstance(self._frame, Snapshot):
                (self._frame,) = encoder.encode_in_turn([self._frame])
            return self._frame if isinstance(self._frame, Picture) else None

    @property
    def problem(self) -> str:
        return str(self._frame) if isinstance(self._frame, UnfitPicture) else ""


class KeptPictures:
    """All kept frames of a block, and how much memory they take."""

    def __init__(self) -> None:
        self._buffers = Buffers()
        self._kept: WeakSet[KeptPicture] = WeakSet()
        self._held: WeakSet[Picture] = WeakSet()
        self._has_new = False
        #: How many frames have been kept so far.
        self.kept_count = 0

    def keep(self, frame: Picture | Snapshot, *, encodes: bool) -> KeptPicture:
        """Keeps a frame; other steps may draw on the host's pixels once this run is over.

        Args:
            frame: From the host, nothing copied yet.
            encodes: Whether to start encoding it now, because it will be needed.
        """
        is_busy = sum(kept.is_raw for kept in self._kept) >= MAX_RAW_FRAMES
        if isinstance(frame, Snapshot) and not is_busy:
            frame = replace(frame, pixels=self._buffers.copy(frame.pixels))
        kept = KeptPicture(frame)
        if is_busy:
            kept.picture()
        elif encodes:
            kept.encode_soon()
        self._kept.add(kept)
        self._has_new = True
        self.kept_count += 1
        return kept

    def hold(self, pictures: Iterable[Picture]) -> None:
        """Counts pictures that are kept elsewhere, for as long as an object has them."""
        self._held.update(pictures)

    def have_grown_beyond(self, max_bytes: int) -> bool:
        """Whether they take more memory than that; checked only after one was added."""
        if self._has_new:
            size_bytes = sum(kept.size_bytes for kept in self._kept)
            size_bytes += sum(picture.size_bytes for picture in self._held)
            self._has_new = size_bytes > max_bytes
        return self._has_new

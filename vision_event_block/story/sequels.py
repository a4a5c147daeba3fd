"""Events of one camera that wait for what comes after them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from vision_event_block.story.ring import StoryPicture, StoryRing

#: Of one camera at a time: each keeps its pictures in memory.
MAX_WAITING: Final = 16

_Event = TypeVar("_Event")


@dataclass(frozen=True)
class Sequel(Generic[_Event]):
    """An event whose story is over, with the pictures of what came after it."""

    event: _Event
    at_s: float
    pictures: tuple[StoryPicture, ...]


class CameraStory(Generic[_Event]):
    """A camera's ring, and the events that wait for it. For one thread at a time."""

    def __init__(self, ring: StoryRing, *, after_s: float) -> None:
        """The ring must reach back as far as an event waits."""
        self.ring = ring
        self._after_s = after_s
        #: With their times, the oldest first: the time of a camera only goes forward.
        self._waiting: deque[tuple[float, _Event]] = deque()

    def due(self, time_s: float) -> list[Sequel[_Event]]:
        """The events whose story ended before a frame of this time, not yet in the ring."""
        if not self._waiting:
            return []
        if self.ring.begins_again(time_s):
            return self.close()
        due = []
        while self._waiting and self._waiting[0][0] + self._after_s < time_s:
            due.append(self._ended())
        return due

    def wait(self, event: _Event, time_s: float) -> list[Sequel[_Event]]:
        """Has an event wait; gives the oldest one if that is one too many."""
        self._waiting.append((time_s, event))
        return [self._ended()] if len(self._waiting) > MAX_WAITING else []

    def close(self) -> list[Sequel[_Event]]:
        """The camera ends: everything that waits, with what there is."""
        return [self._ended() for _ in range(len(self._waiting))]

    def _ended(self) -> Sequel[_Event]:
        at_s, event = self._waiting.popleft()
        return Sequel(event, at_s, tuple(self.ring.after(at_s, self._after_s)))

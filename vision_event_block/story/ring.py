"""The last seconds of a camera as small pictures, and the events that wait for more.

    ring = StoryRing(seconds=5.0)
    for frame in camera:
        ring.add(lambda: frame.pixels, frame.time_s)
        if something_happened:
            images = story_images(ring.before(frame.time_s, 5.0), frame.time_s)

Time is the frames' own, in seconds from any starting point. A frame that comes a little late is
skipped. One from long before means that the camera or the video has started again: what the ring
holds is no longer the past of anything, and is discarded.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from vision_event_block.contract import limits
from vision_event_block.events.encoding import encode_jpeg
from vision_event_block.events.event import EventImage
from vision_event_block.events.images import Picture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vision_event_block.events.encoding import Pixels

DEFAULT_FPS: Final = 2.0
DEFAULT_SIDE_PX: Final = 640
#: Tried in turn until a picture takes no more than its share of the ring.
QUALITIES: Final = (75, 45, 15)
#: A picture's share is the square of its longest side, divided by this. Camera pictures take about
#: half of it at the first quality; only noise takes more.
PIXELS_A_BYTE: Final = 5
#: For one ring, whatever was asked for.
MAX_RING_BYTES: Final = 64 * 2**20
#: A frame that is later than this is from before a restart.
MAX_LATE_S: Final = 1.0
#: Events of one camera that wait for what comes after: each keeps its pictures in memory.
MAX_WAITING: Final = 16
#: Times of frames are rounded, and a picture must not miss its turn by a nanosecond.
_TOLERANCE_S: Final = 0.001

_Event = TypeVar("_Event")


@dataclass(frozen=True)
class StoryPicture:
    """A small picture, and when it was taken by the frames' clock."""

    picture: Picture
    time_s: float


class StoryRing:
    """Bounded by time and bytes; the oldest go first. For one thread at a time."""

    def __init__(
        self, *, seconds: float, fps: float = DEFAULT_FPS, side_px: int = DEFAULT_SIDE_PX
    ) -> None:
        """Starts empty.

        Args:
            seconds: How far back it reaches, at least.
            fps: How many pictures a second are kept, more than 0.
            side_px: The longest side of a kept picture.
        """
        self._period_s = 1.0 / fps
        #: The oldest picture must not go early to make room for the newest.
        self._seconds = seconds + self._period_s
        self._side_px = side_px
        self._picture_bytes = side_px * side_px // PIXELS_A_BYTE
        count = math.floor(self._seconds * fps) + 1
        self._max_bytes = min(MAX_RING_BYTES, count * self._picture_bytes)
        self._pictures: deque[StoryPicture] = deque()
        self._size_bytes = 0
        #: The times of the newest picture, and of the next one.
        self._newest_s = self._due_s = -math.inf

    def __len__(self) -> int:
        return len(self._pictures)

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def add(self, pixels: Callable[[], Pixels], time_s: float) -> bool:
        """Keeps the picture if one is due, and only then asks for its pixels.

        Raises:
            UnfitPicture: it is due, and these pixels cannot become a JPEG.
        """
        if self._newest_s <= time_s < self._due_s:
            return False
        if not math.isfinite(time_s):
            return False
        if time_s < self._newest_s:
            if not self.begins_again(time_s):
                return False
            self.clear()
        # In step with the period, so that the rounding of many frames a second does not add up.
        due_s = self._due_s + self._period_s
        self._due_s = due_s if due_s > time_s else time_s + self._period_s - _TOLERANCE_S
        self._newest_s = time_s
        picture = Picture(content=self._encode(pixels()))
        self._pictures.append(StoryPicture(picture, time_s))
        self._size_bytes += picture.size_bytes
        while len(self._pictures) > 1 and (
            self._pictures[0].time_s < time_s - self._seconds or self._size_bytes > self._max_bytes
        ):
            self._size_bytes -= self._pictures.popleft().picture.size_bytes
        return True

    def before(self, time_s: float, seconds: float) -> list[StoryPicture]:
        """The pictures of the seconds before this time, the oldest first."""
        return self._between(time_s - seconds - _TOLERANCE_S, time_s)

    def after(self, time_s: float, seconds: float) -> list[StoryPicture]:
        """The pictures of the seconds after this time, as far as they have come."""
        return self._between(time_s, time_s + seconds + _TOLERANCE_S)

    def begins_again(self, time_s: float) -> bool:
        """Whether a frame of this time is from after a restart."""
        return time_s < self._newest_s - MAX_LATE_S

    def clear(self) -> None:
        """Discards everything, the clock included."""
        self._pictures.clear()
        self._size_bytes = 0
        self._newest_s = self._due_s = -math.inf

    def _between(self, after_s: float, before_s: float) -> list[StoryPicture]:
        return [each for each in self._pictures if after_s < each.time_s < before_s]

    def _encode(self, pixels: Pixels) -> bytes:
        content = b""
        for quality in QUALITIES:
            content = encode_jpeg(pixels, quality=quality, max_side_px=self._side_px)
            if len(content) <= self._picture_bytes:
                break
        return content


@dataclass(frozen=True)
class Sequel(Generic[_Event]):
    """An event whose story is over, with the pictures of what came after it."""

    event: _Event
    at_s: float
    pictures: tuple[StoryPicture, ...]


class CameraStory(Generic[_Event]):
    """A camera's ring, and the events that wait for it. For one thread at a time."""

    def __init__(self, ring: StoryRing, *, after_s: float, max_waiting: int = MAX_WAITING) -> None:
        """The ring must reach back as far as an event waits."""
        self.ring = ring
        self._after_s = after_s
        self._max_waiting = max_waiting
        #: With their times, oldest first: a camera's time only moves forward.
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
        """Has an event wait; returns the oldest one if that is one too many."""
        self._waiting.append((time_s, event))
        return [self._ended()] if len(self._waiting) > self._max_waiting else []

    def close(self) -> list[Sequel[_Event]]:
        """Ends the camera's story; returns all that waits, each with the pictures there are."""
        return [self._ended() for _ in range(len(self._waiting))]

    def _ended(self) -> Sequel[_Event]:
        at_s, event = self._waiting.popleft()
        return Sequel(event, at_s, tuple(self.ring.after(at_s, self._after_s)))


def story_images(
    pictures: Sequence[StoryPicture], at_s: float, *, most: int = limits.MAX_IMAGES
) -> tuple[EventImage, ...]:
    """The pictures as images of an event at this time, each labelled with its distance.

    If there are more than `most`, some are left out evenly, so that the story is just as long.
    """
    count = min(len(pictures), max(most, 0))
    if count < len(pictures):
        last = len(pictures) - 1
        pictures = [pictures[round(place * last / max(count - 1, 1))] for place in range(count)]
    return tuple(
        EventImage(label=f"{each.time_s - at_s:+.1f} s", output=each.picture) for each in pictures
    )

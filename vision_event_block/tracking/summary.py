"""What an event says of an object, besides its pictures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum
from itertools import groupby
from typing import TYPE_CHECKING, Final

from vision_event_block.events.times import iso
from vision_event_block.tracking.sighting import RULE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vision_event_block.events.metadata import MetadataValue

#: The most points of a path that an event holds.
MAX_PATH_POINTS: Final = 20
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)


class State(str, Enum):
    """Whether the object is still there, or how it ended."""

    STILL_THERE = "still there"
    #: Gone for `lost_after_seconds`.
    LEFT = "left"
    #: It was still there when the process, the pipeline or the camera ended.
    CUT_OFF = "cut off"
    #: It was still there, but others needed its place (`max_open`).
    PUSHED_OUT = "pushed out"


@dataclass(frozen=True, kw_only=True)
class TrackSummary:
    """Everything that an event says of its object."""

    track_id: int
    #: The class that most frames gave it.
    class_name: str
    state: State
    #: By the frames' clock, since 1970.
    first_seen_us: int
    last_seen_us: int
    #: The number of frames that show it.
    frames: int
    best_confidence: float
    best_score: float
    best_seen_us: int
    #: The number of frames by class.
    votes: Mapping[str, int]
    #: Where it was, in pixels of the workflow's picture.
    path: tuple[tuple[int, int], ...]

    @property
    def duration_s(self) -> float:
        """From the first frame that shows it to the last."""
        return (self.last_seen_us - self.first_seen_us) / 1e6

    def metadata(self, *, scale: float = 1.0) -> dict[str, MetadataValue]:
        """The object's entries in the event's metadata: the table of its keys.

        Args:
            scale: Pixels of the event's picture for each pixel of the workflow's.
        """
        found: dict[str, MetadataValue] = {
            "track_id": self.track_id,
            "class": self.class_name,
            "state": self.state.value,
            "first_seen": iso(moment(self.first_seen_us)),
            "last_seen": iso(moment(self.last_seen_us)),
            "duration_s": round(self.duration_s, 3),
            "frames": self.frames,
            "best_confidence": round(self.best_confidence, 6),
            "best_score": round(self.best_score, 6),
            "best_seen": iso(moment(self.best_seen_us)),
            "best_rule": RULE,
            "path": " ".join(f"{round(x * scale)},{round(y * scale)}" for x, y in self.path),
        }
        if len(self.votes) > 1:
            ranked = sorted(self.votes.items(), key=lambda vote: -vote[1])
            found["class_votes"] = ", ".join(f"{name}: {number}" for name, number in ranked)
        return found


class Path:
    """An object's path, thinned out as it grows.

    Of all its places every first, second, fourth... is kept, so that together with the last one
    there are never more than `MAX_PATH_POINTS`.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[int, int]] = []
        self._stride = 1
        self._count = 0
        self._last = (0, 0)

    def add(self, place: tuple[int, int]) -> None:
        if self._count % self._stride == 0:
            if len(self._kept) == MAX_PATH_POINTS - 1:
                self._stride *= 2
                self._kept = self._kept[::2]
            if self._count % self._stride == 0:
                self._kept.append(place)
        self._count += 1
        self._last = place

    def points(self) -> tuple[tuple[int, int], ...]:
        """The kept places and the last one; a place where the object stands only once."""
        return tuple(place for place, _ in groupby((*self._kept, self._last)))


def moment(time_us: int) -> datetime:
    """A frame's time as a datetime."""
    return _EPOCH + timedelta(microseconds=time_us)


def microseconds(time: datetime) -> int:
    """A time with a zone as whole microseconds since 1970, which add up exactly."""
    return (time - _EPOCH) // timedelta(microseconds=1)

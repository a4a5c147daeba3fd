"""Which objects are open on a camera, and what each frame decides about them.

An object is what the tracker gives one id, from the first frame that shows it until it has not been
seen for `lost_after`. It is confirmed once it has been seen for `minimum`; if it never is, it is
noise. Nothing here knows pictures or events: frames go in, decisions come out.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum, auto
from heapq import nsmallest
from typing import TYPE_CHECKING, Final

from vision_event_block.events.adjustments import Adjustment
from vision_event_block.tracking.sighting import CLEAR_LEAD, Sighting
from vision_event_block.tracking.summary import Path, State, TrackSummary

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Objects on one frame that are considered, the most confident first.
MAX_SIGHTINGS: Final = 1_000
#: Classes of one object that are counted separately.
MAX_CLASSES: Final = 20
#: Objects that were pushed out and are still there, and must not become further events.
MAX_REMEMBERED: Final = 10_000


@dataclass(frozen=True, kw_only=True)
class TrackRules:
    """What the step wants of its objects. Times are in microseconds."""

    minimum_us: int = 500_000
    lost_after_us: int = 2_000_000
    #: How often an object that is still there is reported again; 0 for never.
    update_us: int = 0
    max_open: int = 200
    #: The classes to record; None for all.
    classes: frozenset[str] | None = None


class Kind(Enum):
    BEGAN = auto()
    UPDATED = auto()
    ENDED = auto()


@dataclass(frozen=True)
class Change:
    """Something happened to a confirmed object."""

    #: Never used twice, unlike a tracker's ids.
    number: int
    kind: Kind
    summary: TrackSummary


@dataclass(frozen=True)
class Sight:
    """An open object on this frame."""

    number: int
    #: The row among the frame's detections.
    row: int
    is_first: bool
    #: This frame is the best to show it by.
    is_best: bool


@dataclass
class Seen:
    """What a frame decides: the objects that it shows, and what changes."""

    sights: list[Sight] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    #: Objects that ended without having been confirmed.
    noise: list[int] = field(default_factory=list)
    #: What was left out, and why.
    remarks: list[Adjustment] = field(default_factory=list)
    #: The frame does not count: a later one has overtaken it.
    is_late: bool = False

    def remark(self, what: str, why: str) -> None:
        self.remarks.append(Adjustment("predictions", what, why))


class _Track:
    def __init__(self, number: int, first: Sighting, time_us: int) -> None:
        self.number = number
        self.track_id = first.track_id
        self.first_seen_us = time_us
        self.reported_us: int | None = None
        self._frames = 0
        self._votes: Counter[str] = Counter()
        self._best_confidence = 0.0
        self._best_score = 0.0
        self._best_seen_us = time_us
        self._path = Path()

    def see(self, sighting: Sighting, time_us: int) -> Sight:
        is_first = not self._frames
        is_best = is_first or sighting.score > self._best_score * CLEAR_LEAD
        if is_best:
            self._best_score, self._best_seen_us = sighting.score, time_us
        self.last_seen_us = time_us
        self._frames += 1
        if sighting.class_name in self._votes or len(self._votes) < MAX_CLASSES:
            self._votes[sighting.class_name] += 1
        self._best_confidence = max(self._best_confidence, sighting.confidence)
        self._path.add(sighting.middle)
        return Sight(self.number, sighting.row, is_first, is_best)

    @property
    def class_name(self) -> str:
        """The class that most frames gave it; of several, the first."""
        return max(self._votes, key=self._votes.__getitem__)

    @property
    def seen_us(self) -> int:
        return self.last_seen_us - self.first_seen_us

    def summary(self, state: State) -> TrackSummary:
        return TrackSummary(
            track_id=self.track_id,
            class_name=self.class_name,
            state=state,
            first_seen_us=self.first_seen_us,
            last_seen_us=self.last_seen_us,
            frames=self._frames,
            best_confidence=self._best_confidence,
            best_score=self._best_score,
            best_seen_us=self._best_seen_us,
            votes=dict(self._votes),
            path=self._path.points(),
        )


class OpenTracks:
    """The open objects of one camera. For one thread at a time."""

    def __init__(self) -> None:
        #: By the tracker's id, in the order in which they came.
        self._open: dict[int, _Track] = {}
        #: When objects that were pushed out were last seen, by the tracker's id.
        self._pushed_out_us: dict[int, int] = {}
        self._time_us: int | None = None
        self._numbers = 0

    def __len__(self) -> int:
        return len(self._open)

    def see(self, time_us: int, sightings: Sequence[Sighting], rules: TrackRules) -> Seen:
        seen = Seen()
        self._advance(time_us, rules, seen)
        if seen.is_late:
            return seen
        self._lose(time_us, rules, seen)
        new = []
        for sighting in _told_apart(sightings, seen):
            track = self._open.get(sighting.track_id)
            if track is not None:
                seen.sights.append(track.see(sighting, time_us))
            elif sighting.track_id in self._pushed_out_us:
                self._pushed_out_us[sighting.track_id] = time_us
            elif rules.classes is None or sighting.class_name in rules.classes:
                new.append(sighting)
        seen.sights += self._opened(time_us, new, rules, seen)
        self._report(time_us, rules, seen)
        return seen

    def push_out(self, seen: Seen, number: int = 1) -> None:
        """Ends this many before they have left: first those out of sight, then the oldest."""
        for track in nsmallest(number, self._open.values(), key=lambda it: it.last_seen_us):
            del self._open[track.track_id]
            while len(self._pushed_out_us) >= MAX_REMEMBERED:
                del self._pushed_out_us[next(iter(self._pushed_out_us))]
            self._pushed_out_us[track.track_id] = track.last_seen_us
            _end(track, State.PUSHED_OUT, seen)

    def cut_off(self) -> Seen:
        """Ends everything: no further frame is coming."""
        seen = Seen()
        for track in self._open.values():
            _end(track, State.CUT_OFF, seen)
        self._open.clear()
        self._pushed_out_us.clear()
        self._time_us = None
        return seen

    def _advance(self, time_us: int, rules: TrackRules, seen: Seen) -> None:
        """Moves the clock on. A camera's clock may be set, and frames may overtake each other."""
        before_us = self._time_us
        step_us = 0 if before_us is None else time_us - before_us
        if step_us < 0 and -step_us < rules.lost_after_us:
            seen.remark(f"a frame {-step_us / 1e6:g} s late left out", "time only moves forward")
            seen.is_late = True
            return
        if step_us < 0:
            ended = self.cut_off()
            seen.changes, seen.noise = ended.changes, ended.noise
            seen.remark(
                "all open objects cut off",
                f"the time of the frames went back by {-step_us / 1e6:g} s",
            )
        elif step_us >= rules.lost_after_us and self._open:
            seen.remark(
                "all open objects have left",
                f"no frame for {step_us / 1e6:g} s, which is at least lost_after_seconds",
            )
        self._time_us = time_us

    def _lose(self, time_us: int, rules: TrackRules, seen: Seen) -> None:
        lost_us = time_us - rules.lost_after_us
        for track in [track for track in self._open.values() if track.last_seen_us <= lost_us]:
            del self._open[track.track_id]
            _end(track, State.LEFT, seen)
        if self._pushed_out_us:
            self._pushed_out_us = {
                track_id: seen_us
                for track_id, seen_us in self._pushed_out_us.items()
                if seen_us > lost_us
            }

    def _opened(
        self, time_us: int, new: list[Sighting], rules: TrackRules, seen: Seen
    ) -> list[Sight]:
        if len(new) > rules.max_open:
            seen.remark(
                f"the {rules.max_open} most confident of {len(new)} new objects kept",
                "no more are followed at a time (max_open)",
            )
            new = _most_confident(new, rules.max_open)
        pushed_out = len(self._open) + len(new) - rules.max_open if new else 0
        self.push_out(seen, pushed_out)
        sights = []
        for sighting in new:
            self._numbers += 1
            track = _Track(self._numbers, sighting, time_us)
            self._open[sighting.track_id] = track
            sights.append(track.see(sighting, time_us))
        if pushed_out > 0:
            seen.remark(
                f"objects pushed out: {pushed_out}, first those out of sight, then the oldest",
                f"no more than {rules.max_open} are followed at a time (max_open)",
            )
        return sights

    def _report(self, time_us: int, rules: TrackRules, seen: Seen) -> None:
        for track in self._open.values():
            if track.last_seen_us != time_us:
                continue
            if track.reported_us is None:
                is_wanted = rules.classes is None or track.class_name in rules.classes
                if track.seen_us < rules.minimum_us or not is_wanted:
                    continue
                kind = Kind.BEGAN
            elif rules.update_us and time_us - track.reported_us >= rules.update_us:
                kind = Kind.UPDATED
            else:
                continue
            track.reported_us = time_us
            seen.changes.append(Change(track.number, kind, track.summary(State.STILL_THERE)))


def _end(track: _Track, state: State, seen: Seen) -> None:
    if track.reported_us is None:
        seen.noise.append(track.number)
    else:
        seen.changes.append(Change(track.number, Kind.ENDED, track.summary(state)))


def _told_apart(sightings: Sequence[Sighting], seen: Seen) -> Iterable[Sighting]:
    """Each id once, with its most confident detection; at most as many as can be considered."""
    by_id: dict[int, Sighting] = {}
    for sighting in sightings:
        other = by_id.get(sighting.track_id)
        if other is None or sighting.confidence > other.confidence:
            by_id[sighting.track_id] = sighting
    if len(by_id) < len(sightings):
        repeated = len(sightings) - len(by_id)
        seen.remark(f"detections left out: {repeated}", "another one has their tracker id")
    if len(by_id) > MAX_SIGHTINGS:
        seen.remark(
            f"the {MAX_SIGHTINGS} most confident of {len(by_id)} objects kept",
            "no more are considered on one frame",
        )
        return _most_confident(list(by_id.values()), MAX_SIGHTINGS)
    return by_id.values()


def _most_confident(sightings: list[Sighting], number: int) -> list[Sighting]:
    """This many of them, in their original order."""
    ranked = sorted(sightings, key=lambda sighting: -sighting.confidence)
    chosen = {sighting.track_id for sighting in ranked[:number]}
    return [sighting for sighting in sightings if sighting.track_id in chosen]

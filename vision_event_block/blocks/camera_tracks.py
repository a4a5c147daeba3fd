"""One camera's objects: which are open, the frames that are kept for them, and their events."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from vision_event_block.blocks.build_event import RunContext, bare_event, with_images
from vision_event_block.blocks.camera_stories import with_story
from vision_event_block.blocks.track_inputs import ONLY_START, REPORTS
from vision_event_block.events.adjustments import Adjustment
from vision_event_block.events.errors import UnfitEvent
from vision_event_block.events.event import EventImage
from vision_event_block.story.ring import CameraStory, StoryRing
from vision_event_block.tracking.summary import State
from vision_event_block.tracking.tracks import Kind, OpenTracks, Seen

if TYPE_CHECKING:
    from collections.abc import Callable

    from vision_event_block.blocks.inputs import StoryOptions
    from vision_event_block.blocks.kept_pictures import KeptPicture, KeptPictures
    from vision_event_block.blocks.outputs import BlockOutputs
    from vision_event_block.blocks.track_inputs import TrackedFrame, TrackInputs
    from vision_event_block.contract.names import AnnotationLists
    from vision_event_block.events.event import VisionEvent
    from vision_event_block.story.ring import Sequel, StoryPicture
    from vision_event_block.tracking.summary import TrackSummary
    from vision_event_block.tracking.tracks import Sight

_REPORTED: Final = dict(
    zip(
        REPORTS,
        (frozenset(Kind), frozenset((Kind.ENDED,)), frozenset((Kind.BEGAN, Kind.UPDATED))),
        strict=True,
    )
)
#: The pictures of an event, by their labels, in this order.
FIRST, BEST, LAST = "first", "best", "last"
_ROLES: Final = {"first_best_last": (FIRST, BEST, LAST)}


class _View:
    """An object on a frame that is kept for it."""

    def __init__(self, picture: KeptPicture, frame: TrackedFrame, row: int) -> None:
        self.picture = picture
        self._frame: TrackedFrame | None = frame
        self._row = row
        self._annotations: AnnotationLists = {}

    def settle(self) -> AnnotationLists:
        """The detection as it lies on the picture; encodes the picture and releases the frame."""
        if self._frame is not None:
            self._annotations = self._frame.annotations(self._row)
            self._frame = None
            self.picture.encode_soon()
        return self._annotations


@dataclass
class _Thing:
    """What an object's events are made of; set once it is confirmed, except for the views."""

    #: By label.
    views: dict[str, _View] = field(default_factory=dict)
    inputs: TrackInputs | None = None
    context: RunContext = field(default_factory=RunContext)
    scale: float = 1.0
    #: Its next version without pictures and metadata; or why the API would reject it.
    event: VisionEvent | UnfitEvent | None = None
    #: What the camera saw before the object appeared.
    before: tuple[StoryPicture, ...] = ()
    #: Its last version was recorded, though the object is still there.
    is_told: bool = False

    @property
    def confirmed(self) -> TrackInputs:
        """The fields of the step on the frame that confirmed the object."""
        if self.inputs is None:
            raise AssertionError("only things that are confirmed have events")
        return self.inputs


@dataclass(frozen=True)
class DueEvent:
    """A version of an object's event that is to be recorded now."""

    summary: TrackSummary
    thing: _Thing
    #: What the camera saw after the object had left.
    after: tuple[StoryPicture, ...] = ()

    @property
    def inputs(self) -> TrackInputs:
        """The fields of the step, the same for all versions of an event."""
        return self.thing.confirmed

    def note(self, found: BlockOutputs) -> None:
        """Counts the version up if this one was recorded."""
        event = self.thing.event
        if found.is_recorded and event is not None and not isinstance(event, UnfitEvent):
            self.thing.event = replace(event, version=event.version + 1)

    def build(self) -> VisionEvent:
        """The version; waits for its pictures.

        Raises:
            UnfitEvent: the API would reject the event whatever its pictures.
        """
        thing, event, inputs = self.thing, self.thing.event, self.inputs
        if isinstance(event, UnfitEvent):
            raise event
        if event is None:
            raise AssertionError("a thing has its event once it is confirmed")
        views: dict[KeptPicture, list[str]] = {}
        for label in (FIRST, BEST, LAST):
            if label in thing.views:
                views.setdefault(thing.views[label].picture, []).append(label)
        images, adjustments = [], list(inputs.adjustments)
        displayed = None
        for kept, labels in views.items():
            picture = kept.picture()
            if picture is None:
                adjustments.append(Adjustment("images", "a picture left out", kept.problem))
            elif displayed is None or BEST in labels:
                displayed = picture.picture_id
            annotations = thing.views[labels[0]].settle()
            images.append(
                EventImage(label=" and ".join(labels), input=picture, annotations=annotations)
            )
        found = self.summary.metadata(scale=thing.scale)
        version = with_images(event, inputs, thing.context, images, found=found)
        version = replace(
            version,
            displayed_picture_id=displayed,
            adjustments=(*adjustments, *version.adjustments),
        )
        at_s, story = self.summary.first_seen_us / 1e6, inputs.story
        if thing.before:
            share = story.before_s / (story.before_s + story.after_s)
            version = with_story(version, thing.before, at_s, share=share)
        return with_story(version, self.after, at_s) if self.after else version


class CameraTracks:
    """Follows one camera's objects from frame to frame. For one thread at a time."""

    def __init__(self, pictures: KeptPictures) -> None:
        self._pictures = pictures
        #: When its last frame came, by a monotonic clock.
        self.heard_s = 0.0
        self._tracks = OpenTracks()
        #: The open ones, by their number.
        self._things: dict[int, _Thing] = {}
        #: Objects that have left are in it, until what comes after them is over.
        self._story: CameraStory[tuple[TrackSummary, _Thing]] | None = None
        #: What it was made for.
        self._told: tuple[StoryOptions, int, int] | None = None

    @property
    def open_count(self) -> int:
        return len(self._things)

    def see(
        self, frame: TrackedFrame, inputs: TrackInputs, context: Callable[[], RunContext]
    ) -> list[DueEvent]:
        """What is to be recorded after the next frame."""
        seen = self._tracks.see(frame.time_us, frame.sightings(), inputs.rules)
        self._keep(seen.sights, frame, inputs)
        for change in seen.changes:
            if change.kind is Kind.BEGAN:
                thing = self._things[change.number]
                self._confirm(thing, change.summary, frame, inputs, context())
        frame.adjustments += seen.remarks
        due = self._due(seen)
        return due if seen.is_late else due + self._tell_story(frame, inputs)

    def push_out(self) -> list[DueEvent]:
        """Ends an object before it has left: one out of sight, else the oldest."""
        seen = Seen()
        self._tracks.push_out(seen)
        return self._due(seen)

    def cut_off(self) -> list[DueEvent]:
        """Ends everything: no further frame is coming."""
        waited = [] if self._story is None else _completed(self._story.close())
        return waited + self._due(self._tracks.cut_off())

    def _keep(self, sights: list[Sight], frame: TrackedFrame, inputs: TrackInputs) -> None:
        """Keeps the frame for the objects that want it, if any does."""
        for sight in sights:
            if sight.is_first:
                self._things[sight.number] = _Thing(before=self._seen_before(frame, inputs))
        roles = _ROLES.get(inputs.pictures, (inputs.pictures,))
        wanted = [
            (sight, label)
            for label in roles
            for sight in sights
            if _is_wanted(label, sight) and not self._things[sight.number].is_told
        ]
        kept = (
            self._kept(frame, encodes=any(label != LAST for _, label in wanted)) if wanted else None
        )
        if kept is not None:
            for sight, label in wanted:
                view = _View(kept, frame, sight.row)
                self._things[sight.number].views[label] = view
                if label != LAST:
                    view.settle()
        if LAST in roles:
            self._settle_last(kept)

    def _kept(self, frame: TrackedFrame, *, encodes: bool) -> KeptPicture | None:
        try:
            return self._pictures.keep(frame.snapshot(), encodes=encodes)
        except Exception as error:  # noqa: BLE001 - a picture the host itself cannot read
            frame.leave_out("input_image", error)
            return None

    def _settle_last(self, current: KeptPicture | None) -> None:
        """Encodes the last pictures of objects not on this frame: they may stay the last."""
        for thing in self._things.values():
            last = thing.views.get(LAST)
            if last is not None and last.picture is not current:
                last.settle()

    def _confirm(
        self,
        thing: _Thing,
        summary: TrackSummary,
        frame: TrackedFrame,
        inputs: TrackInputs,
        context: RunContext,
    ) -> None:
        """The event is about what the workflow says now, and happened when the object appeared."""
        thing.inputs = replace(inputs, input_image=None, predictions=None)
        thing.context = context
        thing.scale = frame.factor
        try:
            event = bare_event(inputs, context, [inputs.input_image])
        except UnfitEvent as error:
            thing.event = error
        else:
            ago = timedelta(microseconds=frame.time_us - summary.first_seen_us)
            thing.event = replace(event, timestamp=event.timestamp - ago)

    def _due(self, seen: Seen) -> list[DueEvent]:
        due = []
        for change in seen.changes:
            summary, thing = change.summary, self._things[change.number]
            if change.kind is Kind.ENDED:
                del self._things[change.number]
            inputs = thing.confirmed
            if thing.is_told or change.kind not in _REPORTED[inputs.report]:
                continue
            if inputs.report == ONLY_START and not inputs.rules.update_us:
                # No version follows: its pictures are kept for this one, and no longer.
                self._things[change.number] = _Thing(inputs=inputs, is_told=True)
            last_seen_s, after_s = summary.last_seen_us / 1e6, inputs.story.after_s
            if self._story is None or not after_s or summary.state is State.STILL_THERE:
                due.append(DueEvent(summary, thing))
            elif summary.state is State.LEFT:
                due += _completed(self._story.wait((summary, thing), last_seen_s))
            else:
                after = self._story.ring.after(last_seen_s, after_s)
                due.append(DueEvent(summary, thing, tuple(after)))
        for number in seen.noise:
            self._things.pop(number, None)
        return due

    def _seen_before(self, frame: TrackedFrame, inputs: TrackInputs) -> tuple[StoryPicture, ...]:
        if self._story is None or not inputs.story.before_s:
            return ()
        found = self._story.ring.before(frame.time_us / 1e6, inputs.story.before_s)
        self._pictures.hold(each.picture for each in found)
        return tuple(found)

    def _tell_story(self, frame: TrackedFrame, inputs: TrackInputs) -> list[DueEvent]:
        """Shows the story a frame; returns the events that are complete before it."""
        time_s, rules = frame.time_us / 1e6, inputs.rules
        wanted = (inputs.story, rules.lost_after_us, rules.max_open)
        ended = [] if self._story is None else self._story.due(time_s)
        if self._told != wanted:
            ended += [] if self._story is None else self._story.close()
            self._told, self._story = wanted, _story_for(*wanted)
        if self._story is not None:
            try:
                self._story.ring.add(frame.pixels, time_s)
            except Exception as error:  # noqa: BLE001 - a picture the host itself cannot read
                frame.leave_out("story", error)
        return _completed(ended)


def _story_for(
    story: StoryOptions, lost_after_us: int, max_waiting: int
) -> CameraStory[tuple[TrackSummary, _Thing]] | None:
    """A story that reaches back to when objects that left were last seen; None if not wanted."""
    if not story.is_wanted:
        return None
    seconds = max(story.before_s, story.after_s, lost_after_us / 1e6)
    ring = StoryRing(seconds=seconds, fps=story.fps, side_px=story.side_px)
    return CameraStory(ring, after_s=story.after_s, max_waiting=max_waiting)


def _completed(ended: list[Sequel[tuple[TrackSummary, _Thing]]]) -> list[DueEvent]:
    return [DueEvent(*sequel.event, sequel.pictures) for sequel in ended]


def _is_wanted(label: str, sight: Sight) -> bool:
    """Whether to keep the frame for an object on it, as its picture of that label."""
    return {FIRST: sight.is_first, BEST: sight.is_best, LAST: True}[label]

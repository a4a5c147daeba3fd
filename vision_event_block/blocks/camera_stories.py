"""The stories of a block's cameras: each has its own ring and clock."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from vision_event_block.blocks import host_images
from vision_event_block.contract import limits
from vision_event_block.events.adjustments import Adjustment
from vision_event_block.logs import QuietLog
from vision_event_block.story.ring import CameraStory, Sequel, StoryRing, story_images

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vision_event_block.blocks.host_images import HostImage
    from vision_event_block.blocks.inputs import StoryOptions
    from vision_event_block.events.event import VisionEvent
    from vision_event_block.story.ring import StoryPicture

_log = QuietLog(logging.getLogger(__name__))

#: With more cameras than this, the story of the one that came first ends.
MAX_CAMERAS: Final = 64
_FIELD: Final = "story"

_Event = TypeVar("_Event")


@dataclass(frozen=True)
class StoryFrame(Generic[_Event]):
    """A frame in its camera's story, with the events that are complete before it."""

    #: The camera's story; None where a picture has none.
    story: CameraStory[_Event] | None = None
    time_s: float = 0.0
    #: Events whose story ended before this frame.
    ended: tuple[Sequel[_Event], ...] = ()
    #: Why the picture has no story.
    adjustments: tuple[Adjustment, ...] = ()


class CameraStories(Generic[_Event]):
    """The stories of all cameras. Any thread may use it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """The clock is for pictures that have none of their own."""
        self._clock = clock
        self._lock = threading.Lock()
        #: By camera and by what was asked of it. The lock guards this and all that is in it.
        self._stories: dict[str, tuple[StoryOptions, CameraStory[_Event]]] = {}

    def see(self, image: HostImage | None, options: StoryOptions) -> StoryFrame[_Event]:
        """Shows a frame to its camera's ring."""
        if image is None:
            return _without_story("there is no picture")
        if host_images.is_of_its_own(image):
            return _without_story("a crop has no pictures before it")
        time_s = host_images.frame_time_s(image)
        if time_s is None:
            time_s = self._clock()
        camera = host_images.camera_of(image) or f"still {host_images.root_id_of(image)}"
        with self._lock:
            story, ended = self._story_of(camera, options)
            ended += story.due(time_s)
            try:
                story.ring.add(lambda: image.numpy_image, time_s)
            except Exception as error:  # noqa: BLE001 - a picture that the host itself cannot read
                reason = f"{type(error).__name__}: {error}"
                _log.say(logging.WARNING, (_FIELD, type(error)), f"not in the story: {reason}")
        return StoryFrame(story, time_s, tuple(ended))

    def before(self, frame: StoryFrame[_Event], seconds: float) -> list[StoryPicture]:
        with self._lock:
            return [] if frame.story is None else frame.story.ring.before(frame.time_s, seconds)

    def wait(self, frame: StoryFrame[_Event], event: _Event) -> list[Sequel[_Event]]:
        """Has an event wait for what comes after its frame; returns one that this pushes out."""
        with self._lock:
            return [] if frame.story is None else frame.story.wait(event, frame.time_s)

    def close(self) -> list[Sequel[_Event]]:
        """Ends every story; returns the events that waited, each with the pictures there are."""
        with self._lock:
            stories = [story for _, story in self._stories.values()]
            self._stories.clear()
            return [sequel for story in stories for sequel in story.close()]

    def _story_of(
        self, camera: str, options: StoryOptions
    ) -> tuple[CameraStory[_Event], list[Sequel[_Event]]]:
        """The camera's story, and what was ended to make room for it."""
        before = self._stories.get(camera)
        if before is not None and before[0] == options:
            return before[1], []
        ended = []
        if before is None and len(self._stories) >= MAX_CAMERAS:
            before = self._stories.pop(next(iter(self._stories)))
        if before is not None:
            ended = before[1].close()
        ring = StoryRing(
            seconds=max(options.before_s, options.after_s),
            fps=options.fps,
            side_px=options.side_px,
        )
        story: CameraStory[_Event] = CameraStory(ring, after_s=options.after_s)
        self._stories[camera] = (options, story)
        return story, ended


def with_story(
    event: VisionEvent, pictures: Sequence[StoryPicture], at_s: float, *, share: float = 1.0
) -> VisionEvent:
    """The event with these pictures as further images.

    Args:
        event: Its own images stay first, so they remain on display.
        pictures: Those of one side of the event, the oldest first.
        at_s: When it happened, by their clock.
        share: How much of the API's remaining room for images these may take.
    """
    most = int(share * (limits.MAX_IMAGES - len(event.images)))
    images = story_images(pictures, at_s, most=most)
    adjustments = event.adjustments
    if len(images) < len(pictures):
        what = f"{len(images)} of {len(pictures)} pictures kept"
        why = f"the API takes at most {limits.MAX_IMAGES} images"
        adjustments = (*adjustments, Adjustment(_FIELD, what, why))
    return replace(event, images=(*event.images, *images), adjustments=adjustments)


def _without_story(why: str) -> StoryFrame[_Event]:
    return StoryFrame(adjustments=(Adjustment(_FIELD, "left out", why),))

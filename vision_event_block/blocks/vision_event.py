"""The Vision Event block: engine objects in, five outputs out, and never an exception."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from vision_event_block import host
from vision_event_block.blocks import host_images, outputs
from vision_event_block.blocks.build_event import build_event
from vision_event_block.blocks.camera_stories import CameraStories, StoryFrame, with_story
from vision_event_block.blocks.cooldown import Claim, Cooldown, VideoTime
from vision_event_block.blocks.event_block import EventBlock, failed
from vision_event_block.blocks.inputs import Inputs
from vision_event_block.blocks.vision_event_manifest import VisionEventManifest
from vision_event_block.delivery.encoder import encode_together
from vision_event_block.events.adjustments import Adjustment
from vision_event_block.process import OnePerProcess

if TYPE_CHECKING:
    from vision_event_block.blocks.outputs import BlockOutputs
    from vision_event_block.events.event import VisionEvent
    from vision_event_block.story.ring import Sequel

_logger = logging.getLogger(__name__)

#: One for all blocks of the process, since blocks are new for each HTTP request.
_cooldown: Final = OnePerProcess(Cooldown)
_ALL_PERCENT: Final = 100


@dataclass(frozen=True)
class _Told:
    """A recorded event that waits for what comes after it."""

    #: Its pictures are encoded.
    event: VisionEvent
    inputs: Inputs


_NO_STORY: Final[StoryFrame[_Told]] = StoryFrame()
_NO_STORY_ON_A_SERVER: Final[StoryFrame[_Told]] = StoryFrame(
    adjustments=(
        Adjustment(
            "story",
            "left out",
            "on a server a block sees one request; Seconds Before and After need a pipeline",
        ),
    )
)


class VisionEventBlock(EventBlock):
    """Records one event for each picture that it is run on."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self._stories: CameraStories[_Told] = CameraStories()
        #: Distinguishes this block from others of the same step, in this process and elsewhere.
        self._instance = uuid4().hex

    @classmethod
    def get_manifest(cls) -> type[VisionEventManifest]:
        return VisionEventManifest

    def run(self, **fields: Any) -> dict[str, Any]:
        """Records one event and says how far it got; never raises.

        1. Read what the engine hands over (`inputs.py`).
        2. Show the frame to its camera's story, and complete events whose story is over.
        3. Stop here if the sink is disabled, the trigger is off, the frame is not
           in the sample, or the cooldown is not over.
        4. Build the event: id, time, pictures, annotations and data (`build_event.py`).
        5. Hand it to the process's dispatch, which stores it and delivers it (`delivery/`).
        6. Say what became of it, and what had to be changed for the API (`outputs.py`).

        Args:
            **fields: The manifest's fields by name; a missing one gets its default.
        """
        try:
            inputs = Inputs.read(self._completed(fields))
            disabled_by = self._disabled_by(inputs)
            if disabled_by:
                return outputs.disabled(disabled_by).by_name()
            frame = self._see(inputs) if inputs.story.is_wanted else _NO_STORY
            completed = [self._complete(sequel) for sequel in frame.ended]
            return self._run(inputs, frame).and_completed(completed).by_name()
        except Exception as error:  # last resort: an exception would end the whole pipeline
            _logger.exception("the vision event could not be recorded")
            return failed(f"{type(error).__name__}: {error}. The log has the details").by_name()

    def close(self) -> None:
        """Completes events whose story is still running, and gives pending ones a moment."""
        for sequel in self._stories.close():
            self._complete(sequel)
        super().close()

    def _run(self, inputs: Inputs, frame: StoryFrame[_Told]) -> BlockOutputs:
        if not inputs.is_triggered:
            return outputs.waiting()
        if not self._is_in_sample(inputs):
            return outputs.not_sampled(inputs.sample_percent)
        claim = self._claim_cooldown(inputs)
        if claim is None:
            return outputs.throttled(inputs.cooldown_s)
        with claim:
            built: list[VisionEvent] = []
            found = self._record(inputs, lambda: self._build(inputs, frame, built))
            if found.is_recorded:
                claim.keep()
        if found.is_recorded and inputs.story.after_s > 0:
            told = _Told(built[0], inputs.without_pictures())
            for pushed_out in self._stories.wait(frame, told):
                self._complete(pushed_out)
        return found

    def _see(self, inputs: Inputs) -> StoryFrame[_Told]:
        if self._is_on_a_server:
            return _NO_STORY_ON_A_SERVER
        try:
            return self._stories.see(inputs.frame, inputs.story)
        except Exception as error:  # the event itself is still worth recording
            _logger.exception("internal error while keeping a picture for the story")
            why = f"{type(error).__name__}: {error}"
            return StoryFrame(adjustments=(Adjustment("story", "left out", why),))

    def _build(
        self, inputs: Inputs, frame: StoryFrame[_Told], built: list[VisionEvent]
    ) -> VisionEvent:
        """The event with what came before it; kept in `built` for what comes after."""
        event = build_event(inputs, self._run_context())
        story = inputs.story
        if story.is_wanted:
            event = replace(event, adjustments=(*frame.adjustments, *event.adjustments))
            before = self._stories.before(frame, story.before_s)
            share = story.before_s / (story.before_s + story.after_s)
            event = with_story(event, before, frame.time_s, share=share)
        if story.after_s > 0 and frame.story is not None:
            # The event is sent once more later, when other steps may have drawn on its pixels.
            event = event.encoded(encode_together)
        built.append(event)
        return event

    def _complete(self, sequel: Sequel[_Told]) -> BlockOutputs | None:
        """Records an event again, now with what came after it; None if nothing came."""
        if not sequel.pictures:
            return None
        told = sequel.event
        try:
            event = with_story(replace(told.event, adjustments=()), sequel.pictures, sequel.at_s)
            event = replace(event, version=event.version + 1)
            return self._record(told.inputs, lambda: event)
        except Exception as error:  # the event is recorded, only without what came after
            _logger.exception("internal error while completing event %s", told.event.event_id)
            return outputs.failed(f"{type(error).__name__}: {error}")

    def _is_in_sample(self, inputs: Inputs) -> bool:
        """Whether an event is to be recorded of this frame."""
        if inputs.sample_percent >= _ALL_PERCENT:
            return True
        image = inputs.frame
        known_by = None if image is None else host_images.frame_identity(image)
        if known_by is None:  # a still: all steps of this run see the same one
            root_id = "" if image is None else host_images.root_id_of(image)
            known_by = f"{host.execution_id() or uuid4().hex} {root_id}"
        digest = hashlib.sha256(known_by.encode("utf-8", "replace")).digest()
        return int.from_bytes(digest[:8], "big") * _ALL_PERCENT < inputs.sample_percent * 2**64

    def _claim_cooldown(self, inputs: Inputs) -> Claim | None:
        """The right to record this event now; None during the cooldown.

        A camera's frames share one cooldown wherever they are recorded, and so do the pictures of
        one stream id or cooldown key. Pictures of unknown origin do not: they count for this block
        alone, each picture of a batch by itself.
        """
        image = inputs.frame
        camera = None if image is None else host_images.camera_of(image)
        video_s = None if image is None else host_images.video_time_s(image)
        is_shared = bool(camera or inputs.stream_id or inputs.cooldown_key)
        parts = (
            self._api_key,
            host.workflow_id(),
            inputs.step_fingerprint,
            inputs.use_case,
            inputs.event_type,
            camera,
            # Pipelines merely number their cameras: another pipeline's camera 0 is another camera.
            None if camera is None or inputs.stream_id else host.stream_session_id(),
            None if image is None else host_images.root_id_of(image),
            inputs.stream_id,
            inputs.cooldown_key,
            None if is_shared else self._instance,
        )
        key = hashlib.sha256(repr(parts).encode("utf-8", "replace")).hexdigest()[:32]
        return _cooldown().claim(
            key,
            inputs.cooldown_s,
            run=host.execution_id(),
            cache=self._cache if is_shared else None,
            video=None if video_s is None else VideoTime(host.stream_session_id(), video_s),
        )

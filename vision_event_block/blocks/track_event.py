"""The Track Event block: frames with tracked detections in, one event for each object out."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from vision_event_block import host
from vision_event_block.blocks import outputs
from vision_event_block.blocks.camera_tracks import CameraTracks
from vision_event_block.blocks.event_block import EventBlock, failed
from vision_event_block.blocks.kept_pictures import KeptPictures
from vision_event_block.blocks.track_event_manifest import TrackEventManifest
from vision_event_block.blocks.track_inputs import TrackedFrame, TrackInputs
from vision_event_block.events.adjustments import Adjustment, sentence
from vision_event_block.events.errors import UnfitEvent
from vision_event_block.logs import QuietLog

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vision_event_block.blocks.camera_tracks import DueEvent
    from vision_event_block.blocks.outputs import BlockOutputs
    from vision_event_block.tracking.summary import TrackSummary

_logger = logging.getLogger(__name__)
_log = QuietLog(_logger)

#: A camera without a frame for this long, while others have some, has ended.
SILENT_AFTER_S: Final = 60.0
MAX_CAMERAS: Final = 64
_NEEDS_PIPELINE: Final = (
    "Track Event follows objects from frame to frame and needs a pipeline (InferencePipeline); "
    "over HTTP a block lives for one request only"
)


class TrackEventBlock(EventBlock):
    """Records one event for each object that a tracker follows."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self._lock = threading.Lock()  # guards the fields below: the host may close from any thread
        self._pictures = KeptPictures()
        #: In the order of their last frames.
        self._cameras: dict[tuple[str, str], CameraTracks] = {}
        self._completes_at_exit = False
        self._process_id = os.getpid()

    @classmethod
    def get_manifest(cls) -> type[TrackEventManifest]:
        return TrackEventManifest

    def run(self, **fields: Any) -> dict[str, Any]:
        """Records what begins, changes or ends on a frame, and says how far it got; never raises.

        1. Read what the engine hands over (`track_inputs.py`).
        2. Stop here if the sink is disabled, or if the block lives for this frame only.
        3. See what the frame decides: which objects begin and end, which of them it shows best
           (`tracking/`), and keep its picture for those (`camera_tracks.py`).
        4. Build the events that are due, and hand them to the process's dispatch.
        5. Say what became of them (`outputs.py`).

        Args:
            **fields: The manifest's fields by name; a missing one gets its default.
        """
        try:
            found = self._follow(TrackInputs.read(self._completed(fields)))
        except UnfitEvent as error:  # the frame's time cannot be read
            found = outputs.unfit(str(error)).by_name()
        except Exception as error:  # last resort: an exception would end the whole pipeline
            _logger.exception("the frame could not be followed")
            found = failed(f"{type(error).__name__}: {error}. The log has the details").by_name()
        return {"events": [], **found}

    def close(self) -> None:
        """Completes what is open, and gives pending events a moment."""
        self._complete()
        atexit.unregister(self._complete)
        self._completes_at_exit = False
        super().close()

    def _follow(self, inputs: TrackInputs) -> dict[str, Any]:
        disabled_by = self._disabled_by(inputs)
        if disabled_by:
            return outputs.disabled(disabled_by).by_name()
        if self._is_on_a_server or host.workflow_id():
            return failed(_NEEDS_PIPELINE).by_name()
        with self._lock:
            camera = self._camera(inputs)
            frame = TrackedFrame(inputs, datetime.now(timezone.utc))
            due = camera.see(frame, inputs, self._run_context)
            told = self._tell([*self._ended_cameras(camera), *due])
            told += self._make_room(camera, frame)
            if camera.open_count and not self._completes_at_exit:
                # A loop around an engine closes no block, nor do older hosts. The dispatch has
                # registered its own end before, so that this one comes first.
                self._dispatch()
                atexit.register(self._complete)
                self._completes_at_exit = True
        for adjustment in frame.adjustments:
            _log.say(logging.WARNING, adjustment.kind, f"frame adjusted: {adjustment}")
        return outputs.followed(told, camera.open_count, sentence(frame.adjustments))

    def _tell(
        self, due: Iterable[DueEvent], *, wait_s: float | None = None
    ) -> list[tuple[TrackSummary, BlockOutputs]]:
        """Records versions of events.

        Args:
            due: The versions, in order.
            wait_s: How long all of them together wait for the API; as for one event if not given.
        """
        told = []
        ends_s = time.monotonic() + (self._settings.wait_s if wait_s is None else wait_s)
        for each in due:
            inputs = each.inputs
            if inputs.waits_for_api and time.monotonic() >= ends_s:
                inputs = replace(inputs, waits_for_api=False, durability="disk")
            found = self._record(inputs, each.build)
            each.note(found)
            told.append((each.summary, found))
        return told

    def _camera(self, inputs: TrackInputs) -> CameraTracks:
        """The frame's camera, which is now the one heard from last."""
        if inputs.input_image is None:
            raise UnfitEvent("input_image is not a picture of the host")
        camera = self._cameras.pop(inputs.camera, None)
        if camera is None:
            camera = CameraTracks(self._pictures)
        self._cameras[inputs.camera] = camera
        camera.heard_s = time.monotonic()
        return camera

    def _ended_cameras(self, current: CameraTracks) -> list[DueEvent]:
        """What is left open by cameras that have gone silent while others go on."""
        due = []
        for name, camera in list(self._cameras.items()):
            is_silent = current.heard_s - camera.heard_s > SILENT_AFTER_S
            if not is_silent and len(self._cameras) <= MAX_CAMERAS:
                break  # they are in the order in which they were heard
            due += self._cameras.pop(name).cut_off()
        return due

    def _make_room(
        self, camera: CameraTracks, frame: TrackedFrame
    ) -> list[tuple[TrackSummary, BlockOutputs]]:
        """Ends objects while the pictures of all take more memory than allowed."""
        told: list[tuple[TrackSummary, BlockOutputs]] = []
        pushed_out = 0
        while camera.open_count and self._pictures.have_grown_beyond(
            self._settings.max_track_bytes
        ):
            told += self._tell(camera.push_out())
            pushed_out += 1
        if pushed_out:
            what = f"objects pushed out: {pushed_out}, first those out of sight, then the oldest"
            frame.adjustments.append(
                Adjustment("pictures", what, "they take more than VISION_EVENT_MAX_TRACK_BYTES")
            )
        return told

    def _complete(self) -> None:
        if os.getpid() != self._process_id:
            return  # in a forked child the objects are its parent's
        try:
            with self._lock:
                for camera in self._cameras.values():
                    self._tell(camera.cut_off(), wait_s=0.0)
                self._cameras.clear()
        except Exception:
            _logger.exception("open objects could not be completed")

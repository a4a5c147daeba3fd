"""The block Vision Event: engine objects in, five outputs out, and no exception ever."""

from __future__ import annotations

import hashlib
import logging
from typing import Any, Final
from uuid import uuid4

from vision_event_block import host
from vision_event_block.blocks import host_images, outputs
from vision_event_block.blocks.build_event import build_event
from vision_event_block.blocks.cooldown import Claim, Cooldown
from vision_event_block.blocks.event_block import EventBlock, failed
from vision_event_block.blocks.inputs import Inputs
from vision_event_block.blocks.vision_event_manifest import VisionEventManifest
from vision_event_block.process import OnePerProcess

_logger = logging.getLogger(__name__)

#: One for all blocks of the process: they are new for each HTTP request.
_cooldown: Final = OnePerProcess(Cooldown)
_DEFAULTS = {
    name: field.get_default(call_default_factory=True)
    for name, field in VisionEventManifest.model_fields.items()
}


class VisionEventBlock(EventBlock):
    """Records one event for each picture that it is run on."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        #: Tells this block from others of its step, in this process and elsewhere.
        self._instance = uuid4().hex

    @classmethod
    def get_manifest(cls) -> type[VisionEventManifest]:
        """The block's form."""
        return VisionEventManifest

    def run(self, **fields: Any) -> dict[str, Any]:
        """Records one event and says how far it got; never raises.

        1. Read what the engine hands over (`inputs.py`).
        2. Nothing more to do if the sink is disabled or the cooldown is not over.
        3. Build the event: id, time, pictures, annotations and data (`build_event.py`).
        4. Hand it to the process's dispatch, which stores it and delivers it (`delivery/`).
        5. Say what became of it, and what had to be changed for the API (`outputs.py`).

        Args:
            **fields: The manifest's fields by name; for one that is missing its default counts.
        """
        try:
            inputs = Inputs.read({**_DEFAULTS, **fields})
            disabled_by = self._disabled_by(inputs)
            if disabled_by:
                return outputs.disabled(disabled_by).by_name()
            claim = self._claim_cooldown(inputs)
            if claim is None:
                return outputs.throttled(inputs.cooldown_s).by_name()
            with claim:
                found = self._record(inputs, lambda: build_event(inputs, self._run_context()))
                if found.is_recorded:
                    claim.keep()
            return found.by_name()
        except Exception as error:  # the outer wall: an exception would end a whole pipeline
            _logger.exception("the vision event could not be recorded")
            return failed(f"{type(error).__name__}: {error}. The log has the details").by_name()

    def _claim_cooldown(self, inputs: Inputs) -> Claim | None:
        """The right to record this event now, None while the cooldown lasts.

        A camera's frames, and pictures of a stream or key that the step names, belong together
        wherever they are recorded. Pictures of which nothing is known do not: they count for this
        block alone, each picture of a batch by itself.
        """
        image = inputs.output_image if inputs.input_image is None else inputs.input_image
        camera = None if image is None else host_images.camera_of(image)
        is_shared = bool(camera or inputs.stream_id or inputs.cooldown_key)
        parts = (
            self._api_key,
            host.workflow_id(),
            inputs.step_fingerprint,
            inputs.use_case,
            inputs.event_type,
            camera,
            # A pipeline only numbers its cameras: another one's camera 0 is another camera.
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
        )

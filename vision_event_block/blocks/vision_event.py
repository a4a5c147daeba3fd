"""The block: engine objects in, five outputs out, and no exception ever."""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from vision_event_block import host, settings
from vision_event_block.blocks import host_images, outputs
from vision_event_block.blocks.build_event import RunContext, build_event
from vision_event_block.blocks.cooldown import Claim, Cooldown
from vision_event_block.blocks.host_destinations import NoDestination, api_for, event_store_for
from vision_event_block.blocks.inputs import Inputs
from vision_event_block.blocks.manifest import VisionEventManifest
from vision_event_block.delivery.destinations import EVENT_STORE
from vision_event_block.delivery.dispatch import Dispatch, DispatchLimits
from vision_event_block.delivery.queued_event import Verdict
from vision_event_block.delivery.records import NotTaken
from vision_event_block.delivery.shared_dispatch import shared_dispatch
from vision_event_block.events.adjustments import sentence
from vision_event_block.events.errors import UnfitEvent
from vision_event_block.events.event_store import event_store_adjustments
from vision_event_block.logs import QuietLog
from vision_event_block.process import OnePerProcess

if TYPE_CHECKING:
    from vision_event_block.blocks.outputs import BlockOutputs
    from vision_event_block.delivery.destinations import Destination
    from vision_event_block.delivery.queued_event import DeliveryOutcome
    from vision_event_block.delivery.records import RecordResult
    from vision_event_block.events.event import VisionEvent

_logger = logging.getLogger(__name__)
_log = QuietLog(_logger)

#: One for all blocks of the process: they are new for each HTTP request.
_cooldown: Final = OnePerProcess(Cooldown)
_IN_THE_LOG = "the log of the host has the reason"
_DEFAULTS = {
    name: field.get_default(call_default_factory=True)
    for name, field in VisionEventManifest.model_fields.items()
}


class VisionEventBlock(host.WorkflowBlock):
    """Records one event for each picture that it is run on."""

    def __init__(
        self,
        api_key: str | None = None,
        background_tasks: Any = None,
        cache: Any = None,
        disable_sinks: bool = False,  # noqa: FBT001, FBT002 - the host's own signature
        platform_client: Any = None,
    ) -> None:
        self._api_key = api_key or os.environ.get("ROBOFLOW_API_KEY") or os.environ.get("API_KEY")
        #: Only a server has these. It lives on after this block, and so does the sender.
        self._is_on_a_server = background_tasks is not None
        self._cache = cache
        self._disable_sinks = disable_sinks
        self._platform_client = platform_client
        self._settings = settings.current()
        self._has_sent = False
        #: Tells this block from others of its step, in this process and elsewhere.
        self._instance = uuid4().hex

    @classmethod
    def get_init_parameters(cls) -> list[str]:
        """What the block asks of its host."""
        return ["api_key", "background_tasks", "cache", "disable_sinks", "platform_client"]

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
            if self._disable_sinks or inputs.is_disabled:
                by = "the host (disable_sinks)" if self._disable_sinks else "Disable Sink"
                return outputs.disabled(by).by_name()
            claim = self._claim_cooldown(inputs)
            if claim is None:
                return outputs.throttled(inputs.cooldown_s).by_name()
            with claim:
                found = self._record(inputs)
                if found.is_recorded:
                    claim.keep()
            return found.by_name()
        except Exception as error:  # the outer wall: an exception would end a whole pipeline
            _logger.exception("the vision event could not be recorded")
            return _failed(f"{type(error).__name__}: {error}. The log has the details").by_name()

    def close(self) -> None:
        """Gives pending events a moment, where the process may end with the pipeline."""
        if not self._has_sent:
            return
        if self._is_on_a_server:  # it lives on; only what is not stored yet would be lost with it
            shared_dispatch().empty_memory(self._settings.close_timeout_s)
            return
        found = shared_dispatch().leave(self, self._settings.close_timeout_s)
        if found:
            _logger.warning("%s", found)

    def _record(self, inputs: Inputs) -> BlockOutputs:
        try:
            destination = self._destination(inputs)
            event = build_event(inputs, self._run_context())
            result = self._dispatch().record(
                event,
                destination,
                waits=inputs.is_stored_first,
                step=_step_of(inputs),
            )
        except UnfitEvent as error:
            _log.say(logging.ERROR, ("unfit", str(error)), f"event not recorded: {error}")
            return outputs.unfit(str(error))
        except (NoDestination, NotTaken) as error:
            return _failed(str(error))
        try:
            return self._outputs_of(result, destination, waits_for_api=inputs.waits_for_api)
        except Exception:  # the event is recorded, whatever fails now
            _logger.exception("the event is recorded, but how far it got could not be determined")
            return outputs.recorded_somehow(result)

    def _outputs_of(
        self, result: RecordResult, destination: Destination, *, waits_for_api: bool
    ) -> BlockOutputs:
        """Waits for the API's answer if the workflow does; what was adjusted goes to the log."""
        adjustments = list(result.event.adjustments)
        is_event_store = destination.address.kind == EVENT_STORE
        if is_event_store:
            adjustments += event_store_adjustments(_payload_without_pictures(result.event))
        for adjustment in adjustments:
            _log.say(logging.WARNING, adjustment.kind, f"event adjusted: {adjustment}")
        outcome = None
        if result.handle is not None:
            outcome = result.handle.wait(self._settings.wait_s if waits_for_api else 0.0)
            if not waits_for_api and outcome is not None and outcome.verdict is Verdict.DELIVERED:
                outcome = None  # quick, but nobody promised it
        if is_event_store:
            result, outcome = _without_reasons(result, outcome)
        return outputs.recorded(result, outcome, sentence(adjustments), waited=waits_for_api)

    def _destination(self, inputs: Inputs) -> Destination:
        if inputs.write_to_event_store:
            return event_store_for(inputs.event_store_url, self._settings)
        return api_for(self._api_key, self._platform_client, self._settings)

    def _run_context(self) -> RunContext:
        return RunContext(
            device_id=host.device_id(host.platform_client(self._platform_client)),
            workflow_id=host.workflow_id(),
            image_metadata_key=self._settings.image_metadata_key,
        )

    def _dispatch(self) -> Dispatch:
        self._has_sent = True
        return shared_dispatch().use(
            lambda: DispatchLimits.of(self._settings, settings.outbox_folder()),
            # On a server blocks come and go with each request: they are one user together.
            type(self) if self._is_on_a_server else self,
            exit_timeout_s=self._settings.close_timeout_s,
        )

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


def _step_of(inputs: Inputs) -> tuple[str | None, ...]:
    """What the events of a step have in common, in all its frames."""
    return (host.workflow_id(), inputs.step_fingerprint, inputs.use_case, inputs.event_type)


def _payload_without_pictures(event: VisionEvent) -> dict[str, Any]:
    return event.payload({picture.picture_id: "" for picture in event.pictures})


def _without_reasons(
    result: RecordResult, outcome: DeliveryOutcome | None
) -> tuple[RecordResult, DeliveryOutcome | None]:
    """An event store's own words are left to the log.

    Who runs a workflow may choose its address, and must not read what answers inside the network.
    """
    if outcome is not None and outcome.reason:
        outcome = replace(outcome, reason=_IN_THE_LOG)
    if result.feedback.rejected:
        result = replace(result, feedback=replace(result.feedback, rejected=_IN_THE_LOG))
    return result, outcome


def _failed(reason: str) -> BlockOutputs:
    _log.say(logging.ERROR, ("failed", reason), f"event not recorded: {reason}")
    return outputs.failed(reason)

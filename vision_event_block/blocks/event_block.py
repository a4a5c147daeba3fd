"""What both blocks do with an event: where it goes, how it is recorded, what they report of it."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from vision_event_block import host, settings
from vision_event_block.blocks import outputs
from vision_event_block.blocks.build_event import RunContext
from vision_event_block.blocks.host_destinations import NoDestination, api_for, event_store_for
from vision_event_block.delivery.destinations import EVENT_STORE
from vision_event_block.delivery.dispatch import Dispatch, DispatchLimits
from vision_event_block.delivery.queued_event import Verdict
from vision_event_block.delivery.records import NotTaken, say_last
from vision_event_block.delivery.shared_dispatch import shared_dispatch
from vision_event_block.events.adjustments import sentence
from vision_event_block.events.bundle import bundle_payload
from vision_event_block.events.errors import UnfitEvent
from vision_event_block.events.event_store import event_store_adjustments
from vision_event_block.logs import QuietLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from vision_event_block.blocks.inputs import EventInputs
    from vision_event_block.blocks.outputs import BlockOutputs
    from vision_event_block.delivery.destinations import Destination
    from vision_event_block.delivery.queued_event import DeliveryOutcome
    from vision_event_block.delivery.records import RecordResult
    from vision_event_block.events.event import VisionEvent

_logger = logging.getLogger(__name__)
_log = QuietLog(_logger)

_IN_THE_LOG: Final = "see the host's log for the reason"


class EventBlock(host.WorkflowBlock):
    """A block that records events; how they come about is up to each block."""

    def __init__(
        self,
        api_key: str | None = None,
        background_tasks: Any = None,
        cache: Any = None,
        disable_sinks: bool = False,  # noqa: FBT001, FBT002 - the host's own signature
        platform_client: Any = None,
    ) -> None:
        self._api_key = api_key or os.environ.get("ROBOFLOW_API_KEY") or os.environ.get("API_KEY")
        #: Only a server has these. The server outlives this block, and so does the sender.
        self._is_on_a_server = background_tasks is not None
        self._cache = cache
        self._disable_sinks = disable_sinks
        self._platform_client = platform_client
        self._settings = settings.current()
        self._has_sent = False

    @classmethod
    def get_init_parameters(cls) -> list[str]:
        return ["api_key", "background_tasks", "cache", "disable_sinks", "platform_client"]

    def close(self) -> None:
        """Gives pending events a moment, where the process may end with the pipeline."""
        if not self._has_sent:
            return
        if self._is_on_a_server:  # it lives on; only unstored events could be lost
            shared_dispatch().empty_memory(self._settings.close_timeout_s)
            return
        say_last(_logger, shared_dispatch().leave(self, self._settings.close_timeout_s))

    def _completed(self, fields: dict[str, Any]) -> dict[str, Any]:
        """A value for each of the manifest's fields; a missing one gets its default."""
        return {**_defaults_of(self.get_manifest()), **fields}

    def _disabled_by(self, inputs: EventInputs) -> str | None:
        """Who has disabled recording; None if nobody has."""
        if self._disable_sinks:
            return "the host (disable_sinks)"
        return "Disable Sink" if inputs.is_disabled else None

    def _record(self, inputs: EventInputs, event: Callable[[], VisionEvent]) -> BlockOutputs:
        """Stores the event and has it delivered, and says how far it got."""
        try:
            destination = self._destination(inputs)
            result = self._dispatch().record(
                event(),
                destination,
                waits=inputs.is_stored_first,
                step=(host.workflow_id(), *inputs.step),
            )
        except UnfitEvent as error:
            _log.say(logging.ERROR, ("unfit", str(error)), f"event not recorded: {error}")
            return outputs.unfit(str(error))
        except (NoDestination, NotTaken) as error:
            return failed(str(error))
        try:
            return self._outputs_of(result, destination, waits_for_api=inputs.waits_for_api)
        except Exception:  # whatever fails now, the event is recorded
            _logger.exception("the event is recorded, but how far it got could not be determined")
            return outputs.recorded_somehow(result)

    def _outputs_of(
        self, result: RecordResult, destination: Destination, *, waits_for_api: bool
    ) -> BlockOutputs:
        """Waits for the API's answer if the workflow does; logs what was adjusted."""
        adjustments = list(result.event.adjustments)
        is_event_store = destination.address.kind == EVENT_STORE
        if is_event_store:
            adjustments += event_store_adjustments(bundle_payload(result.event))
        for adjustment in adjustments:
            _log.say(logging.WARNING, adjustment.kind, f"event adjusted: {adjustment}")
        outcome = None
        if result.handle is not None:
            outcome = result.handle.wait(self._settings.wait_s if waits_for_api else 0.0)
            if not waits_for_api and outcome is not None and outcome.verdict is Verdict.DELIVERED:
                outcome = None  # quick, but not promised
        if is_event_store:
            result, outcome = _without_reasons(result, outcome)
        return outputs.recorded(result, outcome, sentence(adjustments), waited=waits_for_api)

    def _destination(self, inputs: EventInputs) -> Destination:
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
            # On a server blocks come and go with each request: together they are one user.
            type(self) if self._is_on_a_server else self,
            exit_timeout_s=self._settings.close_timeout_s,
        )


@cache
def _defaults_of(manifest: type[Any]) -> dict[str, Any]:
    return {
        name: field.get_default(call_default_factory=True)
        for name, field in manifest.model_fields.items()
    }


def _without_reasons(
    result: RecordResult, outcome: DeliveryOutcome | None
) -> tuple[RecordResult, DeliveryOutcome | None]:
    """Leaves an event store's own words to the log.

    Anyone who can run a workflow may choose its address, and must not read what answers inside
    the network.
    """
    if outcome is not None and outcome.reason:
        outcome = replace(outcome, reason=_IN_THE_LOG)
    if result.feedback.rejected:
        result = replace(result, feedback=replace(result.feedback, rejected=_IN_THE_LOG))
    return result, outcome


def failed(reason: str) -> BlockOutputs:
    """The outputs and a line in the log for an event that could not be recorded."""
    _log.say(logging.ERROR, ("failed", reason), f"event not recorded: {reason}")
    return outputs.failed(reason)

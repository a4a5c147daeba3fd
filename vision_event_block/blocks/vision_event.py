"""The block: engine objects in, five outputs out, and no exception ever."""

from __future__ import annotations

import hashlib
import logging
import math
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from vision_event_block import host, settings
from vision_event_block.blocks import host_images, step_definition
from vision_event_block.blocks.build_event import RunContext, build_event
from vision_event_block.blocks.cooldown import Cooldown
from vision_event_block.blocks.host_destinations import NoDestination, api_for, event_store_for
from vision_event_block.blocks.manifest import VisionEventManifest
from vision_event_block.delivery import process
from vision_event_block.delivery.destinations import EVENT_STORE
from vision_event_block.delivery.dispatch import Dispatch, DispatchLimits
from vision_event_block.delivery.queued_event import DeliveryOutcome, Verdict
from vision_event_block.delivery.records import NotTaken, RecordResult
from vision_event_block.events.adjustments import Adjustment, sentence
from vision_event_block.events.errors import UnfitEvent
from vision_event_block.events.event_store import event_store_adjustments
from vision_event_block.events.values import as_text
from vision_event_block.logs import QuietLog

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vision_event_block.delivery.destinations import Destination
    from vision_event_block.delivery.feedback import Feedback

_logger = logging.getLogger(__name__)
_log = QuietLog(_logger)

#: One for all blocks of the process: they are new for each HTTP request.
_cooldown = Cooldown()


def _forget_cooldowns() -> None:
    """A forked child counts for itself: its parent's lock may be held for ever."""
    global _cooldown  # noqa: PLW0603 - the process has one
    _cooldown = Cooldown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_cooldowns)

DEFAULT_COOLDOWN_S = 1.0
_IN_THE_LOG = "the log of the host has the reason"
_DEFAULTS = {
    name: field.get_default(call_default_factory=True)
    for name, field in VisionEventManifest.model_fields.items()
}


@dataclass(frozen=True)
class Report:
    """What the block answers; its fields are the block's outputs."""

    delivery_status: str
    message: str
    event_id: str = ""
    error_status: bool = False
    throttling_status: bool = False

    def outputs(self) -> dict[str, Any]:
        """The outputs by name."""
        return dict(vars(self))


#: The one user for all blocks of a server, which come and go with each request.
_THE_SERVER = object()


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
        """The outputs for one picture; the fields are the manifest's, by name."""
        try:
            return self._record({**_DEFAULTS, **fields}).outputs()
        except Exception as error:  # the outer wall: an exception would end a whole pipeline
            _logger.exception("the vision event could not be recorded")
            return _failed(f"{type(error).__name__}: {error}. The log has the details").outputs()

    def close(self) -> None:
        """Gives pending events a moment, where the process may end with the pipeline."""
        if not self._has_sent:
            return
        if self._is_on_a_server:  # it lives on; only what is not stored yet would be lost with it
            process.empty_memory(self._settings.close_timeout_s)
            return
        found = process.leave(self, self._settings.close_timeout_s)
        if found:
            _logger.warning("%s", found)

    def _record(self, fields: dict[str, Any]) -> Report:
        if self._disable_sinks or _is_on(fields["disable_sink"]):
            by = "the host (disable_sinks)" if self._disable_sinks else "Disable Sink"
            return Report("disabled", f"Nothing recorded: disabled by {by}.")
        period_s, adjustments = _cooldown_period(fields["cooldown_seconds"])
        try:
            durability = step_definition.durability(fields["durability"])
        except UnfitEvent as error:
            durability = step_definition.DURABILITIES[0]
            adjustments = [
                *adjustments,
                Adjustment("durability", f"taken as {durability}", str(error)),
            ]
        fields = {**fields, "durability": durability}
        key, is_shared = self._cooldown_key(fields)
        claim = _cooldown.claim(
            key, period_s, run=host.execution_id(), cache=self._cache if is_shared else None
        )
        if claim is None:
            return Report(
                "throttled",
                f"Nothing recorded: at most one event in {period_s:g} s (Cooldown).",
                throttling_status=True,
            )
        try:
            report = self._send(fields, adjustments)
        except BaseException:
            claim.release()
            raise
        if report.delivery_status in ("rejected", "failed"):
            claim.release()
        return report

    def _send(self, fields: dict[str, Any], adjustments: list[Adjustment]) -> Report:
        waits = not _is_on(fields["fire_and_forget"])
        try:
            destination = self._destination(fields)
            event = build_event(
                fields,
                RunContext(
                    device_id=host.device_id(host.platform_client(self._platform_client)),
                    workflow_id=host.workflow_id(),
                ),
            )
            result = self._dispatch().record(
                event,
                destination,
                waits=waits or fields["durability"] != "memory",
                step=_step_of(fields),
            )
        except UnfitEvent as error:
            _log.say(logging.ERROR, ("unfit", str(error)), f"event not recorded: {error}")
            return Report("rejected", f"Not recorded: {error}.", error_status=True)
        except (NoDestination, NotTaken) as error:
            return _failed(str(error))
        try:
            return self._told(result, destination, adjustments, waits=waits)
        except Exception:  # the event is recorded, whatever fails now
            _logger.exception("what became of a recorded event cannot be told")
            status = "stored" if result.is_stored else "accepted"
            return Report(status, "The event is recorded.", event_id=result.event.event_id)

    def _told(
        self,
        result: RecordResult,
        destination: Destination,
        adjustments: list[Adjustment],
        *,
        waits: bool,
    ) -> Report:
        """What the block answers for an event that was recorded, and what of it goes to the log."""
        named = [*result.event.adjustments, *adjustments]
        if destination.address.kind == EVENT_STORE:
            references = {picture.picture_id: "" for picture in result.event.pictures}
            named += event_store_adjustments(result.event.payload(references))
        _log_adjustments(named)
        outcome = None
        if result.handle is not None:
            outcome = result.handle.wait(self._settings.wait_s if waits else 0.0)
            if not waits and outcome is not None and outcome.verdict is Verdict.DELIVERED:
                outcome = None  # quick, but nobody promised it
        if destination.address.kind == EVENT_STORE:
            # Whoever runs a workflow need not be let read what is inside the host's network.
            if outcome is not None and outcome.reason:
                outcome = replace(outcome, reason=_IN_THE_LOG)
            if result.feedback.rejected:
                result = replace(result, feedback=replace(result.feedback, rejected=_IN_THE_LOG))
        return _report(result, outcome, sentence(named), waited=waits)

    def _destination(self, fields: dict[str, Any]) -> Destination:
        if _is_on(fields["write_to_event_store"]):
            return event_store_for(fields["event_store_url"], self._settings)
        return api_for(self._api_key, self._platform_client, self._settings)

    def _dispatch(self) -> Dispatch:
        self._has_sent = True
        return process.shared(
            lambda: DispatchLimits.of(self._settings, settings.outbox_folder()),
            _THE_SERVER if self._is_on_a_server else self,
            exit_timeout_s=self._settings.close_timeout_s,
        )

    def _cooldown_key(self, fields: dict[str, Any]) -> tuple[str, bool]:
        """What counts by itself, and whether other blocks and processes count it too.

        A camera's frames, and pictures of a stream or key that the step names, belong together
        wherever they are recorded. Pictures of which nothing is known do not: they count for this
        block alone, each picture of a batch by itself.
        """
        images = (fields["input_image"], fields["output_image"])
        shown = next((image for image in images if host_images.is_picture(image)), None)
        camera = None if shown is None else host_images.camera_of(shown)
        stream_id, cooldown_key = (
            "" if fields[name] is None else as_text(fields[name])
            for name in ("stream_id", "cooldown_key")
        )
        is_shared = bool(camera or stream_id or cooldown_key)
        parts = (
            self._api_key,
            host.workflow_id(),
            fields["step_fingerprint"],
            fields["use_case"],
            fields["event_type"],
            camera,
            # A pipeline only numbers its cameras: another one's camera 0 is another camera.
            None if camera is None or stream_id else host.stream_session_id(),
            None if shown is None else host_images.root_id_of(shown),
            stream_id,
            cooldown_key,
            None if is_shared else self._instance,
        )
        return hashlib.sha256(repr(parts).encode("utf-8", "replace")).hexdigest()[:32], is_shared


def _step_of(fields: dict[str, Any]) -> tuple[Any, ...]:
    """What the events of a step have in common, in all its frames."""
    names = ("step_fingerprint", "use_case", "event_type")
    return (host.workflow_id(), *(str(fields.get(name)) for name in names))


def _report(
    result: RecordResult, outcome: DeliveryOutcome | None, named: str, *, waited: bool
) -> Report:
    """What the block answers for an event that was taken."""
    event_id = result.event.event_id
    verdict = Verdict.WAITING if outcome is None else outcome.verdict
    reason = f": {outcome.reason}".rstrip(".") if outcome is not None and outcome.reason else ""
    if verdict is Verdict.DELIVERED:
        warnings = () if outcome is None else outcome.warnings
        warned = f"The API warns: {'; '.join(map(str, warnings))}." if warnings else ""
        return Report("delivered", _joined("Delivered.", warned, named), event_id=event_id)
    if verdict is Verdict.REJECTED:
        return Report(
            "rejected",
            _joined(f"The API rejected the event{reason}.", named),
            # Under which it is among the dead letters, if it ever was on disk.
            event_id=event_id if result.is_stored else "",
            error_status=True,
        )
    where = _whereabouts(result)
    is_key = verdict is Verdict.KEY_REFUSED
    if is_key:
        said = f"The API refused the key{reason}. Fix the key or its scopes; the event {where}."
    elif waited or reason:
        reason = reason or ": the API has not answered in time"
        said = f"Not delivered yet{reason}. The event {where} and is sent again."
    else:
        said = f"The event {where}; it is sent in the background."
    earlier, is_alarming = _of_earlier_events(result.feedback)
    return Report(
        "stored" if result.is_stored else "accepted",
        _joined(said, *earlier, named),
        event_id=event_id,
        error_status=is_key or result.is_in_danger or is_alarming,
    )


def _whereabouts(result: RecordResult) -> str:
    if result.is_stored:
        return "is stored"
    if not result.trouble:
        return "waits in memory"
    where = f"cannot be stored ({result.trouble.rstrip('.')}) and waits in memory"
    danger = ", where it is lost if the process ends before the API takes it"
    return where + danger if result.is_in_danger else where


def _of_earlier_events(feedback: Feedback) -> tuple[list[str], bool]:
    """Sentences about events of the same step before this one, and whether they are an error."""
    said = []
    if feedback.rejected:
        said.append(
            "The API rejected an earlier event of this step, now a dead letter: "
            f"{feedback.rejected.rstrip('.')}."
        )
    if feedback.not_stored:
        said.append(
            f"An earlier event of this step is not on disk: {feedback.not_stored.rstrip('.')}."
        )
    if feedback.warnings:
        said.append(f"Of an earlier event the API warns: {'; '.join(feedback.warnings)}.")
    return said, bool(feedback.rejected or feedback.not_stored)


def _failed(reason: str) -> Report:
    _log.say(logging.ERROR, ("failed", reason), f"event not recorded: {reason}")
    return Report("failed", f"Not recorded: {reason}.", error_status=True)


def _log_adjustments(adjustments: Iterable[Adjustment]) -> None:
    for adjustment in adjustments:
        _log.say(logging.WARNING, adjustment.kind, f"event adjusted: {adjustment}")


def _joined(*sentences: str) -> str:
    return " ".join(part for part in sentences if part)


def _cooldown_period(value: Any) -> tuple[float, list[Adjustment]]:
    """Seconds; what comes over a wire may be anything, and below zero means none."""
    try:
        period_s = float(value)
    except (TypeError, ValueError, OverflowError):
        period_s = math.nan
    if math.isfinite(period_s):
        return max(0.0, period_s), []
    return DEFAULT_COOLDOWN_S, [
        Adjustment(
            "cooldown_seconds", f"taken as {DEFAULT_COOLDOWN_S:g}", f"{value!r} is no number"
        )
    ]


def _is_on(value: Any) -> bool:
    """A switch; text from a wire counts as what it says."""
    if isinstance(value, str):
        return value.strip().lower() not in ("", "0", "false", "no", "off")
    return bool(value)

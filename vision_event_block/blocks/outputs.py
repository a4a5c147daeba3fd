"""What the block returns: its outputs, and the sentences of `message`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vision_event_block.delivery.queued_event import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vision_event_block.delivery.feedback import Feedback
    from vision_event_block.delivery.queued_event import DeliveryOutcome
    from vision_event_block.delivery.records import RecordResult
    from vision_event_block.tracking.summary import TrackSummary


@dataclass(frozen=True)
class BlockOutputs:
    """The outputs; the fields are their names."""

    delivery_status: str
    message: str
    event_id: str = ""
    error_status: bool = False
    throttling_status: bool = False

    @property
    def is_recorded(self) -> bool:
        """Whether an event exists now that did not exist before."""
        return self.delivery_status in ("accepted", "stored", "delivered")

    def and_completed(self, completed: Sequence[BlockOutputs | None]) -> BlockOutputs:
        """These, with a sentence on earlier events that were replaced during this frame."""
        said = [each for each in completed if each is not None]
        if not said:
            return self
        words = [
            f"Event {each.event_id} now includes what came after it."
            if each.is_recorded
            else f"What came after an earlier event is not recorded: {each.message}"
            for each in said
        ]
        is_error = self.error_status or not all(each.is_recorded for each in said)
        return replace(self, message=_joined(self.message, *words), error_status=is_error)

    def by_name(self) -> dict[str, Any]:
        return dict(vars(self))


def disabled(by: str) -> BlockOutputs:
    return BlockOutputs("disabled", f"Nothing recorded: disabled by {by}.")


def waiting() -> BlockOutputs:
    return BlockOutputs("waiting", "Nothing recorded: Trigger is off.")


def not_sampled(percent: float) -> BlockOutputs:
    return BlockOutputs(
        "not_sampled", f"Nothing recorded: the frame is not in the {percent:g} % sample (Sample)."
    )


def throttled(cooldown_s: float) -> BlockOutputs:
    return BlockOutputs(
        "throttled",
        f"Nothing recorded: at most one event in {cooldown_s:g} s (Cooldown).",
        throttling_status=True,
    )


def failed(reason: str) -> BlockOutputs:
    """The event could not be recorded, for a reason that the operator can change."""
    return BlockOutputs("failed", f"Not recorded: {reason}.", error_status=True)


def unfit(reason: str) -> BlockOutputs:
    """The event was not recorded because the API would reject it."""
    return BlockOutputs("rejected", f"Not recorded: {reason}.", error_status=True)


def recorded(
    result: RecordResult, outcome: DeliveryOutcome | None, adjusted: str, *, waited: bool
) -> BlockOutputs:
    """How far an event got.

    Args:
        result: What the dispatch returned.
        outcome: What is known of its delivery.
        adjusted: The sentence that names what was changed.
        waited: Whether the block waited for the API.
    """
    event_id = result.event.event_id
    verdict = Verdict.WAITING if outcome is None else outcome.verdict
    reason = f": {outcome.reason}".rstrip(".") if outcome is not None and outcome.reason else ""
    if verdict is Verdict.DELIVERED:
        warnings = () if outcome is None else outcome.warnings
        warned = f"The API warns: {'; '.join(map(str, warnings))}." if warnings else ""
        return BlockOutputs("delivered", _joined("Delivered.", warned, adjusted), event_id=event_id)
    if verdict is Verdict.REJECTED:
        return BlockOutputs(
            "rejected",
            _joined(f"The API rejected the event{reason}.", adjusted),
            # By this id it is found among the dead letters, if it was ever on disk.
            event_id=event_id if result.is_stored else "",
            error_status=True,
        )
    where = _whereabouts(result)
    is_key = verdict is Verdict.KEY_REFUSED
    if is_key:
        said = f"The API refused the key{reason}. Fix the key or its scopes; the event {where}."
    elif waited or reason:
        reason = reason or ": the API has not answered in time"
        said = f"Not delivered yet{reason}. The event {where} and will be retried."
    else:
        said = f"The event {where}; it is sent in the background."
    earlier, is_alarming = _of_earlier_events(result.feedback)
    return BlockOutputs(
        _status_of(result),
        _joined(said, *earlier, adjusted),
        event_id=event_id,
        error_status=is_key or result.is_in_danger or is_alarming,
    )


def recorded_somehow(result: RecordResult) -> BlockOutputs:
    """The event is recorded, but finding out how far it got has failed."""
    return BlockOutputs(
        _status_of(result), "The event is recorded.", event_id=result.event.event_id
    )


def followed(
    told: Sequence[tuple[TrackSummary, BlockOutputs]], open_count: int, adjusted: str
) -> dict[str, Any]:
    """The outputs for the events that a frame began, changed or ended: the last one's, and a list.

    Args:
        told: For each, the object and how far its event got.
        open_count: How many objects are open after the frame.
        adjusted: The sentence that names what was left out of the frame.
    """
    events = [
        {
            "track_id": thing.track_id,
            "event_id": found.event_id,
            "state": thing.state.value,
            "delivery_status": found.delivery_status,
        }
        for thing, found in told
    ]
    if not told:
        objects = "1 object is" if open_count == 1 else f"{open_count} objects are"
        last = BlockOutputs("waiting", f"Nothing to record on this frame; {objects} followed.")
    else:
        # Of several failures one is shown; the others are in `events` and in the log.
        failures = [found for _, found in told if found.error_status]
        last = [*(found for _, found in told), *failures][-1]
    return {**last.by_name(), "message": _joined(last.message, adjusted), "events": events}


def _status_of(result: RecordResult) -> str:
    return "stored" if result.is_stored else "accepted"


def _whereabouts(result: RecordResult) -> str:
    if result.is_stored:
        return "is stored"
    if not result.problem:
        return "waits in memory"
    where = f"cannot be stored ({result.problem.rstrip('.')}) and waits in memory"
    danger = ", where it is lost if the process ends before the API takes it"
    return where + danger if result.is_in_danger else where


def _of_earlier_events(feedback: Feedback) -> tuple[list[str], bool]:
    """Sentences about events of the same step before this one, and whether they are an error."""
    said = []
    if feedback.rejected:
        said.append(
            "The API rejected an earlier event of this step, which is now a dead letter: "
            f"{feedback.rejected.rstrip('.')}."
        )
    if feedback.not_stored:
        said.append(
            f"An earlier event of this step is not on disk: {feedback.not_stored.rstrip('.')}."
        )
    if feedback.warnings:
        said.append(f"The API warns about an earlier event: {'; '.join(feedback.warnings)}.")
    return said, bool(feedback.rejected or feedback.not_stored)


def _joined(*sentences: str) -> str:
    return " ".join(part for part in sentences if part)

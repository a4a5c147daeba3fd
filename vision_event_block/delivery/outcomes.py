"""What happens to events whose request failed. Pure: an error in, a decision out.

Failures of the connection or the key are never held against an event; only a verdict on the event
itself ends it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from vision_event_block.delivery.errors import Fault
from vision_event_block.delivery.queued_event import Verdict
from vision_event_block.outbox.owner_status import DestinationState

if TYPE_CHECKING:
    from vision_event_block.delivery.errors import VisionEventsError

FIRST_BACKOFF_S: Final = 1.0
#: If an event's key is refused once and then this many times more, with others going through in
#: between, the event itself is the reason.
MAX_KEY_REFUSALS: Final = 2
#: Such a refusal may be about images that the API no longer has.
MAY_MEAN_IMAGES: Final = frozenset({400, 404, 422})


class Action(Enum):
    """What to do with the events of a request that failed."""

    #: Send them again, alone, after a pause.
    RETRY = "retry"
    #: Send the halves of the batch, to find the one to blame.
    SPLIT = "split"
    #: Upload the images again, and then send the event again.
    RENEW_IMAGES = "renew images"
    DEAD_LETTER = "dead letter"


@dataclass(frozen=True)
class Attempt:
    """What is known about a request that failed, and about its event if it held one."""

    events: int = 1
    #: Of the event, in a row, before this one.
    failures: int = 0
    #: Of the event, with others going through in between; this one included.
    key_refusals: int = 0
    #: Images of it were uploaded in an earlier attempt.
    has_old_images: bool = False
    #: They were uploaded again after an earlier refusal.
    has_renewed_images: bool = False


@dataclass(frozen=True)
class Decision:
    """What to do with the events, and how soon."""

    action: Action
    #: The longest pause; the actual one is drawn at random up to it.
    backoff_s: float = 0.0
    #: Before all others of its queue, or behind them.
    is_first: bool = False
    #: What a waiting caller learns; None if the next attempt is about to tell more.
    verdict: Verdict | None = None


def decide(
    error: VisionEventsError, attempt: Attempt, state: DestinationState, *, max_backoff_s: float
) -> Decision:
    """What happens to the events of a request that failed.

    Args:
        error: Why it failed.
        attempt: What it was.
        state: What is known about the destination now, this failure included.
        max_backoff_s: The longest pause of an event.
    """
    if error.fault is Fault.EVENT:
        if attempt.events > 1:
            return Decision(Action.SPLIT)
        if (
            error.status in MAY_MEAN_IMAGES
            and attempt.has_old_images
            and not attempt.has_renewed_images
        ):
            return Decision(Action.RENEW_IMAGES, is_first=True)
        return Decision(Action.DEAD_LETTER, verdict=Verdict.REJECTED)
    if error.fault is Fault.KEY and attempt.key_refusals >= MAX_KEY_REFUSALS:
        return Decision(Action.DEAD_LETTER, verdict=Verdict.REJECTED)
    if error.is_unanswered and attempt.failures == 0:
        # Perhaps it was carried out; sending it again under the same id settles it.
        return Decision(Action.RETRY, is_first=True)
    verdict = Verdict.KEY_REFUSED if error.fault is Fault.KEY else Verdict.WAITING
    is_breakers_business = state is not DestinationState.OPEN and error.fault is not Fault.INTERNAL
    step_s = 0.0 if is_breakers_business else FIRST_BACKOFF_S * 2.0 ** min(attempt.failures, 10)
    return Decision(
        Action.RETRY,
        backoff_s=min(max_backoff_s, step_s),
        # Unless the API was unreachable, another event goes next: this one may be the cause, and
        # what always fails must not stand before all others for ever.
        is_first=error.is_unsent,
        verdict=verdict,
    )

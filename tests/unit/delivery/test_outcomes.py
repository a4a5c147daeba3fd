"""What follows for events whose request failed, as a table."""

from __future__ import annotations

import pytest

from vision_event_block.delivery.errors import (
    AuthError,
    InternalError,
    NoAnswer,
    NotNow,
    RejectedError,
    UnknownReply,
    Unreachable,
)
from vision_event_block.delivery.outcomes import Action, Attempt, Decision, decide
from vision_event_block.delivery.queued_event import Verdict
from vision_event_block.outbox.owner_status import DestinationState

OPEN, DOWN, KEY_REFUSED, *_ = DestinationState


def rejected(status=400):
    return RejectedError("no", route="r", status=status)


def error(kind):
    return kind("no", route="r")


BATCH = Attempt(events=12)
FIRST = Attempt()
THIRD = Attempt(failures=2)
OLD_IMAGES = Attempt(has_old_images=True)
RENEWED = Attempt(has_old_images=True, has_renewed_images=True)
DEAD = Decision(Action.DEAD_LETTER, verdict=Verdict.REJECTED)
WAIT = Verdict.WAITING


@pytest.mark.parametrize(
    ("failure", "attempt", "link", "decision"),
    [
        (rejected(), BATCH, OPEN, Decision(Action.SPLIT)),
        (rejected(), FIRST, OPEN, DEAD),
        (rejected(), THIRD, DOWN, DEAD),
        (rejected(400), OLD_IMAGES, OPEN, Decision(Action.RENEW_IMAGES, is_first=True)),
        (rejected(404), OLD_IMAGES, OPEN, Decision(Action.RENEW_IMAGES, is_first=True)),
        (rejected(422), OLD_IMAGES, OPEN, Decision(Action.RENEW_IMAGES, is_first=True)),
        (rejected(413), OLD_IMAGES, OPEN, DEAD),
        (rejected(400), RENEWED, OPEN, DEAD),
        (error(NoAnswer), FIRST, OPEN, Decision(Action.RETRY, is_first=True)),
        (error(UnknownReply), BATCH, OPEN, Decision(Action.RETRY, is_first=True)),
        (error(NoAnswer), THIRD, OPEN, Decision(Action.RETRY, 4.0, verdict=WAIT)),
        (error(NotNow), FIRST, OPEN, Decision(Action.RETRY, 1.0, verdict=WAIT)),
        (error(NotNow), THIRD, OPEN, Decision(Action.RETRY, 4.0, verdict=WAIT)),
        (error(NotNow), Attempt(failures=50), OPEN, Decision(Action.RETRY, 60.0, verdict=WAIT)),
        (error(NotNow), THIRD, DOWN, Decision(Action.RETRY, verdict=WAIT)),
        (error(Unreachable), FIRST, DOWN, Decision(Action.RETRY, is_first=True, verdict=WAIT)),
        (
            error(AuthError),
            FIRST,
            KEY_REFUSED,
            Decision(Action.RETRY, verdict=Verdict.KEY_REFUSED),
        ),
        (
            error(AuthError),
            Attempt(failures=9, key_refusals=1),
            KEY_REFUSED,
            Decision(Action.RETRY, verdict=Verdict.KEY_REFUSED),
        ),
        (error(AuthError), Attempt(failures=9, key_refusals=2), KEY_REFUSED, DEAD),
        (error(InternalError), FIRST, OPEN, Decision(Action.RETRY, 1.0, verdict=WAIT)),
        (error(InternalError), THIRD, DOWN, Decision(Action.RETRY, 4.0, verdict=WAIT)),
    ],
)
def test_what_follows_a_failure(failure, attempt, link, decision):
    assert decide(failure, attempt, link, max_backoff_s=60.0) == decision

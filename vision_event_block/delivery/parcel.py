"""One event on its way: where it lies, what of it is up already, and who waits for it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from vision_event_block.delivery.errors import (
    AuthError,
    RejectedError,
    TransientError,
    Unreachable,
    VisionEventsError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from vision_event_block.delivery.replies import Remark
    from vision_event_block.outbox.entry import Address, Contents
    from vision_event_block.outbox.slot import Entry


class Verdict(Enum):
    """What is known about an event's way to the API."""

    DELIVERED = "delivered"
    #: Not yet, for a reason that has nothing to do with the event.
    WAITING = "waiting"
    #: Not before somebody mends the key.
    KEY_REFUSED = "key refused"
    #: Never: the API refused this event.
    REJECTED = "rejected"


@dataclass(frozen=True)
class Outcome:
    """A verdict with what led to it."""

    verdict: Verdict
    warnings: tuple[Remark, ...] = ()
    #: In words; the error itself would keep the event's pictures in memory.
    reason: str = ""
    #: Nothing new is to be expected in the next moments.
    is_settled: bool = True


class Ticket:
    """What whoever handed an event over may follow it by."""

    def __init__(self, on_outcome: Callable[[Outcome], None] | None = None) -> None:
        """Starts without an outcome; each one that comes is handed to `on_outcome` too."""
        self._changed = threading.Condition()
        self._outcome: Outcome | None = None
        self._on_outcome = on_outcome
        #: Whether somebody waits right now.
        self.is_awaited = False

    def wait(self, timeout_s: float) -> Outcome | None:
        """What is known once waiting on brings nothing, or after the time; None if nothing is."""
        with self._changed:
            self.is_awaited = timeout_s > 0
            self._changed.wait_for(
                lambda: self._outcome is not None and self._outcome.is_settled, timeout_s
            )
            self.is_awaited = False
            return self._outcome

    def settle(self, outcome: Outcome) -> None:
        """Notes the newest verdict."""
        with self._changed:
            self._outcome = outcome
            self._changed.notify_all()
        if self._on_outcome is not None:
            self._on_outcome(outcome)


@dataclass(eq=False)
class Parcel:
    """An event that the courier carries."""

    event_id: str
    address: Address
    #: Where it lies on disk; None if it is in memory only.
    entry: Entry | None = None
    #: Read from disk when its turn comes; its pictures go once they are up.
    contents: Contents | None = None
    ticket: Ticket | None = None
    is_urgent: bool = False
    is_backlog: bool = False
    #: The API's id by member, for pictures that are up. Survives a failed try.
    source_ids: dict[str, str] = field(default_factory=dict)
    uploads_left: int = 0
    error: VisionEventsError | None = None
    #: Tries in a row that the link spoilt; never held against the event.
    stumbles: int = 0
    #: How often its key was refused while other events of the key went through.
    key_refusals: int = 0
    #: How many events its line had delivered when its key was refused last.
    refused_after: int | None = None
    #: Its key was refused, perhaps because of what it is: it travels alone.
    is_suspect: bool = False
    ready_at_s: float = 0.0
    #: How many of the ids are kept beside the entry on disk.
    noted_uploads: int = 0
    #: Called once the event is delivered or refused for good.
    on_end: Callable[[Verdict], None] | None = None

    def end(self, verdict: Verdict) -> None:
        """The event needs no room any more."""
        if self.on_end is not None:
            self.on_end(verdict)

    def note_error(self, error: VisionEventsError) -> None:
        """Keeps the weightiest: what is wrong with the event before what is wrong with the way."""
        if self.error is None or _weight(error) < _weight(self.error):
            self.error = error

    def settle(
        self, verdict: Verdict, error: VisionEventsError | None = None, **more: object
    ) -> None:
        """Tells whoever waits."""
        if self.ticket is not None:
            settled = verdict is not Verdict.WAITING or isinstance(error, Unreachable)
            outcome = Outcome(
                verdict,
                reason="" if error is None else str(error),
                is_settled=settled,
                warnings=more.get("warnings", ()),  # type: ignore[arg-type]
            )
            self.ticket.settle(outcome)


def _weight(error: VisionEventsError) -> int:
    for weight, kind in enumerate((RejectedError, AuthError, TransientError)):
        if isinstance(error, kind):
            return weight
    return 3

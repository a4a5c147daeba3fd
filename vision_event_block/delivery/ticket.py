"""One event on its way: what is known about it, and the uploads that belong to it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from vision_event_block.delivery.errors import Unreachable

if TYPE_CHECKING:
    from vision_event_block.delivery.client import CreateReply, VisionEventsClient
    from vision_event_block.events.event import VisionEvent
    from vision_event_block.events.pictures import Picture


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
    reply: CreateReply | None = None
    error: Exception | None = None

    @property
    def is_worth_waiting_on(self) -> bool:
        """Whether the next moments may bring another one: the API was there, but not ready."""
        return self.verdict is Verdict.WAITING and not isinstance(self.error, Unreachable)


class Ticket:
    """One event on its way, as whoever handed it over may follow it."""

    def __init__(self, event: VisionEvent, client: VisionEventsClient) -> None:
        self.event = event
        self.client = client
        self.size_bytes = event.size_bytes
        #: Ours -> the API's, for pictures that are up. Survives a failed attempt.
        self.source_ids: dict[str, str] = {}
        self.attempts = 0
        self.due_s = 0.0
        #: A floor that the API itself asked for; a hurried flush respects it.
        self.not_before_s = 0.0
        self._changed = threading.Condition()
        self._outcome: Outcome | None = None

    def wait(self, timeout_s: float) -> Outcome | None:
        """What is known once waiting on brings nothing, or after the time; None if nothing is."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._outcome is not None and not self._outcome.is_worth_waiting_on,
                timeout_s,
            )
            return self._outcome

    def settle(self, outcome: Outcome) -> None:
        """Notes the newest verdict."""
        with self._changed:
            self._outcome = outcome
            self._changed.notify_all()


@dataclass
class Upload:
    """One picture's upload, done by whichever thread claims it first."""

    ticket: Ticket
    picture: Picture
    claim: threading.Lock = field(default_factory=threading.Lock)
    done: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None

    def run(self) -> None:
        """Uploads, unless another thread has begun to."""
        if not self.claim.acquire(blocking=False):
            return
        try:
            reply = self.ticket.client.upload(
                self.picture.content, media_type=self.picture.media_type
            )
            self.ticket.source_ids[self.picture.picture_id] = reply.source_id
        except Exception as error:  # noqa: BLE001 - carried to the thread that owns the event
            self.error = error
        finally:
            self.done.set()

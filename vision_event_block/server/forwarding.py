"""The interface to whatever forwards the server's events, and how events come in through it.

The server knows nothing of outboxes or other servers: it is given an object that does, or none.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import uuid4

from starlette.exceptions import HTTPException

from vision_event_block.server.refusals import NOT_FORWARDED, Refusal
from vision_event_block.server.store.errors import DuplicateName
from vision_event_block.server.store.records import Cleaned

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from vision_event_block.server.storage import Store
    from vision_event_block.server.store.records import Deleted, NewEvent, UseCase

#: More than a plant has; a relay creates no more than this by itself.
MAX_USE_CASES: Final = 1000
#: `Retry-After` for a client whose event cannot be forwarded.
RETRY_AFTER_S: Final = 30


class NotForwarded(Exception):  # noqa: N818 -- a state the operator can change
    """The event cannot be forwarded; the message says why."""


class _CannotForward(HTTPException):
    refusal = Refusal(NOT_FORWARDED)


@dataclass(frozen=True, kw_only=True)
class ForwardingSummary:
    """The state of forwarding in one line."""

    #: The host that events go to.
    host: str
    waiting: int
    refused: int
    #: Why events wait, if something is wrong; empty otherwise.
    trouble: str = ""


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """An event that was refused for good."""

    event_id: str
    reason: str
    status: int | None
    refused_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class ForwardingReport:
    """The state of forwarding in full."""

    summary: ForwardingSummary
    #: The address that events go to.
    url: str
    #: The state of the connection, in words for the page.
    connection: str
    last_success_at: datetime | None
    #: All events ever accepted.
    taken: int
    delivered: int
    #: Those waiting for an address or key other than this server's.
    for_others: int
    oldest_waiting_at: datetime | None
    #: The newest of the refused events.
    dead_letters: Sequence[DeadLetter]
    #: Events in files that can no longer be read.
    damaged: int
    #: Events discarded, by reason.
    dropped: Mapping[str, int] = field(default_factory=dict)
    #: Pictures that events referred to but this server did not have.
    missing_pictures: int = 0
    size_bytes: int
    max_bytes: int
    #: Where waiting events are stored.
    folder: str


@dataclass(frozen=True, kw_only=True)
class Withdrawn:
    """What became of deleted events that a relay was to forward."""

    #: Were still waiting, and will not be sent.
    withdrawn: int
    #: Were sent, are being sent, or came before anything was forwarded: they stay elsewhere.
    remote: int
    #: Were also deleted there.
    deleted: int = 0


class Forwarding(Protocol):
    """Forwards events. Any thread may use it."""

    def forward(
        self, events: Sequence[NewEvent], put: Callable[[Sequence[NewEvent]], None]
    ) -> None:
        """Saves the events for forwarding, calls `put` to store them, then starts sending them.

        `put` gets the events with a note that they are waiting.

        Raises:
            NotForwarded: one of them cannot be accepted; then none is, and `put` is not called.
        """

    def forget(self, event_ids: Collection[str]) -> set[str]:
        """Stops forwarding these events; returns the ids of those that were still waiting."""

    def delete_there(self, use_case_id: str, event_ids: Sequence[str]) -> set[str]:
        """Deletes events where they were sent, if allowed; returns those that are gone there."""

    def settle(self) -> None:
        """Releases what is no longer waiting to the clean-up."""

    def summary(self) -> ForwardingSummary:
        """The state of forwarding; cheap enough for every page."""

    def report(self) -> ForwardingReport:
        """The state of forwarding in full; reads the disk."""

    def metrics(self) -> Iterator[Any]:
        """The state of forwarding as Prometheus metric families; reads the disk."""


class EventSink:
    """Puts events into the store and, on a relay, forwards them.

    An event that cannot be forwarded is not stored either.
    """

    def __init__(
        self,
        store: Store,
        forwarding: Forwarding | None = None,
        *,
        strict: bool = False,
        on_put: Callable[[Sequence[NewEvent]], object] = lambda _: None,
    ) -> None:
        """Calls `on_put` with the events that have been stored."""
        self._store = store
        self._on_put = on_put
        self.forwarding = forwarding
        self._strict = strict

    def spare_id(self) -> str | None:
        """An id for an event that has none; None if such an event is to be refused."""
        return None if self._strict else str(uuid4())

    def put(self, events: Sequence[NewEvent]) -> None:
        """Stores all of these events and, on a relay, forwards them.

        Raises:
            HTTPException: they cannot be forwarded now; the client should retry.
            NoSuchUseCase: an event belongs to a use case that does not exist.
        """
        try:
            if self.forwarding is None:
                self._store.put(events)
            else:
                self.forwarding.forward(events, self._store.put)
        except NotForwarded as error:
            raise _CannotForward(
                503,
                f"the event cannot be accepted for forwarding: {error}",
                headers={"Retry-After": str(RETRY_AFTER_S)},
            ) from None
        self._on_put(events)

    def delete(
        self, use_case_id: str, event_ids: Sequence[str], *, with_pictures: bool = False
    ) -> tuple[Deleted, Withdrawn | None]:
        """Deletes events and the feedback about them; on a relay, also stops forwarding them.

        What was already sent stays where it was sent, unless the relay deletes there as well.
        """
        deleted = self._store.delete(use_case_id, event_ids, with_pictures=with_pictures)
        if self.forwarding is None:
            return deleted, None
        withdrawn = self.forwarding.forget({*deleted.event_ids, *deleted.feedback_ids})
        sent = [event_id for event_id in deleted.event_ids if event_id not in withdrawn]
        gone = self.forwarding.delete_there(use_case_id, sent) if sent else set()
        return deleted, Withdrawn(
            withdrawn=len(deleted.event_ids) - len(sent),
            remote=len(sent) - len(gone),
            deleted=len(gone),
        )

    def clean_up(self) -> Cleaned:
        """Removes what is old or unused, but nothing that is waiting to be forwarded."""
        if self.forwarding is not None:
            self.forwarding.settle()
        return self._store.clean_up()

    def make_room(self) -> Cleaned:
        """Removes the oldest data if more is stored than allowed, but nothing that is waiting."""
        if not self._store.room.is_needed:
            return Cleaned(events=0, pictures=0)
        if self.forwarding is not None:
            self.forwarding.settle()
        return self._store.room.make()

    def use_case(self, id_or_name: str) -> UseCase | None:
        """The use case that an event names; it may be archived.

        A relay creates those that it does not know: its target decides which exist.

        Raises:
            LimitReached: it has created as many as it may. A client that may only write events
                must not be able to flood the list of use cases; the event waits for an operator.
        """
        found = self._store.use_cases.find(id_or_name)
        if found is not None or self.forwarding is None:
            return found
        # A concurrent request may have created it, a similar name may exist, or the id be invalid.
        with suppress(DuplicateName, ValueError):
            self._store.use_cases.create(id_or_name, id=id_or_name, at_most=MAX_USE_CASES)
        return self._store.use_cases.get(id_or_name)

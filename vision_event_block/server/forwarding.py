"""What the server asks of whoever sends its events on, and how events come in past it.

The server knows neither an outbox nor another server: it is given an object that does, or none.
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

#: More than a plant has; beyond it a server that forwards makes none by itself.
MAX_USE_CASES: Final = 1000
#: What a client is told to wait when its event cannot be forwarded.
RETRY_AFTER_S: Final = 30


class NotForwarded(Exception):  # noqa: N818 -- a state the operator can change
    """Nobody will send the event on; the message says why."""


class _CannotForward(HTTPException):
    refusal = Refusal(NOT_FORWARDED)


@dataclass(frozen=True, kw_only=True)
class ForwardingSummary:
    """How the forwarding goes, in a line."""

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
    """How the forwarding goes, in full."""

    summary: ForwardingSummary
    #: The address that events go to.
    url: str
    #: How the connection to it is, in words for the page.
    connection: str
    last_success_at: datetime | None
    #: Events that were ever taken on.
    taken: int
    delivered: int
    #: Of those that wait, for another address or key than this server's.
    for_others: int
    oldest_waiting_at: datetime | None
    #: The newest of those that were refused.
    dead_letters: Sequence[DeadLetter]
    #: Events in files that cannot be read any more.
    damaged: int
    #: Events given up, by reason.
    dropped: Mapping[str, int] = field(default_factory=dict)
    #: Pictures that events referred to and this server did not have.
    missing_pictures: int = 0
    size_bytes: int
    max_bytes: int
    #: Where what waits lies.
    folder: str


@dataclass(frozen=True, kw_only=True)
class Withdrawn:
    """What became of deleted events that a relay was to send on."""

    #: Were still waiting, and are not sent.
    withdrawn: int
    #: Were sent, are being sent, or came before anything was forwarded: they stay elsewhere.
    remote: int
    #: Were deleted there, too.
    deleted: int = 0


class Forwarding(Protocol):
    """Sends events on. Any thread may use it."""

    def forward(
        self, events: Sequence[NewEvent], put: Callable[[Sequence[NewEvent]], None]
    ) -> None:
        """Calls `put`, which stores the events, once they are safe on their way; then they go.

        It is given the events with the note that they wait.

        Raises:
            NotForwarded: one of them cannot be taken on; then none is, and none is put.
        """

    def forget(self, event_ids: Collection[str]) -> set[str]:
        """Events of which nothing is sent any more; the ids of those that were still waiting."""

    def delete_there(self, use_case_id: str, event_ids: Sequence[str]) -> set[str]:
        """Deletes events where they were sent, if it may; those that are not there any more."""

    def settle(self) -> None:
        """Lets the clean-up have what does not wait any more."""

    def summary(self) -> ForwardingSummary:
        """How it goes; cheap enough for every page."""

    def report(self) -> ForwardingReport:
        """How it goes in full; reads the disk."""

    def metrics(self) -> Iterator[Any]:
        """How it goes as families of Prometheus metrics; reads the disk."""


class EventSink:
    """The way of events into the store and, where the server forwards, on from there.

    An event that is refused for the sake of forwarding is not in the store either.
    """

    def __init__(
        self,
        store: Store,
        forwarding: Forwarding | None = None,
        *,
        strict: bool = False,
        on_put: Callable[[Sequence[NewEvent]], object] = lambda _: None,
    ) -> None:
        """Calls `on_put` with the events that were stored."""
        self._store = store
        self._on_put = on_put
        self.forwarding = forwarding
        self._strict = strict

    def spare_id(self) -> str | None:
        """An id for an event that comes without; None if such an event is to be refused."""
        return None if self._strict else str(uuid4())

    def put(self, events: Sequence[NewEvent]) -> None:
        """All of these events on disk and, where the server forwards, on their way.

        Raises:
            HTTPException: they cannot be forwarded now; the client is to try again.
            NoSuchUseCase: an event belongs to a use case that is not there.
        """
        if self.forwarding is None:
            self._store.put(events)
            self._on_put(events)
            return
        try:
            self.forwarding.forward(events, self._store.put)
        except NotForwarded as error:
            raise _CannotForward(
                503,
                f"the event cannot be taken for forwarding: {error}",
                headers={"Retry-After": str(RETRY_AFTER_S)},
            ) from None
        self._on_put(events)

    def delete(
        self, use_case_id: str, event_ids: Sequence[str], *, with_pictures: bool = False
    ) -> tuple[Deleted, Withdrawn | None]:
        """Events deleted, with the feedback about them; where the server forwards, also withdrawn.

        What was sent before stays where it went, unless the relay deletes there as well.
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
        """Removes what is old or idle, but nothing that waits to be forwarded."""
        if self.forwarding is not None:
            self.forwarding.settle()
        return self._store.clean_up()

    def make_room(self) -> Cleaned:
        """Removes the oldest where more is kept than is to be, but nothing that waits."""
        if not self._store.room.is_needed:
            return Cleaned(events=0, pictures=0)
        if self.forwarding is not None:
            self.forwarding.settle()
        return self._store.room.make()

    def use_case(self, id_or_name: str) -> UseCase | None:
        """The use case that an event names; it may be archived.

        A server that forwards makes what it does not know: the target decides which there are.

        Raises:
            LimitReached: it has made as many as it may. Who may only write events shall not fill
                the list of those who look at it; the event waits until somebody has looked.
        """
        found = self._store.use_cases.find(id_or_name)
        if found is not None or self.forwarding is None:
            return found
        # Of two at once one is late; and another one may have nearly the name, or the id be none.
        with suppress(DuplicateName, ValueError):
            self._store.use_cases.create(id_or_name, id=id_or_name, at_most=MAX_USE_CASES)
        return self._store.use_cases.get(id_or_name)

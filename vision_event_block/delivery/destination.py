"""Where events go: the Vision Events API, or the event store on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from vision_event_block.delivery.errors import UnknownReply
from vision_event_block.events import limits
from vision_event_block.events.bundle import create_body
from vision_event_block.events.event_store import event_store_body
from vision_event_block.outbox.entry import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from vision_event_block.delivery.client import VisionEventsClient
    from vision_event_block.delivery.event_store import EventStoreClient
    from vision_event_block.delivery.replies import Remark
    from vision_event_block.outbox.entry import Contents

API: Final = "api"
EVENT_STORE: Final = "event_store"


class Destination(Protocol):
    """What the courier asks of a place that takes events."""

    address: Address
    max_batch_events: int

    @property
    def upload(self) -> Callable[[bytes], str] | None:
        """Sends a picture by itself and gives its id; None where pictures travel in the event."""

    def send(self, events: Sequence[tuple[Contents, Mapping[str, str]]]) -> Sequence[Remark]:
        """Sends events, with the ids of their pictures, in one request; gives what is warned of."""

    def close(self) -> None:
        """Closes connections."""


class ApiDestination:
    """The Vision Events API under one key."""

    max_batch_events = limits.MAX_BATCH_EVENTS

    def __init__(self, client: VisionEventsClient, url: str, key_fingerprint: str) -> None:
        self.client = client
        self.address = Address(API, url.rstrip("/"), key_fingerprint)

    @property
    def upload(self) -> Callable[[bytes], str]:
        """Sends a picture and gives the API's id of it."""
        return lambda picture: self.client.upload(picture).source_id

    def send(self, events: Sequence[tuple[Contents, Mapping[str, str]]]) -> Sequence[Remark]:
        """Sends events whose pictures are up; gives what the API warns of."""
        bodies = [create_body(contents.payload, source_ids) for contents, source_ids in events]
        if len(bodies) == 1:
            return self.client.create(bodies[0]).remarks
        reply = self.client.batch(bodies)
        if reply.created < len(bodies):
            words = f"only {reply.created} of {len(bodies)} events were created"
            raise UnknownReply(words, route="POST /vision-events/batch")
        return reply.remarks

    def close(self) -> None:
        """Closes connections."""
        self.client.close()


class EventStoreDestination:
    """The event store on the device. It gives ids itself: a repeated post is a second event."""

    max_batch_events = 1
    upload = None

    def __init__(self, client: EventStoreClient, url: str, key_fingerprint: str = "") -> None:
        self.client = client
        self.address = Address(EVENT_STORE, url.rstrip("/"), key_fingerprint)

    def send(self, events: Sequence[tuple[Contents, Mapping[str, str]]]) -> Sequence[Remark]:
        """Sends one event with its pictures; the store warns of nothing."""
        [(contents, _)] = events
        self.client.create(event_store_body(contents.payload, contents.pictures))
        return ()

    def close(self) -> None:
        """Closes connections."""
        self.client.close()

"""Where events go: the Vision Events API, or the event store on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from vision_event_block.delivery.replies import ApiWarning, BatchReply, CreateReply
from vision_event_block.events import limits
from vision_event_block.events.bundle import create_body
from vision_event_block.events.event_store import event_store_body
from vision_event_block.outbox.entry import Address

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vision_event_block.delivery.client import VisionEventsClient
    from vision_event_block.delivery.event_store import EventStoreClient

API: Final = "api"
EVENT_STORE: Final = "event_store"


class Destination(Protocol):
    """What the courier asks of a place that takes events."""

    address: Address
    #: Pictures go up by themselves before the event; else they travel in it.
    takes_uploads: bool
    max_batch_events: int

    def upload(self, picture: bytes) -> str:
        """The id under which a picture is kept."""

    def create(
        self,
        payload: Mapping[str, Any],
        source_ids: Mapping[str, str],
        pictures: Mapping[str, bytes],
    ) -> CreateReply:
        """What is said about one event."""

    def batch(self, events: Sequence[tuple[Mapping[str, Any], Mapping[str, str]]]) -> BatchReply:
        """What is said about many at once."""

    def close(self) -> None:
        """Closes connections."""


class ApiDestination:
    """The Vision Events API under one key."""

    takes_uploads = True
    max_batch_events = limits.MAX_BATCH_EVENTS

    def __init__(self, client: VisionEventsClient, url: str, key_fingerprint: str) -> None:
        self.client = client
        self.address = Address(API, url.rstrip("/"), key_fingerprint)

    def upload(self, picture: bytes) -> str:
        """The id under which a picture is kept."""
        return self.client.upload(picture).source_id

    def create(
        self,
        payload: Mapping[str, Any],
        source_ids: Mapping[str, str],
        pictures: Mapping[str, bytes],  # noqa: ARG002 - they are up
    ) -> CreateReply:
        """What is said about one event."""
        return self.client.create(create_body(payload, source_ids))

    def batch(self, events: Sequence[tuple[Mapping[str, Any], Mapping[str, str]]]) -> BatchReply:
        """What is said about many at once."""
        return self.client.batch([create_body(payload, ids) for payload, ids in events])

    def close(self) -> None:
        """Closes connections."""
        self.client.close()


class EventStoreDestination:
    """The event store on the device. It gives ids itself: a repeated post is a second event."""

    takes_uploads = False
    max_batch_events = 1

    def __init__(self, client: EventStoreClient, url: str, key_fingerprint: str = "") -> None:
        self.client = client
        self.address = Address(EVENT_STORE, url.rstrip("/"), key_fingerprint)

    def upload(self, picture: bytes) -> str:
        """The id under which a picture is kept."""
        raise NotImplementedError("pictures travel in the event")

    def create(
        self,
        payload: Mapping[str, Any],
        source_ids: Mapping[str, str],  # noqa: ARG002 - there are none
        pictures: Mapping[str, bytes],
    ) -> CreateReply:
        """What is said about one event."""
        reply = self.client.create(event_store_body(payload, pictures))
        return CreateReply(event_id=reply.id, created=True, warnings=())

    def batch(self, events: Sequence[tuple[Mapping[str, Any], Mapping[str, str]]]) -> BatchReply:
        """What is said about many at once."""
        raise NotImplementedError("one event at a time")

    def close(self) -> None:
        """Closes connections."""
        self.client.close()


__all__ = ["ApiDestination", "ApiWarning", "Destination", "EventStoreDestination"]

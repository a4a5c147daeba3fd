"""Where events go: the Vision Events API, or the event store on the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from vision_event_block.contract import limits
from vision_event_block.delivery.secret import PROCESS_SALT
from vision_event_block.events.bundle import create_body
from vision_event_block.events.event_store import event_store_body
from vision_event_block.outbox.entry import Address

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vision_event_block.delivery.client import EventStoreClient, VisionEventsClient
    from vision_event_block.delivery.replies import Remark
    from vision_event_block.delivery.secret import Secret
    from vision_event_block.outbox.entry import EntryContents

API: Final = "api"
EVENT_STORE: Final = "event_store"
#: The API, reached through a server that keeps the pictures and that alone can send the event.
RELAY: Final = "relay"


@dataclass(frozen=True)
class Sent:
    """What a destination answers to a request with events."""

    #: The events that it certainly has now.
    confirmed_ids: frozenset[str]
    remarks: tuple[Remark, ...] = ()


class Destination(Protocol):
    """What the courier needs from a place that takes events."""

    address: Address
    max_batch_events: int
    #: Whether images are uploaded separately; otherwise they travel in the event.
    uploads_images: bool

    def completed(self, contents: EntryContents) -> EntryContents:
        """What is sent of an entry: the entry itself, with any part of it that is elsewhere."""

    def upload(self, image: bytes) -> str:
        """Sends an image; returns its id."""

    def send(self, events: Sequence[tuple[EntryContents, Mapping[str, str]]]) -> Sent:
        """Sends events, with the ids of their images, in one request."""

    def takes(self, address: Address) -> bool:
        """Whether events with this address go here, whatever process wrote it down."""

    def close(self) -> None:
        """Closes connections."""


class Endpoint:
    """Where a destination is, and under which key: what distinguishes it from all others."""

    def __init__(self, kind: str, url: str, key: Secret | None, salt: bytes) -> None:
        self._key = key
        self.address = Address(kind, url.rstrip("/"), key.identity(salt) if key else "")

    def takes(self, address: Address) -> bool:
        """Whether an address means this place; its key may have another salt."""
        if (address.kind, address.url) != (self.address.kind, self.address.url):
            return False
        return self._key.is_meant_by(address.key) if self._key else not address.key

    def completed(self, contents: EntryContents) -> EntryContents:
        """The entry itself: it has everything."""
        return contents


class ApiDestination(Endpoint):
    """The Vision Events API under one key."""

    max_batch_events = limits.MAX_BATCH_EVENTS
    uploads_images = True

    def __init__(
        self, client: VisionEventsClient, url: str, key: Secret, *, salt: bytes = PROCESS_SALT
    ) -> None:
        super().__init__(API, url, key, salt)
        self.client = client

    def upload(self, image: bytes) -> str:
        return self.client.upload(image).source_id

    def send(self, events: Sequence[tuple[EntryContents, Mapping[str, str]]]) -> Sent:
        bodies = [create_body(contents.payload, source_ids) for contents, source_ids in events]
        return create(self.client, bodies)

    def close(self) -> None:
        self.client.close()


def create(client: VisionEventsClient, bodies: Sequence[Mapping[str, object]]) -> Sent:
    """Creates the events in one request: a single one by itself, several as a batch."""
    if len(bodies) == 1:
        [body] = bodies
        remarks = client.create(body).remarks  # an error, unless it is created
        return Sent(frozenset({str(body.get("eventId"))}), remarks)
    reply = client.batch(bodies)
    return Sent(frozenset(reply.event_ids), reply.remarks)


class EventStoreDestination(Endpoint):
    """The event store on the device. It assigns ids itself: a repeated post is a second event."""

    max_batch_events = 1
    uploads_images = False

    def __init__(
        self,
        client: EventStoreClient,
        url: str,
        key: Secret | None = None,
        *,
        salt: bytes = PROCESS_SALT,
    ) -> None:
        super().__init__(EVENT_STORE, url, key, salt)
        self.client = client

    def upload(self, image: bytes) -> str:  # noqa: ARG002 -- of the protocol
        """Never called (`uploads_images`): images travel in the event."""
        raise RuntimeError("the event store has no separate image upload")

    def send(self, events: Sequence[tuple[EntryContents, Mapping[str, str]]]) -> Sent:
        """Sends one event with its pictures; the store has no warnings."""
        [(contents, _)] = events
        self.client.create(event_store_body(contents.payload, contents.pictures))
        return Sent(frozenset({str(contents.payload.get("eventId"))}))

    def close(self) -> None:
        self.client.close()

"""What a worker does for a destination: read an event, upload an image, create events.

A job does input and output only, with at most one request: its result is a value or an error, and
what follows from that is decided elsewhere, under the courier's lock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from vision_event_block.delivery.queued_event import UploadedImage
from vision_event_block.events.bundle import picture_members
from vision_event_block.outbox import clock
from vision_event_block.outbox.entry import ClockReading

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vision_event_block.delivery.destinations import Destination, Sent
    from vision_event_block.delivery.queued_event import QueuedEvent
    from vision_event_block.outbox.entry import EntryContents


@dataclass(frozen=True)
class Loaded:
    """An event as it is on disk, with its images that are already uploaded."""

    contents: EntryContents
    images: Mapping[str, UploadedImage]


@dataclass(frozen=True)
class Preceded:
    """Another process has an older version of an event, and may be sending it."""


@dataclass(frozen=True, eq=False)
class LoadEvent:
    """Read an event from disk and start delivering it."""

    event: QueuedEvent
    #: Images that were uploaded longer ago are uploaded again.
    max_image_age_s: float
    doing: ClassVar[str] = "reading an event"
    #: None for a job that makes no request.
    route: ClassVar[str | None] = None

    @property
    def events(self) -> tuple[QueuedEvent, ...]:
        return (self.event,)

    def run(self, destination: Destination) -> Loaded | Preceded | None:
        """The event, None if it is no longer here."""
        event = self.event
        contents, images = event.contents, dict(event.images)
        if event.outbox is not None and event.entry is not None:
            if not event.outbox.claim(event.entry):
                return None
            if event.may_be_preceded and not event.outbox.outrank(event.entry):
                return Preceded()
            contents = contents or event.outbox.read(event.entry)
            if event.is_backlog and not images and not event.has_renewed_images:
                images = read_progress(event.outbox.progress(event.entry))
        if contents is None:
            return None
        contents = destination.completed(contents)
        now = clock.reading()
        timestamp = clock.corrected(contents.payload["timestamp"], contents.metadata.taken, now)
        return Loaded(
            replace(contents, payload={**contents.payload, "timestamp": timestamp}),
            {
                member: image
                for member, image in images.items()
                if image.is_fresh(now, self.max_image_age_s)
            },
        )


@dataclass(frozen=True, eq=False)
class UploadImage:
    """Upload one image of an event."""

    event: QueuedEvent
    member: str
    image: bytes
    doing: ClassVar[str] = "uploading an image"
    route: ClassVar[str | None] = "upload"

    @property
    def events(self) -> tuple[QueuedEvent, ...]:
        return (self.event,)

    def run(self, destination: Destination) -> UploadedImage:
        """The image as the API knows it from now on."""
        return UploadedImage(destination.upload(self.image), clock.reading())


@dataclass(frozen=True, eq=False)
class CreateEvents:
    """Send events whose images are up."""

    events: tuple[QueuedEvent, ...]
    doing: ClassVar[str] = "creating events"

    @property
    def route(self) -> str:
        return "create" if len(self.events) == 1 else "batch"

    def run(self, destination: Destination) -> Sent:
        """What the destination confirms."""
        return destination.send([(event.held, event.source_ids) for event in self.events])


Job = LoadEvent | UploadImage | CreateEvents


def uploads_of(event: QueuedEvent) -> list[UploadImage]:
    """The uploads that an event still needs."""
    contents = event.held
    return [
        UploadImage(event, member, contents.pictures[member])
        for member in picture_members(contents.payload)
        if member in contents.pictures and member not in event.images
    ]


def progress_note(images: Mapping[str, UploadedImage]) -> dict[str, str]:
    """The uploaded images, as they are recorded next to an entry.

    The time is part of the name: an earlier version of this code would use the id however old it
    is, and finds no image of such a name.
    """
    return {
        f"{member} {image.at.wall_s} {image.at.uptime_s} {image.at.boot_id}": image.source_id
        for member, image in images.items()
    }


def read_progress(note: Mapping[str, str]) -> dict[str, UploadedImage]:
    """Reads such a note; an image without a time counts as old and is left out."""
    images = {}
    for name, source_id in note.items():
        member, *clocks = name.split(" ")
        try:
            wall_s, uptime_s, boot_id = clocks
            images[member] = UploadedImage(
                source_id, ClockReading(float(wall_s), float(uptime_s), boot_id)
            )
        except ValueError:
            continue
    return images

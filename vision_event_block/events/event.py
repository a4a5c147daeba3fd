"""A vision event as a value, complete from the moment the block saw the frame."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from vision_event_block.contract import limits
from vision_event_block.contract.names import SOURCE_IDS
from vision_event_block.contract.text import utf16_length
from vision_event_block.events.adjustments import Adjustment
from vision_event_block.events.errors import UnfitEvent, UnfitPicture
from vision_event_block.events.images import Picture, Snapshot
from vision_event_block.events.times import iso
from vision_event_block.events.values import as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from vision_event_block.contract.names import AnnotationLists, PictureKeys
    from vision_event_block.events.encoding import Pixels
    from vision_event_block.events.metadata import MetadataValue

#: The label of the entry that holds `input_image` and `output_image`.
MAIN_LABEL = "workflow"


@dataclass(frozen=True, kw_only=True)
class EventImage:
    """One entry of the event's `images`: a view, with what was seen on it."""

    label: str
    input: Picture | Snapshot | None = None
    output: Picture | Snapshot | None = None
    annotations: AnnotationLists = field(default_factory=dict)
    #: Its own metadata, under the key that the settings name.
    metadata: Mapping[str, Mapping[str, MetadataValue]] = field(default_factory=dict)

    @property
    def pictures(self) -> list[Picture | Snapshot]:
        return [picture for picture in (self.output, self.input) if picture is not None]


@dataclass(frozen=True, kw_only=True)
class VisionEvent:
    """Everything about one event except where it goes."""

    event_type: str
    use_case_id: str
    #: In UTC, timezone-aware.
    timestamp: datetime
    event_id: str = field(default_factory=lambda: str(uuid4()))
    #: A newer version of an event has the same id and a higher number, and replaces it.
    version: int = 0
    event_data: Mapping[str, Any] = field(default_factory=dict)
    comment: str | None = None
    images: tuple[EventImage, ...] = ()
    #: The picture that a dashboard shows first; the first one if none has this id.
    displayed_picture_id: str | None = None
    custom_metadata: Mapping[str, MetadataValue] = field(default_factory=dict)
    device_id: str | None = None
    stream_id: str | None = None
    workflow_id: str | None = None
    workflow_version: str | None = None
    adjustments: tuple[Adjustment, ...] = ()

    def __post_init__(self) -> None:
        if self.timestamp.tzinfo is None:
            raise ValueError("an event's timestamp needs a time zone")

    @property
    def pictures(self) -> list[Picture | Snapshot]:
        """Each picture once, even one that is both output and input."""
        named = (picture for image in self.images for picture in image.pictures)
        return list({picture.picture_id: picture for picture in named}.values())

    @property
    def snapshots(self) -> list[Snapshot]:
        return [picture for picture in self.pictures if isinstance(picture, Snapshot)]

    @property
    def encoded_pictures(self) -> list[Picture]:
        """The encoded pictures; raises ValueError unless the event comes from `encoded`."""
        pictures = self.pictures
        ready = [picture for picture in pictures if isinstance(picture, Picture)]
        if len(ready) < len(pictures):
            raise ValueError("the event's pictures are not encoded yet")
        return ready

    @property
    def size_bytes(self) -> int:
        return sum(picture.size_bytes for picture in self.pictures)

    def encoded(
        self, encode_all: Callable[[Sequence[Snapshot]], Iterable[Picture | UnfitPicture]]
    ) -> VisionEvent:
        """The event with every picture encoded; one that cannot be is left out and named."""
        snapshots = self.snapshots
        if not snapshots:
            return self
        ready: dict[str, Picture] = {}
        adjustments = list(self.adjustments)
        for snapshot, result in zip(snapshots, encode_all(snapshots), strict=True):
            if isinstance(result, Picture):
                ready[snapshot.picture_id] = result
            else:
                adjustments.append(Adjustment("images", "a picture left out", str(result)))

        event = self._with_pictures(
            lambda it: it if isinstance(it, Picture) else ready.get(it.picture_id)
        )
        worth = tuple(image for image in event.images if image.pictures or image.annotations)
        return replace(event, images=worth, adjustments=tuple(adjustments))

    def with_pixels(self, pixels: Mapping[str, Pixels]) -> VisionEvent:
        """The event with other arrays of the same pixels, by picture id."""
        return self._with_pictures(
            lambda it: (
                replace(it, pixels=pixels[it.picture_id])
                if isinstance(it, Snapshot) and it.picture_id in pixels
                else it
            )
        )

    def _with_pictures(
        self, replaced: Callable[[Picture | Snapshot], Picture | Snapshot | None]
    ) -> VisionEvent:
        images = (
            replace(
                image,
                input=image.input and replaced(image.input),
                output=image.output and replaced(image.output),
            )
            for image in self.images
        )
        return replace(self, images=tuple(images))

    def payload(
        self, references: Mapping[str, str], keys: PictureKeys = SOURCE_IDS
    ) -> dict[str, Any]:
        """The body of `POST /vision-events`, or one that refers to its pictures in another way.

        Args:
            references: What stands for each picture, such as the API's id of it, by our id.
            keys: The keys by which an image names its pictures.
        """
        images = [_image_entry(image, references, keys) for image in self.images]
        payload: dict[str, Any] = {
            "eventId": self.event_id,
            "eventType": self.event_type,
            "useCaseId": self.use_case_id,
            "timestamp": iso(self.timestamp),
            "images": images,
        }
        optional = {
            "eventData": dict(self.event_data),
            "comment": self.comment,
            "customMetadata": dict(self.custom_metadata),
            "deviceId": self.device_id,
            "streamId": self.stream_id,
            "workflowId": self.workflow_id,
            "workflowVersion": self.workflow_version,
        }
        payload.update({key: value for key, value in optional.items() if value})
        position = self._display_position()
        if position is not None:
            payload["displayImagePosition"] = position
        return payload

    def _display_position(self) -> int | None:
        """Which image a dashboard shows first, None if no image has a picture."""
        with_pictures = [place for place, image in enumerate(self.images) if image.pictures]
        chosen = (
            place
            for place in with_pictures
            if any(p.picture_id == self.displayed_picture_id for p in self.images[place].pictures)
        )
        return next(chosen, next(iter(with_pictures), None))


def _image_entry(
    image: EventImage, references: Mapping[str, str], keys: PictureKeys
) -> dict[str, Any]:
    entry: dict[str, Any] = {"label": image.label}
    if image.output is not None:
        entry[keys.output] = references[image.output.picture_id]
    if image.input is not None:
        entry[keys.input] = references[image.input.picture_id]
    return {**entry, **image.metadata, **image.annotations}


def use_case_id(given: Any) -> str:
    """The use case's id as the API accepts it.

    Raises:
        UnfitEvent: it is empty or too long.
    """
    text = as_text(given).strip() if given is not None else ""
    if not text:
        raise UnfitEvent("use_case is empty; give the id of a use case")
    if utf16_length(text) > limits.MAX_USE_CASE_ID_CHARS:
        raise UnfitEvent(
            f"use_case is {utf16_length(text)} characters long, more than the API's "
            f"{limits.MAX_USE_CASE_ID_CHARS}; give the id of a use case"
        )
    return text

"""From the block's inputs to a complete vision event."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TypeVar

from vision_event_block.blocks import host_images
from vision_event_block.blocks.inputs import MAIN_PICTURES
from vision_event_block.contract import limits
from vision_event_block.contract.names import IMAGE_KEYS, MEMBERS
from vision_event_block.convert.annotations import Annotations, annotate, combined
from vision_event_block.events.adjustments import Adjustment
from vision_event_block.events.encoding import resize_factor
from vision_event_block.events.event import (
    MAIN_LABEL,
    EventImage,
    VisionEvent,
    use_case_id,
)
from vision_event_block.events.event_data import event_data
from vision_event_block.events.images import are_equal
from vision_event_block.events.metadata import clean_metadata
from vision_event_block.events.times import event_time
from vision_event_block.events.values import short_text
from vision_event_block.logs import QuietLog

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

    from vision_event_block.blocks.host_images import HostImage
    from vision_event_block.blocks.inputs import EventInputs, Inputs
    from vision_event_block.contract.names import AnnotationLists
    from vision_event_block.convert.placement import PictureFrame
    from vision_event_block.events.images import Picture, Snapshot
    from vision_event_block.events.metadata import MetadataValue

_log = QuietLog(logging.getLogger(__name__))

INPUT_QUALITY = 95
OUTPUT_QUALITY = 85

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class RunContext:
    """What the block knows of the device, the workflow and the time that an event is from."""

    device_id: str | None = None
    workflow_id: str | None = None
    #: The API's name for the metadata of an image; None if it is not configured.
    image_metadata_key: str | None = None
    now: datetime = field(default_factory=lambda: datetime.now(timezone.utc))


def build_event(inputs: Inputs, context: RunContext) -> VisionEvent:
    """The event as of now; its pictures are snapshots, not encoded yet.

    Raises:
        UnfitEvent: the API would refuse the event whatever its pictures.
    """
    event = bare_event(inputs, context, inputs.images())
    images = _ImageBuilder(inputs)
    entries, displayed = images.build()
    event = with_images(event, inputs, context, entries, found=images.metadata)
    return replace(
        event,
        displayed_picture_id=displayed,
        adjustments=(*inputs.adjustments, *images.adjustments, *event.adjustments),
    )


def bare_event(
    inputs: EventInputs, context: RunContext, frames: Sequence[HostImage]
) -> VisionEvent:
    """The event without images and metadata; time and camera are those of the frames.

    Raises:
        UnfitEvent: the API would refuse the event whatever its pictures.
    """
    data = event_data(inputs.event_type, inputs.data)
    frame_time = _first_known(frames, host_images.live_frame_time)
    timestamp = event_time(inputs.timestamp, frame=frame_time, now=context.now)
    use_case = use_case_id(inputs.use_case)
    adjustments = list(data.adjustments)
    ids: dict[str, Any] = {}
    for name, given in {
        "device_id": inputs.device_id or context.device_id,
        "stream_id": inputs.stream_id or _first_known(frames, host_images.camera_of),
        "workflow_id": inputs.workflow_id or context.workflow_id,
        "workflow_version": inputs.workflow_version,
    }.items():
        is_version = name == "workflow_version"
        longest = limits.MAX_WORKFLOW_VERSION_CHARS if is_version else limits.MAX_CONTEXT_ID_CHARS
        ids[name], named = short_text(given, name, max_chars=longest)
        adjustments += named
    return VisionEvent(
        event_type=inputs.event_type,
        use_case_id=use_case,
        timestamp=timestamp,
        event_data=data.values,
        comment=data.comment,
        adjustments=tuple(adjustments),
        **ids,
    )


def with_images(
    event: VisionEvent,
    inputs: EventInputs,
    context: RunContext,
    entries: Sequence[EventImage],
    *,
    found: Mapping[str, MetadataValue],
) -> VisionEvent:
    """The event with its images, and the user's metadata in addition to what was found."""
    own = inputs.custom_metadata  # these go first, in case there is not room for all
    found = {key: value for key, value in found.items() if key not in own}
    metadata, adjustments = clean_metadata({**own, **found})
    of_images, named = _image_metadata(inputs, context.image_metadata_key, len(entries))
    return replace(
        event,
        images=tuple(replace(entry, metadata=of_images) for entry in entries),
        custom_metadata=metadata,
        adjustments=(*event.adjustments, *adjustments, *named),
    )


def _image_metadata(
    inputs: EventInputs, key: str | None, image_count: int
) -> tuple[dict[str, dict[str, MetadataValue]], list[Adjustment]]:
    """The metadata of each image, under the API's key for it."""
    if not inputs.image_metadata:
        return {}, []
    if inputs.write_to_event_store:
        why = "the event store has no place for it"
    elif key is None:
        why = "set VISION_EVENT_IMAGE_METADATA_KEY to the API's name for it"
    elif not image_count:
        why = "the event has no picture"
    elif key in (*IMAGE_KEYS, *MEMBERS):
        why = f"VISION_EVENT_IMAGE_METADATA_KEY is {key}, which the API uses for something else"
    else:
        cleaned, adjustments = clean_metadata(inputs.image_metadata, "image_metadata")
        return ({key: cleaned} if cleaned else {}), adjustments
    return {}, [Adjustment("image_metadata", "not sent", why)]


def _first_known(
    frames: Sequence[HostImage], read: Callable[[HostImage], _Found | None]
) -> _Found | None:
    """The value from the first frame that has one; None if none has."""
    return next((found for image in frames if (found := read(image)) is not None), None)


class _ImageBuilder:
    """The event's images: snapshots of the pictures, and the predictions placed on them.

    What cannot be read is left out and named: the rest of the event is still worth recording.
    """

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self.adjustments: list[Adjustment] = []
        #: What predictions say that does not belong to an image.
        self.metadata: dict[str, int] = {}

    def build(self) -> tuple[tuple[EventImage, ...], str | None]:
        """The entries of the event, and the id of the picture to show first.

        The workflow's pictures come first, then the extra ones.
        """
        inputs = self._inputs
        own = self._own_pictures()
        seen_on = inputs.output_image if inputs.input_image is None else inputs.input_image
        main = EventImage(
            label=MAIN_LABEL,
            output=own["output"],
            input=own["input"],
            annotations=self._annotations(inputs.predictions, seen_on),
        )
        labels = dict.fromkeys((*inputs.extra_images, *inputs.extra_predictions))
        extra = {label: self._extra_image(label) for label in labels}
        shown = inputs.display_image
        extra_outputs = {label: image.output for label, image in extra.items()}
        displayed = own[shown] if shown in own else extra_outputs.get(shown)
        if displayed is None and shown != MAIN_PICTURES[0]:
            self.adjustments.append(
                Adjustment("display_image", "taken as output", f"there is no picture {shown!r}")
            )
        entries = [main, *extra.values()]
        has_another_output = main.output is not None and main.output is not displayed
        if displayed is not None and displayed is main.input and has_another_output:
            # The dashboard shows the output picture of an entry that has both.
            output = EventImage(label="output", output=main.output)
            entries = [replace(main, output=None), output, *extra.values()]
        images = tuple(image for image in entries if image.pictures or image.annotations)
        return images, None if displayed is None else displayed.picture_id

    def _own_pictures(self) -> dict[str, Picture | Snapshot | None]:
        """The workflow's pictures. One that is both is kept once, at the quality of an input."""
        inputs = self._inputs
        original = self._snapshot("input_image", inputs.input_image, INPUT_QUALITY)
        if inputs.output_image is inputs.input_image:
            return {"output": original, "input": original}
        output = self._snapshot("output_image", inputs.output_image, OUTPUT_QUALITY)
        if output is not None and original is not None and are_equal(output, original):
            output = original
        return {"output": output, "input": original}

    def _extra_image(self, label: Hashable) -> EventImage:
        image = self._inputs.extra_images.get(label)
        return EventImage(
            label=self._label(label),
            output=self._snapshot(f"extra_images.{label}", image, OUTPUT_QUALITY),
            annotations=self._annotations([self._inputs.extra_predictions.get(label)], image),
        )

    def _label(self, given: Hashable) -> str:
        label, named = short_text(given, "extra_images", max_chars=limits.MAX_LABEL_CHARS)
        self.adjustments += named
        return label or MAIN_LABEL

    def _snapshot(
        self, name: str, image: HostImage | None, quality: int
    ) -> Picture | Snapshot | None:
        if image is None:
            return None
        try:
            return host_images.snapshot(
                image,
                quality=self._inputs.jpeg_quality or quality,
                max_side_px=self._inputs.max_image_side_px,
            )
        except Exception as error:  # noqa: BLE001 - a picture the host itself cannot read
            self._leave_out(name, error)
            return None

    def _annotations(self, predictions: Iterable[Any], image: HostImage | None) -> AnnotationLists:
        """The predictions, placed on this picture."""
        frame, factor = None, 1.0
        if image is not None:
            with suppress(Exception):  # a picture the host cannot read; its snapshot names it
                frame = host_images.frame_of(image)
                max_side_px = self._inputs.max_image_side_px
                factor = resize_factor(frame.width_px, frame.height_px, max_side_px)
        together = combined([self._annotated(each, frame, factor) for each in predictions])
        self.adjustments += together.adjustments
        self.metadata |= together.metadata
        return together.lists

    def _annotated(self, prediction: Any, frame: PictureFrame | None, factor: float) -> Annotations:
        threshold = self._inputs.occluded_below
        try:
            return annotate(prediction, picture=frame, resize=factor, occluded_below=threshold)
        except Exception as error:  # noqa: BLE001 - an odd prediction may raise anything
            self._leave_out("predictions", error)
            return Annotations()

    def _leave_out(self, name: str, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        self.adjustments.append(Adjustment(name, "left out", f"cannot be read: {reason}"))
        _log.say(logging.ERROR, (name, type(error)), f"{name} cannot be read: {reason}")

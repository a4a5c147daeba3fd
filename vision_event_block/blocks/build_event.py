"""From what the engine hands to `run()` to a complete vision event."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final, TypeVar

from vision_event_block.blocks import host_images
from vision_event_block.blocks.step_definition import (
    DATA_FIELDS,
    MAIN_PICTURES,
    jpeg_quality,
    max_image_side,
    share,
)
from vision_event_block.events import limits
from vision_event_block.events.adjustments import Adjustment
from vision_event_block.events.annotations import AnnotationLists, Annotations, annotate, combined
from vision_event_block.events.encoding import resize_factor
from vision_event_block.events.errors import UnfitEvent
from vision_event_block.events.event import (
    MAIN_LABEL,
    EventImage,
    VisionEvent,
    context_id,
    use_case_id,
)
from vision_event_block.events.event_data import event_data
from vision_event_block.events.metadata import clean_metadata
from vision_event_block.events.times import event_time
from vision_event_block.events.values import as_text
from vision_event_block.logs import QuietLog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vision_event_block.events.pictures import Picture, Snapshot
    from vision_event_block.events.placement import PictureFrame

_log = QuietLog(logging.getLogger(__name__))

INPUT_QUALITY = 95
OUTPUT_QUALITY = 85
#: Beside the workflow's own pictures, which take two entries if the input is on display.
MAX_EXTRA_IMAGES: Final = limits.MAX_IMAGES - 2

_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True)
class RunContext:
    """What the host knows about this run."""

    device_id: str | None = None
    workflow_id: str | None = None
    now: datetime = field(default_factory=lambda: datetime.now(timezone.utc))


def build_event(fields: Mapping[str, Any], context: RunContext) -> VisionEvent:
    """The event as of now; its pictures are snapshots, not encoded yet.

    Raises:
        UnfitEvent: the API would refuse the event whatever its pictures.
    """
    views = _Views(fields)
    event_type = as_text(fields["event_type"])
    data = event_data(event_type, {name: fields[name] for name in DATA_FIELDS})
    timestamp = event_time(
        fields["timestamp"], frame=views.of_any(host_images.live_frame_time), now=context.now
    )
    use_case = use_case_id(fields["use_case"])
    metadata, adjustments = clean_metadata(views.mapping("custom_metadata"))
    images, displayed = views.images()
    ids: dict[str, Any] = {}
    for name, given in {
        "device_id": fields["device_id"] or context.device_id,
        "stream_id": fields["stream_id"] or views.of_any(host_images.camera_of),
        "workflow_id": fields["workflow_id"] or context.workflow_id,
        "workflow_version": fields["workflow_version"],
    }.items():
        is_version = name == "workflow_version"
        longest = limits.MAX_WORKFLOW_VERSION_CHARS if is_version else limits.MAX_CONTEXT_ID_CHARS
        ids[name], named = context_id(given, name, max_chars=longest)
        adjustments += named
    return VisionEvent(
        event_type=event_type,
        use_case_id=use_case,
        timestamp=timestamp,
        event_data=data.values,
        comment=data.comment,
        images=images,
        displayed_picture_id=displayed,
        custom_metadata=metadata,
        adjustments=(*views.adjustments, *data.adjustments, *adjustments),
        **ids,
    )


class _Views:
    """The connected pictures and predictions, read field by field.

    What cannot be read is left out and named: the rest of the event is still worth recording.
    """

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields
        self.adjustments: list[Adjustment] = []
        self._max_side_px = self._checked("max_image_side", max_image_side)
        self._quality = self._checked("jpeg_quality", jpeg_quality)
        self._occluded_below = self._checked("occluded_below", share)
        extra = self.mapping("extra_images")
        if len(extra) > MAX_EXTRA_IMAGES:
            self.adjustments.append(
                Adjustment(
                    "extra_images",
                    f"the first {MAX_EXTRA_IMAGES} of {len(extra)} kept",
                    f"the API takes at most {limits.MAX_IMAGES} images",
                )
            )
        self._input = self._picture("input_image", fields["input_image"])
        self._output = self._picture("output_image", fields["output_image"])
        self._extra = {
            label: picture
            for label, image in list(extra.items())[:MAX_EXTRA_IMAGES]
            if (picture := self._picture(f"extra_images.{label}", image)) is not None
        }

    def mapping(self, name: str) -> Mapping[Any, Any]:
        """The field's mapping; empty, and named, if something else came."""
        value = self._fields[name]
        if value is None or isinstance(value, Mapping):
            return value or {}
        self.adjustments.append(
            Adjustment(name, f"a {type(value).__name__} left out", "must be keys and values")
        )
        return {}

    def of_any(self, read: Any) -> Any:
        """What the first picture that knows it says, None if none does."""
        for image in (self._input, self._output, *self._extra.values()):
            found = None if image is None else read(image)
            if found is not None:
                return found
        return None

    def images(self) -> tuple[tuple[EventImage, ...], str | None]:
        """The entries of the event, and the id of the picture that is shown first.

        The workflow's pictures come first, then the extra ones.
        """
        own = {
            "output": self._snapshot("output_image", self._output, OUTPUT_QUALITY),
            "input": self._snapshot("input_image", self._input, INPUT_QUALITY),
        }
        main_predictions = [self._fields["predictions"], *self._more_predictions()]
        # They lie on the input image, or on the output image if there is no other.
        seen_on = self._output if self._input is None else self._input
        main = EventImage(
            label=MAIN_LABEL, **own, annotations=self._annotations(main_predictions, seen_on)
        )
        extra = {label: self._extra_image(label) for label in self._extra_labels()}
        shown = as_text(self._fields["display_image"] or MAIN_PICTURES[0])
        pictures_by_name = {**{label: image.output for label, image in extra.items()}, **own}
        displayed = pictures_by_name.get(shown)
        if displayed is None and shown != MAIN_PICTURES[0]:
            self.adjustments.append(
                Adjustment("display_image", "taken as output", f"there is no picture {shown!r}")
            )
        entries = [main, *extra.values()]
        if displayed is not None and displayed is main.input and main.output is not None:
            # The dashboard shows the output picture of an entry that has both.
            output = EventImage(label="output", output=main.output)
            entries = [replace(main, output=None), output, *extra.values()]
        images = tuple(image for image in entries if image.pictures or image.annotations)
        return images, None if displayed is None else displayed.picture_id

    def _extra_labels(self) -> list[Any]:
        return list(dict.fromkeys((*self._extra, *self.mapping("extra_predictions"))))

    def _extra_image(self, label: Any) -> EventImage:
        image = self._extra.get(label)
        return EventImage(
            label=self._label(label),
            output=self._snapshot(f"extra_images.{label}", image, OUTPUT_QUALITY),
            annotations=self._annotations([self.mapping("extra_predictions").get(label)], image),
        )

    def _more_predictions(self) -> list[Any]:
        value = self._fields["more_predictions"]
        if value is None or isinstance(value, list):
            return value or []
        self.adjustments.append(
            Adjustment("more_predictions", f"a {type(value).__name__} left out", "must be a list")
        )
        return []

    def _picture(self, name: str, value: Any) -> Any:
        if value is None or host_images.is_picture(value):
            return value
        self.adjustments.append(
            Adjustment(name, f"a {type(value).__name__} left out", "must be a picture of the host")
        )
        return None

    def _label(self, given: Any) -> str:
        label, named = context_id(given, "extra_images", max_chars=limits.MAX_LABEL_CHARS)
        self.adjustments += named
        return label or MAIN_LABEL

    def _snapshot(self, name: str, image: Any, quality: int) -> Picture | Snapshot | None:
        if image is None:
            return None
        try:
            return host_images.snapshot(
                image,
                quality=self._quality or quality,
                max_side_px=self._max_side_px,
                is_to_be_kept=self._fields["durability"] == "memory",
            )
        except Exception as error:  # noqa: BLE001 - a picture the host itself cannot read
            self._leave_out(name, error)
            return None

    def _annotations(self, predictions: Sequence[Any], image: Any) -> AnnotationLists:
        """The predictions as they lie on this picture."""
        frame = self._frame(image)
        factor = 1.0
        if frame is not None:
            factor = resize_factor(frame.width_px, frame.height_px, self._max_side_px)
        together = combined([self._annotated(each, frame, factor) for each in predictions])
        self.adjustments += together.adjustments
        return together.lists

    def _annotated(self, prediction: Any, frame: PictureFrame | None, factor: float) -> Annotations:
        try:
            return annotate(
                prediction, picture=frame, resize=factor, occluded_below=self._occluded_below
            )
        except Exception as error:  # noqa: BLE001 - whatever a prediction of odd make may cause
            self._leave_out("predictions", error)
            return Annotations()

    def _frame(self, image: Any) -> PictureFrame | None:
        if image is None:
            return None
        try:
            return host_images.frame_of(image)
        except Exception:  # noqa: BLE001 - a picture the host cannot read; its snapshot names it
            return None

    def _leave_out(self, name: str, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        self.adjustments.append(Adjustment(name, "left out", f"cannot be read: {reason}"))
        _log.say(logging.ERROR, (name, type(error)), f"{name} cannot be read: {reason}")

    def _checked(self, name: str, check: Callable[[Any], _Number]) -> _Number | None:
        value = self._fields[name]
        if value is None:
            return None
        try:
            return check(value)
        except UnfitEvent as error:
            self.adjustments.append(Adjustment(name, "taken as unset", str(error)))
            return None

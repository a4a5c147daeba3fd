"""From what the engine hands to `run()` to a complete vision event."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from vision_event_block.blocks import pictures
from vision_event_block.blocks.wiring import DATA_FIELDS, jpeg_quality, max_image_side
from vision_event_block.events import limits
from vision_event_block.events.adjustments import Adjustment
from vision_event_block.events.annotations import AnnotationLists, annotate
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
    from vision_event_block.events.pictures import Picture, Snapshot
    from vision_event_block.events.placement import PictureFrame

_log = QuietLog(logging.getLogger(__name__))

INPUT_QUALITY = 95
OUTPUT_QUALITY = 85


@dataclass(frozen=True)
class Surroundings:
    """What the host knows about this run."""

    device_id: str | None = None
    workflow_id: str | None = None
    now: datetime = field(default_factory=lambda: datetime.now(timezone.utc))


def draft(fields: Mapping[str, Any], surroundings: Surroundings) -> VisionEvent:
    """The event as of now; its pictures are snapshots, not encoded yet.

    Raises:
        UnfitEvent: the API would refuse the event whatever its pictures.
    """
    views = _Views(fields)
    event_type = as_text(fields["event_type"])
    data = event_data(event_type, {name: fields[name] for name in DATA_FIELDS})
    timestamp = event_time(
        fields["timestamp"], frame=views.of_any(pictures.live_frame_time), now=surroundings.now
    )
    use_case = use_case_id(fields["use_case"])
    metadata, adjustments = clean_metadata(views.mapping("custom_metadata"))
    ids: dict[str, Any] = {}
    for name, given in {
        "device_id": fields["device_id"] or surroundings.device_id,
        "stream_id": fields["stream_id"] or views.of_any(pictures.camera_of),
        "workflow_id": fields["workflow_id"] or surroundings.workflow_id,
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
        images=views.images(),
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
        for name in fields["wired_fields"]:
            if is_empty(fields, name):
                self.adjustments.append(Adjustment(name, "left out", "the step before gave none"))
        self._max_side_px = self._checked("max_image_side", max_image_side)
        self._quality = self._checked("jpeg_quality", jpeg_quality)
        extra = self.mapping("extra_images")
        if len(extra) > limits.MAX_IMAGES - 1:
            self.adjustments.append(
                Adjustment(
                    "extra_images",
                    f"the first {limits.MAX_IMAGES - 1} of {len(extra)} kept",
                    f"the API takes at most {limits.MAX_IMAGES} images",
                )
            )
        self._input = self._picture("input_image", fields["input_image"])
        self._output = self._picture("output_image", fields["output_image"])
        self._extra = {
            label: picture
            for label, image in list(extra.items())[: limits.MAX_IMAGES - 1]
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

    def images(self) -> tuple[EventImage, ...]:
        """The entries of the event: the workflow's pictures first, then the extra ones."""
        main = EventImage(
            label=MAIN_LABEL,
            input=self._snapshot("input_image", self._input, INPUT_QUALITY),
            output=self._snapshot("output_image", self._output, OUTPUT_QUALITY),
            annotations=self._annotations(),
        )
        extra = [
            EventImage(label=self._label(label), output=picture)
            for label, image in self._extra.items()
            if (picture := self._snapshot(f"extra_images.{label}", image, OUTPUT_QUALITY))
        ]
        is_there = main.input or main.output or main.annotations
        return (main, *extra) if is_there else tuple(extra)

    def _picture(self, name: str, value: Any) -> Any:
        if value is None or pictures.is_picture(value):
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
            return pictures.snapshot(
                image,
                quality=self._quality or quality,
                max_side_px=self._max_side_px,
                is_to_be_kept=self._fields["durability"] == "memory",
            )
        except Exception as error:  # noqa: BLE001 - a picture the host itself cannot read
            self._leave_out(name, error)
            return None

    def _annotations(self) -> AnnotationLists:
        """The predictions on the input image, or on the output image if there is no other."""
        frame = self._frame(self._output if self._input is None else self._input)
        factor = 1.0
        if frame is not None:
            factor = resize_factor(frame.width_px, frame.height_px, self._max_side_px)
        try:
            annotations = annotate(self._fields["predictions"], picture=frame, resize=factor)
        except Exception as error:  # noqa: BLE001 - whatever a prediction of odd make may cause
            self._leave_out("predictions", error)
            return {}
        self.adjustments += annotations.adjustments
        return annotations.lists

    def _frame(self, image: Any) -> PictureFrame | None:
        if image is None:
            return None
        try:
            return pictures.frame_of(image)
        except Exception:  # noqa: BLE001 - a picture the host cannot read; its snapshot names it
            return None

    def _leave_out(self, name: str, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        self.adjustments.append(Adjustment(name, "left out", f"cannot be read: {reason}"))
        _log.say(logging.ERROR, (name, type(error)), f"{name} cannot be read: {reason}")

    def _checked(self, name: str, check: Any) -> int | None:
        value = self._fields[name]
        if value is None:
            return None
        try:
            return int(check(value))
        except UnfitEvent as error:
            self.adjustments.append(Adjustment(name, "taken as unset", str(error)))
            return None


def is_empty(fields: Mapping[str, Any], name: str) -> bool:
    """Whether a wired field, or the entry of a mapping (`extra_images.top`), came empty."""
    value = fields.get(name)
    if value is None and "." in name:
        field_name, _, key = name.partition(".")
        entries = fields.get(field_name)
        value = entries.get(key) if isinstance(entries, Mapping) else None
    return value is None

"""What the engine hands to Track Event for one frame, read once into typed fields."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vision_event_block.blocks import host_images
from vision_event_block.blocks.build_event import INPUT_QUALITY
from vision_event_block.blocks.inputs import EventInputs, FieldReader, whole_number
from vision_event_block.contract.limits import MAX_COORDINATE_PX
from vision_event_block.convert.annotations import annotate_row
from vision_event_block.convert.placement import place
from vision_event_block.convert.predictions import Instances, Labels, read_prediction
from vision_event_block.events.adjustments import Adjustment
from vision_event_block.events.encoding import resize_factor
from vision_event_block.events.times import parse_time
from vision_event_block.tracking.sighting import Sighting, picture_score
from vision_event_block.tracking.summary import microseconds
from vision_event_block.tracking.tracks import TrackRules

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vision_event_block.blocks.host_images import HostImage
    from vision_event_block.contract.names import AnnotationLists
    from vision_event_block.convert.placement import PictureFrame
    from vision_event_block.events.encoding import Pixels
    from vision_event_block.events.images import Picture, Snapshot

#: When the event of an object is sent, and which pictures it holds; the default first.
ONLY_START: Final = "start"
REPORTS: Final = ("start_and_end", "end", ONLY_START)
PICTURES: Final = ("best", "first", "last", "first_best_last")
DEFAULT_LOST_AFTER_S: Final = 2.0
MAX_OPEN: Final = 10_000
#: The check of that field; raises UnfitEvent.
max_open = partial(whole_number, name="max_open", least=1, most=MAX_OPEN)
#: The id that trackers give a detection until they are sure of it.
_UNSURE: Final = -1
_NO_IDS: Final = (
    "they have no tracker ids; connect the output of a tracker block, such as ByteTrack"
)


@dataclass(frozen=True, kw_only=True)
class TrackInputs(EventInputs):
    """The fields of one Track Event step for one frame."""

    #: None once the frame is over.
    input_image: HostImage | None
    predictions: Any
    report: str
    pictures: str
    rules: TrackRules

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> TrackInputs:
        """Reads the inputs, given a value for each of the manifest's fields."""
        reader = FieldReader(values)
        lost_after_s = reader.seconds("lost_after_seconds", DEFAULT_LOST_AFTER_S)
        if not lost_after_s:
            what = f"taken as {DEFAULT_LOST_AFTER_S:g}"
            reader.adjustments.append(
                Adjustment("lost_after_seconds", what, "0 would end each object with its frame")
            )
        defaults = TrackRules()
        shared = reader.shared()
        report, update_s = reader.choice("report", REPORTS), reader.seconds("update_seconds", 0.0)
        if shared["write_to_event_store"] and (report == REPORTS[0] or update_s):
            report, update_s = "end" if report == REPORTS[0] else report, 0.0
            why = "the event store would keep each replaced event as a separate one"
            reader.adjustments.append(Adjustment("report", f"sent once, at the {report}", why))
        if report == ONLY_START and shared["story"].after_s:
            why = "with report: start the event is not sent again when the object has left"
            reader.adjustments.append(Adjustment("after_seconds", "taken as 0", why))
            shared["story"] = replace(shared["story"], after_s=0.0)
        return cls(
            **shared,
            input_image=reader.picture("input_image", values["input_image"]),
            predictions=values["predictions"],
            report=report,
            pictures=reader.choice("pictures", PICTURES),
            rules=TrackRules(
                minimum_us=_us(reader.seconds("minimum_seconds", defaults.minimum_us / 1e6)),
                lost_after_us=_us(lost_after_s or DEFAULT_LOST_AFTER_S),
                update_us=_us(update_s),
                max_open=reader.checked("max_open", max_open) or defaults.max_open,
                classes=_classes(values["classes"], reader),
            ),
            adjustments=tuple(reader.adjustments),
        )

    @property
    def camera(self) -> tuple[str, str]:
        """What distinguishes one camera's frames from another's."""
        image = self.input_image
        return host_images.camera_of(image) or host_images.root_id_of(image), self.stream_id


class TrackedFrame:
    """One frame with its detections."""

    def __init__(self, inputs: TrackInputs, now: datetime) -> None:
        """Reads them; raises UnfitEvent if the frame's time cannot be read."""
        self._inputs = inputs
        self._image = inputs.input_image
        self.time_us = microseconds(_time_of(self._image, inputs.timestamp, now))
        self._instances, named = _tracked(inputs.predictions)
        #: What was left out, and why.
        self.adjustments = [*inputs.adjustments, *named]

    @cached_property
    def placed(self) -> PictureFrame:
        return host_images.frame_of(self._image)

    @cached_property
    def factor(self) -> float:
        """Pixels of the event's picture for each pixel of the frame."""
        size_px = (self.placed.width_px, self.placed.height_px)
        return resize_factor(*size_px, self._inputs.max_image_side_px)

    @np.errstate(invalid="ignore", over="ignore")  # a box may hold infinity
    def sightings(self) -> list[Sighting]:
        """The detections to which a tracker has given an id."""
        instances = self._instances
        if instances is None or instances.tracker_ids is None:
            return []
        placement, named = place(instances, self.placed)
        self.adjustments += named
        boxes = placement.of(instances.xyxy.reshape(-1, 2, 2)).reshape(-1, 4)
        boxes = np.clip(np.nan_to_num(boxes), -MAX_COORDINATE_PX, MAX_COORDINATE_PX)
        corners: Any = map(tuple, boxes.tolist())
        size_px = (self.placed.width_px, self.placed.height_px)
        rows = zip(
            self._ids(instances.tracker_ids),
            instances.class_names,
            np.nan_to_num(instances.confidence).tolist(),
            corners,
            strict=True,
        )
        return [
            Sighting(track_id, name, confidence, box, picture_score(confidence, box, size_px), row)
            for row, (track_id, name, confidence, box) in enumerate(rows)
            if track_id != _UNSURE
        ]

    def _ids(self, given: Sequence[Any]) -> list[int]:
        """The ids; one that is not a whole number counts as missing."""
        ids = [_whole(value) for value in given]
        odd = sum(each is None for each in ids)
        if odd:
            self.adjustments.append(
                Adjustment("predictions", f"{odd} left out", "an id must be a number")
            )
        return [_UNSURE if each is None else each for each in ids]

    def annotations(self, row: int) -> AnnotationLists:
        """A detection as it lies on the event's picture."""
        if self._instances is None:
            raise AssertionError("where a thing was seen there are detections")
        try:
            found = annotate_row(
                self._instances,
                row,
                picture=self.placed,
                resize=self.factor,
                occluded_below=self._inputs.occluded_below,
            )
        except Exception as error:  # noqa: BLE001 - whatever a prediction of odd make may cause
            self.leave_out("predictions", error)
            return {}
        self.adjustments += found.adjustments
        return found.lists

    def leave_out(self, name: str, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        self.adjustments.append(Adjustment(name, "left out", f"cannot be read: {reason}"))

    def pixels(self) -> Pixels:
        image: Any = self._image
        found: Pixels = image.numpy_image
        return found

    def snapshot(self) -> Picture | Snapshot:
        """The picture, nothing copied yet; raises UnfitPicture if the host cannot read it."""
        return host_images.snapshot(
            self._image,
            quality=self._inputs.jpeg_quality or INPUT_QUALITY,
            max_side_px=self._inputs.max_image_side_px,
        )


def _whole(value: Any) -> int | None:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number == value else None


def _tracked(predictions: Any) -> tuple[Instances | None, list[Adjustment]]:
    """The detections; None if there are none or they are of no use, with the reason."""
    try:
        read, adjustments = read_prediction(predictions)
    except Exception as error:  # noqa: BLE001 - whatever a prediction of odd make may cause
        reason = f"cannot be read: {type(error).__name__}: {error}"
        return None, [Adjustment("predictions", "left out", reason)]
    if isinstance(read, Labels):
        return None, [Adjustment("predictions", "a classification left out", _NO_IDS)]
    if read is None or not len(read):
        return None, adjustments
    if read.tracker_ids is None:
        adjustments.append(Adjustment("predictions", f"detections left out: {len(read)}", _NO_IDS))
    return read, adjustments


def _time_of(image: HostImage, given: Any, now: datetime) -> datetime:
    """When the frame was taken: as the workflow says, else by its own clock; a still has none."""
    if given not in (None, ""):
        return parse_time(given)
    metadata = getattr(image, "_video_metadata", None)
    time = getattr(metadata, "frame_timestamp", None)
    if isinstance(time, datetime):
        return time.astimezone(timezone.utc)
    return now


def _classes(value: Any, reader: FieldReader) -> frozenset[str] | None:
    if value is None:
        return None
    if isinstance(value, (list, tuple, set, frozenset)):
        return frozenset(map(str, value)) or None
    if isinstance(value, str) and value:
        return frozenset((value,))
    reader.adjustments.append(
        Adjustment("classes", "taken as unset", f"must be a list of classes, not {value!r}")
    )
    return None


def _us(seconds: float) -> int:
    return round(min(seconds, 1e9) * 1e6)

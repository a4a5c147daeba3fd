"""Predictions turned into the API's annotation lists.

Boxes are centre, width and height in pixels of the picture they are attached to. A detection is
one entry of one list: with key points in `keypoints`, with an outline in `instanceSegmentations`,
else in `objectDetections`. A picture's classes are in `classifications`.

Confidence: a missing or NaN confidence is sent as `UNKNOWN_CONFIDENCE`, which no filter takes
for certain, and is named as an adjustment.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vision_event_block.contract import limits
from vision_event_block.contract.names import (
    BOXES,
    CLASSES,
    KEY_POINTS,
    OUTLINES,
    AnnotationLists,
)
from vision_event_block.convert import masks
from vision_event_block.convert.actions import is_timeline, read_timeline
from vision_event_block.convert.boxes import PIXEL_DECIMALS, boxes, confidences, few_boxes
from vision_event_block.convert.placement import PictureFrame, Placement, place
from vision_event_block.convert.predictions import (
    Instances,
    KeyPoints,
    Labels,
    on_earth,
    read_prediction,
)
from vision_event_block.events.adjustments import Adjustment

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from vision_event_block.convert.origins import FloatArray

_UNFIT_OUTLINE: Final = "the outline does not fit its picture"


@dataclass(frozen=True)
class Annotations:
    """The lists that are not empty, and what had to be changed for them."""

    lists: AnnotationLists = field(default_factory=dict)
    adjustments: list[Adjustment] = field(default_factory=list)
    #: Facts for which the API has no list.
    metadata: dict[str, int] = field(default_factory=dict)


def annotate(
    prediction: Any,
    *,
    picture: PictureFrame | None = None,
    resize: float = 1.0,
    occluded_below: float | None = None,
) -> Annotations:
    """The annotations in the coordinates of `picture` after it was resized by that factor.

    Key points with a confidence below `occluded_below` are marked as occluded.
    """
    if picture is not None and resize == 1.0:
        few = few_boxes(prediction, picture)
        if few is not None:
            return Annotations({BOXES: few})
    if is_timeline(prediction):
        labels, frames, adjustments = read_timeline(prediction)
        found = _classifications(labels)
        return Annotations(found.lists, adjustments + found.adjustments, frames)
    read, adjustments = read_prediction(prediction)
    if isinstance(read, Labels):
        return _classifications(read)
    if read is None:
        return Annotations({}, adjustments)
    return _annotated(read, picture, resize, occluded_below)


def annotate_row(
    read: Instances,
    row: int,
    *,
    picture: PictureFrame,
    resize: float = 1.0,
    occluded_below: float | None = None,
) -> Annotations:
    """The same for one detection of a prediction that has been read already.

    What concerns the prediction as a whole, such as boxes outside the picture, is left out.
    """
    return _annotated(read, picture, resize, occluded_below, rows=np.array([row]))


@np.errstate(invalid="ignore", over="ignore")  # a box may hold infinity until it is left out
def _annotated(
    read: Instances,
    picture: PictureFrame | None,
    resize: float,
    occluded_below: float | None,
    rows: npt.NDArray[np.intp] | None = None,
) -> Annotations:
    placement, adjustments = place(read, picture)
    if rows is not None:
        read, placement, adjustments = _selected(read, rows), _of_rows(placement, rows), []
    instances, placement, dropped = _fitting(read, placement.resized(resize))
    adjustments += dropped
    found, named = boxes(instances, placement)
    adjustments += named

    extras: Sequence[Any]
    unfit = 0
    if instances.key_points is not None:
        key = KEY_POINTS
        extras = _key_point_lists(instances.key_points, placement, occluded_below)
        why = "no key point is left without padding and NaN"
    elif instances.has_outlines:
        key = OUTLINES
        extras, unfit = _rings(instances, placement)
        why = "the mask is empty or lies outside the box"
    else:
        return Annotations(_non_empty({BOXES: found}), adjustments)

    inner = "keypoints" if key == KEY_POINTS else "points"
    rich, bare = [], []
    for box, extra in zip(found, extras, strict=True):
        if extra is None:
            bare.append(box)
        else:
            box[inner] = extra
            rich.append(box)
    if unfit:
        adjustments.append(Adjustment(key, f"{unfit} sent as plain boxes", _UNFIT_OUTLINE))
    if len(bare) > unfit:
        adjustments.append(Adjustment(key, f"{len(bare) - unfit} sent as plain boxes", why))
    return Annotations(_non_empty({BOXES: bare, key: rich}), adjustments)


def combined(several: Sequence[Annotations]) -> Annotations:
    """What several predictions found on one picture, each list within the API's limit."""
    if len(several) == 1:
        return several[0]
    lists: AnnotationLists = {}
    adjustments = [adjustment for each in several for adjustment in each.adjustments]
    metadata: dict[str, int] = {}
    for each in several:
        metadata |= each.metadata
        for key, entries in each.lists.items():
            lists[key] = lists.get(key, []) + entries
    for key, entries in lists.items():
        if len(entries) > limits.MAX_ANNOTATIONS:
            adjustments.append(_cut_adjustment(key, len(entries)))
            rows = _most_confident(np.array([entry["confidence"] for entry in entries]))
            lists[key] = [entries[row] for row in rows]
    return Annotations(lists, adjustments, metadata)


def _fitting(
    instances: Instances, placement: Placement
) -> tuple[Instances, Placement, list[Adjustment]]:
    """The rows with a real box; if there are too many, the most confident that the API takes."""
    adjustments: list[Adjustment] = []
    if len(instances) <= limits.MAX_ANNOTATIONS and _are_plainly_on_earth(instances, placement):
        return instances, placement, adjustments
    placed = placement.of(instances.xyxy.reshape(-1, 2, 2)).reshape(-1, 4)
    # Corners far apart can each be on a picture, and the box still be larger than any picture.
    measures = (instances.xyxy, placed, placed[:, 2:] - placed[:, :2])
    is_on_earth = on_earth(np.concatenate(measures, axis=1))
    if is_on_earth.all() and len(instances) <= limits.MAX_ANNOTATIONS:
        return instances, placement, adjustments
    keep = np.asarray(is_on_earth.all(axis=1))
    if not keep.all():
        adjustments.append(
            Adjustment(
                "predictions", f"{int((~keep).sum())} left out", "the box cannot be on any picture"
            )
        )
    rows = np.nonzero(keep)[0]
    if len(rows) > limits.MAX_ANNOTATIONS:
        adjustments.append(_cut_adjustment("predictions", len(rows)))
        rows = rows[_most_confident(instances.confidence[rows])]
    return _selected(instances, rows), _of_rows(placement, rows), adjustments


def _of_rows(placement: Placement, rows: npt.NDArray[np.intp]) -> Placement:
    shift = placement.shift_px
    return placement if shift is None else replace(placement, shift_px=shift[rows])


def _are_plainly_on_earth(instances: Instances, placement: Placement) -> bool:
    """Whether all boxes are plainly valid and stay where they are, so that none needs checking."""
    left, top, right, bottom = instances.bounds_px
    far_px = limits.MAX_COORDINATE_PX / 2  # so no box is larger than the limit either
    return (
        placement.is_as_given
        and -far_px <= left
        and -far_px <= top
        and right <= far_px
        and bottom <= far_px
    )


def _selected(instances: Instances, rows: npt.NDArray[np.intp]) -> Instances:
    def of(values: Any) -> Any:
        return None if values is None else [values[row] for row in rows]

    points = instances.key_points
    return replace(
        instances,
        xyxy=instances.xyxy[rows],
        selection=rows,
        class_names=of(instances.class_names),
        confidence=instances.confidence[rows],
        key_points=points
        and KeyPoints(
            points.xy[rows],
            points.ids[rows],
            points.real[rows],
            None if points.confidence is None else points.confidence[rows],
        ),
        polygons=of(instances.polygons),
        # Both kinds of masks accept an array of rows; a list of full masks would cost a copy each.
        masks=None if instances.masks is None else instances.masks[rows],
        rle_masks=of(instances.rle_masks),
    )


def _key_point_lists(
    points: KeyPoints, placement: Placement, occluded_below: float | None
) -> list[list[dict[str, Any]] | None]:
    """The real key points of each detection; None where it has none."""
    xy = np.round(placement.of(points.xy), PIXEL_DECIMALS)
    real = points.real & on_earth(xy).all(axis=2)
    flat = [
        {"id": point_id, "x": x, "y": y}
        for point_id, (x, y) in zip(points.ids[real].tolist(), xy[real].tolist(), strict=True)
    ]
    if occluded_below is not None and points.confidence is not None:
        occluded = points.confidence[real] < occluded_below
        for entry, is_occluded in zip(flat, occluded.tolist(), strict=True):
            entry["occluded"] = is_occluded
    ends = np.cumsum(real.sum(axis=1)).tolist()
    return [flat[start:end] or None for start, end in zip([0, *ends][:-1], ends, strict=True)]


def _rings(
    instances: Instances, placement: Placement
) -> tuple[list[list[list[float]] | None], int]:
    """The outline of each detection on the picture, None where it has none; and unfit masks."""
    points, lengths, unfit = masks.outlines(instances)
    # All points together: most of the time goes into calls, not into points.
    if placement.scale != 1.0:
        points = points * placement.scale
    if placement.shift_px is not None:
        points = points + np.repeat(placement.shift_px, lengths, axis=0)
    flat = points.round(PIXEL_DECIMALS).tolist()
    ends = np.cumsum(lengths).tolist()
    outlines = [flat[end - length : end] or None for length, end in zip(lengths, ends, strict=True)]
    return outlines, unfit


def _classifications(labels: Labels) -> Annotations:
    adjustments = []
    names, confidence = labels.class_names, labels.confidence
    if len(names) > limits.MAX_ANNOTATIONS:
        adjustments.append(_cut_adjustment(CLASSES, len(names)))
        rows = _most_confident(confidence)
        names, confidence = [names[row] for row in rows], confidence[rows]
    certainties, named = confidences(confidence)
    entries = [
        {"class": name, "confidence": certainty}
        for name, certainty in zip(names, certainties, strict=True)
    ]
    return Annotations(_non_empty({CLASSES: entries}), adjustments + named)


def _most_confident(confidence: FloatArray) -> npt.NDArray[np.intp]:
    """The rows that the API takes, in their original order."""
    best_first = np.argsort(-np.nan_to_num(confidence, nan=-np.inf), kind="stable")
    return np.sort(best_first[: limits.MAX_ANNOTATIONS])


def _cut_adjustment(name: str, count: int) -> Adjustment:
    return Adjustment(
        name,
        f"cut to the {limits.MAX_ANNOTATIONS} most confident of {count}",
        f"the API takes at most {limits.MAX_ANNOTATIONS}",
    )


def _non_empty(lists: AnnotationLists) -> AnnotationLists:
    return {key: entries for key, entries in lists.items() if entries}

"""Events as a COCO data set: boxes, outlines or run-length masks, and key points.

Outlines are clipped to their picture. One that cannot be drawn is left out: its box stays, and the
annotation gives the reason under `segmentation_left_out`.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

from pycocotools import mask as masks

from vision_event_block.contract.names import CLASSES, SOURCE_IDS
from vision_event_block.server.page.exports.outlines import (
    MAX_RING_PX,
    clipped,
    clipped_box,
    length_px,
)
from vision_event_block.server.page.exports.picture_names import file_name
from vision_event_block.server.page.exports.samples import Sample, class_of
from vision_event_block.server.store.image_metadata import image_metadata
from vision_event_block.server.store.timestamps import iso_milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from vision_event_block.server.page.exports.samples import Samples
    from vision_event_block.server.store.records import StoredEvent, StoredPicture

Segmentation = Literal["polygon", "rle"]

#: Limits the assumed size of a picture whose real size is unknown: COCO's tools count its pixels
#: in 32 bits.
_MAX_SIDE_PX: Final = 65_535
#: The visibility of a key point, in COCO and in YOLO.
HIDDEN, VISIBLE = 1, 2


def coco(
    samples: Iterable[Sample],
    catalog: Samples,
    *,
    arriving: Iterable[Sample] | None = None,
    segmentation: Segmentation = "polygon",
    clips: bool = False,
) -> Iterator[bytes]:
    """The document, in pieces.

    Args:
        samples: The samples to write.
        catalog: Has the classes and the joints of each.
        arriving: The same samples, added to the catalog as they are read; None if they are in it.
        segmentation: Whether outlines stay polygons or become run-length masks.
        clips: Also clips boxes to their picture, and leaves out those outside it.
    """
    first = samples if arriving is None else arriving
    yield b'{"info": {"description": "Vision Events"}, "licenses": [], "images": ['
    yield from _listed(_image(number, each) for number, each in enumerate(first, start=1))
    yield b'\n], "annotations": ['
    ids = {name: number for number, name in enumerate(catalog.classes, start=1)}
    places = {name: catalog.places(name) for name in ids}
    yield from _listed(_annotations(samples, ids, places, segmentation, clips=clips))
    categories = [_category(number, name, places[name]) for name, number in ids.items()]
    yield b'\n], "categories": ' + _json(categories) + b"}\n"


def samples_of(
    events: Iterable[StoredEvent], sizes: Callable[[str], StoredPicture | None]
) -> Iterator[Sample]:
    """A sample for each image with a picture, named by the picture's id, even without its bytes."""
    for event in events:
        for image in event.body.get("images") or ():
            # What the annotations refer to.
            if picture_id := image.get(SOURCE_IDS.input) or image.get(SOURCE_IDS.output):
                known = sizes(picture_id)
                sample = Sample(
                    name=file_name(picture_id, known.media_type if known else None),
                    width=0,
                    height=0,
                    event_id=event.event_id,
                    captured=iso_milliseconds(event.timestamp),
                    feedback=event.feedback,
                    image=image,
                )
                width, height = _size(known, sample.objects)
                yield replace(sample, width=width, height=height)


def _image(number: int, sample: Sample) -> dict[str, Any]:
    return {
        "id": number,
        "file_name": sample.name,
        "width": sample.width,
        "height": sample.height,
        "date_captured": sample.captured,
        "event_id": sample.event_id,
        "feedback": sample.feedback,
        "label": sample.image.get("label"),
        "classifications": sample.image.get(CLASSES) or [],
        "metadata": image_metadata(sample.image),
    }


def _annotations(
    samples: Iterable[Sample],
    ids: Mapping[str, int],
    places: Mapping[str, Mapping[Any, int]],
    segmentation: Segmentation,
    *,
    clips: bool,
) -> Iterator[dict[str, Any]]:
    number = 0
    for image_number, sample in enumerate(samples, start=1):
        for entry in sample.objects:
            box = clipped_box(entry, sample.width, sample.height) if clips else _box(entry)
            if box is None:
                continue
            number += 1
            name = class_of(entry)
            yield {
                "id": number,
                "image_id": image_number,
                "category_id": ids[name],
                "iscrowd": 0,
                "score": entry.get("confidence"),
                "bbox": box,
                "area": box[2] * box[3],
                **_outline(entry.get("points"), sample.width, sample.height, segmentation),
                **_key_points(entry, places[name]),
            }


def _category(number: int, name: str, places: Mapping[Any, int]) -> dict[str, Any]:
    category: dict[str, Any] = {"id": number, "name": name, "supercategory": "none"}
    if places:
        category |= {"keypoints": [str(joint) for joint in places], "skeleton": []}
    return category


def _key_points(entry: Mapping[str, Any], places: Mapping[Any, int]) -> dict[str, Any]:
    """An entry for each joint of the class, as COCO's readers expect."""
    points = {point["id"]: point for point in entry.get("keypoints") or ()}
    if not points:
        return {}
    row: list[float] = [0] * (3 * len(places))
    there = [joint for joint in points if joint in places]
    for joint in there:
        point, start = points[joint], 3 * places[joint]
        row[start : start + 3] = (
            *(point["x"], point["y"]),
            HIDDEN if point.get("occluded") else VISIBLE,
        )
    return {"keypoints": row, "num_keypoints": len(there)}


def _box(entry: Mapping[str, Any]) -> tuple[float, float, float, float]:
    width, height = entry["width"], entry["height"]
    return entry["x"] - width / 2, entry["y"] - height / 2, width, height


def _outline(
    points: Sequence[Sequence[float]] | None, width: int, height: int, segmentation: Segmentation
) -> dict[str, Any]:
    if not points:
        return {}
    ring = clipped(points, width, height)
    if not ring:
        return {"segmentation_left_out": "the outline lies outside of the picture"}
    if length_px(ring) > MAX_RING_PX:
        return {"segmentation_left_out": f"the outline is longer than {MAX_RING_PX} pixels"}
    numbers = [value for point in ring for value in point]
    mask = masks.merge(masks.frPyObjects([numbers], height, width))
    return {
        "area": int(masks.area(mask)),
        "segmentation": [numbers]
        if segmentation == "polygon"
        else {"size": [height, width], "counts": mask["counts"].decode()},
    }


def _size(known: StoredPicture | None, entries: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    """The size of the picture; if unknown, large enough for everything on it."""
    if known and known.width and known.height:
        return known.width, known.height
    right, lower = 1.0, 1.0
    for entry in entries:
        right = max(right, entry["x"] + entry["width"] / 2)
        lower = max(lower, entry["y"] + entry["height"] / 2)
    return min(math.ceil(right), _MAX_SIDE_PX), min(math.ceil(lower), _MAX_SIDE_PX)


def _listed(entries: Iterable[Any]) -> Iterator[bytes]:
    for row, entry in enumerate(entries):
        yield (b",\n" if row else b"\n") + _json(entry)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()

"""Events as a COCO data set: boxes, outlines or run-length masks, and key points.

Outlines are cut off at the edges of their picture. One that cannot be drawn is left out, which the
annotation says under `segmentation_left_out`; its box stays.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

from pycocotools import mask as masks

from vision_event_block.contract.names import CLASSES
from vision_event_block.server.page.exports.outlines import (
    MAX_RING_PX,
    clipped,
    clipped_box,
    length_px,
)
from vision_event_block.server.page.exports.picture_names import file_name, main_picture
from vision_event_block.server.page.exports.samples import Sample, class_of
from vision_event_block.server.store.image_metadata import image_metadata
from vision_event_block.server.store.timestamps import iso_milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from vision_event_block.server.page.exports.samples import Samples
    from vision_event_block.server.store.records import StoredEvent, StoredPicture

Segmentation = Literal["polygon", "rle"]

#: Of a picture of which nothing is known. The pixels of a larger one cannot be counted in the 32
#: bits that COCO's tools have for it.
_MAX_SIDE_PX: Final = 65_535
#: Of a key point, in COCO and in YOLO.
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
        samples: Those to write.
        catalog: What knows the classes, and the joints of each.
        arriving: The same while they are put into the catalog, where they are not yet.
        segmentation: Whether outlines stay polygons or become run-length masks.
        clips: Cuts boxes off at the edges of their picture, too, and leaves out those beyond.
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
    """Each image with a picture, by the picture's id, whether its bytes are here or not."""
    for event in events:
        for image in event.body.get("images") or ():
            if picture_id := main_picture(image):
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
    """A place for each joint of the class, as COCO's readers want it."""
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
    """Of the picture, or as large as what is on it where nothing is known of the picture."""
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

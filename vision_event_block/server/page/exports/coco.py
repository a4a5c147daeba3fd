"""Events as a COCO data set: boxes, outlines or run-length masks, and key points.

The document lists all pictures before any annotation, and each annotation has a place for every
joint of its class, which is known only at the end. So annotations wait in a file, and memory does
not grow with the number of events.

Outlines are cut off at the edges of their picture. One that cannot be drawn is left out, which the
annotation says under `segmentation_left_out`; its box stays.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any, Final, Literal

from pycocotools import mask as masks

from vision_event_block.contract.names import CLASSES, PLACED_LISTS
from vision_event_block.server.page.exports.outlines import MAX_RING_PX, clipped, length_px
from vision_event_block.server.page.exports.picture_names import file_name, main_picture
from vision_event_block.server.store.image_metadata import image_metadata
from vision_event_block.server.store.timestamps import iso_milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from vision_event_block.server.store.records import StoredEvent, StoredPicture

Segmentation = Literal["polygon", "rle"]

_IN_MEMORY_BYTES: Final = 4 * 1024 * 1024
#: Of a picture of which nothing is known. The pixels of a larger one cannot be counted in the 32
#: bits that COCO's tools have for it.
_MAX_SIDE_PX: Final = 65_535
#: Joints of one class. More are not a skeleton but a mistake, and would fill every annotation.
_MAX_JOINTS: Final = 512
_HIDDEN, _VISIBLE = 1, 2


def coco(
    events: Iterable[StoredEvent],
    sizes: Callable[[str], StoredPicture | None],
    *,
    segmentation: Segmentation = "polygon",
) -> Iterator[bytes]:
    """The document, in pieces.

    Args:
        events: Those to write; what was seen on an image without picture is left out.
        sizes: What is known of a picture by its id.
        segmentation: Whether outlines stay polygons or become run-length masks.
    """
    categories = _Categories()
    images = annotations = 0
    with SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as waiting:
        yield b'{"info": {"description": "Vision Events"}, "licenses": [], "images": ['
        for event, image, picture_id in _pictured(events):
            known = sizes(picture_id)
            found = [entry for key in PLACED_LISTS for entry in image.get(key) or ()]
            width, height = _size(known, found)
            images += 1
            entry = {
                "id": images,
                "file_name": file_name(picture_id, known.media_type if known else None),
                "width": width,
                "height": height,
                "date_captured": iso_milliseconds(event.timestamp),
                "event_id": event.event_id,
                "label": image.get("label"),
                "classifications": image.get(CLASSES) or [],
                "metadata": image_metadata(image),
            }
            yield (b"\n" if images == 1 else b",\n") + _json(entry)
            for one in found:
                annotations += 1
                annotation = {
                    "id": annotations,
                    "image_id": images,
                    "category_id": categories.id_of(one),
                    "iscrowd": 0,
                    "score": one.get("confidence"),
                    **_geometry(one, width, height, segmentation),
                }
                waiting.write(_json(annotation) + b"\n")
        yield b'\n], "annotations": ['
        waiting.seek(0)
        for row, line in enumerate(waiting):
            yield (b"\n" if row == 0 else b",\n") + categories.complete(line.rstrip())
        yield b'\n], "categories": ' + _json(categories.listed()) + b"}\n"


@dataclass
class _Categories:
    """The classes in the order in which they came up, and the joints that each has."""

    ids: dict[str, int] = field(default_factory=dict)
    joints: dict[int, dict[Any, None]] = field(default_factory=dict)
    _places: dict[int, dict[Any, int]] = field(default_factory=dict)

    def id_of(self, entry: Mapping[str, Any]) -> int:
        category = self.ids.setdefault(str(entry.get("class") or "unknown"), len(self.ids) + 1)
        joints = self.joints.setdefault(category, {})
        for point in entry.get("keypoints") or ():
            if len(joints) < _MAX_JOINTS:
                joints.setdefault(point["id"])
        return category

    def complete(self, line: bytes) -> bytes:
        """The annotation with a place for each joint of its class, as COCO's readers want it."""
        if b'"keypoints"' not in line:
            return line
        annotation = json.loads(line)
        places = self.places(annotation["category_id"])
        row = [0] * (3 * len(places))
        there = 0
        for joint, *place in annotation["keypoints"]:
            if joint in places:
                there += 1
                row[3 * places[joint] : 3 * places[joint] + 3] = place
        annotation |= {"keypoints": row, "num_keypoints": there}
        return _json(annotation)

    def places(self, category: int) -> dict[Any, int]:
        """Where each joint stands: at its own number where those are small, else in a row."""
        if category not in self._places:
            found = self.joints[category]
            if all(isinstance(each, int) and 0 <= each < _MAX_JOINTS for each in found):
                names: Iterable[Any] = range(max(found, default=-1) + 1)
            else:
                names = found
            self._places[category] = {name: place for place, name in enumerate(names)}
        return self._places[category]

    def listed(self) -> list[dict[str, Any]]:
        listed = []
        for name, category in self.ids.items():
            entry: dict[str, Any] = {"id": category, "name": name, "supercategory": "none"}
            if places := self.places(category):
                entry |= {"keypoints": [str(joint) for joint in places], "skeleton": []}
            listed.append(entry)
        return listed


def _pictured(
    events: Iterable[StoredEvent],
) -> Iterator[tuple[StoredEvent, Mapping[str, Any], str]]:
    for event in events:
        for image in event.body.get("images") or ():
            if picture_id := main_picture(image):
                yield event, image, picture_id


def _geometry(
    entry: Mapping[str, Any], width: int, height: int, segmentation: Segmentation
) -> dict[str, Any]:
    box_width, box_height = entry["width"], entry["height"]
    geometry: dict[str, Any] = {
        "bbox": [entry["x"] - box_width / 2, entry["y"] - box_height / 2, box_width, box_height],
        "area": box_width * box_height,
    }
    if entry.get("points"):
        geometry |= _outline(entry["points"], width, height, segmentation)
    if points := entry.get("keypoints"):
        geometry["keypoints"] = [
            [point["id"], point["x"], point["y"], _HIDDEN if point.get("occluded") else _VISIBLE]
            for point in points
        ]
    return geometry


def _outline(
    points: Sequence[Sequence[float]], width: int, height: int, segmentation: Segmentation
) -> dict[str, Any]:
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


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()

"""Labels in YOLO's format: a text file for each picture, with a line for each object.

    detection      class x y width height
    segmentation   class x1 y1 x2 y2 ...
    pose           class x y width height px1 py1 v1 ...

All of it in shares of the picture's width and height, cut off at its edges. An object without an
outline that can be drawn stands in a segmentation as its box, and one without key points in a pose
with none that is visible: left out, it would be taught as something that is not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from vision_event_block.server.page.exports.coco import HIDDEN, VISIBLE
from vision_event_block.server.page.exports.outlines import clipped_box, drawable
from vision_event_block.server.page.exports.samples import SPLITS, class_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vision_event_block.server.page.exports.samples import Sample, Samples

Task = Literal["detect", "segment", "pose"]

#: Of eight: no picture has so many pixels that this moves an edge by a hundredth of one.
_DECIMALS: Final = 8


class Labels:
    """The labels of samples that are all there, by one order of classes and key points."""

    def __init__(self, samples: Samples, task: Task) -> None:
        self._task = task
        self._classes = {name: number for number, name in enumerate(samples.classes)}
        self._places = {name: samples.places(name) for name in self._classes}
        self._joints = max((len(each) for each in self._places.values()), default=0)

    def of(self, sample: Sample) -> bytes:
        """The file beside a picture; empty if nothing was seen on it."""
        return "".join(f"{line}\n" for line in self._lines(sample)).encode()

    def data_yaml(self) -> bytes:
        """What tools read first: where the pictures are, and what their classes are called."""
        lines = [
            *(f"{'val' if name == 'valid' else name}: {name}/images" for name in SPLITS),
            f"nc: {len(self._classes)}",
        ]
        if self._task == "pose" and self._joints:
            lines.append(f"kpt_shape: [{self._joints}, 3]")
        names = [f"  - {_quoted(name)}" for name in self._classes]
        lines += ["names:", *names] if names else ["names: []"]
        return "".join(f"{line}\n" for line in lines).encode()

    def _lines(self, sample: Sample) -> Iterator[str]:
        width, height = sample.width, sample.height
        for entry in sample.objects:
            box = clipped_box(entry, width, height)
            if box is None:
                continue
            left, top, across, down = box
            numbers = [
                *(_share(left + across / 2, width), _share(top + down / 2, height)),
                *(_share(across, width), _share(down, height)),
            ]
            if self._task == "segment":
                ring = drawable(entry.get("points"), width, height) or [
                    *((left, top), (left + across, top)),
                    *((left + across, top + down), (left, top + down)),
                ]
                numbers = [_share(*pair) for x, y in ring for pair in ((x, width), (y, height))]
            elif self._task == "pose" and self._joints:
                numbers += self._pose(entry, width, height)
            yield " ".join([str(self._classes[class_of(entry)]), *numbers])

    def _pose(self, entry: Mapping[str, Any], width: int, height: int) -> Iterator[str]:
        """A place for each joint; one that is not on the picture is none."""
        places = self._places[class_of(entry)]
        by_place = {places[p["id"]]: p for p in entry.get("keypoints") or () if p["id"] in places}
        for place in range(self._joints):
            point = by_place.get(place)
            if point and 0 <= point["x"] <= width and 0 <= point["y"] <= height:
                yield _share(point["x"], width)
                yield _share(point["y"], height)
                yield str(HIDDEN if point.get("occluded") else VISIBLE)
            else:
                yield from ("0", "0", "0")


def _share(value: float, whole: int) -> str:
    text = f"{min(1.0, max(0.0, value / whole)):.{_DECIMALS}f}"
    return text.rstrip("0").rstrip(".")


def _quoted(text: str) -> str:
    """Any text as YAML reads it back."""
    return f'"{"".join(_escaped(char) for char in text)}"'


def _escaped(char: str) -> str:
    return char if char.isprintable() and char not in '"\\' else f"\\U{ord(char):08x}"

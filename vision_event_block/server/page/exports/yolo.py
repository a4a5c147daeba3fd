"""Labels in YOLO's format: a text file for each picture, with a line for each object.

    detection      class x y width height
    segmentation   class x1 y1 x2 y2 ...
    pose           class x y width height px1 py1 v1 ...

All numbers are fractions of the picture's width and height, clipped to its edges. In a
segmentation, an object without a drawable outline is written as its box; in a pose, one without
key points has none visible. If they were left out, a model would learn that nothing is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from vision_event_block.server.page.exports.coco import HIDDEN, VISIBLE
from vision_event_block.server.page.exports.outlines import clipped_box, drawable
from vision_event_block.server.page.exports.samples import SPLITS, class_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vision_event_block.server.page.exports.samples import Sample, Samples

Format = Literal["yolo", "yolo-seg", "yolo-pose"]

#: Rounding to these moves no edge by a hundredth of a pixel, even on the largest pictures.
_DECIMALS: Final = 8


class Labels:
    """The labels of a complete set of samples, with one numbering of classes and key points."""

    def __init__(self, samples: Samples, format_: Format) -> None:
        self._format = format_
        self._classes = {name: number for number, name in enumerate(samples.classes)}
        self._places = {name: samples.places(name) for name in self._classes}
        self._joints = max((len(each) for each in self._places.values()), default=0)

    def of(self, sample: Sample) -> bytes:
        """The label file of a picture; empty if nothing was seen on it."""
        return "".join(f"{line}\n" for line in self._lines(sample)).encode()

    def data_yaml(self) -> bytes:
        """The file that tools read first: where the pictures are, and the names of the classes."""
        lines = [
            *(f"{'val' if name == 'valid' else name}: {name}/images" for name in SPLITS),
            f"nc: {len(self._classes)}",
        ]
        if self._format == "yolo-pose" and self._joints:
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
            if self._format == "yolo-seg":
                ring = drawable(entry.get("points"), width, height) or [
                    *((left, top), (left + across, top)),
                    *((left + across, top + down), (left, top + down)),
                ]
                numbers = [_share(*pair) for x, y in ring for pair in ((x, width), (y, height))]
            elif self._format == "yolo-pose" and self._joints:
                numbers += self._pose(entry, width, height)
            yield " ".join([str(self._classes[class_of(entry)]), *numbers])

    def _pose(self, entry: Mapping[str, Any], width: int, height: int) -> Iterator[str]:
        """An entry for each joint; zeros for one that is not on the picture."""
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
    """The text as a quoted YAML string."""
    return f'"{"".join(_escaped(char) for char in text)}"'


def _escaped(char: str) -> str:
    return char if char.isprintable() and char not in '"\\' else f"\\U{ord(char):08x}"

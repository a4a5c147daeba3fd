"""What to draw over a picture: boxes, outlines, key points and labels, in the picture's pixels.

All of it comes from clients. Shapes that cannot be drawn are left out, and so are more shapes than
a reader could tell apart on a picture of that size; the page shows how many were left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from vision_event_block.contract.names import BOXES, CLASSES, KEY_POINTS, OUTLINES
from vision_event_block.server.page.labels import Box, Label, LabelPlacer
from vision_event_block.server.page.palette import colour_classes, slot_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: The 17 joints of a person in COCO's order, joined as in a body. Other key points come without
#: a skeleton, and an invented one would be misleading.
PERSON_BONES: Final = (
    (0, 1), (0, 2), (1, 3), (2, 4), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10),
    (5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14), (14, 16),
)  # fmt: skip
PERSON_JOINTS: Final = 17
PERSON: Final = "person"

_MAX_TAGS: Final = 6
#: Nothing beyond this is drawn: no picture is that large.
_FARTHEST_PX: Final = 1e7


@dataclass(frozen=True)
class OverlayStyle:
    """How large a picture is shown, and how many shapes are drawn on it."""

    width_px: int
    height_px: int
    label_px: float
    max_shapes: int
    max_points: int
    #: Labels every shape, with its confidence; otherwise one shape of each class, by name.
    has_all_labels: bool


TILE: Final = OverlayStyle(320, 240, 12.0, max_shapes=60, max_points=48, has_all_labels=False)
VIEW: Final = OverlayStyle(860, 645, 13.0, max_shapes=4000, max_points=2000, has_all_labels=True)


@dataclass(frozen=True)
class Shape:
    class_name: str
    colours: str
    confidence: float | None
    #: Left, top, width, height.
    box: Box
    #: In the format of the `points` attribute of an SVG polygon.
    outline: str = ""
    joints: tuple[tuple[float, float, bool], ...] = ()
    #: From x, y to x, y.
    bones: tuple[tuple[float, float, float, float], ...] = ()
    label: Label | None = None

    @property
    def title(self) -> str:
        return titled(self.class_name, self.confidence)


@dataclass(frozen=True)
class Overlay:
    width: float
    height: float
    font_size: float
    shapes: tuple[Shape, ...] = ()
    #: Classifications, which belong to the whole picture.
    tags: tuple[Shape, ...] = ()
    left_out: int = 0

    @property
    def classes(self) -> dict[str, str]:
        """The classes on the picture with their colours, by name."""
        return {
            shape.class_name: shape.colours
            for shape in sorted((*self.shapes, *self.tags), key=lambda shape: shape.class_name)
        }


def overlay(
    image: Mapping[str, Any],
    size: tuple[int, int] | None,
    *,
    slots: Mapping[str, int],
    frame: OverlayStyle = VIEW,
) -> Overlay:
    """What one entry of an event's `images` shows.

    Args:
        image: The entry.
        size: Width and height of the picture that the coordinates refer to; if unknown, the
            overlay is made large enough for all shapes.
        slots: The colour of each class.
        frame: Where it will be shown.
    """
    found = list(_shapes(image, slots, frame))
    width, height = size or _extent(found)
    font_size = frame.label_px / min(frame.width_px / width, frame.height_px / height)
    kept = found
    if len(found) > frame.max_shapes:
        kept = sorted(found, key=lambda shape: -(shape.confidence or 0.0))[: frame.max_shapes]
    # Small shapes are drawn last, so that large ones do not hide them from the pointer.
    kept = sorted(kept, key=lambda shape: -shape.box[2] * shape.box[3])
    labels = LabelPlacer(width, height, font_size)
    tags = tuple(_tags(image, slots, labels))
    named = {shape.class_name: shape for shape in reversed(kept)}
    # The names of small shapes first: they have fewer places to go.
    texts = {
        row: labels.on(shape.box, shape.title if frame.has_all_labels else shape.class_name)
        for row, shape in reversed(list(enumerate(kept)))
        if frame.has_all_labels or named[shape.class_name] is shape
    }
    shapes = tuple(replace(shape, label=texts.get(row)) for row, shape in enumerate(kept))
    return Overlay(width, height, round(font_size, 2), shapes, tags, len(found) - len(kept))


def titled(name: str, confidence: float | None) -> str:
    """`scratch 80%`.

    >>> titled("scratch", 0.8)
    'scratch 80%'
    """
    return name if confidence is None else f"{name} {confidence:.0%}"


def _shapes(
    image: Mapping[str, Any], slots: Mapping[str, int], frame: OverlayStyle
) -> Iterator[Shape]:
    for key in (BOXES, OUTLINES, KEY_POINTS):
        for entry in _entries(image, key):
            box = _box(entry)
            if box is None:
                continue
            name = _name(entry)
            shape = Shape(name, colour_classes(slot_of(name, slots)), _confidence(entry), box)
            if key == OUTLINES:
                shape = replace(shape, outline=_outline(entry, frame.max_points))
            elif key == KEY_POINTS:
                shape = _with_joints(shape, entry)
            yield shape


def _tags(
    image: Mapping[str, Any], slots: Mapping[str, int], labels: LabelPlacer
) -> Iterator[Shape]:
    seen = _entries(image, CLASSES)
    for entry in sorted(seen, key=lambda entry: -(_confidence(entry) or 0.0))[:_MAX_TAGS]:
        name, confidence = _name(entry), _confidence(entry)
        colours = colour_classes(slot_of(name, slots))
        label = labels.in_corner(titled(name, confidence))
        yield Shape(name, colours, confidence, (0.0, 0.0, 0.0, 0.0), label=label)


def _with_joints(shape: Shape, entry: Mapping[str, Any]) -> Shape:
    found: dict[int, tuple[float, float, bool]] = {}
    for row, joint in enumerate(_entries(entry, "keypoints")):
        x, y = _number(joint.get("x")), _number(joint.get("y"))
        if x is None or y is None:
            continue
        joint_id = joint.get("id")
        found[joint_id if isinstance(joint_id, int) else -1 - row] = (
            x,
            y,
            joint.get("occluded") is True,
        )
    bones: Sequence[tuple[int, int]] = ()
    if shape.class_name == PERSON and all(0 <= key < PERSON_JOINTS for key in found):
        bones = [(a, b) for a, b in PERSON_BONES if a in found and b in found]
    return replace(
        shape,
        joints=tuple(found.values()),
        bones=tuple((*found[a][:2], *found[b][:2]) for a, b in bones),
    )


def _outline(entry: Mapping[str, Any], max_points: int) -> str:
    ring = entry.get("points")
    if not isinstance(ring, list):
        return ""
    step = max(1, math.ceil(len(ring) / max_points))
    points = []
    for point in ring[::step]:
        if isinstance(point, list) and len(point) == 2:  # noqa: PLR2004 -- x and y
            x, y = _number(point[0]), _number(point[1])
            if x is not None and y is not None:
                points.append(f"{x:g},{y:g}")
    return " ".join(points)


def _extent(shapes: Sequence[Shape]) -> tuple[float, float]:
    """The right and lower ends of all shapes; 4:3 if there are none."""
    right = max((shape.box[0] + shape.box[2] for shape in shapes), default=0.0)
    lower = max((shape.box[1] + shape.box[3] for shape in shapes), default=0.0)
    return (right, lower) if right > 0 and lower > 0 else (640.0, 480.0)


def _entries(holder: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    entries = holder.get(key)
    if not isinstance(entries, list):
        return []
    return [entry for entry in entries if isinstance(entry, dict)]


def _box(entry: Mapping[str, Any]) -> Box | None:
    x, y, width, height = (_number(entry.get(key)) for key in ("x", "y", "width", "height"))
    if x is None or y is None or width is None or height is None or width < 0 or height < 0:
        return None
    return (round(x - width / 2, 3), round(y - height / 2, 3), width, height)


def _name(entry: Mapping[str, Any]) -> str:
    name = entry.get("class")
    return name if isinstance(name, str) and name else "unknown"


def _confidence(entry: Mapping[str, Any]) -> float | None:
    return _number(entry.get("confidence"))


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) < _FARTHEST_PX else None  # not NaN either

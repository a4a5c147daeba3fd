"""Predictions as models give them, including the ugly ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import supervision as sv

if TYPE_CHECKING:
    from collections.abc import Callable

    Array = np.ndarray[Any, Any]
    Random = np.random.Generator

WIDTH_PX, HEIGHT_PX = 1920, 1080
KEY_POINTS = 17


def boxes(random: Random, rows: int) -> sv.Detections:
    """Only boxes."""
    corners = random.uniform((0, 0), (WIDTH_PX - 150, HEIGHT_PX - 150), (rows, 2))
    return _detections(np.hstack([corners, corners + random.uniform(20, 150, (rows, 2))]))


def skeletons(random: Random, rows: int) -> sv.Detections:
    """Boxes with key points."""
    found, shape = boxes(random, rows), (rows, KEY_POINTS)
    found.data |= {
        "keypoints_xy": found.xyxy[:, None, :2] + random.uniform(0, 80, (*shape, 2)),
        "keypoints_confidence": random.uniform(0, 1, shape),
        "keypoints_class_id": np.broadcast_to(np.arange(KEY_POINTS), shape),
        "keypoints_class_name": np.full(shape, "joint", dtype=object),
    }
    return found


def even_polygons(random: Random, rows: int) -> sv.Detections:
    """Outlines of 40 points each, in one array."""
    rings = np.stack([_wobbly(random, _centre(random, 60), 40, 40) for _ in range(rows)])
    return _detections(np.hstack([rings.min(axis=1), rings.max(axis=1)]), polygon=rings)


def ragged_polygons(random: Random, rows: int) -> sv.Detections:
    """Outlines of 8 to 90 points, each an array of its own."""
    rings = np.empty(rows, dtype=object)
    for row in range(rows):
        radius, points = random.uniform(15, 55), int(random.integers(8, 91))
        rings[row] = _wobbly(random, _centre(random, 60), radius, points)
    return _detections([[*ring.min(axis=0), *ring.max(axis=0)] for ring in rings], polygon=rings)


def smooth_masks(random: Random, rows: int) -> sv.Detections:
    """Ellipses of one size."""

    def draw(mask: Array, centre: Array, _radius: float) -> None:
        cv2.ellipse(mask, centre.astype(int).tolist(), (38, 25), 30, 0, 360, 1, -1)

    return _masks(random, rows, draw)


def irregular_masks(random: Random, rows: int) -> sv.Detections:
    """An ellipse and one to three blots of 40 corners, which may be apart; of any size."""

    def draw(mask: Array, centre: Array, radius: float) -> None:
        _ellipse(random, mask, centre, radius)
        for _ in range(int(random.integers(1, 4))):
            aside = random.uniform(-1, 1, 2) * radius
            ring = _wobbly(random, centre + aside, radius * random.uniform(0.3, 1), 40)
            cv2.fillPoly(mask, [ring], 1)

    return _masks(random, rows, draw)


def pieced_masks(random: Random, rows: int) -> sv.Detections:
    """Five to twenty pieces, some of which touch, with holes, and specks around them."""

    def draw(mask: Array, centre: Array, radius: float) -> None:
        for piece in range(int(random.integers(5, 21))):
            aside = random.uniform(-1, 1, 2) * radius
            ring = _wobbly(random, centre + aside, radius * random.uniform(0.1, 0.4), 20)
            cv2.fillPoly(mask, [ring], int(piece == 0 or piece % 4 > 0))
        specks = (centre + random.uniform(-1, 1, (20, 2)) * radius).astype(int)
        mask[specks[:, 1], specks[:, 0]] = 1

    return _masks(random, rows, draw)


def _masks(random: Random, rows: int, draw: Callable[[Array, Array, float], None]) -> sv.Detections:
    masks = np.zeros((rows, HEIGHT_PX, WIDTH_PX), np.uint8)
    xyxy = []
    for mask in masks:
        draw(mask, _centre(random, 500), np.exp(random.uniform(np.log(20), np.log(240))))
        left, top, width, height = cv2.boundingRect(mask)
        xyxy.append([left, top, left + width, top + height])
    return _detections(xyxy, mask=masks.view(bool))


def _ellipse(random: Random, mask: Array, centre: Array, radius: float) -> None:
    axes = int(radius * 0.6), int(radius * 0.35)
    cv2.ellipse(mask, centre.astype(int).tolist(), axes, int(random.integers(180)), 0, 360, 1, -1)


def _centre(random: Random, margin_px: int) -> Array:
    return random.uniform(margin_px, (WIDTH_PX - margin_px, HEIGHT_PX - margin_px))


def _wobbly(random: Random, centre: Array, radius: float, points: int) -> Array:
    turns = np.sort(random.uniform(0, 2 * np.pi, points))
    radii = radius * random.uniform(0.55, 1.0, points)
    ring = centre + radii[:, None] * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    return ring.round().astype(np.int32)


def _detections(xyxy: Any, mask: Array | None = None, **columns: Any) -> sv.Detections:
    """With all the data that the host's detection steps add."""
    rows = len(xyxy)
    of_picture = {
        "image_dimensions": [HEIGHT_PX, WIDTH_PX],
        "inference_id": "b2f0d6b0-26f4-4f3c-8a1f-0e3a7a6c9d11",
        "parent_coordinates": [0, 0],
        "parent_dimensions": [HEIGHT_PX, WIDTH_PX],
        "parent_id": "image",
        "prediction_type": "object-detection",
        "root_parent_coordinates": [0, 0],
        "root_parent_dimensions": [HEIGHT_PX, WIDTH_PX],
        "root_parent_id": "image",
    }
    return sv.Detections(
        xyxy=np.asarray(xyxy, dtype=np.float32).reshape(-1, 4),
        confidence=np.linspace(1, 0.1, rows, dtype=np.float32),
        class_id=np.arange(rows) % 3,
        mask=mask,
        data={
            "class_name": np.array(["bottle", "cap", "label"])[np.arange(rows) % 3],
            "detection_id": np.array([f"b2f0d6b0-26f4-4f3c-8a1f-{row:012}" for row in range(rows)]),
            **{key: np.array([value] * rows) for key, value in of_picture.items()},
            **columns,
        },
    )

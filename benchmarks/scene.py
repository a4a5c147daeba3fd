"""What the benchmarks show to the blocks."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

#: Width and height by name.
SIZES = {"VGA": (640, 480), "1080p": (1920, 1080), "4K": (3840, 2160)}


def frame(size: str = "1080p") -> np.ndarray[Any, Any]:
    """A picture whose JPEGs are as large as a camera's: about 390 kB on average at 1080p."""
    width, height = SIZES[size]
    random = np.random.default_rng(7)
    coarse = random.integers(0, 255, (height // 24, width // 24, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.add(picture, random.integers(0, 2, picture.shape, dtype=np.uint8))


def drawn(size: str = "1080p") -> np.ndarray[Any, Any]:
    """The same picture with the detections drawn on it."""
    picture = frame(size)
    for left, top, right, bottom in boxes(20, size).xyxy.astype(int).tolist():
        cv2.rectangle(picture, (left, top), (right, bottom), (0, 0, 255), 2)
    return picture


def encoded(picture: np.ndarray[Any, Any], quality: int) -> bytes:
    """JPEG bytes."""
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def boxes(count: int, size: str = "1080p") -> Any:
    """Detections as a model gives them."""
    import supervision as sv

    width, height = SIZES[size]
    random = np.random.default_rng(3)
    corners = random.uniform(0, 1, (count, 2)) * (width - 160, height - 160)
    return sv.Detections(
        xyxy=np.hstack([corners, corners + random.uniform(20, 150, (count, 2))]),
        confidence=random.uniform(0, 1, count),
        class_id=np.zeros(count, int),
        data={"class_name": np.array(["part"] * count, dtype=object)},
    )


def prediction(count: int, size: str = "1080p") -> dict[str, Any]:
    """The same as in a request."""
    width, height = SIZES[size]
    found = boxes(count, size)
    rows = zip(found.xyxy, found.confidence, strict=True)
    return {
        "image": {"width": width, "height": height},
        "predictions": [
            {
                "x": float(left + right) / 2,
                "y": float(top + bottom) / 2,
                "width": float(right - left),
                "height": float(bottom - top),
                "confidence": float(confidence),
                "class": "part",
                "class_id": 0,
                "detection_id": str(number),
            }
            for number, ((left, top, right, bottom), confidence) in enumerate(rows)
        ],
    }

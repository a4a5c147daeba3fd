"""How long predictions take to become annotations, beside the official block's own conversion.

    python benchmarks/conversion.py [--seconds 1.0] [--json FILE]

Both convert the same `sv.Detections`, as the host's models give them, in one process and by turns.
Ours also places them on the picture that the event shows, which the official block does not.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import supervision as sv
from rich.console import Console
from rich.table import Table

from vision_event_block.convert.annotations import annotate
from vision_event_block.convert.placement import PictureFrame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WIDTH_PX, HEIGHT_PX = 1920, 1080
PICTURE = PictureFrame(width_px=WIDTH_PX, height_px=HEIGHT_PX, picture_id="image", root_id="image")
KEY_POINTS = 17
OUTLINE_POINTS = 40
MIN_TURNS, MAX_TURNS = 5, 3000


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="for each kind of prediction")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    theirs = official_conversion()
    figures: dict[str, dict[str, float]] = {}
    table = Table("", "ours µs", "official µs", "ratio", title="median of a conversion")
    for name, prediction in predictions():
        ours_us, theirs_us = by_turns(
            lambda: annotate(prediction, picture=PICTURE),  # noqa: B023 - called at once
            lambda: theirs(prediction),  # noqa: B023 - as above
            options.seconds,
        )
        ratio = ours_us / theirs_us
        figures[name] = {"ours_us": ours_us, "official_us": theirs_us, "ratio": ratio}
        table.add_row(name, f"{ours_us:,.1f}", f"{theirs_us:,.1f}", f"{ratio:.2f}")
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def official_conversion() -> Callable[[Any], Any]:
    """What the official block does with a prediction before it is sent."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    import inference.core  # noqa: F401 - sets the engine up
    from roboflow_workflows.core_steps.sinks.roboflow.vision_events import v1

    convert: Callable[[Any], Any] = v1._convert_predictions_to_annotations  # noqa: SLF001 - to measure it
    return convert


def by_turns(
    ours: Callable[[], Any], theirs: Callable[[], Any], seconds: float
) -> tuple[float, float]:
    """The medians of both in microseconds; what slows the machine down slows both."""
    took_us: tuple[list[float], list[float]] = ([], [])
    ends_s = time.perf_counter() + seconds
    while len(took_us[0]) < MIN_TURNS or (
        time.perf_counter() < ends_s and len(took_us[0]) < MAX_TURNS
    ):
        for convert, took in zip((ours, theirs), took_us, strict=True):
            started_s = time.perf_counter()
            convert()
            took.append((time.perf_counter() - started_s) * 1e6)
    return statistics.median(took_us[0]), statistics.median(took_us[1])


def predictions() -> Iterator[tuple[str, sv.Detections]]:
    """Each kind, few and many."""
    for rows in (0, 1, 20, 300):
        yield f"{rows} boxes", detections(rows)
    yield "300 polygons", detections(300, polygon=outlines(300))
    yield f"300 x {KEY_POINTS} key points", detections(300, **skeletons(300))
    for rows in (1, 20, 300):
        yield f"{rows} masks", detections(rows, mask=masks(rows))


def detections(rows: int, mask: Any = None, **columns: Any) -> sv.Detections:
    """Boxes with all that the host's detection steps say about them."""
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
    random = np.random.default_rng(3)
    corners = centres(rows) - 40
    return sv.Detections(
        xyxy=np.hstack([corners, corners + 80]).astype(np.float32).reshape(-1, 4),
        confidence=random.uniform(0, 1, rows).astype(np.float32),
        class_id=np.arange(rows) % 3,
        mask=mask,
        data={
            "class_name": np.array(["bottle", "cap", "label"])[np.arange(rows) % 3],
            "detection_id": np.array([f"b2f0d6b0-26f4-4f3c-8a1f-{row:012}" for row in range(rows)]),
            **{key: np.array([value] * rows) for key, value in of_picture.items()},
            **columns,
        }
        if rows
        else {"class_name": np.empty(0)},
    )


def centres(rows: int) -> np.ndarray[Any, Any]:
    """Where the detections are."""
    return np.random.default_rng(5).uniform((50, 50), (WIDTH_PX - 50, HEIGHT_PX - 50), (rows, 2))


def outlines(rows: int) -> np.ndarray[Any, Any]:
    """Rings around the centres: (rows, OUTLINE_POINTS, 2)."""
    turn = np.linspace(0, 2 * np.pi, OUTLINE_POINTS, endpoint=False)
    ring = 35 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    return (centres(rows)[:, None] + ring).round().astype(np.int32)


def skeletons(rows: int) -> dict[str, Any]:
    """The columns of key points."""
    random = np.random.default_rng(7)
    shape = (rows, KEY_POINTS)
    return {
        "keypoints_xy": centres(rows)[:, None] + random.uniform(-40, 40, (*shape, 2)),
        "keypoints_confidence": random.uniform(0, 1, shape),
        "keypoints_class_id": np.broadcast_to(np.arange(KEY_POINTS), shape),
        "keypoints_class_name": np.full(shape, "joint", dtype=object),
    }


def masks(rows: int) -> np.ndarray[Any, Any]:
    """A bump within each box, over the whole picture."""
    drawn = np.zeros((rows, HEIGHT_PX, WIDTH_PX), np.uint8)
    for mask, centre in zip(drawn, centres(rows).round().astype(int).tolist(), strict=True):
        cv2.ellipse(mask, centre, (38, 25), 30, 0, 360, 1, -1)
    return drawn.view(bool)


if __name__ == "__main__":
    main()

"""How long `run()` holds a workflow: two 1080p pictures, 20 boxes, ten frames a second.

    python benchmarks/run_time.py [--frames 100] [--json FILE]

The API is a stand-in in a process of its own. Beside the two kinds of durability stand the costs
that no block gets around on this machine: the copy of both pictures, their encoding one after the
other, and a synced write of a file of that size.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

FRAMES_PER_S = 10.0
BOXES = 20


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(options.frames, Path(folder))
    table = Table("", "p50 ms", "p99 ms", title=f"run(), {options.frames} frames")
    for name, (p50_ms, p99_ms) in figures.items():
        table.add_row(name, f"{p50_ms:.2f}", f"{p99_ms:.2f}")
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def measure(frames: int, folder: Path) -> dict[str, tuple[float, float]]:
    """The median and the 99th percentile of each, in milliseconds."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    api = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    api.start()
    os.environ.update(
        VISION_EVENT_API_URL=ours.recv(),
        VISION_EVENT_OUTBOX=str(folder / "outbox"),
        TELEMETRY_OPT_OUT="True",
    )
    picture = frame()
    figures = {
        "copy of both pictures": timed(lambda: (picture.copy(), picture.copy()), frames),
        "encoding of both, in turn": timed(lambda: [encoded(picture, q) for q in (95, 85)], frames),
        "synced write of both": timed(synced_write(picture, folder / "write"), frames),
    }
    run = block_run(picture)
    for durability in ("memory", "disk"):
        run(durability)  # the first one starts threads
        figures[f"run(), durability {durability}"] = timed(lambda: run(durability), frames)  # noqa: B023 -- called at once
    ours.send("end")
    api.join(10)
    return figures


def serve(connection: Connection) -> None:
    """The stand-in, until it is told to end."""
    from vision_event_block.testing import StandInApi

    with StandInApi(keeps_pictures=False) as api:
        connection.send(api.url)
        connection.recv()


def frame() -> np.ndarray[Any, Any]:
    """A picture that makes JPEGs as large as a camera's: about 390 kB on average."""
    random = np.random.default_rng(7)
    coarse = random.integers(0, 255, (45, 80, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, (1920, 1080), interpolation=cv2.INTER_CUBIC)
    return cv2.add(picture, random.integers(0, 2, picture.shape, dtype=np.uint8))


def encoded(picture: np.ndarray[Any, Any], quality: int) -> bytes:
    """JPEG bytes."""
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def synced_write(picture: np.ndarray[Any, Any], path: Path) -> Callable[[], None]:
    """Writes what both JPEGs are, and waits for the disk."""
    data = encoded(picture, 95) + encoded(picture, 85)

    def write() -> None:
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fdatasync(file.fileno())

    return write


def block_run(picture: np.ndarray[Any, Any]) -> Callable[[str], None]:
    """Runs a new block, with pictures as the engine hands them out."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    import inference.core  # noqa: F401 -- sets the engine up
    import supervision as sv
    from roboflow_workflows.execution_engine.entities.base import (
        ImageParentMetadata,
        WorkflowImageData,
    )

    from vision_event_block.blocks.vision_event import VisionEventBlock

    random = np.random.default_rng(3)
    corners = random.uniform(0, 900, (BOXES, 2))
    predictions = sv.Detections(
        xyxy=np.hstack([corners, corners + 150]),
        confidence=random.uniform(0, 1, BOXES),
        class_id=np.zeros(BOXES, int),
        data={"class_name": np.array(["part"] * BOXES)},
    )
    block = VisionEventBlock(api_key="made-up")

    def run(durability: str) -> None:
        seen = WorkflowImageData(ImageParentMetadata("image"), numpy_image=picture)
        drawn = WorkflowImageData(ImageParentMetadata("image"), numpy_image=picture)
        outputs = block.run(
            input_image=seen,
            output_image=drawn,
            predictions=predictions,
            event_type="custom",
            use_case="bench",
            cooldown_seconds=0,
            durability=durability,
        )
        if outputs["delivery_status"] not in ("stored", "accepted"):
            sys.exit(f"the event was {outputs['delivery_status']}: {outputs['message']}")

    return run


def timed(work: Callable[[], Any], times: int) -> tuple[float, float]:
    """At the pace of the frames; the work that goes on between them counts as theirs."""
    took_ms = []
    for _ in range(times):
        started_s = time.perf_counter()
        work()
        ended_s = time.perf_counter()
        took_ms.append((ended_s - started_s) * 1e3)
        time.sleep(max(0.0, 1 / FRAMES_PER_S - (ended_s - started_s)))
    return statistics.median(took_ms), statistics.quantiles(took_ms, n=100)[98]


if __name__ == "__main__":
    main()

"""How long `run()` holds a workflow: two 1080p pictures, 20 boxes, ten frames a second.

    python benchmarks/run_time.py [--frames 100] [--json FILE]

The API is a stand-in in a process of its own. Next to the two kinds of durability are the costs
that no block can avoid on this machine: the copy of both pictures, their encoding one after the
other, a synced write of a file of that size, and a bare loop that does all of it in the same order
and also sends the events.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import scene
from bare import Bare
from contenders import set_up_host
from rich.console import Console
from rich.table import Table
from stand_in import StandIn

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

FRAMES_PER_S = 10.0
BOXES = 20
SENDERS = 4


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
    with StandIn() as api:
        set_up_host(api.url, folder / "outbox")
        logging.disable(logging.WARNING)
        return _figures(frames, folder, api.url)


def _figures(frames: int, folder: Path, api_url: str) -> dict[str, tuple[float, float]]:
    picture, drawn = scene.frame(), scene.drawn()
    figures = {
        "copy of both pictures": timed(lambda: (picture.copy(), drawn.copy()), frames),
        "encoding of both, in turn": timed(
            lambda: [scene.encoded(picture, 95), scene.encoded(drawn, 85)], frames
        ),
        "synced write of both": timed(synced_write(picture, folder / "write"), frames),
    }
    with Bare(api_url, folder, SENDERS) as bare:
        for durability in ("memory", "disk"):
            bare.record(durability)
            figures[f"a bare loop, {durability}"] = timed(partial(bare.record, durability), frames)
    run = block_run(picture, drawn)
    for durability in ("memory", "disk"):
        run(durability)  # the first one starts threads
        figures[f"run(), durability {durability}"] = timed(partial(run, durability), frames)
    return figures


def synced_write(picture: np.ndarray[Any, Any], path: Path) -> Callable[[], None]:
    """Writes what both JPEGs are, and waits for the disk."""
    data = scene.encoded(picture, 95) + scene.encoded(picture, 85)

    def write() -> None:
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fdatasync(file.fileno())

    return write


def block_run(
    picture: np.ndarray[Any, Any], drawn_on: np.ndarray[Any, Any]
) -> Callable[[str], None]:
    """Runs a new block, with pictures as the engine hands them out."""
    from roboflow_workflows.execution_engine.entities.base import (
        ImageParentMetadata,
        WorkflowImageData,
    )

    from vision_event_block.blocks.vision_event import VisionEventBlock

    predictions = scene.boxes(BOXES)
    block = VisionEventBlock(api_key="made-up")

    def run(durability: str) -> None:
        seen = WorkflowImageData(ImageParentMetadata("image"), numpy_image=picture)
        drawn = WorkflowImageData(ImageParentMetadata("image"), numpy_image=drawn_on)
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
    """Median and 99th percentile at the frame rate, with background work running in between."""
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

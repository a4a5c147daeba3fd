"""How long Track Event holds a pipeline: 1080p, 30 frames a second, 20 objects at a time.

    python benchmarks/track_events.py [--seconds 600] [--json FILE]

Each object crosses the picture in 20 s, comes nearer on the way, and is followed by another one.
The frames come as fast as they are taken, so ten minutes of them pass in one; their times are those
of a camera. Frames on which something begins, improves or ends are reported separately.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import math
import statistics
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import scene
from contenders import set_up_host
from rich.console import Console
from rich.table import Table
from stand_in import StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator

FPS = 30
THINGS = 20
STAY_S = 20
WIDTH, HEIGHT = scene.SIZES["1080p"]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, StandIn() as api:
        set_up_host(api.url, Path(folder) / "outbox")
        logging.disable(logging.WARNING)
        figures = measure(options.seconds)
    table = Table("", "frames", "p50 ms", "p99 ms", title=f"run(), {options.seconds} s of video")
    for name in ("quiet frames", "frames with a change"):
        table.add_row(name, *(f"{figure:,.2f}" for figure in figures[name]))
    Console().print(table)
    Console().print(f"memory after each minute, MB: {figures['memory MB']}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def measure(seconds: int) -> dict[str, Any]:
    """For both kinds of frames: how many there were, their median and 99th percentile."""
    from roboflow_workflows.execution_engine.entities.base import (
        ImageParentMetadata,
        VideoMetadata,
        WorkflowImageData,
    )

    from vision_event_block.blocks.track_event import TrackEventBlock

    block = TrackEventBlock(api_key="made-up")
    picture = scene.frame()
    starts_at = datetime.now(timezone.utc) - timedelta(seconds=seconds)
    quiet_ms, busy_ms, memory_mb = [], [], []
    for number in range(seconds * FPS):
        video = VideoMetadata(
            video_identifier="gate",
            frame_number=number,
            frame_timestamp=starts_at + timedelta(seconds=number / FPS),
            fps=FPS,
            comes_from_video_file=False,
        )
        image = WorkflowImageData(
            ImageParentMetadata("image"), numpy_image=picture, video_metadata=video
        )
        predictions = tracked(number)
        kept_before = block._pictures.kept_count  # noqa: SLF001 - what else says it?
        started_s = time.perf_counter()
        outputs = block.run(
            input_image=image, predictions=predictions, event_type="custom", use_case="bench"
        )
        took_ms = (time.perf_counter() - started_s) * 1e3
        is_quiet = not outputs["events"] and block._pictures.kept_count == kept_before  # noqa: SLF001
        (quiet_ms if is_quiet else busy_ms).append(took_ms)
        if number % (60 * FPS) == 60 * FPS - 1:
            gc.collect()
            memory_mb.append(round(resident_mb()))
    block.close()
    return {
        "quiet frames": figures_of(quiet_ms),
        "frames with a change": figures_of(busy_ms),
        "memory MB": memory_mb,
    }


def tracked(number: int) -> Any:
    """What a tracker says about a frame."""
    import numpy as np
    import supervision as sv

    rows = list(_things(number / FPS))
    return sv.Detections(
        xyxy=np.array([box for _, box in rows]),
        confidence=np.array([0.5 + 0.4 * math.sin(number / 7 + each) ** 2 for each, _ in rows]),
        class_id=np.zeros(len(rows), int),
        tracker_id=np.array([each for each, _ in rows]),
        data={"class_name": np.array(["part"] * len(rows))},
    )


def _things(at_s: float) -> Iterator[tuple[int, list[float]]]:
    for lane in range(THINGS):
        crossing, since_s = divmod(at_s + lane, STAY_S)
        if since_s > STAY_S - 3:
            continue  # until the next one comes
        size = 60 + 40 * math.sin(math.pi * since_s / STAY_S)
        left = 40 + since_s / STAY_S * (WIDTH - 200)
        top = 30 + lane * 48
        yield int(crossing) * THINGS + lane + 1, [left, top, left + size, top + size]


def figures_of(took_ms: list[float]) -> tuple[int, float, float]:
    """How many there are, the median and the 99th percentile."""
    return len(took_ms), statistics.median(took_ms), statistics.quantiles(took_ms, n=100)[98]


def resident_mb() -> float:
    """How much of this process is in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


if __name__ == "__main__":
    main()

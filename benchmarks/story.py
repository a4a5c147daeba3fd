"""What a story costs: `run()` on 1080p frames, thirty for each second of video.

    python benchmarks/story.py [--seconds 60] [--json FILE]

The trigger is off, so that nothing is recorded: what is left is the reading of the fields and the
ring. A frame of which a picture is kept costs a resize and a JPEG, the others next to
nothing. Sizes are those of the ring after that many seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scene
from contenders import set_up_host
from rich.console import Console
from rich.table import Table

from vision_event_block.story.ring import StoryRing

if TYPE_CHECKING:
    from collections.abc import Callable

FPS = 30
#: Of the ring whose size is printed.
RING_S = 10.0


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    picture = scene.frame()
    noise = np.random.default_rng(3).integers(0, 256, picture.shape, dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        set_up_host("http://127.0.0.1:9", Path(folder) / "outbox")
        times = {
            name: times_of(block_run(picture, **fields), options.seconds * FPS)
            for name, fields in (
                ("run(), no story", {}),
                ("run(), 10 s before and after", {"before_seconds": 10, "after_seconds": 10}),
            )
        }
    ring = StoryRing(seconds=RING_S)
    times["ring alone"] = times_of(
        lambda number: ring.add(lambda: picture, number / FPS), options.seconds * FPS
    )
    sizes = {
        f"{RING_S:g} s of {name}": ring_bytes(pixels)
        for name, pixels in (("the benchmarks' scene", picture), ("noise", noise))
    }
    table = Table("", "p50 ms", "p99 ms", "kept, p50 ms", title=f"{options.seconds} s of 1080p")
    for name, row in times.items():
        table.add_row(name, *(f"{each:.4f}" for each in row))
    Console().print(table)
    for name, size_bytes in sizes.items():
        print(f"{name}: {size_bytes / 1e6:.2f} MB")
    if options.json:
        options.json.write_text(json.dumps({"ms": times, "bytes": sizes}, indent=2) + "\n")


def block_run(picture: np.ndarray[Any, Any], **fields: Any) -> Callable[[int], None]:
    """Runs a new block on the frames of a video file, as the engine hands them out."""
    from roboflow_workflows.execution_engine.entities.base import (
        ImageParentMetadata,
        VideoMetadata,
        WorkflowImageData,
    )

    from vision_event_block.blocks.vision_event import VisionEventBlock

    block = VisionEventBlock(api_key="made-up")
    now = datetime.now()  # noqa: DTZ005 - as the host does

    def run(number: int) -> None:
        metadata = VideoMetadata(
            video_identifier="0",
            frame_number=number,
            frame_timestamp=now,
            fps=FPS,
            comes_from_video_file=True,
        )
        image = WorkflowImageData(
            ImageParentMetadata("image"), numpy_image=picture, video_metadata=metadata
        )
        started_s = time.perf_counter()
        block.run(input_image=image, event_type="custom", use_case="bench", trigger=False, **fields)
        run.took_s = time.perf_counter() - started_s  # type: ignore[attr-defined]

    return run


def times_of(work: Callable[[int], Any], frames: int) -> tuple[float, float, float]:
    """Median and 99th percentile of all frames, and the median of those that are kept."""
    took_ms, kept_ms = [], []
    for number in range(frames):
        started_s = time.perf_counter()
        work(number)
        took_s = getattr(work, "took_s", time.perf_counter() - started_s)
        took_ms.append(took_s * 1e3)
        if number % (FPS // 2) == 0:
            kept_ms.append(took_s * 1e3)
    p99_ms = statistics.quantiles(took_ms, n=100)[98]
    return statistics.median(took_ms), p99_ms, statistics.median(kept_ms)


def ring_bytes(pixels: np.ndarray[Any, Any]) -> int:
    """What a full ring of this picture takes."""
    ring = StoryRing(seconds=RING_S)
    for number in range(int(RING_S) * 4):
        ring.add(lambda: pixels, number / 2)
    return ring.size_bytes


if __name__ == "__main__":
    main()

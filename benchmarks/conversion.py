"""How long predictions take to become annotations, here and in the official block.

    python benchmarks/conversion.py [--runs 3] [--seconds 0.5] [--json FILE] [--only WORD]

Both convert the same `sv.Detections`, as the host's models give them, in one process and in turn;
each run makes new predictions. Ours also places them on the picture that the event shows and
keeps all pieces of a mask, which the official block does not. A run during which the machine was
busy with something else is repeated; if that never stops, there is no ratio.
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

import numpy as np
import shapes
from machine import QUIET_BELOW, Watch
from rich.console import Console
from rich.table import Table

from vision_event_block.convert.annotations import annotate
from vision_event_block.convert.placement import PictureFrame

if TYPE_CHECKING:
    from collections.abc import Callable

    import supervision as sv

    Make = Callable[[np.random.Generator, int], sv.Detections]

PICTURE = PictureFrame(
    width_px=shapes.WIDTH_PX, height_px=shapes.HEIGHT_PX, picture_id="image", root_id="image"
)
#: Name, factory, how many.
KINDS: list[tuple[str, Make, int]] = [
    *(("boxes", shapes.boxes, rows) for rows in (1, 20, 300)),
    ("polygons, even", shapes.even_polygons, 300),
    ("polygons, ragged", shapes.ragged_polygons, 300),
    (f"rows of {shapes.KEY_POINTS} key points", shapes.skeletons, 300),
    *(("masks, smooth", shapes.smooth_masks, rows) for rows in (1, 20, 300)),
    *(("masks, irregular", shapes.irregular_masks, rows) for rows in (1, 20, 300)),
    *(("masks, many pieces", shapes.pieced_masks, rows) for rows in (1, 20, 300)),
]
MIN_TURNS, MAX_TURNS = 3, 3000
TRIES = 3


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5, help="for each run of each kind")
    parser.add_argument("--only", default="", help="kinds whose name holds this word")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    theirs = official_conversion()
    figures: dict[str, dict[str, Any]] = {}
    table = Table("", "ours µs", "official µs", "ours / official", "least to most")
    table.title = f"median of {options.runs} runs, each with new predictions"
    for name, make, rows in KINDS:
        if options.only not in name:
            continue
        runs, others = measured(make, rows, theirs, runs=options.runs, seconds=options.seconds)
        title = f"{rows} {name}"
        if others >= QUIET_BELOW:
            figures[title] = {"processors_busy_with_something_else": round(others, 2)}
            table.add_row(title, "", "", "none, busy", "")
            continue
        ratios = sorted(ours_us / theirs_us for ours_us, theirs_us in runs)
        ours_us, theirs_us = (statistics.median(times_us) for times_us in zip(*runs, strict=True))
        ratio = statistics.median(ratios)
        figures[title] = {"ours_us": ours_us, "official_us": theirs_us, "ratios": ratios}
        spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        table.add_row(title, f"{ours_us:,.1f}", f"{theirs_us:,.1f}", f"{ratio:.2f}x", spread)
    Console().print(table)
    busy = [each for each in figures.values() if "ratios" not in each]
    if busy:
        most = max(each["processors_busy_with_something_else"] for each in busy)
        print(
            f"No ratio for {len(busy)} of {len(figures)}: the machine was busy otherwise, "
            f"with up to {most:.1f} processors at work. Run it with nothing else running."
        )
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


def measured(
    make: Make, rows: int, theirs: Callable[[Any], Any], *, runs: int, seconds: float
) -> tuple[list[tuple[float, float]], float]:
    """Ours and theirs of each run in microseconds, and how many processors others used during it.

    A run that was disturbed is repeated a few times; if it always is, there are no more runs.
    """
    times_us, others = [], 0.0
    for seed in range(runs):
        prediction = make(np.random.default_rng(seed), rows)
        for _ in range(TRIES):
            watch = Watch()
            both_us = by_turns(
                lambda: annotate(prediction, picture=PICTURE),  # noqa: B023 - called at once
                lambda: theirs(prediction),  # noqa: B023 - as above
                seconds,
            )
            others = watch.others()
            if others < QUIET_BELOW:
                break
        else:
            return times_us, others
        times_us.append(both_us)
    return times_us, others


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


if __name__ == "__main__":
    main()

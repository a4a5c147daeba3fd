"""Events a second against senders, delay, picture size and detections, as small plots.

    python benchmarks/scaling.py [--events 60] [--json FILE] [--svg FILE]

One thing is varied at a time; the others stay at 8 senders, 50 ms, 1080p and 20 boxes. Each line
runs in a process of its own, with `durability: disk`, as fast as the workflow can.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import tempfile
from pathlib import Path

import scene
from contenders import drive, ours, running, set_up_host
from rich.console import Console
from rich.table import Table
from stand_in import StandIn

BASE = {"senders": 8, "delay_ms": 50, "size": "1080p", "boxes": 20}
VARIED = {
    "senders": [1, 2, 4, 8, 16],
    "delay_ms": [0, 20, 50, 200],
    "size": ["VGA", "1080p", "4K"],
    "boxes": [0, 10, 100, 1000],
}
TITLES = {
    "senders": "senders",
    "delay_ms": "delay of each request, ms",
    "size": "picture size",
    "boxes": "detections",
}


def main() -> None:
    """Measures, prints and draws."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=60)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(measure(json.loads(options.one), options.events), flush=True)
        return
    figures = {
        name: {str(value): _in_a_process({**BASE, name: value}, options.events) for value in values}
        for name, values in VARIED.items()
    }
    _print(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    if options.svg:
        _draw(figures, options.svg)


def measure(setting: dict[str, int | str], events: int) -> float:
    """Events a second with these settings."""
    size, boxes = str(setting["size"]), int(setting["boxes"])
    with tempfile.TemporaryDirectory() as folder, StandIn() as api:
        senders = str(setting["senders"])
        set_up_host(api.url, Path(folder) / "outbox", VISION_EVENT_SENDERS=senders)
        logging.disable(logging.WARNING)
        api.behave(delay_s=int(setting["delay_ms"]) / 1e3)
        pictures = scene.frame(size), scene.drawn(size)
        predictions = scene.prediction(boxes, size)
        with running(ours("disk")) as workflow:
            workflow.run(*pictures, predictions)
            api.wait(1, 30)
            return drive(workflow, api, pictures, predictions, events).per_s


def _in_a_process(setting: dict[str, int | str], events: int) -> float:
    command = [sys.executable, __file__, "--events", str(events), "--one", json.dumps(setting)]
    return float(subprocess.check_output(command, text=True).split()[-1])


def _print(figures: dict[str, dict[str, float]]) -> None:
    table = Table("varied", "value", "events/s")
    for name, by_value in figures.items():
        for value, per_s in by_value.items():
            table.add_row(TITLES[name], value, f"{per_s:.1f}")
    Console().print(table)


def _draw(figures: dict[str, dict[str, float]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "scaling"
    figure, panels = plt.subplots(1, len(figures), figsize=(11, 2.6), sharey=True)
    for panel, (name, by_value) in zip(panels, figures.items(), strict=True):
        panel.plot(list(by_value), list(by_value.values()), marker="o", color="#6d3be0")
        panel.set_xlabel(TITLES[name])
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("events a second")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()

"""What an event costs the medium: bytes written to disk for each, two 1080p pictures a second.

    python benchmarks/wear.py [--seconds 600] [--durability memory]

The kernel counts a process's writes (`write_bytes` in /proc/self/io) when pages are dirtied, and
subtracts what is removed before it was written (`cancelled_write_bytes`). So the figure is taken
once the last event is delivered and nothing is left that could still be subtracted.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import scene
from contenders import set_up_host
from rich.console import Console
from rich.table import Table
from stand_in import StandIn

EVENTS_PER_S = 1.0
#: Longer than any spool file is in use, and than the housekeeping's interval.
SETTLE_S = 22.0


def main() -> None:
    """Measures each durability in a process of its own, and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--durability", action="append", choices=("disk", "memory"))
    parser.add_argument("--one", choices=("disk", "memory"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.seconds)))
        return
    table = Table("durability", "events", "bytes written for each", title="Wear")
    for durability in options.durability or ("disk", "memory"):
        command = [sys.executable, __file__, "--one", durability, "--seconds", str(options.seconds)]
        found = subprocess.run(command, check=True, capture_output=True, text=True)
        events, written_bytes = json.loads(found.stdout.splitlines()[-1])
        table.add_row(durability, str(events), f"{written_bytes / events:,.0f}")
    Console().print(table)


def measure(durability: str, seconds: float) -> tuple[int, int]:
    """How many events were recorded, and how many bytes were written for all of them."""
    from run_time import block_run

    with StandIn() as api, tempfile.TemporaryDirectory() as folder:
        set_up_host(api.url, Path(folder) / "outbox")
        logging.disable(logging.WARNING)
        run = block_run(scene.frame(), scene.drawn())
        run(durability)  # the first one makes the outbox
        time.sleep(SETTLE_S)
        before_bytes = written()
        events = int(seconds * EVENTS_PER_S)
        for _ in range(events):
            ends_at_s = time.monotonic() + 1 / EVENTS_PER_S
            run(durability)
            time.sleep(max(0.0, ends_at_s - time.monotonic()))
        api.wait(events + 1, 60.0)
        time.sleep(SETTLE_S)
        return events, written() - before_bytes


def written() -> int:
    """Bytes written for this process, without those removed before they were written."""
    lines = Path(f"/proc/{os.getpid()}/io").read_text().splitlines()
    figures = dict(line.split(": ") for line in lines)
    return int(figures["write_bytes"]) - int(figures["cancelled_write_bytes"])


if __name__ == "__main__":
    main()

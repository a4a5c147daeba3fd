"""What a process needs while the API takes requests and answers none."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.judge import read_logs
from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.snapshot import take_snapshot

EVENTS = 300
PER_S = 30


@pytest.mark.parametrize("waits", [True, False], ids=["waits", "in the background"])
def test_memory_threads_and_files_stay_few_while_the_api_hangs(nursery, api, task, waits):
    api.hang(60)
    task = replace(
        task,
        events=EVENTS,
        every_s=1 / PER_S,
        side_px=480,  # 1.4 MB an event as pixels, 0.4 MB as JPEG
        waits=waits,
        read_timeout_s=4.0,
        close_timeout_s=0.5,
    )
    worker = nursery.start(task)
    before_bytes, most_bytes, most_threads = memory_bytes(worker), 0, 0
    # On a busy machine the worker may do the rest and end between two looks.
    while len(read_logs(task.logs).hashes) < EVENTS and (held_bytes := memory_bytes(worker)):
        most_bytes = max(most_bytes, held_bytes)
        most_threads = max(most_threads, len(list(Path(f"/proc/{worker}/task").iterdir())))
        time.sleep(0.1)
    assert nursery.wait(worker) == 0

    growth_mb = (most_bytes - before_bytes) / 1e6
    [(descriptors_before, descriptors_after)] = read_logs(task.logs).descriptors
    figures = (
        f"{growth_mb:.0f} MB, {most_threads} threads, "
        f"{descriptors_before} descriptors, then {descriptors_after}"
    )
    print(figures)  # noqa: T201 -- seen with -s
    assert len(take_snapshot(Path(task.outbox), RealDisk()).pending) == EVENTS
    assert growth_mb < 100
    assert most_threads <= 16
    assert descriptors_after == descriptors_before


def memory_bytes(pid):
    """What the process holds in memory, without what its parent holds too; 0 once it has ended."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0

"""A process that is killed at each step of storing, sending and taking over.

strace ends the process at the n-th call of one kind that one of its threads makes; the steps are
those of a run that nobody disturbs. The kernel keeps what a killed process has given it, so this
says nothing of power cuts.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import pytest

from tests.faults import worker
from tests.faults.judge import inspect, recover
from tests.tools import missing

pytestmark = [
    pytest.mark.timeout(3600),
]

POINTS = 28


#: Those that change files; which of them Python uses differs between processors. An entry is one
#: `writev`.
CALLS = (
    "write",
    "writev",
    "fdatasync",
    "fsync",
    "rename",
    "renameat",
    "unlink",
    "unlinkat",
    "mkdir",
)


@pytest.fixture(autouse=True)
def _strace():
    if not shutil.which("strace"):
        missing("strace")


def test_any_step_of_storing_sending_and_taking_over_may_be_the_last(
    nursery, api, task, tmp_path, soak
):
    task = replace(task, events=4, picture_bytes=2_000, threads=2, ends="drain")
    trace = tmp_path / "trace"
    assert run(orphaned(nursery, api, task, "undisturbed"), "-o", trace) == 0
    steps = steps_in(trace.read_text())
    writes = [step for step in steps if step[0] == "write"]
    others = [step for step in steps if step[0] != "write"]
    sample = writes[:: 1 if soak > 1 else -(-len(writes) // max(1, POINTS - len(others)))]
    points = sample + others
    tasks = [orphaned(nursery, api, task, f"{call}-{number}") for call, number in points]
    with ThreadPoolExecutor(2) as pool:
        statuses = pool.map(killed_at, tasks, points)
    killed = Counter(
        call for (call, _), status in zip(points, statuses, strict=True) if status == -9
    )

    for disturbed in tasks:
        recover(nursery, api, disturbed)
    verdict = inspect(api, task)

    print(f"{len(points)} of {len(steps)} steps, killed at {dict(killed)}, {verdict}")  # noqa: T201 -- seen with -s
    # Threads share the work in another way each time, so that some run has no such step.
    assert killed.total() >= 0.8 * len(points)
    assert {"write", "writev", "fdatasync", "fsync"} < killed.keys()
    assert verdict.replayed > 0


def orphaned(nursery, api, task, name):
    """The task in an outbox of its own, where a killed process has left three events."""
    task = replace(task, outbox=f"{task.outbox}-{name}")
    api.refuse()
    assert nursery.wait(nursery.start(replace(task, events=3, ends="vanish"))) == -9
    api.accept()
    return task


def killed_at(task, point):
    call, number = point
    return run(task, "-o", os.devnull, "-e", f"inject={call}:signal=KILL:when={number}")


def run(task, *options):
    """The exit status of a worker under strace."""
    calls = ",".join(f"?{call}" for call in CALLS)
    command = ["strace", "-f", "-qq", "-e", f"trace={calls}", *options]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    command += [sys.executable, worker.__file__, json.dumps(asdict(task))]
    return subprocess.run(
        command, env=environment, capture_output=True, timeout=60, check=False
    ).returncode


def steps_in(trace):
    """Every call with every number that some thread came to."""
    counts = Counter(re.findall(r"^(\d+) +(\w+)\(", trace, re.MULTILINE))
    most = Counter()
    for (_, call), count in counts.items():
        most[call] = max(most[call], count)
    return [(call, number) for call in CALLS for number in range(1, most[call] + 1)]

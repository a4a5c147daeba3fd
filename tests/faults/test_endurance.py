"""Ten minutes of a busy line with an API that fails all the time: nothing is lost, nothing grows.

For `make soak`. TEST_ENDURANCE_S makes it another time; the figures are printed with
`pytest -s`.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.host_environment import host_environment
from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.snapshot import take_snapshot
from vision_event_block.testing.misbehaviour import html

PER_S = 10
SECONDS = float(os.environ.get("TEST_ENDURANCE_S", "600"))
EVENTS = int(SECONDS * PER_S)
READ_TIMEOUT_S = 5.0
SLOW_S = 0.2

pytestmark = [
    pytest.mark.timeout(2 * SECONDS + 300),
    pytest.mark.skipif(
        float(os.environ.get("TEST_SOAK", "1")) <= 1, reason="make soak runs ten minutes"
    ),
]


@contextmanager
def troubled(api):
    """Of all requests 20 % are answered 503 and 5 % cut, 5 % are slow, and some worse than that."""
    healed = threading.Event()
    chance = random.Random(0)
    worse = {
        0.05: lambda: api.hang(chance.uniform(SLOW_S, 2.0), times=1),
        0.01: lambda: api.hang(2 * READ_TIMEOUT_S, times=1),
        0.011: lambda: api.misbehave(html(403), times=1),
    }

    def harm():
        seen = 0
        while not healed.wait(0.02):
            came, seen = len(api.requests) - seen, len(api.requests)
            for share, happens in worse.items():
                for _ in range(came):
                    if chance.random() < share:
                        happens()

    api.flaky(unavailable=0.2, cut=0.05, seed=1)
    thread = threading.Thread(target=harm)
    thread.start()
    try:
        yield
    finally:
        healed.set()
        thread.join()
        api.heal()


def test_ten_minutes_of_a_flaky_api_lose_nothing_and_grow_nothing(api, tmp_path, say):
    environment = host_environment(
        VISION_EVENT_API_URL=api.url,
        VISION_EVENT_OUTBOX=str(tmp_path / "outbox"),
        VISION_EVENT_READ_TIMEOUT_S=str(READ_TIMEOUT_S),
        VISION_EVENT_MAX_BACKOFF_S="5",
    )
    command = [sys.executable, "-m", "tests.faults.endurance_child", str(EVENTS), str(PER_S)]
    with (
        troubled(api),
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(
            command,
            env=environment,
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            lines = [json.loads(line) for line in process.stdout]
            assert process.wait(60) == 0, (tmp_path / "log").read_text()[-2000:]
        finally:
            process.kill()
    *frames, end = lines

    assert len(frames) == EVENTS
    tell(say, api, frames, end)
    check_events(api, frames)
    check_counts(tmp_path / "outbox")
    check_growth(frames)


def check_events(api, frames):
    """Each event is there once, as itself, with two pictures of its own."""
    assert {frame["status"] for frame in frames} <= {"stored", "accepted"}
    expected = {frame["event_id"]: str(number) for number, frame in enumerate(frames)}
    assert len(expected) == EVENTS
    found = {event_id: event["eventData"]["value"] for event_id, event in api.events.items()}
    assert found == expected
    hashes = [
        api.uploads[image[key]].sha256
        for event in api.events.values()
        for image in event["images"]
        for key in ("sourceId", "inputSourceId")
    ]
    assert len(set(hashes)) == len(hashes) == 2 * EVENTS


def check_counts(folder):
    found = take_snapshot(folder, RealDisk())
    counted = (found.delivered, len(found.pending), len(found.dead), len(found.corrupt))
    assert counted == (EVENTS, 0, 0, 0)
    assert (sum(found.dropped.values()), sum(found.shed.values()), found.unaccounted) == (0, 0, 0)


def check_growth(frames):
    """The last third needs no more than the second."""
    second_last = thirds(frames)
    for name, spare in (("memory_mib", 16), ("threads", 2), ("descriptors", 4)):
        before, after = (statistics.median(frame[name] for frame in third) for third in second_last)
        assert after <= before * 1.02 + spare, f"{name}: {before:.0f}, then {after:.0f}"


def thirds(frames):
    """The second and the last."""
    third = len(frames) // 3
    return frames[third : 2 * third], frames[2 * third :]


def tell(say, api, frames, end):
    """The figures."""
    statuses = [request.status for request in api.requests]
    waits_s = [request.ended_s - request.started_s for request in api.requests]
    say(
        f"{EVENTS} events in {SECONDS + frames[-1]['late_s']:.0f} s, {len(api.events)} arrived, "
        f"{len(api.arrivals) - len(api.events)} of them again; "
        f"{len(statuses)} requests, {statuses.count(503)} times 503, {statuses.count(None)} cut, "
        f"{sum(request.misbehaved is not None for request in api.requests)} HTML, "
        f"{sum(wait_s > SLOW_S for wait_s in waits_s)} slow, "
        f"{sum(wait_s > READ_TIMEOUT_S for wait_s in waits_s)} of them given up; "
        f"empty {end['drained_s']:.1f} s after the last event"
    )
    took = sorted(frame["took_s"] for frame in frames)
    say(
        f"a run took {1000 * statistics.median(took):.0f} ms, at most {1000 * took[-1]:.0f} ms; "
        f"the latest began {max(frame['late_s'] for frame in frames):.2f} s late; "
        f"{sum(upload.size_bytes for upload in api.uploads.values()) / len(api.uploads) / 1000:.0f}"
        " kB a picture"
    )
    for name in ("memory_mib", "threads", "descriptors"):
        figures = [
            f"{statistics.median(frame[name] for frame in third):.0f} "
            f"(at most {max(frame[name] for frame in third):.0f})"
            for third in thirds(frames)
        ]
        say(f"{name}: {figures[0]} in the second third, {figures[1]} in the last")

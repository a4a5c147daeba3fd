"""Processes that are killed in the middle of whatever they do."""

from __future__ import annotations

import hashlib
import random
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.judge import judge, read_logs, recover
from tests.faults.worker import KEY, event_with, snapshot_of
from tests.paths import paths_in
from tests.waiting import eventually
from vision_event_block.delivery.client import Secret
from vision_event_block.delivery.destinations import API
from vision_event_block.events.bundle import bundle_of
from vision_event_block.outbox import clock
from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.entry import Address, DeliveryMetadata
from vision_event_block.outbox.outbox import Outbox
from vision_event_block.outbox.quota import OutboxLimits
from vision_event_block.outbox.spool import spooled

pytestmark = pytest.mark.timeout(3600)

CYCLES = 150
PENDING = 3_000


class UnsyncedDisk(RealDisk):
    """Fast, for what a test prepares: no power is cut there."""

    def write(self, path, chunks, *, sync):
        super().write(path, chunks, sync=False)

    def sync_folder(self, folder):
        pass


def test_no_event_is_lost_by_kills_while_events_are_stored_and_sent(nursery, api, task, soak):
    chance = random.Random(20)
    api.delay_s = 0.005
    task = replace(task, every_s=0.002)
    for cycle in range(int(CYCLES * soak)):
        # In every third life nothing can be sent, so that the next one finds more than it can send.
        if cycle % 3 == 0:
            api.refuse()
        worker = nursery.start(task)
        live(task, worker, chance)
        nursery.kill(worker)
        api.accept()

    verdict = judge(nursery, api, task)

    assert verdict.stored >= 5 * CYCLES * soak
    assert verdict.replayed > 0
    print(verdict)  # noqa: T201 -- seen with -s


def test_no_event_in_memory_is_lost_by_kills(nursery, api, task, soak):
    chance = random.Random(21)
    task = replace(task, every_s=0.002, waits=False, side_px=160)
    left = set()
    for cycle in range(int(CYCLES * soak)):
        if cycle % 3 == 0:
            api.refuse()
        worker = nursery.start(task)
        live(task, worker, chance)
        nursery.kill(worker)
        left |= frames_left(Path(task.outbox))
        api.accept()

    recover(nursery, api, task)

    taken = read_logs(task.logs).kept
    print(f"{len(taken)} events taken, {len(left)} in memory at a kill")  # noqa: T201 -- seen with -s
    assert len(taken) >= 5 * CYCLES * soak
    assert not taken - api.events.keys()
    assert len(left) > CYCLES * soak / 3, "no kill came between the copy and the disk"
    for event_id in sorted(taken)[:: max(1, len(taken) // 300)]:
        [image] = api.events[event_id]["images"]
        for which, key in (("output", "sourceId"), ("input", "inputSourceId")):
            expected = snapshot_of(event_id, which, task.side_px).encode().content
            assert api.uploads[image[key]].sha256 == hashlib.sha256(expected).hexdigest()
    assert not frames_left(Path(task.outbox))


def live(task, worker, chance):
    """Until it has taken up to fifteen events, and then some thousandths of a second.

    By what it has done, so that its lives are as long on a busy machine as on any.
    """
    [log] = Path(task.logs).glob(f"{worker}-*.log")
    lines = chance.randint(1, 30)
    eventually(lambda: log.read_bytes().count(b"\n") >= lines)
    time.sleep(chance.uniform(0.0, 0.01))


def frames_left(outbox):
    """The files of spools that hold an event."""
    found = set()
    for path in paths_in(outbox, "slots/*/spool-*"):
        with suppress(FileNotFoundError), path.open("rb") as file:
            if spooled(file.read(2 * 4096)) is not None:
                found.add(path)
    return found


def test_a_restarted_process_sends_at_once_although_much_waits(nursery, api, task):
    address = Address(API, api.url, Secret(KEY).identity())
    outbox = Outbox(Path(task.outbox), OutboxLimits(min_free_bytes=0), disk=UnsyncedDisk())
    old = set()
    for _ in range(PENDING):
        event, _ = event_with(replace(task, picture_bytes=200))
        bundle = bundle_of(event)
        outbox.store(
            event.event_id,
            bundle.payload,
            bundle.pictures,
            DeliveryMetadata(address, clock.reading()),
        )
        old.add(event.event_id)
    outbox.close()

    worker = nursery.start(replace(task, every_s=0.05))
    api.wait_for_events(PENDING // 10, 60)
    nursery.kill(worker)

    first = {event_id for event_id, _ in api.arrivals[: PENDING // 10]}
    new = read_logs(task.logs).hashes.keys()
    print(f"of the first {len(first)} events, {len(first & new)} are new")  # noqa: T201 -- seen with -s
    assert first & new
    assert first & old

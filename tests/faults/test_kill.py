"""Processes that are killed in the middle of whatever they do."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.judge import judge, read_logs
from tests.faults.worker import KEY, event_with
from vision_event_block.delivery.client import Secret
from vision_event_block.delivery.destinations import API
from vision_event_block.events.bundle import bundle_of
from vision_event_block.outbox import clock
from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.entry import Address, DeliveryMetadata
from vision_event_block.outbox.outbox import Outbox
from vision_event_block.outbox.quota import OutboxLimits

pytestmark = [pytest.mark.timeout(3600), pytest.mark.xdist_group("fault_kill")]

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
        time.sleep(chance.uniform(0.05, 0.4))
        nursery.kill(worker)
        api.accept()

    verdict = judge(nursery, api, task)

    assert verdict.stored >= 5 * CYCLES * soak
    assert verdict.replayed > 0
    print(verdict)  # noqa: T201 -- seen with -s


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

    started_s = time.monotonic()
    worker = nursery.start(replace(task, every_s=0.05))
    api.wait_for_events(20)
    nursery.kill(worker)

    arrivals = list(api.arrivals)
    new = read_logs(task.logs).hashes.keys()
    first_new_s = min(at_s for event_id, at_s in arrivals if event_id in new) - started_s
    first_old_s = min(at_s for event_id, at_s in arrivals if event_id in old) - started_s
    print(f"first new event after {first_new_s:.2f} s, first old one after {first_old_s:.2f} s")  # noqa: T201 -- seen with -s
    assert first_new_s < 2
    assert first_old_s < 2

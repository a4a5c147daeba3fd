"""What a process does for its outbox now and then."""

from __future__ import annotations

import gc
import json
import weakref

import pytest

from tests.waiting import eventually
from vision_event_block.delivery.client import Secret, VisionEventsClient
from vision_event_block.delivery.courier import Courier, CourierLimits
from vision_event_block.delivery.destinations import ApiDestination
from vision_event_block.delivery.queued_event import DeliveryHandle
from vision_event_block.delivery.upkeep import COMPARE_EVERY_S, STATUS_EVERY_S, Upkeep
from vision_event_block.outbox import clock
from vision_event_block.outbox.entry import DeliveryMetadata
from vision_event_block.outbox.outbox import Outbox
from vision_event_block.outbox.quota import OutboxLimits

KEY = Secret("made-up-key")
PAYLOAD = {
    "eventType": "custom",
    "useCaseId": "dock",
    "timestamp": "2026-05-04T12:00:00.000Z",
    "images": [],
}


@pytest.fixture
def now():
    return [1000.0]


@pytest.fixture
def destination(api):
    return ApiDestination(VisionEventsClient(base_url=api.url, api_key=KEY), api.url, KEY)


@pytest.fixture
def courier(destination, tmp_path):
    made = Courier(Outbox(tmp_path, OutboxLimits()), CourierLimits(max_backoff_s=0.05))
    made.register(destination)
    yield made
    made.close(0.0)
    made.outbox.close()


@pytest.fixture
def upkeep(courier, now):
    return Upkeep(courier, clock_s=lambda: now[0])


@pytest.fixture
def deliver(destination, courier):
    """Has an event delivered, or at least tried."""

    def deliver_(event_id, *, works=True):
        metadata = DeliveryMetadata(address=destination.address, taken=clock.reading())
        payload = {**PAYLOAD, "eventId": event_id}
        courier.submit(courier.outbox.store(event_id, payload, {}, metadata))
        eventually(lambda: courier.states()[0].state.value == ("open" if works else "down"))
        if works:
            eventually(lambda: not courier.pending)

    return deliver_


def written(folder):
    """The file, which is another one each time that it is written, and what it says."""
    [path] = folder.glob("slots/*/status.json")
    return path.stat().st_ino, json.loads(path.read_bytes())


def test_one_more_delivery_is_no_news_that_is_worth_a_write(upkeep, deliver, now, tmp_path):
    deliver("one")
    upkeep.write_status(at_once=False)
    before = written(tmp_path)

    deliver("two")
    now[0] += STATUS_EVERY_S - 0.1
    upkeep.write_status(at_once=False)
    assert written(tmp_path) == before

    now[0] += 0.2
    upkeep.write_status(at_once=False)
    [file, status], [file_before, status_before] = written(tmp_path), before
    assert file != file_before
    [row], [row_before] = status["destinations"], status_before["destinations"]
    assert row["last_success_s"] > row_before["last_success_s"]


def test_a_link_that_fails_is_told_at_once(upkeep, deliver, api, tmp_path):
    deliver("one")
    upkeep.write_status(at_once=False)
    api.fail(503)

    deliver("two", works=False)
    upkeep.write_status(at_once=False)

    [row] = written(tmp_path)[1]["destinations"]
    assert (row["state"], row["pending"]) == ("down", 1)


def test_at_the_end_the_last_delivery_is_told_too(upkeep, deliver, tmp_path):
    deliver("one")
    upkeep.write_status(at_once=False)
    before = written(tmp_path)

    deliver("two")
    upkeep.write_status()

    assert written(tmp_path) != before


@pytest.mark.parametrize("has_key", [True, False], ids=["down", "no key"])
def test_what_exceeds_the_age_limit_in_an_outage_is_in_no_queue_any_more(
    has_key, destination, api, now, tmp_path
):
    api.fail(503, retry_after="3600")  # so nothing is tried, and in a worker's hands, meanwhile
    passed_s, start = [0.0], clock.reading()
    outbox = Outbox(
        tmp_path,
        OutboxLimits(min_free_bytes=0, max_age_s=60.0),
        now=lambda: start.wall_s + passed_s[0],
        uptime=lambda: start.uptime_s + passed_s[0],
    )
    courier = Courier(outbox)
    if has_key:
        courier.register(destination)
    upkeep = Upkeep(courier, clock_s=lambda: now[0])

    def submit(number):
        metadata = DeliveryMetadata(address=destination.address, taken=clock.reading())
        event_id = f"event-{number}"
        entry = outbox.store(event_id, {**PAYLOAD, "eventId": event_id}, {}, metadata)
        handle = DeliveryHandle()
        courier.submit(entry, handle=handle)
        return weakref.ref(handle)

    try:
        handles = [submit(0)]
        if has_key:
            eventually(lambda: courier.states()[0].state.value == "down")
        handles += [submit(number) for number in range(1, 200)]
        upkeep.compare()
        assert courier.pending == 200

        passed_s[0] = 3600.0
        outbox.do_housekeeping()
        now[0] += COMPARE_EVERY_S
        upkeep.compare()

        assert (len(outbox.entries()), courier.pending) == (0, 0)
        assert [row.pending for row in courier.states()] == ([0] if has_key else [])
        gc.collect()
        assert sum(handle() is not None for handle in handles) < 100  # the memory is free
    finally:
        courier.close(0.0)
        outbox.close()

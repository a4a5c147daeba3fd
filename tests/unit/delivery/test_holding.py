"""With a link that works an event is sent from memory; whatever else happens, it is on disk."""

from __future__ import annotations

import gc
import os
import signal
import threading
import weakref
from dataclasses import replace
from datetime import datetime, timezone

import numpy as np
import pytest

from tests.paths import paths_in
from tests.waiting import eventually
from vision_event_block.delivery import encoder
from vision_event_block.delivery.client import Secret, VisionEventsClient
from vision_event_block.delivery.courier import CourierLimits
from vision_event_block.delivery.destinations import ApiDestination
from vision_event_block.delivery.dispatch import Dispatch, DispatchLimits
from vision_event_block.events.event import EventImage, VisionEvent
from vision_event_block.events.images import Picture, Snapshot
from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.snapshot import take_snapshot

KEY = Secret("made-up-key")
PIXELS = np.random.default_rng(1).integers(0, 256, (120, 160, 3), np.uint8)


def event():
    image = EventImage(label="workflow", input=Snapshot(pixels=PIXELS, quality=90))
    now = datetime.now(timezone.utc)
    return VisionEvent(event_type="custom", use_case_id="dock", timestamp=now, images=(image,))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "outbox"


@pytest.fixture
def destination(api):
    return ApiDestination(VisionEventsClient(base_url=api.url, api_key=KEY), api.url, KEY)


@pytest.fixture
def opened(folder):
    made = []

    def open_(**changes):
        values = {"hold_s": 3600.0, "courier": CourierLimits(max_backoff_s=0.2), **changes}
        made.append(Dispatch(DispatchLimits(folder, **values)))
        return made[-1]

    yield open_
    for each in made:
        each.close(0.0)


@pytest.fixture
def dispatch(opened, destination, api):
    """One whose link is known to work."""
    return warm(opened(), destination, api)


def warm(dispatch, destination, api):
    dispatch.record(event(), destination)
    eventually(lambda: dispatch.courier.queues.works(destination.address))
    eventually(lambda: not dispatch.courier.pending)
    return dispatch


def totals(dispatch, folder):
    dispatch._upkeep.write_counts()
    return take_snapshot(folder, RealDisk())


def entries(folder):
    return paths_in(folder, "slots/*/*.tar")


def held(dispatch):
    return len(dispatch._holding._all())


def test_an_event_that_is_delivered_at_once_is_never_on_disk(dispatch, destination, api, folder):
    for _ in range(20):
        dispatch.record(event(), destination, waits=False)
    api.wait_for_events(21)
    eventually(lambda: not dispatch.courier.pending)

    eventually(lambda: not held(dispatch))
    found = totals(dispatch, folder)
    assert (found.stored, found.unstored, found.delivered) == (1, 20, 21)
    assert found.unaccounted == 0


def test_what_is_delivered_leaves_the_memory_at_once(dispatch, destination, api):
    gc.collect()
    gc.disable()
    try:
        api.delay_s = 0.5
        dispatch.record(event(), destination, waits=False)
        eventually(lambda: held(dispatch))
        [one] = [weakref.ref(each) for each in dispatch._holding._all()]
        api.wait_for_events(2)
        eventually(lambda: one() is None)
    finally:
        gc.enable()


def test_what_is_stored_leaves_the_memory_while_its_destination_is_down(
    dispatch, destination, api, folder
):
    is_gone = threading.Event()

    class Content(bytes):
        def __del__(self):
            is_gone.set()

    jpeg = Snapshot(pixels=PIXELS, quality=90).encode().content
    image = EventImage(label="workflow", input=Picture(content=Content(jpeg)))
    with api.refusing():
        dispatch.record(replace(event(), images=(image,)), destination, waits=False)
        del image
        eventually(lambda: entries(folder) and not held(dispatch))

        eventually(is_gone.is_set)
        assert dispatch.courier.pending == 1
    api.wait_for_events(2, timeout_s=60)


def test_pixels_that_wait_leave_room_for_what_is_being_sent(opened, destination, api, folder):
    dispatch = warm(opened(memory_bytes=100_000), destination, api)
    api.hang(60)
    let_go = threading.Event()
    for _ in range(encoder.THREADS):
        encoder.run_soon(let_go.wait)
    try:
        dispatch.record(event(), destination, waits=False)  # its pixels take more than half
        dispatch.record(event(), destination, waits=False)

        assert held(dispatch) == 1, "encoded by this thread, and sent without a write"
        assert not entries(folder)
    finally:
        let_go.set()
        api.heal()


def test_what_is_not_delivered_in_time_is_stored_and_delivered_once(
    opened, destination, api, folder
):
    dispatch = warm(opened(hold_s=0.05), destination, api)
    api.hang(60)
    late = dispatch.record(event(), destination, waits=False).event
    eventually(lambda: entries(folder))
    eventually(lambda: not held(dispatch))
    assert late.event_id not in api.events

    api.heal()
    api.wait_for_events(2, timeout_s=60)
    eventually(lambda: not dispatch.courier.pending)
    found = totals(dispatch, folder)
    assert (found.stored, found.unstored, found.delivered) == (2, 0, 2)
    assert not entries(folder)


def test_once_the_link_fails_everything_is_stored(dispatch, destination, api, folder):
    api.hang(60)
    for _ in range(3):
        dispatch.record(event(), destination, waits=False)
    eventually(lambda: held(dispatch) == 3)
    with api.refusing():
        eventually(lambda: len(entries(folder)) == 3 and dispatch.courier.queues.unstored == 0)
        dispatch.record(event(), destination, waits=False)
        eventually(lambda: len(entries(folder)) == 4)
    api.heal()
    api.wait_for_events(5, timeout_s=60)


def test_a_rejected_event_is_among_the_dead_letters(dispatch, destination, api, folder):
    bad = event()
    api.poison(bad.event_id)
    dispatch.record(bad, destination, waits=False)
    eventually(lambda: take_snapshot(folder, RealDisk()).dead)

    eventually(lambda: not dispatch.courier.pending)
    found = totals(dispatch, folder)
    assert [letter.event_id for letter in found.dead] == [bad.event_id]
    assert (found.stored, found.unstored, found.unaccounted) == (2, 0, 0)
    assert not held(dispatch)


def test_at_the_end_everything_is_stored(opened, destination, api, folder):
    dispatch = warm(opened(), destination, api)
    api.hang(60)
    sent = [dispatch.record(event(), destination, waits=False).event for _ in range(3)]
    eventually(lambda: held(dispatch) == 3)

    found = dispatch.close(0.0)

    assert (found.left, found.unstored) == (3, 0)
    assert len(entries(folder)) == 3
    assert not list(folder.glob("slots/*/spool-*"))
    api.heal()
    opened().courier.register(destination)
    arrived = api.wait_for_events(4, timeout_s=60)
    assert {each.event_id for each in sent} <= {each["eventId"] for each in arrived}


def test_a_server_that_ends_a_request_stores_what_it_holds(dispatch, destination, api, folder):
    api.hang(60)
    dispatch.record(event(), destination, waits=False)
    eventually(lambda: held(dispatch) == 1)
    assert dispatch.empty_memory(5) == 0
    assert len(entries(folder)) == 1
    assert dispatch.courier.queues.unstored == 0


def test_when_memory_gets_scarce_events_are_stored(opened, destination, api, folder):
    dispatch = warm(opened(memory_bytes=100_000), destination, api)
    api.hang(60)
    for _ in range(10):
        dispatch.record(event(), destination, waits=False)
    eventually(lambda: held(dispatch) + len(entries(folder)) == 10)
    assert len(entries(folder)) > 0


def test_it_can_be_switched_off(opened, destination, api, folder):
    dispatch = warm(opened(hold_s=0.0), destination, api)
    api.hang(60)
    dispatch.record(event(), destination, waits=False)
    eventually(lambda: entries(folder))
    assert not held(dispatch)


def test_before_the_first_answer_events_are_stored(opened, destination, api, folder):
    dispatch = opened()
    api.hang(60)
    dispatch.record(event(), destination, waits=False)
    eventually(lambda: entries(folder))
    assert not held(dispatch)


def test_a_killed_process_leaves_what_it_held(opened, destination, api, folder, tmp_path):
    sent = event()
    pid = os.fork()
    if pid == 0:
        try:
            dispatch = warm(opened(), destination, api)
            (tmp_path / "warm").touch()
            eventually((tmp_path / "go").exists)
            dispatch.record(sent, destination, waits=False)
            eventually(lambda: held(dispatch) == 1)
            dispatch._background.empty(5)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    eventually((tmp_path / "warm").exists)
    api.hang(60)
    (tmp_path / "go").touch()
    os.waitpid(pid, 0)
    api.heal()
    assert not entries(folder)
    assert len(list(folder.glob("slots/*/spool-*"))) >= 1

    opened().courier.register(destination)
    expected = sent.images[0].input.encode().content
    eventually(lambda: sent.event_id in api.events)
    assert api.picture_of(api.events[sent.event_id], "input") == expected

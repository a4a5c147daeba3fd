"""What a process does with its events, over real files and sockets."""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone

import numpy as np
import pytest

from vision_event_block.delivery import dispatch
from vision_event_block.delivery.client import Secret, Timeouts, VisionEventsClient
from vision_event_block.delivery.courier import CourierLimits
from vision_event_block.delivery.destination import ApiDestination
from vision_event_block.delivery.dispatch import Dispatch, DispatchLimits, NotTaken
from vision_event_block.delivery.parcel import Verdict
from vision_event_block.events.event import EventImage, VisionEvent
from vision_event_block.events.pictures import Picture, Snapshot
from vision_event_block.outbox.room import OutboxLimits
from vision_event_block.testing import StandInApi

KEY = Secret("made-up-key")
PATIENCE = CourierLimits(max_backoff_s=0.2, key_retry_s=0.1)


@pytest.fixture
def api():
    with StandInApi() as api:
        yield api


@pytest.fixture
def destination(api):
    client = VisionEventsClient(
        base_url=api.url, api_key=KEY, timeouts=Timeouts(connect_s=1.0, read_s=0.5)
    )
    return ApiDestination(client, api.url, KEY.fingerprint)


@pytest.fixture
def limits(tmp_path):
    return DispatchLimits(tmp_path / "outbox", courier=PATIENCE)


@pytest.fixture
def dispatch_with(tmp_path):
    made = []

    def make(**changes):
        values = {"folder": tmp_path / "outbox", "courier": PATIENCE}
        made.append(Dispatch(DispatchLimits(**{**values, **changes})))
        return made[-1]

    yield make
    for it in made:
        it.close(0.0)


def event(*, content=b"picture", **changes):
    image = EventImage(label="workflow", output=Picture(content=content))
    values = {"event_type": "custom", "use_case_id": "dock", "images": (image,)}
    return VisionEvent(timestamp=datetime.now(timezone.utc), **{**values, **changes})


def unusable(tmp_path):
    """A place where no folder can be made, whoever asks."""
    (tmp_path / "file").write_text("in the way")
    return tmp_path / "file" / "outbox"


def test_an_event_is_on_disk_when_it_was_recorded_and_arrives(api, destination, dispatch_with):
    keeping = dispatch_with()
    sent = event()
    with api.refusing():
        receipt = keeping.record(sent, destination)
        assert receipt.is_stored
        assert list((keeping._limits.folder / "slots").glob(f"*/*-{sent.event_id}.tar"))

    assert keeping.flush(5) in {0, 1}
    assert receipt.ticket.wait(5).verdict is Verdict.DELIVERED
    assert api.picture_of(api.events[sent.event_id]) == b"picture"


def test_in_the_background_the_caller_does_not_wait_for_pictures(api, destination, dispatch_with):
    pixels = np.random.default_rng(0).integers(0, 255, (3000, 4000, 3), np.uint8)
    image = EventImage(label="workflow", input=Snapshot(pixels=pixels, quality=90))
    keeping = dispatch_with()
    keeping.record(event(), destination)

    def took_s(**how):
        started_s = time.monotonic()
        receipt = keeping.record(event(images=(image,)), destination, **how)
        return receipt, time.monotonic() - started_s

    receipt, background_s = took_s(waits=False)
    keeping.empty_memory(10)
    _, waiting_s = took_s()

    assert receipt.ticket is None
    assert not receipt.is_stored
    assert background_s < waiting_s / 3
    arrived = {it["eventId"]: it for it in api.wait_for_events(3)}
    assert api.picture_of(arrived[receipt.event.event_id], "input").startswith(b"\xff\xd8")


def test_with_a_full_memory_the_background_becomes_the_foreground(api, destination, dispatch_with):
    keeping = dispatch_with(memory_bytes=10)
    with api.refusing():
        stored = [
            keeping.record(event(content=b"x" * 100), destination, waits=False).is_stored
            for _ in range(20)
        ]

    # The first one finds the memory empty; while it is there, others are stored at once.
    assert stored[0] is False
    assert any(stored[1:])
    assert len(api.wait_for_events(20)) == 20


def test_a_high_severity_is_urgent_also_for_the_next_process(api, destination, dispatch_with):
    keeping = dispatch_with()
    with api.refusing():
        data = {"alertType": "fall", "severity": "high"}
        keeping.record(event(event_type="safety_alert", event_data=data), destination)
        keeping.record(event(), destination)

        assert [it.notes.is_urgent for it in keeping._outbox.entries()] == [True, False]


def test_without_a_usable_folder_events_go_from_memory_and_it_is_said(
    api, destination, dispatch_with, tmp_path, caplog
):
    keeping = dispatch_with(folder=unusable(tmp_path))

    receipt = keeping.record(event(), destination)

    assert not keeping.stores
    assert not receipt.is_stored
    assert "VISION_EVENT_OUTBOX" in receipt.trouble
    assert receipt.ticket.wait(5).verdict is Verdict.DELIVERED
    assert "cannot be stored" in caplog.text


def test_what_fits_neither_disk_nor_memory_is_not_taken_until_there_is_room(
    api, destination, dispatch_with, tmp_path
):
    keeping = dispatch_with(folder=unusable(tmp_path), memory_bytes=150)
    with api.refusing():
        keeping.record(event(content=b"x" * 100), destination)
        with pytest.raises(NotTaken, match="memory is full"):
            keeping.record(event(content=b"y" * 100), destination)
    api.wait_for_events(1)
    keeping.flush(5)

    assert keeping.record(event(), destination).ticket.wait(5).verdict is Verdict.DELIVERED


def test_a_full_outbox_is_named_and_the_event_goes_from_memory(api, destination, dispatch_with):
    keeping = dispatch_with(outbox=OutboxLimits(max_events=1))
    with api.refusing():
        assert keeping.record(event(), destination).is_stored
        receipt = keeping.record(event(), destination)
        assert "MAX_EVENTS" in receipt.trouble

    assert len(api.wait_for_events(2)) == 2


def test_the_next_process_delivers_what_the_last_one_left(api, destination, dispatch_with):
    first = dispatch_with()
    sent = [event() for _ in range(5)]
    with api.refusing():
        for it in sent:
            first.record(it, destination)
        assert first.close(0.3) == 5

    later = dispatch_with()
    later.record(event(), destination)  # which brings the key

    assert {it.event_id for it in sent} <= {it["eventId"] for it in api.wait_for_events(6)}


def test_closing_delivers_what_is_still_being_encoded(api, destination, dispatch_with):
    keeping = dispatch_with()
    for _ in range(5):
        keeping.record(event(), destination, waits=False)

    assert keeping.close(5) == 0
    assert len(api.events) == 5


def test_the_status_tells_what_the_courier_knows(api, destination, dispatch_with):
    keeping = dispatch_with()
    keeping.record(event(), destination)
    keeping.close(5)

    (path,) = (keeping._limits.folder / "slots").glob("*/status.json")
    (state,) = json.loads(path.read_text("utf-8"))["destinations"]
    assert (state["state"], state["pending"]) == ("open", 0)
    assert KEY.reveal() not in path.read_text("utf-8")


@pytest.fixture
def _nobody_else(monkeypatch):
    """The process as if no block of another test had left one behind."""
    monkeypatch.setattr(dispatch, "_shared", None)
    monkeypatch.setattr(dispatch, "_users", set())


@pytest.mark.usefixtures("_nobody_else")
def test_the_process_has_one_until_its_last_user_leaves(api, destination, limits):
    one, other = object(), object()
    first = dispatch.shared(lambda: limits, one, exit_timeout_s=1.0)
    try:
        assert dispatch.shared(lambda: limits, other, exit_timeout_s=1.0) is first
        first.record(event(), destination)
        assert dispatch.leave(one, 5.0) == 0
        assert dispatch.shared(lambda: limits, other, exit_timeout_s=1.0) is first
    finally:
        dispatch.leave(one, 0.0)
        dispatch.leave(other, 5.0)

    assert len(api.events) == 1
    assert not first._keeper.is_alive()
    second = dispatch.shared(lambda: limits, one, exit_timeout_s=1.0)
    try:
        assert second is not first
    finally:
        dispatch.leave(one, 0.0)


@pytest.mark.usefixtures("_nobody_else")
def test_it_goes_on_while_events_are_left_though_its_last_user_has_gone(api, destination, limits):
    user = object()
    with api.refusing():
        dispatch.shared(lambda: limits, user, exit_timeout_s=1.0).record(event(), destination)
        assert dispatch.leave(user, 1.0) == 1

    api.wait_for_events(1)
    dispatch.shared(lambda: limits, user, exit_timeout_s=1.0)
    assert dispatch.leave(user, 5.0) == 0

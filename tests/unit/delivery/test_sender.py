"""The sender over real sockets: bounded, patient, and clear about what became of each event."""

from __future__ import annotations

import logging
import sys
import threading
import time
from datetime import datetime, timezone

import numpy as np
import pytest

from vision_event_block.delivery.client import (
    CreateReply,
    Secret,
    Timeouts,
    VisionEventsClient,
)
from vision_event_block.delivery.errors import NotNow
from vision_event_block.delivery.sender import Sender, SenderFull, SenderLimits
from vision_event_block.delivery.ticket import Verdict
from vision_event_block.events.event import EventImage, VisionEvent
from vision_event_block.events.pictures import Picture, Snapshot
from vision_event_block.testing import StandInApi

KEY = "made-up-key"
FAST = {"max_backoff_s": 0.05, "key_retry_s": 0.1}


@pytest.fixture
def api():
    with StandInApi() as api:
        yield api


@pytest.fixture
def client(api):
    client = VisionEventsClient(
        base_url=api.url, api_key=Secret(KEY), timeouts=Timeouts(connect_s=1, read_s=0.4)
    )
    yield client
    client.close()


@pytest.fixture
def sender_with():
    senders = []

    def make(**limits):
        senders.append(Sender(SenderLimits(**{"threads": 4, **FAST, **limits})))
        return senders[-1]

    yield make
    for sender in senders:
        sender.close(0)
        for thread in sender._threads:
            thread.join(5)


def event(pictures=2, **changes):
    images = [Picture(content=f"picture {i}".encode() * 10) for i in range(pictures)]
    main = EventImage(label="workflow", **dict(zip(("output", "input"), images, strict=False)))
    values = {
        "event_type": "custom",
        "use_case_id": "dock",
        "timestamp": datetime.now(timezone.utc),
        "images": (main,) if images else (),
    }
    return VisionEvent(**{**values, **changes})


def test_an_event_arrives_with_its_pictures_in_their_places(api, client, sender_with):
    sent = event()

    outcome = sender_with().submit(sent, client).wait(5)

    assert outcome.verdict is Verdict.DELIVERED
    arrived = api.events[sent.event_id]
    assert api.picture_of(arrived, "output") == sent.images[0].output.content
    assert api.picture_of(arrived, "input") == sent.images[0].input.content
    assert len(api.uploads) == 2


def test_the_pictures_of_one_event_go_up_at_the_same_time(api, client, sender_with):
    api.delay_s = 0.2

    sender_with().submit(event(), client).wait(5)

    first, second = [request for request in api.requests if request.route == "upload"]
    assert second.started_s < first.ended_s
    assert first.started_s < second.ended_s


def test_one_thread_is_enough_for_an_event_of_many_pictures(api, client, sender_with):
    images = tuple(EventImage(label=str(i), output=Picture(content=b"%d" % i)) for i in range(5))

    outcome = sender_with(threads=1).submit(event(images=images), client).wait(5)

    assert outcome.verdict is Verdict.DELIVERED
    assert len(api.uploads) == 5


def test_connections_are_kept(api, client, sender_with):
    sender = sender_with(threads=2)

    for _ in range(10):
        sender.submit(event(), client)
    api.wait_for_events(10)

    assert len({request.connection for request in api.requests}) <= 2


def test_a_lost_answer_is_asked_for_again_at_once_under_the_same_id(api, client, sender_with):
    api.cut(route="create", times=1, after_storing=True)
    sent = event()

    outcome = sender_with().submit(sent, client).wait(5)

    assert outcome.verdict is Verdict.DELIVERED
    assert list(api.events) == [sent.event_id]
    assert [request.route for request in api.requests].count("create") == 2


def test_pictures_that_are_up_are_not_sent_again(api, client, sender_with):
    api.fail(503, route="create", times=3)

    sent = event()
    sender_with().submit(sent, client)
    api.wait_for_events(1)

    assert len(api.uploads) == 2


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 529])
def test_a_tired_api_gets_the_event_again_and_who_waits_gets_the_verdict(
    api, client, sender_with, status
):
    api.fail(status, times=2)

    ticket = sender_with().submit(event(0), client)

    assert ticket.wait(5).verdict is Verdict.DELIVERED
    assert ticket.attempts == 3


class TiredOnce:
    """A client without a network: refuses each event once, and takes it the next moment."""

    def __init__(self):
        self.refused = set()

    def create(self, payload):
        if payload["eventId"] not in self.refused:
            self.refused.add(payload["eventId"])
            raise NotNow("a moment, please", route="POST /vision-events", status=503)
        return CreateReply(payload["eventId"], created=True)


def test_the_last_verdict_stands_however_soon_the_event_is_tried_again(sender_with):
    """Another thread may deliver an event before the one that failed has said so."""
    sender = sender_with(threads=8)
    sender._uniform = lambda low, high: 0.0
    client = TiredOnce()
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        tickets = [sender.submit(event(0), client) for _ in range(1000)]
        assert sender.flush(20) == 0
    finally:
        sys.setswitchinterval(interval_s)

    assert {ticket.wait(0).verdict for ticket in tickets} == {Verdict.DELIVERED}


def test_who_waits_on_a_tired_api_is_told_after_his_time_what_it_said(api, client, sender_with):
    api.fail(503)

    outcome = sender_with().submit(event(), client).wait(0.3)

    assert outcome.verdict is Verdict.WAITING
    assert "503" in str(outcome.error)


def test_who_waits_on_an_api_that_is_not_there_is_told_at_once(api, client, sender_with):
    with api.refusing():
        started = time.monotonic()
        outcome = sender_with().submit(event(), client).wait(30)

    assert time.monotonic() - started < 5
    assert outcome.verdict is Verdict.WAITING


def eventually(condition, timeout_s=5.0):
    """Waits until the condition holds; fails if it does not in time."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come to pass"
        time.sleep(0.005)


def test_an_api_that_is_away_for_a_while_gets_everything(api, client, sender_with):
    sender = sender_with()
    with api.refusing():
        for _ in range(5):
            sender.submit(event(), client)
        time.sleep(0.3)
        assert sender.pending == 5

    assert len(api.wait_for_events(5)) == 5
    assert sender.flush(5) == 0


def test_the_apis_wish_for_a_pause_is_kept_even_when_flushing(api, client, sender_with):
    api.fail(429, route="create", times=1, retry_after="1")
    sender = sender_with()

    ticket = sender.submit(event(0), client)
    eventually(lambda: ticket.not_before_s)
    assert sender.flush(0.3) == 1

    api.wait_for_events(1)
    refused, taken = api.requests
    assert taken.started_s - refused.ended_s >= 0.9


def test_flushing_does_not_wait_out_a_back_off(api, client, sender_with):
    sender = sender_with(max_backoff_s=60)
    sender._uniform = lambda low, high: high
    api.fail(503, times=1)
    ticket = sender.submit(event(0), client)
    eventually(lambda: ticket.wait(0))

    assert sender.flush(5) == 0
    assert len(api.events) == 1


def test_a_refused_key_is_nobodys_verdict_on_the_event(api, client, sender_with, caplog):
    api.refuse_key(KEY)

    ticket = sender_with().submit(event(), client)

    assert ticket.wait(5).verdict is Verdict.KEY_REFUSED
    api.allow(KEY)
    assert len(api.wait_for_events(1)) == 1
    assert KEY not in caplog.text


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_a_refused_event_is_lost_alone_and_loudly(api, client, sender_with, caplog, status):
    api.fail(status, route="create", times=1)
    sender = sender_with(threads=1)

    bad = sender.submit(event(), client)
    good = sender.submit(event(), client)

    assert bad.wait(5).verdict is Verdict.REJECTED
    assert good.wait(5).verdict is Verdict.DELIVERED
    assert sender.flush(5) == 0
    assert bad.event.event_id in caplog.text


def test_a_bug_in_one_event_does_not_end_the_thread(api, client, sender_with):
    sender = sender_with(threads=1)

    bad = sender.submit(event(custom_metadata={"x": float("nan")}), client)
    good = sender.submit(event(), client)

    assert bad.wait(5).verdict is Verdict.REJECTED
    assert good.wait(5).verdict is Verdict.DELIVERED


def test_the_apis_warnings_reach_the_log(api, client, sender_with, caplog):
    sent = event(0, event_data={"surprise": 1})

    outcome = sender_with().submit(sent, client).wait(5)

    assert [warning.type for warning in outcome.reply.warnings] == ["object.unknown"]
    assert "eventData.surprise" in caplog.text


def test_too_many_events_are_refused_at_once(api, client, sender_with):
    api.hang(30)
    sender = sender_with(max_events=3)
    for _ in range(3):
        sender.submit(event(), client)

    started = time.monotonic()
    with pytest.raises(SenderFull, match="MAX_PENDING_EVENTS"):
        sender.submit(event(), client)
    assert time.monotonic() - started < 0.2
    assert sender.pending == 3


def test_too_many_bytes_are_refused_and_room_comes_back(api, client, sender_with):
    sender = sender_with(max_bytes=250)
    with api.refusing():
        sender.submit(event(), client)  # two pictures of 90 bytes
        with pytest.raises(SenderFull, match="MAX_PENDING_BYTES"):
            sender.submit(event(), client)
    sender.flush(5)

    assert sender.submit(event(), client).wait(5).verdict is Verdict.DELIVERED


def test_copied_pictures_are_encoded_in_the_background_and_weigh_less_then(
    api, client, sender_with
):
    pixels = np.full((480, 640, 3), 90, np.uint8)
    image = EventImage(label="workflow", input=Snapshot(pixels=pixels, quality=90))
    sender = sender_with()
    with api.refusing():
        sender.submit(event(images=(image,)), client).wait(5)
        assert 0 < sender._pending_bytes < pixels.nbytes / 10

    arrived = api.wait_for_events(1)[0]
    assert api.picture_of(arrived, "input").startswith(b"\xff\xd8")


def test_a_picture_that_cannot_be_encoded_costs_only_itself(api, client, sender_with, caplog):
    image = EventImage(
        label="workflow",
        input=Snapshot(pixels=np.zeros((4, 4, 2), np.uint8), quality=90),
        output=Picture(content=b"fine"),
    )
    sent = event(images=(image,))

    ticket = sender_with().submit(sent, client)

    assert ticket.wait(5).verdict is Verdict.DELIVERED
    assert "inputSourceId" not in api.events[sent.event_id]["images"][0]
    assert "channels" in str(ticket.event.adjustments[0])
    assert "channels" in caplog.text


def test_threads_start_with_the_first_event_are_few_and_named(api, client, sender_with):
    sender = sender_with(threads=3)
    assert sender._threads == []

    for _ in range(10):
        sender.submit(event(), client)

    assert [thread.name for thread in sender._threads] == [
        f"vision-event-sender-{number}" for number in range(3)
    ]
    assert all(thread.daemon for thread in sender._threads)


def test_closing_stops_the_threads_and_tells_what_is_left(api, client, sender_with):
    sender = sender_with()
    api.fail(503)
    sender.submit(event(), client).wait(0.1)

    assert sender.close(0.2) == 1
    for thread in sender._threads:
        thread.join(5)
    assert not any(thread.is_alive() for thread in sender._threads)
    with pytest.raises(SenderFull, match="closed"):
        sender.submit(event(), client)


def test_the_same_trouble_is_logged_once_and_not_per_event(api, client, sender_with, caplog):
    caplog.set_level(logging.WARNING)
    sender = sender_with()
    api.fail(503, times=20)

    for _ in range(10):
        sender.submit(event(0), client)
    api.wait_for_events(10)

    assert len([record for record in caplog.records if "503" in record.message]) == 1


def test_many_threads_may_hand_over_at_once(api, client, sender_with):
    sender = sender_with(threads=4)

    def hand_over():
        for _ in range(20):
            sender.submit(event(1), client)

    threads = [threading.Thread(target=hand_over) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(api.wait_for_events(160)) == 160
    assert sender.flush(5) == 0
    assert sender.counts == {"accepted": 160, "delivered": 160}

"""The courier over real sockets and real files: every event arrives, and in few requests."""

from __future__ import annotations

import gc
import itertools
import json
import random
import threading
import time
import uuid
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.waiting import TIMEOUT_S, eventually
from vision_event_block.delivery.client import (
    EventStoreClient,
    Secret,
    Timeouts,
    VisionEventsClient,
)
from vision_event_block.delivery.courier import Courier, CourierLimits
from vision_event_block.delivery.destinations import API, ApiDestination, EventStoreDestination
from vision_event_block.delivery.queued_event import Verdict
from vision_event_block.delivery.ready_events import BATCH_WAIT_S
from vision_event_block.outbox import clock
from vision_event_block.outbox.entry import Address, ClockReading, DeliveryMetadata, EntryContents
from vision_event_block.outbox.outbox import Outbox
from vision_event_block.outbox.owner_status import DestinationState

KEY = "made-up-key"
TIMEOUTS = Timeouts(connect_s=TIMEOUT_S, read_s=TIMEOUT_S)


def destination_of(api, key=KEY):
    client = VisionEventsClient(base_url=api.url, api_key=Secret(key), timeouts=TIMEOUTS)
    return ApiDestination(client, api.url, Secret(key))


@pytest.fixture
def destination(api):
    return destination_of(api)


class Desk:
    """An outbox with its courier, as one process has them."""

    def __init__(
        self, folder, destination, *, clock_s=time.monotonic, uniform=random.uniform, **limits
    ):
        self.outbox = Outbox(folder)
        limits = CourierLimits(**{"max_backoff_s": 0.2, "key_retry_s": 0.1, **limits})
        self.courier = Courier(self.outbox, limits, clock_s=clock_s, uniform=uniform)
        self.destination = destination
        if destination is not None:
            self.courier.register(destination)

    def store(self, pictures=0, *, address=None, taken=None, is_urgent=False, **changes):
        event_id = str(uuid.uuid4())
        members = {
            f"images/{i}-{event_id}.jpg": f"{i} of {event_id}".encode() for i in range(pictures)
        }
        keys = ("file", "inputFile")
        payload = {
            "bundleFormatVersion": 1,
            "eventId": event_id,
            "eventType": "custom",
            "useCaseId": "dock",
            "timestamp": datetime.now(timezone.utc).isoformat(),
            "images": [
                {"label": "workflow", **dict(zip(keys, pair, strict=False))}
                for pair in (list(members)[at : at + 2] for at in range(0, pictures, 2))
            ],
            **changes,
        }
        metadata = DeliveryMetadata(
            address or self.destination.address, taken or clock.reading(), is_urgent
        )
        return self.outbox.store(event_id, payload, members, metadata)

    def send(self, pictures=0, **changes):
        entry = self.store(pictures, **changes)
        return entry.event_id, self.courier.submit(entry)

    def send_many(self, count, pictures=0, **changes):
        entries = [self.store(pictures, **changes) for _ in range(count)]
        return {entry.event_id: self.courier.submit(entry) for entry in entries}

    def dead(self):
        """Event ids among the dead letters with the reason beside each."""
        letters = (self.outbox.folder / "dead").glob("*.json")
        reasons = [json.loads(dead_letter_reason.read_text()) for dead_letter_reason in letters]
        tars = {tar.stem.partition("-")[2] for tar in (self.outbox.folder / "dead").glob("*.tar")}
        assert tars == {reason["event_id"] for reason in reasons}
        return {reason["event_id"]: reason for reason in reasons}

    def close(self, timeout_s=0.0):
        left = self.courier.close(timeout_s)
        assert self.threads == [], "threads live on after closing"
        self.outbox.close()
        return left

    @property
    def threads(self):
        return [thread for thread in self.courier._workers.threads if thread.is_alive()]


@pytest.fixture
def desk_with(tmp_path, destination):
    desks = []

    def make(destination=destination, **limits):
        desks.append(Desk(tmp_path / "outbox", destination, **limits))
        return desks[-1]

    yield make
    for desk in desks:
        desk.close()


@pytest.fixture
def desk(desk_with):
    return desk_with()


def routes(api, *wanted):
    return [request for request in api.requests if request.route in wanted]


def test_an_event_arrives_with_its_pictures_in_their_places_and_leaves_the_disk(api, desk):
    event_id, handle = desk.send(2)

    assert handle.wait(TIMEOUT_S).verdict is Verdict.DELIVERED
    arrived = api.events[event_id]
    assert api.picture_of(arrived, "output") == f"0 of {event_id}".encode()
    assert api.picture_of(arrived, "input") == f"1 of {event_id}".encode()
    assert "bundleFormatVersion" not in arrived
    assert desk.outbox.entries() == []
    assert list(desk.outbox.slot_folder.glob("*.tar")) == []


def test_a_lone_event_takes_two_uploads_at_the_same_time_and_one_create_at_once(api, desk):
    api.hang(TIMEOUT_S, route="upload")
    _, handle = desk.send(2)
    eventually(lambda: api.hanging == 2)
    api.heal()  # both are cut off, and sent once more

    assert handle.wait(TIMEOUT_S).verdict is Verdict.DELIVERED

    def wait_of_the_create_s():
        api.requests.clear()
        assert desk.send(2)[1].wait(TIMEOUT_S).verdict is Verdict.DELIVERED
        assert [request.route for request in api.requests] == ["upload", "upload", "create"]
        return api.requests[2].started_s - api.requests[1].ended_s

    # A busy machine can be late, not each time.
    assert any(wait_of_the_create_s() < BATCH_WAIT_S / 2 for _ in range(20))


def test_one_thread_is_enough(api, desk_with):
    desk = desk_with(threads=1)

    _, handle = desk.send(2)

    assert handle.wait(TIMEOUT_S).verdict is Verdict.DELIVERED


def test_threads_start_with_the_first_event_and_are_sixteen_with_names(api, desk):
    before = desk.threads

    desk.send_many(30, 1)
    api.wait_for_events(30)

    assert before == []
    assert sorted(it.name for it in desk.threads) == [
        f"vision-event-courier-{i}" for i in sorted(range(16), key=str)
    ]
    assert all(it.daemon for it in desk.threads)
    assert len({request.connection for request in api.requests}) <= 16


def test_a_new_event_wakes_the_courier_also_while_somebody_flushes(api, desk):
    api.hang(TIMEOUT_S, times=1)
    desk.send()
    eventually(lambda: api.hanging)
    flushing = threading.Thread(target=desk.courier.flush, args=(TIMEOUT_S,))
    flushing.start()
    time.sleep(0.05)  # most likely it waits by now

    _, handle = desk.send()

    assert handle.wait(TIMEOUT_S).verdict is Verdict.DELIVERED
    assert flushing.is_alive()
    api.heal()
    flushing.join(TIMEOUT_S)


def test_the_warnings_of_the_api_reach_the_handle_and_the_log(desk, caplog):
    _, handle = desk.send(eventData={"surprise": 1})

    assert [warning.type for warning in handle.wait(TIMEOUT_S).warnings] == ["object.unknown"]
    eventually(lambda: "eventData.surprise" in caplog.text)


def test_an_event_that_could_not_be_stored_goes_from_memory_and_gives_its_room_back(api, desk):
    ended = threading.Event()
    payload = {
        "eventId": "in-memory",
        "eventType": "custom",
        "useCaseId": "dock",
        "timestamp": datetime.now(timezone.utc).isoformat(),
        "images": [{"label": "workflow", "file": "images/a.jpg"}],
    }
    contents = EntryContents(
        payload, {"images/a.jpg": b"a"}, DeliveryMetadata(desk.destination.address, clock.reading())
    )
    api.fail(503, route="create", times=1)

    handle = desk.courier.submit_unstored(
        "in-memory", contents, on_end=lambda *_: ended.set()
    ).handle

    assert handle.wait(TIMEOUT_S).verdict is Verdict.DELIVERED
    assert ended.is_set()
    assert api.picture_of(api.events["in-memory"]) == b"a"


def test_an_event_that_is_no_json_ends_alone(api, desk):
    payload = {"eventId": "odd", "images": [], "customMetadata": {"x": float("nan")}}
    contents = EntryContents(
        {**payload, "timestamp": datetime.now(timezone.utc).isoformat()},
        {},
        DeliveryMetadata(desk.destination.address, clock.reading()),
    )
    ended = threading.Event()

    odd = desk.courier.submit_unstored("odd", contents, on_end=lambda *_: ended.set()).handle
    _, good = desk.send()

    assert odd.wait(TIMEOUT_S).verdict is Verdict.REJECTED
    assert good.wait(TIMEOUT_S).verdict is Verdict.DELIVERED
    assert ended.is_set()
    assert desk.courier.flush(TIMEOUT_S) == 0


def test_many_events_share_requests(api, desk):
    desk.send_many(400, 1)

    api.wait_for_events(400, 20)
    creates = routes(api, "create", "batch")
    assert len(creates) < 80
    assert max(len(request.event_ids) for request in creates) <= 100
    assert len(api.arrivals) == len(api.uploads) == 400


def test_a_refused_batch_is_halved_until_the_one_to_blame_is_found(api, desk_with, destination):
    desk = desk_with(destination=None)
    handles = desk.send_many(100, address=destination.address)
    bad = list(handles)[37]
    api.poison(bad, error="no such thing")
    desk.courier.register(destination)  # so all of them are there before the first one goes

    assert desk.courier.flush(TIMEOUT_S) == 0

    assert len(api.events) == 99
    assert handles[bad].wait(1).verdict is Verdict.REJECTED
    assert {t.wait(1).verdict for i, t in handles.items() if i != bad} == {Verdict.DELIVERED}
    assert list(desk.dead()) == [bad]
    assert desk.dead()[bad]["status"] == 400
    assert "no such thing" in desk.dead()[bad]["reason"]
    assert len(api.requests) <= 30
    assert desk.courier.queues.counts == {"delivered": 99, "rejected": 1}


@pytest.mark.parametrize("status", [400, 404, 409, 413, 415, 422])
def test_a_refused_event_becomes_a_dead_letter_and_the_next_goes_through(api, desk, caplog, status):
    bad = desk.store(1)
    api.poison(bad.event_id, status)

    refused = desk.courier.submit(bad).wait(TIMEOUT_S)
    _, handle = desk.send(1)

    assert refused.verdict is Verdict.REJECTED
    assert str(status) in refused.reason or "cannot be processed" in refused.reason
    assert handle.wait(TIMEOUT_S).verdict is Verdict.DELIVERED
    assert desk.dead()[bad.event_id]["status"] == status
    assert bad.event_id in caplog.text


def test_a_batch_that_is_too_large_goes_in_halves(api, desk):
    with api.refusing():
        desk.send_many(40)
        time.sleep(0.1)
        api.fail(413, route="batch", times=1)

    assert desk.courier.flush(TIMEOUT_S) == 0

    assert len(api.events) == 40
    assert desk.dead() == {}


def test_of_what_waits_the_urgent_goes_first(api, desk_with):
    desk = desk_with(threads=1)
    entries = [desk.store(1) for _ in range(30)]
    urgent = desk.store(1, is_urgent=True)
    api.hang(0.4, route="upload", times=1)  # until all of them are taken
    desk.courier.take([*entries, urgent])

    api.wait_for_events(31, 30)
    first = [
        event_id for request in routes(api, "create", "batch") for event_id in request.event_ids
    ]
    # Those that were begun before it came may be in front of it.
    assert urgent.event_id in first[:10]


def test_fresh_events_go_through_while_a_backlog_drains(api, desk_with):
    earlier = desk_with()
    entries = [earlier.store(1) for _ in range(500)]
    earlier.close()
    api.delay_s = 0.05
    desk = desk_with()
    desk.courier.take(desk.outbox.adopt())
    api.wait_for_events(20)

    for _ in range(5):
        assert desk.send(1)[1].wait(TIMEOUT_S).verdict is Verdict.DELIVERED

    assert len(api.events) < len(entries)
    api.wait_for_events(505, TIMEOUT_S)


def test_the_backlog_keeps_to_its_share_of_the_line(api, desk_with):
    earlier = desk_with()
    size_bytes = sum(earlier.store(1).size_bytes for _ in range(20))
    earlier.close()
    desk = desk_with(backlog_bytes_per_s=size_bytes)

    desk.courier.take(desk.outbox.adopt())
    started_s = time.monotonic()
    api.wait_for_events(20)

    assert time.monotonic() - started_s > 0.8


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 529])
def test_a_tired_api_gets_the_event_again(api, desk, status):
    api.fail(status, times=2)

    _, handle = desk.send(1)

    assert handle.wait(TIMEOUT_S).verdict is Verdict.DELIVERED
    assert desk.dead() == {}


def test_pictures_that_are_up_are_not_sent_again(api, desk):
    api.fail(503, route="create", times=4)

    _, handle = desk.send(2)

    assert handle.wait(TIMEOUT_S).verdict is Verdict.DELIVERED
    assert len(api.uploads) == 2


def test_pictures_that_are_up_are_not_sent_again_after_a_restart(api, desk_with):
    desk = desk_with()
    api.fail(503, route="create")
    event_id, _ = desk.send(2)
    eventually(lambda: len(routes(api, "create")) >= 1)
    assert desk.close() == 1
    api.heal()

    later = desk_with()
    later.courier.take(later.outbox.adopt())

    api.wait_for_events(1)
    assert list(api.events) == [event_id]
    assert api.picture_of(api.events[event_id]) == f"0 of {event_id}".encode()
    assert len(api.uploads) == 2


def test_pictures_that_go_up_while_it_stops_are_not_sent_again(api, desk_with):
    desk = desk_with(threads=1)
    api.hang(0.3, route="upload")
    desk.send(2)
    eventually(lambda: len(api.uploads) == 1 and api.hanging)
    assert desk.close() == 1
    assert len(api.uploads) == 2
    api.heal()

    later = desk_with()
    later.courier.take(later.outbox.adopt())

    api.wait_for_events(1)
    assert len(api.uploads) == 2


def test_pictures_of_an_event_that_was_only_begun_when_it_stopped_are_not_sent_again(
    api, desk_with
):
    desk = desk_with(threads=1)
    api.hang(0.2, route="upload", times=2)
    desk.send(4)
    eventually(lambda: len(api.uploads) == 1 and api.hanging)
    api.fail(503, route="upload", times=1, retry_after="30")
    eventually(lambda: desk.courier.states()[0].state is DestinationState.DOWN)
    assert desk.close() == 1

    later = desk_with()
    later.courier.take(later.outbox.adopt())

    api.wait_for_events(1)
    assert len(api.uploads) == 4


def test_after_an_outage_new_events_do_not_wait_behind_those_of_before(api, desk_with):
    desk = desk_with(threads=1)
    with api.refusing():
        desk.send_many(20, 1)
        eventually(lambda: desk.courier.states()[0].state is DestinationState.DOWN)
        api.delay_s = 0.05
    api.wait_for_events(1)

    _, handle = desk.send(1)

    assert handle.wait(TIMEOUT_S).verdict is Verdict.DELIVERED
    assert len(api.events) < 12


def test_a_lost_answer_is_asked_for_again_at_once_under_the_same_id(api, desk_with):
    desk = desk_with(max_backoff_s=3600.0, uniform=lambda _low, _high: 3600.0)
    api.cut(route="create", times=1, after_storing=True)

    event_id, handle = desk.send(1)

    assert handle.wait(TIMEOUT_S).verdict is Verdict.DELIVERED
    assert list(api.events) == [event_id]


def test_who_waits_on_an_api_that_is_not_there_is_told_soon(api, desk):
    with api.refusing():
        _, handle = desk.send()
        outcome = handle.wait(TIMEOUT_S)

        assert outcome.verdict is Verdict.WAITING
        assert "could not connect" in outcome.reason
    assert desk.courier.flush(TIMEOUT_S) == 0


def test_who_waits_on_a_tired_api_learns_after_his_time_what_it_said(api, desk):
    api.fail(503)

    _, handle = desk.send()
    outcome = eventually(lambda: handle.wait(0.3))

    assert outcome.verdict is Verdict.WAITING
    assert "503" in outcome.reason


def test_the_apis_wish_for_a_pause_is_kept_also_when_flushing(api, desk):
    api.fail(429, times=1, retry_after="1")
    desk.send()
    api.wait_for_events(1)
    refused, taken = api.requests
    assert taken.started_s - refused.ended_s >= 0.9

    api.fail(429, times=1, retry_after="3600")
    desk.send()
    eventually(lambda: desk.courier.states()[0].state is DestinationState.DOWN)
    started_s = time.monotonic()
    assert desk.courier.flush(3000) == 1
    assert time.monotonic() - started_s < TIMEOUT_S, "there is nothing to wait for"


def test_flushing_does_not_wait_out_a_back_off(api, desk_with):
    desk = desk_with(max_backoff_s=3600.0, uniform=lambda _low, _high: 3600.0)
    api.fail(503, times=1)
    _, handle = desk.send()
    eventually(lambda: handle.wait(0))

    assert desk.courier.flush(TIMEOUT_S) == 0
    assert len(api.events) == 1


def test_flushing_ends_early_when_nobody_is_there(api, desk_with):
    desk = desk_with(max_backoff_s=60.0)
    with api.refusing():
        desk.send_many(10)
        eventually(lambda: desk.courier.states()[0].state is DestinationState.DOWN)
        started_s = time.monotonic()

        assert desk.courier.flush(3600) == 10
        assert time.monotonic() - started_s < TIMEOUT_S


def test_the_same_trouble_is_logged_once_and_not_per_event(api, desk, caplog):
    api.fail(503, times=20)

    desk.send_many(10, 1)
    api.wait_for_events(10)

    assert len([record for record in caplog.records if "503" in record.message]) == 1


@pytest.mark.parametrize("refuse", ["refuse_key", "forbid"])
def test_a_refused_key_loses_nothing(api, desk_with, caplog, refuse):
    desk = desk_with(key_retry_s=0.05)
    desk.send_many(3, 1)
    api.wait_for_events(3)
    getattr(api, refuse)(KEY)

    started_s = time.monotonic()
    handles = desk.send_many(20, 1)
    assert next(iter(handles.values())).wait(TIMEOUT_S).verdict is Verdict.KEY_REFUSED

    def refused():
        return len([request for request in api.requests if request.status in {401, 403}])

    eventually(lambda: refused() > 10)
    assert desk.dead() == {}
    assert refused() < 20 + 2 * (time.monotonic() - started_s) / 0.05
    assert len(desk.outbox.entries()) == 20

    api.allow(KEY)
    api.wait_for_events(23)
    assert desk.courier.flush(TIMEOUT_S) == 0
    assert KEY not in caplog.text


def test_a_key_that_may_only_upload_loses_nothing(api, desk_with):
    desk = desk_with(key_retry_s=0.02)
    desk.send_many(3, 1)
    api.wait_for_events(3)
    for route in ("create", "batch"):
        api.fail(403, route=route)

    desk.send_many(5, 1)
    eventually(lambda: [request.status for request in api.requests].count(403) > 5)

    assert desk.dead() == {}
    api.heal()
    api.wait_for_events(8)


def test_one_event_whose_key_is_always_refused_while_others_pass_becomes_a_dead_letter(
    api, desk_with
):
    desk = desk_with(key_retry_s=0.05)
    with api.refusing():
        handles = desk.send_many(30, 1)
        bad = list(handles)[11]
        api.poison(bad, 403, "not this use case")

    def is_rejected():
        desk.send(1)
        outcome = handles[bad].wait(0.05)
        return outcome is not None and outcome.verdict is Verdict.REJECTED

    eventually(is_rejected)
    eventually(lambda: desk.courier.flush(1) == 0)
    assert list(desk.dead()) == [bad]
    assert "not this use case" in desk.dead()[bad]["reason"]
    assert set(handles) - {bad} <= set(api.events)


def test_events_of_a_destination_nobody_knows_wait_until_it_is_registered(api, desk_with):
    desk = desk_with(None)
    destination = destination_of(api)
    event_id, handle = desk.send(1, address=destination.address)
    assert handle.wait(0.2) is None
    assert desk.courier.pending == 1
    assert desk.courier.states()[0].state is DestinationState.NO_KEY

    desk.courier.register(destination)

    assert handle.wait(TIMEOUT_S).verdict is Verdict.DELIVERED
    assert list(api.events) == [event_id]


#: Their SHA-256 digests begin with the same twelve digits.
TWINS = ("rf_made_up_15800832", "rf_made_up_38461965")


def test_an_event_never_goes_under_a_key_whose_digest_begins_alike(api, desk_with):
    victim, attacker = (destination_of(api, key) for key in TWINS)
    desk = desk_with(attacker)
    event_id, handle = desk.send(1, address=victim.address)
    assert handle.wait(0.2) is None
    assert desk.courier.states()[-1].state is DestinationState.NO_KEY
    assert api.requests == []

    desk.courier.register(victim)

    assert handle.wait(TIMEOUT_S).verdict is Verdict.DELIVERED
    assert list(api.events) == [event_id]
    assert {request.headers["Authorization"] for request in api.requests} == {f"Bearer {TWINS[0]}"}


@pytest.mark.parametrize("is_known_first", [True, False])
def test_events_that_another_process_wrote_down_go_under_the_same_key(
    api, desk_with, is_known_first
):
    desk = desk_with(None)
    salted = Address(API, api.url, Secret(KEY).identity(bytes(16)))
    of_version_0_1_0 = Address(API, api.url, "1f0991ebdd75")
    if is_known_first:
        desk.courier.register(destination_of(api))
    ids = [desk.send(1, address=each)[0] for each in (salted, of_version_0_1_0, salted)]
    if not is_known_first:
        assert desk.courier.pending == 3
        desk.courier.register(destination_of(api))

    assert desk.courier.flush(TIMEOUT_S) == 0
    assert set(api.events) == set(ids)
    assert [state.pending for state in desk.courier.states()] == [0]


def test_trouble_with_one_key_is_no_trouble_for_another(api, desk):
    other = destination_of(api, "another-key")
    desk.courier.register(other)
    api.refuse_key(KEY)

    mine = desk.send_many(3, 1)
    theirs = desk.send_many(3, 1, address=other.address)

    assert {it.wait(TIMEOUT_S).verdict for it in theirs.values()} == {Verdict.DELIVERED}
    assert {it.wait(TIMEOUT_S).verdict for it in mine.values()} == {Verdict.KEY_REFUSED}


def test_the_event_store_gets_one_request_with_the_pictures_in_it(api, desk_with):
    client = EventStoreClient(base_url=api.url, timeouts=TIMEOUTS)
    desk = desk_with(EventStoreDestination(client, api.url))

    handles = desk.send_many(5, 2)

    assert {handle.wait(TIMEOUT_S).verdict for handle in handles.values()} == {Verdict.DELIVERED}
    assert [request.route for request in api.requests] == ["event_store"] * 5
    for event in api.event_store_events:
        assert all(image["base64Image"] for image in event["images"])


def test_a_full_event_store_gets_the_event_later(api, desk_with):
    client = EventStoreClient(base_url=api.url, timeouts=TIMEOUTS)
    desk = desk_with(EventStoreDestination(client, api.url))
    api.fail(529, times=4)

    _, handle = desk.send(1)

    assert handle.wait(TIMEOUT_S).verdict is Verdict.DELIVERED
    assert len(api.event_store_events) == 1
    assert desk.dead() == {}


def test_an_event_of_a_board_whose_clock_was_wrong_gets_its_right_time(api, desk):
    now = clock.reading()
    took_place_s = now.wall_s - 40.0
    taken = ClockReading(wall_s=12.0, uptime_s=now.uptime_s - 40.0, boot_id=now.boot_id)
    wrong = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=12)

    event_id, _ = desk.send(taken=taken, timestamp=wrong.isoformat())

    api.wait_for_events(1)
    sent = datetime.fromisoformat(api.events[event_id]["timestamp"])
    assert sent.timestamp() == pytest.approx(took_place_s, abs=1.0)


def test_closing_leaves_what_is_not_delivered_on_disk_and_the_next_process_delivers_it(
    api, desk_with
):
    desk = desk_with()
    with api.refusing():
        handles = desk.send_many(25, 1)
        assert desk.close(0.5) == 25

    later = desk_with()
    later.courier.take(later.outbox.adopt())

    api.wait_for_events(25)
    assert later.courier.flush(TIMEOUT_S) == 0
    assert set(api.events) == set(handles)
    assert len(api.arrivals) == 25
    assert later.outbox.entries() == []


def test_closing_lets_a_request_under_way_end(api, desk):
    api.hang(0.3)
    event_id, _ = desk.send()
    eventually(lambda: api.hanging)

    assert desk.close(TIMEOUT_S) == 0
    assert list(api.events) == [event_id]


def test_closing_breaks_off_a_request_that_stands_still(api, desk_with):
    api.hang(TIMEOUT_S)
    desk = desk_with()
    gc.collect()  # what earlier tests left open may not go in the middle of this
    before = open_files()
    desk.send_many(3, 2)
    eventually(lambda: open_files() >= before + 12)  # both ends of six connections

    started_s = time.monotonic()
    assert desk.close(0.2) == 3

    assert time.monotonic() - started_s < TIMEOUT_S / 2
    # The stand-in's ends may stay. A thread may close its own only after it was waited for.
    eventually(lambda: open_files() <= before + 6, TIMEOUT_S / 3)


def test_an_event_that_is_still_being_read_on_closing_begins_no_request_afterwards(api, desk_with):
    is_reading, may_go_on = threading.Event(), threading.Event()

    class OnSlowDisk(ApiDestination):
        def completed(self, contents):
            is_reading.set()
            may_go_on.wait(TIMEOUT_S)
            return contents

    destination = OnSlowDisk(destination_of(api).client, api.url, Secret(KEY))
    clock_s = itertools.count(step=10.0).__next__  # closing waits for nothing
    desk = desk_with(destination, clock_s=clock_s)
    desk.send(1)
    assert is_reading.wait(TIMEOUT_S)
    assert desk.courier.close(0.0) == 1

    may_go_on.set()

    eventually(lambda: desk.threads == [])
    assert api.requests == []


def open_files():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_an_entry_that_somebody_else_took_is_let_go(api, desk):
    with api.refusing():
        entry = desk.store()
        desk.courier.submit(entry)
        eventually(lambda: desk.courier.states()[0].last_error)
        eventually(lambda: _is_free(desk, entry))
    assert desk.courier.flush(TIMEOUT_S) == 0
    assert api.events == {}


def _is_free(desk, entry):
    """Drops the entry in a moment in which it is not being sent."""
    if not desk.outbox.claim(entry):
        return False
    desk.outbox.drop(entry, "taken")
    return True


def test_many_threads_may_hand_over_at_once(api, desk):
    def hand_over():
        for _ in range(20):
            desk.send(1)

    crowd = [threading.Thread(target=hand_over) for _ in range(6)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()

    assert len(api.wait_for_events(120)) == 120
    assert desk.courier.flush(TIMEOUT_S) == 0
    assert len(api.arrivals) == 120
    assert desk.courier.queues.counts == {"delivered": 120}


class OddOnce:
    """A destination that stumbles over its own feet, once."""

    def __init__(self, destination):
        self._destination = destination
        self.stumbled = threading.Event()

    def __getattr__(self, name):
        return getattr(self._destination, name)

    def send(self, events):
        if not self.stumbled.is_set():
            self.stumbled.set()
            raise RuntimeError("nobody thought of this")
        return self._destination.send(events)


def test_an_error_that_nobody_thought_of_ends_no_thread_and_holds_no_lane(
    desk_with, destination, caplog
):
    odd = OddOnce(destination)
    desk = desk_with(odd, threads=1)
    desk.send()
    assert odd.stumbled.wait(TIMEOUT_S)

    _, handle = desk.send()

    assert handle.wait(TIMEOUT_S).verdict is Verdict.DELIVERED
    assert "nobody thought of this" in caplog.text


def test_an_outbox_that_comes_later_is_used_from_then_on(api, tmp_path, destination):
    courier = Courier(None, CourierLimits())
    courier.register(destination)
    desk = Desk(tmp_path / "outbox", destination)
    courier.outbox = desk.outbox

    entry = desk.store(1)

    assert courier.submit(entry).wait(TIMEOUT_S).verdict is Verdict.DELIVERED
    assert desk.outbox.entries() == []
    courier.close(1.0)
    desk.close()


def test_flushing_ends_with_the_refusal_of_the_last_event(api, desk):
    api.delay_s = 0.2
    api.fail(400, route="create")
    desk.send()

    assert desk.courier.flush(TIMEOUT_S) == 0
    assert len(desk.dead()) == 1

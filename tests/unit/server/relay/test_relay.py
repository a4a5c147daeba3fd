"""How an event gets on its way, step by step, over a real outbox and a real store."""

from __future__ import annotations

import tarfile
from datetime import datetime, timezone

import pytest

from tests.integration.server.conftest import picture
from tests.unit.cli.stock import store as store_entries
from tests.waiting import eventually
from vision_event_block.delivery.client import Secret, VisionEventsClient
from vision_event_block.delivery.courier import CourierLimits
from vision_event_block.delivery.dispatch import Dispatch, DispatchLimits
from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.entry import Address
from vision_event_block.outbox.outbox import Outbox
from vision_event_block.outbox.quota import OutboxLimits
from vision_event_block.outbox.slot import metadata_at
from vision_event_block.server.api.ingest import ingest
from vision_event_block.server.forwarding import NotForwarded
from vision_event_block.server.relay.packing import event_id_in
from vision_event_block.server.relay.relay import Relay
from vision_event_block.server.relay.relay_destination import RelayDestination
from vision_event_block.server.relay.store_reader import StoreReader
from vision_event_block.server.storage import Store
from vision_event_block.testing import StandInApi

KEY = Secret("made-up-key")
ROOM = OutboxLimits(min_free_bytes=0)


@pytest.fixture
def cloud():
    with StandInApi() as api:
        yield api


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "store") as store:
        store.use_cases.create("Line", id="line")
        yield store


@pytest.fixture
def relay_with(cloud, store, tmp_path):
    """A function that opens a relay with an outbox of some size."""
    opened = []

    def open_relay(outbox=ROOM, **options):
        courier = CourierLimits(max_backoff_s=0.1)
        limits = DispatchLimits(tmp_path / "outbox", outbox=outbox, courier=courier)
        client = VisionEventsClient(base_url=cloud.url, api_key=KEY)
        reader = StoreReader(store)
        destination = RelayDestination(client, cloud.url, KEY, reader)
        opened.append(Dispatch(limits))
        return Relay(opened[-1], limits, destination, reader, **options)

    yield open_relay
    for dispatch in opened:
        dispatch.close(0.0)


def event(event_id, **fields):
    now = datetime.now(timezone.utc)
    body = {"eventId": event_id, "eventType": "custom", "useCaseId": "line", **fields}
    return ingest({**body, "timestamp": now.isoformat()}, now=now).event


def entries_in(tmp_path):
    return sorted((tmp_path / "outbox" / "slots").glob("*/*.tar"))


def test_an_event_is_in_the_outbox_before_it_is_in_the_store_and_goes_only_then(
    cloud, store, relay_with, tmp_path
):
    """Else a crash leaves a change that nobody forwards, or the version before it is sent."""
    relay = relay_with()
    old, new = event("e", deviceId="old"), event("e", deviceId="new")
    relay.forward([old], lambda: store.put([old]))
    cloud.wait_for_events(1)
    seen = []

    def put():
        seen.append((len(entries_in(tmp_path)), store.get("e").body["deviceId"]))
        with pytest.raises(TimeoutError):  # there is time to send it, and nobody does
            cloud.wait_for_events(2, 0.3)
        store.put([new])

    relay.forward([new], put)

    assert seen == [(1, "old")]
    relay._dispatch.flush(5)
    assert cloud.events["e"]["deviceId"] == "new"
    assert len(cloud.arrivals) == 2


def test_what_an_earlier_process_left_waits_from_the_first_moment_on(cloud, relay_with, tmp_path):
    """Else the page says for a moment after a start that all is forwarded."""
    cloud.refuse()
    earlier = Outbox(tmp_path / "outbox", ROOM)
    store_entries(earlier, Address("api", cloud.url, KEY.identity()), 300)
    earlier.close()

    relay = relay_with()

    assert relay.summary().waiting > 0  # how many is certain once they have all moved
    eventually(lambda: relay._dispatch.has_adopted)
    assert relay.summary().waiting == 300


def test_what_the_store_refuses_is_withdrawn_and_never_sent(cloud, store, relay_with, tmp_path):
    relay = relay_with()

    def put():
        raise RuntimeError("the database is gone")

    with pytest.raises(RuntimeError, match="gone"):
        relay.forward([event("a"), event("b")], put)

    assert entries_in(tmp_path) == []
    relay._dispatch.flush(2)
    assert cloud.requests == []
    report = relay.report()
    assert (report.taken, report.delivered, dict(report.dropped)) == (0, 0, {})


def test_if_one_of_many_finds_no_room_none_is_put(store, cloud, relay_with, tmp_path):
    cloud.refuse()
    relay = relay_with(OutboxLimits(min_free_bytes=0, max_events=2))
    events = [event(str(number)) for number in range(3)]

    with pytest.raises(NotForwarded, match="VISION_EVENT_OUTBOX_MAX_EVENTS"):
        relay.forward(events, lambda: store.put(events))

    assert entries_in(tmp_path) == []
    assert store.get("0") is None


@pytest.mark.parametrize(("severity", "is_urgent"), [("high", True), ("low", False)])
def test_an_alert_of_high_severity_is_urgent(
    cloud, store, relay_with, tmp_path, severity, is_urgent
):
    cloud.refuse()
    alert = {"alertType": "fire", "severity": severity}
    loud = event("e", eventType="safety_alert", eventData=alert)
    relay_with().forward([loud], lambda: store.put([loud]))

    [entry] = entries_in(tmp_path)
    assert metadata_at(RealDisk(), entry).is_urgent is is_urgent


def test_more_pictures_than_an_entry_holds_go_from_the_store(cloud, store, relay_with, tmp_path):
    content = picture(size=(200, 150))
    relay = relay_with(max_entry_picture_bytes=len(content))
    ids = [store.pictures.put(content).id for _ in range(3)]
    many = event("e", images=[{"sourceId": each} for each in ids])
    with cloud.refusing():
        relay.forward([many], lambda: store.put([many]))
        [entry] = entries_in(tmp_path)
        with tarfile.open(entry) as archive:
            assert len(archive.getnames()) == 2  # the payload and one picture

    [there] = cloud.wait_for_events(1)
    assert [cloud.uploads[image["sourceId"]].picture for image in there["images"]] == [content] * 3


def waiting(relay):
    outbox = relay._dispatch.courier.outbox
    return {event_id_in(entry.event_id) for entry in outbox.entries()}


def test_a_deleted_event_that_waits_is_not_sent(cloud, store, relay_with):
    relay = relay_with()
    with cloud.refusing():
        for event_id in ("a/b", "x" * 250, "kept", "kept-01234567", "a/b"):  # one of them twice
            put = event(event_id)
            relay.forward([put], lambda put=put: store.put([put]))
        gone, withdrawn = {"a/b", "x" * 250, "kept-01234567", "never-here"}, set()
        # What is being tried at this moment is not stopped; it fails, and waits again.
        eventually(
            lambda: withdrawn.update(relay.forget(gone)) or waiting(relay) == {"kept"},
        )
    relay._dispatch.flush(10)

    assert withdrawn == gone - {"never-here"}
    assert set(cloud.events) == {"kept"}
    report = relay.report()
    assert (report.taken, report.summary.waiting, report.delivered) == (5, 0, 1)
    assert dict(report.dropped) == {"deleted": 4}


def test_forgetting_names_what_waited_and_leaves_what_was_sent(cloud, store, relay_with):
    relay = relay_with()
    sent, waits = event("sent"), event("waits")
    relay.forward([sent], lambda: store.put([sent]))
    relay._dispatch.flush(10)
    with cloud.refusing():
        relay.forward([waits], lambda: store.put([waits]))
        withdrawn = set()
        eventually(lambda: withdrawn.update(relay.forget({"sent", "waits"})) or withdrawn)

    assert withdrawn == {"waits"}
    relay._dispatch.flush(10)
    assert set(cloud.events) == {"sent"}


def test_the_dead_letter_of_a_deleted_event_is_dropped(cloud, store, relay_with):
    relay = relay_with()
    refused, other = event("refused"), event("other")
    for each in (refused, other):
        cloud.poison(each.event_id)
        relay.forward([each], lambda each=each: store.put([each]))
    eventually(lambda: relay.summary().refused == 2)

    assert relay.forget({"refused"}) == set()

    report = relay.report()
    assert [letter.event_id for letter in report.dead_letters] == ["other"]
    assert dict(report.dropped) == {"deleted": 1}

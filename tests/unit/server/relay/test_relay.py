"""How an event gets on its way, step by step, over a real outbox and a real store."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.integration.server.conftest import picture
from tests.unit.cli.entries import store as store_entries
from tests.waiting import eventually
from vision_event_block.delivery.client import Secret, VisionEventsClient
from vision_event_block.delivery.courier import CourierLimits
from vision_event_block.delivery.dispatch import Dispatch, DispatchLimits
from vision_event_block.outbox import clock
from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.entry import Address, DeliveryMetadata, unpack
from vision_event_block.outbox.outbox import Outbox
from vision_event_block.outbox.quota import OutboxLimits
from vision_event_block.outbox.slot import metadata_at
from vision_event_block.server.api.ingest import ingest
from vision_event_block.server.forwarding import NotForwarded
from vision_event_block.server.relay.packing import event_id_in
from vision_event_block.server.relay.relay import Relay
from vision_event_block.server.relay.relay_destination import RelayDestination
from vision_event_block.server.storage import Store
from vision_event_block.server.store.disk_quota import DiskLimits
from vision_event_block.server.store.records import Cleaned
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

    def open_relay(outbox=ROOM, key=KEY, **options):
        courier = CourierLimits(max_backoff_s=0.1)
        limits = DispatchLimits(tmp_path / "outbox", outbox=outbox, courier=courier)
        client = VisionEventsClient(base_url=cloud.url, api_key=key)
        destination = RelayDestination(client, cloud.url, key, store)
        opened.append(Dispatch(limits))
        return Relay(opened[-1], limits, destination, store, **options)

    yield open_relay
    for dispatch in opened:
        dispatch.close(0.0)


def event(event_id, **fields):
    now = datetime.now(timezone.utc)
    body = {"eventId": event_id, "eventType": "custom", "useCaseId": "line"}
    return ingest({**body, "timestamp": now.isoformat(), **fields}, now=now).event


def entries_in(tmp_path):
    return sorted((tmp_path / "outbox" / "slots").glob("*/*.tar"))


def test_an_event_is_in_the_outbox_before_it_is_in_the_store_and_goes_only_then(
    cloud, store, relay_with, tmp_path
):
    """Else a crash leaves a change that nobody forwards, or the version before it is sent."""
    relay = relay_with()
    old, new = event("e", deviceId="old"), event("e", deviceId="new")
    relay.forward([old], store.put)
    cloud.wait_for_events(1)
    eventually(lambda: not entries_in(tmp_path))  # the cloud has it before it is off the disk
    seen = []

    def put(events):
        seen.append((len(entries_in(tmp_path)), store.get("e").body["deviceId"]))
        with pytest.raises(TimeoutError):  # there is time to send it, and nobody does
            cloud.wait_for_events(2, 0.3)
        store.put(events)

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

    def put(_events):
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
        relay.forward(events, store.put)

    assert entries_in(tmp_path) == []
    assert store.get("0") is None


@pytest.mark.parametrize(("severity", "is_urgent"), [("high", True), ("low", False)])
def test_an_alert_of_high_severity_is_urgent(
    cloud, store, relay_with, tmp_path, severity, is_urgent
):
    cloud.refuse()
    alert = {"alertType": "fire", "severity": severity}
    loud = event("e", eventType="safety_alert", eventData=alert)
    relay_with().forward([loud], store.put)

    [entry] = entries_in(tmp_path)
    assert metadata_at(RealDisk(), entry).is_urgent is is_urgent


def test_an_entry_holds_the_event_as_it_came_and_no_picture(cloud, store, relay_with, tmp_path):
    ids = [store.pictures.put(picture(size=(200 + each, 150))).id for each in range(3)]
    sent = event("e", images=[{"sourceId": each, "later": 1} for each in ids], new={"a": [1]})
    with cloud.refusing():
        relay_with().forward([sent], store.put)
        [entry] = entries_in(tmp_path)
        contents = unpack(entry.read_bytes())
        assert contents.pictures == {}
        assert contents.payload["received"] == sent.received

    [there] = cloud.wait_for_events(1)
    pictures = [cloud.uploads[image["sourceId"]].picture for image in there["images"]]
    assert pictures == [picture(size=(200 + each, 150)) for each in range(3)]


def test_a_newer_version_of_an_event_does_not_upload_its_pictures_again(cloud, store, relay_with):
    first, second = (store.pictures.put(picture(size=(200 + each, 150))).id for each in range(2))
    relay = relay_with()
    relay.forward([event("e", images=[{"sourceId": first}])], store.put)
    eventually(lambda: len(cloud.arrivals) == 1 and relay.summary().waiting == 0)

    relay.forward([event("e", images=[{"sourceId": it} for it in (first, second)])], store.put)

    eventually(lambda: len(cloud.arrivals) == 2)
    assert len(cloud.events["e"]["images"]) == 2
    assert len(cloud.uploads) == 2


def waiting(relay):
    outbox = relay._dispatch.courier.outbox
    return {event_id_in(entry.event_id) for entry in outbox.entries()}


def test_a_deleted_event_that_waits_is_not_sent(cloud, store, relay_with):
    relay = relay_with()
    with cloud.refusing():
        for event_id in ("a/b", "x" * 250, "kept", "kept-01234567", "a/b"):  # one of them twice
            put = event(event_id)
            relay.forward([put], store.put)
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
    relay.forward([sent], store.put)
    relay._dispatch.flush(10)
    with cloud.refusing():
        relay.forward([waits], store.put)
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
        relay.forward([each], store.put)
    eventually(lambda: relay.summary().refused == 2)

    assert relay.forget({"refused"}) == set()

    report = relay.report()
    assert [letter.event_id for letter in report.dead_letters] == ["other"]
    assert dict(report.dropped) == {"deleted": 1}


def cleaned(tmp_path, *, in_days):
    """What a clean-up removes in some days that keeps events for ten days."""
    then = datetime.now(timezone.utc) + timedelta(days=in_days)
    with Store.open(tmp_path / "store", deletes_after_days=10, clock=lambda: then) as store:
        return store.clean_up()


def test_what_waits_is_not_cleaned_up_nor_are_its_pictures_until_it_has_gone(
    cloud, store, relay_with, tmp_path
):
    content = picture()
    days_ago = (datetime.now(timezone.utc) - timedelta(days=300)).isoformat()
    # Here its images break a rule, and are not shown; the cloud shall judge for itself.
    images = [{"sourceId": store.pictures.put(content).id, "label": 5}]
    cloud.poison("refused")
    relay = relay_with()
    with cloud.refusing():
        waiting = event("e", timestamp=days_ago, images=images)
        relay.forward([waiting, event("refused", timestamp=days_ago)], store.put)
        relay.settle()
        assert cleaned(tmp_path, in_days=2) == Cleaned(events=0, pictures=0)

    eventually(lambda: relay.summary().refused == 1 and relay.summary().waiting == 0)
    [image] = cloud.bodies["e"]["images"]
    assert cloud.uploads[image["sourceId"]].picture == content
    assert cleaned(tmp_path, in_days=2) == Cleaned(events=0, pictures=0)
    relay.settle()
    assert cleaned(tmp_path, in_days=2) == Cleaned(events=1, pictures=0)
    assert cleaned(tmp_path, in_days=4) == Cleaned(events=0, pictures=1)
    assert store.get("refused") is not None, "a dead letter can be requeued"


def test_no_room_is_made_of_what_waits(cloud, store, relay_with, tmp_path):
    full = DiskLimits(keep_bytes=1)

    def pictures_gone():
        with Store.open(tmp_path / "store", quota=full) as same:
            return same.room.make().pictures

    source_id = store.pictures.put(picture()).id
    hours_ago = (datetime.now(timezone.utc) - timedelta(hours=9)).isoformat()
    relay = relay_with()
    with cloud.refusing():
        relay.forward(
            [event("e", timestamp=hours_ago, images=[{"sourceId": source_id}])], store.put
        )
        relay.settle()
        assert pictures_gone() == 0

    eventually(lambda: relay.summary().waiting == 0)
    assert pictures_gone() == 0
    relay.settle()
    assert pictures_gone() == 1
    assert cloud.bodies["e"]["images"]


def test_what_another_outbox_has_is_left_to_it(cloud, store, relay_with, tmp_path):
    """Two servers may share a database, and each has an outbox."""
    days_ago = (datetime.now(timezone.utc) - timedelta(days=300)).isoformat()
    with cloud.refusing():
        relay_with().forward([event("e", timestamp=days_ago)], store.put)
        store.settle_forwarding("the other", set)
        assert cleaned(tmp_path, in_days=0).events == 0


def test_a_bundle_of_the_version_before_is_sent_with_its_pictures(cloud, relay_with, tmp_path):
    content = picture()
    member = "images/" + "a" * 32 + ".jpg"
    body = {
        "bundleFormatVersion": 1,
        "eventId": "old",
        "eventType": "custom",
        "useCaseId": "line",
        "timestamp": datetime.now(timezone.utc).isoformat(),
        "images": [{"file": member, "label": "a"}],
    }
    earlier = Outbox(tmp_path / "outbox", ROOM)
    notes = DeliveryMetadata(Address("api", cloud.url, KEY.identity()), clock.reading())
    earlier.store("old-0a1b2c3d", body, {member: content}, notes)
    earlier.close()

    relay_with()

    [there] = cloud.wait_for_events(1)
    assert cloud.picture_of(there) == content
    assert there["images"][0]["label"] == "a"


def test_what_waits_goes_under_a_new_key(cloud, store, relay_with):
    cloud.refuse_key("made-up-key")
    relay = relay_with()
    relay.forward([event("e")], store.put)
    eventually(lambda: relay.summary().trouble)
    relay._dispatch.close(0.0)

    relay_with(key=Secret("renewed-key"))

    assert cloud.wait_for_events(1)[0]["eventId"] == "e"


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(-1e9, 1e9) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
EXTRA = st.dictionaries(NAMES.map("x {}".format), JSON, max_size=3)
WITH_PICTURE = st.sampled_from([(), ("sourceId",), ("sourceId", "inputSourceId")])


@st.composite
def bodies(draw):
    """An event with keys on every level that nobody knows; names of pictures stand for ids."""

    def annotation(**keys):
        box = {"class": "a", "x": 1, "y": 2, "width": 3, "height": 4, "confidence": 0.5}
        return {**box, **keys, **draw(EXTRA)}

    def image():
        point = {"id": 0, "x": 1, "y": 2, **draw(EXTRA)}
        lists = {
            "objectDetections": [annotation()],
            "keypoints": [annotation(keypoints=[point])],
            "instanceSegmentations": [annotation(points=[[0, 0], [1, 0], [1, 1]])],
            "classifications": [{"class": "a", "confidence": 1, **draw(EXTRA)}],
            "metadata": {"gain": 2, **draw(EXTRA)},
        }
        chosen = draw(st.sets(st.sampled_from(sorted(lists))))
        named = {key: f"picture {draw(st.integers(0, 2))}" for key in draw(WITH_PICTURE)}
        return {**named, **{key: lists[key] for key in chosen}, **draw(EXTRA)}

    body = {
        "eventId": str(uuid4()),
        "eventType": "custom",
        "useCaseId": "line",
        "timestamp": draw(st.sampled_from(TIMES)),
        "eventData": {"value": "v", **draw(EXTRA)},
        "customMetadata": {"n": draw(st.floats(-1e6, 1e6)), **draw(EXTRA)},
        "images": [image() for _ in range(draw(st.integers(0, 3)))],
        **draw(EXTRA),
    }
    if draw(st.booleans()):
        body["displayImagePosition"] = draw(st.integers(0, 2))
    return body


TODAY = datetime.now(timezone.utc).date()
TIMES = [f"{TODAY}T00:00:00.25Z", f"{TODAY}", f"{TODAY}T01:00:00.123456789+01:00"]


def with_pictures(body, told):
    """The body with something else in place of each name of a picture."""
    images = [
        {k: told(v) if k in ("sourceId", "inputSourceId") else v for k, v in image.items()}
        for image in body["images"]
    ]
    return {**body, "images": images}


def test_the_cloud_gets_every_key_of_every_level_as_it_came(cloud, store, relay_with):
    contents = {f"picture {n}": picture(size=(20 + n, 20)) for n in range(3)}
    ids = {name: store.pictures.put(content).id for name, content in contents.items()}
    names = {content: name for name, content in contents.items()}
    relay = relay_with()

    @settings(max_examples=30)
    @given(st.lists(bodies(), min_size=1, max_size=5))
    def whatever_comes(sent):
        now = datetime.now(timezone.utc)
        events = [ingest(with_pictures(body, ids.get), now=now).event for body in sent]
        relay.forward(events, store.put)
        assert relay._dispatch.flush(30) == 0
        for body in sent:
            there = cloud.bodies[body["eventId"]]
            assert with_pictures(there, lambda each: names[cloud.uploads[each].picture]) == body

    whatever_comes()

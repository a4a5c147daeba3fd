"""What the relay's courier sends when an event came more than once or its entry has shrunk."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timezone
from itertools import pairwise
from uuid import uuid4

import pytest

from tests.integration.server.conftest import picture
from vision_event_block.delivery.client import Secret, VisionEventsClient
from vision_event_block.delivery.errors import InternalError, TransientError
from vision_event_block.outbox import clock
from vision_event_block.outbox.entry import DeliveryMetadata, EntryContents
from vision_event_block.server.api.ingest import ingest
from vision_event_block.server.relay.packing import payload_of
from vision_event_block.server.relay.relay_destination import RelayDestination
from vision_event_block.server.storage import Store
from vision_event_block.testing import StandInApi

KEY = Secret("made-up-key")


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
def destination(cloud, store):
    client = VisionEventsClient(base_url=cloud.url, api_key=KEY)
    destination = RelayDestination(client, cloud.url, KEY, store)
    yield destination
    destination.close()


def put(store, event_id, **fields):
    now = datetime.now(timezone.utc)
    body = {"eventId": event_id, "eventType": "custom", "useCaseId": "line", **fields}
    store.put([ingest({**body, "timestamp": now.isoformat()}, now=now).event])


def entry_of(store, destination, event_id):
    """An entry as the outbox gives it to the courier, once its pictures are up."""
    notes = DeliveryMetadata(destination.address, clock.reading())
    contents = destination.completed(EntryContents(payload_of(store.get(event_id)), {}, notes))
    ids = {member: destination.upload(each) for member, each in contents.pictures.items()}
    return replace(contents, pictures={}), ids


def test_more_pictures_than_fit_into_memory_go_one_by_one(cloud, store):
    contents = [picture(size=(200 + each, 150)) for each in range(3)]
    put(store, "e", images=[{"sourceId": store.pictures.put(each).id} for each in contents])
    client = VisionEventsClient(base_url=cloud.url, api_key=KEY)
    destination = RelayDestination(
        client, cloud.url, KEY, store, max_held_picture_bytes=len(contents[0])
    )
    entry, ids = entry_of(store, destination, "e")
    assert len(ids) == 1

    destination.send([(entry, ids)])

    images = cloud.events["e"]["images"]
    assert [cloud.uploads[image["sourceId"]].picture for image in images] == contents
    destination.close()


def test_an_old_entry_brings_what_the_store_has_now(cloud, store, destination):
    old_picture, new_picture = picture(size=(30, 20)), picture(size=(31, 20))
    put(store, "e", images=[{"sourceId": store.pictures.put(old_picture).id}])
    old = entry_of(store, destination, "e")
    put(store, "e", images=[{"sourceId": store.pictures.put(new_picture).id}], deviceId="d")

    destination.send([old])

    assert cloud.events["e"]["deviceId"] == "d"
    assert cloud.picture_of(cloud.events["e"]) == new_picture


def test_two_entries_about_one_event_are_one_event_in_the_request(cloud, store, destination):
    put(store, "e")
    put(store, "other")
    entries = [entry_of(store, destination, each) for each in ("e", "other", "e")]

    destination.send(entries)

    [request] = cloud.requests
    assert sorted(request.event_ids) == ["e", "other"]


def test_an_event_that_the_store_has_deleted_goes_as_its_entry_has_it(cloud, store, destination):
    put(store, "e", deviceId="d")
    contents, ids = entry_of(store, destination, "e")
    received = {**contents.payload["received"], "eventId": "deleted"}
    gone = {**contents.payload, "eventId": "deleted", "received": received}

    destination.send([(EntryContents(gone, {}, contents.metadata), ids)])

    assert cloud.events["deleted"]["deviceId"] == "d"


def test_pictures_from_the_store_are_not_uploaded_once_more_for_each_try(cloud, store, destination):
    put(store, "e", images=[{"sourceId": store.pictures.put(picture()).id}])
    contents, _ = entry_of(store, destination, "e")
    before = len(cloud.uploads)
    cloud.fail(503, times=2, route="create")
    for _ in range(2):
        with pytest.raises(TransientError):
            destination.send([(contents, {})])

    destination.send([(contents, {})])

    assert len(cloud.uploads) == before + 1
    assert cloud.picture_of(cloud.events["e"]) == picture()


def test_a_store_that_cannot_be_read_makes_events_wait(store, destination, tmp_path):
    put(store, "e")
    entry = entry_of(store, destination, "e")
    store.close()
    for file in (tmp_path / "store").glob("vision-events.db*"):
        file.write_bytes(b"no database any more" * 1000)

    with pytest.raises(InternalError, match="store"):
        destination.send([entry])
    with pytest.raises(InternalError, match="store"):
        destination.completed(entry[0])


def test_two_requests_about_one_event_are_never_under_way_together(cloud, store, destination):
    put(store, "e")
    entry = entry_of(store, destination, "e")
    cloud.delay_s = 0.1
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: destination.send([entry]), range(4)))

    spans = sorted((each.started_s, each.ended_s) for each in cloud.requests)
    assert len(spans) == 4
    assert all(ended <= starts for (_, ended), (starts, _) in pairwise(spans))


def test_requests_about_several_events_in_any_order_do_not_wait_for_each_other(
    cloud, store, destination
):
    ids = [str(uuid4()) for _ in range(4)]
    for each in ids:
        put(store, each)
    entries = [entry_of(store, destination, each) for each in ids]
    orders = [entries, entries[::-1], entries[::2], entries[1:]] * 5
    threads = [threading.Thread(target=destination.send, args=(order,)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert not any(thread.is_alive() for thread in threads)
    assert set(cloud.events) == set(ids)

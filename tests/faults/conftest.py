"""An API that fails on purpose, and a process that has events for it."""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime, timezone

import pytest

from tests.faults.worker import Nursery, Task
from vision_event_block.delivery.client import Secret, Timeouts, VisionEventsClient
from vision_event_block.delivery.courier import Courier, CourierLimits
from vision_event_block.delivery.destinations import ApiDestination
from vision_event_block.outbox import clock
from vision_event_block.outbox.entry import DeliveryMetadata
from vision_event_block.outbox.outbox import Outbox
from vision_event_block.testing import StandInApi

KEY = Secret("made-up-key")


@pytest.fixture
def api():
    with StandInApi(keeps_pictures=False) as api:
        yield api


class Producer:
    """Stores events and hands them to a courier; knows what it stored."""

    def __init__(self, folder, url, **more):
        timeouts = Timeouts(connect_s=1.0, read_s=2.0)
        client = VisionEventsClient(base_url=url, api_key=KEY, timeouts=timeouts)
        self.destination = ApiDestination(client, url, KEY)
        self.outbox = Outbox(folder)
        uniform = {"uniform": more.pop("uniform")} if "uniform" in more else {}
        self.courier = Courier(self.outbox, CourierLimits(**more), **uniform)
        self.courier.register(self.destination)
        #: The pictures' hashes by event id, the output first.
        self.stored = {}

    def store(self, pictures=1, size_bytes=2_000):
        """A new entry on disk with pictures that no other event has."""
        event_id = str(uuid.uuid4())
        contents = [
            f"{number} of {event_id}".encode().ljust(size_bytes, b".") for number in range(pictures)
        ]
        members = {f"images/{uuid.uuid4()}.jpg": content for content in contents}
        payload = {
            "bundleFormatVersion": 1,
            "eventId": event_id,
            "eventType": "custom",
            "useCaseId": "dock",
            "timestamp": datetime.now(timezone.utc).isoformat(),
            "images": [
                {"label": "workflow", **dict(zip(("file", "inputFile"), members, strict=False))}
            ],
        }
        entry = self.outbox.store(
            event_id, payload, members, DeliveryMetadata(self.destination.address, clock.reading())
        )
        self.stored[event_id] = [hashlib.sha256(content).hexdigest() for content in contents]
        return entry

    def send(self, **what):
        """Stores an event and hands it over; its id."""
        entry = self.store(**what)
        self.courier.submit(entry)
        return entry.event_id

    def close(self):
        self.courier.close(0)
        self.outbox.close()


@pytest.fixture
def producer_with(api, tmp_path):
    producers = []

    def make(**more):
        producers.append(Producer(tmp_path / "outbox", api.url, **more))
        return producers[-1]

    yield make
    for producer in producers:
        producer.close()


@pytest.fixture
def say():
    """Prints a figure, to be seen with `pytest -s`."""
    return lambda words: print(f"\n{words}")  # noqa: T201 - figures are for people


@pytest.fixture
def judge(api):
    """Fails unless exactly the stored events arrived, each with its own pictures."""

    def check(producer, *, without=()):
        expected = {key: value for key, value in producer.stored.items() if key not in without}
        found = {}
        for event_id, event in api.events.items():
            (image,) = event["images"]
            ids = [image[key] for key in ("sourceId", "inputSourceId") if key in image]
            found[event_id] = [api.uploads[source_id].sha256 for source_id in ids]
        assert found == expected
        assert producer.outbox.entries() == []
        fresh = producer.send()
        producer.courier.flush(60)
        assert fresh in api.events

    return check


@pytest.fixture(scope="session")
def nursery():
    with Nursery() as nursery:
        yield nursery


@pytest.fixture
def task(api, tmp_path):
    """Record events for the API until killed."""
    logs = tmp_path / "logs"
    logs.mkdir()
    return Task(outbox=str(tmp_path / "outbox"), url=api.url, logs=str(logs))

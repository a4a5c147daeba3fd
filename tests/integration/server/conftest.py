"""A server on a real socket with a real store, and bodies to send it."""

from __future__ import annotations

import io
import itertools
import json
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from uuid import uuid4

import pytest
import requests
from PIL import Image

from tests.bodies import tar
from vision_event_block.server.http_server import serving
from vision_event_block.server.keys import Keys
from vision_event_block.server.relay.opening import relaying
from vision_event_block.server.storage import Store
from vision_event_block.server.store.disk_quota import DiskLimits
from vision_event_block.testing import StandInApi

_numbers = itertools.count()


class Running(requests.Session):
    """A server, and a client of it that knows where it is."""

    def __init__(self, url, store):
        super().__init__()
        self.trust_env = False
        self.url = url
        self.store = store

    def request(self, method, url, *args, **kwargs):
        kwargs.setdefault("timeout", 60)
        return super().request(method, self.url + url, *args, **kwargs)

    def new_use_case(self):
        return self.store.use_cases.create(f"Use case {next(_numbers)}").id

    def upload(self, content, **fields):
        return self.post("/vision-events/upload", files={"file": ("x.bin", content)}, data=fields)

    def events_of(self, use_case_id, **query):
        reply = self.post("/vision-events/query", json={"useCaseId": use_case_id, **query})
        assert reply.status_code == 200, reply.text
        return reply.json()["events"]

    def is_alive(self):
        use_case_id = self.new_use_case()
        created = self.post("/vision-events", json=event(use_case_id))
        return created.status_code == 201 and len(self.events_of(use_case_id)) == 1


@contextmanager
def running(folder, keys=(), lookback_days=14.0, deletes_after_days=None, quota=None, **options):
    with (
        Store.open(
            folder,
            lookback_days=lookback_days,
            deletes_after_days=deletes_after_days,
            quota=quota or DiskLimits(),
        ) as store,
        serving(store, Keys(keys), **options) as url,
        Running(url, store) as server,
    ):
        yield server


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A server without keys, as it is started for a first look; all tests share it."""
    with running(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def use_case(server):
    return server.new_use_case()


@pytest.fixture
def start(tmp_path):
    """A function that starts a server of its own, in the way that a test wants it."""
    started = []

    def start_server(**options):
        context = running(tmp_path / f"server-{len(started)}", **options)
        server = context.__enter__()
        started.append(context)
        return server

    yield start_server
    for context in reversed(started):
        context.__exit__(None, None, None)


def ago(**span):
    return (datetime.now(timezone.utc) - timedelta(**span)).isoformat()


def event(use_case_id, **fields):
    return {
        "eventId": str(uuid4()),
        "eventType": "custom",
        "useCaseId": use_case_id,
        "timestamp": ago(),
        **fields,
    }


def device_event(use_case_id, **fields):
    return {
        "inference_timestamp": ago(),
        "event_schema": "quality_check",
        "event_data": {"result": "fail"},
        "solution": use_case_id,
        **fields,
    }


def picture(kind="JPEG", size=(32, 24)):
    buffer = io.BytesIO()
    Image.new("RGB", size, "orange").save(buffer, kind)
    return buffer.getvalue()


def bundle(payload, pictures=(), *, mode="w:gz"):
    return tar({"payload.json": json.dumps(payload).encode(), **dict(pictures)}, mode=mode)


def answered(sent):
    """An event as a query answers it."""
    whole = {"eventData": {}, "images": [], "customMetadata": {}, **sent}
    return {key: value for key, value in whole.items() if key != "useCaseId"}


def error_of(reply, status=400):
    assert reply.status_code == status, reply.text
    assert list(reply.json()) == ["error"]
    return reply.json()["error"]


@pytest.fixture
def relay(tmp_path):
    """A server that forwards to a cloud, and the cloud."""
    with (
        StandInApi() as cloud,
        Store.open(tmp_path) as store,
        relaying(cloud.url, store, tmp_path / "outbox", host="127.0.0.1", port=0) as relay,
        serving(store, forwarding=relay) as url,
        Running(url, store) as server,
    ):
        yield server, cloud

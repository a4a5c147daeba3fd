"""Requests, stored events and pictures made to kill, freeze or starve the server.

Each attack runs against a server in a process of its own, while another process asks for its
health: every answer comes within a second of a machine that has nothing else to do, and the server
and its children hold less than 600 MiB. The server has less patience than usual, so that what it
waits for is over sooner. With TEST_SOAK above 1 it is `vision-events serve` itself, and the
attacks last for as many times as long.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import requests

from tests.hostile_pictures import HUGE_AVIF, endless_jpeg, hiding_its_size
from tests.integration.server import health_probe, impatient_process
from tests.integration.server.conftest import event, picture
from tests.integration.server.serve_process import COMMAND, serve
from vision_event_block.server.storage import Store
from vision_event_block.server.store.records import NewEvent

pytestmark = pytest.mark.timeout(600)

MIB = 2**20
MAX_HEALTH_S = 1.0
MAX_MIB = 600
SOAK = float(os.environ.get("TEST_SOAK", "1"))
SERVER = COMMAND if SOAK > 1 else (sys.executable, impatient_process.__file__)
FAT_EVENTS = 6
BOX = {"class": "a", "x": 5.5, "y": 5.5, "width": 4.25, "height": 4.25, "confidence": 0.5}


def stored(number, use_case, **body):
    """An event as an earlier version took it, whatever is in it."""
    moment = datetime.now(timezone.utc) - timedelta(minutes=1, milliseconds=number)
    event_id = f"{use_case}-{number}"
    identity = {"eventId": event_id, "eventType": "custom", "useCaseId": use_case}
    return NewEvent(
        event_id=event_id,
        event_type="custom",
        use_case_id=use_case,
        timestamp=moment,
        body={**identity, "timestamp": moment.isoformat(), "eventData": {}, **body},
    )


def fill(folder):
    """What the attacks find in the store."""
    ring = [[0, 0], [1e9, 0], [1e9, 1e9]]
    comb = [[0, 0], [60_000, 60_000]] * 400
    boxes = [BOX] * 1000
    with Store.open(folder) as store:
        for name in ("rings", "fat", "texts"):
            store.use_cases.create(name, id=name)
        here = store.pictures.put(picture()).id
        for number, points in enumerate((ring, comb)):
            segments = [{**BOX, "points": points}] * 20
            shown = {"instanceSegmentations": segments}
            images = [{"sourceId": "f" * 32, **shown}, {"inputSourceId": here, **shown}]
            store.put([stored(number, "rings", images=images)])
        for number in range(FAT_EVENTS):
            images = [{"objectDetections": boxes}] * 70
            store.put([stored(number, "fat", images=images)])
        for start in range(0, 3000, 100):
            store.put(
                [
                    stored(number, "texts", eventData={"value": "a" * 9_990 + f"{number:06d}"})
                    for number in range(start, start + 100)
                ]
            )


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attacked")
    (folder / "data").mkdir()
    fill(folder / "data")
    with serve(folder, command=SERVER) as running:
        yield running


@contextmanager
def under_watch(server):
    """Fails if the server's health is not told in time, or it grows too large."""
    port = int(server.url.rpartition(":")[2])
    probe = subprocess.Popen(
        [sys.executable, health_probe.__file__, str(port), str(server.process.pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert probe.stdout.readline() == "ready\n"
        yield
        time.sleep(0.5)
        seen = json.loads(probe.communicate("", timeout=90)[0])
    finally:
        probe.kill()
        probe.communicate()
    record_of(seen)
    assert server.process.poll() is None
    assert seen["asks"] > 1, seen
    assert seen["worst_work_s"] < MAX_HEALTH_S, seen
    assert seen["peak_mib"] < MAX_MIB, seen


def record_of(seen):
    """With TEST_FIGURES, the name of a file, each attack leaves its figures there."""
    if name := os.environ.get("TEST_FIGURES"):
        with Path(name).open("a") as file:
            file.write(json.dumps({"test": os.environ["PYTEST_CURRENT_TEST"], **seen}) + "\n")


def at_once(count, call):
    """What so many threads got."""
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(call, range(count)))


def connection_to(server, *, source="127.0.0.1", **options):
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    connection = socket.socket()
    for name, value in options.items():
        connection.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
    connection.settimeout(60)
    connection.bind((source, 0))
    connection.connect((host, int(port)))
    return connection


def patiently(ask):
    """The answer of a client that comes back as it is told to."""
    reply = ask()
    ends_at_s = time.monotonic() + 120
    while reply.status_code == 503 and time.monotonic() < ends_at_s:
        time.sleep(0.2)
        reply = ask()
    return reply


def head(method, path, size_bytes=0, media_type="application/json"):
    return (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\n"
        f"Content-Length: {size_bytes}\r\n\r\n"
    ).encode()


def status_of(connection):
    return int(connection.recv(12)[9:12])


@pytest.mark.parametrize("kind", ["coco", "coco-rle", "coco-zip", "yolo-seg"])
def test_outlines_beyond_their_picture(server, kind):
    with under_watch(server):
        for _ in range(int(SOAK)):
            reply = server.get(f"/use-cases/rings/export/{kind}")
            assert reply.status_code == 200
            assert len(reply.content) > 1000


def test_a_header_beside_a_tar_member(server):
    info = tarfile.TarInfo("h")
    info.type, info.size = tarfile.XHDTYPE, 200_000
    archive = info.tobuf(tarfile.USTAR_FORMAT) + b"1" * info.size

    with under_watch(server):
        replies = at_once(8, lambda _: server.post("/vision-events/bundle", data=archive))

    assert {reply.status_code for reply in replies} == {400}


def test_pictures_that_take_long_to_decode(server):
    endless = [
        server.upload(endless_jpeg(2000) + bytes([number])).json()["sourceId"]
        for number in range(2 if SOAK > 1 else 1)
    ]
    address = "/vision-events/pictures/{}?side=160"

    with under_watch(server):
        replies = at_once(
            45, lambda n: requests.get(server.url + address.format(endless[n % len(endless)]))
        )
        started_s = time.monotonic()
        again = [server.get(address.format(each)) for each in endless]
        again_s = time.monotonic() - started_s
        sound = server.get(address.format(server.upload(picture()).json()["sourceId"]))

    # No thumbnail: the picture itself.
    assert {reply.status_code for reply in (*replies, *again)} == {200}
    assert {reply.content[6:10] for reply in (*replies, *again)} == {b"JFIF"}
    assert all(len(reply.content) > 100_000 for reply in (*replies, *again))
    assert again_s < 20  # it is not decoded again
    assert len(sound.content) < 10_000


def test_an_avif_that_hides_its_size(server):
    hidden = hiding_its_size(HUGE_AVIF.read_bytes())
    uploaded = server.upload(hidden)
    assert uploaded.status_code == 201

    with under_watch(server):
        address = f"/vision-events/pictures/{uploaded.json()['sourceId']}?side=160"
        replies = at_once(4, lambda _: requests.get(server.url + address))

    assert {len(reply.content) for reply in replies} == {len(hidden)}


def test_forms_that_drip_to_the_login(server):
    with under_watch(server), ExitStack() as opened:
        large = opened.enter_context(connection_to(server))
        large.sendall(head("POST", "/login", 2 * MIB, "application/x-www-form-urlencoded"))
        assert status_of(large) == 413
        for _ in range(40):
            dripping = opened.enter_context(connection_to(server))
            dripping.sendall(head("POST", "/login", 5000, "application/x-www-form-urlencoded"))
            dripping.sendall(b"key=")

        assert server.upload(picture("BMP", size=(2000, 1000))).status_code == 201


def test_large_bodies_that_drip(server):
    """One client holds what one client may; another one is not kept waiting."""
    with under_watch(server), ExitStack() as opened:
        for _ in range(12):
            dripping = opened.enter_context(connection_to(server))
            dripping.sendall(head("POST", "/vision-events/bundle", 20 * MIB, "application/x-tar"))
            dripping.sendall(bytes(1000))
        time.sleep(1)
        started_s = time.monotonic()
        refused = server.upload(picture("BMP", size=(4000, 2000)))
        waited_s = time.monotonic() - started_s
        other = opened.enter_context(connection_to(server, source="127.0.0.2"))
        other.sendall(head("POST", "/vision-events/bundle", 2 * MIB, "application/x-tar"))
        other.sendall(bytes(2 * MIB))
        small = server.post("/vision-events", json=event("texts"))
        assert status_of(other) == 400  # read, and found to be no bundle

    assert refused.status_code == 503
    assert refused.headers["Retry-After"] == "5"
    assert waited_s < 30
    assert small.status_code == 201


def contains(value):
    return {
        "useCaseId": "texts",
        "eventFieldFilters": [{"column": "value", "operator": "contains", "value": value}],
    }


def test_questions_that_take_long(server):
    """Of sixty at once, some by clients that leave, each is answered or told to come back."""
    slow = contains("a" * 9_000 + "b")
    body = json.dumps(slow).encode()

    with under_watch(server), ExitStack() as opened:
        for _ in range(20):
            leaving = opened.enter_context(connection_to(server))
            leaving.sendall(head("POST", "/vision-events/query", len(body)) + body)
        opened.close()
        replies = at_once(
            60, lambda _: requests.post(f"{server.url}/vision-events/query", json=slow, timeout=120)
        )
        again = patiently(lambda: server.post("/vision-events/query", json=slow))
        after = patiently(lambda: server.post("/vision-events/query", json={"useCaseId": "rings"}))

    assert {reply.status_code for reply in replies} <= {200, 503}
    assert all(
        "Retry-After" in reply.headers
        # On a busy machine one may take longer than any query may.
        and any(words in reply.json()["error"] for words in ("again", "took longer"))
        for reply in replies
        if reply.status_code == 503
    )
    assert (again.status_code, after.status_code) == (200, 200)


BODIES = {
    "empty lists": b"[" + b"[]," * (21 * MIB) + b"[]]",
    "empty objects": b"[" + b"{}," * (21 * MIB) + b"{}]",
    "numbers": b"[" + b"1," * (31 * MIB) + b"1]",
    "lists in lists": b"[" * 900_000 + b"]" * 900_000,
    "as many lists as are read": b"[" + b"[]," * 999_000 + b"[]]",
}


@pytest.mark.parametrize("case", BODIES)
def test_bodies_of_endless_values(server, case):
    headers = {"Content-Type": "application/json"}

    with under_watch(server):
        for _ in range(int(SOAK)):
            reply = server.post("/v2/events", data=BODIES[case], headers=headers)
            assert reply.status_code in (400, 422), reply.text
            if case != "as many lists as are read":
                assert "it " in reply.json()["detail"]


def test_the_body_of_a_query_is_small(server):
    reply = server.post("/vision-events/query", json={**contains("a"), "cursor": "a" * 70_000})

    assert reply.status_code == 413
    assert "64 KiB" in reply.json()["error"]


def test_fat_events(server):
    with under_watch(server):
        replies = at_once(4, lambda _: requests.get(f"{server.url}/use-cases/fat", timeout=120))
        grid = patiently(lambda: server.get("/use-cases/fat"))
        first = patiently(lambda: server.post("/vision-events/query", json={"useCaseId": "fat"}))

    assert {reply.status_code for reply in replies} <= {200, 503}
    assert grid.status_code == 200
    assert first.json()["hasMore"]
    assert 1 <= len(first.json()["events"]) < FAT_EVENTS


def test_readers_that_do_not_read(server):
    """Of exports few are made at once, and of answers few are held; the rest is told to wait."""
    query = json.dumps({"useCaseId": "fat", "limit": 1}).encode()
    asked = {
        "export": (head("GET", "/use-cases/fat/export/jsonl"), 400),
        "query": (head("POST", "/vision-events/query", len(query)) + query, 100),
    }
    with under_watch(server), ExitStack() as opened:
        slow = [
            opened.enter_context(connection_to(server, SO_RCVBUF=4096))
            for _, count in asked.values()
            for _ in range(count)
        ]
        requests_of = [request for request, count in asked.values() for _ in range(count)]
        for connection, request in zip(slow, requests_of, strict=True):
            connection.sendall(request)
        time.sleep(2 * SOAK)
        statuses = at_once(32, lambda n: [status_of(each) for each in slow[n::32]])
        assert server.post("/vision-events", json=event("texts")).status_code == 201

    answered = [status for part in statuses for status in part]
    assert set(answered) == {200, 503}
    assert answered.count(503) > 390

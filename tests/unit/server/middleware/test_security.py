"""The guards by themselves: what passes them, and what they answer instead."""

from __future__ import annotations

import asyncio
import errno
import json
from contextlib import closing, suppress

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from tests.waiting import run_at_once
from vision_event_block.server.error_handlers import add_error_handlers
from vision_event_block.server.loopback import is_loopback
from vision_event_block.server.middleware.body_limits import (
    KIB,
    MAX_JSON_BYTES,
    READ_TIMEOUT_S,
    BodyLimits,
    max_body_bytes,
)
from vision_event_block.server.middleware.security import SecurityHeaders, UnhandledErrors
from vision_event_block.server.store.errors import Busy

MIB = 2**20


def call(app, *, path="/vision-events", headers=(), chunks=()):
    """The messages that an application sends for a request, and how many chunks it took."""
    sent, taken = [], 0

    async def receive():
        nonlocal taken
        if taken == len(chunks):
            await asyncio.sleep(60)
        taken += 1
        return {
            "type": "http.request",
            "body": chunks[taken - 1],
            "more_body": taken < len(chunks),
        }

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "headers": list(headers)}
    run_at_once(app(scope, receive, send))
    return sent, taken


async def answer(send, headers=()):
    await send({"type": "http.response.start", "status": 200, "headers": list(headers)})
    await send({"type": "http.response.body", "body": b"{}"})


def reader(seen):
    async def app(scope, receive, send):
        more = True
        while more:
            message = await receive()
            seen.append(len(message["body"]))
            more = message["more_body"]
        await answer(send)

    return app


@pytest.mark.parametrize(("path", "key"), [("/vision-events", "error"), ("/v2/events", "detail")])
def test_what_goes_wrong_is_told_to_the_log_only(caplog, path, key):
    async def app(scope, receive, send):
        raise RuntimeError("the secret of the inside")

    sent, _ = call(UnhandledErrors(app), path=path)

    assert sent[0]["status"] == 500
    assert list(json.loads(sent[1]["body"])) == [key]
    assert b"secret" not in sent[1]["body"]
    assert "the secret of the inside" in caplog.text


def test_what_goes_wrong_in_the_middle_of_an_answer_ends_the_connection():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("too late")

    with pytest.raises(RuntimeError, match="too late"):
        call(UnhandledErrors(app))


def test_an_announced_body_that_is_too_large_is_not_read():
    seen = []

    sent, taken = call(
        BodyLimits(reader(seen)),
        headers=[(b"content-length", str(MAX_JSON_BYTES + 1).encode())],
        chunks=[b"x"],
    )

    assert sent[0]["status"] == 413
    assert (seen, taken) == ([], 0)


def test_a_body_is_not_read_beyond_its_limit():
    seen = []

    with pytest.raises(HTTPException) as refused:
        call(BodyLimits(reader(seen)), chunks=[bytes(MIB)] * 100)

    assert refused.value.status_code == 413
    assert sum(seen) == MAX_JSON_BYTES


def test_a_body_of_just_the_limit_passes():
    seen = []

    sent, _ = call(BodyLimits(reader(seen)), chunks=[bytes(MIB)] * 10)

    assert sent[0]["status"] == 200
    assert sum(seen) == MAX_JSON_BYTES


def test_a_body_that_does_not_come_is_not_waited_for():
    with pytest.raises(HTTPException) as refused:
        call(BodyLimits(reader([]), read_timeout_s=0.05), chunks=[])

    assert refused.value.status_code == 408


LARGE = {
    "small ones": ("/vision-events", MIB, "10.0.0.{}", 12),
    "large ones of many": ("/vision-events/upload", 12 * MIB, "10.0.0.{}", 5),
    "large ones of one": ("/vision-events/upload", 12 * MIB, "10.0.0.1", 4),
    "documents, which take more memory": ("/vision-events", 4 * MIB, "10.0.0.{}", 4),
    "the largest, alone": ("/vision-events/batch", 32 * MIB, "10.0.0.{}", 1),
}


@pytest.mark.parametrize("is_announced", [True, False], ids=["announced", "in chunks"])
@pytest.mark.parametrize("case", LARGE)
def test_only_a_few_large_bodies_are_in_memory_at_once(case, is_announced):
    path, size_bytes, address, at_once = LARGE[case]
    if not is_announced and size_bytes > MIB:
        size_bytes, at_once = max_body_bytes(path), 1  # it may become as large as any
    inside, most, done = 0, 0, 0

    async def app(scope, receive, send):
        nonlocal inside, most, done
        await receive()
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.01)
        inside -= 1
        done += 1

    async def receive():
        return {"type": "http.request", "body": bytes(size_bytes), "more_body": False}

    async def all_at_once():
        bounded = BodyLimits(app)
        length = [(b"content-length", str(size_bytes).encode())] if is_announced else []
        scope = {"type": "http", "method": "POST", "path": path, "headers": length}
        await asyncio.gather(
            *(
                bounded({**scope, "client": (address.format(number), 1)}, receive, None)
                for number in range(12)
            )
        )

    run_at_once(all_at_once())

    assert (most, done) == (at_once, 12)


def test_who_finds_no_place_for_a_large_body_is_told_to_come_back():
    async def app(scope, receive, send):
        await receive()
        await asyncio.sleep(60)

    async def receive():
        return {"type": "http.request", "body": bytes(32 * MIB), "more_body": False}

    async def two():
        bounded = BodyLimits(app, place_wait_s=0.05)
        scope = {"type": "http", "method": "POST", "path": "/vision-events/batch", "headers": []}
        first = asyncio.create_task(bounded(scope, receive, None))
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="large bodies"):
            await bounded(scope, receive, None)
        first.cancel()
        with suppress(asyncio.CancelledError):
            await first
        # What it held is free again.
        third = asyncio.create_task(bounded(scope, receive, None))
        await asyncio.sleep(0.2)
        assert not third.done()
        third.cancel()

    run_at_once(two())


@pytest.mark.parametrize(
    ("path", "size_bytes", "words"),
    [("/login", 8 * KIB, "8 KiB"), ("/vision-events/query", 64 * KIB, "64 KiB"),
     ("/nowhere", 64 * KIB, "64 KiB"), ("/events/a/feedback", 160 * KIB, "160 KiB"),
     ("/vision-events", 10 * MIB, "10 MiB")],
)  # fmt: skip
def test_a_body_may_be_as_large_as_its_route_needs(path, size_bytes, words):
    seen = []
    call(BodyLimits(reader(seen)), path=path, chunks=[bytes(size_bytes)])
    assert seen == [size_bytes]

    with pytest.raises(HTTPException) as refused:
        call(BodyLimits(reader([])), path=path, chunks=[bytes(size_bytes), b"x"])

    assert words in refused.value.detail


class Dripping:
    """A body that comes a byte at a time, each at once, on a clock that goes a second for each."""

    def __init__(self, loop):
        self.loop = loop
        self.sent = 0

    async def receive(self):
        self.sent += 1
        self.loop.ahead_s += 1
        return {"type": "http.request", "body": b"x", "more_body": True}


class AheadLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock can be set forward."""

    ahead_s = 0.0

    def time(self):
        return super().time() + self.ahead_s


def test_a_body_that_drips_is_given_up_however_steadily_it_comes():
    loop = AheadLoop()
    dripping = Dripping(loop)
    scope = {"type": "http", "method": "POST", "path": "/login", "headers": []}
    with closing(loop), pytest.raises(HTTPException) as refused:
        loop.run_until_complete(BodyLimits(reader([]))(scope, dripping.receive, None))

    assert refused.value.status_code == 408
    assert READ_TIMEOUT_S - 2 <= dripping.sent <= READ_TIMEOUT_S + 2


def test_a_route_may_set_a_header_of_its_own():
    async def app(scope, receive, send):
        await answer(send, [(b"content-security-policy", b"sandbox")])

    sent, _ = call(SecurityHeaders(app))

    headers = dict(sent[0]["headers"])
    assert headers[b"content-security-policy"] == b"sandbox"
    assert headers[b"x-content-type-options"] == b"nosniff"


LOOPBACK = {
    "localhost": True,
    "127.0.0.1": True,
    "127.9.9.9": True,
    "::1": True,
    "[::1]": True,
    "0.0.0.0": False,
    "::": False,
    "192.168.1.5": False,
    "box.lan": False,
    "localhost.evil.invalid": False,
}


@pytest.mark.parametrize("host", LOOPBACK)
def test_only_the_loopback_is_out_of_reach_of_others(host):
    assert is_loopback(host) is LOOPBACK[host]


FAULTS = {
    "a full disk": (OSError(errno.ENOSPC, "full"), "/x", 507, "error"),
    "a full quota": (OSError(errno.EDQUOT, "full"), "/x", 507, "error"),
    "a full disk of a device": (OSError(errno.ENOSPC, "full"), "/v2/x", 529, "detail"),
    "a database that is away": (OperationalError("SELECT", {}, OSError()), "/x", 503, "error"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_passes_by_itself_makes_clients_come_back(case):
    fault, path, status, key = FAULTS[case]
    app = FastAPI()
    add_error_handlers(app, lambda _: Response(status_code=404))

    @app.get(path)
    def fail():
        raise fault

    reply = TestClient(app).get(path)

    assert reply.status_code == status
    assert list(reply.json()) == [key]


def test_another_fault_of_the_system_is_not_taken_for_a_full_disk():
    app = FastAPI()
    add_error_handlers(app, lambda _: Response(status_code=404))

    @app.get("/x")
    def fail():
        raise PermissionError(errno.EACCES, "no")

    with pytest.raises(PermissionError):
        TestClient(app).get("/x")

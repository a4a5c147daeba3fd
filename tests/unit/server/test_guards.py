"""The guards by themselves: what passes them, and what they answer instead."""

from __future__ import annotations

import asyncio
import errno
import json

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from vision_event_block.server.guards import (
    MAX_JSON_BYTES,
    MAX_LARGE_BODIES,
    Bounded,
    Headed,
    Outermost,
    is_loopback,
)
from vision_event_block.server.refusals import word_errors

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
    asyncio.run(app(scope, receive, send))
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

    sent, _ = call(Outermost(app), path=path)

    assert sent[0]["status"] == 500
    assert list(json.loads(sent[1]["body"])) == [key]
    assert b"secret" not in sent[1]["body"]
    assert "the secret of the inside" in caplog.text


def test_what_goes_wrong_in_the_middle_of_an_answer_ends_the_connection():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("too late")

    with pytest.raises(RuntimeError, match="too late"):
        call(Outermost(app))


def test_an_announced_body_that_is_too_large_is_not_read():
    seen = []

    sent, taken = call(
        Bounded(reader(seen)),
        headers=[(b"content-length", str(MAX_JSON_BYTES + 1).encode())],
        chunks=[b"x"],
    )

    assert sent[0]["status"] == 413
    assert (seen, taken) == ([], 0)


def test_a_body_is_not_read_beyond_its_limit():
    seen = []

    with pytest.raises(HTTPException) as refused:
        call(Bounded(reader(seen)), chunks=[bytes(MIB)] * 100)

    assert refused.value.status_code == 413
    assert sum(seen) == MAX_JSON_BYTES


def test_a_body_of_just_the_limit_passes():
    seen = []

    sent, _ = call(Bounded(reader(seen)), chunks=[bytes(MIB)] * 10)

    assert sent[0]["status"] == 200
    assert sum(seen) == MAX_JSON_BYTES


def test_a_body_that_does_not_come_is_not_waited_for():
    with pytest.raises(HTTPException) as refused:
        call(Bounded(reader([]), read_timeout_s=0.05), chunks=[])

    assert refused.value.status_code == 408


@pytest.mark.parametrize(("size_bytes", "at_once"), [(MIB + 1, MAX_LARGE_BODIES), (MIB, 12)])
def test_only_a_few_large_bodies_are_in_memory_at_once(size_bytes, at_once):
    inside, most = 0, 0

    async def app(scope, receive, send):
        nonlocal inside, most
        await receive()
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.01)
        inside -= 1

    async def receive():
        return {"type": "http.request", "body": bytes(size_bytes), "more_body": False}

    async def all_at_once():
        bounded = Bounded(app)
        scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
        await asyncio.gather(*(bounded(scope, receive, None) for _ in range(12)))

    asyncio.run(all_at_once())

    assert most == at_once


def test_a_route_may_set_a_header_of_its_own():
    async def app(scope, receive, send):
        await answer(send, [(b"content-security-policy", b"sandbox")])

    sent, _ = call(Headed(app))

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
    word_errors(app)

    @app.get(path)
    def fail():
        raise fault

    reply = TestClient(app).get(path)

    assert reply.status_code == status
    assert list(reply.json()) == [key]


def test_another_fault_of_the_system_is_not_taken_for_a_full_disk():
    app = FastAPI()
    word_errors(app)

    @app.get("/x")
    def fail():
        raise PermissionError(errno.EACCES, "no")

    with pytest.raises(PermissionError):
        TestClient(app).get("/x")

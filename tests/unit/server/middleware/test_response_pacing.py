"""Answers on their way out: in pieces, at a bounded pace, and few large ones at once."""

from __future__ import annotations

import asyncio

import pytest

from tests.waiting import run_at_once
from vision_event_block.server.middleware.places import Places
from vision_event_block.server.middleware.response_pacing import (
    ABORT,
    LEAST_BYTES_PER_S,
    PIECE_BYTES,
    ResponsePacing,
)
from vision_event_block.server.middleware.security import refuse_busy

MIB = 2**20


class Client:
    """Reads what is sent, each message in so many seconds of a clock that it sets forward."""

    def __init__(self, takes_s=0.0):
        self.takes_s = takes_s
        self.messages = []
        self.is_aborted = False

    async def send(self, message):
        if self.takes_s:
            await asyncio.sleep(self.takes_s)
        self.messages.append(message)

    @property
    def status(self):
        return self.messages[0]["status"]

    @property
    def body(self):
        return b"".join(message.get("body", b"") for message in self.messages)


def answering(*bodies):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number, body in enumerate(bodies, start=1):
            more = number < len(bodies)
            await send({"type": "http.response.body", "body": body, "more_body": more})

    return app


def places(total=MIB, wait_s=0.05):
    return Places("large answers", total, for_one=total, wait_s=wait_s)


async def served(app, client, *, room=None, write_timeout_s=20.0, address="10.0.0.1"):
    def abort():
        client.is_aborted = True

    scope = {
        "type": "http",
        "path": "/x",
        "client": (address, 1),
        "extensions": {ABORT: abort},
    }
    paced = ResponsePacing(app, room or places(), refuse_busy, write_timeout_s)
    await paced(scope, None, client.send)


@pytest.mark.parametrize(
    "bodies",
    [(b"",), (b"a",), (b"a" * PIECE_BYTES,), (b"a" * (3 * PIECE_BYTES + 1),),
     (b"a", b"b" * 200_000, b"")],
    ids=["nothing", "a letter", "a piece", "pieces", "a stream"],
)  # fmt: skip
def test_an_answer_arrives_whole_and_in_pieces(bodies):
    client = Client()

    run_at_once(served(answering(*bodies), client))

    assert client.body == b"".join(bodies)
    assert max(len(message.get("body", b"")) for message in client.messages) <= PIECE_BYTES
    assert [message.get("more_body") for message in client.messages[1:]] == [
        *[True] * (len(client.messages) - 2),
        False,
    ]
    assert client.status == 200


def test_who_stops_reading_is_hung_up_on_and_nothing_more_is_sent():
    client = Client(takes_s=2)

    run_at_once(served(answering(b"a", b"b", b"c"), client, write_timeout_s=0.05))

    assert client.is_aborted
    assert client.body == b""


def test_who_reads_slower_than_anybody_would_is_hung_up_on():
    """A piece in time each time, and less in all than has to be read."""
    piece_s = 0.02
    least_s = PIECE_BYTES / LEAST_BYTES_PER_S
    assert piece_s < least_s
    patient, slow = Client(takes_s=piece_s), Client(takes_s=piece_s)

    run_at_once(served(answering(*[b"x" * PIECE_BYTES] * 10), patient, write_timeout_s=0.1))
    run_at_once(served(answering(*[b"x"] * 10), slow, write_timeout_s=0.1))

    assert len(patient.body) == 10 * PIECE_BYTES
    assert slow.is_aborted
    assert len(slow.body) < 10


def test_of_large_answers_few_are_held_and_the_others_told_to_come_back():
    room = places(total=MIB)
    held, sent_away, small = Client(takes_s=0.5), Client(), Client()

    async def three():
        holding = asyncio.create_task(served(answering(bytes(MIB)), held, room=room))
        await asyncio.sleep(0.1)
        await served(answering(bytes(MIB)), sent_away, room=room, address="10.0.0.2")
        await served(answering(bytes(1000)), small, room=room)
        holding.cancel()
        await asyncio.wait([holding])
        again = Client()
        await served(answering(bytes(MIB)), again, room=room)
        return again

    again = run_at_once(three())

    assert sent_away.status == 503
    assert (b"retry-after", b"5") in sent_away.messages[0]["headers"]
    assert b"large answers" in sent_away.body
    assert (small.status, again.status, len(again.body)) == (200, 200, MIB)

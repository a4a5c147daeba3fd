"""What the stand-in does on the wire when it is told to misbehave, byte by byte."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import threading
import time
from contextlib import closing, suppress

import pytest

from tests.bodies import event
from tests.catalogue import CATALOGUE
from tests.unit.test_testing import KEY, connect, post
from tests.waiting import eventually
from vision_event_block.testing import Misbehaviour, StandInApi, misbehaviour
from vision_event_block.testing.misbehaviour import SOMEBODY_ELSE, End, Pause


class Wire:
    """A client that takes what comes as it comes."""

    def __init__(self, api):
        address = api.url.removeprefix("http://").split(":")
        self.socket = socket.create_connection((address[0], int(address[1])), timeout=10)

    def ask(self, document, path="/vision-events"):
        body = json.dumps(document).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {KEY}\r\n"
        self.socket.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def until_the_end(self):
        content = b""
        while block := self.socket.recv(2**16):
            content += block
        return content

    def until(self, end):
        content = b""
        while not content.endswith(end):
            block = self.socket.recv(1)
            assert block, f"the connection ended after {content!r}"
            content += block
        return content

    def close(self):
        self.socket.close()


@pytest.fixture
def wire(api):
    with closing(Wire(api)) as wire:
        yield wire


def replies(content):
    """The JSON bodies of answers that came one behind the other, and their statuses."""
    found = []
    while content:
        head, _, rest = content.partition(b"\r\n\r\n")
        status = int(head.split(b" ")[1])
        lengths = [
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        ]
        length = lengths[0] if lengths else 0
        found.append((status, json.loads(rest[:length]) if length else None))
        content = rest[length:]
    return found


def test_it_misbehaves_for_some_requests_of_a_route_and_is_good_then(api):
    api.misbehave(misbehaviour.says({}), route="create", times=2)

    with connect(api) as connection:
        batches = post(connection, "/vision-events/batch", {"events": [event()]})
        seen = [post(connection, "/vision-events", event())[1] for _ in range(3)]

    assert batches[1]["created"] == 1
    assert seen[:2] == [{}, {}]
    assert seen[2]["created"] is True
    assert len(api.events) == 2
    assert [request.misbehaved for request in api.requests] == [
        None,
        "says {} (201)",
        "says {} (201)",
        None,
    ]


def test_healing_ends_it(api):
    api.misbehave(misbehaviour.says({}))
    api.heal()

    with connect(api) as connection:
        assert post(connection, "/vision-events", event())[1]["created"] is True


@pytest.mark.parametrize("after_storing", [True, False])
def test_a_request_is_carried_out_or_not_as_told_and_the_right_answer_known_either_way(
    api, wire, after_storing
):
    sent = event()
    api.misbehave(misbehaviour.drip(0.0), after_storing=after_storing, times=1)

    wire.ask(sent)

    [(status, reply)] = replies(wire.until(b"}"))
    assert (status, reply["eventId"]) == (201, sent["eventId"])
    assert len(api.events) == after_storing


def test_a_right_answer_of_what_is_not_carried_out_is_as_strict_and_says_what_is_deprecated(
    api, wire
):
    api.deprecate("eventData")
    api.misbehave(misbehaviour.drip(0.0), after_storing=False)
    bare = event()
    del bare["eventId"]

    wire.ask(event())
    [(status, reply)] = replies(wire.until(b"]}"))
    wire.ask(bare)
    [(strictly, _)] = replies(wire.until(b"}"))

    assert (status, reply["deprecations"]) == (201, [{"field": "eventData"}])
    assert strictly == 400
    assert not api.events


def test_a_right_answer_is_that_of_the_service_with_its_bad_keys(api, wire):
    api.refuse_key(KEY)
    api.misbehave(misbehaviour.drip(0.0))

    wire.ask(event())

    [(status, reply)] = replies(wire.until(b"}"))
    assert status == 401
    assert "error" in reply


@pytest.mark.parametrize("part", ["head", "body"])
def test_an_answer_drips_whole(api, wire, part):
    api.misbehave(misbehaviour.drip(0.002, part=part), times=1)
    began_s = time.monotonic()

    wire.ask(event())
    [(status, reply)] = replies(wire.until(b"}"))

    assert (status, reply["created"]) == (201, True)
    assert time.monotonic() - began_s >= 0.002 * 30


def test_interim_answers_come_before_the_right_one(api, wire):
    api.misbehave(misbehaviour.interim(103, count=3, headers="Link: </a.css>\r\n"), times=1)

    wire.ask(event())

    assert [status for status, _ in replies(wire.until(b"}"))] == [103, 103, 103, 201]


def test_endless_interim_answers_end_with_the_client(api):
    api.misbehave(misbehaviour.interim(count=None, every_s=0.001), times=1)

    with closing(Wire(api)) as wire:
        wire.ask(event())
        for _ in range(50):
            assert wire.until(b"\r\n\r\n") == b"HTTP/1.1 100 Interim\r\n\r\n"

    with connect(api) as connection:
        assert post(connection, "/vision-events", event())[0] == 201


def test_a_stray_answer_shifts_those_behind_it(api, wire):
    first, second = event(), event()
    api.misbehave(misbehaviour.stray_before(), times=1, after_storing=True)

    for sent in (first, second):
        wire.ask(sent)
    answers = replies(wire.until(second["eventId"].encode() + b'", "created": true}'))

    ids = [reply["eventId"] for _, reply in answers]
    assert ids == [SOMEBODY_ELSE, first["eventId"], second["eventId"]]


def test_a_stray_answer_may_come_late_on_an_idle_connection(api, wire):
    api.misbehave(misbehaviour.stray_after(b"late", late_s=0.02), times=1)

    wire.ask(event())

    assert replies(wire.until(b"}"))[0][0] == 201
    assert wire.until(b"late") == b"late"


def test_a_reply_names_somebody_elses_events(api):
    api.misbehave(misbehaviour.somebody_elses_id(), times=2)

    with connect(api) as connection:
        one = post(connection, "/vision-events", event())[1]
        two = post(connection, "/vision-events/batch", {"events": [event(), event()]})[1]

    assert one == {"eventId": SOMEBODY_ELSE, "created": True}
    assert two["created"] == 2
    assert len(set(two["eventIds"])) == 2
    assert all(name.startswith(SOMEBODY_ELSE[:24]) for name in two["eventIds"])


def test_a_batchs_reply_names_only_some(api):
    events = [event() for _ in range(12)]
    api.misbehave(misbehaviour.names_only(10), route="batch", times=1)

    with connect(api) as connection:
        reply = post(connection, "/vision-events/batch", {"events": events})[1]

    assert reply["created"] == 10
    assert reply["eventIds"] == [each["eventId"] for each in events[:10]]


def test_a_reply_says_that_nothing_was_created(api):
    api.misbehave(misbehaviour.not_created())

    with connect(api) as connection:
        assert post(connection, "/vision-events", event())[1]["created"] is False


@pytest.mark.parametrize("status", [200, 302, 403, 451, 503])
def test_a_page_for_people_comes_with_any_status(api, wire, status):
    api.misbehave(misbehaviour.html(status, "Welcome"), times=1)

    wire.ask(event())
    content = wire.until(b"</html>")

    assert content.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"Content-Type: text/html\r\n" in content
    assert b"<h1>Welcome</h1>" in content


def test_an_answer_is_cut_at_any_byte(api):
    with closing(Wire(api)) as wire:
        wire.ask(event())
        whole = len(wire.until(b"}"))
    for after_bytes in range(0, whole, 7):
        api.misbehave(misbehaviour.cut(after_bytes), times=1)
        with closing(Wire(api)) as wire:
            wire.ask(event())
            assert len(wire.until_the_end()) == after_bytes


def test_a_cut_may_be_a_reset(api, wire):
    api.misbehave(misbehaviour.cut(0, resets=True), times=1)

    wire.ask(event())

    with pytest.raises(ConnectionResetError):
        wire.until_the_end()


def test_heads_and_bodies_may_be_huge(api):
    api.misbehave(misbehaviour.huge_head(100_000, lines=10), times=1)
    api.misbehave(misbehaviour.huge_body(2**20), times=1)
    api.misbehave(misbehaviour.huge_body(2**20, in_chunks=True), times=1)
    sizes = []

    for end in (b"}", b"", b""):
        with closing(Wire(api)) as wire:
            wire.ask(event())
            sizes.append(len(wire.until(end) if end else wire.until_the_end()))

    assert sizes[0] > 100_000
    assert min(sizes[1:]) > 2**20


def test_a_client_that_leaves_ends_a_huge_answer(api):
    api.misbehave(misbehaviour.huge_body(2**40), times=1)

    with closing(Wire(api)) as wire:
        wire.ask(event())
        wire.socket.recv(2**16)

    with connect(api) as connection:
        assert post(connection, "/vision-events", event())[0] == 201


def test_a_short_answer_becomes_long_when_unpacked(api, wire):
    api.misbehave(misbehaviour.bomb(2**22), times=1)

    wire.ask(event())
    head = wire.until(b"\r\n\r\n")
    length = int(head.split(b"Content-Length: ")[1].split(b"\r")[0])
    body = b""
    while len(body) < length:
        body += wire.socket.recv(length)

    assert b"Content-Encoding: gzip" in head
    assert len(body) < 2**15
    assert len(gzip.decompress(body)) == 2**22


def test_the_length_is_what_was_asked_for(api, wire):
    api.misbehave(misbehaviour.wrong_length("5000"), times=1)

    wire.ask(event())
    head, _, body = wire.until_the_end().partition(b"\r\n\r\n")

    assert head.count(b"Content-Length") == 1
    assert b"Content-Length: 5000" in head
    assert json.loads(body)["created"] is True


def test_chunks_are_what_was_asked_for(api, wire):
    api.misbehave(misbehaviour.chunks(b"zz\r\n", b"x"), times=1)

    wire.ask(event())
    head, _, body = wire.until_the_end().partition(b"\r\n\r\n")

    assert b"Transfer-Encoding: chunked" in head
    assert body == b"zz\r\nx"


def test_redirects_go_in_a_circle(api, wire):
    api.misbehave(misbehaviour.redirect(307))

    for _ in range(3):
        wire.ask(event())
        head = wire.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 307 ")
        assert b"Location: /vision-events\r\n" in head


@pytest.mark.parametrize("moment", ["read", "asked", "connected"])
def test_it_is_silent_until_the_client_leaves(api, moment):
    api.misbehave(misbehaviour.silence(moment=moment), times=1)

    with closing(Wire(api)) as wire:
        wire.socket.settimeout(0.2)
        wire.ask(event())
        with pytest.raises(TimeoutError):
            wire.socket.recv(1)

    with connect(api) as connection:
        assert post(connection, "/vision-events", event())[0] == 201
    assert len(api.events) == 1


def test_what_nobody_read_does_not_hide_that_the_client_has_left(api):
    api.misbehave(misbehaviour.silence(moment="connected"), times=1)
    others = set(threading.enumerate())

    with closing(Wire(api)) as wire:
        wire.ask(event())
        assert eventually(lambda: set(threading.enumerate()) - others)

    eventually(lambda: not set(threading.enumerate()) - others)


def test_stopping_ends_what_is_silent():
    with StandInApi() as api:
        api.misbehave(misbehaviour.silence())
        wire = Wire(api)
        wire.ask(event())
        assert eventually(lambda: api.requests)
        [request] = api.requests
    with closing(wire):
        assert wire.until_the_end() == b""
    assert request.misbehaved == "silence when read"


def test_an_answer_comes_before_the_body_is_read(api, wire):
    api.misbehave(misbehaviour.early(413), route="create", times=1)
    head = f"POST /vision-events HTTP/1.1\r\nHost: here\r\nContent-Length: {2**30}\r\n\r\n"

    wire.socket.sendall(head.encode())

    assert [status for status, _ in replies(wire.until_the_end())] == [413]
    assert api.requests == []


def test_bytes_that_are_no_answer_greet_a_new_connection(api):
    api.misbehave(misbehaviour.raw(b"220 mail\r\n", moment="connected"), times=1)

    with closing(Wire(api)) as wire:
        assert wire.until_the_end() == b"220 mail\r\n"
    with connect(api) as connection:
        assert post(connection, "/vision-events", event())[0] == 201


def test_your_own_is_a_function_from_the_right_answer_to_steps(api, wire):
    mine = Misbehaviour("half", lambda good: [good[:8], Pause(0.01), End.CLOSE])
    api.misbehave(mine, times=1)

    wire.ask(event())

    assert wire.until_the_end() == b"HTTP/1.1"


@pytest.mark.parametrize(
    "odd",
    [
        {"how": misbehaviour.silence(moment="connected"), "route": "create"},
        {"how": misbehaviour.early(), "after_storing": True},
    ],
)
def test_what_cannot_be_is_refused(api, odd):
    with pytest.raises(ValueError, match="known yet|nothing was read"):
        api.misbehave(**odd)


def is_good(api):
    try:
        with connect(api) as connection:
            return post(connection, "/vision-events", event())[0] == 201
    except (OSError, http.client.HTTPException):
        return False


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_stand_in_is_good_again_after_each_of_the_catalogue(api, name):
    api.misbehave(CATALOGUE[name], times=1)

    # A reset, perhaps before the connection is there, or nothing comes.
    with suppress(OSError), closing(Wire(api)) as wire:
        wire.socket.settimeout(0.05)
        wire.ask(event())
        wire.socket.recv(2**16)

    assert eventually(lambda: is_good(api))

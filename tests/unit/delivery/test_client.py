"""The client against the stand-in, and against servers that misbehave in one way each."""

from __future__ import annotations

import gzip
import json
import logging
import shutil
import socket
import ssl
import subprocess
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from urllib3.connection import HTTPConnection

from tests.bodies import event, tar
from tests.tools import missing
from tests.waiting import TIMEOUT_S, eventually
from vision_event_block import __version__
from vision_event_block.delivery.body import json_body
from vision_event_block.delivery.client import Secret, Timeouts, VisionEventsClient
from vision_event_block.delivery.connections import MAX_CONNECTIONS
from vision_event_block.delivery.errors import (
    AuthError,
    NoAnswer,
    NotNow,
    RejectedError,
    TransientError,
    UnknownReply,
    Unreachable,
    VisionEventsError,
)
from vision_event_block.delivery.http import Connection
from vision_event_block.delivery.post import Post, Template
from vision_event_block.delivery.secret import Credentials
from vision_event_block.testing import Misbehaviour, StandInApi

KEY = "rf_made/up+key"
QUICK = Timeouts(connect_s=0.5, read_s=0.3)
PATIENT = Timeouts(connect_s=TIMEOUT_S, read_s=TIMEOUT_S)
OK = b'HTTP/1.1 201 Created\r\nContent-Length: 16\r\n\r\n{"created":true}'


@contextmanager
def client_of(base_url, **options):
    client = VisionEventsClient(base_url=base_url, api_key=Secret(KEY), **options)
    try:
        yield client
    finally:
        client.close()


@pytest.fixture
def client(api):
    with client_of(api.url) as client:
        yield client


def bundled(**changes):
    """An event with one picture, in an archive."""
    images = [{"file": "images/o.jpg"}]
    payload = {"bundleFormatVersion": 1, **event(images=images, **changes)}
    archive = tar({"payload.json": json.dumps(payload).encode(), "images/o.jpg": b"output"})
    return payload["eventId"], archive


def read_request(connection):
    """One whole request, or nothing if the client left."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += (chunk := connection.recv(2**16))
        if not chunk:
            return b""
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += (chunk := connection.recv(2**16))
        if not chunk:
            return b""
    return head + b"\r\n\r\n" + body


@contextmanager
def server(serve, tls=None):
    """The URL of a server that treats each connection with `serve`, one after the other."""
    listener = socket.create_server(("127.0.0.1", 0))
    scheme = "http" if tls is None else "https"
    if tls is not None:
        listener = tls.wrap_socket(listener, server_side=True)

    def run():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                serve(connection)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(TIMEOUT_S)


@contextmanager
def unaccepting():
    """The URL of a server whose queue, of length zero, is full: the kernel drops further calls."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        queued = [socket.socket() for _ in range(2)]
        for one in queued:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for one in queued:
            one.close()


# What is sent


def test_a_picture_and_its_event_arrive_as_they_were(api, client):
    picture = bytes(range(256)) * 4000
    reply = client.upload(picture, metadata={"line": 4})
    sent = event(images=[{"sourceId": reply.source_id}])
    created = client.create(sent)
    assert (created.event_id, created.created, created.warnings) == (sent["eventId"], True, ())
    assert api.picture_of(api.events[sent["eventId"]]) == picture
    assert reply.url.endswith(reply.source_id)
    upload = api.uploads[reply.source_id]
    assert (upload.file_name, upload.media_type) == ("image.jpg", "image/jpeg")
    assert upload.metadata == {"line": 4}
    assert api.events == {sent["eventId"]: sent}


def test_a_picture_may_have_another_name_and_type_and_no_metadata(api, client):
    source_id = client.upload(b"p", file_name="mask.png", media_type="image/png").source_id
    upload = api.uploads[source_id]
    assert (upload.file_name, upload.media_type) == ("mask.png", "image/png")
    assert upload.metadata is None


def test_requests_say_who_sends_what_with_which_key(api, client):
    client.upload(b"p")
    client.create(event())
    for recorded in api.requests:
        assert recorded.headers["Authorization"] == f"Bearer {KEY}"
        assert recorded.headers["User-Agent"] == f"vision-event-block/{__version__}"
        assert KEY not in recorded.path
    assert api.requests[1].headers["Content-Type"] == "application/json"


def test_the_warnings_of_the_api_reach_the_caller(client):
    reply = client.create(event(eventType="operator_feedback", eventData={"relatedEventId": "e"}))
    assert [str(warning) for warning in reply.warnings] == [
        "eventData.feedback is missing (any.required)"
    ]


def test_a_batch_says_how_many_and_which_events_were_created(api, client):
    events = [event(), event(eventData={"score": 1})]
    reply = client.batch(events)
    assert (reply.created, reply.event_ids) == (2, tuple(one["eventId"] for one in events))
    assert [warning.path for warning in reply.warnings] == ["eventData.score"]
    assert list(api.events) == list(reply.event_ids)


@pytest.mark.parametrize("count", [0, 101])
def test_a_batch_of_the_wrong_size_is_not_even_sent(api, client, count):
    with pytest.raises(ValueError, match=f"1 to 100 events, not {count}"):
        client.batch([event()] * count)
    assert not api.requests


def test_a_batch_may_hold_a_hundred_events(api, client):
    assert client.batch([event() for _ in range(100)]).created == 100
    assert len(api.events) == 100


@pytest.mark.parametrize(
    ("pack", "is_gzipped", "media_type"),
    [(bytes, False, "application/x-tar"), (gzip.compress, True, "application/gzip")],
    ids=["plain", "gzipped"],
)
def test_a_bundle_arrives_in_one_request_as_its_event_and_picture(
    api, client, pack, is_gzipped, media_type
):
    event_id, archive = bundled(eventData={"score": 1})
    reply = client.bundle(pack(archive), is_gzipped=is_gzipped)
    assert (reply.event_id, reply.created) == (event_id, True)
    assert [warning.path for warning in reply.warnings] == ["eventData.score"]
    assert api.events[event_id]["useCaseId"] == "line-4"
    assert api.picture_of(api.events[event_id]) == b"output"
    (recorded,) = api.requests
    assert recorded.path == "/vision-events/bundle"
    assert recorded.headers["Authorization"] == f"Bearer {KEY}"
    assert recorded.headers["Content-Type"] == media_type


def test_a_bundle_may_be_sent_under_another_use_case_with_the_key_still_in_the_header(api, client):
    event_id, archive = bundled()
    client.bundle(archive, is_gzipped=False, use_case_id="line 5&ä=/")
    assert api.events[event_id]["useCaseId"] == "line 5&ä=/"
    (recorded,) = api.requests
    assert recorded.path == "/vision-events/bundle?useCaseId=line+5%26%C3%A4%3D%2F"
    assert recorded.headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_json_cannot_say_is_not_even_sent(api, client, number):
    for send in (
        lambda: client.create(event(customMetadata={"temp": number})),
        lambda: client.batch([event(customMetadata={"temp": number})]),
    ):
        with pytest.raises(RejectedError, match="JSON"):
            send()
    with pytest.raises(ValueError, match="JSON"):
        client.upload(b"p", metadata={"temp": number})
    assert not api.requests


def test_text_of_any_language_arrives(api, client):
    sent = event(customMetadata={"shift": "nächtlich 夜勤 \U0001f319"})
    client.create(sent)
    assert api.events[sent["eventId"]] == sent


# Address and headers


@pytest.mark.parametrize("base_url", ["http://api.invalid", "http://api.invalid/"])
def test_a_gateway_wraps_the_whole_address(api, base_url):
    wrapped = []

    def wrap(url):
        wrapped.append(url)
        return f"{api.url}/vision-events?via=gateway"

    with client_of(base_url, wrap_url=wrap) as client:
        client.create(event())
        with pytest.raises(RejectedError):  # the gateway of this test ends at another route
            client.bundle(b"a", is_gzipped=False, use_case_id="u")
    assert wrapped == [
        "http://api.invalid/vision-events",
        "http://api.invalid/vision-events/bundle?useCaseId=u",
    ]
    assert [recorded.path for recorded in api.requests] == ["/vision-events?via=gateway"] * 2


def test_headers_of_the_host_are_added_but_not_the_type_of_the_body(api):
    def build(explicit):
        assert explicit is None
        return {"X-Site": "plant 3", "X-Many": ["a", "b"], "content-type": "text/plain"}

    with client_of(api.url, build_headers=build) as client:
        client.upload(b"p")
        client.create(event())
        client.bundle(bundled()[1], is_gzipped=False)
    assert api.requests[2].headers["Content-Type"] == "application/x-tar"
    for recorded in api.requests:
        assert recorded.headers["X-Site"] == "plant 3"
        assert recorded.headers["X-Many"] == "a, b"
        assert recorded.headers["Authorization"] == f"Bearer {KEY}"
    assert len(api.uploads) == len(api.events) == 2


@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION"])
def test_an_authorization_of_the_host_replaces_ours(api, name):
    with client_of(api.url, build_headers=lambda _: {name: "Bearer of-the-host"}) as client:
        client.create(event())
        api.refuse_key("of-the-host")
        with pytest.raises(AuthError):
            client.create(event())
    for recorded in api.requests:
        values = [v for k, v in recorded.headers.items() if k.lower() == "authorization"]
        assert values == ["Bearer of-the-host"]


def test_passwords_of_netrc_and_of_the_address_do_not_replace_the_key(api, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with client_of(api.url.replace("//", "//user:word@")) as client:
        client.create(event())
        client.upload(b"p")
    assert [recorded.headers["Authorization"] for recorded in api.requests] == [f"Bearer {KEY}"] * 2


def test_the_proxy_of_the_environment_is_used(api, monkeypatch):
    monkeypatch.setenv("http_proxy", api.url)
    monkeypatch.delenv("no_proxy", raising=False)
    with client_of("http://api.invalid") as client:
        client.create(event())
        client.create(event())
    # Whatever else this process still sends takes the same way.
    paths = [recorded.path for recorded in api.requests]
    assert paths.count("http://api.invalid/vision-events") == 2


# Trouble


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RejectedError),
        (401, AuthError),
        (403, AuthError),
        (413, RejectedError),
        (422, RejectedError),
        (408, NotNow),
        (429, NotNow),
        (500, NotNow),
        (503, NotNow),
        (302, UnknownReply),
    ],
)
def test_a_status_becomes_its_error_on_every_route(api, client, status, kind):
    api.fail(status, body={"error": "the API's own words"})
    for send, route in (
        (lambda: client.upload(b"p"), "POST /vision-events/upload"),
        (lambda: client.create(event()), "POST /vision-events"),
        (lambda: client.batch([event()]), "POST /vision-events/batch"),
        (
            lambda: client.bundle(b"a", is_gzipped=False, use_case_id="u"),
            "POST /vision-events/bundle",
        ),
    ):
        with pytest.raises(VisionEventsError, match="the API's own words") as caught:
            send()
        assert type(caught.value) is kind
        assert (caught.value.status, caught.value.route) == (status, route)
        assert str(caught.value).startswith(f"{route}: ")
    assert len(api.requests) == 4


def test_the_api_names_when_to_come_back(api, client):
    api.fail(503, times=1, retry_after="7")
    with pytest.raises(NotNow) as caught:
        client.create(event())
    assert caught.value.retry_after_s == 7.0


def test_a_refused_connection_is_unreachable_until_it_is_not(api, client):
    client.create(event())
    with (
        api.refusing(),
        pytest.raises(
            Unreachable, match=r"could not connect to 127\.0\.0\.1:\d+ \(Connection refused\)"
        ),
    ):
        client.create(event())
    client.create(event())
    assert len(api.events) == 2


def test_a_host_without_a_name_in_the_dns_is_unreachable():
    with (
        client_of("http://no-such-host.invalid") as client,
        pytest.raises(Unreachable, match=r"could not resolve no-such-host\.invalid"),
    ):
        client.create(event())


def test_a_connection_that_is_never_accepted_is_unreachable():
    with (
        unaccepting() as url,
        client_of(url, timeouts=QUICK) as client,
        pytest.raises(Unreachable, match=r"timed out after 0\.5 s"),
    ):
        client.create(event())


def test_a_server_without_tls_is_unreachable_over_tls(api):
    with (
        client_of(api.url.replace("http", "https")) as client,
        pytest.raises(Unreachable, match="TLS connection to .* failed"),
    ):
        client.create(event())


def test_a_proxy_that_is_not_there_is_named_as_such(monkeypatch):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: whoever calls is turned away
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        monkeypatch.delenv("no_proxy", raising=False)
        with (
            client_of("http://api.invalid") as client,
            pytest.raises(
                Unreachable,
                match="the proxy could not connect to api.invalid .Connection refused",
            ),
        ):
            client.create(event())


@pytest.mark.parametrize(
    "base_url", ["", "api.invalid", "ftp://api.invalid", "http://", "http://somebody:word@[::1"]
)
def test_an_address_that_is_none_costs_no_event_and_tells_no_password(base_url):
    with client_of(base_url) as client, pytest.raises(Unreachable) as caught:
        client.create(event())
    assert "word" not in str(caught.value)


@pytest.mark.parametrize("value", ["s3cret\nmore", "s3cret\u20ac"])
def test_a_header_that_cannot_be_sent_costs_no_event_and_is_not_repeated(api, value):
    with (
        client_of(api.url, build_headers=lambda _: {"X-Odd": value}) as client,
        pytest.raises(TransientError) as caught,
    ):
        client.create(event())
    assert "s3cret" not in str(caught.value)
    with (
        client_of(api.url, build_headers=lambda _: {"Authorization": value}) as client,
        pytest.raises(AuthError, match="Authorization"),
    ):
        client.create(event())


def test_a_late_answer_is_none(api):
    api.hang(60)
    started_s = time.monotonic()
    with (
        client_of(api.url, timeouts=QUICK) as client,
        pytest.raises(NoAnswer, match=r"no response from 127.*within 0\.3 s"),
    ):
        client.create(event())
    assert 0.25 < time.monotonic() - started_s < 30


@pytest.mark.parametrize("after_storing", [False, True])
@pytest.mark.parametrize("reset", [False, True])
def test_a_cut_connection_gives_no_answer_whatever_the_api_did(api, client, after_storing, reset):
    api.cut(after_storing=after_storing, reset=reset)
    with pytest.raises(NoAnswer, match=r"127\.0\.0\.1:\d+ closed the connection"):
        client.create(event())
    assert len(api.events) == after_storing
    assert len(api.requests) == 1


@pytest.mark.parametrize("status", [200, 201, 302])
@pytest.mark.parametrize("body", ["<html>Please log in</html>", ""])
def test_a_captive_portal_is_no_success(api, client, status, body):
    api.fail(status, body=body, headers={"Location": "http://portal.invalid/"})
    for send in (
        lambda: client.upload(b"p"),
        lambda: client.create(event()),
        lambda: client.batch([event()]),
        lambda: client.bundle(b"a", is_gzipped=False),
    ):
        with pytest.raises(NoAnswer, match="captive portal") as caught:
            send()
        assert caught.value.status == status


def test_a_success_without_a_source_id_is_none_for_a_picture(api, client):
    api.fail(201, body={"success": True})
    with pytest.raises(NoAnswer, match="sourceId"):
        client.upload(b"p")
    with pytest.raises(UnknownReply, match="does not say that the event was created"):
        client.create(event())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(api, client, status):
    with StandInApi() as elsewhere:
        api.fail(status, headers={"Location": f"{elsewhere.url}/vision-events"})
        with pytest.raises(NoAnswer):
            client.create(event())
        assert not elsewhere.requests


CREATED = b"HTTP/1.1 201 Created\r\n"
REDIRECT = b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 999999\r\n\r\n"
LATE = r"not complete after 0\.3 s"
DRIPS = {
    "a body of a known length": (CREATED + b"Content-Length: 1000\r\n\r\n", b" ", LATE),
    "chunks": (CREATED + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", LATE),
    "a body until the end": (CREATED + b"Connection: close\r\n\r\n", b" ", LATE),
    "the body of a redirect": (REDIRECT, b".", "was cut off"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n", ""),
    "headers": (CREATED, b"X-Drip: 1\r\n", ""),
    "one header": (CREATED, b"x", ""),
}


@pytest.mark.parametrize(("start", "drip", "words"), DRIPS.values(), ids=DRIPS)
def test_an_answer_in_drips_is_given_up_in_time(start, drip, words):
    def serve(connection):
        read_request(connection)
        connection.sendall(start)
        while True:
            connection.sendall(drip)
            time.sleep(0.02)

    started_s = time.monotonic()
    with (
        server(serve) as url,
        client_of(url, timeouts=QUICK) as client,
        pytest.raises(NoAnswer, match=words),
    ):
        client.create(event())
    assert time.monotonic() - started_s < 20


def test_an_answer_without_end_is_not_kept_in_memory():
    sent_bytes = 0

    def flood(connection):
        read_request(connection)
        connection.sendall(b"HTTP/1.1 201 Created\r\nConnection: close\r\n\r\n")
        nonlocal sent_bytes
        while True:
            connection.sendall(b" " * 2**16)
            sent_bytes += 2**16

    with (
        server(flood) as url,
        client_of(url) as client,
        pytest.raises(NoAnswer, match="longer than"),
    ):
        client.create(event())
    assert sent_bytes < 50_000_000


@pytest.mark.parametrize(
    "answer",
    [
        b'HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{"eventId":"e"}',
        b'HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nf\r\n{"eventId":"e"}\r\n',
        b"HTTP/1.1 201 Created\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nzzzz",
        b"HTTP/1.1 201 Cre",
        b"SMTP ready\r\n\r\n",
    ],
    ids=["short", "short chunks", "no gzip", "half a head", "no HTTP"],
)
def test_a_broken_answer_is_none(answer):
    def serve(connection):
        read_request(connection)
        connection.sendall(answer)

    with server(serve) as url, client_of(url) as client, pytest.raises(NoAnswer):
        client.create(event())


def test_a_chunked_answer_is_read_and_its_connection_kept():
    connections = []

    def serve(connection):
        connections.append(connection)
        while read_request(connection):
            connection.sendall(
                b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
                b'9\r\n{"created\r\n7\r\n":true}\r\n0\r\n\r\n'
            )

    with server(serve) as url, client_of(url) as client:
        assert [client.create(event()).created for _ in range(3)] == [True] * 3
        client.close()
    assert len(connections) == 1


def test_a_picture_may_take_longer_to_send_than_a_connection_to_open():
    """The socket's time-out while sending is the one for connecting, and covers a whole send."""

    def read_slowly(connection):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**18)
        received = pauses = 0
        while received < len(picture):
            if received >= pauses * len(picture) // 8:
                time.sleep(0.3)
                pauses += 1
            received += len(connection.recv(2**20))
        connection.settimeout(0.2)
        try:
            while connection.recv(2**16):
                pass
        except TimeoutError:
            pass
        connection.sendall(b'HTTP/1.1 201 Created\r\nContent-Length: 16\r\n\r\n{"sourceId":"s"}')

    picture = bytes(24_000_000)  # more than the kernel takes for whoever does not read
    started_s = time.monotonic()
    timeouts = Timeouts(connect_s=1.0, read_s=TIMEOUT_S)
    with server(read_slowly) as url, client_of(url, timeouts=timeouts) as client:
        assert client.upload(picture).source_id == "s"
    assert time.monotonic() - started_s > 1.5, "sent too fast to show anything"


# Connections


def test_the_requests_of_a_thread_share_a_connection(api, client):
    for _ in range(3):
        client.upload(b"p" * 100_000)
        client.create(event())
    with pytest.raises(RejectedError):
        client.create({})
    client.create(event())
    assert len(api.requests) == 8
    assert len({recorded.connection for recorded in api.requests}) == 1


def test_threads_send_at_once_each_over_its_own_connection(api, client):
    all_have_asked = threading.Barrier(4, timeout=TIMEOUT_S)

    def answer_together(good):
        all_have_asked.wait()
        yield good

    together = Misbehaviour("all at once", answer_together)
    api.misbehave(together, times=4, after_storing=True)

    def send(number):
        return [client.upload(f"{number}/{i}".encode()).source_id for i in range(3)]

    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(send, range(4)))
    for number, source_ids in enumerate(replies):
        for i, source_id in enumerate(source_ids):
            assert api.uploads[source_id].picture == f"{number}/{i}".encode()
    assert len({recorded.connection for recorded in api.requests}) == 4


def test_a_connection_that_the_server_closed_meanwhile_costs_nothing():
    seen = []

    def serve_one_request(connection):
        seen.append(read_request(connection))
        connection.sendall(OK)

    with server(serve_one_request) as url, client_of(url) as client:
        for _ in range(3):
            assert client.create(event()).created
            time.sleep(0.05)  # until the close has arrived
    assert len(seen) == 3


@pytest.mark.parametrize("reset", [False, True])
def test_a_kept_connection_that_is_cut_is_replaced_once_with_the_whole_request(api, client, reset):
    client.upload(b"first")
    api.cut(times=1, reset=reset)
    picture = b"second" * 100_000
    assert api.uploads[client.upload(picture).source_id].picture == picture
    assert [recorded.status for recorded in api.requests] == [201, None, 201]
    connections = [recorded.connection for recorded in api.requests]
    assert connections[0] == connections[1] != connections[2]


def test_a_kept_connection_is_replaced_only_once(api, client):
    client.create(event())
    api.cut()
    for _ in range(2):
        with pytest.raises(NoAnswer):
            client.create(event())
    assert [recorded.status for recorded in api.requests] == [201, None, None, None]


def test_a_late_answer_on_a_kept_connection_is_not_asked_for_again(api):
    with client_of(api.url, timeouts=Timeouts(connect_s=30, read_s=1.0)) as client:
        client.create(event())
        api.hang(1.5, times=1)
        with pytest.raises(NoAnswer):
            client.create(event())
        eventually(lambda: len(api.requests) == 2)
        client.create(event())
    assert len(api.requests) == len(api.events) == 3


def test_only_a_cut_is_worth_a_second_connection(api):
    with unaccepting() as unaccepting_url:
        urls = iter([f"{api.url}/vision-events", unaccepting_url])
        timeouts = Timeouts(connect_s=1.5, read_s=30)
        with client_of(api.url, wrap_url=lambda _: next(urls), timeouts=timeouts) as client:
            client.create(event())
            started_s = time.monotonic()
            with pytest.raises(Unreachable):
                client.create(event())
    assert time.monotonic() - started_s < 2 * 1.5, "it tried twice"


def test_close_ends_the_connections_of_all_threads_and_leaks_none():
    ended = threading.Event()
    left = threading.Semaphore(0)

    def serve(connection):
        while read_request(connection):
            connection.sendall(OK)
        left.release()

    with server(serve) as url_a, server(serve) as url_b:
        urls = threading.local()
        client = VisionEventsClient(
            base_url=url_a, wrap_url=lambda _: urls.here, api_key=Secret(KEY)
        )
        sent = threading.Barrier(3, timeout=TIMEOUT_S)

        def send(url):
            urls.here = url
            client.create(event())
            sent.wait()
            ended.wait(TIMEOUT_S)

        threads = [threading.Thread(target=send, args=(url,)) for url in (url_a, url_b)]
        for thread in threads:
            thread.start()
        sent.wait()
        assert not left.acquire(timeout=0.1)
        client.close()
        assert left.acquire(timeout=TIMEOUT_S)
        assert left.acquire(timeout=TIMEOUT_S)
        client.close()
        ended.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("start", [b"", OK[:20], OK[:-1]], ids=["nothing", "a head", "a body"])
def test_close_breaks_off_a_request_on_a_kept_connection(start):
    is_waiting = threading.Event()

    def serve(connection):
        read_request(connection)
        connection.sendall(OK)
        read_request(connection)
        connection.sendall(start)
        is_waiting.set()
        connection.recv(1)

    with server(serve) as url, client_of(url) as client, ThreadPoolExecutor(1) as pool:
        client.create(event())
        asked = pool.submit(client.create, event())
        assert is_waiting.wait(TIMEOUT_S)
        client.close()
        with pytest.raises(NoAnswer):
            asked.result(TIMEOUT_S)


def test_close_breaks_off_a_request_whose_connection_is_being_opened(tls):
    is_opening, is_closed = threading.Event(), threading.Event()
    requests = []

    def serve(connection):
        connection.recv(1, socket.MSG_PEEK)  # it has begun to speak of certificates
        is_opening.set()
        is_closed.wait(TIMEOUT_S)
        with tls.wrap_socket(connection, server_side=True) as opened:
            requests.append(read_request(opened))

    with (
        server(serve) as url,
        client_of(url.replace("http:", "https:"), timeouts=PATIENT) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        asked = pool.submit(client.create, event())
        assert is_opening.wait(TIMEOUT_S)
        client.close()
        is_closed.set()
        with pytest.raises(NoAnswer):
            asked.result(TIMEOUT_S)

    assert not any(requests)


def test_a_connection_that_is_broken_off_before_it_is_opened_asks_nothing(api):
    connection = Connection()
    connection.break_off()

    post = Post(Template(), f"{api.url}/vision-events", {}, json_body(b"{}"), Credentials({}))
    with pytest.raises(NoAnswer):
        connection.exchange(post, "POST /vision-events", Timeouts(), str)

    assert api.requests == []


def test_the_connection_of_a_thread_that_ended_is_used_by_the_next(api, client):
    for _ in range(3):
        thread = threading.Thread(target=client.create, args=(event(),))
        thread.start()
        thread.join()

    assert len({recorded.connection for recorded in api.requests}) == 1


def test_many_clients_share_one_limit_of_connections(api):
    clients = [
        VisionEventsClient(base_url=api.url, api_key=Secret(f"key-{number}"))
        for number in range(2 * MAX_CONNECTIONS)
    ]
    before = open_sockets()
    for each in clients:
        each.create(event())

    # The stand-in takes a connection off its list a moment before it closes its end.
    eventually(lambda: open_sockets() - before - api_connections(api) <= MAX_CONNECTIONS)
    for each in clients:
        each.close()
    assert len(api.events) == len(clients)


def open_sockets():
    links = [path for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return sum("socket:" in str(path.readlink()) for path in links if path.is_symlink())


def api_connections(api):
    """The stand-in's ends, which are in this process too."""
    return len(api._server._connections)


#: More than is read of a socket at once.
MUCH = b'HTTP/1.1 400 No\r\nContent-Length: 10000\r\n\r\n{"error":"%s"}' % bytes(9_988).replace(
    b"\0", b"x"
)
PACKED = gzip.compress(b'{"created":true}')
#: After these the server closes the connection.
LAST = {
    "an older HTTP": OK.replace(b"1.1", b"1.0"),
    "not kept": OK.replace(b"Content", b"Connection: close\r\nContent"),
    "without a length": b'HTTP/1.1 201 Created\r\n\r\n{"created":true}',
    "cut": OK[:-4],
    "bare line ends": OK.replace(b"Content", b"X-Odd: a\nTransfer-Encoding: chunked\r\nContent"),
}
ANSWERS = {
    "a plain success": OK,
    "in other letters": OK.lower().replace(b"http", b"HTTP"),
    "without a reason": OK.replace(b" Created", b""),
    "two lengths": OK.replace(b"Content", b"Content-Length: 16\r\nContent"),
    "a length that is none": OK.replace(b"16", b"+16"),
    "a folded header": OK.replace(b"Content", b"X-Odd: a\r\n Content-Length: 3\r\nContent"),
    "chunks": b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'10\r\n{"created":true}\r\n0\r\n\r\n',
    "packed": b"HTTP/1.1 201 Created\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s"
    % (len(PACKED), PACKED),
    "not packed": OK.replace(b"Content", b"Content-Encoding: gzip\r\nContent"),
    "early hints": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK,
    "no content": b"HTTP/1.1 204 No Content\r\nContent-Length: 16\r\n\r\n",
    "one more": OK + OK,
    "much and one more": MUCH + OK,
    "not now": b"HTTP/1.1 429 Wait\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\n{}",
    "rejected": b'HTTP/1.1 400 No\r\nContent-Length: 14\r\n\r\n{"error":"no"}',
    "a portal": b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
    **LAST,
}


@pytest.mark.parametrize("split_at", [None, 20, -3])
@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_on_a_kept_connection_is_read_as_on_a_new_one(name, split_at):
    """And the connection is used for the request after it or not, as it would be there."""
    answer = ANSWERS[name]
    pieces = [answer] if split_at is None else [answer[:split_at], answer[split_at:]]

    kept, kept_connections = outcomes([OK], pieces, [OK])
    new, new_connections = outcomes(pieces, [OK])

    assert kept == [True, *new]
    assert new[-1] is True, "a connection that may not be used again is still open"
    assert kept_connections == new_connections


def outcomes(*answers, tls=None):
    """What comes of events to which a server answers this, and over how many connections."""
    left, connections = list(answers), 0

    def serve(connection):
        nonlocal connections
        connections += 1
        while left and read_request(connection):
            pieces = left.pop(0)
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(0.01 if len(pieces) > 1 else 0)
            if b"".join(pieces) in LAST.values():
                return
        read_request(connection)

    with server(serve, tls) as url, client_of(url) as client:
        found = [outcome(client, url) for _ in answers]
    return found, connections


def outcome(client, url):
    try:
        client.create(event())
    except VisionEventsError as error:
        words = str(error).replace(url.rpartition("/")[2], "host")
        return type(error), words, error.retry_after_s
    else:
        return True


def test_a_request_over_a_kept_connection_says_what_the_first_one_said():
    requests = []

    def serve(connection):
        while request := read_request(connection):
            requests.append(request)
            connection.sendall(OK.replace(b'{"created":true}', b'{"sourceId":"s"}'))

    with server(serve) as url:
        options = {
            "wrap_url": lambda address: f"{address}?via=gätew ay",
            "build_headers": lambda _: {"X-Site": ["plant 3", "line 4"], "Accept": "*/*"},
        }
        with client_of(url, **options) as client:
            for _ in range(3):
                client.upload(b"picture")

    heads = [sorted(it.partition(b"\r\n\r\n")[0].split(b"\r\n")) for it in requests]
    first, *others = [[it for it in head if b"boundary=" not in it] for head in heads]
    assert others == [first] * 2
    assert all(b"picture" in request for request in requests)


@pytest.fixture
def tls(tmp_path, monkeypatch):
    openssl = shutil.which("openssl")
    if openssl is None:
        missing("openssl")
    pem, key = tmp_path / "cert.pem", tmp_path / "cert.key"
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=here", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = [openssl, "req", *options, *names, "-out", pem, "-keyout", key]
    subprocess.run(made, check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
    return context


def test_over_tls_too_a_kept_connection_is_used_again(tls):
    pictures = [bytes([number]) * 300_000 for number in range(4)]
    requests, connections = [], []

    def serve(connection):
        connections.append(connection)
        while request := read_request(connection):
            requests.append(request)
            answer = OK.replace(b'{"created":true}', b'{"sourceId":"%d"}' % len(requests))
            connection.sendall(answer)
            if len(requests) == 3:
                return

    with server(serve, tls) as url, client_of(url) as client:
        ids = [client.upload(picture).source_id for picture in pictures]

    assert ids == ["1", "2", "3", "4"]
    assert all(it in request for it, request in zip(pictures, requests, strict=True))
    assert len(connections) == 2


def test_over_tls_too_a_connection_that_is_closed_just_then_is_no_failure(tls, monkeypatch):
    picture = b"x" * 300_000  # does not leave in one go, so the end of the connection is noticed
    requests, closed = [], threading.Semaphore(0)

    def serve(connection):
        with connection:
            requests.append(read_request(connection))
            connection.sendall(
                OK.replace(b'{"created":true}', b'{"sourceId":"%d"}' % len(requests))
            )
        closed.release()

    # It is checked just before the server closes it.
    monkeypatch.setattr(HTTPConnection, "is_connected", property(lambda self: bool(self.sock)))
    with server(serve, tls) as url, client_of(url) as client:
        for number in range(1, 10):
            assert client.upload(picture).source_id == str(number)
            assert closed.acquire(timeout=TIMEOUT_S)


def test_over_tls_too_what_more_is_said_is_not_the_next_answer(tls):
    told, connections = outcomes([MUCH + OK], [OK], tls=tls)

    assert told[-1] is True
    assert connections == 2


def test_interim_answers_are_read_past(client_and_answers):
    client, answers = client_and_answers
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    sent = [event() for _ in range(3)]
    for each in sent:
        answers.append(early + created(each))

    assert [client.create(each).event_id for each in sent] == [it["eventId"] for it in sent]


def test_interim_answers_without_end_are_no_answer(client_and_answers):
    client, answers = client_and_answers
    answers.append(b"HTTP/1.1 102 Processing\r\n\r\n" * 1000)

    with pytest.raises(NoAnswer):
        client.create(event())


@pytest.mark.parametrize("is_late", [False, True])
def test_an_answer_too_many_is_not_taken_for_the_next_one(client_and_answers, is_late):
    client, answers = client_and_answers
    first, second = event(), event()
    answers.append(created(first) if is_late else 2 * created(first))
    answers.append(created(second))

    client.create(first)
    if is_late:
        answers.connection.sendall(created(first))
        time.sleep(0.05)

    assert client.create(second).event_id == second["eventId"]


def test_an_answer_about_another_event_closes_its_connection(client_and_answers):
    client, answers = client_and_answers
    first, second = event(), event()
    answers.append(created(second))
    answers.append(created(second))

    with pytest.raises(UnknownReply, match="about another event"):
        client.create(first)
    assert client.create(second).created
    assert answers.connections == 2


def created(sent):
    body = json.dumps({"eventId": sent["eventId"], "created": True}).encode()
    return b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


class Answers(list):
    """What a server answers to one request after the other."""

    connections = 0
    connection = None

    def serve(self, connection):
        self.connection = connection
        self.connections += 1
        while self and read_request(connection):
            connection.sendall(self.pop(0))
        read_request(connection)


@pytest.fixture
def client_and_answers():
    answers = Answers()
    with server(answers.serve) as url, client_of(url, timeouts=QUICK) as client:
        yield client, answers


def test_a_closed_client_can_be_used_again(api, client):
    client.create(event())
    client.close()
    client.create(event())
    assert len({recorded.connection for recorded in api.requests}) == 2


# The key


def told_by(caught):
    """Everything that a log could print about an error, and what hangs on it."""
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    shown = "".join(
        traceback.TracebackException.from_exception(error, capture_locals=True).format()
    )
    return f"{error} {error!r} {error.args} {vars(error)} {shown}"


ECHO = f"Bearer {KEY} at /x?api_key=rf_made%2Fup%2Bkey is bad"
FAILURES = {
    "cut": lambda api: api.cut(),
    "refusal": lambda api: api.refuse(),
    "echo": lambda api: api.fail(422, body={"error": ECHO}),
    "portal": lambda api: api.fail(200, body=f"<html>{'x' * 490}{KEY}</html>"),
    "key": lambda api: api.fail(401, body={"error": f"unknown key {KEY}"}),
    "hang": lambda api: api.hang(3),
}


@pytest.mark.parametrize("break_it", FAILURES.values(), ids=FAILURES)
def test_no_error_tells_the_key_not_even_with_the_locals_of_its_traceback(api, break_it):
    break_it(api)
    with (
        client_of(api.url, timeouts=QUICK) as client,
        pytest.raises(VisionEventsError) as caught,
    ):
        client.create(event())
    told = told_by(caught)
    # The test's own frames hold the key; ours and those of `requests` must not.
    assert "Secret('***')" in told or "VisionEventsClient object" in told
    assert KEY not in told
    assert "rf_made%2Fup%2Bkey" not in told
    assert "rf_ma" not in str(caught.value)


def test_an_error_does_not_tell_the_authorization_of_the_host(api):
    api.fail(400, body={"error": "what is Basic aG9zdDpwYXNz, or aG9zdDpwYXNz?"})
    with (
        client_of(
            api.url, build_headers=lambda _: {"Authorization": "Basic aG9zdDpwYXNz"}
        ) as client,
        pytest.raises(RejectedError, match=r"what is \*\*\*, or \*\*\*\?") as caught,
    ):
        client.create(event())
    assert "aG9zdDpwYXNz" not in str(caught.value)


def test_a_secret_shows_only_its_identity():
    secret = Secret(KEY)
    for shown in (str(secret), repr(secret), f"{secret}", f"{[secret]}", secret.identity()):
        assert KEY not in shown
    assert secret.reveal() == KEY
    assert secret.identity() == Secret(KEY).identity() != Secret("other").identity()


def test_a_secret_knows_its_identity_by_any_salt():
    identity = Secret(KEY).identity(bytes(16))

    assert identity != Secret(KEY).identity()
    assert Secret(KEY).is_meant_by(identity)
    assert not Secret("other").is_meant_by(identity)
    assert not Secret(KEY).is_meant_by(identity[:-1])
    assert not Secret(KEY).is_meant_by("")


def test_a_secret_is_masked_in_a_text_also_where_it_is_quoted_for_a_url():
    text = "rf_made/up+key, rf_made%2Fup%2Bkey"
    assert Secret(KEY).hide_in(text) == "***, ***"


def test_secrets_compare_by_value_and_forget_line_ends():
    assert Secret(f" {KEY}\n") == Secret(KEY)
    assert Secret(KEY) != Secret("other")
    assert Secret(KEY) != KEY
    assert len({Secret(KEY), Secret(KEY), Secret("other")}) == 2


@pytest.mark.parametrize("value", ["", " \n", "a\nb", "schlüssel", "a\x00b"])
def test_a_key_that_no_header_can_carry_is_refused_without_repeating_it(value):
    with pytest.raises(ValueError, match="API key") as caught:
        Secret(value)
    assert not value.strip() or value not in str(caught.value)


def test_nothing_of_ours_is_logged(api, client, caplog):
    caplog.set_level(logging.DEBUG)
    api.fail(500, times=1)
    with pytest.raises(NotNow):
        client.upload(b"p")
    client.create(event())
    assert not [record for record in caplog.records if record.name.startswith("vision_event")]
    assert KEY not in caplog.text


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_time_out_that_is_none_is_refused(seconds):
    with pytest.raises(ValueError, match="positive number of seconds"):
        Timeouts(connect_s=seconds)
    with pytest.raises(ValueError, match="positive number of seconds"):
        Timeouts(read_s=seconds)
    assert json.dumps([Timeouts().connect_s, Timeouts().read_s]) == "[5.0, 30.0]"

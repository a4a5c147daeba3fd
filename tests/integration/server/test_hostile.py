"""What strangers and broken devices send: the server refuses it, and goes on."""

from __future__ import annotations

import gzip
import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from base64 import b64encode
from contextlib import suppress

import pytest
import requests

from tests.integration.server.conftest import bundle, device_event, event, picture
from vision_event_block.server.app import Patience
from vision_event_block.server.middleware.body_limits import READ_TIMEOUT_S

MIB = 2**20
MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&{{7*7}}\u202e"


@pytest.fixture(autouse=True)
def _survives(server):
    yield
    assert server.is_alive()


def png(width, height):
    """The header of a picture of any size, in a few bytes."""

    def chunk(kind, content):
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


NO_PICTURES = {
    "a picture of 40,000 x 40,000": png(40_000, 40_000),
    "a picture of no size": png(0, 0),
    "an SVG": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    "an SVG with a declaration": b'<?xml version="1.0"?><svg onload="alert(1)"/>',
    "a page": b"<!doctype html><script>alert(1)</script>",
    "a program": b"\x7fELF" + bytes(100),
    "an archive": gzip.compress(b"x"),
}


@pytest.mark.parametrize("case", NO_PICTURES)
@pytest.mark.parametrize("route", ["upload", "bundle", "device"])
def test_what_must_not_be_shown_is_not_kept_as_a_picture(server, use_case, route, case):
    content = NO_PICTURES[case]
    if route == "upload":
        reply = server.post(
            "/vision-events/upload", files={"file": ("a.jpg", content, "image/jpeg")}
        )
    elif route == "bundle":
        payload = {"bundleFormatVersion": 1, **event(use_case, images=[{"file": "images/a.jpg"}])}
        reply = server.post(
            "/vision-events/bundle", data=bundle(payload, {"images/a.jpg": content})
        )
    else:
        image = {"base64Image": b64encode(content).decode()}
        reply = server.post("/v2/events", json=device_event(use_case, images=[image]))

    assert reply.status_code == (422 if route == "device" else 400), reply.text
    assert server.events_of(use_case) == []


CLIMBING = ["../../etc/passwd", "..%2f..%2fetc%2fpasswd", "/etc/passwd", "....//x", "a\\..\\b"]


@pytest.mark.parametrize("name", CLIMBING)
def test_a_name_that_climbs_reaches_no_file(server, use_case, name, tmp_path_factory):
    sent = event(use_case, eventId=name, deviceId=name, images=[{"sourceId": name, "label": name}])
    assert server.post("/vision-events", json=sent).status_code == 201
    assert server.events_of(use_case)[0]["eventId"] == name
    uploaded = server.upload(picture(), name=name)
    assert uploaded.status_code == 201
    shown = server.get(f"/vision-events/pictures/{name}")
    assert shown.status_code == 404
    assert b"root:" not in shown.content
    assert server.post("/vision-events", json=event(name)).status_code == 400
    payload = {"bundleFormatVersion": 1, **event(use_case, images=[{"file": name}])}
    archive = bundle(payload, {name: picture()})
    assert server.post("/vision-events/bundle", data=archive).status_code == 400
    path = "/vision-events/bundle"
    assert server.post(path, params={"useCaseId": name}, data=archive).status_code == 400
    for path in ("/vision-events/use-cases/{}/archive", "/vision-events/use-cases/{}/unarchive"):
        assert server.post(path.format(name)).status_code in (404, 405)


def test_markup_comes_back_as_text_in_json(server, use_case):
    sent = event(
        use_case,
        eventData={"value": MARKUP},
        deviceId=MARKUP,
        customMetadata={"note": MARKUP},
        images=[{"label": MARKUP, "classifications": [{"class": MARKUP, "confidence": 1}]}],
    )

    created = server.post("/vision-events", json={**sent, MARKUP: MARKUP})
    found = server.post("/vision-events/query", json={"useCaseId": use_case})

    for reply in (created, found):
        assert reply.headers["content-type"] == "application/json"
        assert reply.headers["x-content-type-options"] == "nosniff"
    [kept] = found.json()["events"]
    assert kept["customMetadata"] == {"note": MARKUP}
    assert kept["images"] == sent["images"]


@pytest.mark.parametrize("text", ["\0", "\ud800", "a\udfffb", "\u2028", "\ufeff", "😀" * 100])
def test_strange_characters_are_stored_or_refused(server, use_case, text):
    sent = event(use_case, eventData={"value": text}, customMetadata={"n": text}, deviceId=text)
    body = json.dumps(sent)

    reply = server.post("/vision-events", data=body, headers={"Content-Type": "application/json"})

    assert reply.status_code == 201
    [found] = server.events_of(use_case)
    assert found["customMetadata"]["n"] == found["eventData"]["value"]
    assert server.post("/vision-events", json=event(use_case, eventId=f"e{text}")).status_code < 500
    query = {"useCaseId": use_case, "deviceId": {"operator": "eq", "value": text}}
    headers = {"Content-Type": "application/json"}
    assert (
        server.post("/vision-events/query", data=json.dumps(query), headers=headers).status_code
        == 200
    )


def test_a_million_mistakes_are_answered_soon(server, use_case):
    wrong = {"class": 1, "x": "", "y": "", "width": "", "height": "", "confidence": ""}
    images = [{"objectDetections": [wrong] * 1000}] * 100

    started_s = time.monotonic()
    reply = server.post("/vision-events", json=event(use_case, images=images))

    assert reply.status_code == 201
    assert len(reply.content) < 100_000
    assert time.monotonic() - started_s < 10


# Bodies


TOO_LARGE = {
    "/vision-events": (10, "application/json", "error"),
    "/vision-events/query": (1 / 16, "application/json", "error"),
    "/vision-events/batch": (32, "application/json", "error"),
    "/vision-events/upload": (50, "multipart/form-data; boundary=b", "error"),
    "/vision-events/bundle": (25, "application/gzip", "error"),
    "/v2/events": (64, "application/json", "detail"),
    "/nowhere": (1 / 16, "text/plain", "error"),
}


@pytest.mark.parametrize("is_chunked", [False, True], ids=["announced", "in chunks"])
@pytest.mark.parametrize("path", TOO_LARGE)
def test_a_body_that_is_too_large_is_answered_as_such(server, path, is_chunked):
    limit_mib, media_type, key = TOO_LARGE[path]
    size_bytes = int(limit_mib * MIB) + 1
    content = form_head(path) + bytes(size_bytes)
    body = (content[at : at + MIB] for at in range(0, len(content), MIB))

    reply = server.post(
        path, data=body if is_chunked else content, headers={"Content-Type": media_type}
    )

    if path == "/nowhere" and is_chunked:  # nobody reads it
        assert reply.status_code == 404
    else:
        assert reply.status_code == 413
        words = f"{limit_mib} MiB" if limit_mib >= 1 else f"{limit_mib * 1024:g} KiB"
        assert words in reply.json()[key]


def form_head(path):
    if not path.endswith("upload"):
        return b""
    return b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'


def test_a_gigabyte_passes_by_the_memory(gigabyte_server):
    url, pid = gigabyte_server
    before_mib = memory_mib(pid)

    chunk = bytes(MIB)
    for path in ("/vision-events", "/vision-events/upload"):
        media_type = TOO_LARGE[path][1]
        body = (form_head(path) if number == 0 else chunk for number in range(1025))
        reply = requests.post(
            url + path, data=body, headers={"Content-Type": media_type}, timeout=60
        )
        assert reply.status_code == 413

    assert peak_mib(pid) - before_mib < 150
    assert requests.get(f"{url}/health", timeout=60).status_code == 200


@pytest.fixture
def gigabyte_server(tmp_path):
    command = [sys.executable, "-c", "from vision_event_block.cli import main; main()"]
    process = subprocess.Popen(
        [*command, "serve", "--port", "0", "--data", str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        url = re.search(r"http://[^\s]+", process.stdout.readline())[0]
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


def memory_mib(pid, name="VmRSS"):
    with open(f"/proc/{pid}/status") as status:  # noqa: PTH123
        return int(re.search(rf"{name}:\s+(\d+)", status.read())[1]) / 1024


def peak_mib(pid):
    return memory_mib(pid, "VmHWM")


# Slow and broken connections


def connected(server):
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=60)
    return connection, connection.makefile("rb")


@pytest.mark.parametrize(
    "sent",
    [b"", b"POST /vision-ev", b"GET /health HTTP/1.1\r\nHost: localhost\r\n"],
    ids=["nothing", "half a line", "half a head"],
)
def test_who_never_finishes_the_head_is_hung_up_on(start, sent):
    impatient = start(patience=Patience(body_s=0.3))
    connection, answer = connected(impatient)

    with connection, answer:
        connection.sendall(sent)
        started_s = time.monotonic()
        assert answer.read() == b""
        assert time.monotonic() - started_s < READ_TIMEOUT_S, "it has less patience here"


def test_who_sends_the_head_letter_by_letter_is_hung_up_on(start):
    connection, answer = connected(start(patience=Patience(body_s=0.3)))

    def send_letters():
        for _ in range(600):
            connection.sendall(b"G")
            time.sleep(0.05)

    with connection, answer, pytest.raises((ConnectionResetError, BrokenPipeError)):
        send_letters()


def test_who_never_finishes_the_body_is_told_so(start):
    # The head has as long: on a busy machine this thread may stand still before it sends it.
    connection, answer = connected(start(patience=Patience(body_s=3.0)))

    with connection, answer:
        connection.sendall(
            b"POST /vision-events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
            b"Content-Type: application/json\r\n\r\n{"
        )
        assert b" 408 " in answer.readline()
        assert b'{"error":' in answer.read()


def test_who_keeps_a_connection_may_ask_again_after_a_while(start):
    # So long may this thread stand still between the connection and its first head.
    connection, answer = connected(start(patience=Patience(body_s=3.0)))
    request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"

    with connection, answer:
        for pause_s in (0, 3.5, 0):
            time.sleep(pause_s)
            connection.sendall(request)
            assert b" 200 " in answer.readline()
            while (line := answer.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length"):
                    length = int(line.split()[1])
            answer.read(length)


def test_who_leaves_in_the_middle_of_a_body_harms_nobody(server, caplog):
    for _ in range(5):
        connection, answer = connected(server)
        with connection, answer:
            connection.sendall(
                b"POST /vision-events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
            )
    time.sleep(0.2)

    assert "failed" not in caplog.text


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01",
        b"GET\r\n\r\n",
        b"POST /vision-events HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
    ],
    ids=["TLS", "no request", "a negative length", "two lengths", "a head without end"],
)
def test_what_is_no_http_is_refused(server, sent):
    connection, answer = connected(server)

    with connection, answer:
        with suppress(ConnectionError):  # a head without end is hung up on before all is sent
            connection.sendall(sent)
        assert b" 400 " in answer.readline()


def test_a_slow_request_keeps_nobody_waiting(server, use_case):
    """Many large bodies at once are parsed and stored beside the event loop."""
    boxes = [{"class": "a", "x": 1, "y": 1, "width": 1, "height": 1, "confidence": 1}] * 1000
    body = json.dumps(event(use_case, images=[{"objectDetections": boxes}] * 90)).encode()
    headers = {"Content-Type": "application/json"}
    threads = [
        threading.Thread(
            target=requests.post,
            args=(f"{server.url}/vision-events", body),
            kwargs={"headers": headers, "timeout": 60},
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    waits_s = []
    while any(thread.is_alive() for thread in threads):
        started_s = time.monotonic()
        assert requests.get(f"{server.url}/health", timeout=60).status_code == 200
        waits_s.append(time.monotonic() - started_s)
    for thread in threads:
        thread.join()

    assert max(waits_s) < 8

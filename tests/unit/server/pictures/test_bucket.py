"""What the bucket makes of a storage that answers badly, late or not at all.

A storage that works is met in tests/integration/server/test_object_storage.py.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec

import pytest

from tests.tools import missing
from tests.waiting import eventually
from vision_event_block.server.pictures import bucket as picture_bucket
from vision_event_block.server.pictures.bucket import PictureBucket
from vision_event_block.server.store.errors import BadStorage, StorageDown

TIMEOUT_S = 0.3
#: Of a first try and those after it.
PATIENCE_S = 5.0


class BadStorageServer(ThreadingHTTPServer):
    """Takes everything, until it is told otherwise."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.body = b""
        self.asked = 0
        self.answers = threading.Event()
        self.answers.set()


class _Handler(BaseHTTPRequestHandler):
    def handle_one_request(self):
        """Any method."""
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        self.server.asked += 1
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.answers.wait(30)
        self.send_response(self.server.status)
        self.send_header("ETag", '"tag"')
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    if find_spec("obstore") is None:
        missing("obstore (the extra [s3])")
    with BadStorageServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key-id")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
        yield server
        server.answers.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def bucket(server):
    server.body = b"<DeleteResult><Deleted><Key>x/probe</Key></Deleted></DeleteResult>"
    return PictureBucket.open("s3://pictures/x", request_timeout_s=TIMEOUT_S)


def put(bucket):
    try:
        bucket.put("3f/x.jpg", b"picture", "image/jpeg")
    except StorageDown:
        return False
    return True


def test_while_it_hangs_one_waits_and_the_others_are_told_at_once(server, bucket, caplog):
    server.answers.clear()
    began_s = time.monotonic()
    with ThreadPoolExecutor(1) as threads:
        assert not threads.submit(put, bucket).result(PATIENCE_S)
    assert time.monotonic() - began_s >= TIMEOUT_S

    asked, began_s = server.asked, time.monotonic()
    assert not any(put(bucket) for _ in range(50))
    assert server.asked == asked
    assert time.monotonic() - began_s < 25 * TIMEOUT_S

    time.sleep(2.1)
    with ThreadPoolExecutor(20) as threads:
        assert not any(threads.map(put, [bucket] * 20))
    assert asked < server.asked <= asked + 3  # one thread with its retries

    server.answers.set()
    eventually(lambda: put(bucket))
    assert all(put(bucket) for _ in range(5))
    said = [each.levelno for each in caplog.records if each.name == picture_bucket.log.name]
    assert said == [logging.ERROR, logging.WARNING]


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (403, b"<Error><Code>AccessDenied</Code>key-id</Error>", r"refuses .*\(AccessDenied\)"),
        (403, b"", r"refuses .*\(403\)"),
        (401, b"", "refuses"),
        (
            409,
            b"<Error><Code>OperationAborted</Code>key-id</Error>",
            "it answered OperationAborted",
        ),
        (507, b"key-id is out of room", "it answered 507"),
        (200, b"a login page", "it answered what is none of S3"),
        (404, b"<Error><Code>NoSuchBucket</Code></Error>", "there is no such bucket"),
    ],
)
def test_what_it_answers_is_told_without_more_than_its_code(
    server, bucket, caplog, status, body, words
):
    server.status, server.body = status, body

    def use():
        bucket.put("3f/x.jpg", b"picture", "image/jpeg")
        bucket.remove(["3f/x.jpg"])

    with pytest.raises(StorageDown, match=words) as raised:
        use()
    with pytest.raises(BadStorage, match=words) as refused:
        PictureBucket.open("s3://pictures/x", request_timeout_s=TIMEOUT_S)

    for text in (str(raised.value), str(refused.value), caplog.text):
        assert "key-id" not in text
        assert "s3cret" not in text
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_bytes_that_are_not_there_are_no_sign_of_a_storage_that_is_down(server, bucket):
    server.status = 404

    for _ in range(3):
        with pytest.raises(FileNotFoundError):
            bucket.read("3f/x.jpg")
        assert not bucket.has("3f/x.jpg")
    asked = server.asked
    bucket.remove([])
    assert server.asked == asked


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:65536", "ftp://host", "//host", "http://a b", "http://me@host"]
)
def test_an_address_that_the_library_would_choke_on_is_refused(monkeypatch, address):
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)

    with pytest.raises(BadStorage, match="AWS_ENDPOINT_URL must be"):
        PictureBucket.open("s3://pictures")


def test_a_bucket_that_is_gone_is_no_picture_that_is_missing(server, bucket):
    server.status, server.body = 404, b"<Error><Code>NoSuchBucket</Code></Error>"

    with pytest.raises(StorageDown, match="there is no such bucket"):
        bucket.read("3f/x.jpg")

"""What reads bytes of strangers. Each target takes any bytes, and answers or refuses.

A target is a context that gives a function; it fails with anything but the refusal that it
documents. A request of the corpus is a text:

    POST /login
    Content-Type: application/x-www-form-urlencoded

    key=made-up
"""

from __future__ import annotations

import re
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from vision_event_block.contract.archives import BadArchive, read_archive
from vision_event_block.contract.documents import NotJson, parse_json
from vision_event_block.events.encoding import jpeg_facts
from vision_event_block.outbox.entry import Corrupt, read_metadata, unpack
from vision_event_block.redaction import printable, without_passwords
from vision_event_block.server.api.ingest import RequestRefused, ingest
from vision_event_block.server.http_server import serving
from vision_event_block.server.keys import Keys
from vision_event_block.server.page.login import local_target
from vision_event_block.server.storage import Store
from vision_event_block.server.store.errors import NotAPicture
from vision_event_block.server.store.timestamps import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Take = Callable[[bytes], object]

USE_CASE: Final = "line"
EVENT_ID: Final = "event-1"
_TIMEOUT_S: Final = 20.0
_PASSWORD: Final = "s3cret"


@contextmanager
def archives(_: Path) -> Iterator[Take]:
    """Bundles, as they are posted and as `vision-events upload` reads them."""

    def take(content: bytes) -> None:
        with suppress(BadArchive):
            archive = read_archive(content)
            assert archive.pictures.keys() <= set(map(str, archive.pictures))
            with suppress(RequestRefused):
                ingest(archive.payload, now=utc_now())

    yield take


@contextmanager
def entries(_: Path) -> Iterator[Take]:
    """What lies in the outbox, whatever a worn card made of it."""

    def take(content: bytes) -> None:
        with suppress(Corrupt):
            unpack(content)
        with suppress(Corrupt):
            read_metadata(content[:4096])

    yield take


@contextmanager
def pictures(home: Path) -> Iterator[Take]:
    """Uploads, and the small versions that are made of them."""
    with Store.open(home / "store") as store:

        def take(content: bytes) -> None:
            jpeg_facts(content)
            with suppress(NotAPicture):
                picture = store.pictures.put(content)
                file = store.pictures.get(picture.id)
                assert file is not None
                store.pictures.thumbnails.ask(picture.id, file, 160).result()

        yield take


@contextmanager
def documents(_: Path) -> Iterator[Take]:
    """Bodies that shall be JSON, and events that they shall be."""

    def take(content: bytes) -> None:
        with suppress(NotJson, RequestRefused):
            ingest(parse_json(content), now=utc_now())

    yield take


@contextmanager
def addresses(_: Path) -> Iterator[Take]:
    """Where a login leads back to, and an address in a line of the log."""

    def take(content: bytes) -> None:
        text = content.decode(errors="surrogateescape")
        target = local_target(text)
        assert re.match(r"/(?![/\\])", target), f"it leads to {target!r}"
        assert not re.search(r"[\x00-\x20]", target), f"it leads to {target!r}"
        shown = printable(without_passwords(f"no route to http://ann:{_PASSWORD}@{text}"))
        assert _PASSWORD not in shown.partition("@")[0]
        assert shown.isprintable() or not re.search(r"[\x00-\x1f\x7f-\x9f]", shown)

    yield take


@contextmanager
def requests(home: Path) -> Iterator[Take]:
    """A server that has one event: its queries, forms and addresses."""
    with Store.open(home / "store") as store:
        store.use_cases.create("Line", id=USE_CASE)
        event = {
            "eventId": EVENT_ID,
            "eventType": "custom",
            "useCaseId": USE_CASE,
            "timestamp": utc_now().isoformat(),
            "eventData": {"value": "a"},
            "customMetadata": {"shift": 2},
        }
        store.put([ingest(event, now=utc_now()).event])
        with serving(store, Keys()) as url:
            port = urlsplit(url).port
            assert port is not None

            def take(content: bytes) -> None:
                status = _status_of(port, content)
                assert status is None or status < 500 or status == 503, f"it answers {status}"

            yield take


def _status_of(port: int, content: bytes) -> int | None:
    """Of the answer to a request; None if there is none, which only a broken head may have."""
    head, _, body = content.partition(b"\n\n")
    first, *lines = head.split(b"\n")
    method, _, path = first.partition(b" ")
    # What is no head at all is the HTTP library's business.
    if not re.fullmatch(rb"[A-Z]{1,10}", method) or not re.fullmatch(rb"/[!-~]*", path):
        return None
    headers = [line for line in lines if re.fullmatch(rb"[A-Za-z-]+: [ -~]*", line)]
    known = {header.partition(b":")[0].lower() for header in headers}
    if known & {b"content-length", b"transfer-encoding", b"expect", b"host", b"connection"}:
        return None
    headers = [b"Host: 127.0.0.1", b"Connection: close", *headers]
    headers.append(b"Content-Length: " + str(len(body)).encode())
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S) as connection:
        with suppress(ConnectionError):  # it may answer before it has read everything
            connection.sendall(
                b"\r\n".join([method + b" " + path + b" HTTP/1.1", *headers, b"", body])
            )
        answer = bytearray()
        while block := connection.recv(2**16):
            answer += block
    found = re.match(rb"HTTP/1\.1 (\d{3})", answer)
    assert found is not None, f"it answers {bytes(answer[:40])!r}"
    return int(found[1])


TARGETS: Final = {
    each.__name__: each for each in (archives, entries, pictures, documents, addresses, requests)
}

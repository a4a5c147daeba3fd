"""The body of a request, in pieces that are never joined by copying, and how they are sent."""

from __future__ import annotations

import secrets
import socket
from typing import TYPE_CHECKING, Any, Final

from urllib3.fields import RequestField

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Each block has to be sent within the connection's time-out: an uplink of 110 kbit/s is fast
#: enough. A picture in one piece would have only that time as a whole.
BLOCK_BYTES: Final = 64 * 1024
#: The most that POSIX guarantees for one call.
_MAX_PIECES: Final = 16


class Body:
    """Bytes that may be sent more than once: each iteration starts from the beginning."""

    def __init__(self, *pieces: bytes, content_type: str) -> None:
        self.content_type = content_type
        self._pieces = [memoryview(piece) for piece in pieces]

    def __len__(self) -> int:
        return sum(map(len, self._pieces))

    def __iter__(self) -> Iterator[memoryview]:
        return iter(self._pieces)


def json_body(document: bytes) -> Body:
    return Body(document, content_type="application/json")


def form_body(*fields: tuple[str, bytes]) -> Body:
    """A multipart form of fields as `form_field` makes them."""
    boundary = secrets.token_hex(16)
    pieces: list[bytes] = []
    for head, content in fields:
        pieces += (f"--{boundary}\r\n{head}".encode(), content, b"\r\n")
    pieces.append(f"--{boundary}--\r\n".encode())
    return Body(*pieces, content_type=f"multipart/form-data; boundary={boundary}")


def form_field(
    name: str, content: bytes, *, file_name: str | None = None, media_type: str | None = None
) -> tuple[str, bytes]:
    """The head and the content of a form's field, with a file name if it is a file."""
    field = RequestField(name, content, filename=file_name)
    field.make_multipart(content_type=media_type)
    return field.render_headers(), content


def send_all(sock: Any, pieces: list[memoryview]) -> None:
    """Sends a request, some of which has to leave within each time-out of the socket.

    It takes few calls: after each of them this thread waits for the interpreter's lock.
    """
    if type(sock) is not socket.socket or not hasattr(sock, "sendmsg"):  # TLS, or Windows
        for block in blocks_of(pieces):
            sock.sendall(block)
        return
    while pieces:
        sent = sock.sendmsg(pieces[:_MAX_PIECES])
        while pieces and sent >= len(pieces[0]):
            sent -= len(pieces.pop(0))
        if sent:
            pieces[0] = pieces[0][sent:]


def blocks_of(pieces: Iterable[memoryview]) -> Iterator[bytes | memoryview]:
    """The same in blocks; small pieces share one with their neighbours."""
    block = b""
    for piece in pieces:
        rest = piece
        while rest:
            if not block and len(rest) >= BLOCK_BYTES:
                yield rest[:BLOCK_BYTES]
                rest = rest[BLOCK_BYTES:]
                continue
            taken = rest[: BLOCK_BYTES - len(block)]
            block, rest = block + taken, rest[len(taken) :]
            if len(block) == BLOCK_BYTES:
                yield block
                block = b""
    if block:
        yield block

"""A request on a connection that is already open.

For each request `requests` and urllib3 look up proxies, certificates and pools again, and
http.client reads the head of the answer with a parser for e-mails: for an event with two pictures
that is a tenth of its processor time. On a connection that was used before, all of this is known.
So the request is sent as bytes here, and the most frequent answer is read here: a success that
states its length. Anything else is left to http.client, from the first byte on.
"""

from __future__ import annotations

import http.client
import re
import ssl
from typing import TYPE_CHECKING, Any, Final

import requests
from urllib3 import HTTPHeaderDict, HTTPResponse
from urllib3.exceptions import ProtocolError

from vision_event_block.delivery.body import send_all
from vision_event_block.delivery.replies import Answer

if TYPE_CHECKING:
    import socket

    from urllib3.connection import HTTPConnection

    from vision_event_block.delivery.http import Connection
    from vision_event_block.delivery.post import Post

_RECV_BYTES: Final = 2**16
_SUCCESS: Final = re.compile(rb"http/1\.1 2(?!04|05)\d\d ")
_LENGTH: Final = re.compile(rb"\ncontent-length:[ \t]*(\d{0,6})([^\r\n]*)")
#: Anything that makes an answer end elsewhere or read differently than its length says.
_SPECIAL: Final = re.compile(
    rb"(?<!\r)\n|\r(?!\n)|\n[ \t]|\n(?:transfer|content)-encoding"
    rb"|\nconnection:(?![ \t]*keep-alive\r)"
)


def exchange(
    connection: HTTPConnection, request: Post, owner: Connection, *, connect_s: float, read_s: float
) -> Answer | HTTPResponse:
    """The answer, or its beginning.

    Raises:
        RequestException: as `requests` would raise it.
    """
    sock = connection.sock  # `break_off` by another thread shuts it without closing it
    try:
        sock.settimeout(connect_s)
        send_all(sock, [memoryview(request.head()), *request.body])
        owner.sent()
        sock.settimeout(read_s)
        try:
            answer = _success(sock, owner)
            return answer if isinstance(answer, Answer) else _parsed(connection, request, answer)
        except TimeoutError as error:
            raise requests.ReadTimeout(error) from error
    except ssl.SSLError as error:
        raise requests.exceptions.SSLError(error) from error
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, requests.RequestException):
            raise
        aborted = ProtocolError("Connection aborted.", error)
        aborted.__cause__ = error
        raise requests.ConnectionError(aborted) from aborted


def _success(sock: socket.socket, owner: Connection) -> Answer | bytes:
    """The answer, if it is a plain success and came in one piece; else what has come so far."""
    data = sock.recv(_RECV_BYTES)
    head, end, body = data.partition(b"\r\n\r\n")
    size_bytes = _size_bytes(head.lower() + b"\r\n") if end else None
    if size_bytes is None or len(body) < size_bytes:
        return data
    if len(body) > size_bytes:
        owner.left_over()
    return Answer(int(head[9:12]), body[:size_bytes])


def _size_bytes(head: bytes) -> int | None:
    """How long the body of a plain success is; None if it is anything else."""
    lengths = _LENGTH.findall(head)
    if len(lengths) != 1 or not _SUCCESS.match(head) or _SPECIAL.search(head):
        return None
    digits, rest = lengths[0]
    return int(digits) if digits and not rest.strip() else None


def _parsed(connection: HTTPConnection, request: Post, came: bytes) -> HTTPResponse:
    """The same answer, as urllib3 returns it."""
    method = request.template.method
    response_class: Any = connection.response_class
    response = response_class(connection.sock, method=method, came=came)
    response.begin()
    if response.will_close:
        connection.close()
    return HTTPResponse(
        response,
        HTTPHeaderDict(response.headers.items()),
        response.status,
        preload_content=False,
        original_response=response,
        request_method=method,
    )

"""The wire of the stand-in: an HTTP/1.1 server with keep-alive, and the parsing of uploads."""

from __future__ import annotations

import json
import socket
import struct
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class Call:
    """A request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    #: The client's port, which is the same for all requests of one connection.
    connection: int
    #: When the request line was read, on the monotonic clock.
    started_s: float


@dataclass(frozen=True)
class Response:
    """What to send. A status of None sends nothing and cuts the connection."""

    status: int | None
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Cut with a reset instead of a proper end.
    reset: bool = False

    @classmethod
    def of_json(cls, status: int, document: Any) -> Response:
        """The document as the API sends it."""
        body = json.dumps(document).encode()
        return cls(status, body, {"Content-Type": "application/json; charset=utf-8"})


class Server(ThreadingHTTPServer):
    """Listens on the loopback from construction to `stop`, with a thread for each connection."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self, port: int, answer: Callable[[Call], Response], greet: Callable[[], None]
    ) -> None:
        """Listens.

        Args:
            port: Zero for any free one.
            answer: Called for each request, on the thread of its connection.
            greet: Called for each new connection, on its thread.
        """
        self.answer = answer
        self.greet = greet
        #: Guarded by the lock.
        self._connections: set[socket.socket] = set()
        self._connections_lock = Lock()
        super().__init__(("127.0.0.1", port), _Handler)
        self._thread = Thread(
            target=self.serve_forever, args=(0.02,), name="stand-in-api", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Refuses new connections from now on and ends those that are open."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self._connections_lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Starts the connection's thread."""
        with self._connections_lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Ends the connection, whoever wanted it."""
        with self._connections_lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keeps quiet about clients that went away; that is what tests make them do."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # one packet for head and body
    server: Server

    def handle(self) -> None:
        self.server.greet()
        super().handle()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's name
        """Says nothing."""

    def do_POST(self) -> None:
        started_s = time.monotonic()
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:  # the client left in the middle
            self.close_connection = True
            return
        call = Call(
            method=self.command,
            path=self.path,
            headers=dict(self.headers.items()),
            body=body,
            connection=self.client_address[1],
            started_s=started_s,
        )
        response = self.server.answer(call)
        if response.status is None:
            self.close_connection = True
            if response.reset:
                self._reset()
            return
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        self.wfile.write(response.body)

    do_GET = do_POST  # noqa: N815 -- the base class looks for this name

    def _reset(self) -> None:
        # Closed with no time to linger, and before the base class ends it in the proper way.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


@dataclass(frozen=True)
class Part:
    """One part of a form."""

    content: bytes
    file_name: str | None
    media_type: str


def parse_form(content_type: str, body: bytes) -> dict[str, Part]:
    """The parts of a multipart/form-data body by name; empty if it is something else."""
    boundary = message_from_bytes(f"Content-Type: {content_type}\n\n".encode()).get_boundary()
    if boundary is None:
        return {}
    parts = {}
    for section in (b"\r\n" + body).split(b"\r\n--" + boundary.encode())[1:-1]:
        head, _, content = section.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        headers = message_from_bytes(head)
        name = headers.get_param("name", header="Content-Disposition")
        parts[str(name)] = Part(content, headers.get_filename(), headers.get_content_type())
    return parts

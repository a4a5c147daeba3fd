"""The wire of the stand-in: an HTTP/1.1 server with keep-alive, its routes, and uploads."""

from __future__ import annotations

import json
import math
import select
import socket
import struct
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from vision_event_block.testing.misbehaviour import End, Misbehaviour, Pause, answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: All belong to the Vision Events API except the last, the event store on a device.
Route = Literal["upload", "create", "batch", "bundle", "event_store"]

_ROUTES: Final[Mapping[str, Route]] = MappingProxyType(
    {
        "/vision-events/upload": "upload",
        "/vision-events": "create",
        "/vision-events/batch": "batch",
        "/vision-events/bundle": "bundle",
        "/v2/events": "event_store",
    }
)
#: How often a long pause checks whether the client is still there, where the system does not say.
_LOOK_EVERY_S: Final = 0.1


@dataclass(frozen=True)
class Call:
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
    """What to send. With a status of None, nothing is sent and the connection is cut."""

    status: int | None
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Whether to cut it with a reset instead of an orderly close.
    reset: bool = False
    #: Applied to the answer as it is sent.
    misbehaviour: Misbehaviour | None = None

    @classmethod
    def of_json(cls, status: int, document: Any) -> Response:
        body = json.dumps(document).encode()
        return cls(status, body, {"Content-Type": "application/json; charset=utf-8"})

    def to_bytes(self) -> bytes:
        if self.status is None:
            return b""
        headers = dict(self.headers)
        media_type = headers.pop("Content-Type", "application/octet-stream")
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return answer(self.status, self.body, media_type, more=more)


class Refused(Exception):  # noqa: N818 -- an answer, not an error of the stand-in
    """A service refuses a request; the arguments are the status and the reason."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(status, words)
        self.status = status
        self.words = words


def route_of(path: str) -> Route | None:
    """The route of a request's target: a path, or the full address that a proxy gets."""
    return _ROUTES.get(urlsplit(path).path)


def refusal(route: Route | None, status: int, words: str) -> Response:
    """The answer with a reason, under the key that the route's service uses for it."""
    return Response.of_json(status, {"detail" if route == "event_store" else "error": words})


class Server(ThreadingHTTPServer):
    """Listens on loopback from construction to `stop`, with a thread for each connection."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        port: int,
        *,
        greet: Callable[[], Misbehaviour | None],
        hear: Callable[[str], Misbehaviour | None],
        answer: Callable[[Call], Response],
    ) -> None:
        """Listens.

        Args:
            port: Zero for any free one.
            greet: Called for each new connection, on its thread.
            hear: Called with the path of each request before its body is read.
            answer: Called for each request that was read.
        """
        self.greet = greet
        self.hear = hear
        self.answer = answer
        #: Guarded by the lock.
        self._connections: set[socket.socket] = set()
        self._connections_lock = Lock()
        super().__init__(("127.0.0.1", port), _Handler)
        self._thread = Thread(
            target=self.serve_forever, args=(0.02,), name="stand-in-api", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stops accepting connections and ends those that are open."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self._connections_lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._connections_lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._connections_lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Does not log clients that went away: tests make them do that."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def handle(self) -> None:
        misbehaviour = self.server.greet()
        if misbehaviour is None or self._play(misbehaviour, b""):
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's name
        """Logs nothing."""

    def do_POST(self) -> None:
        started_s = time.monotonic()
        misbehaviour = self.server.hear(self.path)
        if misbehaviour is not None and not self._play(misbehaviour, b""):
            return
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
        if response.misbehaviour is not None:
            self._play(response.misbehaviour, response.to_bytes())
        elif response.status is None:
            self._end(End.RESET if response.reset else End.CLOSE)
        else:
            self.connection.sendall(response.to_bytes())

    do_GET = do_POST  # noqa: N815 -- the base class looks for this name

    def _play(self, misbehaviour: Misbehaviour, good: bytes) -> bool:
        """Plays a script; returns whether the connection stays open after it."""
        for step in misbehaviour.script(good):
            if isinstance(step, End):
                self._end(step)
                return False
            if isinstance(step, Pause):
                self._pause(step)
            else:
                self.connection.sendall(step)
        return True

    def _pause(self, pause: Pause) -> None:
        """Raises ConnectionError as soon as the client has gone, whatever it sent before."""
        poll = select.poll()
        poll.register(self.connection, getattr(select, "POLLRDHUP", 0))
        ends_at_s = math.inf if pause.seconds is None else time.monotonic() + pause.seconds
        while (left_s := ends_at_s - time.monotonic()) > 0:
            if poll.poll(1000 * min(left_s, _LOOK_EVERY_S)):
                raise ConnectionAbortedError

    def _end(self, how: End) -> None:
        self.close_connection = True
        if how is End.RESET:
            # Closed without lingering, before the base class closes it in the orderly way.
            no_time = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_time)
            self.connection.close()


@dataclass(frozen=True)
class Part:
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

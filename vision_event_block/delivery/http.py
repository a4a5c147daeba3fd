"""One connection to a server: sends a request, gives the answer or says what broke.

`requests` does the work, through its adapter and through the connection class of urllib3's pools.
Four things are ours. A request leaves in as few calls as go. It ends in time however slowly the
other side drips: a watchdog shuts the socket. Interim answers (1xx) are read past. And a connection
that has more to say than the answer is not used again, because the rest would be taken for the next
answer.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from socket import gaierror
from typing import TYPE_CHECKING, Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, MaxRetryError, ProtocolError

from vision_event_block.delivery import watchdog
from vision_event_block.delivery.body import BLOCK_BYTES, send_all
from vision_event_block.delivery.errors import NoAnswer, Unreachable
from vision_event_block.delivery.replies import Answer, shorten

if TYPE_CHECKING:
    from collections.abc import Callable

    from urllib3 import PoolManager

    from vision_event_block.delivery.errors import TransientError
    from vision_event_block.delivery.post import Post

#: Answers are a few hundred bytes; a hundred events with many warnings stay far below this.
MAX_ANSWER_BYTES: Final = 4 * 2**20
#: A server that has so much to say before its answer has none.
MAX_INTERIM_ANSWERS: Final = 10
#: Addresses of one name that are tried in turn, and the handshake: each may take `connect_s`.
_CONNECT_STEPS: Final = 3
MAX_TIMEOUT_S: Final = 86_400.0


@dataclass(frozen=True)
class Timeouts:
    """How long a request may stand still before it counts as lost.

    `connect_s` also bounds every pause while the request is being sent; `read_s` bounds the wait
    for the whole head of the answer and, once more, the time until its body is complete.
    """

    connect_s: float = 5.0
    read_s: float = 30.0

    def __post_init__(self) -> None:
        for seconds in (self.connect_s, self.read_s):
            if not (isfinite(seconds) and 0 < seconds <= MAX_TIMEOUT_S):
                raise ValueError(
                    f"a timeout is a positive number of seconds, at most a day, not {seconds!r}"
                )


class Connection:
    """A kept-alive connection that one thread at a time may use."""

    def __init__(self) -> None:
        self._adapter = _Adapter(self)
        #: What the other side of a request under way is reached through.
        self._socket_owner: HTTPConnection | None = None
        #: That of the answer, which may outlive its connection.
        self._answering: socket.socket | None = None
        #: The last request may have left a connection open for the next one.
        self._is_warm = False
        self._is_broken_off = False
        #: More came than the answer.
        self._has_leftover = False
        self._is_overdue = False
        self._read_s = 0.0
        #: Proxies and certificates by the root of an address.
        self._environment: dict[str, Any] = {}

    def exchange(
        self, request: Post, route: str, timeouts: Timeouts, hide: Callable[[str], str]
    ) -> Answer:
        """The answer to a request, whatever its status.

        Raises:
            TransientError: There is none.
        """
        host = request.url.partition("://")[2].partition("/")[0].rpartition("@")[2]
        trouble: TransientError
        try:
            response = self._send(request, timeouts)
        except (OSError, HTTPError, UnicodeError) as error:
            if self._is_overdue:
                trouble = NoAnswer(
                    f"no response from {host} within {timeouts.read_s:g} s", route=route
                )
            else:
                trouble = _sending_failed(error, route, host, timeouts, hide)
        else:
            try:
                with response:
                    body = self._read(response, timeouts.read_s)
            except (OSError, HTTPError) as error:
                reason = shorten(_reason(error), hide)
                if self._is_overdue:
                    reason = f"not complete after {timeouts.read_s:g} s"
                trouble = NoAnswer(f"the response from {host} was cut off ({reason})", route=route)
            else:
                self._is_warm = True
                return Answer(response.status_code, body, response.headers.get("Retry-After"))
        finally:
            watchdog.shared().forget(self)
        # Out here the exceptions of `requests` are gone: their request holds the API key, and
        # inside an `except` they would stay on as this error's context.
        self.close()
        raise trouble

    @property
    def may_be_kept(self) -> bool:
        """Whether the next answer on it will be the answer to the next request."""
        return self._is_warm and not (self._has_leftover or self._is_broken_off or self._is_overdue)

    def close(self) -> None:
        """Ends the connection, by the thread that uses it."""
        self._is_warm = False
        self._adapter.close()

    def break_off(self) -> None:
        """Ends the request under way, from any thread; its thread gets a `TransientError`."""
        self._is_broken_off = True
        self._shut()
        self._adapter.close()

    def overdue(self) -> None:
        """Ends the request under way because its time is up."""
        self._is_overdue = True
        self._shut()

    def opened(self, connection: HTTPConnection) -> None:
        """Takes note of whose socket is in use from here on."""
        self._socket_owner = connection

    def sent(self) -> None:
        """Takes note that the whole request has left: now the time for the answer runs."""
        watchdog.shared().watch(self, self._read_s)

    def answering(self, open_socket: socket.socket) -> None:
        """Takes note of the socket on which the answer comes."""
        self._answering = open_socket

    def left_over(self) -> None:
        """Takes note that the other side said more than its answer."""
        self._has_leftover = True

    def _shut(self) -> None:
        # Closing is not enough: the socket in use would live on until its time-out.
        for open_socket in (getattr(self._socket_owner, "sock", None), self._answering):
            if isinstance(open_socket, socket.socket):
                with suppress(OSError):  # closed by its own thread meanwhile
                    # The plain socket's way, also for TLS, which would wait for the other thread.
                    socket.socket.shutdown(open_socket, socket.SHUT_RDWR)

    def _send(self, request: Post, timeouts: Timeouts) -> requests.Response:
        """The beginning of the answer; a cut of a kept connection gets one more try.

        Before it uses a kept connection, urllib3 looks whether the server has closed it. That
        cannot see a server that closes just then, nor a router that forgot the connection. Such
        a cut says nothing about the link, so it shall cost no back-off. Sending twice does no harm:
        an event overwrites itself, a picture is there twice. Only the event store may then hold
        an event twice, as after any lost answer.
        """
        was_warm, self._is_warm = self._is_warm, False
        try:
            return self._send_once(request, timeouts)
        except requests.ConnectionError as error:
            if self._is_broken_off or self._is_overdue or not (was_warm and _is_cut(error)):
                raise
        return self._send_once(request, timeouts)

    def _send_once(self, request: Post, timeouts: Timeouts) -> requests.Response:
        # The adapter and not a session: that follows redirects, which would carry the API key to
        # another host, keeps cookies and reads passwords from ~/.netrc.
        blocks = -(-len(request.body) // BLOCK_BYTES)
        watchdog.shared().watch(self, timeouts.connect_s * (_CONNECT_STEPS + blocks))
        self._read_s = timeouts.read_s
        prepared = request.prepared()
        url = prepared.url or ""
        timeout = (timeouts.connect_s, timeouts.read_s)
        return self._adapter.send(prepared, timeout=timeout, **self._environment_of(url))

    def _environment_of(self, url: str) -> Any:
        """What the environment says about proxies and certificates, looked up once for a host.

        Looking it up reads the whole environment, which is felt when it is done for each request.
        """
        root = "/".join(url.split("/", 3)[:3])
        if root not in self._environment:
            with requests.Session() as session:
                found = session.merge_environment_settings(url, {}, True, None, None)  # noqa: FBT003 -- requests' own signature
            self._environment = {root: found}
        return self._environment[root]

    def _read(self, response: requests.Response, limit_s: float) -> bytes:
        """The body, read as it comes: the socket's own timeout restarts with each byte."""
        watchdog.shared().watch(self, limit_s)
        body = bytearray()
        while chunk := response.raw.read1(2**16, decode_content=True):
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise OSError(f"longer than {MAX_ANSWER_BYTES} bytes")
        if self._is_overdue:  # a body without a stated length ends with its connection
            raise TimeoutError
        return bytes(body)


class _Adapter(HTTPAdapter):
    """Opens connections that answer to their owner."""

    def __init__(self, owner: Connection) -> None:
        self._pools = {
            "http": _pool_for(owner, HTTPConnectionPool, HTTPConnection),
            "https": _pool_for(owner, HTTPSConnectionPool, HTTPSConnection),
        }
        super().__init__(pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **options: Any) -> PoolManager:
        manager: PoolManager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = self._pools
        return manager


def _pool_for(
    owner: Connection,
    pool_class: type[HTTPConnectionPool],
    connection_class: type[HTTPConnection],
) -> type[HTTPConnectionPool]:
    """A pool whose connections tell the owner of their socket and of what comes on it."""

    class Response(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
            super().__init__(sock, *args, **options)
            self.fp.close()
            self.fp = _Reader(sock, owner)
            owner.answering(sock)

        def begin(self) -> None:
            for _ in range(MAX_INTERIM_ANSWERS):
                super().begin()
                if not 100 <= self.status < 200:  # noqa: PLR2004 -- HTTP's own figures
                    return
                self.headers = self.msg = None  # type: ignore[assignment]
            raise http.client.HTTPException("too many interim responses")

    class ToOneServer(connection_class):  # type: ignore[valid-type, misc]
        response_class = Response
        #: The pieces of a request that is being made; None while a proxy is told where to connect.
        _unsent: list[memoryview] | None = None

        def connect(self) -> None:
            owner.opened(self)
            super().connect()

        def request(self, *args: Any, **options: Any) -> None:
            unsent: list[memoryview] = []
            self._unsent = unsent
            try:
                super().request(*args, **options)
            finally:
                self._unsent = None
            if self.sock is None:
                self.connect()
            send_all(self.sock, unsent)
            owner.sent()

        def send(self, data: Any) -> None:
            if self._unsent is None:
                super().send(data)
            else:
                self._unsent.append(memoryview(data))

    class Pool(pool_class):  # type: ignore[valid-type, misc]
        ConnectionCls = ToOneServer

    return Pool


class _Raw(io.RawIOBase):
    """A socket as a file that can be told to give nothing more."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.is_ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        read: int | None = 0 if self.is_ended else self._file.readinto(buffer)
        return read

    def close(self) -> None:
        self._file.close()
        super().close()


class _Reader(io.BufferedReader):
    """Reads one answer, and says if more than that had come when it is through."""

    def __init__(self, sock: socket.socket, owner: Connection) -> None:
        self._raw_file = _Raw(sock.makefile("rb", buffering=0))
        self._owner = owner
        super().__init__(self._raw_file)

    def close(self) -> None:
        if not self.closed:
            self._raw_file.is_ended = True
            with suppress(OSError, ValueError):
                if self.peek(1):
                    self._owner.left_over()
        super().close()


def _sending_failed(
    error: Exception, route: str, host: str, timeouts: Timeouts, hide: Callable[[str], str]
) -> TransientError:
    """The trouble that fits an exception raised before an answer began."""
    kind: type[TransientError] = Unreachable
    reason = shorten(_reason(error), hide)
    if isinstance(error, requests.ConnectTimeout):
        words = f"the connection to {host} timed out after {timeouts.connect_s:g} s"
    elif isinstance(error, requests.ReadTimeout):
        kind, words = NoAnswer, f"no response from {host} within {timeouts.read_s:g} s"
    elif isinstance(error, requests.exceptions.SSLError):
        words = f"TLS connection to {host} failed ({reason})"
    elif isinstance(error, requests.exceptions.ProxyError):
        words = f"the proxy could not connect to {host} ({reason})"
    elif isinstance(_origin(error), gaierror):
        words = f"could not resolve {host} ({reason})"
    elif not isinstance(error, requests.ConnectionError):
        words = f"could not send the request to {host or 'this address'} ({reason})"
    elif error.args and isinstance(error.args[0], MaxRetryError):
        words = f"could not connect to {host} ({reason})"
    else:
        kind, words = NoAnswer, f"{host} closed the connection before responding ({reason})"
    return kind(words, route=route)


def _is_cut(error: requests.ConnectionError) -> bool:
    """Whether the other side ended the connection, as opposed to being slow or not there."""
    protocol_error = error.args[0] if error.args else None
    return isinstance(protocol_error, ProtocolError) and isinstance(
        _origin(protocol_error), ConnectionError
    )


def _reason(error: Exception) -> str:
    origin = _origin(error)
    if isinstance(origin, OSError) and not isinstance(origin, ssl.SSLError) and origin.strerror:
        return origin.strerror
    if isinstance(origin, requests.RequestException | UnicodeError):
        # Their texts quote the whole address or header that they complain about.
        return type(origin).__name__
    return str(origin) or type(origin).__name__


def _origin(error: BaseException) -> BaseException:
    """The system's own exception at the bottom of what `requests` and urllib3 made of it."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and not isinstance(link, requests.RequestException):
            return link
        link = link.__cause__ or link.__context__
    return error

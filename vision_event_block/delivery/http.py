"""One connection to a server: sends a request, returns the answer or says what broke.

`requests` opens it and does the work, through its adapter; later requests on a connection that
stays open take a shorter path (`open_connection`). A request ends in time however slowly the server
trickles its answer: a watchdog shuts the socket. A connection on which more than the answer arrived
is not used again, because the rest would be taken for the next answer.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from socket import gaierror
from typing import TYPE_CHECKING, Any, Final

import requests
from urllib3.exceptions import HTTPError, MaxRetryError, ProtocolError

from vision_event_block.delivery import open_connection, watchdog
from vision_event_block.delivery.adapter import Adapter
from vision_event_block.delivery.body import BLOCK_BYTES
from vision_event_block.delivery.errors import NoAnswer, Unreachable
from vision_event_block.delivery.replies import Answer, shorten

if TYPE_CHECKING:
    from collections.abc import Callable

    from urllib3 import BaseHTTPResponse
    from urllib3.connection import HTTPConnection

    from vision_event_block.delivery.errors import TransientError
    from vision_event_block.delivery.post import Post

#: Answers are a few hundred bytes; a hundred events with many warnings stay far below this.
MAX_ANSWER_BYTES: Final = 4 * 2**20
#: Addresses of one name that are tried in turn, and the handshake: each may take `connect_s`.
_CONNECT_STEPS: Final = 3
MAX_TIMEOUT_S: Final = 86_400.0


@dataclass(frozen=True)
class Timeouts:
    """How long a request may make no progress before it counts as lost.

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
        self._adapter = Adapter(self)
        #: Gives access to the socket of the request under way.
        self._socket_owner: HTTPConnection | None = None
        #: The socket of the answer, which may outlive its connection.
        self._answering: socket.socket | None = None
        #: Where the last request may have left a connection open for the next one.
        self._warm_root = ""
        self._is_broken_off = False
        #: More than the answer arrived.
        self._has_leftover = False
        self._is_overdue = False
        self._read_s = 0.0
        #: Proxies and certificates, by the root of an address.
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
            answer = self._send(request, timeouts)
        except (OSError, HTTPError, UnicodeError) as error:
            if self._is_overdue:
                trouble = NoAnswer(
                    f"no response from {host} within {timeouts.read_s:g} s", route=route
                )
            else:
                trouble = _sending_failed(error, route, host, timeouts, hide)
        else:
            try:
                if not isinstance(answer, Answer):
                    answer = self._read(answer)
            except (OSError, HTTPError) as error:
                reason = shorten(_reason(error), hide)
                if self._is_overdue:
                    reason = f"not complete after {timeouts.read_s:g} s"
                trouble = NoAnswer(f"the response from {host} was cut off ({reason})", route=route)
            else:
                self._warm_root = _root_of(request.url)
                return answer
        finally:
            watchdog.shared().forget(self)
        # Out here the exceptions of `requests` are gone: their request holds the API key, and
        # inside an `except` they would remain as this error's context.
        self.close()
        raise trouble

    @property
    def may_be_kept(self) -> bool:
        """Whether the next answer on it will belong to the next request."""
        return bool(self._warm_root) and not (
            self._has_leftover or self._is_broken_off or self._is_overdue
        )

    def close(self) -> None:
        """Ends the connection; called by the thread that uses it."""
        self._warm_root = ""
        self._adapter.close()
        if self._socket_owner is not None:  # the adapter's pools close it once they are collected
            self._socket_owner.close()

    def break_off(self) -> None:
        """Ends the request under way, from any thread; its thread gets a `TransientError`."""
        self._is_broken_off = True
        self._shut()

    def overdue(self) -> None:
        """Ends the request under way because its time is up."""
        self._is_overdue = True
        self._shut()

    def opened(self, connection: HTTPConnection) -> None:
        """Takes note of whose socket is in use from here on; raises OSError if it shall not be."""
        self._socket_owner = connection
        if self._is_broken_off:
            raise ConnectionAbortedError("it was broken off")

    def sent(self) -> None:
        """Notes that the whole request has been sent: from now on the answer is timed."""
        watchdog.shared().watch(self, self._read_s)

    def answering(self, open_socket: socket.socket) -> None:
        """Notes the socket on which the answer arrives."""
        self._answering = open_socket

    def left_over(self) -> None:
        """Notes that the other side has sent more than its answer."""
        self._has_leftover = True

    def _shut(self) -> None:
        # Closing is not enough: the socket in use would live on until its time-out.
        for open_socket in (getattr(self._socket_owner, "sock", None), self._answering):
            if isinstance(open_socket, socket.socket):
                with suppress(OSError):  # closed by its own thread meanwhile
                    # The plain socket's method, even for TLS, whose own waits for the other thread.
                    socket.socket.shutdown(open_socket, socket.SHUT_RDWR)

    def _send(self, request: Post, timeouts: Timeouts) -> Answer | BaseHTTPResponse:
        """The answer or its beginning; if a kept connection was cut, it tries once more.

        Before a kept connection is used, it is checked whether the server has closed it. That
        cannot detect a server that closes just then, nor a router that forgot the connection. Such
        a cut says nothing about the network, so it must not cost a back-off. Sending twice does no
        harm: an event overwrites itself, a picture exists twice. Only the event store may then hold
        an event twice, as after any lost answer.
        """
        warm_root, self._warm_root = self._warm_root, ""
        blocks = -(-len(request.body) // BLOCK_BYTES)
        watchdog.shared().watch(self, timeouts.connect_s * (_CONNECT_STEPS + blocks))
        self._read_s = timeouts.read_s
        connection = self._socket_owner
        is_open = warm_root == _root_of(request.url) and connection and connection.is_connected
        try:
            if connection is None or not is_open or connection.proxy_is_forwarding:
                return self._send_anew(request, timeouts)
            return open_connection.exchange(
                connection, request, self, connect_s=timeouts.connect_s, read_s=timeouts.read_s
            )
        except requests.ConnectionError as error:
            if self._is_broken_off or self._is_overdue or not (warm_root and _is_cut(error)):
                raise
        if connection is not None:
            connection.close()
        watchdog.shared().watch(self, timeouts.connect_s * (_CONNECT_STEPS + blocks))
        return self._send_anew(request, timeouts)

    def _send_anew(self, request: Post, timeouts: Timeouts) -> BaseHTTPResponse:
        # The adapter, not a session: a session follows redirects, which would carry the API key to
        # another host, keeps cookies and reads passwords from ~/.netrc.
        prepared = request.prepared()
        timeout = (timeouts.connect_s, timeouts.read_s)
        environment = self._environment_of(prepared.url or "")
        response: BaseHTTPResponse = self._adapter.send(
            prepared, timeout=timeout, **environment
        ).raw
        return response

    def _environment_of(self, url: str) -> Any:
        """What the environment says about proxies and certificates, looked up once for a host.

        Looking it up reads the whole environment, which is too slow to do for each request.
        """
        root = _root_of(url)
        if root not in self._environment:
            with requests.Session() as session:
                found = session.merge_environment_settings(url, {}, True, None, None)  # noqa: FBT003 -- requests' own signature
            self._environment = {root: found}
        return self._environment[root]

    def _read(self, response: BaseHTTPResponse) -> Answer:
        """The answer, read as it comes: the socket's own timeout restarts with each byte."""
        watchdog.shared().watch(self, self._read_s)
        body = bytearray()
        with response:
            while chunk := response.read1(2**16, decode_content=True):
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    raise OSError(f"longer than {MAX_ANSWER_BYTES} bytes")
        if self._is_overdue:  # a body without a stated length ends with its connection
            raise TimeoutError
        return Answer(response.status, bytes(body), response.headers.get("Retry-After"))


def _root_of(url: str) -> str:
    """Scheme and host of an address."""
    return "/".join(url.split("/", 3)[:3])


def _sending_failed(
    error: Exception, route: str, host: str, timeouts: Timeouts, hide: Callable[[str], str]
) -> TransientError:
    """The error that fits an exception raised before an answer began."""
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
    """Whether the other side ended the connection, as opposed to being slow or unreachable."""
    found = error.args[0] if error.args else None
    if isinstance(found, ProtocolError):
        return isinstance(_origin(found), ConnectionError)
    return isinstance(found, ssl.SSLEOFError)  # the same over TLS, while the request is sent


def _reason(error: Exception) -> str:
    origin = _origin(error)
    if isinstance(origin, OSError) and not isinstance(origin, ssl.SSLError) and origin.strerror:
        return origin.strerror
    if isinstance(origin, requests.RequestException | UnicodeError):
        # Their texts quote the whole address or header that they complain about.
        return type(origin).__name__
    return str(origin) or type(origin).__name__


def _origin(error: BaseException) -> BaseException:
    """The system's own exception beneath those of `requests` and urllib3."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and not isinstance(link, requests.RequestException):
            return link
        link = link.__cause__ or link.__context__
    return error

"""One thread's connection to the API: sends a request, gives the answer or says what broke."""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from socket import gaierror
from typing import TYPE_CHECKING, Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, MaxRetryError, ProtocolError

from vision_event_block.delivery.errors import NoAnswer, Unreachable
from vision_event_block.delivery.replies import Answer, shorten

if TYPE_CHECKING:
    from collections.abc import Callable

    from urllib3 import PoolManager
    from urllib3.connection import HTTPConnection

    from vision_event_block.delivery.errors import LinkTrouble

#: Answers are a few hundred bytes; a hundred events with many warnings stay far below this.
MAX_ANSWER_BYTES: Final = 4 * 2**20


@dataclass(frozen=True)
class Timeouts:
    """How long a request may stand still before it counts as lost.

    `connect_s` also bounds every pause while the request is being sent, which wants a body in
    blocks (`delivery.body`); `read_s` bounds the
    wait for the answer and, once more, the time until its body is complete.
    """

    connect_s: float = 5.0
    read_s: float = 30.0

    def __post_init__(self) -> None:
        for seconds in (self.connect_s, self.read_s):
            if not (isfinite(seconds) and seconds > 0):
                raise ValueError(f"a time-out is a positive number of seconds, not {seconds!r}")


class Link(requests.Session):
    """A keep-alive connection, for one thread: sessions of `requests` are not for sharing."""

    def __init__(self) -> None:
        super().__init__()
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter(self._opened))
        #: The last request may have left a connection open for the next one.
        self._is_warm = False
        self._connection: HTTPConnection | None = None
        self._is_broken_off = False
        #: Proxies and certificates by the root of an address.
        self._surroundings: dict[str, Any] = {}

    def exchange(
        self, request: requests.Request, route: str, timeouts: Timeouts, hide: Callable[[str], str]
    ) -> Answer:
        """The answer to a request, whatever its status.

        Raises:
            LinkTrouble: There is none.
        """
        host = request.url.partition("://")[2].partition("/")[0].rpartition("@")[2]
        trouble: LinkTrouble
        try:
            response = self._send(request, timeouts)
        except (OSError, HTTPError, UnicodeError) as error:
            trouble = _sending_failed(error, route, host, timeouts, hide)
        else:
            try:
                with response:
                    body = _read(response, timeouts.read_s)
            except (OSError, HTTPError) as error:
                reason = shorten(_reason(error), hide)
                trouble = NoAnswer(f"the answer of {host} broke off ({reason})", route=route)
            else:
                self._is_warm = True
                return Answer(response.status_code, body, response.headers.get("Retry-After"))
        # Out here the exceptions of `requests` are gone: their request holds the API key, and
        # inside an `except` they would stay on as this error's context.
        raise trouble

    def break_off(self) -> None:
        """Ends the request under way, from any thread; its thread gets a `LinkTrouble`.

        Closing the session is not enough: the socket in use would live on until its time-out.
        """
        self._is_broken_off = True
        connection_socket = getattr(self._connection, "sock", None)
        if connection_socket is not None:
            with suppress(OSError):  # closed by its own thread meanwhile
                # The plain socket's way, also for TLS, which would wait for the other thread.
                socket.socket.shutdown(connection_socket, socket.SHUT_RDWR)
        self.close()

    def _opened(self, connection: HTTPConnection) -> None:
        self._connection = connection

    def _send(self, request: requests.Request, timeouts: Timeouts) -> requests.Response:
        """The beginning of the answer; a cut of a kept connection gets one more try.

        Before it uses a kept connection, urllib3 looks whether the server has closed it. That
        cannot see a server that closes just then, nor a router that forgot the connection. Such
        a cut says nothing about the link, so it shall cost no back-off. Sending twice does no harm:
        an event overwrites itself, a picture lies there twice. Only the event store may then hold
        an event twice, as after any lost answer.
        """
        was_warm, self._is_warm = self._is_warm, False
        try:
            return self._send_once(request, timeouts)
        except requests.ConnectionError as error:
            if self._is_broken_off or not (was_warm and _is_cut(error)):
                raise
        return self._send_once(request, timeouts)

    def _send_once(self, request: requests.Request, timeouts: Timeouts) -> requests.Response:
        # Past the session's own `send`: it follows redirects, which would carry the API key to
        # another host, and keeps cookies.
        prepared = request.prepare()
        url = prepared.url or ""
        timeout = (timeouts.connect_s, timeouts.read_s)
        return self.get_adapter(url).send(prepared, timeout=timeout, **self._surroundings_of(url))

    def _surroundings_of(self, url: str) -> Any:
        """What the environment says about proxies and certificates, looked up once for a host.

        Looking it up reads the whole environment, which is felt when it is done for each request.
        """
        root = "/".join(url.split("/", 3)[:3])
        if root not in self._surroundings:
            self._surroundings = {
                root: self.merge_environment_settings(url, {}, True, None, None)  # noqa: FBT003 -- requests' own signature
            }
        return self._surroundings[root]


class _Adapter(HTTPAdapter):
    """Says which connection is in use: urllib3 keeps no list of those."""

    def __init__(self, opened: Callable[[HTTPConnection], None]) -> None:
        self._pools = {
            "http": _telling(HTTPConnectionPool, opened),
            "https": _telling(HTTPSConnectionPool, opened),
        }
        super().__init__(pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Without a proxy."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **options: Any) -> PoolManager:
        """Through a proxy."""
        manager: PoolManager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = self._pools
        return manager


def _telling(
    pool_class: type[HTTPConnectionPool], opened: Callable[[HTTPConnection], None]
) -> type[HTTPConnectionPool]:
    class Pool(pool_class):  # type: ignore[valid-type, misc]
        def _new_conn(self) -> HTTPConnection:
            connection: HTTPConnection = super()._new_conn()
            opened(connection)
            return connection

    return Pool


def _read(response: requests.Response, limit_s: float) -> bytes:
    """The body, read as it comes: the time-out of the socket starts anew with each byte."""
    give_up_at_s = time.monotonic() + limit_s
    body = bytearray()
    while chunk := response.raw.read1(2**16, decode_content=True):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise OSError(f"longer than {MAX_ANSWER_BYTES} bytes")
        if time.monotonic() > give_up_at_s:
            raise TimeoutError(f"not complete after {limit_s:g} s")
    return bytes(body)


def _sending_failed(
    error: Exception, route: str, host: str, timeouts: Timeouts, hide: Callable[[str], str]
) -> LinkTrouble:
    """The trouble that fits an exception raised before an answer began."""
    kind: type[LinkTrouble] = Unreachable
    reason = shorten(_reason(error), hide)
    if isinstance(error, requests.ConnectTimeout):
        words = f"{host} did not let us in within {timeouts.connect_s:g} s"
    elif isinstance(error, requests.ReadTimeout):
        kind, words = NoAnswer, f"no answer from {host} within {timeouts.read_s:g} s"
    elif isinstance(error, requests.exceptions.SSLError):
        words = f"no trusted connection to {host} ({reason})"
    elif isinstance(error, requests.exceptions.ProxyError):
        words = f"the proxy does not connect us to {host} ({reason})"
    elif isinstance(_origin(error), gaierror):
        words = f"the name {host} cannot be looked up ({reason})"
    elif not isinstance(error, requests.ConnectionError):
        words = f"the request cannot be sent to {host or 'this address'} ({reason})"
    elif error.args and isinstance(error.args[0], MaxRetryError):
        words = f"no connection to {host} ({reason})"
    else:
        kind, words = NoAnswer, f"{host} cut the connection before an answer ({reason})"
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

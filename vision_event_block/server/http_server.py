"""The HTTP server, in a thread of its own."""

from __future__ import annotations

import logging
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from vision_event_block.server.app import Patience, create_app
from vision_event_block.server.keys import HOW_TO_MAKE_ONE, MIN_KEY_CHARS, Keys
from vision_event_block.server.loopback import is_loopback
from vision_event_block.server.middleware.body_limits import READ_TIMEOUT_S
from vision_event_block.server.middleware.response_pacing import ABORT

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Collection, Iterator

    from vision_event_block.server.forwarding import Forwarding
    from vision_event_block.server.page.shifts import Shift
    from vision_event_block.server.storage import Store

#: How long requests in progress may continue when the server stops.
STOP_TIMEOUT_S: Final = 5
_START_TIMEOUT_S: Final = 30.0
_BACKLOG: Final = 2048


class KeyNeeded(ValueError):  # noqa: N818 -- named for what it is
    """A server that others can reach needs API keys that nobody can guess."""


@contextmanager
def serving(  # noqa: PLR0913 -- where, for whom, and how patiently
    store: Store,
    keys: Keys | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    names: Collection[str] = (),
    patience: Patience = Patience(),  # noqa: B008 -- frozen
    forwarding: Forwarding | None = None,
    proxies: Collection[str] = (),
    strict: bool = False,
    shifts: Collection[Shift] = (),
) -> Iterator[str]:
    """Serves a store for the duration of the `with` block; yields the address.

    Keys are needed unless `host` is a loopback address; a `port` of 0 is any free one; everything
    else is passed to `create_app`.

    Raises:
        KeyNeeded: others could reach the server, and there are no keys, or short ones.
        BadProxy: one of the proxies is not an address or a network.
        OSError: the server cannot listen on the address.
    """
    keys = keys or Keys()
    is_reached = bool(proxies) or not is_loopback(host)
    is_locked = keys.in_force or store.keys.in_force
    if is_reached and not is_locked:
        where = "others can reach it through a proxy" if proxies else f"others can reach {host}"
        raise KeyNeeded(f"{where}: the server needs an API key")
    if is_reached and keys.has_short_ones:
        raise KeyNeeded(
            f"others can reach this server, and one of its API keys has fewer than {MIN_KEY_CHARS} "
            f"characters; {HOW_TO_MAKE_ONE}"
        )
    # A page of another site never has a key, so with keys any host name is safe.
    known = None if is_locked and not names else {*names, host.strip("[]")}
    app = create_app(
        store,
        keys,
        names=known,
        patience=patience,
        forwarding=forwarding,
        proxies=proxies,
        needs_keys=is_reached,
        strict=strict,
        shifts=shifts,
    )
    config = uvicorn.Config(
        app,
        http=type("Protocol", (_ImpatientProtocol,), {"read_timeout_s": patience.body_s}),
        ws="none",
        lifespan="on",
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=STOP_TIMEOUT_S,
        backlog=_BACKLOG,
    )
    logging.getLogger("uvicorn.access").addFilter(without_query)
    listening = _listening(host.strip("[]"), port)
    server = uvicorn.Server(config)
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listening]}, name="vision-events-server"
    )
    with listening:
        thread.start()
        try:
            _wait_for_start(server, thread)
            yield _url(host, listening.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()


def without_query(record: logging.LogRecord) -> bool:
    """Removes the query, which may hold a key, from a line of uvicorn's access log."""
    if isinstance(record.args, tuple) and len(record.args) == 5:  # noqa: PLR2004 -- uvicorn's five
        client, method, path, version, status = record.args
        record.args = (client, method, str(path).partition("?")[0], version, status)
    return True


class _ImpatientProtocol(H11Protocol):
    """Disconnects a client that does not finish the head of a request.

    `BodyLimits` watches bodies, and `ResponsePacing` watches answers; this gives the latter a
    function to disconnect with.
    """

    read_timeout_s = READ_TIMEOUT_S
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._deadline = self.loop.call_later(self.read_timeout_s, transport.close)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        app = self.app

        async def abortable(scope: Any, receive: Any, send: Any) -> None:
            extensions = {**scope.get("extensions", {}), ABORT: self.transport.abort}
            await app({**scope, "extensions": extensions}, receive, send)

        self.app = abortable

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.read_timeout_s, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Asyncio sends without delay only over sockets that say that they are TCP.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def _wait_for_start(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline_s:
            raise RuntimeError("the server did not start; the log says why")
        time.sleep(0.01)


def _url(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host.strip("[]"))  # noqa: S104 -- compared, not bound
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"

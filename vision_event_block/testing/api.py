"""The stand-in itself: what it stores, what it recorded, and the faults it can be told to show."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from vision_event_block.testing.store import Route, Store, Upload
from vision_event_block.testing.wire import Call, Response, Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from typing_extensions import Self

_ROUTES: Final[Mapping[str, Route]] = {
    "/vision-events/upload": "upload",
    "/vision-events": "create",
    "/vision-events/batch": "batch",
}


@dataclass(frozen=True)
class Recorded:
    """A request that was read completely, and what became of it."""

    method: str
    path: str
    route: Route | None
    #: None if the connection was cut instead of an answer.
    status: int | None
    headers: Mapping[str, str]
    #: The same number for all requests of one connection.
    connection: int
    #: On the monotonic clock: when its first line was read, and just before its answer was sent.
    started_s: float
    ended_s: float


@dataclass
class _Fault:
    """Something to show to the next requests of a route instead of, or before, an answer."""

    route: Route | None
    #: How many more requests it hits; None for all until `heal`.
    times_left: int | None
    response: Response | None = None
    hang_s: float = 0.0
    stores_first: bool = False


class StandInApi:
    """A Vision Events API on this machine, as a context manager.

    It keeps what clients send, in memory, and can be told to fail in every way that a network
    and a service fail. All its methods may be called from any thread at any time.
    """

    def __init__(self, *, delay_s: float = 0.0, connect_delay_s: float = 0.0) -> None:
        """Listens only inside of `with`.

        Args:
            delay_s: How long each request waits for its answer.
            connect_delay_s: How long each new connection waits for its first request to be read.
        """
        self.delay_s = delay_s
        self.connect_delay_s = connect_delay_s
        #: Every request that was read completely, in the order of the answers.
        self.requests: list[Recorded] = []
        self._store = Store()
        self._faults: list[_Fault] = []
        #: Guards the three above; notified with each request that was carried out.
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._server: Server | None = None
        self._port = 0

    def __enter__(self) -> Self:
        self.accept()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self.refuse()

    @property
    def uploads(self) -> dict[str, Upload]:
        """Pictures by source id, in order of arrival."""
        return self._store.uploads

    @property
    def events(self) -> dict[str, dict[str, Any]]:
        """Events by event id, in order of arrival. One with warnings has lost its `eventData`."""
        return self._store.events

    @property
    def url(self) -> str:
        """The base URL, the same before and after `refuse`."""
        return f"http://127.0.0.1:{self._port}"

    def refuse(self) -> None:
        """Ends all connections and stops listening, as a service that is down."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def accept(self) -> None:
        """Listens, again after `refuse` and then on the same port."""
        if self._server is None:
            self._server = Server(self._port, self._answer, self._greet)
            self._port = self._server.server_address[1]

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """A service that is down for as long as the block lasts."""
        self.refuse()
        try:
            yield
        finally:
            self.accept()

    def fail(  # noqa: PLR0913 -- an answer has these parts
        self,
        status: int,
        *,
        route: Route | None = None,
        times: int | None = None,
        retry_after: str | None = None,
        body: Mapping[str, Any] | str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answers so from now on, and stores nothing.

        Args:
            status: Any status, also 200 for a captive portal.
            route: Only requests of this kind.
            times: Only so many requests.
            retry_after: The value of a `Retry-After` header.
            body: A document, or a text that is sent as HTML. By default an `error`.
            headers: More headers.
        """
        if isinstance(body, str):
            response = Response(status, body.encode(), {"Content-Type": "text/html"})
        else:
            error = {"error": f"made to answer {status}"}
            response = Response.of_json(status, error if body is None else body)
        more = {**(headers or {}), **({"Retry-After": retry_after} if retry_after else {})}
        response = Response(status, response.body, {**response.headers, **more})
        self._break(_Fault(route, times, response))

    def hang(self, seconds: float, *, route: Route | None = None, times: int | None = None) -> None:
        """Reads requests and answers them so much later."""
        self._break(_Fault(route, times, hang_s=seconds))

    def cut(
        self,
        *,
        route: Route | None = None,
        times: int | None = None,
        after_storing: bool = False,
        reset: bool = False,
    ) -> None:
        """Reads requests, carries them out if so wished, and ends the connection unanswered."""
        response = Response(None, reset=reset)
        self._break(_Fault(route, times, response, stores_first=after_storing))

    def heal(self) -> None:
        """Forgets the faults that are left; keys and delays stay as they are."""
        with self._changed:
            self._faults.clear()

    def refuse_key(self, key: str) -> None:
        """Answers 401 to this key."""
        with self._changed:
            self._store.bad_keys[key] = HTTPStatus.UNAUTHORIZED

    def forbid(self, key: str) -> None:
        """Answers 403 to this key."""
        with self._changed:
            self._store.bad_keys[key] = HTTPStatus.FORBIDDEN

    def allow(self, key: str) -> None:
        """Takes this key again."""
        with self._changed:
            self._store.bad_keys.pop(key, None)

    def wait_for_events(self, count: int, timeout_s: float = 10.0) -> list[dict[str, Any]]:
        """The stored events, once there are so many; raises TimeoutError if that takes too long."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.events) >= count, timeout_s):
                raise TimeoutError(
                    f"{len(self.events)} of {count} events arrived within {timeout_s:g} s, "
                    f"after {len(self.requests)} requests"
                )
            return list(self.events.values())

    def picture_of(
        self, event: Mapping[str, Any], which: Literal["input", "output"] = "output"
    ) -> bytes:
        """The bytes of an event's first picture: as the camera saw it, or annotated."""
        image = event["images"][0]
        return self.uploads[image["inputSourceId" if which == "input" else "sourceId"]].picture

    def _break(self, fault: _Fault) -> None:
        with self._changed:
            self._faults.append(fault)

    def _next_fault(self, route: Route | None) -> _Fault:
        with self._changed:
            for fault in self._faults:
                if fault.route in (None, route) and fault.times_left != 0:
                    if fault.times_left is not None:
                        fault.times_left -= 1
                    return fault
        return _Fault(route, None)

    def _greet(self) -> None:
        self._stopping.wait(self.connect_delay_s)

    def _answer(self, call: Call) -> Response:
        """The answer to a request. Whatever it stores and records is there when it is sent."""
        # A client that takes the stand-in for its proxy sends the full address.
        route = _ROUTES.get(urlsplit(call.path).path)
        fault = self._next_fault(route)
        if self._stopping.wait(self.delay_s + fault.hang_s):
            return Response(None)
        with self._changed:
            if fault.response is None or fault.stores_first:
                response = self._store.carry_out(call, route)
                self._changed.notify_all()
            response = fault.response or response
            self.requests.append(
                Recorded(
                    method=call.method,
                    path=call.path,
                    route=route,
                    status=response.status,
                    headers=call.headers,
                    connection=call.connection,
                    started_s=call.started_s,
                    ended_s=time.monotonic(),
                )
            )
        return response

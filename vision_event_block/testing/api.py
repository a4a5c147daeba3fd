"""The stand-in itself: a server, what it received, and the outcome of each request."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

from vision_event_block.contract.names import SOURCE_IDS
from vision_event_block.testing.faults import Unreliable
from vision_event_block.testing.offers import Offer, Upload, read_offer
from vision_event_block.testing.store import EventStore, StandInStore
from vision_event_block.testing.wire import (
    Call,
    Refused,
    Response,
    Route,
    Server,
    refusal,
    route_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from typing_extensions import Self

    from vision_event_block.testing.faults import Fault
    from vision_event_block.testing.misbehaviour import Misbehaviour


@dataclass(frozen=True)
class Recorded:
    """A request that was read completely, and its outcome."""

    method: str
    path: str
    route: Route | None
    #: None if the connection was cut instead of answered.
    status: int | None
    #: What was done to the answer, which would have had that status; None if it was sent unchanged.
    misbehaved: str | None
    headers: Mapping[str, str]
    #: The same number for all requests of one connection.
    connection: int
    #: On the monotonic clock: when its first line was read, and just before its answer was sent.
    started_s: float
    ended_s: float
    #: The ids of the events in a create, a batch or a bundle, whatever the outcome.
    event_ids: tuple[str, ...] = ()


class StandInApi(Unreliable):
    """A Vision Events API on this machine, as a context manager.

    It keeps what clients send in memory, and can be told to fail in every way that networks and
    services fail. All its methods may be called from any thread at any time. The event store of a
    device answers at the same address.
    """

    def __init__(
        self,
        *,
        delay_s: float = 0.0,
        connect_delay_s: float = 0.0,
        keeps_pictures: bool = True,
        strict: bool = True,
    ) -> None:
        """Listens only inside `with`.

        Args:
            delay_s: How long each request waits for its answer.
            connect_delay_s: How long each new connection waits for its first request to be read.
            keeps_pictures: If false, only the size and the hash of an upload to the API are kept.
            strict: Refuses a create or a batch with an event that has no id or no time. If false,
                they are generated, with a warning.
        """
        super().__init__()
        self.delay_s = delay_s
        self.connect_delay_s = connect_delay_s
        #: Every request that was read completely, in the order of the answers.
        self.requests: list[Recorded] = []
        #: How many requests `hang` is holding now.
        self.hanging = 0
        #: The `X-API-Key` that the event store requires; None if it requires none.
        self.event_store_key: str | None = None
        self._store = StandInStore(keeps_pictures=keeps_pictures, strict=strict)
        self._event_store = EventStore()
        #: Guards the requests and both stores; notified with each request that was carried out.
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._server: Server | None = None
        self._port = 0

    def __enter__(self) -> Self:
        self.accept()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self.heal()
        self.refuse()

    @property
    def uploads(self) -> dict[str, Upload]:
        """Pictures by source id, in order of arrival."""
        return self._store.uploads

    @property
    def events(self) -> dict[str, dict[str, Any]]:
        """Events by event id, in order of arrival. Events with warnings have lost their data."""
        return self._store.events

    @property
    def bodies(self) -> dict[str, dict[str, Any]]:
        """Events by event id as received, including what the API does not keep."""
        return self._store.bodies

    @property
    def arrivals(self) -> list[tuple[str, float]]:
        """The event id and the monotonic time, each time an event was stored or replaced."""
        return self._store.arrivals

    @property
    def event_store_events(self) -> list[dict[str, Any]]:
        """The event store's events, in order of arrival, each with the `id` it was given."""
        return self._event_store.events

    @property
    def url(self) -> str:
        """The base URL, the same before and after `refuse`."""
        return f"http://127.0.0.1:{self._port}"

    def refuse(self) -> None:
        """Ends all connections and stops listening, like a service that is down."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def accept(self) -> None:
        """Starts listening; after `refuse`, on the same port."""
        if self._server is None:
            self._server = Server(
                self._port, greet=self._greet, hear=self._hear, answer=self._answer
            )
            self._port = self._server.server_address[1]

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """A service that is down for the duration of the `with` block."""
        self.refuse()
        try:
            yield
        finally:
            self.accept()

    def refuse_key(self, key: str) -> None:
        with self._changed:
            self._store.bad_keys[key] = HTTPStatus.UNAUTHORIZED

    def forbid(self, key: str) -> None:
        with self._changed:
            self._store.bad_keys[key] = HTTPStatus.FORBIDDEN

    def allow(self, key: str) -> None:
        with self._changed:
            self._store.bad_keys.pop(key, None)

    def poison(
        self, event_id: str, status: int = 400, error: str = "this event cannot be processed"
    ) -> None:
        """Refuses this event, and the whole of any batch that holds it, with this status and error.

        How the API treats such a batch is not documented; this is the worst case.
        """
        with self._changed:
            self._store.poisons[event_id] = (status, error)

    def cure(self, event_id: str) -> None:
        with self._changed:
            self._store.poisons.pop(event_id, None)

    def deprecate(self, field: str, entry: Any = None) -> None:
        """Stores events that have this field, and answers with an entry in `deprecations`.

        Args:
            field: A key of the event itself, such as `deviceId`.
            entry: The entry, since the API's format is not documented. By default
                `{"field": field}`; a batch adds the event's id, as it does to any object.
        """
        with self._changed:
            self._store.deprecated[field] = {"field": field} if entry is None else entry

    def wait_for_events(self, count: int, timeout_s: float = 30.0) -> list[dict[str, Any]]:
        """The stored events, once there are `count`; raises TimeoutError if that takes too long."""
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
        """The bytes of an event's first picture: the original or the annotated one."""
        image = event["images"][0]
        return self.uploads[image[getattr(SOURCE_IDS, which)]].picture

    def _greet(self) -> Misbehaviour | None:
        self._stopping.wait(self.connect_delay_s)
        return self._misbehaviour_at("connected")

    def _hear(self, path: str) -> Misbehaviour | None:
        return self._misbehaviour_at("asked", route_of(path))

    def _answer(self, call: Call) -> Response:
        """The answer to a request. Everything is stored and recorded before it is sent."""
        route = route_of(call.path)
        fault = self._next_fault(route)
        offer = read_offer(call, route)
        if self._stopping.wait(self.delay_s) or self._is_healed_while_it_hangs(fault):
            return Response(None)
        with self._changed:
            response = fault.response
            if response is None or fault.stores:
                answer = self._carry_out(call, route, offer, keeps=fault.stores)
                response = response or replace(answer, misbehaviour=fault.misbehaviour)
                self._changed.notify_all()
            self.requests.append(
                Recorded(
                    method=call.method,
                    path=call.path,
                    route=route,
                    status=response.status,
                    misbehaved=None if fault.misbehaviour is None else fault.misbehaviour.name,
                    headers=call.headers,
                    connection=call.connection,
                    started_s=call.started_s,
                    ended_s=time.monotonic(),
                    event_ids=offer.event_ids,
                )
            )
        return response

    def _is_healed_while_it_hangs(self, fault: Fault) -> bool:
        if not fault.hang_s:
            return False
        with self._changed:
            self.hanging += 1
        try:
            return fault.healed.wait(fault.hang_s)
        finally:
            with self._changed:
                self.hanging -= 1

    def _carry_out(self, call: Call, route: Route | None, offer: Offer, *, keeps: bool) -> Response:
        """The answer of the service that the route belongs to, which may store nothing."""
        if route is None or call.method != "POST":
            words = f"no such route: {call.method} {call.path}"
            return refusal(route, HTTPStatus.NOT_FOUND, words)
        try:
            if route == "event_store":
                event_store = self._event_store if keeps else EventStore()
                return event_store.carry_out(call, self.event_store_key)
            store = self._store if keeps else self._store.forgetful()
            return store.carry_out(route, call.headers, offer)
        except Refused as refused:
            return refusal(route, refused.status, refused.words)

"""The faults that the stand-in can produce: scripted, by rate, and at random."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, Final

from vision_event_block.testing.wire import Response, refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vision_event_block.testing.misbehaviour import Misbehaviour, Moment
    from vision_event_block.testing.wire import Route


@dataclass(frozen=True)
class Fault:
    """What happens to one request before or instead of its answer. By default nothing."""

    response: Response | None = None
    hang_s: float = 0.0
    #: Set when the fault is to end.
    healed: Event = field(default_factory=Event, compare=False)
    #: Whether the request is carried out although its answer gets lost.
    stores_first: bool = False
    #: Applied to the answer.
    misbehaviour: Misbehaviour | None = None

    @property
    def stores(self) -> bool:
        """Whether the request is carried out."""
        return self.stores_first or (self.response is None and self.misbehaviour is None)


_NONE: Final = Fault()


class Unreliable:
    """A service that can be told to fail, as networks and services do.

    A request gets at most one fault: the first that applies of the script (`fail`, `hang`, `cut`,
    `misbehave`), else that of `limit_rate`, else that of `flaky`. Any thread may call any method
    at any time.
    """

    def __init__(self) -> None:
        self._faults_lock = Lock()
        # All guarded by the lock.
        self._script: list[_Scripted] = []
        self._rate: _Rate | None = None
        self._chance: _Chance | None = None

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
        """Answers requests with this from now on, and stores nothing.

        Args:
            status: Any status, also 200 for a captive portal.
            route: Only requests of this kind.
            times: Only this many requests.
            retry_after: The value of a `Retry-After` header.
            body: A JSON document, or a text that is sent as HTML. By default a reason in the
                format of the route's service.
            headers: Additional headers.
        """
        if isinstance(body, str):
            response = Response(status, body.encode(), {"Content-Type": "text/html"})
        elif body is not None:
            response = Response.of_json(status, body)
        else:
            response = refusal(route, status, f"made to answer {status}")
        more = {**(headers or {}), **({"Retry-After": retry_after} if retry_after else {})}
        response = replace(response, headers={**response.headers, **more})
        self._add(_Scripted(Fault(response), route, times))

    def hang(self, seconds: float, *, route: Route | None = None, times: int | None = None) -> None:
        """Reads requests and answers them after this delay, or cuts them off once healed."""
        self._add(_Scripted(Fault(hang_s=seconds), route, times))

    def cut(
        self,
        *,
        route: Route | None = None,
        times: int | None = None,
        after_storing: bool = False,
        reset: bool = False,
    ) -> None:
        """Reads requests, carries them out if asked to, and ends the connection unanswered."""
        fault = Fault(Response(None, reset=reset), stores_first=after_storing)
        self._add(_Scripted(fault, route, times))

    def misbehave(
        self,
        how: Misbehaviour,
        *,
        route: Route | None = None,
        times: int | None = None,
        after_storing: bool = False,
    ) -> None:
        """Does something odd on the wire, see `vision_event_block.testing.misbehaviour`.

        Args:
            how: What to do. One that does not wait for the whole request applies to connections,
                or to requests whose body has not been read.
            route: Only requests of this kind.
            times: Only this many.
            after_storing: Whether the request is carried out. The script gets the right answer
                either way.
        """
        if how.moment == "connected" and route is not None:
            raise ValueError(f"what a new connection will ask for is not known yet: {how.name}")
        if how.moment != "read" and after_storing:
            raise ValueError(f"nothing was read that could be stored: {how.name}")
        self._add(
            _Scripted(Fault(misbehaviour=how, stores_first=after_storing), route, times, how.moment)
        )

    def limit_rate(self, per_s: float = 20, retry_after_s: int = 1) -> None:
        """Answers 429 to requests above this rate, and stores nothing of them.

        Args:
            per_s: How many requests per second are accepted; after a pause, as many in a burst.
            retry_after_s: The value of the `Retry-After` header.
        """
        with self._faults_lock:
            self._rate = _Rate(per_s, retry_after_s, now_s=time.monotonic())

    def flaky(self, unavailable: float = 0.2, cut: float = 0.05, *, seed: int = 0) -> None:
        """Fails at random: the same seed gives the same faults in the same order.

        Args:
            unavailable: The share of requests that are answered 503 and not carried out.
            cut: The share whose connection is reset once they are read. On average, half of
                these were carried out.
            seed: Seed of the random numbers.
        """
        if min(unavailable, cut) < 0 or unavailable + cut > 1:
            raise ValueError(f"no shares of a whole: {unavailable:g} and {cut:g}")
        with self._faults_lock:
            self._chance = _Chance(unavailable, cut, seed)

    def heal(self) -> None:
        """Clears the remaining faults; keys, poison and delays stay as they are.

        Requests that hang are cut off and not carried out, so that clients can retry.
        """
        with self._faults_lock:
            for scripted in self._script:
                scripted.fault.healed.set()
            self._script.clear()
            self._rate = self._chance = None

    def _add(self, scripted: _Scripted) -> None:
        with self._faults_lock:
            self._script.append(scripted)

    def _misbehaviour_at(self, moment: Moment, route: Route | None = None) -> Misbehaviour | None:
        """The fault of a connection, before its request is read."""
        with self._faults_lock:
            for scripted in self._script:
                if scripted.fits(route, moment):
                    return scripted.use().misbehaviour
        return None

    def _next_fault(self, route: Route | None) -> Fault:
        """The fault of a request that has been read."""
        with self._faults_lock:
            for scripted in self._script:
                if scripted.fits(route, "read"):
                    return scripted.use()
            if self._rate is not None and not self._rate.admits(time.monotonic()):
                return self._rate.fault(route)
            return _NONE if self._chance is None else self._chance.draw(route)


@dataclass
class _Scripted:
    """A fault for the next requests of one route, or of any."""

    fault: Fault
    route: Route | None
    #: How many more requests it applies to; None for all.
    times_left: int | None
    moment: Moment = "read"

    def fits(self, route: Route | None, moment: Moment) -> bool:
        return self.moment == moment and self.route in (None, route) and self.times_left != 0

    def use(self) -> Fault:
        if self.times_left is not None:
            self.times_left -= 1
        return self.fault


class _Rate:
    """A bucket that holds one second's tokens; each accepted request costs one."""

    def __init__(self, per_s: float, retry_after_s: int, *, now_s: float) -> None:
        self._per_s = self._tokens = per_s
        self._retry_after_s = retry_after_s
        self._filled_s = now_s

    def admits(self, now_s: float) -> bool:
        earned = (now_s - self._filled_s) * self._per_s
        self._tokens = min(self._per_s, self._tokens + earned)
        self._filled_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def fault(self, route: Route | None) -> Fault:
        response = refusal(route, HTTPStatus.TOO_MANY_REQUESTS, f"over {self._per_s:g} a second")
        wait = {"Retry-After": str(self._retry_after_s)}
        return Fault(replace(response, headers={**response.headers, **wait}))


class _Chance:
    """One random number per request, so that changing one share leaves the other's draws alone."""

    def __init__(self, unavailable: float, cut: float, seed: int) -> None:
        self._unavailable = unavailable
        self._cut = cut
        self._random = random.Random(seed)  # noqa: S311 -- for chance, not for secrets

    def draw(self, route: Route | None) -> Fault:
        drawn = self._random.random()
        if drawn < self._unavailable:
            return Fault(refusal(route, HTTPStatus.SERVICE_UNAVAILABLE, "unavailable by chance"))
        drawn -= self._unavailable
        if drawn < self._cut:
            return Fault(Response(None, reset=True), stores_first=drawn < self._cut / 2)
        return _NONE

"""When the next request to a destination may start. Pure: times in, decisions out.

A destination works, or is down, or refuses the key. While it does not work, one request at a time
checks whether it is back, with growing pauses, and never before the API's own `Retry-After`. Once
one gets through, concurrency comes back gently: two at a time, four, eight.

An API that answers 429 is not broken, nor is it to be tried at random. What got through until the
end of the pause that it asked for, and in how long, gives the rate that it allows, and requests
keep to that rate.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from vision_event_block.delivery.errors import Fault
from vision_event_block.outbox.owner_status import DestinationState

if TYPE_CHECKING:
    from collections.abc import Callable

    from vision_event_block.delivery.errors import VisionEventsError

#: From this many failures in a row on, they are the connection's and not one request's.
FAILURES_TO_TRIP: Final = 3
FIRST_BACKOFF_S: Final = 1.0
#: Fewer successes before a 429 say nothing about a rate.
_LEAST_SAMPLE: Final = 5
#: How much faster than what got through; some of what was allowed was lost to the pause.
_HOPE: Final = 1.1
_CLIMB_PER_S: Final = 0.03
#: After this long without a request, the time before says nothing about a rate.
_IDLE_S: Final = 1.0
_TOO_MANY: Final = 429


class CircuitBreaker:
    """The circuit breaker of one destination. Not thread-safe: its owner has a lock."""

    def __init__(
        self,
        *,
        max_concurrency: int,
        max_backoff_s: float,
        key_retry_s: float,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._max_concurrency = max_concurrency
        self._max_backoff_s = max_backoff_s
        self._key_retry_s = key_retry_s
        self._uniform = uniform
        self.state = DestinationState.OPEN
        #: Rises each time that it trips: an answer to an older request no longer counts.
        self.generation = 0
        #: No request starts before this, ...
        self.opens_at_s = 0.0
        #: ... and none at all before this: the API's own wish.
        self.floor_s = 0.0
        self._window = max_concurrency
        self._failures = 0
        self._trips = 0
        self._under_way = 0
        self._rate_per_s: float | None = None
        self._next_start_s = 0.0
        #: What got through since when; from one pause for a 429 to the end of the next.
        self._cycle_began_s = 0.0
        self._cycle_successes = 0
        self._is_limited = False
        self._started_s = float("-inf")
        self._climbed_at_s = 0.0

    def starts_at_s(self, now_s: float) -> float | None:
        """When one more request may start, now or later; None while others are under way."""
        if self._under_way >= self._window:
            return None
        earliest_s = self.opens_at_s
        if self._rate_per_s is not None:
            earliest_s = max(earliest_s, self._next_start_s)
        return max(earliest_s, now_s)

    def start(self, now_s: float) -> int:
        """Counts a request that starts; returns the generation to report its end with."""
        if self._is_limited:
            self._learn(self.opens_at_s)
        elif self._under_way == 0 and now_s - self._started_s > _IDLE_S:
            self._cycle_began_s, self._cycle_successes = now_s, 0
        self._started_s = now_s
        if self._rate_per_s is not None:
            self._climb(now_s)
            self._next_start_s = max(now_s, self._next_start_s) + 1 / self._rate_per_s
        generation = self.generation
        self._under_way += 1  # the last step: if another raises, there is no permit to give back
        return generation

    def ended(self, generation: int, error: VisionEventsError | None, now_s: float) -> bool:
        """Records how a request ended; returns whether that means the destination is back.

        Args:
            generation: The value that `start` returned.
            error: None for a success.
            now_s: When it ended.
        """
        if error is None:
            return self._succeeded(generation)
        if error.fault is Fault.EVENT:
            self._answered(generation)
        elif error.fault is Fault.INTERNAL:  # which says nothing about the destination
            self.cancelled(generation)
        elif error.fault is Fault.KEY:
            if self._end(generation):
                self._trip(DestinationState.KEY_REFUSED, now_s + self._key_retry_s, floor_s=now_s)
        else:
            self._failed(generation, error, now_s)
        return False

    def cancelled(self, generation: int) -> None:
        """Records that no request was needed."""
        self._end(generation)
        if self._rate_per_s is not None:
            self._next_start_s -= 1 / self._rate_per_s

    def retry_now(self, now_s: float) -> None:
        """Lets the next try happen immediately, unless the API itself asked for a pause."""
        self.opens_at_s = max(self.floor_s, min(self.opens_at_s, now_s))

    @property
    def in_flight(self) -> int:
        """Requests that are under way and still count."""
        return self._under_way

    def _succeeded(self, generation: int) -> bool:
        is_news = self._end(generation)
        self._cycle_successes += 1
        if not is_news:
            return False
        self._failures = 0
        was_tripped = self.state is not DestinationState.OPEN
        if was_tripped:
            self.state = DestinationState.OPEN
            self._trips = 0
        self._window = min(self._max_concurrency, self._window * 2)
        return was_tripped

    def _answered(self, generation: int) -> None:
        """A verdict on one event: the destination is there."""
        if self._end(generation):
            self._failures = 0
            if self.state is DestinationState.DOWN:
                self.state, self._trips = DestinationState.OPEN, 0

    def _failed(self, generation: int, error: VisionEventsError, now_s: float) -> None:
        if not self._end(generation):
            return
        self._failures += 1
        is_limit = error.status == _TOO_MANY
        floor_s = error.retry_after_s or 0.0
        if self.state is DestinationState.OPEN and not (
            is_limit or floor_s > 0 or self._failures >= FAILURES_TO_TRIP
        ):
            return
        step_s = min(self._max_backoff_s, FIRST_BACKOFF_S * 2.0 ** min(self._trips, 30))
        wait_s = floor_s if is_limit and floor_s else max(self._uniform(0.0, step_s), floor_s)
        self._trip(DestinationState.DOWN, now_s + wait_s, floor_s=now_s + floor_s)
        self._is_limited = is_limit

    def _end(self, generation: int) -> bool:
        """Whether it counts: a request of an older generation is already forgotten."""
        if generation != self.generation:
            return False
        # Makes up for one that was given back twice because something was raised in between.
        self._under_way = max(0, self._under_way - 1)
        return True

    def _trip(self, state: DestinationState, opens_at_s: float, *, floor_s: float) -> None:
        self.opens_at_s = opens_at_s
        self.floor_s = floor_s
        self._trips += 1
        self._failures = 0
        generation = self.generation + 1
        # Requests of the last generation may hang for long yet; the trial does not wait for them.
        # In one step: with their permits and a window of one, there would be no trial at all.
        self.state, self.generation, self._window, self._under_way = state, generation, 1, 0

    def _learn(self, resumed_at_s: float) -> None:
        """Learns the rate that was allowed from the last pause to the end of this one."""
        self._is_limited = False
        if self._cycle_successes >= _LEAST_SAMPLE and resumed_at_s > self._cycle_began_s:
            self._rate_per_s = _HOPE * self._cycle_successes / (resumed_at_s - self._cycle_began_s)
        elif self._rate_per_s is not None:
            self._rate_per_s = max(0.1, self._rate_per_s / 2)
        self._cycle_began_s, self._cycle_successes = resumed_at_s, 0
        self._climbed_at_s = self._next_start_s = resumed_at_s

    def _climb(self, now_s: float) -> None:
        if self._rate_per_s is not None and now_s - self._climbed_at_s >= 1.0:
            self._rate_per_s *= 1 + _CLIMB_PER_S * (now_s - self._climbed_at_s)
            self._climbed_at_s = now_s

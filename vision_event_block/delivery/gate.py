"""When the next request to a destination may start. Pure: times in, decisions out.

A destination is open, or closed for trouble with the link or the key. While it is closed one
request at a time tries whether it is back, with growing pauses, never before the API's own
`Retry-After`. When one gets through, the gate opens gently: two at a time, four, eight.

An API that answers 429 is neither broken nor to be tried at random: from what got through until
the pause that it asked for is over, and in how long, follows the rate that it allows, and requests
keep to that.
"""

from __future__ import annotations

import random
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from vision_event_block.delivery.errors import TransientError

#: So many failures in a row are the link's trouble and no longer one request's.
FAILURES_TO_CLOSE: Final = 3
FIRST_BACKOFF_S: Final = 1.0
#: Fewer successes before a 429 say nothing about a rate.
_LEAST_SAMPLE: Final = 5
#: How much faster than what got through; some of the allowance was lost to the pause.
_HOPE: Final = 1.1
_CLIMB_PER_S: Final = 0.03
#: After so long without a request the time before says nothing about a rate.
_IDLE_S: Final = 1.0
_TOO_MANY: Final = 429


class State(Enum):
    """What is known about a destination."""

    OPEN = "open"
    DOWN = "down"
    KEY_REFUSED = "key refused"


class Gate:
    """The gate of one destination. Not thread-safe: its owner has a lock."""

    def __init__(
        self,
        *,
        lanes: int,
        max_backoff_s: float,
        key_retry_s: float,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._lanes = lanes
        self._max_backoff_s = max_backoff_s
        self._key_retry_s = key_retry_s
        self._uniform = uniform
        self.state = State.OPEN
        #: Rises each time that the gate closes: an answer to an older request is old news.
        self.epoch = 0
        #: No request starts before.
        self.opens_at_s = 0.0
        #: No request at all before: the API's own wish.
        self.floor_s = 0.0
        self._window = lanes
        self._failures = 0
        self._closings = 0
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
        """When one more request may start, now or later; None as long as others are under way."""
        if self._under_way >= self._window:
            return None
        earliest_s = self.opens_at_s
        if self._rate_per_s is not None:
            earliest_s = max(earliest_s, self._next_start_s)
        return max(earliest_s, now_s)

    def start(self, now_s: float) -> int:
        """Counts a request that starts; gives the epoch to report its end with."""
        if self._is_limited:
            self._learn(self.opens_at_s)
        elif self._under_way == 0 and now_s - self._started_s > _IDLE_S:
            self._cycle_began_s, self._cycle_successes = now_s, 0
        self._under_way += 1
        self._started_s = now_s
        if self._rate_per_s is not None:
            self._climb(now_s)
            self._next_start_s = max(now_s, self._next_start_s) + 1 / self._rate_per_s
        return self.epoch

    def succeeded(self, epoch: int) -> bool:
        """Takes note of an answer; says whether the gate opened by it."""
        is_news = epoch == self.epoch
        self._end(epoch)
        self._cycle_successes += 1
        if not is_news:
            return False
        self._failures = 0
        was_closed = self.state is not State.OPEN
        if was_closed:
            self.state = State.OPEN
            self._closings = 0
        self._window = min(self._lanes, self._window * 2)
        return was_closed

    def refused(self, epoch: int) -> None:
        """Takes note of an answer that is a verdict on one event: the destination is there."""
        is_news = epoch == self.epoch
        self._end(epoch)
        if is_news:
            self._failures = 0
        if is_news and self.state is State.DOWN:
            self.state, self._closings = State.OPEN, 0

    def cancelled(self, epoch: int) -> None:
        """Takes note that no request was needed."""
        self._end(epoch)
        if self._rate_per_s is not None:
            self._next_start_s -= 1 / self._rate_per_s

    def troubled(self, epoch: int, error: TransientError, now_s: float) -> None:
        """Takes note of trouble with the link."""
        is_news = epoch == self.epoch
        self._end(epoch)
        if not is_news:
            return
        self._failures += 1
        is_limit = error.status == _TOO_MANY
        floor_s = error.retry_after_s or 0.0
        if self.state is State.OPEN and not (
            is_limit or floor_s > 0 or self._failures >= FAILURES_TO_CLOSE
        ):
            return
        step_s = min(self._max_backoff_s, FIRST_BACKOFF_S * 2.0 ** min(self._closings, 30))
        wait_s = floor_s if is_limit and floor_s else max(self._uniform(0.0, step_s), floor_s)
        self._close(State.DOWN, now_s + wait_s, floor_s=now_s + floor_s)
        self._is_limited = is_limit

    def key_refused(self, epoch: int, now_s: float) -> None:
        """Takes note of trouble with the key."""
        is_news = epoch == self.epoch
        self._end(epoch)
        if is_news:
            self._close(State.KEY_REFUSED, now_s + self._key_retry_s, floor_s=now_s)

    def hurry(self, now_s: float) -> None:
        """Lets the next try happen now, unless the API itself asked for a pause."""
        self.opens_at_s = max(self.floor_s, min(self.opens_at_s, now_s))

    def _end(self, epoch: int) -> None:
        if epoch == self.epoch:
            self._under_way -= 1

    def _close(self, state: State, opens_at_s: float, *, floor_s: float) -> None:
        self.state = state
        self.epoch += 1
        self.opens_at_s = opens_at_s
        self.floor_s = floor_s
        self._closings += 1
        self._failures = 0
        self._window = 1
        # Those of the last epoch may hang for long yet; the trial does not wait for them.
        self._under_way = 0

    def _learn(self, resumed_at_s: float) -> None:
        """The rate that was allowed from the last pause to the end of this one."""
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

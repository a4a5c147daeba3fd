"""Counts that gather in memory until they are written down."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ACCEPTED: Final = "accepted"
REJECTED: Final = "rejected"
#: Threads that died and were replaced, by their kind.
REPLACED: Final = "replaced"
#: Failures in this process, by what it was doing at the time.
INTERNAL_ERRORS: Final = "internal_errors"
REQUESTS: Final = "requests"
REQUEST_MS: Final = "request_ms"


class Counters:
    """Counts by name. Any thread may add."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(self, name: str, number: int = 1) -> None:
        self.add_all({name: number})

    def add_all(self, numbers: Mapping[str, int]) -> None:
        """Counts several things: all of them, or none if it raises."""
        with self._lock:
            counts = self._counts.copy()
            counts.update(numbers)
            self._counts = counts

    def add_request(self, route: str, outcome: str, seconds: float) -> None:
        self.add_all(
            {
                f"{REQUESTS} {route} {outcome}": 1,
                f"{REQUEST_MS} {route} {outcome}": round(seconds * 1000),
            }
        )

    def hand_over(self, write: Callable[[Mapping[str, int]], None]) -> None:
        """Passes on what was counted since the last time; if writing it fails, it waits here."""
        counts = self.take()
        try:
            write(counts)
        except BaseException:
            self.add_all(counts)
            raise

    def take(self) -> dict[str, int]:
        with self._lock:
            counts = {name: number for name, number in self._counts.items() if number}
            self._counts = Counter()
        return counts

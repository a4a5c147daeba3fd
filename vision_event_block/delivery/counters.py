"""Counts that gather in memory until somebody writes them down."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Final

ACCEPTED: Final = "accepted"
REJECTED: Final = "rejected"
#: Threads that died and were replaced, by their kind.
REPLACED: Final = "replaced"
#: Failures in this process, by what it was doing.
INTERNAL_ERRORS: Final = "internal_errors"
REQUESTS: Final = "requests"
REQUEST_MS: Final = "request_ms"


class Counters:
    """Counts by name. Any thread may add."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(self, name: str, number: int = 1) -> None:
        """Counts."""
        with self._lock:
            self._counts[name] += number

    def add_request(self, route: str, outcome: str, seconds: float) -> None:
        """Counts a request and the time that it took."""
        with self._lock:
            self._counts[f"{REQUESTS} {route} {outcome}"] += 1
            self._counts[f"{REQUEST_MS} {route} {outcome}"] += round(seconds * 1000)

    def take(self) -> dict[str, int]:
        """What was counted since the last time."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        return {name: number for name, number in counts.items() if number}

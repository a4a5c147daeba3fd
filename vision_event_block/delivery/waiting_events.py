"""The events of a queue whose turn has not come: which one is next. Not thread-safe.

An event that another version has replaced, or that is gone, is skipped when its turn comes; once
most of the events here are like that, they are cleared away.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from typing import TYPE_CHECKING, Final

from vision_event_block.delivery.queued_event import On, State

if TYPE_CHECKING:
    from vision_event_block.delivery.queued_event import QueuedEvent

_FEW: Final = 64


class WaitingEvents:
    """New events, the backlog, and events that are to be retried later."""

    def __init__(self, backlog_bytes_per_s: float) -> None:
        self._backlog_bytes_per_s = backlog_bytes_per_s
        self._backlog_from_s = 0.0
        self._numbers = itertools.count()
        self._urgent: deque[QueuedEvent] = deque()
        self._fresh: deque[QueuedEvent] = deque()
        #: Oldest first; (not urgent, number, event).
        self._backlog: list[tuple[bool, int, QueuedEvent]] = []
        self._delayed: list[tuple[float, int, QueuedEvent, bool]] = []
        self._ended = 0

    @property
    def next_due_s(self) -> float | None:
        return self._delayed[0][0] if self._delayed else None

    def starts_at_s(self, now_s: float) -> float | None:
        """When the next one may start; None if there is none."""
        if self._urgent or self._fresh:
            return now_s
        return max(self._backlog_from_s, now_s) if self._backlog else None

    def events(self) -> set[QueuedEvent]:
        later = {event for _, _, event in self._backlog} | {it[2] for it in self._delayed}
        return later.union(self._urgent, self._fresh)

    def add(self, event: QueuedEvent, *, first: bool = False) -> None:
        if event.is_backlog:
            number = -next(self._numbers) if first else next(self._numbers)
            heapq.heappush(self._backlog, (not event.is_urgent, number, event))
        elif event.is_urgent:
            self._urgent.append(event)
        elif first:
            self._fresh.appendleft(event)
        else:
            self._fresh.append(event)

    def delay(self, event: QueuedEvent, due_s: float, *, is_first: bool) -> None:
        """An event to be retried, before or after all others."""
        heapq.heappush(self._delayed, (due_s, next(self._numbers), event, is_first))

    def wake(self, now_s: float) -> None:
        """Puts events whose pause is over back among those that wait for their turn."""
        while self._delayed and self._delayed[0][0] <= now_s:
            _, _, event, is_first = heapq.heappop(self._delayed)
            if event.state is State.DELAYED:
                event.move(On.DUE)
                self.add(event, first=is_first)

    def retry_now(self, now_s: float) -> None:
        self._delayed = [(min(due_s, now_s), *rest) for due_s, *rest in self._delayed]  # type: ignore[misc]
        heapq.heapify(self._delayed)

    def pile_up(self) -> list[QueuedEvent]:
        """Makes what waits now the backlog; returns what was new."""
        new = [event for event in (*self._urgent, *self._fresh) if event.state is State.WAITING]
        for event in new:
            event.is_backlog = True
            self.add(event)
        self._urgent.clear()
        self._fresh.clear()
        for _, _, event, _ in self._delayed:
            event.is_backlog = True
        return new

    def pace(self, size_bytes: int) -> None:
        """Stops the backlog for as long as this many bytes may take."""
        if self._backlog_bytes_per_s:
            self._backlog_from_s += size_bytes / self._backlog_bytes_per_s

    def take(self, now_s: float, *, new_begun: int, most_new: int) -> QueuedEvent | None:
        """The next event; None if there is none now.

        Args:
            now_s: By the courier's clock.
            new_begun: How many events are being sent that are not from the backlog.
            most_new: From this many on, the backlog has its turn.
        """
        for each in (self._urgent, self._fresh):
            while each and each[0].state is not State.WAITING:
                each.popleft()
        while self._backlog and self._backlog[0][2].state is not State.WAITING:
            heapq.heappop(self._backlog)
        fresh = self._urgent or self._fresh
        backlog_may = bool(self._backlog) and now_s >= self._backlog_from_s
        if fresh and not (backlog_may and new_begun >= most_new):
            return fresh.popleft()
        if not backlog_may:
            return None
        event = heapq.heappop(self._backlog)[2]
        if self._backlog_bytes_per_s and event.entry is not None:
            self._backlog_from_s = max(now_s, self._backlog_from_s)
            self.pace(event.entry.size_bytes)
        return event

    def note_ended(self) -> None:
        """One of them may have been replaced by a newer version, or be gone."""
        self._ended += 1
        waiting = len(self._urgent) + len(self._fresh) + len(self._backlog) + len(self._delayed)
        if self._ended < max(_FEW, waiting / 2):
            return
        self._ended = 0
        alive = {State.WAITING, State.DELAYED}
        self._urgent = deque(event for event in self._urgent if event.state in alive)
        self._fresh = deque(event for event in self._fresh if event.state in alive)
        self._backlog = [it for it in self._backlog if it[2].state in alive]
        self._delayed = [it for it in self._delayed if it[2].state in alive]
        heapq.heapify(self._backlog)
        heapq.heapify(self._delayed)

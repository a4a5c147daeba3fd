"""The events of a queue whose images are up: which share a request, and when. Not thread-safe.

An event waits a moment for others to share its request, unless none are expected.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

from vision_event_block.delivery.queued_event import State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vision_event_block.delivery.jobs import CreateEvents
    from vision_event_block.delivery.queued_event import QueuedEvent

#: How long an event waits at most for others to share its request.
BATCH_WAIT_S: Final = 0.1
#: No more are expected after a pause this much longer than the longest recent one, which fades.
LONG_PAUSE: Final = 1.5
FADING: Final = 0.9


class ReadyEvents:
    """Events for the next batches, and groups that go as they are."""

    def __init__(self) -> None:
        self._singles: deque[QueuedEvent] = deque()
        #: Halves of a refused batch, and events that are sent alone.
        self._groups: deque[list[QueuedEvent]] = deque()
        #: Requests under way, and when the last one began.
        self.creating: set[CreateEvents] = set()
        self._created_at_s = -math.inf
        #: When an event last became ready, and the longest recent pause between two that did.
        self._ready_at_s, self._pause_s = -math.inf, BATCH_WAIT_S

    def events(self) -> set[QueuedEvent]:
        return set().union(self._singles, *self._groups)

    def add(self, event: QueuedEvent, now_s: float) -> None:
        pause_s = min(now_s - self._ready_at_s, BATCH_WAIT_S)
        self._pause_s = max(pause_s, FADING * self._pause_s)
        event.ready_at_s = self._ready_at_s = now_s
        if event.goes_alone or event.failures:  # the next failure shall not be everybody's
            self._groups.append([event])
        else:
            self._singles.append(event)

    def add_group(self, events: list[QueuedEvent]) -> None:
        self._groups.append(events)

    def remove(self, event: QueuedEvent) -> None:
        if event in self._singles:
            self._singles.remove(event)

    def take(self, most: int) -> list[QueuedEvent]:
        """A group, or up to this many others. There are none unless `due_at_s` says so."""
        if self._groups:
            return self._groups.popleft()
        return [self._singles.popleft() for _ in range(min(most, len(self._singles)))]

    def sent(self, job: CreateEvents, now_s: float) -> None:
        self.creating.add(job)
        self._created_at_s = now_s

    def due_at_s(
        self, now_s: float, begun: Iterable[QueuedEvent], *, most: int, is_more_to_start: bool
    ) -> float | None:
        """When the next request goes: once no more are expected or the first one is awaited.

        Args:
            now_s: By the courier's clock.
            begun: The events in progress.
            most: How many events fit into a request.
            is_more_to_start: Whether another job may start now.
        """
        if self._groups or len(self._singles) >= most:
            return now_s
        if not self._singles:
            return None
        first = self._singles[0]
        latest_s = first.ready_at_s + BATCH_WAIT_S
        if self.creating or is_more_to_start:
            return latest_s
        if first.handle.is_awaited or now_s - self._created_at_s >= BATCH_WAIT_S:
            return now_s
        if any(event.state in (State.LOADING, State.UPLOADING) for event in begun):
            return latest_s
        return min(latest_s, self._ready_at_s + LONG_PAUSE * self._pause_s)

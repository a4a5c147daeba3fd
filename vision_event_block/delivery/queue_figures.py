"""What is in the queues of all destinations: how many events, and the state of each destination."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from typing import TYPE_CHECKING

from vision_event_block.delivery.queued_event import State
from vision_event_block.outbox.owner_status import DestinationState, DestinationStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vision_event_block.delivery.destinations import Destination
    from vision_event_block.delivery.queue import Queue
    from vision_event_block.delivery.queued_event import QueuedEvent
    from vision_event_block.outbox.entry import Address


class QueueFigures:
    """The queues, and the figures about them. Any thread may use it."""

    def __init__(self) -> None:
        #: Guards everything here and all events in the queues.
        self.lock = threading.RLock()
        self._queues: dict[Address, Queue] = {}
        #: The outcomes of events in queues that no longer exist.
        self._gone: Counter[State] = Counter()
        #: Events for destinations whose key or address is not known here.
        self._unroutable: dict[Address, list[QueuedEvent]] = {}

    @property
    def pending(self) -> int:
        with self.lock:
            waiting = sum(queue.pending for queue in self._queues.values())
            return waiting + sum(map(len, self._unroutable.values()))

    def _all(self) -> Iterator[QueuedEvent]:
        """All queued events; the caller holds the lock."""
        waiting = (queue.events for queue in self._queues.values())
        return itertools.chain(*waiting, *self._unroutable.values())

    def entry_names(self) -> set[str]:
        """The entries of these events, as far as they are on disk."""
        with self.lock:
            return {event.entry.name for event in self._all() if event.entry is not None}

    @property
    def unstored(self) -> int:
        with self.lock:
            return sum(event.entry is None for event in self._all())

    @property
    def unstored_updates(self) -> int:
        """How many of those are not part of the sum."""
        with self.lock:
            return sum(event.entry is None and event.is_update for event in self._all())

    @property
    def counts(self) -> Counter[str]:
        """How many events have been delivered and rejected so far."""
        with self.lock:
            ended = sum((queue.ended for queue in self._queues.values()), self._gone)
        return +Counter(delivered=ended[State.DELIVERED], rejected=ended[State.DEAD])

    def works(self, address: Address) -> bool | None:
        """Whether the last request to a destination got through; None before the first one."""
        with self.lock:
            queue = self._queues.get(address)
            if (
                queue is None
                or queue.last_error
                or queue.breaker.state is not DestinationState.OPEN
            ):
                return False
            return None if queue.last_success_s is None else True

    def states(self) -> list[DestinationStatus]:
        with self.lock:
            known = [queue.status for queue in self._queues.values()]
            return known + [
                DestinationStatus(str(address), DestinationState.NO_KEY, len(events))
                for address, events in self._unroutable.items()
            ]

    def begun(self) -> list[QueuedEvent]:
        """Events of which something has been uploaded."""
        with self.lock:
            queues = self._queues.values()
            return [event for queue in queues for event in queue.events if event.images]

    def destinations(self) -> list[Destination]:
        with self.lock:
            return [queue.destination for queue in self._queues.values()]

"""The courier: delivers what is in the outbox, in the background.

The queue of each destination decides which job comes next, and its circuit breaker decides when;
`jobs` does the work, and `outcomes` says what follows when it fails.
"""

from __future__ import annotations

import random
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vision_event_block.delivery.counters import Counters
from vision_event_block.delivery.courier_limits import CourierLimits
from vision_event_block.delivery.executor import Executor
from vision_event_block.delivery.queued_event import DeliveryHandle, QueuedEvent
from vision_event_block.delivery.queues import Queues
from vision_event_block.delivery.workers import Workers
from vision_event_block.outbox.journal import DELIVERED, SUPERSEDED, UNSTORED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from vision_event_block.delivery.destinations import Destination
    from vision_event_block.delivery.queued_event import Verdict
    from vision_event_block.outbox.entry import Address, DeliveryMetadata, EntryContents
    from vision_event_block.outbox.outbox import Outbox
    from vision_event_block.outbox.owner_status import DestinationStatus
    from vision_event_block.outbox.slot import Entry

__all__ = ["Courier", "CourierLimits"]

#: On closing: how long a request under way may take to end by itself, and then its thread
#: once it was broken off.
GRACE_S: Final = 1.0


class Courier:
    """Delivers events in the background. Threads start with the first one."""

    def __init__(
        self,
        outbox: Outbox | None,
        limits: CourierLimits = CourierLimits(),  # noqa: B008 -- frozen
        *,
        clock_s: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        #: For the metrics, until it is written down.
        self.counters = Counters()
        #: The outbox with the stored events. Set before anything can be stored in it, even if it
        #: could not be opened at first.
        self.outbox = outbox
        #: Everything that waits or is being sent, and the state of the destinations.
        self.queues = Queues(limits, clock_s=clock_s, uniform=uniform)
        self._executor = Executor(self.queues, self.counters)
        self._workers = Workers(self.queues, self._executor, self.counters)
        self._clock = clock_s

    def register(self, destination: Destination) -> None:
        """Makes a destination known; events that waited for it may go."""
        self.queues.register(destination)

    def take(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if self.outbox is not None:
                self.outbox.unclaim(entry)  # nothing can be sending it any more
                if self.outbox.is_outranked(entry):
                    self.outbox.supersede(entry)
                    self.counters.add(SUPERSEDED)
                    continue
            self.submit(entry, is_backlog=True)

    def submit(
        self,
        entry: Entry,
        contents: EntryContents | None = None,
        handle: DeliveryHandle | None = None,
        *,
        is_backlog: bool = False,
    ) -> DeliveryHandle:
        """Takes an event that is in the outbox, with its contents if they are at hand."""
        return self._put(
            QueuedEvent(
                entry.event_id,
                entry.metadata.address,
                entry,
                self.outbox,
                contents=contents,
                handle=handle or DeliveryHandle(),
                version=entry.version,
                is_update=entry.metadata.is_update,
                is_urgent=entry.metadata.is_urgent,
                is_backlog=is_backlog,
            )
        )

    def submit_unstored(
        self,
        event_id: str,
        contents: EntryContents,
        *,
        on_end: Callable[[QueuedEvent, Verdict], None],
        store: Callable[[], None] | None = None,
        handle: DeliveryHandle | None = None,
    ) -> QueuedEvent:
        """Takes a new event that is not stored; it lives in memory until it is sent.

        If this raises, it is not taken.

        Args:
            event_id: The event's id.
            contents: Everything that it has.
            on_end: Called once it is delivered, rejected for good or replaced.
            store: Stores it after all, before it becomes a dead letter.
            handle: How its sender follows it.
        """
        event = QueuedEvent(
            event_id,
            contents.metadata.address,
            contents=contents,
            handle=handle or DeliveryHandle(),
            version=contents.metadata.version,
            is_update=contents.metadata.is_update,
            is_urgent=contents.metadata.is_urgent,
            on_end=on_end,
            store=store,
        )
        self._put(event)
        return event

    def is_outdated(
        self, event_id: str, metadata: DeliveryMetadata, handle: DeliveryHandle
    ) -> bool:
        """Whether a newer version of an event is or was being sent; the handle then follows it."""
        versions, address = self.queues.versions, metadata.address
        with self.queues.lock:
            is_outdated = versions.is_outdated(address, event_id, metadata.version)
            if is_outdated:
                versions.tell(handle, address, event_id)
            return is_outdated

    def has_gone_by(self, event_id: str, address: Address) -> bool:
        """Whether each earlier version of an event was here, and nothing of it is on disk."""
        with self.queues.lock:
            return self.queues.versions.has_gone_by(address, event_id)

    @contextmanager
    def succession(self, event_id: str, metadata: DeliveryMetadata) -> Iterator[DeliveryMetadata]:
        """Counts a newer version as the event itself if the older one is in memory only.

        The older one is not counted yet, and never will be. If this is not stored, nothing changes.
        """
        older = None
        if metadata.version:
            with self.queues.lock:
                older = self.queues.versions.uncounted(metadata.address, event_id)
                if older is not None:
                    older.is_update = True
        try:
            yield metadata if older is None else replace(metadata, is_update=False)
        except BaseException:
            if older is not None:
                older.is_update = False
                if older.on_end is None:  # it has ended meanwhile
                    self.counters.add_all({UNSTORED: 1, DELIVERED: 1})
            raise

    def on_job(self, look_after: Callable[[], None]) -> None:
        """Has this called after each job, by the thread that ran it."""
        self._workers.look_after = look_after

    def replace_dead_threads(self) -> None:
        """Starts the threads that are missing, if any was ever needed."""
        if self._workers.threads or self.pending:
            self._workers.start_missing()

    @property
    def pending(self) -> int:
        return self.queues.pending

    def states(self) -> list[DestinationStatus]:
        return self.queues.states()

    def flush(self, timeout_s: float) -> int:
        """Waits until nothing more can be delivered now; returns how many events are left.

        A destination that is down is tried once more now, and not waited for if it stays down.
        """
        self.replace_dead_threads()
        return self.queues.flush(timeout_s)

    def close(self, timeout_s: float) -> int:
        """Flushes, lets requests under way end or breaks them off; returns how many were left."""
        ends_at_s = self._clock() + timeout_s
        left = self.flush(timeout_s)
        self.queues.stop()
        self._workers.join(max(ends_at_s, self._clock() + GRACE_S))
        for destination in self.queues.destinations():
            destination.close()
        self._workers.join(self._clock() + GRACE_S)
        for event in self.queues.begun():
            self._executor.note_progress(event)
        return left

    def _put(self, event: QueuedEvent) -> DeliveryHandle:
        handle = event.handle
        self._workers.start_missing()
        replaced = self.queues.put(event)
        if replaced is not None:
            self._executor.clear_superseded(replaced)
        return handle

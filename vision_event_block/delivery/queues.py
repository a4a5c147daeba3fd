"""The queues of all destinations, under one lock: which job a worker takes next."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vision_event_block.delivery.circuit_breaker import CircuitBreaker
from vision_event_block.delivery.courier_limits import has_thread_left
from vision_event_block.delivery.queue import Queue
from vision_event_block.delivery.queue_figures import QueueFigures
from vision_event_block.delivery.queued_event import (
    IN_THE_QUEUE,
    TRANSITIONS,
    On,
    QueuedEvent,
    State,
)
from vision_event_block.delivery.versions import Versions, makes_way
from vision_event_block.outbox.owner_status import DestinationState

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from vision_event_block.delivery.courier_limits import CourierLimits
    from vision_event_block.delivery.destinations import Destination
    from vision_event_block.delivery.errors import VisionEventsError
    from vision_event_block.delivery.jobs import Job
    from vision_event_block.outbox.entry import Address
    from vision_event_block.outbox.outbox import Outbox
    from vision_event_block.outbox.slot import Entry

_logger = logging.getLogger(__name__)

#: Addresses and keys; beyond it, those unused for this long are released.
MAX_QUEUES: Final = 64
IDLE_S: Final = 60.0
#: How often a worker looks for work without being woken, in case a wake-up was lost.
LOOK_AGAIN_S: Final = 5.0
#: Being sent, and past the step that claims an entry.
IN_HANDS: Final = frozenset(
    {State.UPLOADING, State.READY, State.CREATING, State.CONFIRMED, State.REFUSED}
)


@dataclass(eq=False)
class Task:
    """A job that a worker has."""

    queue: Queue
    job: Job
    #: The permit of the circuit breaker; None once it was given back.
    generation: int | None = None


class Queues(QueueFigures):
    """One queue for each destination. Any thread may use it."""

    def __init__(
        self,
        limits: CourierLimits,
        *,
        clock_s: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        super().__init__()
        self.limits = limits
        self.clock_s = clock_s
        self.uniform = uniform
        #: One worker is woken when there may be something to do; it wakes the next one.
        self._work_there = threading.Condition(self.lock)
        #: For callers that wait until everything is done.
        self._changed = threading.Condition(self.lock)
        #: When the first of the workers that sleep until a certain time wakes.
        self._wakes_at_s = math.inf
        #: Addresses that others wrote down for one of these destinations.
        self._aliases: dict[Address, Address] = {}
        self._tasks: set[Task] = set()
        self.versions = Versions()
        self._is_stopping = False

    @property
    def is_stopping(self) -> bool:
        return self._is_stopping

    def register(self, destination: Destination) -> None:
        """Makes a destination known; events that waited for it may go."""
        with self.lock:
            queue = self._queues.get(destination.address)
            if queue is None:
                self._let_go_of_idle_ones()
                queue = self._queues[destination.address] = self._queue_for(destination)
            for address in filter(destination.takes, list(self._unroutable)):
                for event in self._unroutable.get(address, ()):
                    if event.state is State.UNROUTABLE:
                        self._join(queue, event)
                self._unroutable.pop(address, None)
            queue.used_at_s = self.clock_s()

    def put(self, event: QueuedEvent) -> QueuedEvent | None:
        """Takes a new event. If this raises, it is not taken.

        Returns:
            Of the event and an older version, the one that is replaced, to be cleared away.
        """
        with self.lock:
            if self.versions.is_outdated(event.address, event.event_id, event.version):
                self.supersede(event)
                return event
            older = self.versions.came(event)
            try:
                queue = self._queue_that_takes(event.address)
                if queue is None:
                    if event.entry is not None:
                        event.contents = None
                    self._unroutable.setdefault(event.address, []).append(event)
                elif queue.breaker.state is DestinationState.OPEN:
                    self._join(queue, event)
                else:
                    event.is_backlog = True
                    event.handle.settle(queue.prospect)
                    self._join(queue, event)
            except BaseException:
                self.versions.forget(event, older)
                raise
            if older is None or not self._can_make_way(older):
                return None
            self.supersede(older)
            return older

    def supersede(self, event: QueuedEvent) -> None:
        """A version that no worker has gives way; to be cleared. The caller holds the lock."""
        self.versions.tell(event.handle, event.address, event.event_id)
        if event.home is not None:
            event.home.supersede(event)
            return
        event.move(On.SUPERSEDED)
        if event in self._unroutable.get(event.address, ()):
            self._unroutable[event.address].remove(event)

    def left(self, event: QueuedEvent) -> None:
        """An event has ended, and a newer version of it may be sent. The caller holds the lock."""
        if event.home is not None:
            event.home.leave(event)
        self.versions.ended(event)
        if event.newer is not None and event.newer.home is not None:
            event.newer.home.let_go_on(event.newer)
            self.tell()

    def let_go(self, names: Container[str]) -> None:
        """Marks entries as gone that are no longer in the outbox: dropped, or another process's."""
        with self.lock:
            for event in list(self._all()):
                if event.entry is None or event.entry.name not in names:
                    continue
                waits = event.state in IN_THE_QUEUE and On.MISSING in TRANSITIONS[event.state]
                if waits and not any(older.is_under_way for older in event.behind):
                    event.move(On.MISSING)
                    self.left(event)
            for address, events in list(self._unroutable.items()):
                self._unroutable[address] = [it for it in events if it.state is not State.GONE]
                if not self._unroutable[address]:
                    del self._unroutable[address]
            self._changed.notify_all()

    def _can_make_way(self, older: QueuedEvent) -> bool:
        is_free = (
            older.state is State.UPLOADING
            and older.home is not None
            and older.home.stop_uploads(older)
        )
        return makes_way(older.state, is_uploading=not is_free)

    def is_stored(self, event: QueuedEvent, entry: Entry, outbox: Outbox | None) -> None:
        """An event that was in memory only is now on disk."""
        with self.lock:
            if outbox is not None and event.state in IN_HANDS:
                outbox.claim(entry)
            elif event.state is not State.LOADING:
                event.contents = None  # it is read when its turn comes
            event.outbox, event.entry = outbox, entry
            if event.state is State.READY:  # it may wait for long, if the destination is down
                event.forget_pictures()

    def take(self, hands: Callable[[Task], None]) -> None:
        """Waits for the next job and passes it to `hands`; returns without one when stopped."""
        with self.lock:
            while not self._is_stopping:
                now_s = self.clock_s()
                soonest_s = math.inf
                for address, queue in list(self._queues.items()):
                    if not self._may_start(queue):
                        continue
                    try:
                        found = queue.next(now_s)
                        if found is not None and not isinstance(found, float):
                            self._hand_over(Task(queue, found), hands, now_s)
                            # The next search begins behind this queue: no destination starves.
                            self._queues[address] = self._queues.pop(address)
                            return
                    except BaseException:
                        queue.audit(self._jobs())
                        raise
                    if found is not None:
                        soonest_s = min(soonest_s, found)
                self._sleep(soonest_s, now_s)

    def _hand_over(self, task: Task, hands: Callable[[Task], None], now_s: float) -> None:
        hands(task)
        self._tasks.add(task)
        task.generation = task.queue.breaker.start(now_s)
        self._wake_worker()

    def answered(self, task: Task, error: VisionEventsError | None) -> None:
        """Tells a task's queue how its request ended. The caller holds the lock."""
        if task.generation is None:
            return
        is_back = task.queue.answered(task.generation, error, self.clock_s(), time.time())
        task.generation = None  # if that raised, `done` gives the permit back
        if is_back:
            _logger.info("%s is reachable again", task.queue.destination.address)

    def done(self, task: Task) -> None:
        """A task is done and no worker has it; its worker looks for the next one.

        It may be called again.
        """
        with self.lock:
            if task.generation is not None:
                task.queue.breaker.cancelled(task.generation)
                task.generation = None
            self._tasks.discard(task)
            self.tell_those_who_wait()

    def abandoned(self, task: Task) -> list[QueuedEvent]:
        """A task was abandoned in the middle; returns those of its events that the API has.

        Events go back to their queue. It may be called again.
        """
        with self.lock:
            self.done(task)
            confirmed = task.queue.audit(self._jobs())
            self.tell()
            return confirmed

    def retry_now(self) -> None:
        """Has each destination tried now, unless it asked for a pause itself."""
        with self.lock:
            for queue in self._queues.values():
                queue.retry_now(self.clock_s())
            self.tell()

    def flush(self, timeout_s: float) -> int:
        """Waits until nothing more can be delivered now; returns how many events are left.

        A destination that is down is tried once more now, and not waited for if it stays down.
        """
        ends_at_s = self.clock_s() + timeout_s
        with self.lock:
            tried = {}
            for address, queue in self._queues.items():
                queue.retry_now(self.clock_s())
                tried[address] = queue.breaker.generation
            self.tell()

            def is_through() -> bool:
                return self._is_stopping or not any(
                    queue.pending
                    and (
                        queue.breaker.state is DestinationState.OPEN
                        or queue.breaker.generation == tried.get(address)
                    )
                    and queue.breaker.floor_s < ends_at_s
                    for address, queue in self._queues.items()
                )

            self._changed.wait_for(is_through, timeout_s)
        return self.pending

    def stop(self) -> None:
        """Hands out no more jobs; all waiting calls return."""
        with self.lock:
            self._is_stopping = True
            self._work_there.notify_all()
            self._changed.notify_all()

    def tell(self) -> None:
        """Wakes those who wait because something is new; the caller holds the lock."""
        self._wake_worker()
        self._changed.notify_all()

    def tell_those_who_wait(self) -> None:
        """The same, from a worker that looks for work right afterwards; it holds the lock."""
        self._changed.notify_all()

    def _wake_worker(self) -> None:
        """Wakes a worker if there is work, or will be before one wakes by itself.

        Each worker that is woken for nothing takes processor time from those that work.
        """
        now_s = self.clock_s()
        for queue in self._queues.values():
            due_at_s = queue.due_at_s(now_s)
            # As in `_sleep`: one that should have woken by now may have failed.
            is_awake_then = now_s < self._wakes_at_s <= (due_at_s or 0.0)
            if due_at_s is not None and (due_at_s <= now_s or not is_awake_then):
                self._work_there.notify()
                return

    def _join(self, queue: Queue, event: QueuedEvent) -> None:
        try:
            queue.join(event)
            self.tell()
        except BaseException:
            queue.audit(self._jobs())
            if event not in queue.events:
                raise

    def _jobs(self) -> list[Job]:
        return [task.job for task in self._tasks]

    def _queue_that_takes(self, address: Address) -> Queue | None:
        """The queue by address, or by what the address means: the key may have another salt."""
        queue = self._queues.get(self._aliases.get(address, address))
        if queue is None:
            takes = (each for each in self._queues.values() if each.destination.takes(address))
            queue = next(takes, None)
            if queue is not None:
                self._aliases[address] = queue.destination.address
        return queue

    def _queue_for(self, destination: Destination) -> Queue:
        limits = self.limits
        breaker = CircuitBreaker(
            max_concurrency=limits.threads,
            max_backoff_s=limits.max_backoff_s,
            key_retry_s=limits.key_retry_s,
            uniform=self.uniform,
        )
        return Queue(destination, breaker, limits)

    def _let_go_of_idle_ones(self) -> None:
        """Closes the connections of destinations with nothing to send, if there are many."""
        used_since_s = self.clock_s() - IDLE_S
        for address, queue in list(self._queues.items()):
            if len(self._queues) < MAX_QUEUES:
                return
            if not queue.pending and queue.used_at_s < used_since_s:
                del self._queues[address]
                self._gone += queue.ended
                queue.destination.close()

    def _may_start(self, queue: Queue) -> bool:
        """Whether one more thread may be busy with this destination."""
        if len(self._queues) == 1:
            return True
        busy = Counter(task.queue for task in self._tasks)
        return has_thread_left(queue, busy, self.limits.threads)

    def _sleep(self, soonest_s: float, now_s: float) -> None:
        """Sleeps until there may be work; one worker is enough to wait for a certain time."""
        # One that should have woken by now may have failed, so it is not relied on.
        if now_s < self._wakes_at_s <= soonest_s:
            self._work_there.wait(LOOK_AGAIN_S)
            return
        try:
            self._wakes_at_s = soonest_s
            self._work_there.wait(min(LOOK_AGAIN_S, max(0.0, soonest_s - now_s)))
        finally:
            if self._wakes_at_s == soonest_s:
                self._wakes_at_s = math.inf

"""The threads that carry jobs out.

No thread ends before it is stopped. If one does, another takes its place, and its job is given
back.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vision_event_block.delivery.counters import REPLACED, Counters
from vision_event_block.logs import QuietLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from vision_event_block.delivery.executor import Executor
    from vision_event_block.delivery.queues import Queues, Task

_logger = logging.getLogger(__name__)

#: Between two attempts to give back a job, should even that fail.
ABANDON_EVERY_S: Final = 0.05


@dataclass(eq=False)
class _Worker:
    number: int
    thread: threading.Thread = field(init=False)
    #: The job that it has.
    task: Task | None = None

    def take(self, task: Task) -> None:
        self.task = task


class Workers:
    """A number of threads, started when they are first needed."""

    def __init__(self, queues: Queues, executor: Executor, counters: Counters) -> None:
        self._queues = queues
        self._executor = executor
        self._counters = counters
        #: Called after each job.
        self.look_after: Callable[[], None] = lambda: None
        self._log = QuietLog(_logger)
        self._lock = threading.Lock()
        #: Guarded by the lock.
        self._workers: list[_Worker] = []

    @property
    def threads(self) -> list[threading.Thread]:
        with self._lock:
            return [worker.thread for worker in self._workers]

    def start_missing(self) -> None:
        """Starts the threads that are missing; a dead one's job goes back to its queue."""
        if self._queues.is_stopping:
            return
        with self._lock:
            dead = [worker for worker in self._workers if not worker.thread.is_alive()]
            for worker in dead:
                self._workers.remove(worker)
            numbers = {worker.number for worker in self._workers}
            for number in range(self._queues.limits.threads):
                if number not in numbers and not self._start(number):
                    break
        for worker in dead:
            self._counters.add(f"{REPLACED} courier")
            self._log.say(logging.ERROR, "dead", "a sender thread died and was replaced")
            self._give_back(worker)

    def join(self, ends_at_s: float) -> None:
        for thread in self.threads:
            thread.join(max(0.0, ends_at_s - self._queues.clock_s()))

    def _start(self, number: int) -> bool:
        worker = _Worker(number)
        worker.thread = threading.Thread(
            target=self._work, args=(worker,), name=f"vision-event-courier-{number}", daemon=True
        )
        self._workers.append(worker)
        try:
            worker.thread.start()
        except (RuntimeError, MemoryError) as error:  # none to spare now: the next event tries
            self._workers.remove(worker)
            words = f"could not start a sender thread: {error}"
            self._log.say(logging.WARNING, "thread", words)
            return False
        return True

    def _work(self, worker: _Worker) -> None:
        while not self._queues.is_stopping:
            try:
                self._queues.take(worker.take)
                if worker.task is not None:
                    self._executor.carry_out(worker.task)
                    self._queues.done(worker.task)
                    worker.task = None
                    self.look_after()
            except Exception as error:  # noqa: BLE001, PERF203 -- the outer wall: nothing ends the thread
                self._give_back(worker, error)

    def _give_back(self, worker: _Worker, error: Exception | None = None) -> None:
        """Gives back the job of a worker, however many attempts that takes."""
        while True:
            try:
                if error is not None:
                    self._executor.say_internal(error, "delivering")
                if worker.task is not None:
                    self._executor.abandon(worker.task)
                    worker.task = None
            except Exception as again:  # noqa: BLE001, PERF203 -- such as no memory; there will be some
                error = again
                time.sleep(ABANDON_EVERY_S)
            else:
                return

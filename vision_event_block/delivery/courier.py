"""The courier: a few threads that carry what lies in the outbox to where it belongs.

One errand is one request: a picture, or the events whose pictures are up. Which comes next is
decided by the line in front of each destination, and when by its gate; how it is carried out stands
in `errands`, and what follows when it fails in `aftermath`.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from vision_event_block.delivery.aftermath import Aftermath
from vision_event_block.delivery.errands import Errand, Runner
from vision_event_block.delivery.gate import Gate, State
from vision_event_block.delivery.line import Line
from vision_event_block.delivery.parcel import Outcome, Parcel, Ticket, Verdict
from vision_event_block.delivery.shelf import Shelf
from vision_event_block.delivery.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vision_event_block.delivery.destination import Destination
    from vision_event_block.outbox.entry import Address, Contents
    from vision_event_block.outbox.outbox import Outbox
    from vision_event_block.outbox.slot import Entry
    from vision_event_block.settings import Settings

_logger = logging.getLogger(__name__)

#: On closing: how long a request under way may take to end by itself, and then its thread once
#: it is broken off.
GRACE_S: Final = 1.0
#: Addresses and keys; beyond it those to which nothing went for so long are let go.
MAX_LINES: Final = 64
IDLE_S: Final = 60.0


@dataclass(frozen=True)
class CourierLimits:
    """How many threads there are and how patient they are."""

    threads: int = 10
    max_backoff_s: float = 60.0
    key_retry_s: float = 300.0
    backlog_bytes_per_s: int = 0

    @classmethod
    def of(cls, settings: Settings) -> CourierLimits:
        """What the settings say."""
        return cls(
            threads=settings.senders,
            max_backoff_s=settings.max_backoff_s,
            key_retry_s=settings.key_retry_s,
            backlog_bytes_per_s=settings.backlog_bytes_per_s,
        )


class Courier:
    """Carries events in the background. Threads start with the first one."""

    def __init__(
        self,
        outbox: Outbox | None,
        limits: CourierLimits = CourierLimits(),
        *,
        clock_s: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._shelf = Shelf(outbox)
        self._limits = limits
        self._clock = clock_s
        self._uniform = uniform
        #: Guards everything below.
        self._lock = threading.RLock()
        #: One worker is woken when there may be something to do; it wakes the next one.
        self._work_there = threading.Condition(self._lock)
        #: For those who wait until everything is through.
        self._changed = threading.Condition(self._lock)
        #: When the first worker that sleeps until a certain time wakes.
        self._wakes_at_s = math.inf
        self._lines: dict[Address, Line] = {}
        #: What became of events on lines that are gone.
        self._gone: Counter[str] = Counter()
        #: Events for destinations that nobody here has the key of, or the address.
        self._strangers: dict[Address, list[Parcel]] = {}
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()
        #: For the metrics, until somebody takes it.
        self.tally = Tally()
        aftermath = Aftermath(
            self._shelf,
            self.tally,
            lock=self._lock,
            tell=self._tell,
            clock_s=clock_s,
            uniform=uniform,
            max_backoff_s=limits.max_backoff_s,
        )
        self._runner = Runner(
            self._shelf,
            self.tally,
            aftermath,
            lock=self._lock,
            tell=self._tell,
            clock_s=clock_s,
            stopping=self._stopping,
        )

    def register(self, destination: Destination) -> None:
        """Makes a destination known; events that waited for it may go."""
        with self._lock:
            known = self._lines.get(destination.address)
            if known is not None:
                known.used_at_s = self._clock()
                return
            self._let_go_of_idle_lines()
            gate = Gate(
                lanes=self._limits.threads,
                max_backoff_s=self._limits.max_backoff_s,
                key_retry_s=self._limits.key_retry_s,
                uniform=self._uniform,
            )
            line = Line(
                destination,
                gate,
                lanes=self._limits.threads,
                backlog_bytes_per_s=self._limits.backlog_bytes_per_s,
            )
            line.used_at_s = self._clock()
            self._lines[destination.address] = line
            for parcel in self._strangers.pop(destination.address, ()):
                line.join(parcel)
            self._tell()

    def _let_go_of_idle_lines(self) -> None:
        """Closes the connections to where nothing goes, if there are many."""
        used_since_s = self._clock() - IDLE_S
        for address, line in list(self._lines.items()):
            if len(self._lines) < MAX_LINES:
                return
            if not line.pending and line.used_at_s < used_since_s:
                del self._lines[address]
                self._gone += Counter(delivered=line.delivered, rejected=line.rejected)
                line.destination.close()

    def take(self, entries: Iterable[Entry]) -> None:
        """Takes events over that were stored before."""
        for entry in entries:
            self._take(
                Parcel(
                    entry.event_id,
                    entry.notes.address,
                    entry,
                    is_urgent=entry.notes.is_urgent,
                    is_backlog=True,
                )
            )

    def submit(
        self,
        entry: Entry,
        contents: Contents | None = None,
        *,
        on_outcome: Callable[[Outcome], None] | None = None,
    ) -> Ticket:
        """Takes a new event that lies in the outbox, with what it holds if that is at hand."""
        parcel = Parcel(
            entry.event_id,
            entry.notes.address,
            entry,
            contents=contents,
            ticket=Ticket(on_outcome),
            is_urgent=entry.notes.is_urgent,
        )
        return self._take(parcel)

    def use(self, outbox: Outbox) -> None:
        """The outbox, if it could not be opened at first."""
        self._shelf.outbox = outbox

    def submit_unstored(
        self,
        event_id: str,
        contents: Contents,
        *,
        on_end: Callable[[Verdict], None],
        on_outcome: Callable[[Outcome], None] | None = None,
    ) -> Ticket:
        """Takes a new event that could not be stored; it lives in memory until it is sent."""
        parcel = Parcel(
            event_id,
            contents.notes.address,
            contents=contents,
            ticket=Ticket(on_outcome),
            is_urgent=contents.notes.is_urgent,
            on_end=on_end,
        )
        return self._take(parcel)

    @property
    def pending(self) -> int:
        """How many events wait or are being sent."""
        with self._lock:
            waiting = sum(line.pending for line in self._lines.values())
            return waiting + sum(map(len, self._strangers.values()))

    @property
    def counts(self) -> Counter[str]:
        """How many events were delivered and rejected so far."""
        with self._lock:
            lines = self._lines.values()
            return self._gone + Counter(
                delivered=sum(line.delivered for line in lines),
                rejected=sum(line.rejected for line in lines),
            )

    def works(self, address: Address) -> bool | None:
        """Whether the last request to a destination got through; None before the first one."""
        with self._lock:
            line = self._lines.get(address)
            if line is None or line.last_error is not None or line.gate.state is not State.OPEN:
                return False
            return None if line.last_success_s is None else True

    def states(self) -> list[dict[str, Any]]:
        """What is known about each destination, for people to read."""
        with self._lock:
            known = [
                {
                    "address": str(address),
                    "state": line.gate.state.value,
                    "pending": line.pending,
                    "last_error": line.last_error,
                    "last_success_s": line.last_success_s,
                }
                for address, line in self._lines.items()
            ]
            return known + [
                {
                    "address": str(address),
                    "state": "no key",
                    "pending": len(parcels),
                    "last_error": None,
                    "last_success_s": None,
                }
                for address, parcels in self._strangers.items()
            ]

    def flush(self, timeout_s: float) -> int:
        """Waits until nothing more can be delivered now; gives how many events are left.

        A closed gate is tried once more at once, and if it stays closed nobody waits for it.
        """
        ends_at_s = self._clock() + timeout_s
        with self._lock:
            hurried = {}
            for address, line in self._lines.items():
                line.gate.hurry(self._clock())
                line.hurry(self._clock())
                hurried[address] = line.gate.epoch
            self._tell()

            def is_through() -> bool:
                return self._stopping.is_set() or not any(
                    line.pending
                    and (line.gate.state is State.OPEN or line.gate.epoch == hurried.get(address))
                    and line.gate.floor_s < ends_at_s
                    for address, line in self._lines.items()
                )

            self._changed.wait_for(is_through, timeout_s)
        return self.pending

    def close(self, timeout_s: float) -> int:
        """Flushes, lets requests under way end or breaks them off; gives how many were left."""
        ends_at_s = self._clock() + timeout_s
        left = self.flush(timeout_s)
        with self._lock:
            self._stopping.set()
            self._work_there.notify_all()
            self._changed.notify_all()
        self._join(max(ends_at_s, self._clock() + GRACE_S))
        with self._lock:
            lines = list(self._lines.values())
        for line in lines:
            line.destination.close()
        self._join(self._clock() + GRACE_S)
        with self._lock:
            begun = [parcel for line in lines for parcel in line.begun()]
        for parcel in begun:
            self._shelf.note_progress(parcel)
        return left

    def _join(self, ends_at_s: float) -> None:
        for thread in self._threads:
            thread.join(max(0.0, ends_at_s - self._clock()))

    def _take(self, parcel: Parcel) -> Ticket:
        parcel.ticket = parcel.ticket or Ticket()
        with self._lock:
            self._start_threads()
            line = self._lines.get(parcel.address)
            if line is None:
                if parcel.entry is not None:
                    parcel.contents = None
                self._strangers.setdefault(parcel.address, []).append(parcel)
                return parcel.ticket
            if line.gate.state is not State.OPEN:
                parcel.is_backlog = True
                refused = line.gate.state is State.KEY_REFUSED
                parcel.ticket.settle(
                    Outcome(
                        Verdict.KEY_REFUSED if refused else Verdict.WAITING,
                        reason=line.last_error or "",
                        is_settled=refused or line.is_unreachable,
                    )
                )
            line.join(parcel)
            self._tell()
        return parcel.ticket

    def _start_threads(self) -> None:
        for number in range(len(self._threads), self._limits.threads):
            thread = threading.Thread(
                target=self._work, name=f"vision-event-courier-{number}", daemon=True
            )
            try:
                thread.start()
            except RuntimeError as error:  # no more threads in this process: the next event tries
                _logger.warning("a thread of the courier cannot be started: %s", error)
                return
            self._threads.append(thread)

    def _work(self) -> None:
        while True:
            task = self._next_errand()
            if task is None:
                return
            line, errand, epoch = task
            try:
                self._runner.run(line, errand, epoch)
            except Exception:  # a worker's outer wall: one odd event must not end the thread
                _logger.exception("an errand of the courier failed")
                with self._lock:
                    line.gate.cancelled(epoch)
                    self._tell()

    def _next_errand(self) -> tuple[Line, Errand, int] | None:
        with self._lock:
            while not self._stopping.is_set():
                now_s = self._clock()
                soonest_s = math.inf
                for address, line in self._lines.items():
                    found = line.next(now_s)
                    if isinstance(found, float):
                        soonest_s = min(soonest_s, found)
                    elif found is not None:
                        # The next search begins behind this line: no destination starves.
                        self._lines[address] = self._lines.pop(address)
                        epoch = line.gate.start(now_s)
                        self._work_there.notify()  # there may be more
                        return line, found, epoch
                self._sleep(soonest_s, now_s)
            return None

    def _sleep(self, soonest_s: float, now_s: float) -> None:
        """Until there may be work; one worker is enough to wait for a certain time."""
        if soonest_s >= self._wakes_at_s:
            self._work_there.wait()
            return
        self._wakes_at_s = soonest_s
        self._work_there.wait(max(0.0, soonest_s - now_s))
        if self._wakes_at_s == soonest_s:
            self._wakes_at_s = math.inf

    def _tell(self) -> None:
        """Something is new; the caller holds the lock."""
        self._work_there.notify()
        self._changed.notify_all()

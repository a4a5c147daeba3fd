"""The courier: a few threads that carry what lies in the outbox to where it belongs.

One errand is one request: a picture, or the events whose pictures are up. Which comes next is
decided by the line in front of each destination, and when by its gate. Trouble with the link or
the key closes the gate and is held against no event; only trouble with the event itself ends it.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from vision_event_block.delivery.errors import (
    EventTrouble,
    KeyTrouble,
    LinkTrouble,
    NoAnswer,
    Unreachable,
    VisionEventsError,
)
from vision_event_block.delivery.gate import Gate, State
from vision_event_block.delivery.line import Create, Errand, Line, Open, Upload
from vision_event_block.delivery.parcel import Outcome, Parcel, Ticket, Verdict
from vision_event_block.delivery.shelf import Shelf
from vision_event_block.delivery.tally import REJECTED, Tally
from vision_event_block.events.bundle import picture_members
from vision_event_block.logs import QuietLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from vision_event_block.delivery.destination import Destination
    from vision_event_block.delivery.replies import ApiWarning
    from vision_event_block.outbox.entry import Address, Contents
    from vision_event_block.outbox.outbox import Outbox
    from vision_event_block.outbox.slot import Entry

_logger = logging.getLogger(__name__)

FIRST_BACKOFF_S: Final = 1.0
#: On closing: how long a request under way may take to end by itself, and then its thread once
#: it is broken off.
GRACE_S: Final = 1.0


@dataclass(frozen=True)
class CourierLimits:
    """How many threads there are and how patient they are."""

    threads: int = 10
    max_backoff_s: float = 60.0
    key_retry_s: float = 300.0
    backlog_bytes_per_s: int = 0


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
        self._log = QuietLog(_logger)
        #: Guards everything below.
        self._lock = threading.RLock()
        #: One worker is woken when there may be something to do; it wakes the next one.
        self._work_there = threading.Condition(self._lock)
        #: For those who wait until everything is through.
        self._changed = threading.Condition(self._lock)
        #: When the first worker that sleeps until a certain time wakes.
        self._wakes_at_s = math.inf
        self._lines: dict[Address, Line] = {}
        #: Events for destinations that nobody here has the key of, or the address.
        self._strangers: dict[Address, list[Parcel]] = {}
        self._threads: list[threading.Thread] = []
        self._stopping = False
        self.counts: Counter[str] = Counter()
        #: For the metrics, until somebody takes it.
        self.tally = Tally()

    def register(self, destination: Destination) -> None:
        """Makes a destination known; events that waited for it may go."""
        with self._lock:
            if destination.address in self._lines:
                return
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
            self._lines[destination.address] = line
            for parcel in self._strangers.pop(destination.address, ()):
                line.join(parcel)
            self._tell()

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

    def submit(self, entry: Entry, contents: Contents | None = None) -> Ticket:
        """Takes a new event that lies in the outbox, with what it holds if that is at hand."""
        parcel = Parcel(
            entry.event_id,
            entry.notes.address,
            entry,
            contents=contents,
            ticket=Ticket(),
            is_urgent=entry.notes.is_urgent,
        )
        return self._take(parcel)

    def use(self, outbox: Outbox) -> None:
        """The outbox, if it could not be opened at first."""
        self._shelf.outbox = outbox

    def submit_unstored(
        self, event_id: str, contents: Contents, *, on_end: Callable[[], None]
    ) -> Ticket:
        """Takes a new event that could not be stored; it lives in memory until it is sent."""
        parcel = Parcel(
            event_id,
            contents.notes.address,
            contents=contents,
            ticket=Ticket(),
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
                return self._stopping or not any(
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
            self._stopping = True
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
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while True:
            task = self._next_errand()
            if task is None:
                return
            line, errand, epoch = task
            try:
                self._carry_out(line, errand, epoch)
            except Exception:  # a worker's outer wall: one odd event must not end the thread
                _logger.exception("an errand of the courier failed")
                with self._lock:
                    line.gate.cancelled(epoch)
                    self._tell()

    def _next_errand(self) -> tuple[Line, Errand, int] | None:
        with self._lock:
            while not self._stopping:
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

    def _carry_out(self, line: Line, errand: Errand, epoch: int) -> None:
        if isinstance(errand, Open):
            found = self._open(line, errand.parcel)
            if found is None:
                with self._lock:
                    line.gate.cancelled(epoch)
                    self._tell()
                return
            errand = found
        if isinstance(errand, Upload):
            self._upload(line, errand, epoch)
        elif isinstance(errand, Create):
            self._create(line, errand.parcels, epoch)

    def _open(self, line: Line, parcel: Parcel) -> Errand | None:
        """Reads the event; gives its first request, and puts the others in line."""
        if not self._shelf.fetch(parcel):
            with self._lock:
                line.leave(parcel)
                self._tell()
            return None
        contents = parcel.contents
        if contents is None:
            raise AssertionError("a parcel lies on disk or in memory")
        send = line.destination.upload
        uploads = [
            Upload(parcel, member, contents.pictures[member], send)
            for member in picture_members(contents.payload)
            if send is not None and member in contents.pictures and member not in parcel.source_ids
        ]
        parcel.error, parcel.uploads_left = None, len(uploads)
        if not uploads:
            self._forget_pictures(line, parcel)
        with self._lock:
            if uploads:
                line.add_uploads(uploads[1:])
                self._tell()
                return uploads[0]
            line.add_ready(parcel, self._clock())
            self._tell()
        return None

    def _upload(self, line: Line, upload: Upload, epoch: int) -> None:
        parcel = upload.parcel
        error: VisionEventsError | None = None
        started_s = self._clock()
        try:
            source_id = upload.send(upload.picture)
        except VisionEventsError as caught:
            error = caught.with_traceback(None)
        self.tally.add_request("upload", _outcome(error), self._clock() - started_s)
        with self._lock:
            if error is None:
                self._succeeded(line, epoch)
                parcel.source_ids[upload.member] = source_id
            else:
                parcel.note_error(error)
                self._tell_gate(line, epoch, error)
            parcel.uploads_left -= 1
            is_last = parcel.uploads_left == 0
            if is_last and parcel.error is None:
                self._forget_pictures(line, parcel)
                line.add_ready(parcel, self._clock())
            self._tell()
        if is_last and parcel.error is not None:
            self._failed(line, [parcel], parcel.error)
        elif self._stopping:  # nobody goes on with it here
            self._shelf.note_progress(parcel)

    def _create(self, line: Line, parcels: list[Parcel], epoch: int) -> None:
        warnings: Sequence[ApiWarning] = ()
        error: VisionEventsError | None = None
        started_s = self._clock()
        try:
            warnings = line.destination.send(
                [(p.contents, p.source_ids) for p in parcels if p.contents is not None]
            )
        except VisionEventsError as caught:
            error = caught.with_traceback(None)
        except (TypeError, ValueError) as caught:  # an odd event that cannot be written as JSON
            error = EventTrouble(f"it cannot be sent: {caught}", route="create")
        route = "create" if len(parcels) == 1 else "batch"
        self.tally.add_request(route, _outcome(error), self._clock() - started_s)
        if error is None:
            for parcel in parcels:
                self._shelf.take_off(parcel)
                parcel.end()
        with self._lock:
            line.creation_ended()
            if error is None:
                self._succeeded(line, epoch)
                for parcel in parcels:
                    line.leave(parcel)
                    line.delivered += 1
                    self.counts["delivered"] += 1
                    parcel.settle(Verdict.DELIVERED, warnings=warnings)
            else:
                self._tell_gate(line, epoch, error)
            self._tell()
        if error is not None:
            self._failed(line, parcels, error)
        for warning in warnings:
            self._log.say(
                logging.WARNING,
                ("warning", warning.type, warning.path),
                f"the API took an event with a warning: {warning}",
            )

    def _succeeded(self, line: Line, epoch: int) -> None:
        if line.gate.succeeded(epoch):
            _logger.info("%s is back", line.destination.address)
        line.last_success_s = time.time()
        line.last_error = None

    def _tell_gate(self, line: Line, epoch: int, error: VisionEventsError) -> None:
        now_s = self._clock()
        was_open = line.gate.state is State.OPEN
        if isinstance(error, LinkTrouble):
            line.gate.troubled(epoch, error, now_s)
        elif isinstance(error, KeyTrouble):
            line.gate.key_refused(epoch, now_s)
        else:
            line.gate.refused(epoch)
            return
        line.last_error = str(error)
        line.is_unreachable = isinstance(error, Unreachable)
        if was_open and line.gate.state is not State.OPEN:
            line.pile_up()

    def _failed(self, line: Line, parcels: list[Parcel], error: VisionEventsError) -> None:
        """What follows for events whose request failed."""
        if isinstance(error, EventTrouble):
            if len(parcels) > 1:
                with self._lock:
                    line.split(parcels)
                    self._tell()
            else:
                self._bury(line, parcels[0], error)
            return
        is_key = isinstance(error, KeyTrouble)
        self._log.say(
            logging.ERROR if is_key else logging.WARNING,
            ("key" if is_key else "link", error.status, type(error).__name__),
            f"{error}. Events wait and are sent again"
            + ("; mend the key or its scopes" if is_key else ""),
        )
        for parcel in parcels:
            with self._lock:
                is_to_blame = is_key and line.blames(parcel)
            if is_to_blame:
                self._bury(line, parcel, error)
            else:
                self._put_back(line, parcel, error)

    def _forget_pictures(self, line: Line, parcel: Parcel) -> None:
        """Pictures that are up, and on disk besides, need no memory."""
        if line.destination.upload is not None and parcel.entry is not None and parcel.contents:
            parcel.contents = replace(parcel.contents, pictures={})

    def _put_back(self, line: Line, parcel: Parcel, error: VisionEventsError) -> None:
        self._shelf.put_back(parcel)
        verdict = Verdict.KEY_REFUSED if isinstance(error, KeyTrouble) else Verdict.WAITING
        # Perhaps it was carried out; asking again under the same id settles it.
        asks_at_once = isinstance(error, NoAnswer) and parcel.stumbles == 0
        # First the verdict: once in line, another thread may have a newer one at any moment.
        if not asks_at_once:
            parcel.settle(verdict, error)
        with self._lock:
            if asks_at_once or line.gate.state is not State.OPEN:
                wait_s = 0.0  # a closed gate decides itself
            else:
                step_s = FIRST_BACKOFF_S * 2.0 ** min(parcel.stumbles, 10)
                wait_s = self._uniform(0.0, min(self._limits.max_backoff_s, step_s))
            parcel.stumbles += 1
            line.put_down(parcel)
            parcel.is_backlog |= line.gate.state is not State.OPEN
            if parcel.entry is not None:
                parcel.contents = None
            # After a refused key another event tries next: the refusal may be about this one.
            line.back(parcel, self._clock() + wait_s, is_first=verdict is Verdict.WAITING)
            self._tell()

    def _bury(self, line: Line, parcel: Parcel, error: VisionEventsError) -> None:
        self._log.say(
            logging.ERROR,
            ("rejected", error.status),
            f"event {parcel.event_id} was refused: {error}",
        )
        self._shelf.bury(parcel, error)
        self.tally.add(f"{REJECTED} {error.status or ''}".strip())
        parcel.end()
        parcel.settle(Verdict.REJECTED, error)
        with self._lock:
            self.counts["rejected"] += 1
            line.leave(parcel)
            self._tell()


def _outcome(error: VisionEventsError | None) -> str:
    """Whose trouble it was, in a word."""
    for word, kind in (("event", EventTrouble), ("key", KeyTrouble), ("link", LinkTrouble)):
        if isinstance(error, kind):
            return word
    return "ok"

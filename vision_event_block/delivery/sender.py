"""One bounded sender for the whole process: events wait in memory and go out on few threads.

Each event's pictures are uploaded at the same time, then the event is created. Trouble with the
link or the key is nobody's verdict on the event: it waits and is sent again, under the same id.
What cannot wait here because the sender is full is refused at once, never queued without bound.
"""

from __future__ import annotations

import atexit
import heapq
import itertools
import logging
import os
import random
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vision_event_block.delivery import encoder
from vision_event_block.delivery.errors import (
    EventTrouble,
    KeyTrouble,
    LinkTrouble,
    NoAnswer,
    VisionEventsError,
)
from vision_event_block.delivery.ticket import Outcome, Ticket, Upload, Verdict
from vision_event_block.events.pictures import Picture, Snapshot
from vision_event_block.logs import QuietLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from vision_event_block.delivery.client import CreateReply, VisionEventsClient
    from vision_event_block.events.event import VisionEvent

_logger = logging.getLogger(__name__)

FIRST_BACKOFF_S = 1.0


class SenderFull(Exception):  # noqa: N818 - a state, and nobody's error
    """No room for one more event; the message says which limit was reached."""


@dataclass(frozen=True)
class SenderLimits:
    """How much the sender takes and how patient it is."""

    threads: int = 8
    max_events: int = 1000
    max_bytes: int = 256 * 1024 * 1024
    max_backoff_s: float = 60.0
    key_retry_s: float = 300.0


class Sender:
    """Takes events and delivers them in the background. Threads start with the first event."""

    def __init__(
        self,
        limits: SenderLimits = SenderLimits(),
        *,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._uniform = uniform
        self._log = QuietLog(_logger)
        self._lock = threading.Lock()
        #: Guards everything below; notified when work comes in and when an event is done.
        self._changed = threading.Condition(self._lock)
        self._due: list[tuple[float, int, Ticket]] = []
        self._uploads: deque[Upload] = deque()
        self._pending: set[Ticket] = set()
        self._pending_bytes = 0
        self._threads: list[threading.Thread] = []
        self._stopping = False
        self._numbers = itertools.count()
        self.counts: Counter[str] = Counter()

    def submit(self, event: VisionEvent, client: VisionEventsClient) -> Ticket:
        """Takes the event; from here on it is the sender's to deliver.

        Raises:
            SenderFull: too much is waiting already.
        """
        ticket = Ticket(event, client)
        with self._changed:
            self._refuse_if_full(ticket)
            self._start_threads()
            self._pending.add(ticket)
            self._pending_bytes += ticket.size_bytes
            self.counts["accepted"] += 1
            raw = any(isinstance(picture, Snapshot) for picture in event.pictures)
            if not raw:
                self._schedule(ticket)
        if raw:
            encoder.run_soon(self._encode, ticket)
        return ticket

    @property
    def pending(self) -> int:
        """How many events wait or are being sent."""
        with self._lock:
            return len(self._pending)

    def flush(self, timeout_s: float) -> int:
        """Waits until nothing is pending; gives how many events are after that time.

        Events that only wait out a back-off are tried at once.
        """
        with self._changed:
            now = self._clock()
            for _, _, ticket in self._due:
                ticket.due_s = min(ticket.due_s, max(now, ticket.not_before_s))
            self._due = [(ticket.due_s, number, ticket) for _, number, ticket in self._due]
            heapq.heapify(self._due)
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._pending, timeout_s)
            return len(self._pending)

    def close(self, timeout_s: float) -> int:
        """Flushes, then stops the threads as they come free; gives how many events were left."""
        left = self.flush(timeout_s)
        with self._changed:
            self._stopping = True
            clients = {ticket.client for ticket in self._pending}
            self._changed.notify_all()
        for client in clients:
            client.close()
        return left

    def _refuse_if_full(self, ticket: Ticket) -> None:
        if self._stopping:
            raise SenderFull("the sender is closed")
        if len(self._pending) >= self._limits.max_events:
            raise SenderFull(
                f"{len(self._pending)} events wait to be sent, the limit "
                "(VISION_EVENT_MAX_PENDING_EVENTS)"
            )
        if self._pending_bytes + ticket.size_bytes > self._limits.max_bytes:
            raise SenderFull(
                f"{self._pending_bytes / 1e6:.0f} MB of pictures wait to be sent, the limit is "
                f"{self._limits.max_bytes / 1e6:.0f} MB (VISION_EVENT_MAX_PENDING_BYTES)"
            )

    def _start_threads(self) -> None:
        for number in range(len(self._threads), self._limits.threads):
            thread = threading.Thread(
                target=self._work, name=f"vision-event-sender-{number}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def _schedule(self, ticket: Ticket, due_s: float = 0.0) -> None:
        """Puts the ticket in line; the caller holds the lock."""
        ticket.due_s = due_s
        heapq.heappush(self._due, (due_s, next(self._numbers), ticket))
        self._changed.notify()

    def _encode(self, ticket: Ticket) -> None:
        """Encodes a copied event; then it weighs a tenth and may be sent."""
        known = len(ticket.event.adjustments)
        event = ticket.event.encoded(encoder.encode_in_turn)
        for adjustment in event.adjustments[known:]:
            self._log.say(logging.WARNING, adjustment.kind, f"event adjusted: {adjustment}")
        with self._changed:
            ticket.event = event
            self._pending_bytes += event.size_bytes - ticket.size_bytes
            ticket.size_bytes = event.size_bytes
            self._schedule(ticket)

    def _work(self) -> None:
        while True:
            task = self._next_task()
            if task is None:
                return
            if isinstance(task, Upload):
                task.run()
            else:
                self._attempt(task)

    def _next_task(self) -> Ticket | Upload | None:
        """The next thing to do, waiting for it; None when the sender stops."""
        with self._changed:
            while not self._stopping:
                if self._uploads:
                    return self._uploads.popleft()
                if self._due and self._due[0][0] <= self._clock():
                    return heapq.heappop(self._due)[2]
                wait_s = self._due[0][0] - self._clock() if self._due else None
                self._changed.wait(wait_s)
            return None

    def _attempt(self, ticket: Ticket) -> None:
        """One try at delivering, and what follows from it."""
        ticket.attempts += 1
        try:
            reply = self._deliver(ticket)
        except LinkTrouble as error:
            self._wait_out(ticket, error)
        except KeyTrouble as error:
            self._log.say(
                logging.ERROR,
                "key",
                f"{error}. Events of this key wait; mend the key or its scopes",
            )
            self._again(ticket, Outcome(Verdict.KEY_REFUSED, error=error), self._limits.key_retry_s)
        except EventTrouble as error:
            self._log.say(
                logging.ERROR,
                ("rejected", error.status),
                f"event {ticket.event.event_id} was refused and is lost: {error}",
            )
            self._finish(ticket, Outcome(Verdict.REJECTED, error=error))
        except Exception as error:  # a worker's outer wall: one odd event must not end the thread
            _logger.exception("event %s could not be sent and is lost", ticket.event.event_id)
            self._finish(ticket, Outcome(Verdict.REJECTED, error=error))
        else:
            self._report(ticket, reply)
            self._finish(ticket, Outcome(Verdict.DELIVERED, reply=reply))

    def _deliver(self, ticket: Ticket) -> CreateReply:
        uploads = [
            Upload(ticket, picture)
            for picture in ticket.event.pictures
            if isinstance(picture, Picture) and picture.picture_id not in ticket.source_ids
        ]
        if len(uploads) > 1:
            with self._changed:
                self._uploads.extend(uploads[1:])
                self._changed.notify(len(uploads) - 1)
        for upload in uploads:
            upload.run()  # those that no other thread has claimed yet
        for upload in uploads:
            upload.done.wait()  # bounded by the time-outs of the claimed request
        errors = [upload.error for upload in uploads if upload.error is not None]
        if errors:
            raise _weightiest(errors)
        return ticket.client.create(ticket.event.payload(ticket.source_ids))

    def _wait_out(self, ticket: Ticket, error: LinkTrouble) -> None:
        if isinstance(error, NoAnswer) and ticket.attempts == 1:
            # Perhaps it was carried out. Asking again under the same id settles it at once.
            self._again(ticket, None, 0.0)
            return
        self._log.say(
            logging.WARNING,
            ("link", type(error).__name__, error.status),
            f"{error}. The event is kept in memory and sent again",
        )
        backoff_s = min(self._limits.max_backoff_s, FIRST_BACKOFF_S * 2 ** min(ticket.attempts, 30))
        wait_s = max(self._uniform(0.0, backoff_s), error.retry_after_s or 0.0)
        ticket.not_before_s = self._clock() + (error.retry_after_s or 0.0)
        self._again(ticket, Outcome(Verdict.WAITING, error=error), wait_s)

    def _again(self, ticket: Ticket, outcome: Outcome | None, wait_s: float) -> None:
        # First the verdict: once in line, another thread may have a newer one at any moment.
        if outcome is not None:
            ticket.settle(outcome)
        with self._changed:
            self._schedule(ticket, self._clock() + wait_s)

    def _finish(self, ticket: Ticket, outcome: Outcome) -> None:
        ticket.settle(outcome)
        with self._changed:
            self._pending.discard(ticket)
            self._pending_bytes -= ticket.size_bytes
            self.counts[outcome.verdict.value] += 1
            self._changed.notify_all()

    def _report(self, ticket: Ticket, reply: CreateReply) -> None:
        for warning in reply.warnings:
            self._log.say(
                logging.WARNING,
                ("warning", warning.type, warning.path),
                f"the API took event {ticket.event.event_id} with a warning: {warning}",
            )
        if reply.deprecations:
            self._log.say(
                logging.WARNING, "deprecations", f"the API deprecates: {reply.deprecations}"
            )


def _weightiest(errors: list[Exception]) -> Exception:
    """The error that decides: what is wrong with the event before what is wrong with the way."""
    order = (EventTrouble, KeyTrouble, LinkTrouble, VisionEventsError)

    def weight(error: Exception) -> int:
        return next(
            (place for place, kind in enumerate(order) if isinstance(error, kind)), len(order)
        )

    return min(errors, key=weight)


_shared: Sender | None = None
_shared_lock = threading.Lock()


def shared(limits: SenderLimits, *, exit_timeout_s: float) -> Sender:
    """The sender of this process, made when first asked for; later limits change nothing."""
    global _shared  # noqa: PLW0603 - the process has one sender
    with _shared_lock:
        if _shared is None:
            _shared = Sender(limits)
            atexit.register(_close_at_exit, _shared, exit_timeout_s)
        return _shared


def _close_at_exit(sender: Sender, timeout_s: float) -> None:
    if sender is _shared:  # and not the parent's, in a forked child
        left = sender.close(timeout_s)
        if left:
            _logger.error("%d events were not delivered before the process ended", left)


def _forget() -> None:
    """A forked child starts with nothing pending: its parent sends what the parent took."""
    global _shared, _shared_lock
    _shared, _shared_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

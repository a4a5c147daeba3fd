"""What a process does with its events: store them, have them carried, keep the house.

There is one for the process. It begins with the first event and ends when the last block that
used it is closed, or with the process; what is stored then and not delivered waits in the outbox.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from vision_event_block.delivery import encoder, metrics
from vision_event_block.delivery.courier import Courier, CourierLimits
from vision_event_block.delivery.feedback import Feedback, StepFeedback
from vision_event_block.delivery.parcel import Verdict
from vision_event_block.delivery.tally import ACCEPTED
from vision_event_block.events.bundle import bundle_of
from vision_event_block.logs import QuietLog
from vision_event_block.outbox import clock
from vision_event_block.outbox.disk import OutboxUnusable
from vision_event_block.outbox.entry import Contents, Notes
from vision_event_block.outbox.journal import DELIVERED, DROPPED, UNSTORED
from vision_event_block.outbox.outbox import Outbox
from vision_event_block.outbox.quota import NoRoom, OutboxLimits
from vision_event_block.settings import outbox_max_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from pathlib import Path

    from vision_event_block.delivery.destination import Destination
    from vision_event_block.delivery.parcel import Outcome, Ticket
    from vision_event_block.events.bundle import Bundle
    from vision_event_block.events.event import VisionEvent
    from vision_event_block.outbox.entry import Address
    from vision_event_block.outbox.slot import Entry
    from vision_event_block.settings import Settings

_logger = logging.getLogger(__name__)

TICK_S: Final = 1.0
#: How often slots whose process is gone are looked for, and the house is kept.
ADOPT_EVERY_S: Final = 5.0
#: How long an unusable folder is left alone.
REOPEN_EVERY_S: Final = 5.0
#: How long the answer to the first event is waited for if that is in memory only.
FIRST_ANSWER_S: Final = 0.1
#: On closing: how long an event whose writing has begun may take to get to the disk.
LAST_WRITES_S: Final = 2.0
#: Under this name the journal counts events that were stored and then not taken after all.
WITHDRAWN: Final = "withdrawn"


class NotTaken(Exception):  # noqa: N818 - a state, and nobody's error
    """The event is neither stored nor kept; the message says why."""


@dataclass(frozen=True)
class DispatchLimits:
    """Where events lie and how much of everything there may be."""

    folder: Path
    outbox: OutboxLimits = field(default_factory=OutboxLimits)
    courier: CourierLimits = field(default_factory=CourierLimits)
    memory_bytes: int = 64 * 2**20

    @classmethod
    def of(cls, settings: Settings, folder: Path) -> DispatchLimits:
        """What the settings say, for an outbox in this folder."""
        return cls(
            folder=folder,
            outbox=OutboxLimits(
                max_bytes=outbox_max_bytes(folder),
                min_free_bytes=settings.outbox_min_free_bytes,
                max_events=settings.outbox_max_events,
                max_age_s=settings.outbox_max_age_days * 86_400,
            ),
            courier=CourierLimits.of(settings),
            memory_bytes=settings.max_pending_bytes,
        )


@dataclass(frozen=True)
class Receipt:
    """What became of an event that was handed over."""

    event: VisionEvent
    is_stored: bool
    #: None while the event is still being encoded.
    ticket: Ticket | None = None
    #: Why it is not stored, if it should be.
    trouble: str = ""
    #: It is in memory only, and nothing says that it will leave before the process ends.
    is_in_danger: bool = False
    #: What became of events of the same step before it.
    feedback: Feedback = field(default_factory=Feedback)


@dataclass(frozen=True)
class Remainder:
    """What was not delivered when somebody left, or the process ended."""

    #: All that was not delivered and may still be, lost events included.
    left: int = 0
    #: Of these, those that are in memory only.
    unstored: int = 0
    #: Whether the unstored are gone with the process.
    has_ended: bool = False
    #: Events that the API rejected for good.
    rejected: int = 0

    def __bool__(self) -> bool:
        return bool(self.left or self.rejected)

    def __str__(self) -> str:
        parts = []
        if self.left:
            when = "before the process ended" if self.has_ended else "yet"
            parts.append(f"{_events(self.left)} not delivered {when}")
            stored = self.left - self.unstored
            whose = "they" if stored == self.left else f"{stored} of them"
            if stored:
                parts.append(f"{whose} wait in the outbox (`vision-events status` shows them)")
            whose = "they" if not stored else f"{self.unstored} of them"
            if self.unstored and self.has_ended:
                parts.append(f"{whose} were not stored and are lost")
            elif self.unstored:
                parts.append(f"{whose} are in memory only and are lost if the process ends")
        if self.rejected:
            parts.append(
                f"{_events(self.rejected)} rejected by the API and became dead letters "
                "(`vision-events list --dead` says why)"
            )
        return "; ".join(parts)


def _events(number: int) -> str:
    return "1 event was" if number == 1 else f"{number} events were"


class Dispatch:
    """Takes events from blocks. Any thread may use it."""

    def __init__(self, limits: DispatchLimits) -> None:
        self._limits = limits
        self._log = QuietLog(_logger)
        self._outbox_lock = threading.Lock()
        self._outbox: Outbox | None = None
        self._outbox_trouble = ""
        self._opened_at_s = float("-inf")
        #: Guards what follows; notified when an event has left the memory.
        self._changed = threading.Condition()
        #: Events that are still being encoded and stored, each as an object of its own.
        self._under_way: set[object] = set()
        #: Of these, those whose writing to disk has begun.
        self._storing: set[object] = set()
        #: How many events the courier has that are not on disk.
        self._unstored = 0
        self._in_memory_bytes = 0
        self._is_closed = False
        self._stopping = threading.Event()
        self._open_outbox()
        self.feedback = StepFeedback()
        self.courier = Courier(self._outbox, limits.courier)
        self._keeper = threading.Thread(target=self._keep, name="vision-event-keeper", daemon=True)
        self._keeper.start()

    def record(
        self,
        event: VisionEvent,
        destination: Destination,
        *,
        waits: bool = True,
        step: Hashable = None,
    ) -> Receipt:
        """Stores an event and has it carried; without `waits` in the background, if there is room.

        Args:
            event: With its pictures, encoded or not.
            destination: Where it goes.
            waits: Whether it is to be stored before this returns.
            step: Whose event it is; the receipt says what became of those before it.

        Raises:
            NotTaken: it is neither stored nor kept.
        """
        self.courier.register(destination)
        notes = Notes(
            address=destination.address,
            taken=clock.moment(),
            is_urgent=event.event_data.get("severity") == "high",
        )
        step = (destination.address, step)
        feedback = self.feedback.say(step)
        if not waits and self._reserve(event.size_bytes):
            mark = object()
            with self._changed:
                if self._is_closed:
                    raise NotTaken("the process is ending")
                self._under_way.add(mark)
            encoder.run_soon(self._record_later, event, notes, mark, step)
            receipt = Receipt(event, is_stored=False)
        else:
            # Without room in memory the threads have their hands full: it goes faster alone.
            encode = encoder.encode_together if waits else encoder.encode_in_turn
            receipt = self._store(event.encoded(encode), notes, step)
        self.courier.tally.add(ACCEPTED)
        is_in_danger = bool(receipt.trouble) and self._is_in_danger(receipt, destination.address)
        return replace(receipt, feedback=feedback, is_in_danger=is_in_danger)

    def keep_bundle(
        self, entry_id: str, bundle: Bundle, destination: Destination, *, is_urgent: bool = False
    ) -> Entry:
        """Stores an event that is encoded already, for `carry` or `withdraw` to go on with.

        It is never kept in memory alone.

        Args:
            entry_id: What the outbox knows it by, as part of a file name; never used twice.
            bundle: What is stored.
            destination: Where it goes.
            is_urgent: It goes before others.

        Raises:
            NotTaken: it is not on disk.
        """
        self.courier.register(destination)
        notes = Notes(address=destination.address, taken=clock.moment(), is_urgent=is_urgent)
        return self._keep_on_disk(entry_id, bundle, notes)

    def carry(self, entry: Entry) -> Ticket:
        """Has a stored event carried."""
        self.courier.tally.add(ACCEPTED)
        return self.courier.submit(entry)

    def withdraw(self, entry: Entry) -> None:
        """Gives a stored event up that nobody was told of; raises OSError if it stays on disk."""
        if self._outbox is not None:
            self._outbox.drop(entry, WITHDRAWN)

    def flush(self, timeout_s: float) -> int:
        """Waits until nothing more can be delivered now; gives how many events are left."""
        ends_at_s = time.monotonic() + timeout_s
        under_way = self.empty_memory(timeout_s)
        return under_way + self.courier.flush(max(0.0, ends_at_s - time.monotonic()))

    def remainder(self, left: int, *, rejected_before: int = 0) -> Remainder:
        """What is to be said of so many events that were not delivered."""
        rejected = self.courier.counts["rejected"] - rejected_before
        return Remainder(left, min(left, self._unstored), rejected=rejected)

    def close(self, timeout_s: float) -> Remainder:
        """Ends everything; gives what was not delivered.

        Events that are in memory only are lost then, and counted.
        """
        ends_at_s = time.monotonic() + timeout_s
        self.empty_memory(max(timeout_s, 1.0))  # what is not stored yet would be lost
        with self._changed:
            self._is_closed = True
            given_up = len(self._under_way - self._storing)
            self._changed.wait_for(lambda: not self._storing, LAST_WRITES_S)
            still_storing = len(self._storing)
        left = self.courier.close(max(0.0, ends_at_s - time.monotonic()))
        lost = given_up + self._unstored
        self._count_unstored(f"{DROPPED} lost", lost)
        self._stopping.set()
        self._keeper.join(TICK_S)
        with self._outbox_lock:
            if self._outbox is not None:
                self._write_counts(self._outbox)
                self._write_status(self._outbox)
                self._outbox.close()
        return Remainder(
            left + given_up + still_storing,
            lost,
            has_ended=True,
            rejected=self.courier.counts["rejected"],
        )

    def empty_memory(self, timeout_s: float) -> int:
        """Waits until everything taken so far is stored; gives how many events are not yet."""
        with self._changed:
            before = set(self._under_way)
            self._changed.wait_for(lambda: self._under_way.isdisjoint(before), timeout_s)
            return len(self._under_way & before)

    def abandon(self) -> None:
        """Lets go of what a forked child inherited; everything stays its parent's."""
        if self._outbox is not None:
            self._outbox.abandon()

    @property
    def stores(self) -> bool:
        """Whether events are kept on disk."""
        return self._outbox is not None

    def _store(self, event: VisionEvent, notes: Notes, step: Hashable) -> Receipt:
        bundle = bundle_of(event)

        def hear(outcome: Outcome) -> None:
            self.feedback.hear(step, outcome)

        try:
            entry = self._keep_on_disk(event.event_id, bundle, notes)
        except NotTaken as refused:
            trouble = str(refused)
            if self._is_closed:
                raise
        else:
            held = None if entry.notes.shed else Contents(bundle.payload, bundle.pictures, notes)
            ticket = self.courier.submit(entry, held, on_outcome=hear)
            return Receipt(event, is_stored=True, ticket=ticket)
        self._log.say(
            logging.ERROR, "not stored", f"events cannot be stored: {trouble}. They go from memory"
        )
        size_bytes = sum(map(len, bundle.pictures.values()))
        if not self._reserve(size_bytes):
            raise NotTaken(f"the event cannot be stored ({trouble}), and the memory is full")
        with self._changed:
            self._unstored += 1
        ticket = self.courier.submit_unstored(
            event.event_id,
            Contents(bundle.payload, bundle.pictures, notes),
            on_end=lambda verdict: self._unstored_ended(verdict, size_bytes),
            on_outcome=hear,
        )
        return Receipt(event, is_stored=False, ticket=ticket, trouble=trouble)

    def _is_in_danger(self, receipt: Receipt, address: Address) -> bool:
        """Whether an event that is in memory only may well be lost with the process.

        Before the first answer of a destination nobody knows, so that is waited for a moment.
        """
        works = self.courier.works(address)
        if works is None and receipt.ticket is not None:
            outcome = receipt.ticket.wait(FIRST_ANSWER_S)
            return outcome is None or outcome.verdict is not Verdict.DELIVERED
        return not works

    def _unstored_ended(self, verdict: Verdict, size_bytes: int) -> None:
        is_delivered = verdict is Verdict.DELIVERED
        # A rejected event that is not on disk cannot become a dead letter.
        self._count_unstored(DELIVERED if is_delivered else f"{DROPPED} rejected", 1)
        with self._changed:
            self._unstored -= 1
        self._release(size_bytes)

    def _count_unstored(self, name: str, number: int) -> None:
        """Counts events that were never on disk, so that every accepted one is in the sum."""
        self.courier.tally.add(UNSTORED, number)
        self.courier.tally.add(name, number)

    def _keep_on_disk(self, entry_id: str, bundle: Bundle, notes: Notes) -> Entry:
        """The event in the outbox; raises NotTaken if that does not take it."""
        outbox = self._open_outbox()
        if outbox is None:
            raise NotTaken(self._outbox_trouble)
        try:
            return outbox.store(entry_id, bundle.payload, bundle.pictures, notes)
        except OSError as error:
            raise NotTaken(error.strerror or str(error)) from None
        except NoRoom as full:
            raise NotTaken(str(full)) from None

    def _record_later(self, event: VisionEvent, notes: Notes, mark: object, step: Hashable) -> None:
        known = len(event.adjustments)
        try:
            encoded = event.encoded(encoder.encode_in_turn)
            with self._changed:
                is_too_late = self._is_closed  # `close` has counted it
                if not is_too_late:
                    self._storing.add(mark)
            if is_too_late:
                self._log.say(
                    logging.ERROR,
                    "lost",
                    f"event {event.event_id} is lost: the process ended before it was stored",
                )
                return
            receipt = self._store(encoded, notes, step)
            if receipt.trouble and self.courier.works(notes.address) is False:
                self.feedback.hear_not_stored(step, receipt.trouble)
            for adjustment in receipt.event.adjustments[known:]:
                self._log.say(logging.WARNING, adjustment.kind, f"event adjusted: {adjustment}")
        except Exception as error:  # noqa: BLE001 - nobody else would tell of it
            self._lose(event, error, step)
        finally:
            with self._changed:
                self._under_way.discard(mark)
                self._storing.discard(mark)
            self._release(event.size_bytes)

    def _lose(self, event: VisionEvent, error: Exception, step: Hashable) -> None:
        """Counts an event that was accepted and could not be kept, and says so."""
        self._count_unstored(f"{DROPPED} lost", 1)
        if isinstance(error, NotTaken):
            reason = str(error)
        else:
            reason = type(error).__name__
            _logger.error("event %s cannot be kept", event.event_id, exc_info=error)
        self.feedback.hear_not_stored(step, f"an event is lost: {reason}")
        self._log.say(logging.ERROR, "lost", f"event {event.event_id} is lost: {reason}")

    def _reserve(self, size_bytes: int) -> bool:
        with self._changed:
            taken = self._in_memory_bytes
            if taken and taken + size_bytes > self._limits.memory_bytes:
                return False
            self._in_memory_bytes += size_bytes
            return True

    def _release(self, size_bytes: int) -> None:
        with self._changed:
            self._in_memory_bytes -= size_bytes
            self._changed.notify_all()

    def _open_outbox(self) -> Outbox | None:
        """The outbox; a folder that could not be used is tried again now and then."""
        if self._outbox is not None:
            return self._outbox
        with self._outbox_lock:
            now_s = time.monotonic()
            if self._outbox is None and now_s - self._opened_at_s >= REOPEN_EVERY_S:
                self._opened_at_s = now_s
                try:
                    self._outbox = Outbox(self._limits.folder, self._limits.outbox)
                except OutboxUnusable as error:
                    self._outbox_trouble = str(error)
                else:
                    metrics.expose(self._limits.folder)
                    if hasattr(self, "courier"):
                        self.courier.use(self._outbox)
        return self._outbox

    def _keep(self) -> None:
        adopted_at_s = float("-inf")
        while True:
            try:
                outbox = self._open_outbox()
                if outbox is not None:
                    outbox.hand_over()
                    if time.monotonic() - adopted_at_s >= ADOPT_EVERY_S:
                        adopted_at_s = time.monotonic()
                        self.courier.take(outbox.adoptions())
                        outbox.keep_house()
                    else:
                        outbox.make_room()
                    self._write_counts(outbox)
                    self._write_status(outbox)
            except Exception as error:  # noqa: BLE001 - the keeper lives as long as the process
                self._log.say(
                    logging.WARNING, "keeper", f"the outbox cannot be tended now: {error}"
                )
            if self._stopping.wait(TICK_S):
                return

    def _write_counts(self, outbox: Outbox) -> None:
        for name, number in self.courier.tally.take().items():
            outbox.journal.count(name, number)

    def _write_status(self, outbox: Outbox) -> None:
        try:
            outbox.write_status({"pid": os.getpid(), "destinations": self.courier.states()})
        except OSError as error:
            _logger.debug("the status cannot be written: %s", error)


_shared: Dispatch | None = None
#: By identity, with how many events had been rejected when they came.
_users: dict[int, int] = {}
_shared_lock = threading.Lock()
#: How many rejected events a block that left has told of.
_rejected_told = 0


def shared(
    limits: Callable[[], DispatchLimits], user: object, *, exit_timeout_s: float
) -> Dispatch:
    """The dispatch of this process, made when first asked for; later limits are not asked for.

    It is kept until everybody who asked for it has left.
    """
    global _shared  # noqa: PLW0603 - the process has one
    with _shared_lock:
        if _shared is None:
            _shared = Dispatch(limits())
            atexit.register(_close_at_exit, _shared, exit_timeout_s)
        if id(user) not in _users:
            _users[id(user)] = _shared.courier.counts["rejected"]
        return _shared


def leave(user: object, timeout_s: float) -> Remainder:
    """A block ends: events get a moment, and if none are left the last block ends the dispatch.

    If some are left, the dispatch goes on: the process may live for long yet.
    """
    global _shared, _rejected_told  # noqa: PLW0603 - see above
    with _shared_lock:
        rejected_before = _users.pop(id(user), 0)
        dispatch = _shared
    if dispatch is None:
        return Remainder()
    found = dispatch.remainder(dispatch.flush(timeout_s), rejected_before=rejected_before)
    with _shared_lock:
        _rejected_told = rejected_before + found.rejected
        if found.left or _users or _shared is not dispatch:
            return found
        _shared, _rejected_told = None, 0
        atexit.unregister(_close_at_exit)
    ended = dispatch.close(timeout_s)
    return replace(ended, rejected=ended.rejected - rejected_before)


def empty_memory(timeout_s: float) -> None:
    """Waits until everything that this process took is on disk."""
    dispatch = _shared
    if dispatch is not None:
        dispatch.empty_memory(timeout_s)


def _close_at_exit(dispatch: Dispatch, timeout_s: float) -> None:
    if dispatch is _shared:  # and not the parent's, in a forked child
        found = dispatch.close(timeout_s)
        found = replace(found, rejected=found.rejected - _rejected_told)
        if found:
            _logger.warning("%s", found)


def _forget() -> None:
    """A forked child makes its own: its parent sends what the parent took."""
    global _shared, _shared_lock, _rejected_told
    if _shared is not None:
        _shared.abandon()
    _shared, _shared_lock, _rejected_told = None, threading.Lock(), 0
    _users.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

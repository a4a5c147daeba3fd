"""What a process does with its events: store them, have them delivered, tend the outbox.

There is one per process. It begins with the first event and ends when the last block that used it
is closed, or with the process; events that are stored and not delivered by then wait in the outbox.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vision_event_block.delivery import encoder, metrics
from vision_event_block.delivery.background import Background, PendingRecord
from vision_event_block.delivery.counters import ACCEPTED
from vision_event_block.delivery.courier import Courier
from vision_event_block.delivery.courier_limits import DispatchLimits
from vision_event_block.delivery.feedback import StepFeedback
from vision_event_block.delivery.holding import Holding
from vision_event_block.delivery.housekeeping import TICK_S, Housekeeping
from vision_event_block.delivery.queued_event import DeliveryHandle, Verdict
from vision_event_block.delivery.records import NotTaken, RecordResult, Remainder
from vision_event_block.delivery.upkeep import Upkeep
from vision_event_block.delivery.versions import Turns
from vision_event_block.events.bundle import Bundle, bundle_of
from vision_event_block.logs import QuietLog
from vision_event_block.outbox import clock
from vision_event_block.outbox.disk import OutboxUnusable
from vision_event_block.outbox.entry import DeliveryMetadata, EntryContents
from vision_event_block.outbox.journal import DELIVERED, DROPPED, SUPERSEDED, UNSTORED, VERSIONS
from vision_event_block.outbox.outbox import Outbox
from vision_event_block.outbox.quota import NoRoom

if TYPE_CHECKING:
    from collections.abc import Hashable

    from vision_event_block.delivery.destinations import Destination
    from vision_event_block.delivery.queued_event import QueuedEvent
    from vision_event_block.events.event import VisionEvent
    from vision_event_block.outbox.entry import Address
    from vision_event_block.outbox.slot import Entry

__all__ = ["Dispatch", "DispatchLimits"]

_logger = logging.getLogger(__name__)

#: How long an unusable folder is left alone.
REOPEN_EVERY_S: Final = 5.0
#: How long the answer to the first event is waited for if the event is in memory only.
FIRST_ANSWER_S: Final = 0.1
#: The journal's name for events that were stored and then not taken after all.
WITHDRAWN: Final = "withdrawn"


class Dispatch:
    """Takes events from blocks. Any thread may use it."""

    def __init__(self, limits: DispatchLimits) -> None:
        self._limits = limits
        self._log = QuietLog(_logger)
        self._outbox_lock = threading.Lock()
        self._why_unusable = ""
        self._opened_at_s = float("-inf")
        self.feedback = StepFeedback()
        self._turns = Turns()
        self.courier = Courier(None, limits.courier)
        self._upkeep = Upkeep(self.courier)
        self._lost = 0
        self._background = Background(
            self._record_later,
            self._lose,
            lambda: self.courier.outbox,
            max_bytes=limits.memory_bytes,
        )
        self._holding = Holding(
            self.courier,
            self._background,
            lambda event_id, contents: self._keep_on_disk(
                event_id, Bundle(contents.payload, contents.pictures), contents.metadata
            ),
            self._turns,
            hold_s=limits.hold_s,
        )
        self._housekeeping = Housekeeping(
            {
                "opening it": self._open_outbox,
                "showing it": lambda: metrics.expose(limits.folder) if self.stores else None,
                "handing events over": self._upkeep.hand_over,
                "retrying on request": self._upkeep.retry,
                "adopting events": self._upkeep.adopt,
                "housekeeping": self._upkeep.do_housekeeping,
                "comparing queues and outbox": self._upkeep.compare,
                "storing events again": self._background.retry,
                "storing what is held in memory": self._holding.store_late,
                "replacing threads": self.courier.replace_dead_threads,
                "counting": self._upkeep.write_counts,
                "writing its status": lambda: self._upkeep.write_status(at_once=False),
            },
            self.courier.counters,
        )
        self.courier.on_job(self._housekeeping.ensure_running)
        try:
            self._open_outbox()
            self._housekeeping.ensure_running()
        except BaseException:
            self.abandon()
            raise

    def record(
        self,
        event: VisionEvent,
        destination: Destination,
        *,
        waits: bool = True,
        step: Hashable = None,
    ) -> RecordResult:
        """Stores an event and delivers it; without `waits` in the background, if there is space.

        Args:
            event: With its pictures, encoded or not. Pixels are copied unless it `waits`. A newer
                version of one that was recorded replaces it.
            destination: Where it goes.
            waits: Whether it is to be stored before this returns.
            step: The step of the event; the result says what became of the step's earlier events.

        Raises:
            NotTaken: it is neither stored nor kept.
        """
        self._housekeeping.ensure_running()
        self.courier.register(destination)
        metadata = DeliveryMetadata(
            address=destination.address,
            taken=self._turns.taken_when(event),
            is_urgent=event.event_data.get("severity") == "high",
            version=event.version,
            is_update=event.version > 0,
        )
        step = (destination.address, step)
        feedback = self.feedback.say(step)
        result = RecordResult(event, is_stored=False, feedback=feedback)
        if waits or not self._background.record(PendingRecord(event, metadata, step)):
            # With memory full the threads are busy: the event gets stored faster without them.
            encode = encoder.encode_together if waits else encoder.encode_in_turn
            encoded = event.encoded(encode)
            with self._turns.of(event.event_id):
                result = self._store(encoded, metadata, step, may_hold=not waits)
        try:  # it is taken: whatever fails from here on must not say otherwise
            # A newer version belongs to an event that was accepted, and is counted separately.
            self.courier.counters.add(VERSIONS if event.version else ACCEPTED)
            is_in_danger = bool(result.problem) and self._is_in_danger(result, metadata.address)
            return replace(result, feedback=feedback, is_in_danger=is_in_danger)
        except MemoryError:
            return result

    def keep_bundle(
        self, entry_id: str, bundle: Bundle, destination: Destination, *, is_urgent: bool = False
    ) -> Entry:
        """Stores an event that is already encoded; `carry` or `withdraw` continues with it.

        It is never kept in memory alone.

        Args:
            entry_id: The outbox's name for it, as part of a file name; never used twice.
            bundle: What is stored.
            destination: Where it goes.
            is_urgent: Whether it goes before others.

        Raises:
            NotTaken: it is not on disk.
        """
        self._housekeeping.ensure_running()
        self.courier.register(destination)
        metadata = DeliveryMetadata(destination.address, clock.reading(), is_urgent)
        return self._keep_on_disk(entry_id, bundle, metadata)

    def carry(self, entry: Entry) -> DeliveryHandle | None:
        """Has a stored event delivered, later if not now: nothing is raised."""
        try:
            self.courier.counters.add(ACCEPTED)
            return self._submit(entry)
        except MemoryError:
            return None

    def withdraw(self, entry: Entry) -> None:
        """Drops a stored event that was never confirmed; raises OSError if it stays on disk."""
        if self.courier.outbox is not None:
            self.courier.outbox.drop(entry, WITHDRAWN)

    def flush(self, timeout_s: float) -> int:
        """Waits until nothing more can be delivered now; returns how many events are left."""
        ends_at_s = time.monotonic() + timeout_s
        under_way = self._background.empty(timeout_s)
        left = self.courier.flush(max(0.0, ends_at_s - time.monotonic()))
        self._holding.store_all()
        return under_way + left

    def remainder(self, left: int = 0) -> Remainder:
        """What became of this process's events, given how many are not delivered."""
        delivered, rejected = map(self.courier.queues.counts.__getitem__, ("delivered", "rejected"))
        unstored = min(left, self.courier.queues.unstored)
        return Remainder(left, unstored, delivered=delivered, rejected=rejected, lost=self._lost)

    def close(self, timeout_s: float, *, is_last_chance: bool = False) -> Remainder:
        """Ends everything; returns what was not delivered.

        Events that are in memory only are then lost, and counted. With `is_last_chance` it waits
        for them as long as one after the other reaches the disk.
        """
        ends_at_s = time.monotonic() + timeout_s
        pause_s = max(timeout_s, 1.0)
        self._background.retry()
        left = self.empty_memory(pause_s)
        while is_last_chance and left > (left := self.empty_memory(pause_s)):
            continue
        given_up, still_storing, updates = self._background.close()
        left = self.courier.close(max(0.0, ends_at_s - time.monotonic()))
        self._holding.store_all()
        queues = self.courier.queues
        lost = given_up + queues.unstored
        self._count_unstored(f"{DROPPED} lost", lost - updates - queues.unstored_updates)
        self._housekeeping.stop(TICK_S)
        with self._outbox_lock:
            if self.courier.outbox is not None:
                self._upkeep.write_counts()
                self._upkeep.write_status()
                self.courier.outbox.close()
        left += given_up + still_storing
        return replace(self.remainder(left), unstored=lost, has_ended=True)

    def empty_memory(self, timeout_s: float) -> int:
        """Stores everything taken so far; returns how many events are not stored after the time."""
        left = self._background.empty(timeout_s)
        self._holding.store_all()
        return left

    def abandon(self) -> None:
        """Releases what a forked child inherited; everything stays its parent's."""
        if self.courier.outbox is not None:
            self.courier.outbox.abandon()

    @property
    def has_adopted(self) -> bool:
        return self._upkeep.has_adopted

    @property
    def stores(self) -> bool:
        return self.courier.outbox is not None

    def _store(
        self,
        event: VisionEvent,
        metadata: DeliveryMetadata,
        step: Hashable,
        *,
        may_hold: bool = False,
    ) -> RecordResult:
        handle = DeliveryHandle(lambda outcome: self.feedback.hear(step, outcome))
        if self.courier.is_outdated(event.event_id, metadata, handle):  # encoded too late
            number = 0 if metadata.is_update else 1
            self.courier.counters.add_all({SUPERSEDED: 1, UNSTORED: number, DELIVERED: number})
            return RecordResult(event, is_stored=True, handle=handle)
        with self.courier.succession(event.event_id, metadata) as counted:
            return self._store_next(event, counted, handle, may_hold=may_hold)

    def _store_next(
        self,
        event: VisionEvent,
        metadata: DeliveryMetadata,
        handle: DeliveryHandle,
        *,
        may_hold: bool,
    ) -> RecordResult:
        bundle = bundle_of(event)
        contents = EntryContents(bundle.payload, bundle.pictures, metadata)
        result = RecordResult(event, is_stored=True, handle=handle)
        if may_hold and self._holding.take(event, contents, handle):
            return replace(result, is_stored=False)
        try:
            # One line: once it is stored, no step that may fail is left.
            self._submit(self._keep_on_disk(event.event_id, bundle, metadata), contents, handle)
        except NotTaken as refused:
            problem = str(refused)
            if self._background.is_closed:
                raise
        else:
            return result
        self._log.say(
            logging.ERROR,
            "not stored",
            f"could not write to the outbox: {problem}. Events are sent from memory",
        )
        size_bytes = sum(map(len, bundle.pictures.values()))
        result = replace(result, is_stored=False, problem=problem, is_in_danger=True)
        if not self._background.reserve(size_bytes):
            why = f"could not write to the outbox ({problem}), and the memory limit is reached"
            raise NotTaken(why)
        try:
            self.courier.submit_unstored(
                event.event_id,
                contents,
                on_end=lambda queued, verdict: self._unstored_ended(queued, verdict, size_bytes),
                handle=handle,
            )
        except BaseException:
            self._background.release(size_bytes)
            raise
        return result

    def _submit(
        self,
        entry: Entry,
        contents: EntryContents | None = None,
        handle: DeliveryHandle | None = None,
    ) -> DeliveryHandle | None:
        """Has a stored event delivered, later if not now: it is on disk, so nothing is raised."""
        try:
            return self.courier.submit(entry, None if entry.metadata.shed else contents, handle)
        except Exception:
            _logger.exception(
                "internal error after storing event %s; it will be delivered later", entry.event_id
            )
            return None

    def _is_in_danger(self, result: RecordResult, address: Address) -> bool:
        """Whether an event that is in memory only may well be lost with the process.

        Before a destination's first answer that is unknown, so the answer is waited for briefly.
        """
        works = self.courier.queues.works(address)
        if works is None and result.handle is not None:
            outcome = result.handle.wait(FIRST_ANSWER_S)
            return outcome is None or outcome.verdict is not Verdict.DELIVERED
        return not works

    def _unstored_ended(self, queued: QueuedEvent, verdict: Verdict, size_bytes: int) -> None:
        self._background.release(size_bytes)
        # A rejected event that is not on disk cannot become a dead letter.
        name = f"{DROPPED} rejected" if verdict is Verdict.REJECTED else DELIVERED
        self._count_unstored(name, 0 if queued.is_update else 1)

    def _count_unstored(self, name: str, number: int) -> None:
        """Counts events that were never on disk, so that every accepted event is in the sum."""
        self.courier.counters.add_all({UNSTORED: number, name: number})

    def _keep_on_disk(self, entry_id: str, bundle: Bundle, metadata: DeliveryMetadata) -> Entry:
        """The event in the outbox; raises NotTaken if that does not take it."""
        outbox = self._open_outbox()
        if outbox is None:
            raise NotTaken(self._why_unusable)
        try:
            return outbox.store(entry_id, bundle.payload, bundle.pictures, metadata)
        except OSError as error:
            raise NotTaken(error.strerror or str(error)) from None
        except NoRoom as full:
            raise NotTaken(str(full)) from None

    def _record_later(self, recording: PendingRecord, encoded: VisionEvent) -> bool:
        """Stores an event from the background, and logs what had to be changed in it."""
        # The frame is freed within the turn: a newer version must not be sent while it exists.
        with self._turns.of(encoded.event_id):
            result = self._store(encoded, recording.metadata, recording.step, may_hold=True)
            with suppress(MemoryError):  # it is stored, and must not be stored again
                if recording.kept is not None:
                    recording.kept.release()
        try:
            if result.problem and self.courier.queues.works(recording.metadata.address) is False:
                self.feedback.hear_not_stored(recording.step, result.problem)
            for adjustment in encoded.adjustments[len(recording.event.adjustments) :]:
                self._log.say(logging.WARNING, adjustment.kind, f"event adjusted: {adjustment}")
        except Exception:  # it is stored, and a failed log line must not store it again
            _logger.exception("internal error while logging the adjustments of an event")
        return True

    def _lose(self, recording: PendingRecord, reason: str) -> bool:
        """Reports that an event was accepted and could not be kept, and counts it."""
        self.feedback.hear_not_stored(recording.step, f"an event is lost: {reason}")
        event_id = recording.event.event_id
        self._log.say(logging.ERROR, "lost", f"event {event_id} is lost: {reason}")
        self._lost += not recording.metadata.is_update
        self._count_unstored(f"{DROPPED} lost", 0 if recording.metadata.is_update else 1)
        return True

    def _open_outbox(self) -> Outbox | None:
        """The outbox; a folder that could not be used is tried again periodically."""
        if self.courier.outbox is not None:
            return self.courier.outbox
        with self._outbox_lock:
            now_s = time.monotonic()
            if self.courier.outbox is None and now_s - self._opened_at_s >= REOPEN_EVERY_S:
                self._opened_at_s = now_s
                try:
                    self.courier.outbox = Outbox(self._limits.folder, self._limits.outbox)
                except OutboxUnusable as error:
                    self._why_unusable = str(error)
        return self.courier.outbox

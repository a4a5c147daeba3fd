"""Events that wait in memory until another thread has encoded and stored them.

The memory is the outbox's spool, where a killed process leaves them for the next one. Without a
spool, on unsuitable file systems or without free space, it is private memory.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vision_event_block.delivery import encoder
from vision_event_block.delivery.records import NotTaken
from vision_event_block.events.buffers import Buffers
from vision_event_block.logs import QuietLog
from vision_event_block.outbox.spool import NoSpool

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from concurrent.futures import Future

    from vision_event_block.events.event import VisionEvent
    from vision_event_block.outbox.entry import DeliveryMetadata
    from vision_event_block.outbox.outbox import Outbox
    from vision_event_block.outbox.spool import Kept

_logger = logging.getLogger(__name__)

#: How many times encoding and storing an event is attempted, once per housekeeping tick.
RECORD_TRIES: Final = 3
#: The share of the memory for events that are not encoded. The rest is for encoded events that are
#: being sent: twenty times as many fit, and none of them has to be written to disk first.
PIXELS_SHARE: Final = 3 / 4
#: On closing: how long an event that is being written may take to reach the disk.
LAST_WRITES_S: Final = 2.0


@dataclass(eq=False)
class PendingRecord:
    """An event that is still to be encoded and stored."""

    event: VisionEvent
    metadata: DeliveryMetadata
    step: Hashable
    tries: int = 0
    #: The work of encoding and storing it; if it is done and the event is not over, it has failed.
    work: Future[None] | None = None
    #: Stored, or dropped.
    is_over: bool = False
    #: Where it survives the end of this process.
    kept: Kept[VisionEvent] | None = None


class Background:
    """Events in memory, up to a number of bytes. Any thread may use it."""

    def __init__(
        self,
        store: Callable[[PendingRecord, VisionEvent], bool],
        lose: Callable[[PendingRecord, str], bool],
        outbox: Callable[[], Outbox | None],
        *,
        max_bytes: int,
    ) -> None:
        """Starts nothing yet.

        Args:
            store: Called with the event once it is encoded, and returns True; called again
                if it raises.
            lose: Called with an event that is lost, and why; returns True.
            outbox: Returns the outbox whose spool keeps the events, once it can be used.
            max_bytes: How much events may take; a single one may take more.
        """
        self._store = store
        self._lose = lose
        self._outbox = outbox
        self._buffers = Buffers()
        self._max_bytes = max_bytes
        self._log = QuietLog(_logger)
        #: Guards the fields below; notified when an event has left the memory.
        self._changed = threading.Condition()
        self._taken_bytes = 0
        #: The events, with how much memory each takes.
        self._waiting: dict[PendingRecord, int] = {}
        #: Those of them that are being written to disk.
        self._storing: set[PendingRecord] = set()
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    def reserve(self, size_bytes: int) -> bool:
        """Whether this much fits; if so, it counts until it is released."""
        with self._changed:
            if not self._has_room(size_bytes):
                return False
            self._taken_bytes += size_bytes
            return True

    def release(self, size_bytes: int) -> None:
        with self._changed:
            self._taken_bytes -= size_bytes
            self._changed.notify_all()

    def record(self, recording: PendingRecord) -> bool:
        """Has an event copied, then recorded by another thread; False if it does not fit.

        Raises:
            NotTaken: it is too late for that. Whatever is raised, the event is not taken.
        """
        size_bytes = recording.event.size_bytes
        with self._changed:
            if self._is_closed:
                raise NotTaken("the process is ending")
            if not self._has_room(size_bytes) or not self._has_room_for_pixels(size_bytes):
                return False
            taken_bytes = self._taken_bytes + size_bytes
            self._waiting[recording], self._taken_bytes = size_bytes, taken_bytes
        try:
            self._copy(recording)
            recording.work = encoder.run_soon(self._record, recording)
        except BaseException:
            self._forget(recording)
            raise
        return True

    def retry(self) -> None:
        with self._changed:
            ended = [it for it in self._waiting if it.work is not None and it.work.done()]
        for recording in ended:
            if recording.is_over:
                recording.work = None  # its exception holds the event, and so its memory
                self._forget(recording)
            else:
                recording.work = encoder.run_soon(self._record, recording)

    def empty(self, timeout_s: float) -> int:
        """Waits until everything taken so far is stored; returns how many events are not yet."""
        with self._changed:
            before = set(self._waiting)
            self._changed.wait_for(lambda: self._waiting.keys().isdisjoint(before), timeout_s)
            return len(self._waiting.keys() & before)

    def close(self) -> tuple[int, int, int]:
        """Stops storing; returns how many events are lost by that and how many are left.

        And how many of the lost ones are only newer versions of others.

        Left are those in the spool, for the next process, and those still being written when
        the wait here is over.
        """
        with self._changed:
            self._is_closed = True
            ended = [it for it in self._waiting.keys() - self._storing if not it.is_over]
            lost = [it for it in ended if it.kept is None]
            self._changed.wait_for(lambda: not self._storing, LAST_WRITES_S)
            updates = sum(it.metadata.is_update for it in lost)
            return len(lost), len(ended) - len(lost) + len(self._storing), updates

    def _copy(self, recording: PendingRecord) -> None:
        """Makes the event's pixels its own: other steps may draw on the host's at any time."""
        # A process that only sends stored events needs no image library.
        from vision_event_block.events.frames import Frame  # noqa: PLC0415

        outbox = self._outbox()
        if outbox is not None:
            try:
                recording.kept = outbox.keep_in_memory(
                    Frame.of(recording.event, recording.metadata.to_json())
                )
            except (NoSpool, OSError) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                words = f"events in memory are lost if this process is killed: {reason}"
                self._log.say(logging.WARNING, "no spool", words)
            else:
                recording.event = recording.kept.copy
                return
        recording.event = recording.event.with_pixels(
            {it.picture_id: self._buffers.copy(it.pixels) for it in recording.event.snapshots}
        )

    def _record(self, recording: PendingRecord) -> None:
        """Encodes and stores an event; if that fails, it is retried later."""
        try:
            encoded = recording.event.encoded(encoder.encode_in_turn)
            with self._changed:
                is_too_late = self._is_closed  # `close` has counted it
                if not is_too_late:
                    self._storing.add(recording)
            if is_too_late:
                if recording.kept is None:
                    event_id = recording.event.event_id
                    words = f"event {event_id} is lost: the process ended before it was stored"
                    self._log.say(logging.ERROR, "lost", words)
                recording.kept = None  # the next process stores it
            else:
                recording.is_over = self._store(recording, encoded)
        except Exception as error:  # noqa: BLE001 - nobody else would tell of it
            if self._put_off(recording, error):
                return
            if self._is_closed and recording.kept is not None:
                recording.kept = None  # the next process stores it
                self._forget(recording)
                return
            is_known = isinstance(error, NotTaken)
            reason = str(error) if is_known else type(error).__name__
            recording.is_over = self._lose(recording, reason)
        self._forget(recording)

    def _forget(self, recording: PendingRecord) -> None:
        if recording.kept is not None:  # first, as nothing comes back to it later
            recording.kept.release()
        with self._changed:
            self._storing.discard(recording)
            self._taken_bytes -= self._waiting.pop(recording, 0)
            self._changed.notify_all()

    def _has_room_for_pixels(self, size_bytes: int) -> bool:
        pixels_bytes = sum(self._waiting.values())
        return not pixels_bytes or pixels_bytes + size_bytes <= self._max_bytes * PIXELS_SHARE

    def _has_room(self, size_bytes: int) -> bool:
        return not self._taken_bytes or self._taken_bytes + size_bytes <= self._max_bytes

    def _put_off(self, recording: PendingRecord, error: Exception) -> bool:
        """Whether a failed event is retried; if so, it stays in memory."""
        recording.tries += 1
        if not isinstance(error, NotTaken):
            self._log.say(
                logging.ERROR,
                ("failed", type(error).__name__),
                "internal error while recording an event; will retry",
                exc_info=error,
            )
        with self._changed:
            self._storing.discard(recording)
            return recording.tries < RECORD_TRIES and not self._is_closed

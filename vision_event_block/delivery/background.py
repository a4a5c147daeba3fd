"""Events that wait in memory until another thread has encoded and stored them."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vision_event_block.delivery import encoder
from vision_event_block.delivery.records import NotTaken
from vision_event_block.logs import QuietLog

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from concurrent.futures import Future

    from vision_event_block.events.event import VisionEvent
    from vision_event_block.outbox.entry import DeliveryMetadata

_logger = logging.getLogger(__name__)

#: How often an event is tried to be encoded and stored, once in a tick of the housekeeping.
RECORD_TRIES: Final = 3
#: On closing: how long an event whose writing has begun may take to get to the disk.
LAST_WRITES_S: Final = 2.0


@dataclass(eq=False)
class Recording:
    """An event that is still to be encoded and stored."""

    event: VisionEvent
    metadata: DeliveryMetadata
    step: Hashable
    tries: int = 0
    #: The work of encoding and storing it; done though the event is not over, it has failed.
    work: Future[None] | None = None
    #: Stored, or given up.
    is_over: bool = False


class Background:
    """Events in memory, up to so many bytes. Any thread may use it."""

    def __init__(
        self,
        store: Callable[[Recording, VisionEvent], bool],
        lose: Callable[[Recording, str], bool],
        *,
        max_bytes: int,
    ) -> None:
        """Starts nothing yet.

        Args:
            store: Called with the event once it is encoded, and gives True; what raises is tried
                again.
            lose: Called with an event that is given up, and why; gives True.
            max_bytes: What events may take; a single one may take more.
        """
        self._store = store
        self._lose = lose
        self._max_bytes = max_bytes
        self._log = QuietLog(_logger)
        #: Guards what follows; notified when an event has left the memory.
        self._changed = threading.Condition()
        self._taken_bytes = 0
        #: With what each of them takes.
        self._waiting: dict[Recording, int] = {}
        #: Of these, those whose writing to disk has begun.
        self._storing: set[Recording] = set()
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """Whether nothing is stored any more."""
        return self._is_closed

    def reserve(self, size_bytes: int) -> bool:
        """Whether so much fits; then it counts until it is released."""
        with self._changed:
            if not self._has_room(size_bytes):
                return False
            self._taken_bytes += size_bytes
            return True

    def release(self, size_bytes: int) -> None:
        """Gives room back."""
        with self._changed:
            self._taken_bytes -= size_bytes
            self._changed.notify_all()

    def record(self, recording: Recording) -> bool:
        """Has an event recorded by another thread; False if there is no room for it.

        Raises:
            NotTaken: it is too late for that. What else is raised, the event is not taken.
        """
        size_bytes = recording.event.size_bytes
        with self._changed:
            if self._is_closed:
                raise NotTaken("the process is ending")
            if not self._has_room(size_bytes):
                return False
            taken_bytes = self._taken_bytes + size_bytes
            self._waiting[recording], self._taken_bytes = size_bytes, taken_bytes
        try:
            recording.work = encoder.run_soon(self._record, recording)
        except BaseException:
            self._forget(recording)
            raise
        return True

    def retry(self) -> None:
        """Has those recorded that failed before."""
        with self._changed:
            ended = [it for it in self._waiting if it.work is not None and it.work.done()]
        for recording in ended:
            if recording.is_over:
                self._forget(recording)
            else:
                recording.work = encoder.run_soon(self._record, recording)

    def empty(self, timeout_s: float) -> int:
        """Waits until everything taken so far is stored; gives how many events are not yet."""
        with self._changed:
            before = set(self._waiting)
            self._changed.wait_for(lambda: self._waiting.keys().isdisjoint(before), timeout_s)
            return len(self._waiting.keys() & before)

    def close(self) -> tuple[int, int]:
        """Stores nothing more; gives how many events are lost by it and how many are in between.

        Those are being written just now, for longer than is waited here.
        """
        with self._changed:
            self._is_closed = True
            lost = sum(not it.is_over for it in self._waiting.keys() - self._storing)
            self._changed.wait_for(lambda: not self._storing, LAST_WRITES_S)
            return lost, len(self._storing)

    def _record(self, recording: Recording) -> None:
        """Encodes and stores an event; what fails is tried again in a while."""
        try:
            encoded = recording.event.encoded(encoder.encode_in_turn)
            with self._changed:
                is_too_late = self._is_closed  # `close` has counted it
                if not is_too_late:
                    self._storing.add(recording)
            if is_too_late:
                event_id = recording.event.event_id
                words = f"event {event_id} is lost: the process ended before it was stored"
                self._log.say(logging.ERROR, "lost", words)
            else:
                recording.is_over = self._store(recording, encoded)
        except Exception as error:  # noqa: BLE001 - nobody else would tell of it
            if self._put_off(recording, error):
                return
            is_known = isinstance(error, NotTaken)
            reason = str(error) if is_known else type(error).__name__
            recording.is_over = self._lose(recording, reason)
        self._forget(recording)

    def _forget(self, recording: Recording) -> None:
        with self._changed:
            self._storing.discard(recording)
            self._taken_bytes -= self._waiting.pop(recording, 0)
            self._changed.notify_all()

    def _has_room(self, size_bytes: int) -> bool:
        return not self._taken_bytes or self._taken_bytes + size_bytes <= self._max_bytes

    def _put_off(self, recording: Recording, error: Exception) -> bool:
        """Whether a failed event is tried again; then it stays in memory."""
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

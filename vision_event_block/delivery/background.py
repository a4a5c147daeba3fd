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

    from vision_event_block.events.event import VisionEvent
    from vision_event_block.outbox.entry import Notes

_logger = logging.getLogger(__name__)

#: How often an event is tried to be encoded and stored, once in a tick of the housekeeping.
RECORD_TRIES: Final = 3
#: On closing: how long an event whose writing has begun may take to get to the disk.
LAST_WRITES_S: Final = 2.0


@dataclass(eq=False)
class Recording:
    """An event that is still to be encoded and stored."""

    event: VisionEvent
    notes: Notes
    step: Hashable
    tries: int = 0


class Background:
    """Events in memory, up to so many bytes. Any thread may use it."""

    def __init__(
        self,
        store: Callable[[Recording, VisionEvent], None],
        lose: Callable[[Recording, str], None],
        *,
        max_bytes: int,
    ) -> None:
        """Starts nothing yet.

        Args:
            store: Called with the event once it is encoded; what it raises is tried again.
            lose: Called with an event that is given up, and why.
            max_bytes: What events may take; a single one may take more.
        """
        self._store = store
        self._lose = lose
        self._max_bytes = max_bytes
        self._log = QuietLog(_logger)
        #: Guards what follows; notified when an event has left the memory.
        self._changed = threading.Condition()
        self._taken_bytes = 0
        self._waiting: set[Recording] = set()
        #: Of these, those whose writing to disk has begun, and those that failed.
        self._storing: set[Recording] = set()
        self._failed: list[Recording] = []
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """Whether nothing is stored any more."""
        return self._is_closed

    def reserve(self, size_bytes: int) -> bool:
        """Whether so much fits; then it counts until it is released."""
        with self._changed:
            if self._taken_bytes and self._taken_bytes + size_bytes > self._max_bytes:
                return False
            self._taken_bytes += size_bytes
            return True

    def release(self, size_bytes: int) -> None:
        """Gives room back."""
        with self._changed:
            self._taken_bytes -= size_bytes
            self._changed.notify_all()

    def record(self, recording: Recording) -> None:
        """Has an event recorded by another thread; its bytes are reserved.

        Raises:
            NotTaken: it is too late for that.
        """
        with self._changed:
            if self._is_closed:
                self._taken_bytes -= recording.event.size_bytes
                raise NotTaken("the process is ending")
            self._waiting.add(recording)
        encoder.run_soon(self._record, recording)

    def retry(self) -> None:
        """Has those recorded that failed before."""
        with self._changed:
            failed, self._failed = self._failed, []
        for recording in failed:
            encoder.run_soon(self._record, recording)

    def empty(self, timeout_s: float) -> int:
        """Waits until everything taken so far is stored; gives how many events are not yet."""
        with self._changed:
            before = set(self._waiting)
            self._changed.wait_for(lambda: self._waiting.isdisjoint(before), timeout_s)
            return len(self._waiting & before)

    def close(self) -> tuple[int, int]:
        """Stores nothing more; gives how many events are lost by it and how many are in between.

        Those are being written just now, for longer than is waited here.
        """
        with self._changed:
            self._is_closed = True
            lost = len(self._waiting - self._storing)
            self._changed.wait_for(lambda: not self._storing, LAST_WRITES_S)
            return lost, len(self._storing)

    def _record(self, recording: Recording) -> None:
        """Encodes and stores an event; what fails is tried again in a while."""
        event = recording.event
        try:
            encoded = event.encoded(encoder.encode_in_turn)
            with self._changed:
                is_too_late = self._is_closed  # `close` has counted it
                if not is_too_late:
                    self._storing.add(recording)
            if is_too_late:
                words = f"event {event.event_id} is lost: the process ended before it was stored"
                self._log.say(logging.ERROR, "lost", words)
            else:
                self._store(recording, encoded)
        except Exception as error:  # noqa: BLE001 - nobody else would tell of it
            if self._put_off(recording, error):
                return
            is_known = isinstance(error, NotTaken)
            self._lose(recording, str(error) if is_known else type(error).__name__)
        with self._changed:
            self._waiting.discard(recording)
            self._storing.discard(recording)
        self.release(event.size_bytes)

    def _put_off(self, recording: Recording, error: Exception) -> bool:
        """Whether a failed event is tried again; then it stays in memory."""
        recording.tries += 1
        if not isinstance(error, NotTaken):
            self._log.say(
                logging.ERROR,
                ("failed", type(error).__name__),
                "internal error while recording an event; it is tried again",
                exc_info=error,
            )
        with self._changed:
            self._storing.discard(recording)
            if recording.tries >= RECORD_TRIES or self._is_closed:
                return False
            self._failed.append(recording)
        return True

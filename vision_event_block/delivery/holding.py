"""Events that are sent from memory, briefly, instead of being written to disk first.

On a connection that works, most events are delivered before writing them would have paid off.
Meanwhile a copy in the outbox's spool protects them if the process is killed. An event that is not
delivered in time is stored like any other, and so are all of them once the connection fails, memory
runs short or the process ends.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from vision_event_block.delivery.queued_event import Verdict
from vision_event_block.delivery.records import NotTaken
from vision_event_block.outbox.journal import DELIVERED, UNSTORED
from vision_event_block.outbox.spool import NoSpool

if TYPE_CHECKING:
    from collections.abc import Callable

    from vision_event_block.delivery.background import Background
    from vision_event_block.delivery.courier import Courier
    from vision_event_block.delivery.queued_event import DeliveryHandle, QueuedEvent
    from vision_event_block.delivery.versions import Turns
    from vision_event_block.events.event import VisionEvent
    from vision_event_block.outbox.entry import EntryContents
    from vision_event_block.outbox.slot import Entry
    from vision_event_block.outbox.spool import Kept


@dataclass(eq=False)
class _Held:
    event_id: str
    contents: EntryContents
    kept: Kept[VisionEvent] | None
    size_bytes: int
    since_s: float
    #: Guards the fields below, also while the event is being stored. An event that comes too late
    #: ends while it is being handed to the courier, in the same thread.
    lock: threading.RLock = field(default_factory=threading.RLock)
    queued: QueuedEvent | None = None
    entry: Entry | None = None
    is_over: bool = False


class Holding:
    """Keeps events off the disk for a limited time. Any thread may use it."""

    def __init__(  # noqa: PLR0913 -- see below
        self,
        courier: Courier,
        background: Background,
        store: Callable[[str, EntryContents], Entry],
        turns: Turns,
        *,
        hold_s: float,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Holds nothing yet.

        Args:
            courier: Sends the events.
            background: Whose memory limit they count towards.
            store: Writes an event to disk; raises NotTaken.
            turns: The order in which versions of one event are stored.
            hold_s: How long an event may be in memory only; 0 turns this off.
            clock_s: A monotonic clock, in seconds.
        """
        self._courier = courier
        self._background = background
        self._store = store
        self._turns = turns
        self._hold_s = hold_s
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._held: set[_Held] = set()

    def take(self, event: VisionEvent, contents: EntryContents, handle: DeliveryHandle) -> bool:
        """Has an event sent from memory; False if it is to be stored first.

        If this raises, it is not taken.
        """
        # A process that only sends stored events needs no image library.
        from vision_event_block.events.frames import Frame  # noqa: PLC0415

        outbox = self._courier.outbox
        metadata = contents.metadata
        if not self._hold_s or outbox is None or not self._is_fine(contents):
            return False
        # Once stored, an event stays stored, even as a newer version.
        if metadata.version and not self._courier.has_gone_by(event.event_id, metadata.address):
            return False
        size_bytes = sum(map(len, contents.pictures.values()))
        if not self._background.reserve(size_bytes):
            return False
        try:
            frame = Frame.of(event, metadata.to_json())
            kept = outbox.keep_in_memory(frame)
        except BaseException as error:
            self._background.release(size_bytes)
            if isinstance(error, NoSpool | OSError):
                return False
            raise
        held = _Held(event.event_id, contents, kept, size_bytes, self._clock_s())
        try:
            with self._lock:
                self._held.add(held)
            with held.lock:
                held.queued = self._courier.submit_unstored(
                    event.event_id,
                    contents,
                    on_end=lambda queued, verdict: self._ended(held, queued, verdict),
                    store=lambda: self._write(held),
                    handle=handle,
                )
        except BaseException:
            self._let_go(held)
            raise
        return True

    def store_late(self) -> None:
        """Stores events that were not delivered in time, or will not be."""
        now_s = self._clock_s()
        for held in self._all():
            is_late = now_s - held.since_s >= self._hold_s
            if is_late or not self._is_fine(held.contents):
                self._try_to_write(held)

    def store_all(self) -> None:
        for held in self._all():
            self._try_to_write(held)

    def _is_fine(self, contents: EntryContents) -> bool:
        return self._courier.queues.works(contents.metadata.address) is True

    def _all(self) -> list[_Held]:
        with self._lock:
            return list(self._held)

    def _try_to_write(self, held: _Held) -> None:
        try:
            self._write(held)
        except NotTaken:
            return  # it stays in memory and is retried

    def _write(self, held: _Held) -> None:
        """Stores an event, wherever it is in its delivery; raises NotTaken."""
        with self._turns.of(held.event_id), held.lock:
            if held.is_over or held.entry is not None or held.queued is None:
                return
            contents = held.contents
            if held.queued.is_update and not contents.metadata.is_update:
                # By now a newer version is counted as the event.
                metadata = replace(contents.metadata, is_update=True)
                contents = replace(contents, metadata=metadata)
            held.entry = self._store(held.event_id, contents)
            self._courier.queues.is_stored(held.queued, held.entry, self._courier.outbox)
        self._let_go(held)

    def _ended(self, held: _Held, queued: QueuedEvent, verdict: Verdict) -> None:
        with held.lock:  # it may be in the middle of being stored
            held.is_over, entry = True, held.entry
        self._let_go(held)
        outbox = self._courier.outbox
        if entry is None:
            if verdict is Verdict.DELIVERED and outbox is not None:
                outbox.note_delivery(held.contents.payload, held.contents.metadata.address)
            # A rejected event is stored first, and becomes a dead letter.
            if not queued.is_update:
                self._courier.counters.add_all({UNSTORED: 1, DELIVERED: 1})
        elif verdict is Verdict.DELIVERED and outbox is not None:
            outbox.delivered(entry)  # stored too late for the courier to see it
        elif verdict is Verdict.SUPERSEDED and outbox is not None:
            outbox.supersede(entry)

    def _let_go(self, held: _Held) -> None:
        held.queued = None  # breaks a cycle that would keep the pictures
        if (kept := held.kept) is not None:
            kept.release()
        with self._lock:
            if held in self._held:
                self._background.release(held.size_bytes)
                self._held.discard(held)
        # The queued event refers to this until it ends, which may take as long as an outage.
        held.kept, held.contents = None, replace(held.contents, pictures={})

"""What waits for one destination, and the next job. Not thread-safe: the courier has a lock."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from vision_event_block.delivery.errors import Fault
from vision_event_block.delivery.jobs import CreateEvents, Job, LoadEvent, UploadImage, uploads_of
from vision_event_block.delivery.queued_event import (
    IN_THE_QUEUE,
    TRANSITIONS,
    DeliveryOutcome,
    On,
    QueuedEvent,
    State,
    Verdict,
)
from vision_event_block.delivery.ready_events import ReadyEvents
from vision_event_block.delivery.versions import KnownUploads
from vision_event_block.delivery.waiting_events import WaitingEvents
from vision_event_block.outbox import clock
from vision_event_block.outbox.owner_status import DestinationState, DestinationStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vision_event_block.delivery.circuit_breaker import CircuitBreaker
    from vision_event_block.delivery.courier_limits import CourierLimits
    from vision_event_block.delivery.destinations import Destination
    from vision_event_block.delivery.errors import VisionEventsError
    from vision_event_block.outbox.entry import ClockReading

#: Taken by a worker, and held up by what another event's request finds out.
BEFORE_ITS_REQUEST: Final = frozenset({State.LOADING, State.UPLOADING, State.READY})
#: New events stay in memory up to here, to save reading them from disk again.
MAX_HELD_BYTES: Final = 8 * 2**20
#: An answer that is not understood is named once it came this often in a row.
UNKNOWN_REPLIES_TO_NAME: Final = 3


class Queue:
    """The events for one destination, in the order in which they are sent."""

    def __init__(
        self,
        destination: Destination,
        breaker: CircuitBreaker,
        limits: CourierLimits,
        *,
        reading: Callable[[], ClockReading] = clock.reading,
    ) -> None:
        self.destination = destination
        self.breaker = breaker
        self._limits = limits
        self._reading = reading
        #: All that is neither delivered, dead nor gone; each counts as one.
        self.events: dict[QueuedEvent, int] = {}
        self._waiting = WaitingEvents(limits.backlog_bytes_per_s)
        self._uploads: deque[UploadImage] = deque()
        self._ready = ReadyEvents()
        #: Pictures that are up: a newer version shows them again.
        self.known_uploads = KnownUploads(limits.max_image_age_s, reading)
        self._held_bytes: dict[QueuedEvent, int] = {}
        #: Events in progress, each with whether it came from the backlog.
        self._begun: dict[QueuedEvent, bool] = {}
        #: When there was last something for this destination.
        self.used_at_s = 0.0
        #: How many events have ended, by their last state.
        self.ended: Counter[State] = Counter()
        self.last_error: str | None = None
        self.internal_error: str | None = None
        self.is_unreachable = False
        self.last_success_s: float | None = None
        self._since_s: float | None = None
        self._unknown_replies = 0
        self._unknown_reply = ""

    @property
    def pending(self) -> int:
        return len(self.events)

    @property
    def prospect(self) -> DeliveryOutcome:
        """What is known about an event that waits while the destination does not work."""
        refused = self.breaker.state is DestinationState.KEY_REFUSED
        return DeliveryOutcome(
            Verdict.KEY_REFUSED if refused else Verdict.WAITING,
            reason=self.last_error or "",
            is_settled=refused or self.is_unreachable,
        )

    @property
    def status(self) -> DestinationStatus:
        is_named = self._unknown_replies >= UNKNOWN_REPLIES_TO_NAME
        return DestinationStatus(
            address=str(self.destination.address),
            state=self.breaker.state,
            pending=self.pending,
            last_error=self.last_error,
            last_success_s=self.last_success_s,
            internal_error=self.internal_error,
            unknown_reply=self._unknown_reply if is_named else None,
            since_s=self._since_s,
            unstored=sum(event.entry is None for event in self.events),
        )

    def join(self, event: QueuedEvent) -> None:
        """Adds an event; a newer version of one that is leaving waits until that one has left."""
        event.home = self
        self.events[event] = 1
        event.behind = {older for older in event.behind if older.is_under_way}
        event.move(On.FOLLOWS if event.behind else On.ROUTED)
        if event.entry is not None and event.contents is not None:
            size_bytes = event.entry.size_bytes
            if event.is_backlog or sum(self._held_bytes.values()) + size_bytes > MAX_HELD_BYTES:
                event.contents = None
            else:
                self._held_bytes[event] = size_bytes
        if not event.behind:
            self._waiting.add(event)

    def leave(self, event: QueuedEvent) -> None:
        self._put_down(event)
        if event.state is State.GONE:
            self._waiting.note_ended()
        self.ended[event.state] += self.events.pop(event, 0)  # in one step: counted once

    def let_go_on(self, event: QueuedEvent) -> None:
        """An older version has left."""
        event.behind = {older for older in event.behind if older.is_under_way}
        if event.state is State.BEHIND and not event.behind:
            event.move(On.FREED)
            self._waiting.add(event)

    def supersede(self, event: QueuedEvent) -> None:
        """Makes an event that no worker has give way to a newer version."""
        if event.outbox is not None and event.entry is not None:
            event.outbox.unclaim(event.entry)  # the newer one may be in the same file
        event.move(On.SUPERSEDED)
        event.contents = None
        self._ready.remove(event)
        self._put_down(event)
        self._waiting.note_ended()

    def stop_uploads(self, event: QueuedEvent) -> bool:
        """Starts no more uploads of an event; returns whether that leaves it with no worker."""
        was_uploading = bool(event.uploads_open)
        begun = event.uploads_open - {it.member for it in self._uploads if it.event is event}
        self._uploads = deque(it for it in self._uploads if it.event is not event)
        event.uploads_open &= begun
        return was_uploading and not event.uploads_open

    def back(
        self, event: QueuedEvent, due_s: float, *, is_first: bool = True, on: On = On.FAILED
    ) -> None:
        """Puts a failed event back to be retried, before or after all others."""
        self._put_down(event)
        if event.outbox is not None and event.entry is not None:
            event.outbox.unclaim(event.entry)
        event.move(on)
        event.failures += on is On.FAILED
        event.is_backlog |= self.breaker.state is not DestinationState.OPEN
        if event.entry is not None:
            event.contents = None
        self._waiting.delay(event, due_s, is_first=is_first)

    def retry_now(self, now_s: float) -> None:
        self.breaker.retry_now(now_s)
        self._waiting.retry_now(now_s)

    def answered(
        self, generation: int, error: VisionEventsError | None, now_s: float, wall_s: float
    ) -> bool:
        """Records how a request ended; returns whether that means the destination is back."""
        state_before = self.breaker.state
        is_back = self.breaker.ended(generation, error, now_s)
        if error is None:
            self.last_success_s = wall_s
            self.last_error = self.internal_error = None
        elif error.fault is Fault.INTERNAL:
            self.internal_error = str(error)
        elif error.fault is not Fault.EVENT:
            self.last_error = str(error)
            self.is_unreachable = error.is_unsent
        if error is not None and error.is_unknown_reply:
            self._unknown_replies += 1
            self._unknown_reply = str(error)
        elif error is None:
            self._unknown_replies = 0
        if self.breaker.state is not state_before:
            self._since_s = wall_s
            if state_before is DestinationState.OPEN:
                self._pile_up()
        return is_back

    def blames(self, event: QueuedEvent) -> None:
        """Counts a refused key if this event may be the cause: others got through meanwhile.

        Uploads do not count: a key may be allowed to upload and nothing else.
        """
        if event.refused_after is not None and self.ended[State.DELIVERED] != event.refused_after:
            event.key_refusals += 1
        event.refused_after = self.ended[State.DELIVERED]
        event.goes_alone = True

    def split(self, events: Sequence[QueuedEvent]) -> None:
        """Splits a refused batch into halves, to find the event to blame."""
        middle = len(events) // 2
        for half in (list(events[:middle]), list(events[middle:])):
            for event in half:
                event.move(On.SPLIT)
            self._ready.add_group(half)

    def send_alone(self, event: QueuedEvent) -> None:
        """Queues an event to be sent alone, after others of its batch were confirmed."""
        event.move(On.SPLIT)
        event.goes_alone = True
        self._ready.add_group([event])

    def pace(self, event: QueuedEvent) -> None:
        """Counts pictures from the backlog that are not in the entry, whose size was counted."""
        if event.is_backlog and event.entry is not None:
            held_bytes = sum(map(len, event.held.pictures.values()))
            self._waiting.pace(max(0, held_bytes - event.entry.size_bytes))

    def add_uploads(self, uploads: list[UploadImage]) -> None:
        self._uploads.extend(uploads)

    def add_ready(self, event: QueuedEvent, now_s: float) -> None:
        event.move(On.UPLOADED)
        self._ready.add(event, now_s)

    def creation_ended(self, job: CreateEvents) -> None:
        self._ready.creating.discard(job)

    def due_at_s(self, now_s: float) -> float | None:
        """When `next` may have a job, without starting one; None if nothing waits.

        There may be none after all, but there is none before that time.
        """
        soonest_s = self._waiting.next_due_s
        if soonest_s is not None and soonest_s <= now_s:
            return now_s
        waits = [now_s] if self._uploads else []
        if (ready_s := self._ready_due_at_s(now_s)) is not None:
            waits.append(ready_s)
        if (waiting_s := self._waiting.starts_at_s(now_s)) is not None:
            waits.append(waiting_s)
        starts_at_s = self.breaker.starts_at_s(now_s) if waits else None
        if starts_at_s is None:
            return soonest_s
        due_at_s = max(starts_at_s, min(waits))
        return due_at_s if soonest_s is None else min(due_at_s, soonest_s)

    def next(self, now_s: float) -> Job | float | None:
        """What to do, or when to ask again, or None if nothing waits."""
        self._waiting.wake(now_s)
        due_at_s = self.due_at_s(now_s)
        if due_at_s is None or due_at_s > now_s:
            return due_at_s
        job = self._next_create(now_s) or self._next_upload() or self._next_load(now_s)
        return job or self.due_at_s(now_s)  # outdated events have been removed by now

    def _next_create(self, now_s: float) -> CreateEvents | None:
        # A tripped breaker is tested with one event: another one may be the cause.
        is_open = self.breaker.state is DestinationState.OPEN
        most = self.destination.max_batch_events if is_open else 1
        while (due_at_s := self._ready_due_at_s(now_s)) is not None and due_at_s <= now_s:
            if current := self._current(self._ready.take(most)):
                return self._create(current, now_s)
        return None

    def _next_upload(self) -> UploadImage | None:
        while self._uploads:
            upload = self._uploads.popleft()
            if upload.event.state is State.UPLOADING and upload.member in upload.event.uploads_open:
                return upload
        return None

    def _next_load(self, now_s: float) -> LoadEvent | None:
        event = self._waiting.take(
            now_s,
            new_begun=sum(not is_backlog for is_backlog in self._begun.values()),
            most_new=max(1, self._limits.threads // 2),
        )
        if event is None:
            return None
        event.move(On.TAKEN)
        self._begun[event] = event.is_backlog
        self._held_bytes.pop(event, None)
        return LoadEvent(event, self._limits.max_image_age_s)

    def audit(self, jobs: Sequence[Job]) -> list[QueuedEvent]:
        """Puts back every event that no worker has, after something was raised in the middle.

        Args:
            jobs: All that workers have now.

        Returns:
            The events that the API has and that are still to be removed from disk.
        """
        self._ready.creating.intersection_update(jobs)
        in_hands = {event for job in jobs for event in job.events}
        loading = {job.event for job in jobs if isinstance(job, LoadEvent)}
        uploads = [*self._uploads, *(job for job in jobs if isinstance(job, UploadImage))]
        uploading = {(upload.event, upload.member) for upload in uploads}
        listed = self._waiting.events() | self._ready.events()
        confirmed = []
        for event in list(self.events):
            if event.state in IN_THE_QUEUE:
                if event not in listed:
                    self._list_again(event)
            elif event.state is State.UPLOADING:
                if event not in loading:
                    event.uploads_open.difference_update(event.images)
                    lost = [it for it in uploads_of(event) if (event, it.member) not in uploading]
                    self._uploads += [it for it in lost if it.member in event.uploads_open]
                    if not event.uploads_open and event not in in_hands:
                        self.back(event, 0.0, is_first=False)
            elif event in in_hands or event.state is State.REPLACED:
                continue
            elif event.state is State.CONFIRMED:
                confirmed.append(event)
            elif TRANSITIONS[event.state]:
                self.back(event, 0.0, is_first=False)
            else:
                self.leave(event)
        return confirmed

    def _list_again(self, event: QueuedEvent) -> None:
        self._put_down(event)
        if event.state is State.UNROUTABLE:
            event.move(On.ROUTED)
        if event.state is State.BEHIND:
            self.let_go_on(event)
        elif event.state is State.READY:
            self._ready.add_group([event])
        elif event.state is State.DELAYED:
            self._waiting.delay(event, 0.0, is_first=False)
        else:
            self._waiting.add(event)

    def _current(self, events: list[QueuedEvent]) -> list[QueuedEvent]:
        """The events whose images are not too old; the others start again."""
        now = self._reading()
        current = []
        for event in events:
            if event.state is not State.READY:
                continue  # a newer version is there
            if all(it.is_fresh(now, self._limits.max_image_age_s) for it in event.images.values()):
                current.append(event)
                continue
            event.move(On.STALE)
            self._put_down(event)
            if event.entry is not None:
                event.contents = None
            self._waiting.add(event, first=True)
        return current

    def _create(self, events: list[QueuedEvent], now_s: float) -> CreateEvents:
        job = CreateEvents(tuple(events))
        for event in events:
            event.move(On.SENT)
        self._ready.sent(job, now_s)
        return job

    def _put_down(self, event: QueuedEvent) -> None:
        self._begun.pop(event, None)
        self._held_bytes.pop(event, None)

    def _pile_up(self) -> None:
        """Makes what waits the backlog, as nothing stays fresh, and tells whoever waits for it."""
        new = self._waiting.pile_up()
        for event in (*new, *(it for it in self._begun if it.state in BEFORE_ITS_REQUEST)):
            event.handle.settle(self.prospect)
        for event in new:
            self._held_bytes.pop(event, None)
            if event.entry is not None:
                event.contents = None

    def _ready_due_at_s(self, now_s: float) -> float | None:
        return self._ready.due_at_s(
            now_s,
            self._begun,
            most=self.destination.max_batch_events,
            is_more_to_start=bool(self._uploads) or self._waiting.starts_at_s(now_s) == now_s,
        )

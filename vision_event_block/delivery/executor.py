"""Carries out jobs, and acts on what they find.

Everything that a job finds changes events here and nowhere else. If that fails in the middle,
whatever is raised, `abandon` gives back what the job had.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final, cast

from vision_event_block.delivery.counters import INTERNAL_ERRORS, REJECTED, Counters
from vision_event_block.delivery.errors import Fault, InternalError, VisionEventsError
from vision_event_block.delivery.jobs import (
    CreateEvents,
    LoadEvent,
    Preceded,
    UploadImage,
    progress_note,
    uploads_of,
)
from vision_event_block.delivery.outcomes import Action, Attempt, Decision, decide
from vision_event_block.delivery.queued_event import On, QueuedEvent, State, Verdict
from vision_event_block.delivery.records import NotTaken
from vision_event_block.events.bundle import picture_members
from vision_event_block.logs import QuietLog
from vision_event_block.outbox.journal import SUPERSEDED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vision_event_block.delivery.destinations import Sent
    from vision_event_block.delivery.jobs import Loaded
    from vision_event_block.delivery.queue import Queue
    from vision_event_block.delivery.queued_event import UploadedImage
    from vision_event_block.delivery.queues import Queues, Task
    from vision_event_block.delivery.replies import Remark

_logger = logging.getLogger(__name__)

#: Whether another process still has an older version of an event.
LOOK_AGAIN_S: Final = 1.0


class Executor:
    """Carries out the jobs of queues. Any thread may use it."""

    def __init__(self, queues: Queues, counters: Counters) -> None:
        self._queues = queues
        self._counters = counters
        self._log = QuietLog(_logger)

    def carry_out(self, task: Task) -> None:
        found: Loaded | Preceded | UploadedImage | Sent | None = None
        error: VisionEventsError | None = None
        started_s = self._queues.clock_s()
        job = task.job
        try:
            found = job.run(task.queue.destination)
        except VisionEventsError as caught:
            error = caught.with_traceback(None)
        except Exception as caught:  # noqa: BLE001 -- functions of the host are called on the way
            self.say_internal(caught, job.doing)
            error = InternalError.of(caught, job.doing)
        if job.route is not None:
            outcome = "ok" if error is None else error.fault.value
            self._counters.add_request(job.route, outcome, self._queues.clock_s() - started_s)
        if isinstance(job, LoadEvent):
            upload = self._loaded(
                task.queue, job.event, cast("Loaded | Preceded | None", found), error
            )
            # Under the same permit of the breaker. After a stop nobody may be left to break it off.
            if upload is not None and not self._queues.is_stopping:
                task.job = upload
                self.carry_out(task)
        elif isinstance(job, UploadImage):
            self._uploaded(task, job, cast("UploadedImage | None", found), error)
        else:
            self._created(task, job, cast("Sent | None", found), error)

    def abandon(self, task: Task) -> None:
        """Gives back what a job had if it was not carried out to its end. May be repeated."""
        for event in self._queues.abandoned(task):
            self._clear_delivered(event)

    def say_internal(self, error: BaseException, doing: str) -> None:
        """Counts what failed in this process and logs it with its traceback, once a minute."""
        self._counters.add(f"{INTERNAL_ERRORS} {doing}")
        self._log.say(
            logging.ERROR,
            ("internal", type(error).__name__, doing),
            f"internal error while {doing}; events wait and will be retried",
            exc_info=error,
        )

    def note_progress(self, event: QueuedEvent) -> None:
        if event.outbox is None or event.entry is None:
            return
        if len(event.images) > event.noted_uploads:
            event.outbox.note_progress(event.entry, progress_note(event.images))
            event.noted_uploads = len(event.images)

    def _loaded(
        self,
        queue: Queue,
        event: QueuedEvent,
        loaded: Loaded | Preceded | None,
        error: VisionEventsError | None,
    ) -> UploadImage | None:
        """An event was read; returns its first upload and puts the others in the queue."""
        if error is not None:
            with self._queues.lock:
                queue.internal_error = str(error)
            self._failed(queue, event, error)
            return None
        if self._has_made_way(event):
            return None
        if isinstance(loaded, Preceded):
            self._put_back(queue, event, LOOK_AGAIN_S, On.PRECEDED, is_first=True)
            return None
        with self._queues.lock:
            if loaded is None:
                event.move(On.MISSING)
                self._queues.left(event)
                self._queues.tell()
                return None
            event.contents = loaded.contents
            event.images = dict(loaded.images)
            if queue.destination.uploads_images and not event.has_renewed_images:
                event.images |= queue.known_uploads.of(picture_members(loaded.contents.payload))
            event.has_old_images = bool(event.images)
            event.error = None
            queue.pace(event)
            uploads = uploads_of(event) if queue.destination.uploads_images else []
            event.uploads_open = {upload.member for upload in uploads}
            event.move(On.LOADED)
            if uploads:
                queue.add_uploads(uploads[1:])
                self._queues.tell()
                return uploads[0]
            event.forget_pictures()
            queue.add_ready(event, self._queues.clock_s())
            self._queues.tell()
            return None

    def _uploaded(
        self,
        task: Task,
        upload: UploadImage,
        image: UploadedImage | None,
        error: VisionEventsError | None,
    ) -> None:
        event, queue = upload.event, task.queue
        with self._queues.lock:
            self._queues.answered(task, error)
            if event.state is not State.UPLOADING or upload.member not in event.uploads_open:
                return  # it was given back meanwhile
            if image is not None:
                event.images[upload.member] = image
                queue.known_uploads.note(upload.member, image)
            elif error is not None:
                event.note_error(error)
            event.uploads_open.discard(upload.member)
            is_last = not event.uploads_open
            is_ready = is_last and event.error is None and event.newer is None
            if not is_last:
                self._queues.done(task)  # or an audit would think that the event is in use here
            elif is_ready:  # and may be in use elsewhere from here on
                event.forget_pictures()
                queue.add_ready(event, self._queues.clock_s())
            self._queues.tell_those_who_wait()
        if is_last and not is_ready and self._has_made_way(event):
            return
        if is_last and event.error is not None:
            self._failed(queue, event, event.error)
        elif self._queues.is_stopping:
            self.note_progress(event)

    def _created(
        self, task: Task, job: CreateEvents, sent: Sent | None, error: VisionEventsError | None
    ) -> None:
        queue = task.queue
        confirmed, remarks = [], () if sent is None else sent.remarks
        with self._queues.lock:
            queue.creation_ended(job)
            self._queues.answered(task, error)
            confirmed_ids = frozenset() if sent is None else sent.confirmed_ids
            for event in job.events if sent is not None else ():
                if str(event.held.payload.get("eventId")) in confirmed_ids:
                    event.move(On.CONFIRMED)
                    confirmed.append(event)
                elif event.newer is None:
                    queue.send_alone(event)
            if error is not None and self._is_about_one(queue, error, len(job.events)):
                queue.split([event for event in job.events if event.newer is None])
                error = None
            # The others are in their queue again, and may be in another request at any moment.
            left = [event for event in job.events if event.state is State.CREATING]
            self._queues.tell()
        for event in confirmed:
            self._clear_delivered(event, _about(event, remarks))
        for event in left:
            if not self._has_made_way(event) and error:
                self._failed(queue, event, error)
        for remark in remarks:
            self._log.say(
                logging.WARNING,
                ("warning", str(remark)),
                f"the API accepted an event with a warning: {remark}",
            )

    def _is_about_one(self, queue: Queue, error: VisionEventsError, events: int) -> bool:
        """Whether a batch was refused because of one of its events, without saying which."""
        return events > 1 and (
            self._decide(queue, error, Attempt(events=events)).action is Action.SPLIT
        )

    def clear_superseded(self, event: QueuedEvent) -> None:
        """Removes from disk an older version that a newer one replaces; then that one is sent."""
        with self._queues.lock:
            newest = self._queues.versions.newest(event)
        try:
            self._counters.add(SUPERSEDED)
            if not self._took_off(event, newest) and newest is not None:
                newest.may_be_preceded = True  # another process has it
            event.end(Verdict.SUPERSEDED)
        finally:
            with self._queues.lock:
                event.move(On.CLEARED)
                self._queues.left(event)

    def _took_off(self, event: QueuedEvent, newest: QueuedEvent | None) -> bool:
        """Whether the file of an older version is gone or holds the newest one."""
        if event.outbox is None or event.entry is None:
            return True
        entry = None if newest is None else newest.entry
        is_same = entry is not None and entry.name == event.entry.name
        return is_same or event.outbox.supersede(event.entry)

    def _has_made_way(self, event: QueuedEvent) -> bool:
        """Whether a newer version waited until no worker had this one, and is sent now."""
        with self._queues.lock:
            if event.newer is None or event.uploads_open or event.state is State.REPLACED:
                return False
            self._queues.supersede(event)
            self._queues.tell()
        self.clear_superseded(event)
        return True

    def _clear_delivered(self, event: QueuedEvent, remarks: tuple[Remark, ...] = ()) -> None:
        if event.outbox is not None and event.entry is not None:
            try:
                event.outbox.delivered(event.entry)
            except OSError as error:  # it will be sent again, and overwrites itself
                _logger.warning("could not remove delivered event %s: %s", event.event_id, error)
            if event.contents is not None:
                event.outbox.note_delivery(event.contents.payload, event.address)
        event.end(Verdict.DELIVERED)
        with self._queues.lock:
            event.move(On.CLEARED)
            self._queues.left(event)
            event.settle(Verdict.DELIVERED, warnings=remarks)
            self._queues.tell_those_who_wait()

    def _failed(self, queue: Queue, event: QueuedEvent, error: VisionEventsError) -> None:
        if self._has_made_way(event):
            return
        with self._queues.lock:
            if error.fault is Fault.KEY:
                queue.blames(event)
            decision = self._decide(
                queue,
                error,
                Attempt(
                    failures=event.failures,
                    key_refusals=event.key_refusals,
                    has_old_images=event.has_old_images,
                    has_renewed_images=event.has_renewed_images,
                ),
            )
        if decision.action is Action.DEAD_LETTER:
            self._dead_letter(queue, event, error)
            return
        if decision.action is Action.RENEW_IMAGES:
            with self._queues.lock:
                queue.known_uploads.forget(event.images)
                event.forget_images()
            event.has_renewed_images = True
        else:
            self._say_failure(error)
        self.note_progress(event)
        # First the verdict: once in its queue, another thread may have a newer one at any moment.
        if decision.verdict is not None:
            event.settle(decision.verdict, error)
        self._back(queue, event, decision)

    def _dead_letter(self, queue: Queue, event: QueuedEvent, error: VisionEventsError) -> None:
        """Moves an event that the API will never take to the dead letters."""
        with self._queues.lock:
            event.move(On.REFUSED)
        self._log.say(
            logging.ERROR,
            ("rejected", error.status),
            f"event {event.event_id} was rejected: {error}",
        )
        if event.entry is None and event.store is not None:
            try:
                event.store()
            except NotTaken as caught:  # it is rejected again later, and stored then
                problem = InternalError.of(caught, "storing a rejected event")
                self._back(
                    queue, event, self._decide(queue, problem, Attempt(failures=event.failures))
                )
                return
            if self._has_made_way(event):  # to one that came while this one waited for its turn
                return
        if event.outbox is not None and event.entry is not None:
            reason = {
                "event_id": event.event_id,
                "status": error.status,
                "route": error.route,
                "reason": error.message,
                "attempts": event.failures + 1,
                "at_s": time.time(),
            }
            try:
                event.outbox.move_to_dead_letters(event.entry, reason)
            except OSError as caught:  # it is rejected again later, and moved then
                self.say_internal(caught, "moving a rejected event to the dead letters")
                problem = InternalError.of(caught, "moving it to the dead letters")
                self._back(
                    queue, event, self._decide(queue, problem, Attempt(failures=event.failures))
                )
                return
        self._counters.add(f"{REJECTED} {error.status or ''}".strip())
        event.end(Verdict.REJECTED)
        with self._queues.lock:
            event.move(On.CLEARED)
            self._queues.left(event)
            event.settle(Verdict.REJECTED, error)
            self._queues.tell()

    def _back(self, queue: Queue, event: QueuedEvent, decision: Decision) -> None:
        pause_s = self._queues.uniform(0.0, decision.backoff_s) if decision.backoff_s else 0.0
        self._put_back(queue, event, pause_s, On.FAILED, is_first=decision.is_first)

    def _put_back(
        self, queue: Queue, event: QueuedEvent, pause_s: float, on: On, *, is_first: bool
    ) -> None:
        """The same; the event makes way there if a newer version has come meanwhile."""
        with self._queues.lock:
            queue.back(event, self._queues.clock_s() + pause_s, is_first=is_first, on=on)
            makes_way = event.newer is not None
            if makes_way:
                self._queues.supersede(event)
            self._queues.tell()
        if makes_way:
            self.clear_superseded(event)

    def _decide(self, queue: Queue, error: VisionEventsError, attempt: Attempt) -> Decision:
        longest_s = self._queues.limits.max_backoff_s
        return decide(error, attempt, queue.breaker.state, max_backoff_s=longest_s)

    def _say_failure(self, error: VisionEventsError) -> None:
        if error.fault is Fault.INTERNAL:
            return  # logged already, with its traceback
        is_key = error.fault is Fault.KEY
        self._log.say(
            logging.ERROR if is_key else logging.WARNING,
            (error.fault, error.status, type(error).__name__),
            f"{error}. Events wait and will be retried"
            + ("; fix the key or its scopes" if is_key else ""),
        )


def _about(event: QueuedEvent, remarks: Sequence[Remark]) -> tuple[Remark, ...]:
    """The remarks on a batch that are not about another event."""
    return tuple(remark for remark in remarks if remark.event_id in (None, event.event_id))

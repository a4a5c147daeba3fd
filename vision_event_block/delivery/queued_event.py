"""One event in delivery: its states, and who waits for it.

Everything that may happen to an event is in `TRANSITIONS`: from which state, on what, to which.
Code moves an event only through that table (`QueuedEvent.move`), under the courier's lock, so at
any moment its state says who holds the event:

- `UNROUTABLE`, `BEHIND`, `WAITING`, `DELAYED`, `READY` belong to a queue,
- `LOADING`, `CREATING` to the one worker that carries out its job,
- `UPLOADING` to the workers that have one of its images, and to the queue for the others,
- `CONFIRMED`, `REFUSED` and `REPLACED` to the thread that removes it from disk,
- `DELIVERED`, `DEAD`, `GONE` and `SUPERSEDED` to nobody.

The diagram in docs/architecture.md is drawn from this table.
"""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from vision_event_block.outbox import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vision_event_block.delivery.errors import VisionEventsError
    from vision_event_block.delivery.queue import Queue
    from vision_event_block.delivery.replies import Remark
    from vision_event_block.outbox.entry import Address, ClockReading, EntryContents
    from vision_event_block.outbox.outbox import Outbox
    from vision_event_block.outbox.slot import Entry


class State(Enum):
    """How far the delivery of an event is."""

    #: Nobody here knows its destination's key, or its address.
    UNROUTABLE = "unroutable"
    #: An older version of it is still leaving.
    BEHIND = "behind"
    #: Its turn has not come yet.
    WAITING = "waiting"
    #: To be retried at a certain time.
    DELAYED = "delayed"
    #: Being read from disk.
    LOADING = "loading"
    #: Its images are being uploaded.
    UPLOADING = "uploading"
    #: Its images are up.
    READY = "ready"
    #: In a request that creates it.
    CREATING = "creating"
    #: The API has it; it is being removed from disk.
    CONFIRMED = "confirmed"
    #: The API will never take it; it is being moved to the dead letters.
    REFUSED = "refused"
    #: A newer version exists; this one is being removed from disk, and only then is that one sent.
    REPLACED = "replaced"
    DELIVERED = "delivered"
    DEAD = "dead"
    #: Dropped, or another process took it.
    GONE = "gone"
    #: A newer version of it is sent instead.
    SUPERSEDED = "superseded"


class On(Enum):
    """What moves an event from one state to the next."""

    ROUTED = "its destination becomes known"
    FOLLOWS = "an older version is leaving"
    FREED = "no older version is left"
    TAKEN = "its turn comes"
    DUE = "its pause is over"
    LOADED = "it is read"
    UPLOADED = "its last image is up"
    SENT = "a request takes it along"
    STALE = "its images were uploaded too long ago"
    SPLIT = "its batch is refused or not confirmed"
    CONFIRMED = "the API confirms it"
    REFUSED = "the API rejects it"
    FAILED = "something fails"
    MISSING = "it is not here any more"
    CLEARED = "it is off the disk"
    PRECEDED = "another process has an older version"
    SUPERSEDED = "a newer version is there"


TRANSITIONS: Final[Mapping[State, Mapping[On, State]]] = MappingProxyType(
    {
        State.UNROUTABLE: {
            On.ROUTED: State.WAITING,
            On.FOLLOWS: State.BEHIND,
            On.MISSING: State.GONE,
            On.SUPERSEDED: State.REPLACED,
        },
        State.BEHIND: {On.FREED: State.WAITING, On.SUPERSEDED: State.REPLACED},
        State.WAITING: {
            On.TAKEN: State.LOADING,
            On.MISSING: State.GONE,
            On.SUPERSEDED: State.REPLACED,
        },
        State.DELAYED: {
            On.DUE: State.WAITING,
            On.MISSING: State.GONE,
            On.SUPERSEDED: State.REPLACED,
        },
        State.LOADING: {
            On.LOADED: State.UPLOADING,
            On.FAILED: State.DELAYED,
            On.PRECEDED: State.DELAYED,
            On.MISSING: State.GONE,
            On.SUPERSEDED: State.REPLACED,
        },
        State.UPLOADING: {
            On.UPLOADED: State.READY,
            On.FAILED: State.DELAYED,
            On.REFUSED: State.REFUSED,
            On.SUPERSEDED: State.REPLACED,
        },
        State.READY: {
            On.SENT: State.CREATING,
            On.STALE: State.WAITING,
            On.SUPERSEDED: State.REPLACED,
        },
        State.CREATING: {
            On.CONFIRMED: State.CONFIRMED,
            On.SPLIT: State.READY,
            On.FAILED: State.DELAYED,
            On.REFUSED: State.REFUSED,
            On.SUPERSEDED: State.REPLACED,
        },
        State.CONFIRMED: {On.CLEARED: State.DELIVERED},
        State.REFUSED: {
            On.CLEARED: State.DEAD,
            On.FAILED: State.DELAYED,
            On.SUPERSEDED: State.REPLACED,
        },
        State.REPLACED: {On.CLEARED: State.SUPERSEDED},
        State.DELIVERED: {},
        State.DEAD: {},
        State.GONE: {},
        State.SUPERSEDED: {},
    }
)


#: The states in which no worker holds the event.
IN_THE_QUEUE: Final = frozenset(
    {State.UNROUTABLE, State.BEHIND, State.WAITING, State.DELAYED, State.READY}
)


class Verdict(Enum):
    """What is known about an event's delivery."""

    DELIVERED = "delivered"
    #: Not yet, for a reason that has nothing to do with the event.
    WAITING = "waiting"
    #: Not until somebody fixes the key.
    KEY_REFUSED = "key refused"
    #: Never: the API rejected this event.
    REJECTED = "rejected"
    #: A newer version is sent instead; followers of this one learn the outcome of that one.
    SUPERSEDED = "superseded"


@dataclass(frozen=True)
class DeliveryOutcome:
    """What is known about an event's delivery, and why it is so."""

    verdict: Verdict
    warnings: tuple[Remark, ...] = ()
    #: In words; the error itself would keep the event's pictures in memory.
    reason: str = ""
    #: Nothing new is expected soon.
    is_settled: bool = True


class DeliveryHandle:
    """Lets the caller that handed an event over follow its delivery."""

    def __init__(self, on_outcome: Callable[[DeliveryOutcome], None] | None = None) -> None:
        """Starts without an outcome; each one that comes is passed to `on_outcome` too."""
        self._changed = threading.Condition()
        self._outcome: DeliveryOutcome | None = None
        self._on_outcome = on_outcome
        #: Of older versions that this one has replaced.
        self._followers: weakref.WeakSet[DeliveryHandle] = weakref.WeakSet()
        #: Whether somebody waits right now.
        self.is_awaited = False

    def wait(self, timeout_s: float) -> DeliveryOutcome | None:
        """The outcome once waiting longer brings nothing, or after the time; None if none came."""
        with self._changed:
            self.is_awaited = timeout_s > 0
            self._changed.wait_for(
                lambda: self._outcome is not None and self._outcome.is_settled, timeout_s
            )
            self.is_awaited = False
            return self._outcome

    def settle(self, outcome: DeliveryOutcome) -> None:
        """Records the newest outcome, also for the versions that this one has replaced."""
        with self._changed:  # in one step: a follower added from now on finds it
            followers = list(self._followers)
            self._outcome = outcome
            self._changed.notify_all()
        for handle in followers:
            handle.note(outcome)
        if self._on_outcome is not None:
            self._on_outcome(outcome)

    def follow(self, newer: DeliveryHandle) -> None:
        """From now on the newer version's outcomes are this one's as well."""
        with self._changed:
            followers = [self, *self._followers]
        with newer._changed:
            newer._followers.update(followers)
            outcome = newer._outcome
        if outcome is not None:
            for handle in followers:
                handle.note(outcome)

    def note(self, outcome: DeliveryOutcome) -> None:
        with self._changed:
            self._outcome = outcome
            self._changed.notify_all()


@dataclass(frozen=True)
class UploadedImage:
    """An image that the API holds, and since when: the API does not keep unused ones for ever."""

    source_id: str
    at: ClockReading

    def is_fresh(self, now: ClockReading, max_age_s: float) -> bool:
        """Whether it is certainly younger than that many seconds."""
        if self.at.boot_id == now.boot_id:
            age_s = now.uptime_s - self.at.uptime_s
        elif clock.is_plausible(self.at.wall_s) and clock.is_plausible(now.wall_s):
            age_s = now.wall_s - self.at.wall_s
        else:
            return False
        return 0 <= age_s < max_age_s


@dataclass(eq=False)
class QueuedEvent:
    """An event that the courier delivers. Only its holder may touch anything but `state`."""

    event_id: str
    address: Address
    #: Where it is on disk; None if it is in memory only.
    entry: Entry | None = None
    #: The outbox that the entry is in.
    outbox: Outbox | None = None
    #: Read from disk when its turn comes; its pictures are released once they are uploaded.
    contents: EntryContents | None = None
    handle: DeliveryHandle = field(default_factory=DeliveryHandle)
    #: Which version of its event this is.
    version: int = 0
    #: It is counted separately from its event, which is or was counted as another version.
    is_update: bool = False
    is_urgent: bool = False
    is_backlog: bool = False
    state: State = State.UNROUTABLE
    #: The queue that it is in.
    home: Queue | None = None
    #: The versions before it, while they are leaving.
    behind: set[QueuedEvent] = field(default_factory=set)
    #: The version to send once this one has left.
    newer: QueuedEvent | None = None
    #: Whether older versions of it may be in other processes, or among the dead letters.
    may_be_preceded: bool = False
    #: By member, for uploaded images. Survives a failed attempt.
    images: dict[str, UploadedImage] = field(default_factory=dict)
    #: Members whose upload has not ended.
    uploads_open: set[str] = field(default_factory=set)
    #: Some of its images were uploaded in an earlier attempt, perhaps of an earlier process.
    has_old_images: bool = False
    #: They were uploaded again after a refusal that may have been about them.
    has_renewed_images: bool = False
    #: The most serious error of this attempt.
    error: VisionEventsError | None = None
    #: Failed attempts in a row; never held against the event.
    failures: int = 0
    #: How many times its key was refused while other events of the key went through.
    key_refusals: int = 0
    #: How many events its queue had delivered when its key was last refused.
    refused_after: int | None = None
    #: Sent alone, so that its next failure does not affect others.
    goes_alone: bool = False
    ready_at_s: float = 0.0
    #: How many of the ids are kept next to the entry on disk.
    noted_uploads: int = 0
    #: Called with it once it is delivered, rejected for good or replaced.
    on_end: Callable[[QueuedEvent, Verdict], object] | None = None
    #: Writes an event that is only in memory to disk, where that is possible.
    store: Callable[[], None] | None = None

    def move(self, on: On) -> None:
        """Changes the state as the table says.

        Raises:
            RuntimeError: the table has no such transition; a bug of ours.
        """
        following = TRANSITIONS[self.state].get(on)
        if following is None:
            raise RuntimeError(f"no transition from {self.state.value} when {on.value}")
        self.state = following

    @property
    def is_under_way(self) -> bool:
        return bool(TRANSITIONS[self.state])

    @property
    def source_ids(self) -> dict[str, str]:
        """The API's id of each uploaded image, by member."""
        return {member: image.source_id for member, image in self.images.items()}

    @property
    def held(self) -> EntryContents:
        """Its contents, while it is being sent."""
        if self.contents is None:
            raise RuntimeError(f"event {self.event_id} is being sent without its contents")
        return self.contents

    def note_error(self, error: VisionEventsError) -> None:
        """Keeps the most serious: a fault of the event outweighs one of the connection."""
        if self.error is None or error.fault.weight > self.error.fault.weight:
            self.error = error

    def forget_pictures(self) -> None:
        """Pictures that are up, and on disk besides, need no memory."""
        is_up = self.home is not None and self.home.destination.uploads_images
        if is_up and self.entry is not None and self.contents is not None:
            self.contents = replace(self.contents, pictures={})

    def forget_images(self) -> None:
        """Has all of its images uploaded again."""
        self.images.clear()
        self.noted_uploads = 0

    def end(self, verdict: Verdict) -> None:
        """Calls `on_end`, but only the first time."""
        on_end = self.on_end
        if on_end is not None:
            self.on_end, _ = None, on_end(self, verdict)

    def settle(
        self,
        verdict: Verdict,
        error: VisionEventsError | None = None,
        warnings: tuple[Remark, ...] = (),
    ) -> None:
        self.handle.settle(
            DeliveryOutcome(
                verdict,
                reason="" if error is None else str(error),
                is_settled=verdict is not Verdict.WAITING
                or (error is not None and error.is_unsent),
                warnings=warnings,
            )
        )


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2"]
    for state, moves in TRANSITIONS.items():
        lines += [f"    {state.value} --> {after.value}: {on.value}" for on, after in moves.items()]
        if not moves:
            lines.append(f"    {state.value} --> [*]")
    return "\n".join(lines)

"""Versions of one event: which of them is sent, and what is known of those that have ended.

A newer version replaces an older one that no worker has, and waits for one that is leaving. An
older one that turns up later is never sent.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vision_event_block.delivery.queued_event import (
    IN_THE_QUEUE,
    DeliveryOutcome,
    State,
    Verdict,
)
from vision_event_block.outbox import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vision_event_block.delivery.queued_event import (
        DeliveryHandle,
        QueuedEvent,
        UploadedImage,
    )
    from vision_event_block.events.event import VisionEvent
    from vision_event_block.outbox.entry import Address, ClockReading

#: This many events are remembered after their end; of others it is unknown whether an older
#: version is still somewhere.
MAX_ENDED: Final = 10_000
#: This many uploaded pictures are remembered.
MAX_KNOWN_UPLOADS: Final = 4096
#: Enough that threads rarely wait for one another by chance.
_LOCKS: Final = 64
_REPLACED: Final = "a newer version took its place"


def makes_way(state: State, *, is_uploading: bool) -> bool:
    """Whether a newer version replaces an older one in a certain state at once.

    Otherwise it waits until no worker has the older one: that is delivered, or due for a retry
    which then does not happen.

    Args:
        state: The older one's.
        is_uploading: Whether a picture of it is being uploaded; after that both may show it.
    """
    return state in IN_THE_QUEUE or (state is State.UPLOADING and not is_uploading)


@dataclass(frozen=True)
class _Ended:
    version: int
    #: No older version exists elsewhere: this process had each one, and knows how it ended.
    is_all_known: bool


class Versions:
    """The events of a courier, by what their versions share. The caller holds its lock."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, ...], QueuedEvent] = {}
        self._ended: OrderedDict[tuple[str, ...], _Ended] = OrderedDict()

    def newest(self, event: QueuedEvent) -> QueuedEvent | None:
        """The newest of an event's other versions that are here."""
        return self._newest.get(_key(event))

    def is_outdated(self, address: Address, event_id: str, version: int) -> bool:
        """Whether a newer version is or was here."""
        key = (*address.place, event_id)
        newest, ended = self._newest.get(key), self._ended.get(key)
        return max(newest.version if newest else -1, ended.version if ended else -1) > version

    def tell(self, handle: DeliveryHandle, address: Address, event_id: str) -> None:
        """Makes an outdated version's handle follow what becomes of the newest."""
        key = (*address.place, event_id)
        newest, ended = self._newest.get(key), self._ended.get(key)
        if newest is not None:
            handle.follow(newest.handle)
        elif ended is not None:
            verdict = Verdict.DELIVERED if ended.is_all_known else Verdict.SUPERSEDED
            handle.settle(DeliveryOutcome(verdict, reason="" if ended.is_all_known else _REPLACED))

    def has_gone_by(self, address: Address, event_id: str) -> bool:
        """Whether each older version of an event was here, and nothing of it is on disk."""
        key = (*address.place, event_id)
        newest, ended = self._newest.get(key), self._ended.get(key)
        if newest is not None:
            return newest.entry is None and not newest.may_be_preceded
        return ended is not None and ended.is_all_known

    def uncounted(self, address: Address, event_id: str) -> QueuedEvent | None:
        """The event, if it is in memory only: it is counted when it ends or is on disk."""
        newest = self._newest.get((*address.place, event_id))
        if newest is None or newest.entry is not None or newest.is_update or newest.on_end is None:
            return None
        return newest

    def came(self, event: QueuedEvent) -> QueuedEvent | None:
        """Records a version that is the newest; returns the one that was, if it is here."""
        key = _key(event)
        known, ended = self._newest.get(key), self._ended.get(key)
        self._newest[key] = event
        if known is None or known.version >= event.version:
            event.may_be_preceded = event.version > 0 and (ended is None or not ended.is_all_known)
            return None
        event.may_be_preceded = known.may_be_preceded
        # This one inherits whatever that one is waiting for.
        event.behind = {known, *known.behind}
        for older in event.behind:
            older.newer = event
        return known

    def forget(self, event: QueuedEvent, older: QueuedEvent | None) -> None:
        """Undoes `came` for one that was not taken after all; the one before stays."""
        self._newest.pop(_key(event), None)
        for each in event.behind:
            each.newer = older if older is not each else None
        if older is not None:
            self._newest[_key(event)] = older

    def ended(self, event: QueuedEvent) -> None:
        """Records how a version has ended."""
        key = _key(event)
        is_known = event.state in (State.DELIVERED, State.SUPERSEDED)
        newest = self._newest.get(key)
        if newest is not None and newest is not event:
            # Handed over, or among the dead letters, it may be sent by others.
            newest.may_be_preceded |= not is_known
            return
        if event.state is State.SUPERSEDED:
            return  # it came after a newer one had ended
        self._newest.pop(key, None)
        self._ended[key] = _Ended(event.version, is_all_known=is_known)
        self._ended.move_to_end(key)
        if len(self._ended) > MAX_ENDED:
            self._ended.popitem(last=False)


class KnownUploads:
    """Pictures that a destination has, for newer versions that show them, too. Not thread-safe."""

    def __init__(self, max_age_s: float, reading: Callable[[], ClockReading]) -> None:
        self._max_age_s = max_age_s
        self._reading = reading
        #: By member, the newest last.
        self._images: OrderedDict[str, UploadedImage] = OrderedDict()

    def note(self, member: str, image: UploadedImage) -> None:
        self._images[member] = image
        self._images.move_to_end(member)
        if len(self._images) > MAX_KNOWN_UPLOADS:
            self._images.popitem(last=False)

    def of(self, members: Iterable[str]) -> dict[str, UploadedImage]:
        """Those of the pictures that are uploaded and that the API certainly still has."""
        now, known = self._reading(), self._images
        found = {member: known[member] for member in members if member in known}
        return {name: it for name, it in found.items() if it.is_fresh(now, self._max_age_s)}

    def forget(self, members: Iterable[str]) -> None:
        for member in members:
            self._images.pop(member, None)


class Turns:
    """Has versions of one event stored one after the other. Any thread may use it."""

    def __init__(self) -> None:
        self._locks = tuple(threading.Lock() for _ in range(_LOCKS))
        self._early: dict[str, ClockReading] = {}

    def of(self, event_id: str) -> threading.Lock:
        """The lock to hold while a version of the event is stored."""
        return self._locks[hash(event_id) % _LOCKS]

    def taken_when(self, event: VisionEvent) -> ClockReading:
        """The clocks when an event's first version was taken, while the wall clock is wrong.

        The event's time is that of its first version, and is corrected by these clocks.
        """
        now = clock.reading()
        if event.version:
            return self._early.get(event.event_id, now)
        if not clock.is_plausible(now.wall_s) and len(self._early) < MAX_ENDED:
            self._early[event.event_id] = now
        return now


def _key(event: QueuedEvent) -> tuple[str, ...]:
    return (*event.address.place, event.event_id)

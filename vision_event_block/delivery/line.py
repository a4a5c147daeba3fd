"""The line in front of one destination: which request comes next. Not thread-safe."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from typing import TYPE_CHECKING, Final

from vision_event_block.delivery.errands import Create, Errand, Open, Upload
from vision_event_block.delivery.gate import State

if TYPE_CHECKING:
    from vision_event_block.delivery.destination import Destination
    from vision_event_block.delivery.gate import Gate
    from vision_event_block.delivery.parcel import Parcel

#: An event whose pictures are up waits so long for others to share its request.
BATCH_WAIT_S: Final = 0.1
#: New events stay in memory up to here, to save reading them from disk again.
MAX_HELD_BYTES: Final = 8 * 2**20
#: An event whose key is refused once and then so often more, with others going through in
#: between, is itself the reason.
MAX_KEY_REFUSALS: Final = 2


class Line:
    """What waits for one destination, in the order in which it goes."""

    def __init__(
        self, destination: Destination, gate: Gate, *, lanes: int, backlog_bytes_per_s: int
    ) -> None:
        self.destination = destination
        self.gate = gate
        self._lanes = lanes
        self._backlog_bytes_per_s = backlog_bytes_per_s
        self._backlog_from_s = 0.0
        self._numbers = itertools.count()
        self._urgent: deque[Parcel] = deque()
        self._fresh: deque[Parcel] = deque()
        #: Oldest first; (not urgent, number, parcel).
        self._backlog: list[tuple[bool, int, Parcel]] = []
        self._delayed: list[tuple[float, int, Parcel, bool]] = []
        self._uploads: deque[Upload] = deque()
        self._ready: deque[Parcel] = deque()
        #: Halves of a refused batch, and those that go alone.
        self._groups: deque[list[Parcel]] = deque()
        self._creating = 0
        self._created_at_s = -math.inf
        self._held_bytes = 0
        self._opened = {True: 0, False: 0}
        self.pending = 0
        #: When somebody last had something for this destination.
        self.used_at_s = 0.0
        #: How many events were delivered, and how many refused for good.
        self.delivered = 0
        self.rejected = 0
        self.last_error: str | None = None
        self.is_unreachable = False
        self.last_success_s: float | None = None

    def join(self, parcel: Parcel) -> None:
        """A new parcel."""
        self.pending += 1
        if parcel.entry is not None and parcel.contents is not None:
            size_bytes = parcel.entry.size_bytes
            if parcel.is_backlog or self._held_bytes + size_bytes > MAX_HELD_BYTES:
                parcel.contents = None
            else:
                self._held_bytes += size_bytes
        self._queue(parcel)

    def leave(self, parcel: Parcel) -> None:
        """A parcel that is done with."""
        self.pending -= 1
        self.put_down(parcel)

    def put_down(self, parcel: Parcel) -> None:
        """A parcel that is no longer being worked on."""
        self._opened[parcel.is_backlog] = max(0, self._opened[parcel.is_backlog] - 1)

    def back(self, parcel: Parcel, due_s: float, *, is_first: bool = True) -> None:
        """A parcel that is to be tried again, before or after all others."""
        heapq.heappush(self._delayed, (due_s, next(self._numbers), parcel, is_first))

    def hurry(self, now_s: float) -> None:
        """Makes what is to be tried again due now."""
        self._delayed = [
            (min(due_s, now_s), number, parcel, is_first)
            for due_s, number, parcel, is_first in self._delayed
        ]
        heapq.heapify(self._delayed)

    def begun(self) -> list[Parcel]:
        """Parcels of which something is up, and which are not being sent this moment."""
        waiting = [upload.parcel for upload in self._uploads]
        waiting += self._ready
        waiting += itertools.chain.from_iterable(self._groups)
        return list(dict.fromkeys(waiting))

    def pile_up(self) -> None:
        """Makes what waits now the backlog: during an outage nothing stays fresh."""
        for parcel in (*self._urgent, *self._fresh):
            self._let_go(parcel)
            if parcel.entry is not None:
                parcel.contents = None
            parcel.is_backlog = True
            self._queue(parcel)
        self._urgent.clear()
        self._fresh.clear()
        for _, _, parcel, _ in self._delayed:
            parcel.is_backlog = True

    def blames(self, parcel: Parcel) -> bool:
        """Whether a refused key is this event's own doing: others were delivered all the while.

        Uploads do not count: a key may be allowed to upload and nothing else.
        """
        if parcel.is_suspect and self.delivered != parcel.refused_after:
            parcel.key_refusals += 1
        parcel.is_suspect, parcel.refused_after = True, self.delivered
        return parcel.key_refusals >= MAX_KEY_REFUSALS

    def split(self, parcels: list[Parcel]) -> None:
        """The halves of a batch that was refused, to find who is to blame."""
        middle = len(parcels) // 2
        self._groups += [parcels[:middle], parcels[middle:]]

    def add_uploads(self, uploads: list[Upload]) -> None:
        """Pictures of an event that was begun."""
        self._uploads.extend(uploads)

    def add_ready(self, parcel: Parcel, now_s: float) -> None:
        """An event whose pictures are up."""
        parcel.ready_at_s = now_s
        if parcel.is_suspect or parcel.stumbles:  # the next trouble shall not be everybody's
            self._groups.append([parcel])
        else:
            self._ready.append(parcel)

    def creation_ended(self) -> None:
        """A request with events came back."""
        self._creating -= 1

    def next(self, now_s: float) -> Errand | float | None:
        """What to do, or when to ask again, or None if nothing waits."""
        while self._delayed and self._delayed[0][0] <= now_s:
            _, _, parcel, is_first = heapq.heappop(self._delayed)
            self._queue(parcel, first=is_first)
        soonest_s = self._delayed[0][0] if self._delayed else None
        if not self._has_work():
            return soonest_s
        starts_at_s = self.gate.starts_at_s(now_s)
        if starts_at_s is None:
            return soonest_s
        if starts_at_s > now_s:
            return starts_at_s
        if self._groups:
            return self._create(self._groups.popleft(), now_s)
        if self._ready and self._is_batch_due(now_s):
            # A closed gate is tried with one event: it may be about another one.
            is_open = self.gate.state is State.OPEN
            most = self.destination.max_batch_events if is_open else 1
            count = min(most, len(self._ready))
            return self._create([self._ready.popleft() for _ in range(count)], now_s)
        if self._uploads:
            return self._uploads.popleft()
        opened = self._next_parcel(now_s)
        if opened is not None:
            self._opened[opened.is_backlog] += 1
            self._let_go(opened)
            return Open(opened)
        return self._asks_again_at_s(now_s, soonest_s)

    def _create(self, parcels: list[Parcel], now_s: float) -> Create:
        self._creating += 1
        self._created_at_s = now_s
        return Create(parcels)

    def _let_go(self, parcel: Parcel) -> None:
        """A parcel that is held no longer, or in somebody's hands from here on."""
        if parcel.entry is not None and parcel.contents is not None:
            self._held_bytes -= parcel.entry.size_bytes

    def _queue(self, parcel: Parcel, *, first: bool = False) -> None:
        if parcel.is_backlog:
            number = -next(self._numbers) if first else next(self._numbers)
            heapq.heappush(self._backlog, (not parcel.is_urgent, number, parcel))
        elif parcel.is_urgent:
            self._urgent.append(parcel)
        elif first:
            self._fresh.appendleft(parcel)
        else:
            self._fresh.append(parcel)

    def _asks_again_at_s(self, now_s: float, soonest_s: float | None) -> float | None:
        waits = [soonest_s] if soonest_s is not None else []
        if self._ready:
            waits.append(self._ready[0].ready_at_s + BATCH_WAIT_S)
        if self._backlog:
            waits.append(max(self._backlog_from_s, now_s + 0.01))
        return min(waits, default=None)

    def _has_work(self) -> bool:
        queues = (self._groups, self._ready, self._uploads, self._urgent, self._fresh)
        return any(queues) or bool(self._backlog)

    def _is_batch_due(self, now_s: float) -> bool:
        """Whether waiting on would bring no company, or somebody waits for this very event."""
        ticket = self._ready[0].ticket
        is_awaited = ticket is not None and ticket.is_awaited
        is_busy = now_s - self._created_at_s < BATCH_WAIT_S and not is_awaited
        is_lone = not (
            is_busy
            or self._creating
            or self._uploads
            or self._urgent
            or self._fresh
            or (self._backlog and now_s >= self._backlog_from_s)
        )
        return (
            is_lone
            or len(self._ready) >= self.destination.max_batch_events
            or now_s - self._ready[0].ready_at_s >= BATCH_WAIT_S
        )

    def _next_parcel(self, now_s: float) -> Parcel | None:
        fresh = self._urgent or self._fresh
        backlog_may = bool(self._backlog) and now_s >= self._backlog_from_s
        if fresh and not (backlog_may and self._opened[False] >= max(1, self._lanes // 2)):
            return fresh.popleft()
        if not backlog_may:
            return None
        parcel = heapq.heappop(self._backlog)[2]
        if self._backlog_bytes_per_s and parcel.entry is not None:
            self._backlog_from_s = (
                max(now_s, self._backlog_from_s)
                + parcel.entry.size_bytes / self._backlog_bytes_per_s
            )
        return parcel

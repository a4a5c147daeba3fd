"""What follows a request: for the gate, and for the events whose request failed.

Trouble with the link or the key closes the gate and is held against no event; only trouble with
the event itself ends it.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from vision_event_block.delivery.errors import (
    AuthError,
    InternalError,
    NoAnswer,
    RejectedError,
    TransientError,
    Unreachable,
    VisionEventsError,
)
from vision_event_block.delivery.gate import State
from vision_event_block.delivery.parcel import Parcel, Verdict
from vision_event_block.delivery.tally import REJECTED
from vision_event_block.logs import QuietLog

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from vision_event_block.delivery.line import Line
    from vision_event_block.delivery.shelf import Shelf
    from vision_event_block.delivery.tally import Tally

_logger = logging.getLogger(__name__)

FIRST_BACKOFF_S: Final = 1.0


class Aftermath:
    """Draws the consequences. Any thread may ask it to."""

    def __init__(  # noqa: PLR0913 -- what the courier's parts have in common
        self,
        shelf: Shelf,
        tally: Tally,
        *,
        lock: threading.RLock,
        tell: Callable[[], None],
        clock_s: Callable[[], float],
        uniform: Callable[[float, float], float],
        max_backoff_s: float,
    ) -> None:
        self._shelf = shelf
        self._tally = tally
        #: Guards the lines; `tell` wakes whoever waits for them.
        self._lock = lock
        self._tell = tell
        self._clock = clock_s
        self._uniform = uniform
        self._max_backoff_s = max_backoff_s
        self._log = QuietLog(_logger)

    def succeeded(self, line: Line, epoch: int) -> None:
        """The way was free. The caller holds the lock."""
        if line.gate.succeeded(epoch):
            _logger.info("%s is back", line.destination.address)
        line.last_success_s = time.time()
        line.last_error = None

    def troubled(self, line: Line, epoch: int, error: VisionEventsError) -> None:
        """The gate learns what was wrong. The caller holds the lock."""
        now_s = self._clock()
        was_open = line.gate.state is State.OPEN
        if isinstance(error, InternalError):
            line.gate.cancelled(epoch)
            return
        if isinstance(error, TransientError):
            line.gate.troubled(epoch, error, now_s)
        elif isinstance(error, AuthError):
            line.gate.key_refused(epoch, now_s)
        else:
            line.gate.refused(epoch)
            return
        line.last_error = str(error)
        line.is_unreachable = isinstance(error, Unreachable)
        if was_open and line.gate.state is not State.OPEN:
            line.pile_up()

    def failed(self, line: Line, parcels: list[Parcel], error: VisionEventsError) -> None:
        """What follows for events whose request failed."""
        if isinstance(error, RejectedError):
            if len(parcels) > 1:
                with self._lock:
                    line.split(parcels)
                    self._tell()
            else:
                self._bury(line, parcels[0], error)
            return
        is_key = isinstance(error, AuthError)
        self._log.say(
            logging.ERROR if is_key else logging.WARNING,
            ("key" if is_key else "link", error.status, type(error).__name__),
            f"{error}. Events wait and are sent again"
            + ("; mend the key or its scopes" if is_key else ""),
        )
        for parcel in parcels:
            with self._lock:
                is_to_blame = is_key and line.blames(parcel)
            if is_to_blame:
                self._bury(line, parcel, error)
            else:
                self._put_back(line, parcel, error)

    def _put_back(self, line: Line, parcel: Parcel, error: VisionEventsError) -> None:
        self._shelf.put_back(parcel)
        verdict = Verdict.KEY_REFUSED if isinstance(error, AuthError) else Verdict.WAITING
        # Perhaps it was carried out; asking again under the same id settles it.
        asks_at_once = isinstance(error, NoAnswer) and parcel.stumbles == 0
        # First the verdict: once in line, another thread may have a newer one at any moment.
        if not asks_at_once:
            parcel.settle(verdict, error)
        with self._lock:
            is_gates_business = line.gate.state is not State.OPEN and not isinstance(
                error, InternalError
            )
            if asks_at_once or is_gates_business:
                wait_s = 0.0  # a closed gate decides itself
            else:
                step_s = FIRST_BACKOFF_S * 2.0 ** min(parcel.stumbles, 10)
                wait_s = self._uniform(0.0, min(self._max_backoff_s, step_s))
            parcel.stumbles += 1
            line.put_down(parcel)
            parcel.is_backlog |= line.gate.state is not State.OPEN
            if parcel.entry is not None:
                parcel.contents = None
            # Unless nobody was there, another event tries next: it may be about this one, and what
            # always fails must not stand before all others for ever.
            is_first = asks_at_once or isinstance(error, Unreachable)
            line.back(parcel, self._clock() + wait_s, is_first=is_first)
            self._tell()

    def _bury(self, line: Line, parcel: Parcel, error: VisionEventsError) -> None:
        self._log.say(
            logging.ERROR,
            ("rejected", error.status),
            f"event {parcel.event_id} was refused: {error}",
        )
        self._shelf.bury(parcel, error)
        self._tally.add(f"{REJECTED} {error.status or ''}".strip())
        parcel.end(Verdict.REJECTED)
        parcel.settle(Verdict.REJECTED, error)
        with self._lock:
            line.rejected += 1
            line.leave(parcel)
            self._tell()

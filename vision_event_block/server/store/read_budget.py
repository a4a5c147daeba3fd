"""Limits how long the database works for a request, and stops it when nobody waits any more.

A request's budget is found by whoever reads for it, in whichever thread: it lies in the context.
Where there is none, as in the server's own clean-up, nothing is cut short.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from vision_event_block.server.store.errors import Busy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Of one read. Pages and queries take milliseconds; one of seconds asks for too much.
READ_S: Final = 10.0


class Budget:
    """What reads of one request may cost."""

    def __init__(self, read_s: float = READ_S) -> None:
        self.read_s = read_s
        self.has_left = False
        #: Guards the call that cuts a read short, so that it never meets the next one.
        self._lock = threading.Lock()
        self._cut_short: Callable[[], None] | None = None

    def leave(self) -> None:
        """The client has left: its current read is cut short, and no more are started."""
        with self._lock:
            self.has_left = True
            if self._cut_short is not None:
                self._cut_short()

    @contextmanager
    def read(self, cut_short: Callable[[], None] | None = None) -> Iterator[Callable[[], bool]]:
        """One read; gives what says whether it has taken too long.

        Args:
            cut_short: Ends it, called from another thread; None if it asks by itself.

        Raises:
            Busy: the client has left.
        """
        with self._lock:
            if self.has_left:
                raise Busy("the client has left")
            self._cut_short = cut_short
        ends_at_s = time.monotonic() + self.read_s
        try:
            yield lambda: self.has_left or time.monotonic() > ends_at_s
        finally:
            with self._lock:
                self._cut_short = None


_current: ContextVar[Budget | None] = ContextVar("budget", default=None)


def current_budget() -> Budget | None:
    """Of the request that is answered here; None if there is no request."""
    return _current.get()


@contextmanager
def spending(budget: Budget) -> Iterator[None]:
    """Has what reads in the block, or is started from it, keep to the budget."""
    token = _current.set(budget)
    try:
        yield
    finally:
        _current.reset(token)

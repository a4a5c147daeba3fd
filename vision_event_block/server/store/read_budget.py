"""Limits how long the database works for a request, and stops it when the client has left.

A request's budget is in a context variable, so reads for it find it in any thread. Without a
budget, as in the server's own clean-up, reads are not cut short.
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

#: Per read. Pages and queries take milliseconds; one that takes seconds asks for too much.
READ_S: Final = 10.0


class Budget:
    """How long the reads of one request may take."""

    def __init__(self, read_s: float = READ_S) -> None:
        self.read_s = read_s
        self.has_left = False
        #: Guards `_cut_short`, so that it never hits the next read.
        self._lock = threading.Lock()
        self._cut_short: Callable[[], None] | None = None

    def leave(self) -> None:
        """The client has left: cuts its current read short, and refuses further ones."""
        with self._lock:
            self.has_left = True
            if self._cut_short is not None:
                self._cut_short()

    @contextmanager
    def read(self, cut_short: Callable[[], None] | None = None) -> Iterator[Callable[[], bool]]:
        """Bounds one read; yields a function that says whether to stop it.

        Args:
            cut_short: Ends the read from another thread; None if the read polls the function.

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
    """The budget of the current request; None outside a request."""
    return _current.get()


@contextmanager
def spending(budget: Budget) -> Iterator[None]:
    """Applies the budget to reads in the block, and in what is started from it."""
    token = _current.set(budget)
    try:
        yield
    finally:
        _current.reset(token)

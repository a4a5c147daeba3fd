"""The dispatch of this process: made when first asked for, and closed with it.

There is only one, because blocks come and go with each request of a server, while threads and
connections must not.
"""

from __future__ import annotations

import atexit
import logging
import threading
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from vision_event_block.delivery.dispatch import Dispatch
from vision_event_block.delivery.records import Remainder, say_last
from vision_event_block.process import OnePerProcess

if TYPE_CHECKING:
    from collections.abc import Callable

    from vision_event_block.delivery.dispatch import DispatchLimits

_logger = logging.getLogger(__name__)


class SharedDispatch:
    """A dispatch and its users. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._dispatch: Dispatch | None = None
        #: Users, each with what had become of events when it came. One that vanished without
        #: leaving, as on hosts that do not close blocks, no longer counts.
        self._users: WeakKeyDictionary[object, Remainder] = WeakKeyDictionary()
        #: What a block that left has reported already.
        self._told = Remainder()

    def use(
        self, limits: Callable[[], DispatchLimits], user: object, *, exit_timeout_s: float
    ) -> Dispatch:
        """The dispatch, made when first asked for; the limits of later calls are not used.

        It is kept until all of its users have left.
        """
        with self._lock:
            if self._dispatch is None:
                self._dispatch = Dispatch(limits())
                atexit.register(self._close_at_exit, self._dispatch, exit_timeout_s)
            if user not in self._users:
                self._users[user] = self._dispatch.remainder()
            return self._dispatch

    def leave(self, user: object, timeout_s: float) -> Remainder:
        """A block ends: events get a moment; if none are left, the last block ends the dispatch.

        If some are left, the dispatch goes on: the process may live for a long time.
        """
        with self._lock:
            before = self._users.pop(user, Remainder())
            dispatch = self._dispatch
        if dispatch is None:
            return Remainder()
        found = dispatch.remainder(dispatch.flush(timeout_s))
        with self._lock:
            self._told = found
            if found.left or self._users or self._dispatch is not dispatch:
                return found.since(before)
            self._dispatch, self._told = None, Remainder()
            atexit.unregister(self._close_at_exit)
        return dispatch.close(timeout_s).since(before)

    def empty_memory(self, timeout_s: float) -> None:
        """Waits until everything that this process has taken is on disk."""
        dispatch = self._dispatch
        if dispatch is not None:
            dispatch.empty_memory(timeout_s)

    def abandon(self) -> None:
        """In a forked child: its parent sends what the parent took."""
        if self._dispatch is not None:
            self._dispatch.abandon()
            self._dispatch = None

    def _close_at_exit(self, dispatch: Dispatch, timeout_s: float) -> None:
        if dispatch is self._dispatch:  # and not the parent's, in a forked child
            say_last(_logger, dispatch.close(timeout_s, is_last_chance=True).since(self._told))


shared_dispatch: Final = OnePerProcess(SharedDispatch, abandon=SharedDispatch.abandon)

"""The dispatch of this process: made when first asked for, and closed with it.

There is one, because blocks come and go with each request of a server, and threads and connections
shall not. A forked child makes its own.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from vision_event_block.delivery.dispatch import Dispatch
from vision_event_block.delivery.records import Remainder

if TYPE_CHECKING:
    from collections.abc import Callable

    from vision_event_block.delivery.dispatch import DispatchLimits

_logger = logging.getLogger(__name__)

_shared: Dispatch | None = None
#: By identity, with how many events had been rejected when they came.
_users: dict[int, int] = {}
_shared_lock = threading.Lock()
#: How many rejected events a block that left has told of.
_rejected_told = 0


def shared(
    limits: Callable[[], DispatchLimits], user: object, *, exit_timeout_s: float
) -> Dispatch:
    """The dispatch of this process, made when first asked for; later limits are not asked for.

    It is kept until everybody who asked for it has left.
    """
    global _shared  # noqa: PLW0603 - the process has one
    with _shared_lock:
        if _shared is None:
            _shared = Dispatch(limits())
            atexit.register(_close_at_exit, _shared, exit_timeout_s)
        if id(user) not in _users:
            _users[id(user)] = _shared.courier.counts["rejected"]
        return _shared


def leave(user: object, timeout_s: float) -> Remainder:
    """A block ends: events get a moment, and if none are left the last block ends the dispatch.

    If some are left, the dispatch goes on: the process may live for long yet.
    """
    global _shared, _rejected_told  # noqa: PLW0603 - see above
    with _shared_lock:
        rejected_before = _users.pop(id(user), 0)
        dispatch = _shared
    if dispatch is None:
        return Remainder()
    found = dispatch.remainder(dispatch.flush(timeout_s), rejected_before=rejected_before)
    with _shared_lock:
        _rejected_told = rejected_before + found.rejected
        if found.left or _users or _shared is not dispatch:
            return found
        _shared, _rejected_told = None, 0
        atexit.unregister(_close_at_exit)
    ended = dispatch.close(timeout_s)
    return replace(ended, rejected=ended.rejected - rejected_before)


def empty_memory(timeout_s: float) -> None:
    """Waits until everything that this process took is on disk."""
    dispatch = _shared
    if dispatch is not None:
        dispatch.empty_memory(timeout_s)


def _close_at_exit(dispatch: Dispatch, timeout_s: float) -> None:
    if dispatch is _shared:  # and not the parent's, in a forked child
        found = dispatch.close(timeout_s, is_last_chance=True)
        found = replace(found, rejected=found.rejected - _rejected_told)
        if found:
            _logger.warning("%s", found)


def _forget() -> None:
    """A forked child makes its own: its parent sends what the parent took."""
    global _shared, _shared_lock, _rejected_told
    if _shared is not None:
        _shared.abandon()
    _shared, _shared_lock, _rejected_told = None, threading.Lock(), 0
    _users.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

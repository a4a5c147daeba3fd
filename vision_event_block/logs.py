"""Log lines said once per kind and minute: a camera repeats itself thirty times a second."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING
from weakref import WeakSet

from vision_event_block.redaction import printable, without_passwords

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Hashable

PERIOD_S = 60.0
#: More kinds than a process ever has; beyond it the oldest memory is dropped.
MAX_KINDS = 1000


_all: WeakSet[QuietLog] = WeakSet()


class QuietLog:
    """A logger's calm face: repeats within a minute are counted and not written."""

    def __init__(
        self,
        logger: logging.Logger,
        *,
        period_s: float = PERIOD_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger
        self._period_s = period_s
        self._clock = clock
        self._lock = threading.Lock()
        #: kind -> (when it was said last, how often it was held back since). Guarded by the lock.
        self._said: dict[Hashable, tuple[float, int]] = {}
        _all.add(self)

    def renew_lock(self) -> None:
        """For a forked child, where another thread's hold on the lock would never end."""
        self._lock = threading.Lock()

    def say(
        self,
        level: int,
        kind: Hashable,
        message: str,
        *,
        exc_info: BaseException | None = None,
    ) -> None:
        """Writes the message, unless its kind was written less than a minute ago."""
        now = self._clock()
        with self._lock:
            said_at, held_back = self._said.get(kind, (float("-inf"), 0))
            if now - said_at < self._period_s:
                self._said[kind] = (said_at, held_back + 1)
                return
            self._said.pop(kind, None)
            if len(self._said) >= MAX_KINDS:
                del self._said[next(iter(self._said))]
            self._said[kind] = (now, 0)
        # Answers, addresses and ids in it are foreign text.
        message = printable(without_passwords(message))
        repeats = f" (and {held_back} more like it before)" if held_back else ""
        self._logger.log(level, "%s%s", message, repeats, exc_info=exc_info)


def _renew_locks() -> None:
    for log in _all:
        log.renew_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)

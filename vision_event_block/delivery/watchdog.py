"""Ends what takes too long, with one thread for the whole process."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Final

from vision_event_block.process import OnePerProcess

if TYPE_CHECKING:
    from vision_event_block.delivery.http import Connection


class Watchdog:
    """Ends requests whose time is up. Any thread may use it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        #: Guarded by the condition, as is the time at which the thread looks next.
        self._ends_at_s: dict[Connection, float] = {}
        self._looks_at_s = inf
        self._thread: threading.Thread | None = None

    def watch(self, connection: Connection, seconds: float) -> None:
        """Gives the request on a connection this much time from now on."""
        ends_at_s = time.monotonic() + seconds
        with self._changed:
            self._ends_at_s[connection] = ends_at_s
            if self._thread is None or not self._thread.is_alive():
                self._start()
            elif ends_at_s < self._looks_at_s:
                self._changed.notify()

    def forget(self, connection: Connection) -> None:
        with self._changed:
            self._ends_at_s.pop(connection, None)

    def _start(self) -> None:
        thread = threading.Thread(target=self._look, name="vision-event-watchdog", daemon=True)
        # Without it the time-outs of the socket still bound every request but a trickling one.
        with suppress(RuntimeError):
            thread.start()
            self._thread = thread

    def _look(self) -> None:
        while True:
            with self._changed:
                now_s = time.monotonic()
                overdue = [it for it, ends_at_s in self._ends_at_s.items() if ends_at_s <= now_s]
                for connection in overdue:
                    del self._ends_at_s[connection]
                if not overdue:
                    self._looks_at_s = min(self._ends_at_s.values(), default=inf)
                    pause_s = self._looks_at_s - now_s
                    self._changed.wait(None if pause_s == inf else pause_s)
                    self._looks_at_s = -inf
            for connection in overdue:
                connection.overdue()


#: The watchdog of this process.
shared: Final = OnePerProcess(Watchdog)

"""The thread that runs the steps of `upkeep` and other periodic work until it is stopped."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from vision_event_block.delivery.counters import REPLACED
from vision_event_block.logs import QuietLog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vision_event_block.delivery.counters import Counters

_logger = logging.getLogger(__name__)

TICK_S: Final = 1.0


class Housekeeping:
    """Runs each step once per tick; a failure in one does not affect the others."""

    def __init__(self, steps: Mapping[str, Callable[[], object]], counters: Counters) -> None:
        """Starts nothing yet.

        Args:
            steps: What to do, by the name that log lines use.
            counters: Where a replaced thread is counted.
        """
        self._steps = steps
        self._counters = counters
        self._log = QuietLog(_logger)
        self._stopping = threading.Event()
        #: Guards the thread.
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def ensure_running(self) -> None:
        """Starts the thread, again if it died. If no thread can be started, the next call tries."""
        if self._stopping.is_set():
            return
        with self._lock:
            before = self._thread
            if before is not None and before.is_alive():
                return
            thread = threading.Thread(
                target=self._keep, name="vision-event-housekeeping", daemon=True
            )
            self._thread = thread
            try:
                thread.start()
            except (RuntimeError, MemoryError) as error:
                self._thread = before
                words = f"could not start the housekeeping thread: {error}"
                self._log.say(logging.WARNING, "thread", words)
            else:
                if before is not None:
                    self._counters.add(f"{REPLACED} housekeeping")

    def stop(self, timeout_s: float) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _keep(self) -> None:
        while True:
            for name, step in self._steps.items():
                try:
                    step()
                except Exception as error:  # noqa: BLE001, PERF203 - each step for itself
                    self._say(name, error)
            if self._stopping.wait(TICK_S):
                return

    def _say(self, name: str, error: Exception) -> None:
        with suppress(Exception):  # then there is no one to tell
            self._log.say(
                logging.WARNING,
                (name, type(error).__name__),
                f"housekeeping step failed ({name}), will retry: {error}",
            )

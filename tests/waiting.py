"""Waiting for what other threads and processes do."""

from __future__ import annotations

import asyncio
import selectors
import time

#: Far more than anything here takes: on a busy machine a test is slow, not red.
TIMEOUT_S = 30.0
_PAUSE_S = 0.005


def eventually(condition, timeout_s=TIMEOUT_S):
    """What the condition gives once that is true."""
    ends_at_s = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < ends_at_s, "it did not come to pass"
        time.sleep(_PAUSE_S)
    return found


def run_at_once(coroutine):
    """What the coroutine gives; its clock leaps to the end of each pause, and nobody waits.

    However busy the machine is, no pause is longer than was asked for.
    """
    loop = _LeapingLoop()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.close()


class _LeapingSelector(selectors.DefaultSelector):
    now_s = 0.0

    def select(self, timeout=None):
        found = super().select(timeout if timeout is None else 0)
        if not found and timeout:
            self.now_s += timeout
        return found


class _LeapingLoop(asyncio.SelectorEventLoop):
    def __init__(self):
        self._leaps = _LeapingSelector()
        super().__init__(self._leaps)

    def time(self):
        return self._leaps.now_s

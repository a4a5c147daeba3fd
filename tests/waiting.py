"""Waiting for what other threads and processes do."""

from __future__ import annotations

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

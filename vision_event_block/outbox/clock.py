"""The clocks of a machine that may not know the time: many boards start in 1970."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vision_event_block.outbox.entry import Moment

if TYPE_CHECKING:
    from collections.abc import Callable

#: Before this the software did not exist, so the clock is wrong.
EARLIEST_S: Final = datetime(2025, 1, 1, tzinfo=timezone.utc).timestamp()


def is_plausible(wall_s: float) -> bool:
    """Whether a wall clock that shows this may be right."""
    return wall_s >= EARLIEST_S


@lru_cache(maxsize=1)
def boot_id() -> str:
    """What tells this start of the machine from others; empty where there is no such thing."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return "00000000"


def uptime_s() -> float:
    """Seconds since the machine was started, sleep included where the system counts it."""
    return (
        time.clock_gettime(time.CLOCK_BOOTTIME)
        if hasattr(time, "CLOCK_BOOTTIME")
        else time.monotonic()
    )


def moment(wall: Callable[[], float] = time.time, uptime: Callable[[], float] = uptime_s) -> Moment:
    """The clocks now."""
    return Moment(wall(), uptime(), boot_id())


def corrected(timestamp: str, taken: Moment, now: Moment) -> str:
    """The event's time, mended if the wall clock was wrong when it was taken and is right now.

    By how far the clock was wrong is known as long as the machine was not started anew. After
    that the time is lost; the time of sending is the best that is left.
    """
    if is_plausible(taken.wall_s) or not is_plausible(now.wall_s):
        return timestamp
    then = datetime.fromisoformat(timestamp)
    if taken.boot_id == now.boot_id:
        step_s = (now.wall_s - now.uptime_s) - (taken.wall_s - taken.uptime_s)
        return (then + timedelta(seconds=step_s)).isoformat()
    return datetime.fromtimestamp(now.wall_s, timezone.utc).isoformat()

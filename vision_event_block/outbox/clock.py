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
#: For so long a clock must run in step before events are dropped on its word.
PROBATION_S: Final = 3600.0
MAX_DRIFT_S: Final = 60.0


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


class Trust:
    """Whether the wall clock may be believed when it says that events are old.

    A clock that a power cut sent to 2040 would make every event older than any limit. So it has
    to show a plausible time and to run in step with the uptime for an hour; a jump starts that
    hour anew, and in an hour a wrong clock has usually been set.
    """

    def __init__(self) -> None:
        self._offset_s: float | None = None
        self._since_s = 0.0

    def given(self, wall_s: float, uptime: float) -> bool:
        """Whether it may, with the clocks as they are now."""
        offset_s = wall_s - uptime
        if self._offset_s is None or abs(offset_s - self._offset_s) > MAX_DRIFT_S:
            self._offset_s, self._since_s = offset_s, uptime
        return is_plausible(wall_s) and uptime - self._since_s >= PROBATION_S


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

"""The clocks of a machine that may not know the time: many boards start in 1970."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vision_event_block.events.errors import UnfitEvent
from vision_event_block.events.times import parse_time
from vision_event_block.outbox.entry import ClockReading

if TYPE_CHECKING:
    from collections.abc import Callable

#: Before this the software did not exist, so the clock is wrong.
EARLIEST_S: Final = datetime(2025, 1, 1, tzinfo=timezone.utc).timestamp()
#: A clock must run in step for this long before events are dropped on its word.
PROBATION_S: Final = 3600.0
MAX_DRIFT_S: Final = 60.0
#: A clock that was set by this much was wrong before; less may be a time service at work.
WRONG_FROM_S: Final = 86_400.0
#: How far a frame's own time may differ from the clock that it was read from.
MAX_LAG_S: Final = 2 * 3600.0
#: Used as the boot id where the system has none.
UNKNOWN_BOOT: Final = "00000000"


def is_plausible(wall_s: float) -> bool:
    """Whether a wall clock that shows this may be right."""
    return wall_s >= EARLIEST_S


@lru_cache(maxsize=1)
def boot_id() -> str:
    """What identifies this start of the machine; `UNKNOWN_BOOT` where nothing does."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return UNKNOWN_BOOT


def uptime_s() -> float:
    """Seconds since the machine was started, sleep included where the system counts it."""
    return (
        time.clock_gettime(time.CLOCK_BOOTTIME)
        if hasattr(time, "CLOCK_BOOTTIME")
        else time.monotonic()
    )


def reading(
    wall: Callable[[], float] = time.time, uptime: Callable[[], float] = uptime_s
) -> ClockReading:
    """The clocks as they are now."""
    return ClockReading(wall(), uptime(), boot_id())


class Trust:
    """Whether to believe the wall clock when it says that events are old.

    A clock that a power cut sent to 2040 would make every event older than any limit. So it has
    to show a plausible time and to run in step with the uptime for an hour; a jump starts that
    hour again, and in an hour a wrong clock has usually been set.
    """

    def __init__(self) -> None:
        self._offset_s: float | None = None
        self._since_s = 0.0

    def given(self, wall_s: float, uptime: float) -> bool:
        """Whether to believe it, with the clocks as they are now."""
        offset_s = wall_s - uptime
        if self._offset_s is None or abs(offset_s - self._offset_s) > MAX_DRIFT_S:
            self._offset_s, self._since_s = offset_s, uptime
        return is_plausible(wall_s) and uptime - self._since_s >= PROBATION_S


def waited_s(
    taken: ClockReading, stored_at_s: float, now: ClockReading, *, is_wall_trusted: bool
) -> float | None:
    """How long an event has waited; None if no clock can tell.

    Unless the machine was restarted, its uptime tells, whatever happened to the wall clock
    meanwhile. An event that was requeued waits from then on.

    Args:
        taken: The clocks when the event was taken.
        stored_at_s: When it was put into the queue, by the wall clock at that time.
        now: The clocks now.
        is_wall_trusted: Whether the wall clock may be believed now.
    """
    if _is_same_start(taken, now):
        requeued_after_s = max(0.0, stored_at_s - taken.wall_s)
        return now.uptime_s - taken.uptime_s - requeued_after_s
    if is_wall_trusted and is_plausible(taken.wall_s) and is_plausible(now.wall_s):
        return now.wall_s - stored_at_s
    return None


def corrected(timestamp: str, taken: ClockReading, now: ClockReading) -> str:
    """The event's time, corrected if the wall clock was wrong when it was taken and is right now.

    It was wrong if it showed a time before the software existed, or if it has since been set by
    a day or more. By how much is known unless the machine was restarted. After a restart an
    impossible time is lost, and the time of sending is the best substitute. A time that does
    not come from that clock stays as it is.
    """
    was_plausible = is_plausible(taken.wall_s)
    step_s = (now.wall_s - now.uptime_s) - (taken.wall_s - taken.uptime_s)
    is_same_start = _is_same_start(taken, now)
    is_right = was_plausible and not (is_same_start and abs(step_s) >= WRONG_FROM_S)
    if is_right or not is_plausible(now.wall_s) or not _is_of_clock(timestamp, taken):
        return timestamp
    if is_same_start:
        return (parse_time(timestamp) + timedelta(seconds=step_s)).isoformat()
    return datetime.fromtimestamp(now.wall_s, timezone.utc).isoformat()


def _is_of_clock(timestamp: str, taken: ClockReading) -> bool:
    """Whether an event's time was read from this machine's clock, not given by somebody."""
    try:
        return abs(parse_time(timestamp).timestamp() - taken.wall_s) <= MAX_LAG_S
    except (UnfitEvent, OverflowError):
        return False


def _is_same_start(taken: ClockReading, now: ClockReading) -> bool:
    return taken.boot_id == now.boot_id != UNKNOWN_BOOT

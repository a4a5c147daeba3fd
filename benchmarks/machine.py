"""Whether the machine was busy with something else; times taken then are worthless."""

from __future__ import annotations

import os
import time
from pathlib import Path

#: Processors that others may use on average; the kernel itself needs some of that.
QUIET_BELOW = 0.1
_STAT = Path("/proc/stat")
#: The columns of a processor's line that count idle time.
_IDLE, _WAITING_FOR_DISK, _COUNTED = 3, 4, 8
#: The columns of a process after its name.
_USER, _SYSTEM = 11, 12


class Watch:
    """Processor time since it was created that was neither the benchmark's nor idle."""

    def __init__(self, *helpers: int) -> None:
        """Counts this process as the benchmark's, and others by their ids."""
        self._helpers = helpers
        self._started_s, self._others_s = time.perf_counter(), _others_s(helpers)

    def others(self) -> float:
        """How many processors others have used on average, 0 where the kernel does not say."""
        others_s = _others_s(self._helpers) - self._others_s
        return others_s / (time.perf_counter() - self._started_s)


def _others_s(helpers: tuple[int, ...]) -> float:
    if not _STAT.exists():
        return 0.0
    # Time that a hypervisor gave to its other guests is one of the columns.
    ticks = [int(column) for column in _STAT.read_text().split("\n", 1)[0].split()[1:]]
    busy = sum(ticks[:_COUNTED]) - ticks[_IDLE] - ticks[_WAITING_FOR_DISK]
    for helper in helpers:
        # What follows the name, which is in parentheses and may hold anything.
        columns = Path(f"/proc/{helper}/stat").read_text().rpartition(")")[2].split()
        busy -= sum(map(int, columns[_USER : _SYSTEM + 1]))
    return busy / os.sysconf("SC_CLK_TCK") - time.process_time()

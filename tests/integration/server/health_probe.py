"""Asks a server for its health again and again, from a process of its own, and weighs it meanwhile.

How busy the machine is with other things is not the server's fault. So when an answer is not there
at once, this process works while it waits, as the server ought to: the processor time that it got
until the answer came is what the server needed on this machine in that very moment. On an idle
machine that is the time on the wall.

    health_probe.py PORT PID      until its input ends; then prints what it saw
"""

from __future__ import annotations

import json
import re
import select
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

PAUSE_S = 0.05
#: Until here the wall's time counts; then the processor's.
AT_ONCE_S = 0.25
TIMEOUT_S = 60.0
REQUEST = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def asked(port):
    """How long the answer took: on the wall, and of a processor that others use as well."""
    began_s = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as connection:
        connection.sendall(REQUEST)
        select.select([connection], [], [], AT_ONCE_S)
        # It waited no longer than that: the rest is this process standing still.
        waited_s = min(time.monotonic() - began_s, AT_ONCE_S)
        works_from_s = time.process_time()
        while not select.select([connection], [], [], 0)[0]:
            assert time.monotonic() - began_s < TIMEOUT_S, "no answer at all"
            sum(range(1000))
        took_s, worked_s = time.monotonic() - began_s, time.process_time() - works_from_s
        answer = connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 200"), answer
    return took_s, waited_s + worked_s


def field_mib(pid, name):
    """A figure of a process that is a size."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+)", status)[1]) / 1024


def memory_mib(pid):
    """What a process and its children hold."""
    total = 0.0
    with suppress(OSError, TypeError):
        total += field_mib(pid, "VmRSS")
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += sum(
                memory_mib(int(child)) for child in (task / "children").read_text().split()
            )
    return total


def main():
    port, pid = int(sys.argv[1]), int(sys.argv[2])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    worst_s = worst_work_s = peak_mib = 0.0
    asks = 0
    # Twice at least: on a busy machine one answer may take as long as the whole attack.
    while not select.select([sys.stdin], [], [], PAUSE_S)[0] or asks < 2:
        took_s, work_s = asked(port)
        asks += 1
        worst_s, worst_work_s = max(worst_s, took_s), max(worst_work_s, work_s)
        peak_mib = max(peak_mib, memory_mib(pid))
    # Between two answers it may have held more; the kernel knows.
    peak_mib = max(peak_mib, field_mib(pid, "VmHWM"))
    seen = {"asks": asks, "worst_s": worst_s, "worst_work_s": worst_work_s, "peak_mib": peak_mib}
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main()

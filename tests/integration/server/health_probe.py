"""Asks a server for its health again and again, from a process of its own, and weighs it meanwhile.

How busy the machine is with other things is not the server's fault: before and after, the probe
measures how many times longer than alone a moment of work takes here.

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
WORK_S = 0.15
REQUEST = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def stretch():
    """Seconds that a second of work takes."""
    started_s, ends_cpu_s = time.monotonic(), time.process_time() + WORK_S
    while time.process_time() < ends_cpu_s:
        sum(range(1000))
    return max(1.0, (time.monotonic() - started_s) / WORK_S)


def asked_s(port):
    """How long the answer took."""
    started_s = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(REQUEST)
        answer = connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 200"), answer
    return time.monotonic() - started_s


def memory_mib(pid):
    """What a process and its children hold."""
    total = 0.0
    with suppress(OSError, TypeError):
        status = Path(f"/proc/{pid}/status").read_text()
        total += int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += sum(
                memory_mib(int(child)) for child in (task / "children").read_text().split()
            )
    return total


def main():
    port, pid = int(sys.argv[1]), int(sys.argv[2])
    before = stretch()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    worst_s = peak_mib = 0.0
    while not select.select([sys.stdin], [], [], PAUSE_S)[0]:
        worst_s = max(worst_s, asked_s(port))
        peak_mib = max(peak_mib, memory_mib(pid))
    seen = {"worst_s": worst_s, "peak_mib": peak_mib, "stretch": max(before, stretch())}
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main()

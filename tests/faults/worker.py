"""A process that records events through the real dispatch, without the host.

    python worker.py          forks once for each task on its input, a line of JSON
    python worker.py TASK     carries out one task, and ends as any script does

A fork is ready within milliseconds; a new interpreter would spend most of a test on imports. A
fork says on the shared output that it is ready. What it has stored it writes into its log, and
only when that is so: whoever reads the log knows what must arrive.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from vision_event_block.delivery.client import Secret, Timeouts, VisionEventsClient
from vision_event_block.delivery.courier import CourierLimits
from vision_event_block.delivery.destinations import ApiDestination
from vision_event_block.delivery.dispatch import Dispatch, DispatchLimits
from vision_event_block.delivery.records import NotTaken
from vision_event_block.events.event import EventImage, VisionEvent
from vision_event_block.events.images import Picture, Snapshot
from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.quota import OutboxLimits
from vision_event_block.outbox.snapshot import take_snapshot

if TYPE_CHECKING:
    from typing_extensions import Self

KEY: Final = "made-up-key"
#: Tells the requests of one process from those of others.
WORKER_HEADER: Final = "X-Worker"
#: In tests with a full disk: files may grow no longer, which is less than an event with pictures.
SMALL_FILE_BYTES: Final = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a worker does."""

    outbox: str
    url: str
    #: A folder; each worker has a file of its own in it.
    logs: str
    events: int = 1_000_000_000
    every_s: float = 0.0
    #: Of each of the two pictures.
    picture_bytes: int = 20_000
    #: Instead: pictures of so many pixels a side, which the worker has to encode.
    side_px: int = 0
    waits: bool = True
    threads: int = 8
    read_timeout_s: float = 30.0
    limits: dict[str, int] = field(default_factory=lambda: {"min_free_bytes": 0})
    #: After the last event: `close`, `drain` (once nothing waits in the outbox), or `vanish`.
    ends: str = "close"
    close_timeout_s: float = 5.0
    #: The disk is full from here to there, counted in events: `room` or `file size`.
    full: str = ""
    full_from: int = 0
    full_until: int = 0
    #: Events in several versions each: these go on, with the next version and how many there were.
    versions: bool = False
    continues: tuple[tuple[str, int, int], ...] = ()
    #: How many of them are recorded while the worker waits.
    share_waiting: float = 1.0


class Log:
    """What a worker meant to store and what it has stored."""

    def __init__(self, folder: str) -> None:
        path = Path(folder) / f"{os.getpid()}-{uuid4().hex[:8]}.log"
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def say(self, kind: str, *words: str) -> None:
        """One line, whole or not at all."""
        os.write(self._descriptor, f"{' '.join((kind, *words))}\n".encode())

    def close(self) -> None:
        os.close(self._descriptor)


class Nursery:
    """Starts workers as forks of one process; a context manager."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(60)

    def start(self, task: Task) -> int:
        """The process id of a worker that is ready for its first event."""
        return self._ask({"task": asdict(task)})["ready"]

    def wait(self, pid: int) -> int:
        """The exit status of a worker, once it has ended; negative if a signal ended it."""
        return self._ask({"wait": pid})["status"]

    def kill(self, pid: int) -> None:
        """Ends a worker in the middle of whatever it does."""
        os.kill(pid, 9)
        status = self.wait(pid)
        assert status == -9, f"the worker had ended before with status {status}"

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        self._process.stdin.write(json.dumps(request) + "\n")
        answer = self._process.stdout.readline()
        assert answer, "the nursery has ended"
        return json.loads(answer)


def event_with(task: Task) -> tuple[VisionEvent, list[str]]:
    """An event, and the hashes of its two pictures as far as they are known."""
    event_id = str(uuid4())
    if task.side_px:
        pictures = [snapshot_of(event_id, which, task.side_px) for which in ("output", "input")]
        hashes = []
    else:
        # A picture says whose it is.
        contents = [
            f"{event_id} {which} ".encode() + os.urandom(task.picture_bytes)
            for which in ("output", "input")
        ]
        pictures = [Picture(content=content) for content in contents]
        hashes = [hashlib.sha256(content).hexdigest() for content in contents]
    event = VisionEvent(
        event_type="custom",
        use_case_id="bottles",
        timestamp=datetime.now(timezone.utc),
        event_id=event_id,
        event_data={"value": event_id},
        images=(EventImage(label="workflow", output=pictures[0], input=pictures[1]),),
    )
    return event, hashes


def snapshot_of(event_id: str, which: str, side_px: int) -> Snapshot:
    """A picture that no other event has."""
    import numpy as np  # noqa: PLC0415 -- most workers do without, and fork before threads start

    seed = int.from_bytes(f"{event_id} {which}".encode(), "big")
    pixels = np.random.default_rng(seed).integers(0, 256, (side_px, side_px, 3), np.uint8)
    return Snapshot(pixels=pixels, quality=90)


def destination_of(task: Task) -> ApiDestination:
    client = VisionEventsClient(
        base_url=task.url,
        api_key=Secret(KEY),
        timeouts=Timeouts(read_s=task.read_timeout_s),
        build_headers=lambda _: {WORKER_HEADER: str(os.getpid())},
    )
    return ApiDestination(client, task.url, Secret(KEY))


def carry_out(task: Task) -> None:
    """Records events until there are enough, or until the process is killed."""
    if task.versions:
        from tests.faults.versions_child import record_all  # noqa: PLC0415 -- it imports this one

        record_all(task)
        return
    log = Log(task.logs)
    if task.side_px:
        event_with(task)[0].encoded(lambda snapshots: [each.encode() for each in snapshots])
    descriptors = open_files()
    dispatch = Dispatch(
        DispatchLimits(
            Path(task.outbox),
            OutboxLimits(**task.limits),
            CourierLimits(threads=task.threads, max_backoff_s=0.2),
        )
    )
    destination = destination_of(task)
    print(json.dumps({"ready": os.getpid()}), flush=True)  # noqa: T201
    disk = FullDisk(task)
    for number in range(task.events):
        if task.full and number == task.full_from:
            drain(dispatch, Path(task.outbox), 60.0)  # what is delivered later would leave room
        disk.turn(number)
        event, hashes = event_with(task)
        log.say("intends", event.event_id, *hashes)
        began_s = time.monotonic()
        try:
            receipt = dispatch.record(event, destination, waits=task.waits)
        except NotTaken as error:
            log.say("refused", event.event_id, str(error))
        else:
            log.say("stored" if receipt.is_stored else "kept", event.event_id)
        time.sleep(max(0.0, task.every_s - (time.monotonic() - began_s)))
    if task.ends == "vanish":
        os.kill(os.getpid(), 9)
    if task.ends == "drain":
        drain(dispatch, Path(task.outbox), 60.0)
    if not task.waits:
        dispatch.empty_memory(60.0)
    dispatch.close(task.close_timeout_s)
    log.say("descriptors", str(descriptors), str(open_files()))
    log.close()


def open_files() -> int:
    """How many descriptors the process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


def drain(dispatch: Dispatch, folder: Path, timeout_s: float) -> None:
    """Waits until nothing is left, here and in the slots of processes that are gone."""
    ends_at_s = time.monotonic() + timeout_s
    while dispatch.flush(1.0) or take_snapshot(folder, RealDisk()).pending:
        if time.monotonic() > ends_at_s:
            sys.exit(3)
        time.sleep(0.02)


class FullDisk:
    """Lets the disk be full for a part of a worker's events."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._filler = Path(task.outbox).parent / "filler"

    def turn(self, number: int) -> None:
        """Does what is due before the event of this number."""
        if self._task.full and number == self._task.full_from:
            self._fill()
        elif self._task.full and number == self._task.full_until:
            self._empty()

    def _fill(self) -> None:
        if self._task.full == "file size":
            resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL_FILE_BYTES, resource.RLIM_INFINITY))
            return
        with self._filler.open("wb", buffering=0) as filler:
            for size_bytes in (64 * 1024, 1):
                with suppress(OSError):  # it is full, at this grain
                    while filler.write(bytes(size_bytes)):
                        pass

    def _empty(self) -> None:
        if self._task.full == "file size":
            unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        else:
            self._filler.unlink()


def carry_out_in_forks() -> None:
    """Answers a nursery's requests: a fork for each task, which says itself that it is ready."""
    while line := sys.stdin.readline():
        request = json.loads(line)
        if "wait" in request:
            status = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
            print(json.dumps({"status": status}), flush=True)  # noqa: T201
        elif os.fork() == 0:
            os.close(0)
            carry_out(Task(**request["task"]))
            return


if __name__ == "__main__":
    if len(sys.argv) > 1:
        carry_out(Task(**json.loads(sys.argv[1])))
    else:
        carry_out_in_forks()

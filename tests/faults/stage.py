"""One process with an API, an outbox and a dispatch, and a record of what it was told.

Time passes faster here than elsewhere, so that thousands of faults can be tried: what is due
every few seconds is due every few hundredths.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import vision_event_block.delivery
import vision_event_block.outbox
from tests.faults.judge import Logs
from tests.faults.worker import KEY, Task, destination_of, event_with
from tests.paths import paths_in
from vision_event_block.delivery.courier import CourierLimits
from vision_event_block.delivery.dispatch import Dispatch, DispatchLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.injection import Injector
    from vision_event_block.testing import StandInApi

#: What is due now and then, and how often it is here.
PERIODS_S: Final = {
    "TICK_S": 0.03,
    "ADOPT_EVERY_S": 0.06,
    "COMPARE_EVERY_S": 0.3,
    "REOPEN_EVERY_S": 0.06,
    "BATCH_WAIT_S": 0.01,
    "FIRST_BACKOFF_S": 0.03,
}
THREADS: Final = 2
_HOUSEKEEPING: Final = "vision-event-housekeeping"
#: What a process has that sends.
HEALTHY_THREADS: Final = THREADS + 1
#: How long a scenario waits for something that faults may keep from happening.
PATIENCE_S: Final = 0.4
#: How long the system has once its faults have stopped.
BOUND_S: Final = 6.0
_POLL_S: Final = 0.003


def quicken() -> None:
    """Makes all that is due now and then due soon."""
    known = set()
    for room in (vision_event_block.delivery, vision_event_block.outbox):
        for found in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
            module = importlib.import_module(found.name)
            for name, period_s in PERIODS_S.items():
                if hasattr(module, name):
                    setattr(module, name, period_s)
                    known.add(name)
    assert known == PERIODS_S.keys(), f"no such periods: {PERIODS_S.keys() - known}"


class Stage:
    """Where a scenario plays. Its faults happen inside of `harm` only."""

    def __init__(self, home: Path, api: StandInApi, injector: Injector) -> None:
        self.home = home
        self.api = api
        self.folder = home / "outbox"
        self.limits = replace(DispatchLimits(self.folder).outbox, min_free_bytes=0)
        self.logs = Logs()
        #: Where else than at the API events are to end up.
        self.dead: set[str] = set()
        self.dropped: set[str] = set()
        self.exported: set[str] = set()
        self.may_shed = False
        self.patience_s = PATIENCE_S
        #: Times that an event was sent again because sending it had failed.
        self.resent = 0
        #: What a scenario finds that nobody needs any more.
        self.left_over: list[str] = []
        #: A descriptor that a scenario never closes.
        self.left_open: int | None = None
        self.dispatch: Dispatch | None = None
        #: What came of each call that failed while the faults were there.
        self.raised: list[BaseException] = []
        self._injector = injector
        self._task = Task(
            outbox=str(self.folder), url=api.url, logs="", picture_bytes=6_000, read_timeout_s=1.0
        )
        self.destination = destination_of(self._task)

    @contextmanager
    def harm(self) -> Iterator[None]:
        """Here the fault happens."""
        self._injector.arm()
        try:
            yield
        finally:
            self._injector.disarm()

    def dispatch_limits(self) -> DispatchLimits:
        courier = CourierLimits(threads=THREADS, max_backoff_s=0.05, key_retry_s=0.1)
        return DispatchLimits(self.folder, self.limits, courier)

    def open(self) -> None:
        """A host starts."""
        with self.tried():
            self.dispatch = Dispatch(self.dispatch_limits())

    def close(self) -> None:
        """The host ends in order."""
        dispatch, self.dispatch = self.dispatch, None
        if dispatch is not None:
            with self.tried():
                dispatch.close(0.0)

    def let_go(self) -> int:
        """What the end of the process does to locks that nobody let go of; how many there were."""
        mine = [n for n, path in descriptors().items() if path.startswith(str(self.folder))]
        for number in mine:
            os.close(int(number))
        return len(mine)

    def end(self) -> None:
        """What belongs to the stage itself is closed."""

    def note(self, error: BaseException) -> None:
        """Keeps an exception alone: its traceback would keep alive what fell with it."""
        self.raised.append(error.with_traceback(None))

    @contextmanager
    def tried(self) -> Iterator[None]:
        """Notes an exception: whoever called was told."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 -- whatever a fault becomes
            self.note(error)

    def record(self, *, waits: bool = True) -> str:
        """An event is recorded, as the block does it; its id."""
        event, hashes = event_with(self._task)
        self.logs.hashes[event.event_id] = hashes
        if self.dispatch is None:
            self.logs.refused.add(event.event_id)
            return event.event_id
        try:
            receipt = self.dispatch.record(event, self.destination, waits=waits)
        except Exception as error:  # noqa: BLE001 -- the block says "failed" of whatever it is
            self.note(error)
            self.logs.refused.add(event.event_id)
        else:
            (self.logs.stored if receipt.is_stored else self.logs.kept).add(event.event_id)
        return event.event_id

    def until(self, is_so: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Waits, as long as the stage's patience lasts or as is said; whether it came true."""
        ends_at_s = time.monotonic() + (self.patience_s if timeout_s is None else timeout_s)
        while not is_so():
            if time.monotonic() > ends_at_s:
                return False
            time.sleep(_POLL_S)
        return True

    def is_through(self) -> bool:
        """Whether everything that was taken has arrived, and nothing waits."""
        return not self._late() and not self.entries()

    def how_much_is_left(self) -> str:
        """In words that name no event."""
        return f"{len(self._late())} taken and not sent, {len(self.entries())} in line"

    def _late(self) -> set[str]:
        elsewhere = self.dead | self.dropped | self.exported
        return (self.logs.stored | self.logs.kept) - elsewhere - self.api.events.keys()

    def slots(self) -> list[Path]:
        """The folders of processes."""
        return list((self.folder / "slots").glob("*"))

    def entries(self, folder: str = "slots/*") -> list[Path]:
        """The files of events in a part of the outbox."""
        return [it for it in paths_in(self.folder, f"{folder}/*.tar") if it.name[0].isdigit()]

    def command(self, *arguments: Any) -> int:
        """The exit status of a command; 3 if it failed in an odd way."""
        from typer.testing import CliRunner  # noqa: PLC0415 -- with the command line, below

        from vision_event_block import settings  # noqa: PLC0415
        from vision_event_block.cli.commands import app  # noqa: PLC0415

        settings.current.cache_clear()
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            self.note(result.exception)
            return 3
        return int(result.exit_code)

    def environment(self) -> dict[str, str]:
        """What the commands find in theirs."""
        return {
            "ROBOFLOW_API_KEY": KEY,
            "VISION_EVENT_API_URL": self.api.url,
            "VISION_EVENT_OUTBOX": str(self.folder),
            "VISION_EVENT_OUTBOX_MIN_FREE_BYTES": "0",
            "VISION_EVENT_OUTBOX_MAX_BYTES": str(self.limits.max_bytes),
            "VISION_EVENT_MAX_BACKOFF_S": "0.05",
            "VISION_EVENT_SENDERS": str(THREADS),
        }


def our_threads() -> list[str]:
    """The names of the threads that each dispatch has of its own."""
    names = (thread.name for thread in threading.enumerate() if thread.is_alive())
    return sorted(
        name for name in names if name.startswith(("vision-event-courier", _HOUSEKEEPING))
    )


def descriptors() -> dict[str, str]:
    """What is open, by number."""
    found = {}
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found[path.name] = str(path.readlink())
    return found

"""Two threads that encode pictures, shared by the whole process."""

from __future__ import annotations

import ctypes
import os
import threading
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeVar

from vision_event_block.events.errors import UnfitPicture
from vision_event_block.process import OnePerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vision_event_block.events.images import Picture, Snapshot

THREADS = 2

_Result = TypeVar("_Result")
#: Returns which processor the caller is on; None on systems where a thread cannot be bound to one.
_this_processor: Final = (
    getattr(ctypes.CDLL(None), "sched_getcpu", None) if hasattr(os, "sched_setaffinity") else None
)


def encode_together(snapshots: Sequence[Snapshot]) -> list[Picture | UnfitPicture]:
    """The pictures in the order of the snapshots; for one that cannot be encoded, the reason.

    The calling thread encodes the first one while the others are in progress.
    """
    others = [run_soon(_encode, snapshot) for snapshot in snapshots[1:]]
    first = [_encode(snapshot) for snapshot in snapshots[:1]]
    return [*first, *(other.result() for other in others)]


def encode_in_turn(snapshots: Sequence[Snapshot]) -> list[Picture | UnfitPicture]:
    """The same, by the calling thread alone."""
    return [_encode(snapshot) for snapshot in snapshots]


def run_soon(work: Callable[..., _Result], *arguments: Any) -> Future[_Result]:
    """Starts the work on one of the threads, and returns the future of its result.

    If this process can have no more threads, the caller does the work itself. If this raises, the
    work is not done at all.
    """
    future: Future[_Result] = Future()
    task = (future, work, arguments)
    threads = _threads()
    if threads.is_one_running():
        threads.prefer_other_processors()
        threads.work.put(task)
    else:
        _carry_out(*task)
    return future


class _Threads:
    """They start with the first work and wait for more until the process ends."""

    def __init__(self) -> None:
        self.work: SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = (
            SimpleQueue()
        )
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._processors = os.sched_getaffinity(0) if _this_processor else set()

    def is_one_running(self) -> bool:
        """Whether work that is put now will be done; starts what is missing."""
        with self._lock:
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            taken = {thread.name for thread in self._threads}
            for name in (f"vision-event-encoder_{number}" for number in range(THREADS)):
                if name in taken:
                    continue
                thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._threads.append(thread)
                try:
                    thread.start()
                except RuntimeError:  # no more threads, or the interpreter is shutting down
                    self._threads.remove(thread)
                    break
            return bool(self._threads)

    def prefer_other_processors(self) -> None:
        """Has the threads begin their next work on other processors than the caller's.

        In virtual machines a thread is often woken on the caller's processor, where the caller goes
        on encoding, though another one is idle: two encodings then take as long as one after
        the other.
        """
        if _this_processor and len(self._processors) > 1:
            others = self._processors - {_this_processor()}
            for thread in self._threads:
                _bind(thread.native_id, others)

    def _work(self) -> None:
        while True:
            task = self.work.get()
            if self._processors:  # it has begun; from here on the kernel decides better
                _bind(0, self._processors)
            try:
                _carry_out(*task)
            except BaseException as error:  # noqa: BLE001 -- before it had begun
                task[0].set_exception(error)
            del task  # its pictures are large, and the next task may be a long time away


def _bind(thread_id: int | None, processors: set[int]) -> None:
    if thread_id is not None:  # it has started
        with suppress(OSError):  # it has ended, or this is not allowed here
            os.sched_setaffinity(thread_id, processors)


def _carry_out(future: Future[Any], work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        future.set_result(work(*arguments))
    except BaseException as error:  # noqa: BLE001 - whoever waits for the result gets it
        future.set_exception(error)
        # The error refers to this frame, which must not refer to the error: pictures would stay.
        del future, work, arguments


def _encode(snapshot: Snapshot) -> Picture | UnfitPicture:
    try:
        return snapshot.encode()
    except UnfitPicture as error:
        return error
    except Exception as error:  # noqa: BLE001 - OpenCV's errors have no common base we could name
        return UnfitPicture(f"{type(error).__name__}: {error}")


_threads: Final = OnePerProcess(_Threads)

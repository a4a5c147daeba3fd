"""Two threads that encode pictures, shared by the whole process."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from vision_event_block.events.errors import UnfitPicture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vision_event_block.events.pictures import Picture, Snapshot

THREADS = 2

_Result = TypeVar("_Result")
_pool: ThreadPoolExecutor | None = None


def encode_together(snapshots: Sequence[Snapshot]) -> list[Picture | UnfitPicture]:
    """The pictures in the order of the snapshots; where one cannot be, the reason.

    The calling thread encodes the first one while the others are under way.
    """
    others = [run_soon(_encode, snapshot) for snapshot in snapshots[1:]]
    return [*(_encode(snapshot) for snapshot in snapshots[:1]), *(other() for other in others)]


def encode_in_turn(snapshots: Sequence[Snapshot]) -> list[Picture | UnfitPicture]:
    """The same, by the calling thread alone."""
    return [_encode(snapshot) for snapshot in snapshots]


def run_soon(work: Callable[..., _Result], *arguments: Any) -> Callable[[], _Result]:
    """Starts the work on one of the threads; calling what comes back waits for its result."""
    global _pool  # noqa: PLW0603 - the process has one pool, made when first needed
    if _pool is None:
        _pool = ThreadPoolExecutor(THREADS, thread_name_prefix="vision-event-encoder")
    try:
        return _pool.submit(work, *arguments).result
    except RuntimeError:  # the interpreter is shutting down and takes no new work
        result = work(*arguments)
        return lambda: result


def _encode(snapshot: Snapshot) -> Picture | UnfitPicture:
    try:
        return snapshot.encode()
    except UnfitPicture as error:
        return error
    except Exception as error:  # noqa: BLE001 - OpenCV's errors have no common base we could name
        return UnfitPicture(f"{type(error).__name__}: {error}")


def _forget() -> None:
    """A forked child has the pool's memory but not its threads."""
    global _pool  # noqa: PLW0603
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

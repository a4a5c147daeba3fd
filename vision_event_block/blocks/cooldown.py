"""At most one event per key and period.

The source of truth in this process is a table with monotonic times, because blocks are new for
each HTTP request and the wall clock may jump. Frames of one video file count by their place in it
instead: a file can play faster or slower than real time. Where the host's cache is shared with
other processes (Redis), the end of the period is noted there as well.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from vision_event_block.logs import QuietLog
from vision_event_block.story.ring import MAX_LATE_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from typing_extensions import Self

_log = QuietLog(logging.getLogger(__name__))

#: Beyond this many keys the oldest are forgotten; most belong to crops of pictures long gone.
MAX_KEYS = 10_000
CACHE_PREFIX = "vision_event_block:cooldown:"
#: A run of the engine is over after this time. Its id may come from an HTTP header, and a client
#: that repeats one for ever must not bypass the cooldown.
RUN_LASTS_S = 60.0
#: How long another worker may hold the cache's lock before it counts as dead.
LOCK_EXPIRES_S = 2.0
#: After a failure the cache is left alone this long: each try at one that hangs takes seconds.
CACHE_RESTS_S = 5.0

_Note = dict[str, Any]
#: Stands in for a note where the period is counted in this process only.
_UNSHARED: _Note = {}


@dataclass(frozen=True)
class VideoTime:
    """A frame's place in a video file."""

    #: The pipeline that plays it: another pipeline's video has another time.
    session: str | None
    at_s: float


@dataclass(eq=False)
class _Spent:
    at_s: float  # monotonic
    run: str | None
    video: VideoTime | None = None
    #: How far the video has been seen to play since.
    seen_s: float = -math.inf
    #: Claims of one run of the engine; once all are taken back, the period counts as not spent.
    claims: int = 1
    give_back: Callable[[], None] = lambda: None


class Claim:
    """The right to record one event now, given back at the end of `with` unless it is kept."""

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._give_back = give_back
        self._is_kept = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_kept:
            self.release()

    def keep(self) -> None:
        """The event is recorded, so the period counts."""
        self._is_kept = True

    def release(self) -> None:
        """The period counts as not spent."""
        self._give_back()


class Cooldown:
    """Decides who may record now. One for all blocks of a process."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._lock = threading.Lock()
        #: What this process signs its notes with.
        self._name = uuid4().hex
        #: Guarded by the lock.
        self._spent: dict[str, _Spent] = {}
        #: Monotonic; read and written without the lock: one try more or less does no harm.
        self._cache_rests_until_s = float("-inf")

    def claim(
        self,
        key: str,
        period_s: float,
        *,
        run: str | None,
        cache: Any = None,
        video: VideoTime | None = None,
    ) -> Claim | None:
        """A claim on the period of this key; None while someone else's lasts.

        Everything recorded in the same `run` of the engine belongs together: either all crops of a
        picture pass, or none.
        """
        if period_s <= 0:
            return Claim(lambda: None)
        with self._lock:
            now = self._clock()
            before = self._spent.get(key)
            if before is not None and _elapsed_s(before, now, video) < period_s:
                is_same_run = run is not None and run == before.run
                if not is_same_run or now - before.at_s > RUN_LASTS_S:
                    return None
                before.claims += 1
                # Looked up when it is called: the first claim may still be in progress.
                return Claim(lambda: before.give_back())  # noqa: PLW0108
            self._spent.pop(key, None)  # so that the newest come last
            while len(self._spent) >= MAX_KEYS:
                del self._spent[next(iter(self._spent))]
            mine = self._spent[key] = _Spent(now, run, video)
        # Outside the lock: a cache that hangs must not hold up the other cameras.
        note = _UNSHARED if cache is None else self._claim_in_cache(cache, key, period_s, mine)
        if note is None:
            self._give_back(key, mine, before)
            return None

        def give_back() -> None:
            with self._lock:
                mine.claims -= 1
                if mine.claims:
                    return
            if self._give_back(key, mine, before) and note is not _UNSHARED:
                self._free_in_cache(cache, key, note)

        mine.give_back = give_back
        return Claim(give_back)

    def _give_back(self, key: str, mine: _Spent, before: _Spent | None) -> bool:
        """Restores what was spent before, unless someone else has spent since."""
        with self._lock:
            if self._spent.get(key) is not mine:
                return False
            if before is None:
                del self._spent[key]
            else:
                self._spent[key] = before
            return True

    def _claim_in_cache(self, cache: Any, key: str, period_s: float, mine: _Spent) -> _Note | None:
        """The note that allows recording an event; None while another process's period lasts.

        A cache that does not answer must not hold back events: then only this process counts.
        """
        if self._clock() < self._cache_rests_until_s:
            return _UNSHARED
        try:
            note = self._lasting_note(cache, key, period_s, mine)
            if note is None:  # first without the lock: most events are held back
                with _lock_of(cache, key):
                    note = self._lasting_note(cache, key, period_s, mine)
                    if note is None:
                        until_s = self._wall_clock() + period_s
                        note = {"until": until_s, "run": mine.run, "by": self._name}
                        # Redis takes whole seconds only, and zero would mean no expiry.
                        cache.set(CACHE_PREFIX + key, note, expire=max(1, math.ceil(period_s)))
                        return note
            return note if mine.run is not None and note.get("run") == mine.run else None
        except Exception as error:  # noqa: BLE001 - whatever a cache of the host's may raise
            self._let_cache_rest(error)
            return _UNSHARED

    def _lasting_note(self, cache: Any, key: str, period_s: float, mine: _Spent) -> _Note | None:
        """What any process has noted for this key, unless that is over."""
        note = cache.get(CACHE_PREFIX + key)
        try:
            until_s = float(note["until"])
        except (TypeError, KeyError, ValueError):
            return None
        if mine.video is not None and note.get("by") == self._name:
            return None  # over by the video's time, as the table says
        now_s = self._wall_clock()
        # A period that ends further ahead than its length was noted by a clock that jumped.
        return note if now_s < until_s <= now_s + period_s else None

    def _free_in_cache(self, cache: Any, key: str, note: _Note) -> None:
        """Ends a period that was noted, unless another process has noted one since."""
        if self._clock() < self._cache_rests_until_s:
            return
        try:
            with _lock_of(cache, key):
                if cache.get(CACHE_PREFIX + key) == note:
                    cache.set(CACHE_PREFIX + key, {**note, "until": 0.0}, expire=1)
        except Exception as error:  # noqa: BLE001 - as above
            self._let_cache_rest(error)

    def _let_cache_rest(self, error: Exception) -> None:
        self._cache_rests_until_s = self._clock() + CACHE_RESTS_S
        _log.say(logging.WARNING, "cache", f"the cooldown is not shared between processes: {error}")


def _elapsed_s(before: _Spent, now_s: float, video: VideoTime | None) -> float:
    """How long ago a period began: by the video's time where both have the same."""
    if video is None or before.video is None or before.video.session != video.session:
        return now_s - before.at_s
    if video.at_s < before.seen_s - MAX_LATE_S:  # it was restarted
        return math.inf
    before.seen_s = max(before.seen_s, video.at_s)
    return video.at_s - before.video.at_s


def _lock_of(cache: Any, key: str) -> AbstractContextManager[Any]:
    """A lock that one process holds at a time, where the cache has such locks."""
    lock = getattr(cache, "lock", None)
    if lock is None:
        return nullcontext()
    held: AbstractContextManager[Any] = lock(f"{CACHE_PREFIX}lock:{key}", expire=LOCK_EXPIRES_S)
    return held

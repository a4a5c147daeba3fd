"""How much disk space the server may use: in total, and for pictures that no event refers to yet.

What would exceed a limit is refused before anything is written, with a status that clients retry:
what waits at the client is not lost, whereas a full disk loses data. A server with `keep_bytes`
makes room first, and refuses only if nothing may be removed.
"""

from __future__ import annotations

import shutil
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from sqlalchemy import func, or_, select

from vision_event_block.server.store import schema
from vision_event_block.server.store.errors import LimitReached, TooManyIdle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from vision_event_block.server.store.database import Database

MIB: Final = 2**20
#: The default for what stays free on the disk: this, or a share of a small disk.
MIN_FREE_BYTES: Final = 512 * MIB
MIN_FREE_PART: Final = 0.05
MAX_IDLE_BYTES: Final = 512 * MIB
MAX_IDLE_PICTURES: Final = 50_000
#: Sums are reused for at least this long, and for this many times as long as they took.
FRESH_S: Final = 2.0
PAUSES_FACTOR: Final = 20
#: A stale sum never causes a refusal, but refusals within this time share one sum.
REFUSALS_SHARE_S: Final = 0.2

#: How often room is made for one write before it is refused.
_MOST_STEPS: Final = 50
#: With this much free space inside the database, events are written even if the disk is full,
FREED_BYTES: Final = 4 * MIB
#: as long as the disk has this much free for SQLite's journal.
_JOURNAL_BYTES: Final = 64 * MIB

_pictures = schema.pictures.c
HAS_BYTES: Final = or_(_pictures.shed_us.is_(None), _pictures.idle_since_us == schema.SHEDDING)


@dataclass(frozen=True, kw_only=True)
class DiskLimits:
    #: For pictures and the database together; None for no limit.
    max_bytes: int | None = None
    #: For the part of these that can be freed: beyond it the oldest goes. None for no limit.
    keep_bytes: int | None = None
    #: What stays free on the disk; None for the default.
    min_free_bytes: int | None = None
    #: For uploaded pictures that no event has referred to yet.
    max_idle_bytes: int = MAX_IDLE_BYTES


@dataclass(frozen=True, kw_only=True)
class Sizes:
    events: int
    pictures: int
    picture_bytes: int
    database_bytes: int
    #: On the server's own disk; None if nothing is stored there.
    free_bytes: int | None


@dataclass
class _Sums:
    """What was stored when it was summed up, plus what was admitted since."""

    idle_bytes: int = 0
    idle_count: int = 0
    picture_bytes: int = 0
    database_bytes: int = 0
    summed_at_s: float = float("-inf")
    took_s: float = 0.0
    has_refused: bool = False


class DiskQuota:
    """Enforces the limits. Sums are estimates, and may lag by seconds."""

    def __init__(
        self,
        limits: DiskLimits,
        database: Database,
        folder: Path | None,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """Checks the free space on the disk of a folder, unless it is None."""
        self._limits = limits
        self._database = database
        self._folder = folder
        self._timer = timer
        self._lock = threading.Lock()
        self._sums = _Sums()
        #: Admitted, and perhaps not in the database yet.
        self._reserved_bytes = 0
        self._reserved_count = 0
        #: The bytes of all pictures, and when to sum them up again.
        self._kept_bytes = 0
        self._look_at_s = float("-inf")
        #: Makes some room when the server is full, and returns whether it did; None if it may not.
        self.make_room: Callable[..., bool] | None = None
        #: The sizes read last, and until when they are valid.
        self._sizes: tuple[Sizes, float] | None = None

    @property
    def keep_bytes(self) -> int | None:
        return self._limits.keep_bytes

    def admit_events(self) -> None:
        """Returns if events may be written.

        Raises:
            LimitReached: they would exceed a limit.
        """
        self._once_there_is_room(self._admit_events, only_pictures=False)

    def _admit_events(self) -> None:
        try:
            self._look_at_disk(0)
            if self._limits.max_bytes is not None:
                with self._lock:
                    self._look_at_sum(0)
        except LimitReached:
            if not self._has_freed_bytes():
                raise

    def _has_freed_bytes(self) -> bool:
        """Whether events fit into space freed within the database, without growing it."""
        if self._folder is not None and shutil.disk_usage(self._folder).free < _JOURNAL_BYTES:
            return False
        with self._database.reading() as connection:
            return self._database.freed_bytes(connection) >= FREED_BYTES

    def reserve_picture(self, size_bytes: int) -> None:
        """Returns if a picture of this size may be written; counts it until it is released.

        Raises:
            LimitReached: it would exceed a limit.
            TooManyIdle: too many uploaded pictures are in no event yet.
        """
        self._once_there_is_room(partial(self._reserve_picture, size_bytes), only_pictures=True)

    def _reserve_picture(self, size_bytes: int) -> None:
        self._look_at_disk(size_bytes)
        with self._lock:
            self._look_at_sum(size_bytes)
            reserved_bytes = self._reserved_bytes + size_bytes
            if not self._allows(
                lambda sums: (
                    sums.idle_bytes + reserved_bytes <= self._limits.max_idle_bytes
                    and sums.idle_count + self._reserved_count < MAX_IDLE_PICTURES
                )
            ):
                raise TooManyIdle(
                    "too many uploaded pictures are in no event yet: create their events first, "
                    "or wait until they are removed"
                )
            self._reserved_bytes += size_bytes
            self._reserved_count += 1

    def release_picture(self, size_bytes: int) -> None:
        """The picture is in the database now, or will not be."""
        with self._lock:
            self._reserved_bytes -= size_bytes
            self._reserved_count -= 1
            self._sums.idle_bytes += size_bytes
            self._sums.idle_count += 1
            self._sums.picture_bytes += size_bytes
            self._kept_bytes += size_bytes

    @contextmanager
    def forgetting(self, size_bytes: int) -> Iterator[None]:
        """Subtracts from the sums what the block removes from the database, under one lock."""
        with self._lock:
            yield
            self._sums.picture_bytes -= size_bytes
            self._kept_bytes -= size_bytes

    def excess_bytes(self, share: float = 1.0) -> int:
        """How far what is kept exceeds a share of `keep_bytes`; negative if it does not."""
        if self._limits.keep_bytes is None:
            return -1
        with self._database.reading() as connection:
            records_bytes = self._database.records_bytes(connection)
        kept_bytes = self._kept_bytes + self._reserved_bytes + records_bytes
        return kept_bytes - int(self._limits.keep_bytes * share)

    def look_again(self) -> None:
        """Sums up what is kept, from time to time: other servers may add and remove, too.

        It blocks no writer: what this server adds or removes meanwhile is included in the sum.
        """
        began_s = self._timer()
        if self._limits.keep_bytes is None or began_s < self._look_at_s:
            return
        query = select(func.coalesce(func.sum(_pictures.size_bytes), 0)).where(HAS_BYTES)
        with self._database.reading() as connection:
            with self._lock:
                connection.execute(select(schema.version.c.number))  # starts the snapshot
                kept_bytes = self._kept_bytes
            picture_bytes = int(connection.execute(query).scalar_one())
        with self._lock:
            self._kept_bytes += picture_bytes - kept_bytes
        ended_s = self._timer()
        self._look_at_s = ended_s + max(FRESH_S, PAUSES_FACTOR * (ended_s - began_s))

    def _once_there_is_room(self, admit: Callable[[], None], *, only_pictures: bool) -> None:
        if self.make_room is None:
            admit()
            return
        self.make_room()
        for _ in range(_MOST_STEPS):
            try:
                admit()
            except LimitReached:  # noqa: PERF203 -- what fits ends the loop
                if not self.make_room(disk_is_full=True, only_pictures=only_pictures):
                    raise
                self.sum_up_again()
            else:
                return
        admit()

    def sizes(self) -> Sizes:
        """What is stored; figures that are slow to read are cached."""
        began_s = self._timer()
        if self._sizes is not None and began_s < self._sizes[1]:
            return self._sizes[0]
        total = func.coalesce(func.sum(_pictures.size_bytes), 0)
        events = func.coalesce(func.sum(schema.use_cases.c.event_count), 0)
        with self._database.reading() as connection:
            picture_bytes, pictures = connection.execute(
                select(total, func.count()).where(HAS_BYTES)
            ).one()
            sizes = Sizes(
                events=int(connection.execute(select(events)).scalar_one()),
                pictures=pictures,
                picture_bytes=int(picture_bytes),
                database_bytes=self._database.size_bytes(connection),
                free_bytes=None if self._folder is None else shutil.disk_usage(self._folder).free,
            )
        ended_s = self._timer()
        self._sizes = (sizes, ended_s + PAUSES_FACTOR * (ended_s - began_s))
        return sizes

    def sum_up_again(self) -> None:
        """Discards the sums after much was removed."""
        with self._lock:
            self._sums.summed_at_s = float("-inf")
            self._look_at_s = float("-inf")

    def _look_at_disk(self, size_bytes: int) -> None:
        if self._folder is None:
            return
        disk = shutil.disk_usage(self._folder)
        least_bytes = self._limits.min_free_bytes
        if least_bytes is None:
            least_bytes = min(MIN_FREE_BYTES, int(disk.total * MIN_FREE_PART))
        if disk.free - size_bytes < least_bytes:
            raise LimitReached(
                f"the disk of the server has {disk.free // MIB:,} MiB left, and "
                f"{least_bytes // MIB:,} MiB of it are for others (--min-free-bytes)"
            )

    def _look_at_sum(self, size_bytes: int) -> None:
        max_bytes = self._limits.max_bytes
        if max_bytes is None:
            return
        size_bytes += self._reserved_bytes
        if not self._allows(
            lambda sums: sums.picture_bytes + sums.database_bytes + size_bytes <= max_bytes
        ):
            raise LimitReached(
                f"the server is full: it may keep {max_bytes // MIB:,} MiB (--max-bytes); "
                "--keep-bytes or --delete-after-days makes room"
            )

    def _allows(self, limit: Callable[[_Sums], bool]) -> bool:
        sums = self._sums
        age_s = self._timer() - sums.summed_at_s
        if age_s < max(FRESH_S, PAUSES_FACTOR * sums.took_s) and limit(sums):
            return True
        if not (sums.has_refused and age_s < max(REFUSALS_SHARE_S, PAUSES_FACTOR * sums.took_s)):
            sums = self._sums = self._summed_up()
        sums.has_refused = not limit(sums)
        return not sums.has_refused

    def _summed_up(self) -> _Sums:
        now_s = self._timer()
        is_idle = _pictures.idle_since_us == _pictures.uploaded_us  # never referred to
        size = func.coalesce(func.sum(_pictures.size_bytes), 0)
        picture_bytes = database_bytes = 0
        with self._database.reading() as connection:
            idle = select(size, func.count()).where(_pictures.idle_since_us.is_not(None), is_idle)
            idle_bytes, idle_count = connection.execute(idle).one()
            if self._limits.max_bytes is not None:
                picture_bytes = connection.execute(select(size).where(HAS_BYTES)).scalar_one()
                database_bytes = self._database.size_bytes(connection)
        took_s = self._timer() - now_s
        return _Sums(int(idle_bytes), idle_count, int(picture_bytes), database_bytes, now_s, took_s)

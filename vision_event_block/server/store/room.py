"""Makes room once the server stores more than it should: what is removed first, and how.

The oldest goes first, across all use cases. At the same age an original goes before an annotated
picture, and both before their event. So that not all originals go before the first annotated
picture, nor all pictures before the first event, ages are weighted: an annotated picture stays
twice as long as an original, an event ten times as long.

A picture is as old as the newest event that shows it. When its bytes are removed, its row stays and
says when, so the event's reference is never silently broken. Nothing that is pinned or waits to be
forwarded is removed, nor are its pictures.
"""

from __future__ import annotations

import json
import logging
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, exists, false, func, or_, select, true, update

from vision_event_block.server.store import schema
from vision_event_block.server.store.disk_quota import FREED_BYTES
from vision_event_block.server.store.errors import StorageDown
from vision_event_block.server.store.facets import PINNED, pictures_of
from vision_event_block.server.store.fields import is_field
from vision_event_block.server.store.records import Cleaned, Kept
from vision_event_block.server.store.retention import (
    LONG_AGO_US,
    PAUSE_S,
    WAITS,
    erase_and_settle,
    oldest_events,
    step,
    sweep_pictures,
    sweep_uploads,
)
from vision_event_block.server.store.timestamps import moment_of, now_us
from vision_event_block.server.store.writing import CHUNK, IS_PINNED, PUT_TO_USE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from vision_event_block.server.store.database import Database
    from vision_event_block.server.store.disk_quota import DiskQuota
    from vision_event_block.server.store.fields import Fields
    from vision_event_block.server.store.retention import RemoveBytes
    from vision_event_block.server.store.timestamps import Clock

#: How many times as long as an original these stay.
_ANNOTATED_STAYS: Final = 2
_EVENT_STAYS: Final = 10
#: Room is made down to this share of the limit, so that it is not needed all the time.
_LEFT_SHARE: Final = 0.99
#: Beyond this share of the limit, writers make room first.
_PRESSING_SHARE: Final = 1.01
#: What is freed per step when the disk is full.
_STEP_BYTES: Final = 8 * 2**20
#: Events per step whose pictures get their age.
_FILED_EVENTS: Final = 200
#: The fewest rows to look at for each use case.
_LEAST_ROWS: Final = 4

_pictures = schema.pictures.c
_kept_by_an_event = exists(
    select(schema.picture_uses.c.event_no)
    .join(schema.events, schema.events.c.no == schema.picture_uses.c.event_no)
    .where(schema.picture_uses.c.picture_id == _pictures.id, or_(IS_PINNED, WAITS))
    .correlate(schema.pictures)
)
_MAY_GO: Final = (
    _pictures.shown_us.is_not(None),
    _pictures.shed_us.is_(None),
    _pictures.idle_since_us.is_(None),
    ~_kept_by_an_event,
)

log = logging.getLogger(__name__)


class Room:
    """Makes room in small steps, so that events can be stored meanwhile. Thread-safe."""

    def __init__(
        self,
        database: Database,
        fields: Fields,
        quota: DiskQuota,
        remove_bytes: RemoveBytes,
        clock: Clock,
    ) -> None:
        self._database = database
        self._fields = fields
        self._quota = quota
        self._remove_bytes = remove_bytes
        self._clock = clock
        #: Held during a step.
        self._turn = threading.Lock()
        #: Whether all pictures have their age, which an earlier version did not record.
        self._is_filed = False
        #: Where the last step of a pass ended, by use case and by `is_output` of pictures, so that
        #: what stays is passed over once.
        self._events_after: dict[int, tuple[int, str]] = {}
        self._pictures_after: dict[bool, tuple[int, str]] = {}
        self._has_warned = False
        #: Whether removing bytes failed: until it succeeds, nothing else is marked for removal.
        self._is_stuck = False

    @property
    def is_needed(self) -> bool:
        """Whether more is stored than allowed."""
        self._quota.look_again()
        return self._quota.excess_bytes() > 0

    def kept(self) -> Kept:
        """How much is kept, and since when; cheap enough for a page."""
        sizes = self._quota.sizes()
        with self._database.reading() as connection:
            return Kept(
                size_bytes=sizes.picture_bytes + self._database.records_bytes(connection),
                limit_bytes=self._quota.keep_bytes,
                pinned=connection.execute(_COUNT_PINNED).scalar_one(),
                **_oldest(connection),
            )

    def make(self) -> Cleaned:
        """Makes room until the limit is met; returns how many events and pictures were removed."""
        self._file_pictures()
        with self._turn:
            # What was passed over may go by now, even if it is only the disk that is full.
            self._events_after, self._pictures_after = {}, {}
        events, pictures = 0, self._finish_removals()
        self._quota.look_again()
        if self._quota.excess_bytes() <= 0:
            return Cleaned(events=0, pictures=pictures)
        if uploads := sweep_uploads(self._database, self._remove_bytes, self._clock):
            self._quota.sum_up_again()
            self._quota.look_again()
            pictures += uploads
        while (excess_bytes := self._quota.excess_bytes(_LEFT_SHARE)) > 0:
            with self._turn:
                gone = self._step(excess_bytes)
            if gone is None:
                self._warn(excess_bytes)
                break
            events, pictures = events + gone.events, pictures + gone.pictures
        else:
            self._has_warned = False
        return Cleaned(events=events, pictures=pictures)

    def make_some(self, *, disk_is_full: bool = False, only_pictures: bool = True) -> bool:
        """Makes a step of room for a writer, if it is urgent; returns whether there is some.

        If the disk is full, only pictures make room for a picture: space that events leave in the
        database only serves other events.
        """
        if not self._is_filed:
            return False
        if not disk_is_full and self._quota.excess_bytes(_PRESSING_SHARE) <= 0:
            return True
        with self._turn, suppress(StorageDown):
            excess_bytes = self._quota.excess_bytes(_LEFT_SHARE)
            if self._is_stuck:
                return False
            if disk_is_full:
                with self._database.reading() as connection:
                    # Erasing every event would free too little, or an unknown amount.
                    is_vain = self._database.records_bytes(connection) < FREED_BYTES
                gone = self._step(
                    max(excess_bytes, _STEP_BYTES if only_pictures else FREED_BYTES),
                    only_pictures=only_pictures or is_vain,
                )
            else:
                gone = self._step(excess_bytes)
            return gone is not None
        return False

    def _step(self, excess_bytes: int, *, only_pictures: bool = False) -> Cleaned | None:
        """Removes what goes first, no more than the excess; None if nothing may be removed."""
        now = now_us(self._clock)
        with self._database.reading() as connection:
            originals = _Kind(1, self._oldest_pictures(connection, is_output=False))
            annotated = _Kind(_ANNOTATED_STAYS, self._oldest_pictures(connection, is_output=True))
            records_bytes = self._database.records_bytes(connection)
            # Erasing every event would not be enough: what must stay exceeds the limit.
            is_vain = not (originals.rows or annotated.rows) and records_bytes < excess_bytes
            no_events = only_pictures or is_vain
            events = _Kind(_EVENT_STAYS, [] if no_events else self._oldest_events(connection))
            count = connection.execute(select(func.sum(schema.use_cases.c.event_count))).scalar()
        kinds = [kind for kind in (originals, annotated, events) if kind.rows]
        if not kinds:
            return None
        first = max(kinds, key=lambda kind: kind.age_us(kind.rows[0], now))  # the first of equals
        others = (kind.age_us(kind.rows[0], now) for kind in kinds if kind is not first)
        least_us = max(others, default=0.0)
        rows = [
            row for row in first.rows if row is first.rows[0] or first.age_us(row, now) >= least_us
        ]
        if first is events:
            per_event_bytes = max(records_bytes // max(int(count or 0), 1), 1)
            return self._erase(rows[: 1 + excess_bytes // per_event_bytes])
        return self._shed(rows, excess_bytes, now, is_output=first is annotated)

    def _erase(self, rows: Sequence[Any]) -> Cleaned:
        for row in rows:
            self._events_after[row.use_case_no] = (row.time_us, row.event_id)
        with step(self._database, max_pause_s=PAUSE_S) as connection:
            events = erase_and_settle(connection, rows, self._fields, idle_since_us=LONG_AGO_US)
        # The bytes of nearly all of their pictures were removed before.
        sweep_pictures(self._database, self._remove_bytes, self._clock)
        return Cleaned(events=events, pictures=0)

    def _shed(
        self, rows: Sequence[Any], excess_bytes: int, now: int, *, is_output: bool
    ) -> Cleaned:
        ids = []
        for row in rows:
            if excess_bytes <= 0:
                break
            ids.append(row.id)
            excess_bytes -= row.size_bytes
            self._pictures_after[is_output] = (row.time_us, row.id)
        # If the process is killed after any step, the rows lead here again.
        with step(self._database, max_pause_s=PAUSE_S) as connection:
            query = select(_pictures.id, _pictures.media_type, _pictures.size_bytes)
            gone = connection.execute(query.where(_pictures.id.in_(ids), *_MAY_GO)).all()
            connection.execute(
                update(schema.pictures)
                .where(_pictures.id.in_([row.id for row in gone]))
                .values(idle_since_us=schema.SHEDDING, shed_us=now)
            )
        self._remove(gone)
        return Cleaned(events=0, pictures=len(gone))

    def _finish_removals(self) -> int:
        """Removes the bytes of pictures whose removal was interrupted; returns how many."""
        query = (
            select(_pictures.id, _pictures.media_type, _pictures.size_bytes)
            .where(_pictures.idle_since_us == schema.SHEDDING)
            .limit(CHUNK)
        )
        finished = 0
        while True:
            with self._turn:
                with self._database.reading() as connection:
                    rows = connection.execute(query).all()
                self._remove(rows)
            finished += len(rows)
            if len(rows) < CHUNK:
                return finished

    def _remove(self, rows: Sequence[Any]) -> None:
        """Removes the bytes of pictures that are already marked as SHEDDING."""
        self._is_stuck = bool(rows)
        if not rows:
            return
        self._remove_bytes({row.id: row.media_type for row in rows})
        self._is_stuck = False
        size_bytes = sum(row.size_bytes for row in rows)
        with self._quota.forgetting(size_bytes), self._database.writing() as connection:
            connection.execute(
                update(schema.pictures)
                .where(
                    _pictures.id.in_([row.id for row in rows]),
                    _pictures.idle_since_us == schema.SHEDDING,
                )
                .values(idle_since_us=None)
            )

    def _oldest_pictures(self, connection: Connection, *, is_output: bool) -> Sequence[Any]:
        later = []
        if (after := self._pictures_after.get(is_output)) is not None:
            later = [
                _pictures.shown_us >= after[0],
                or_(_pictures.shown_us > after[0], _pictures.id > after[1]),
            ]
        query = (
            select(_pictures.id, _pictures.shown_us.label("time_us"), _pictures.size_bytes)
            .where(_pictures.is_output == (true() if is_output else false()), *later, *_MAY_GO)
            .order_by(_pictures.shown_us, _pictures.id)
            .limit(CHUNK)
        )
        return connection.execute(query).all()

    def _oldest_events(self, connection: Connection) -> Sequence[Any]:
        """The oldest events across all use cases, from a number of rows of each."""
        numbers = connection.execute(select(schema.use_cases.c.no)).scalars().all()
        each = max(2 * CHUNK // max(len(numbers), 1), _LEAST_ROWS)
        found: list[Any] = []
        known_until: list[int] = []
        for number in numbers:
            rows = oldest_events(connection, number, self._events_after.get(number), each)
            found += rows
            if len(rows) == each:
                known_until.append(rows[-1].time_us)
        until_us = min(known_until, default=None)
        found.sort(key=lambda row: (row.time_us, row.event_id))
        return [row for row in found if until_us is None or row.time_us <= until_us][:CHUNK]

    def _file_pictures(self) -> None:
        """Records the age and the kind of pictures where an earlier version did not."""
        events, bodies, uses = schema.events.c, schema.bodies.c, schema.picture_uses.c
        unknown = select(_pictures.id).where(
            _pictures.shown_us.is_(None), _pictures.idle_since_us.is_(None)
        )
        query = (
            select(events.no, events.time_us, bodies.body, bodies.received)
            .join(schema.bodies, bodies.event_no == events.no)
            .where(events.no > bindparam("after"), exists().where(uses.event_no == events.no))
            .order_by(events.no)
            .limit(_FILED_EVENTS)
        )
        last_no = 0
        with self._database.reading() as connection:
            is_done = self._is_filed or connection.execute(unknown.limit(1)).first() is None
        while not is_done:
            with self._database.reading() as connection:
                rows = connection.execute(query, {"after": last_no}).all()
            filed = [
                {"picture": picture_id, "time": row.time_us, "output": is_output}
                for row in rows
                for picture_id, is_output in pictures_of(
                    {**json.loads(row.body), **json.loads(row.received or "{}")}
                ).items()
            ]
            if filed:
                with step(self._database) as connection:
                    connection.execute(PUT_TO_USE.where(_pictures.idle_since_us.is_(None)), filed)
            last_no = rows[-1].no if rows else 0
            is_done = len(rows) < _FILED_EVENTS
        self._is_filed = True

    def _warn(self, excess_bytes: int) -> None:
        if not self._has_warned:
            self._has_warned = True
            log.warning(
                "%d MB more is kept than --keep-bytes allows: nothing else may go, since it is "
                "pinned, waits to be forwarded, or was uploaded within the hour",
                excess_bytes // 1_000_000,
            )


@dataclass(frozen=True)
class _Kind:
    """Candidates of one kind, the oldest first."""

    #: How many times as long as an original it stays.
    stays: int
    rows: Sequence[Any]

    def age_us(self, row: Any, now: int) -> float:
        return float(max(now - row.time_us, 0)) / self.stays


def _oldest(connection: Connection) -> dict[str, datetime | None]:
    """The times of the oldest event, and of the oldest picture of either kind."""
    events = schema.events.c
    of_each = (
        select(func.min(events.time_us))
        .where(events.use_case_no == schema.use_cases.c.no)
        .scalar_subquery()
    )
    shown = select(func.min(_pictures.shown_us)).where(
        _pictures.shown_us.is_not(None), _pictures.shed_us.is_(None)
    )
    queries = {
        "oldest_event_at": select(func.min(of_each)).select_from(schema.use_cases),
        "oldest_original_at": shown.where(_pictures.is_output == false()),
        "oldest_annotated_at": shown.where(_pictures.is_output == true()),
    }
    found = {name: connection.execute(query).scalar() for name, query in queries.items()}
    return {name: None if time is None else moment_of(time) for name, time in found.items()}


_COUNT_PINNED: Final = (
    select(func.count())
    .select_from(schema.facets.join(schema.fields, schema.fields.c.no == schema.facets.c.field_no))
    .where(is_field(PINNED))
)

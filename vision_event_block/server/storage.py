"""The store of the local server: events, their pictures and the use cases they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import func, select

from vision_event_block.server.pictures.bucket import PictureBucket
from vision_event_block.server.pictures.decoders import MAX_CPU_S, MAX_PIXELS
from vision_event_block.server.pictures.folder import PictureFolder
from vision_event_block.server.pictures.picture_store import PictureStore
from vision_event_block.server.pictures.thumbnails import Thumbnails
from vision_event_block.server.store import schema, selection, statistics
from vision_event_block.server.store.counting import count_up_to
from vision_event_block.server.store.database import Database
from vision_event_block.server.store.devices import devices_of
from vision_event_block.server.store.disk_quota import DiskLimits, DiskQuota
from vision_event_block.server.store.errors import BadQuery
from vision_event_block.server.store.fields import Fields
from vision_event_block.server.store.group_commit import GroupCommit
from vision_event_block.server.store.keep_rules import KeepRule
from vision_event_block.server.store.reading import (
    described,
    feedback_on,
    load_events,
    stored_event,
)
from vision_event_block.server.store.records import Cleaned, Deleted, Mark, Page, is_storable
from vision_event_block.server.store.retention import (
    erase_chosen,
    erase_due,
    seal_blocks,
    settle_forwarding,
    sweep_chosen,
    sweep_pictures,
)
from vision_event_block.server.store.room import Room
from vision_event_block.server.store.search import Position, matching
from vision_event_block.server.store.sessions import Sessions
from vision_event_block.server.store.stored_keys import StoredKeys
from vision_event_block.server.store.timestamps import DAY_US, now_us, utc_now
from vision_event_block.server.store.use_cases import UseCases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from typing_extensions import Self

    from vision_event_block.server.store.devices import Devices
    from vision_event_block.server.store.disk_quota import Sizes
    from vision_event_block.server.store.facets import Part
    from vision_event_block.server.store.filters import Filters
    from vision_event_block.server.store.records import NewEvent, Pinned, StoredEvent, Timeline
    from vision_event_block.server.store.timestamps import Clock

DEFAULT_LOOKBACK_DAYS: Final = 14.0
#: Events that `walk` loads at a time, fewer if they are large.
_WALK_EVENTS: Final = 200


class Store:
    """All data of the server: in one folder, or in PostgreSQL and a bucket.

    Once `put` or `pictures.put` returns, its data is on disk, or as safe as its storage makes it.
    All methods block, and may be called from any thread.
    """

    def __init__(  # noqa: PLR0913 -- the parts that `open` puts together
        self,
        database: Database,
        pictures: PictureStore,
        *,
        lookback_days: float | None,
        keep_rules: Sequence[KeepRule],
        clock: Clock,
        quota: DiskQuota,
    ) -> None:
        #: Older events are hidden from queries; None hides nothing.
        self.lookback_days = lookback_days
        #: How long `clean_up` keeps events.
        self.keep_rules = tuple(keep_rules)
        self.use_cases = UseCases(database, clock)
        self.pictures = pictures
        self.keys = StoredKeys(database, clock)
        self.sessions = Sessions(database, clock)
        self._database = database
        self._fields = Fields()
        self._group_commit = GroupCommit(database, self._fields, clock)
        self._clock = clock
        self._quota = quota
        #: Makes room when more is stored than allowed.
        self.room = Room(database, self._fields, quota, pictures.remove_bytes, clock)
        if quota.keep_bytes is not None:
            quota.make_room = self.room.make_some

    @classmethod
    def open(  # noqa: PLR0913 -- where everything is stored, and for how long
        cls,
        folder: Path,
        *,
        database_url: str | None = None,
        pictures_url: str | None = None,
        lookback_days: float | None = DEFAULT_LOOKBACK_DAYS,
        deletes_after_days: float | None = None,
        keep_rules: Sequence[KeepRule] = (),
        max_thumbnail_pixels: int = MAX_PIXELS,
        max_thumbnail_cpu_s: int = MAX_CPU_S,
        quota: DiskLimits = DiskLimits(),  # noqa: B008 -- frozen
        clock: Clock = utc_now,
    ) -> Self:
        """The store in a folder, created if missing.

        Args:
            folder: Holds thumbnails and, unless they have a URL, the pictures and the database.
            database_url: A PostgreSQL database to keep the events in.
            pictures_url: A bucket to keep the pictures in, as s3://bucket/prefix.
            lookback_days: Older events are hidden from queries; None hides nothing.
            deletes_after_days: Older events are deleted by `clean_up`; None deletes nothing.
            keep_rules: Other ages for some use cases or results.
            max_thumbnail_pixels: Larger pictures get no thumbnail.
            max_thumbnail_cpu_s: Pictures that take more processor time to decode get none either.
            quota: How much disk space all of this may take.
            clock: The present time, with a zone.

        Raises:
            NewerSchema: a later version of this program wrote the database.
            BadStorage: the bucket cannot be used.
        """
        place = (
            PictureFolder(folder / "pictures")
            if pictures_url is None
            else PictureBucket.open(pictures_url)
        )
        database = Database.open(folder, database_url)
        thumbnails = Thumbnails(
            folder / "thumbnails",
            max_pixels=max_thumbnail_pixels,
            max_cpu_s=max_thumbnail_cpu_s,
        )
        is_here = pictures_url is None or database_url is None
        disk_quota = DiskQuota(quota, database, folder if is_here else None)
        return cls(
            database,
            PictureStore(database, place, thumbnails, clock, disk_quota),
            lookback_days=lookback_days,
            keep_rules=[
                *keep_rules,
                *([] if deletes_after_days is None else [KeepRule(deletes_after_days)]),
            ],
            clock=clock,
            quota=disk_quota,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.pictures.thumbnails.close()
        self._database.close()

    def one_moment(self) -> AbstractContextManager[None]:
        """Runs all reads of this thread in the block in one transaction: a consistent snapshot."""
        return self._database.one_moment()

    def sizes(self) -> Sizes:
        return self._quota.sizes()

    def put(self, events: Sequence[NewEvent]) -> None:
        """Stores all of these events, or none; each replaces an earlier one with its id.

        Raises:
            NoSuchUseCase: an event belongs to a use case that does not exist.
            LimitReached: the server may use no more disk space.
        """
        self._quota.admit_events()
        self._group_commit.put(events)

    def delete(
        self, use_case_id: str, event_ids: Sequence[str], *, with_pictures: bool = False
    ) -> Deleted:
        """Deletes events of a use case, with all feedback about them, for good.

        In small steps: if one fails, those before it are done. Pictures that no other event shows
        are deleted by the next clean-up, or immediately.
        """
        wanted = tuple(dict.fromkeys(event_ids))
        known = [event_id for event_id in wanted if is_storable(event_id)]
        erased = erase_chosen(self._database, self._fields, use_case_id, known)
        pictures = 0
        if with_pictures:
            pictures = sweep_chosen(self._database, self.pictures.remove_bytes, erased.picture_ids)
        self._quota.sum_up_again()
        gone = {*erased.event_ids, *erased.feedback_ids}
        return Deleted(
            event_ids=tuple(event_id for event_id in wanted if event_id in gone),
            not_found=tuple(event_id for event_id in wanted if event_id not in gone),
            feedback_ids=tuple(sorted(set(erased.feedback_ids) - set(wanted))),
            pictures=pictures,
        )

    def pin(self, use_case_id: str, event_ids: Sequence[str], *, on: bool = True) -> Pinned:
        """Excludes events of a use case from every clean-up; with `on` false, no longer.

        A pinned event can still be deleted by its id.
        """
        return selection.pin(self._database, self._fields, use_case_id, event_ids, on=on)

    def count_pinned(self, event_ids: Sequence[str]) -> int:
        with self._database.reading() as connection:
            return selection.count_pinned(connection, event_ids)

    def get(self, event_id: str) -> StoredEvent | None:
        if not is_storable(event_id):
            return None
        query = described().where(schema.events.c.event_id == event_id)
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else stored_event(row)

    def feedback_on(self, event_id: str) -> list[StoredEvent]:
        """The operator's latest feedback about an event, oldest first."""
        if not is_storable(event_id):
            return []
        with self._database.reading() as connection:
            return feedback_on(connection, event_id)

    def query(
        self,
        filters: Filters,
        *,
        limit: int,
        cursor: str | None = None,
        newer_than: Position | None = None,
    ) -> Page:
        """A page of matching events, newest first, ties by descending event id.

        If events are large it is shorter than the limit, and has more. With `newer_than` it goes
        upwards from that place: the nearest first, and any further ones are newer still.

        Raises:
            BadQuery: the limit is below 1, or the cursor is not one that a page held.
        """
        if limit < 1:
            raise BadQuery("limit must be at least 1")
        after = None if cursor is None else Position.of_cursor(cursor)
        with self._database.reading() as connection:
            selected = matching(
                connection,
                filters,
                self._fields,
                since_us=self._since_us(),
                after=after,
                before=newer_than,
                first=limit + 1,
            )
            if selected is None:
                return Page(events=[], next_cursor=None, has_more=False)
            rows = connection.execute(selected.limit(limit + 1)).all()
            page = load_events(connection, [row.no for row in rows[:limit]])
        has_more = len(rows) > len(page)
        last = rows[len(page) - 1] if has_more else None
        cursor = None if last is None else Position(last.time_us, last.event_id).as_cursor()
        return Page(events=page, next_cursor=cursor, has_more=has_more)

    def count(self, filters: Filters, *, at_most: int = 10_000) -> int:
        """How many match; `at_most` if there are that many or more."""
        with self._database.reading() as connection:
            return count_up_to(
                connection, filters, self._fields, since_us=self._since_us(), at_most=at_most
            )

    def mark(self) -> Mark:
        """A mark of the present state, for later reads that ignore newer changes."""
        with self._database.reading() as connection:
            last_no = connection.execute(select(func.max(schema.events.c.no))).scalar() or 0
        return Mark(last_no, now_us(self._clock))

    def ids(self, filters: Filters, *, until: Mark, at_most: int) -> list[str]:
        """The ids of the newest matching events, without those written since the mark."""
        with self._database.reading() as connection:
            selected = matching(connection, filters, self._fields, since_us=self._since_us())
            if selected is None:
                return []
            events = schema.events.c
            there = selected.where(events.no <= until.last_no, events.received_us <= until.at_us)
            return [row.event_id for row in connection.execute(there.limit(at_most))]

    def judgeable(self, use_case_id: str, event_ids: Sequence[str]) -> list[str]:
        """Those of these ids that are events of the use case, and not feedback themselves."""
        with self._database.reading() as connection:
            return selection.judgeable(connection, use_case_id, event_ids)

    def walk(self, filters: Filters) -> Iterator[StoredEvent]:
        """All matching events, newest first, with only a few in memory at a time."""
        cursor = None
        while True:
            page = self.query(filters, limit=_WALK_EVENTS, cursor=cursor)
            cursor = page.next_cursor
            while page.events:
                yield page.events.pop(0)  # so that each is freed once it is written
            if cursor is None:
                return

    def choices(self, use_case_id: str) -> dict[str, list[str]]:
        """What a filter form can offer, the first 200 of each.

        Values of `deviceId`, `streamId`, `workflowId` and `class`, and the `metadata` keys.
        """
        with self._database.reading() as connection:
            return statistics.choices(connection, use_case_id, self._fields)

    def values_of(self, use_case_id: str, part: Part, name: str, *, prefix: str) -> list[str]:
        """Up to 50 values of a field that begin with a text, in order."""
        with self._database.reading() as connection:
            return statistics.values_of(connection, use_case_id, self._fields, (part, name), prefix)

    def metadata_schema(
        self, use_case_id: str, part: Literal["metadata", "image"] = "metadata"
    ) -> dict[str, list[str]]:
        """The types seen for each key of the metadata of events, or images: "string" and so on."""
        with self._database.reading() as connection:
            return statistics.metadata_schema(connection, use_case_id, part)

    def timeline(self, filters: Filters, *, buckets: int, **options: Any) -> Timeline:
        """Counts of all matching events, in at most `buckets` periods of equal width.

        Without a start it begins with the oldest event of the use case; without an end it ends
        with the newest.

        Args:
            filters: Which events to count.
            buckets: The maximum number of periods.
            options: As for `statistics.timeline`: the `zone` in which days begin at midnight, the
                fields to count `by`, and `beside_days`, to count once more that many days earlier.

        Raises:
            BadQuery: there would be too many periods or values.
        """
        with self._database.reading() as connection:
            return statistics.timeline(
                connection,
                filters,
                self._fields,
                since_us=self._since_us(),
                buckets=buckets,
                **options,
            )

    def devices(self, use_case_id: str) -> Devices:
        """When devices and streams were last heard from, silent ones first."""
        with self._database.reading() as connection:
            return devices_of(connection, use_case_id, self._fields, now_us=now_us(self._clock))

    def latest_change(self, use_case_id: str) -> int:
        """A number that grows with every change of the use case's events."""
        if not is_storable(use_case_id):
            return 0
        with self._database.reading() as connection:
            query = select(schema.use_cases.c.changes).where(schema.use_cases.c.id == use_case_id)
            return connection.execute(query).scalar() or 0

    def settle_forwarding(self, outbox: str, waiting: Callable[[], set[str]]) -> None:
        """Forgets the entries that an outbox no longer has; those it has are not cleaned up."""
        settle_forwarding(self._database, outbox, waiting)

    def clean_up(self) -> Cleaned:
        """Deletes expired events, unreferenced pictures, and whatever exceeds the limits.

        It works in small steps, so that events can be stored in between.
        """
        events = erase_due(self._database, self._fields, self.keep_rules, self._clock)
        seal_blocks(self._database)
        pictures = sweep_pictures(self._database, self.pictures.remove_bytes, self._clock)
        self.pictures.sweep_thumbnails()
        self._quota.sum_up_again()
        made = self.room.make()
        return Cleaned(events=events + made.events, pictures=pictures + made.pictures)

    def _since_us(self) -> int | None:
        if self.lookback_days is None:
            return None
        return now_us(self._clock) - int(self.lookback_days * DAY_US)

"""The records that go into the store and come out of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

Status = Literal["active", "inactive"]

_IDENTITY = frozenset({"eventId", "eventType", "useCaseId", "timestamp"})
_PICTURE_ID = re.compile(r"[0-9a-f]{32}")


class Waiting(NamedTuple):
    """An outbox entry for an event of the store."""

    outbox: str
    entry: str


@dataclass(frozen=True, kw_only=True)
class NewEvent:
    """An event as ingest produced it: checked, cleaned, ready to be stored.

    Raises:
        ValueError: the timestamp has no zone, or an id is empty or not storable.
    """

    event_id: str
    event_type: str
    use_case_id: str
    timestamp: datetime
    #: The event as queries return it, under the names it was created with.
    body: dict[str, Any]
    #: The event as it came, with what `body` lost; empty if it lost nothing.
    received: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[dict[str, Any], ...] = ()
    #: The entry that waits to forward it; None if it is not forwarded.
    waits_as: Waiting | None = None

    def __post_init__(self) -> None:
        if self.timestamp.tzinfo is None:
            raise ValueError("the timestamp of an event needs a zone")
        for text in (self.event_id, self.event_type, self.use_case_id):
            if not is_storable(text):
                raise ValueError(f"{text!r} is empty, or holds NUL or half a surrogate pair")

    @property
    def as_it_came(self) -> Mapping[str, Any]:
        """The event as it came, even if `body` lost nothing."""
        return self.received or self.body

    @property
    def other(self) -> dict[str, Any]:
        """Values under unknown names or that broke a rule, as they came."""
        return {
            key: value
            for key, value in self.received.items()
            if key not in _IDENTITY and (key not in self.body or self.body[key] != value)
        }


#: The metadata key of operator feedback that says who gave it.
REVIEWER: Final = "reviewer"


@dataclass(frozen=True, kw_only=True)
class StoredEvent(NewEvent):
    received_at: datetime
    #: The latest verdict about it by timestamp: "correct", "incorrect" or "inconclusive".
    feedback: str | None
    #: Who gave that verdict, if the feedback says so.
    feedback_by: str | None = None
    #: Whether it is exempt from the clean-up.
    is_pinned: bool = False


class Mark(NamedTuple):
    """A moment of the store, to distinguish what existed then from what was written later."""

    #: The last event's number; numbers grow in the order in which events are written.
    last_no: int
    #: When that was looked up, since a number may be reused after its event was erased.
    at_us: int


@dataclass(frozen=True, kw_only=True)
class Page:
    events: list[StoredEvent]
    #: Where the next page starts; None on the last one.
    next_cursor: str | None
    has_more: bool


@dataclass(frozen=True, kw_only=True)
class UseCase:
    """A use case with a summary of its events."""

    id: str
    name: str
    status: Status
    created_at: datetime
    updated_at: datetime
    event_count: int
    #: The timestamp of its newest event.
    last_event_at: datetime | None
    event_types: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class StoredPicture:
    """The stored facts about a picture, without its bytes."""

    id: str
    media_type: str
    #: As displayed, after the rotation that its EXIF asks for; None if unknown.
    width: int | None
    height: int | None
    size_bytes: int
    name: str | None
    metadata: Mapping[str, Any]
    #: When its bytes were removed to make room; None if they were not.
    shed_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """How many events there were in each period, for charts."""

    #: Where each period begins, oldest first, and where the last one ends.
    edges: tuple[datetime, ...]
    #: The width of a period, except where clocks change.
    bucket_s: float
    #: How many events there were in each period.
    events: tuple[int, ...]
    #: By what is counted ("eventType", "result", "severity" and "class" by default) and by value:
    #: one number per period, the value with the most events first. "class" counts events that
    #: show the class, not objects.
    series: Mapping[str, Mapping[str, tuple[int, ...]]]
    #: The same periods some days before, if requested.
    beside: Timeline | None = None

    @property
    def starts(self) -> tuple[datetime, ...]:
        return self.edges[:-1]

    @property
    def event_count(self) -> int:
        return sum(self.events)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """How much is kept, the limit, and how far back it goes."""

    #: Pictures and events.
    size_bytes: int
    #: Beyond it the oldest is removed; None for no limit.
    limit_bytes: int | None
    #: The times of the oldest event, and of the oldest original and the oldest annotated picture
    #: that is still there; None if there is none.
    oldest_event_at: datetime | None
    oldest_original_at: datetime | None
    oldest_annotated_at: datetime | None
    pinned: int


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    events: int
    pictures: int


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """The outcome of a request to pin or unpin events."""

    #: Events that are now as requested.
    event_ids: tuple[str, ...]
    #: Ids that do not exist or belong to another use case.
    not_found: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Deleted:
    """The outcome of a request to delete events."""

    #: Events that were deleted.
    event_ids: tuple[str, ...]
    #: Ids that did not exist or belong to another use case.
    not_found: tuple[str, ...]
    #: Feedback about them, which was deleted as well.
    feedback_ids: tuple[str, ...]
    #: Pictures that were removed immediately.
    pictures: int


def is_storable(text: str) -> bool:
    """Whether text can be an id: not empty, without NUL, and encodable in UTF-8."""
    try:
        return bool(text) and b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def is_picture_id(value: Any) -> bool:
    """Whether a value has the form of the picture ids of this store."""
    return isinstance(value, str) and _PICTURE_ID.fullmatch(value) is not None

"""What goes into the store and what comes out of it."""

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
    """An entry of an outbox that is about an event of the store."""

    outbox: str
    entry: str


@dataclass(frozen=True, kw_only=True)
class NewEvent:
    """An event as ingest made it: checked, cleaned, ready to be stored.

    Raises:
        ValueError: the timestamp has no zone, or an id holds what no database can hold.
    """

    event_id: str
    event_type: str
    use_case_id: str
    timestamp: datetime
    #: The event as it is answered later, under the names it was created with.
    body: dict[str, Any]
    #: The event as it came, with what `body` has lost; empty where that is nothing.
    received: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[dict[str, Any], ...] = ()
    #: How it waits to be forwarded; None if it does not.
    waits_as: Waiting | None = None

    def __post_init__(self) -> None:
        if self.timestamp.tzinfo is None:
            raise ValueError("the timestamp of an event needs a zone")
        for text in (self.event_id, self.event_type, self.use_case_id):
            if not is_storable(text):
                raise ValueError(f"{text!r} is empty, or holds NUL or half a surrogate pair")

    @property
    def as_it_came(self) -> Mapping[str, Any]:
        """The event as it came, also where `body` has lost nothing."""
        return self.received or self.body

    @property
    def other(self) -> dict[str, Any]:
        """What came under names that are not known here, or broke a rule, as it came."""
        return {
            key: value
            for key, value in self.received.items()
            if key not in _IDENTITY and (key not in self.body or self.body[key] != value)
        }


#: The metadata of operator feedback that says who gave it.
REVIEWER: Final = "reviewer"


@dataclass(frozen=True, kw_only=True)
class StoredEvent(NewEvent):
    received_at: datetime
    #: The latest verdict about it by timestamp: "correct", "incorrect" or "inconclusive".
    feedback: str | None
    #: Who gave that verdict, where the feedback says so.
    feedback_by: str | None = None
    #: No clean-up takes it.
    is_pinned: bool = False


class Mark(NamedTuple):
    """A moment of the store: what was written later is told apart from what was there."""

    #: The last event's number; numbers grow in the order in which events are written.
    last_no: int
    #: When that was looked up, since a number is given again after its event was erased.
    at_us: int


@dataclass(frozen=True, kw_only=True)
class Page:
    events: list[StoredEvent]
    #: Where the next page starts; None on the last one.
    next_cursor: str | None
    has_more: bool


@dataclass(frozen=True, kw_only=True)
class UseCase:
    """A use case and how much it holds."""

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
    """What is known of a picture without opening it."""

    id: str
    media_type: str
    #: As it is displayed, after the turn that its EXIF asks for; None if it cannot be told here.
    width: int | None
    height: int | None
    size_bytes: int
    name: str | None
    metadata: Mapping[str, Any]
    #: When its bytes went to make room; None if they did not.
    shed_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """How many events there were in each period, for charts."""

    #: Where each period begins, oldest first, and where the last one ends.
    edges: tuple[datetime, ...]
    #: How wide they are, but for days on which clocks are changed.
    bucket_s: float
    #: How many events there were in each of them.
    events: tuple[int, ...]
    #: By what is counted ("eventType", "result", "severity" or "class", unless something else is
    #: asked for), by value: one number per period, the value with most events first. "class"
    #: counts events that show the class, not objects.
    series: Mapping[str, Mapping[str, tuple[int, ...]]]
    #: The same periods some days before, if they are wanted.
    beside: Timeline | None = None

    @property
    def starts(self) -> tuple[datetime, ...]:
        return self.edges[:-1]

    @property
    def event_count(self) -> int:
        return sum(self.events)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """How much is kept, of how much, and since when."""

    #: Pictures and events.
    size_bytes: int
    #: Beyond it the oldest goes; None if nothing does.
    limit_bytes: int | None
    #: The times of the oldest event, and of the oldest ones with an original and with an annotated
    #: picture that may go; None where there is none.
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
    """What became of events that somebody asked to pin, or not to keep pinned any more."""

    #: Those that are as was asked now.
    event_ids: tuple[str, ...]
    #: Those that were not there, or belong to another use case.
    not_found: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Deleted:
    """What became of events that somebody asked to delete."""

    #: Those that were there.
    event_ids: tuple[str, ...]
    #: Those that were not, or belong to another use case.
    not_found: tuple[str, ...]
    #: Feedback about them, which is gone with them.
    feedback_ids: tuple[str, ...]
    #: Pictures that were removed at once.
    pictures: int


def is_storable(text: str) -> bool:
    """Whether text can be an id: not empty, without NUL, and fit for UTF-8."""
    try:
        return bool(text) and b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def is_picture_id(value: Any) -> bool:
    """Whether it has the form of the ids that are made here."""
    return isinstance(value, str) and _PICTURE_ID.fullmatch(value) is not None

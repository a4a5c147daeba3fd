"""The events before and after one, among those that a reader looks at."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from vision_event_block.server.store.search import Position
from vision_event_block.server.store.timestamps import microseconds

if TYPE_CHECKING:
    from vision_event_block.server.storage import Store
    from vision_event_block.server.store.filters import Filters
    from vision_event_block.server.store.records import StoredEvent

_FIRST_WINDOW: Final = timedelta(seconds=10)
_PAGE_EVENTS: Final = 50
#: A year is as far as an event can be from the present, with a day to spare.
_WIDEST: Final = timedelta(days=400)
_MAX_STEPS: Final = 30


def older(store: Store, filters: Filters, event: StoredEvent) -> str | None:
    """The id of the next event in the order of the grid."""
    place = Position(microseconds(event.timestamp), event.event_id)
    page = store.query(filters, limit=1, cursor=place.as_cursor())
    return page.events[0].event_id if page.events else None


def newer(store: Store, filters: Filters, event: StoredEvent) -> str | None:
    """The id of the one before it.

    The store only reads downwards, so a window of time from the event on is widened until
    something is in it, and narrowed until that is all on one page.
    """
    start = event.timestamp
    if filters.start is not None and filters.start > start:
        return None
    too_narrow, too_wide = timedelta(0), _WIDEST
    width = _FIRST_WINDOW
    for _ in range(_MAX_STEPS):
        end = start + width
        page = store.query(
            replace(filters, start=start, end=_earlier(end, filters.end)), limit=_PAGE_EVENTS
        )
        found = [one for one in page.events if _place(one) > _place(event)]
        if found and (not page.has_more or len(found) < len(page.events)):
            return found[-1].event_id
        if found:
            too_wide = width
        else:
            too_narrow = width
            if width >= too_wide or end >= (filters.end or end + width):
                return None
        # Ties of one instant may fill more than a page: then the nearest one seen must do.
        if too_wide - too_narrow <= timedelta(microseconds=1):
            return found[-1].event_id if found else None
        width = min(width * 8, _WIDEST) if too_wide == _WIDEST else (too_narrow + too_wide) / 2
    return None


def _earlier(end: datetime, limit: datetime | None) -> datetime:
    return end if limit is None else min(end, limit)


def _place(event: StoredEvent) -> tuple[datetime, str]:
    return event.timestamp, event.event_id

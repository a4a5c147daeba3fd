"""Moving through the events that match the filters: one by one, or a page at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vision_event_block.server.store.search import Position
from vision_event_block.server.store.timestamps import microseconds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from vision_event_block.server.storage import Store
    from vision_event_block.server.store.filters import Filters
    from vision_event_block.server.store.records import StoredEvent

#: Sorts after any event's id; so in the grid it comes before all events of the same instant.
_GREATEST_ID: Final = chr(0x10FFFF)


@dataclass(frozen=True)
class GridPage:
    """Events of the grid, newest first, with cursors to the ones before and after."""

    events: Sequence[StoredEvent]
    newer: str | None = None
    older: str | None = None


def grid_page(  # noqa: PLR0913 -- the filters, and where to begin
    store: Store,
    filters: Filters,
    *,
    limit: int,
    at: datetime | None = None,
    cursor: str | None = None,
    newer_than: str | None = None,
) -> GridPage:
    """The newest events; those at or before a time; or those on either side of a cursor.

    Raises:
        BadQuery: a cursor did not come from a page.
    """
    if newer_than is not None:
        return _upwards(store, filters, Position.of_cursor(newer_than), limit)
    place = None if at is None else Position(microseconds(at), _GREATEST_ID)
    if cursor is None and place is not None:
        cursor = place.as_cursor()
    page = store.query(filters, limit=limit, cursor=cursor)
    if cursor is None:
        return GridPage(page.events, older=page.next_cursor)
    if page.events:
        place = Position.of(page.events[0])
    elif place is not None:
        return _upwards(store, filters, place, limit)  # the first that came after that time
    is_last = place is None or not store.query(filters, limit=1, newer_than=place).events
    return GridPage(
        page.events, None if is_last or place is None else place.as_cursor(), page.next_cursor
    )


def _upwards(store: Store, filters: Filters, place: Position, limit: int) -> GridPage:
    page = store.query(filters, limit=limit, newer_than=place)
    events = page.events[::-1]
    if not events:
        return GridPage(events)
    below = store.query(filters, limit=1, cursor=Position.of(events[-1]).as_cursor()).events
    return GridPage(
        events,
        newer=Position.of(events[0]).as_cursor() if page.has_more else None,
        older=Position.of(events[-1]).as_cursor() if below else None,
    )


def older(store: Store, filters: Filters, event: StoredEvent) -> str | None:
    """The id of the next event in the order of the grid."""
    page = store.query(filters, limit=1, cursor=Position.of(event).as_cursor())
    return page.events[0].event_id if page.events else None


def newer(store: Store, filters: Filters, event: StoredEvent) -> str | None:
    page = store.query(filters, limit=1, newer_than=Position.of(event))
    return page.events[0].event_id if page.events else None

"""The events before and after one, among those that a reader looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vision_event_block.server.store.search import Position

if TYPE_CHECKING:
    from vision_event_block.server.storage import Store
    from vision_event_block.server.store.filters import Filters
    from vision_event_block.server.store.records import StoredEvent


def older(store: Store, filters: Filters, event: StoredEvent) -> str | None:
    """The id of the next event in the order of the grid."""
    page = store.query(filters, limit=1, cursor=Position.of(event).as_cursor())
    return page.events[0].event_id if page.events else None


def newer(store: Store, filters: Filters, event: StoredEvent) -> str | None:
    """The id of the one before it."""
    page = store.query(filters, limit=1, newer_than=Position.of(event))
    return page.events[0].event_id if page.events else None

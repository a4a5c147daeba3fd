"""Events as JSON Lines: one event, whole, in each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from vision_event_block.server.store.timestamps import iso_milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vision_event_block.server.store.records import StoredEvent


def json_lines(events: Iterable[StoredEvent]) -> Iterator[bytes]:
    for event in events:
        yield json.dumps(whole(event), ensure_ascii=False, allow_nan=False).encode() + b"\n"


def whole(event: StoredEvent) -> dict[str, Any]:
    """The event under the names it was sent with, and what the server knows about it."""
    return {
        **event.body,
        **({"other": event.other} if event.other else {}),
        "receivedAt": iso_milliseconds(event.received_at),
        "feedbackStatus": event.feedback,
        "feedbackBy": event.feedback_by,
        "warnings": list(event.warnings),
        "isPinned": event.is_pinned,
    }

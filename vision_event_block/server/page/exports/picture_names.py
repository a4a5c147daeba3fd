"""The names of events' pictures in an export."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vision_event_block.contract.names import SOURCE_IDS
from vision_event_block.server.pictures.formats import FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vision_event_block.server.store.records import StoredEvent


def all_pictures(event: StoredEvent) -> Iterator[str]:
    for image in event.body.get("images") or ():
        for key in (SOURCE_IDS.input, SOURCE_IDS.output):
            if picture_id := image.get(key):
                yield picture_id


def file_name(picture_id: str, media_type: str | None) -> str:
    suffix = FORMATS["image/jpeg" if media_type is None else media_type][0]
    return f"{safe_name(picture_id)[:200]}.{suffix}"


def safe_name(text: str) -> str:
    """Any text, made safe as part of a file name."""
    return "".join(char if char.isalnum() or char in "-_" else "_" for char in text)

"""The events that a reader looks at as files, made while they are sent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain
from typing import TYPE_CHECKING, Final

from vision_event_block.server.page.exports.coco import coco
from vision_event_block.server.page.exports.csv_table import table
from vision_event_block.server.page.exports.json_lines import json_lines
from vision_event_block.server.page.exports.picture_names import (
    all_pictures,
    file_name,
    main_pictures,
)
from vision_event_block.server.page.exports.zip_file import zipped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vision_event_block.server.storage import Store
    from vision_event_block.server.store.filters import Filters
    from vision_event_block.server.store.records import StoredEvent

_PIECE_BYTES: Final = 64 * 1024
#: Looked up once although many events show them.
_KNOWN_PICTURES: Final = 1024


@dataclass(frozen=True)
class Export:
    """A kind of file as the page offers it."""

    name: str
    help: str
    suffix: str
    media_type: str


EXPORTS: Final = {
    "coco": Export("COCO", "Boxes, outlines and key points", ".coco.json", "application/json"),
    "coco-rle": Export(
        "COCO, masks", "Outlines as run-length masks", ".coco.json", "application/json"
    ),
    "coco-zip": Export(
        "COCO with pictures", "A data set to train on, as zip", ".zip", "application/zip"
    ),
    "csv": Export("CSV", "A row for each event, for spreadsheets", ".csv", "text/csv"),
    "jsonl": Export(
        "JSON Lines", "Everything, an event in each line", ".jsonl", "application/jsonl"
    ),
    "jsonl-zip": Export(
        "JSON Lines with pictures", "Everything, as zip", ".zip", "application/zip"
    ),
}


def export(
    store: Store, kind: str, filters: Filters, metadata_keys: Sequence[str]
) -> Iterator[bytes]:
    """The file in pieces, each made when the one before has left.

    The first is made at once: what fails from the start is answered as an error, not cut off.
    """
    pieces = _gathered(_pieces(store, kind, store.walk(filters), metadata_keys))
    return chain((next(pieces),), pieces)


def _pieces(
    store: Store, kind: str, events: Iterator[StoredEvent], metadata_keys: Sequence[str]
) -> Iterator[bytes]:
    def picture(picture_id: str) -> tuple[str, bytes] | None:
        file = store.pictures.get(picture_id)
        if file is None:
            return None
        try:
            return file_name(picture_id, file.media_type), file.read()
        except FileNotFoundError:
            return None  # swept away since

    packed = partial(zipped, events=events, picture=picture)
    outlines = partial(coco, sizes=lru_cache(_KNOWN_PICTURES)(store.pictures.info))
    if kind == "coco":
        return outlines(events)
    if kind == "coco-rle":
        return outlines(events, segmentation="rle")
    if kind == "coco-zip":
        return packed("annotations.coco.json", outlines, pictures_of=main_pictures)
    if kind == "csv":
        return table(events, metadata_keys)
    if kind == "jsonl":
        return json_lines(events)
    return packed("events.jsonl", json_lines, pictures_of=all_pictures)


def _gathered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Pieces worth a trip to the socket each."""
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        if len(waiting) >= _PIECE_BYTES:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)

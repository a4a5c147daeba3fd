"""The events that match the filters as files, made while they are sent."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from vision_event_block.server.page.exports.coco import coco, samples_of
from vision_event_block.server.page.exports.csv_table import table
from vision_event_block.server.page.exports.data_set import DataSet
from vision_event_block.server.page.exports.picture_names import all_pictures, file_name
from vision_event_block.server.page.exports.samples import Samples
from vision_event_block.server.page.exports.zip_file import zipped, zipped_data_set
from vision_event_block.server.store.timestamps import iso_milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from vision_event_block.server.page.exports.coco import Segmentation
    from vision_event_block.server.page.exports.data_set import Format
    from vision_event_block.server.storage import Store
    from vision_event_block.server.store.filters import Filters
    from vision_event_block.server.store.records import StoredEvent, StoredPicture

_PIECE_BYTES: Final = 64 * 1024
#: Pictures whose properties are cached, since many events may show the same one.
_KNOWN_PICTURES: Final = 1024


@dataclass(frozen=True)
class Export:
    name: str
    help: str
    suffix: str
    media_type: str


EXPORTS: Final = {
    "yolo": Export("YOLO", "Data set of boxes, with pictures", ".zip", "application/zip"),
    "yolo-seg": Export(
        "YOLO, segmentation", "Data set of outlines, with pictures", ".zip", "application/zip"
    ),
    "yolo-pose": Export(
        "YOLO, pose", "Data set of key points, with pictures", ".zip", "application/zip"
    ),
    "coco-zip": Export("COCO with pictures", "Data set of all three", ".zip", "application/zip"),
    "coco": Export("COCO", "Boxes, outlines and key points", ".coco.json", "application/json"),
    "coco-rle": Export(
        "COCO, masks", "Outlines as run-length masks", ".coco.json", "application/json"
    ),
    "csv": Export("CSV", "A row for each event, for spreadsheets", ".csv", "text/csv"),
    "jsonl": Export(
        "JSON Lines", "Everything, an event in each line", ".jsonl", "application/jsonl"
    ),
    "jsonl-zip": Export(
        "JSON Lines with pictures", "Everything, as zip", ".zip", "application/zip"
    ),
}
#: The exports that are data sets for training.
_DATA_SETS: Final[dict[str, Format]] = {
    "yolo": "yolo",
    "yolo-seg": "yolo-seg",
    "yolo-pose": "yolo-pose",
    "coco-zip": "coco",
}


def export(
    store: Store, kind: str, filters: Filters, metadata_keys: Sequence[str]
) -> Iterator[bytes]:
    """The file in pieces, each made once the previous one is sent.

    The first is made immediately, so that an early failure is an error reply, not a cut-off file.
    """
    pieces = _gathered(_pieces(store, kind, store.walk(filters), metadata_keys))
    return chain((next(pieces),), pieces)


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


def _pieces(
    store: Store, kind: str, events: Iterator[StoredEvent], metadata_keys: Sequence[str]
) -> Iterator[bytes]:
    def picture(picture_id: str) -> tuple[str, bytes] | None:
        found = store.pictures.read(picture_id)
        return found and (file_name(picture_id, found[0].media_type), found[1])

    info = lru_cache(_KNOWN_PICTURES)(store.pictures.info)
    if kind in _DATA_SETS:
        return zipped_data_set(DataSet(_DATA_SETS[kind]), events, info=info, picture=picture)
    if kind == "coco":
        return _coco_document(events, info, "polygon")
    if kind == "coco-rle":
        return _coco_document(events, info, "rle")
    if kind == "csv":
        return table(events, metadata_keys)
    if kind == "jsonl":
        return json_lines(events)
    return zipped("events.jsonl", json_lines, events, pictures_of=all_pictures, picture=picture)


def _coco_document(
    events: Iterator[StoredEvent],
    info: Callable[[str], StoredPicture | None],
    segmentation: Segmentation,
) -> Iterator[bytes]:
    with Samples() as samples:
        arriving = map(samples.add, samples_of(events, info))
        yield from coco(samples, samples, arriving=arriving, segmentation=segmentation)


def _gathered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Joins small pieces into ones that are worth a write to the socket."""
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        if len(waiting) >= _PIECE_BYTES:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)

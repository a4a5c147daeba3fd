"""Events as CSV: one row each, its metadata in columns."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from vision_event_block.contract.names import ANNOTATION_LISTS, EVENT_DATA_KEYS
from vision_event_block.server.page.exports.picture_names import all_pictures
from vision_event_block.server.store.image_metadata import image_metadata
from vision_event_block.server.store.timestamps import iso_milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from vision_event_block.server.store.records import StoredEvent

#: Spreadsheets run a cell that begins like this as a formula. Where cells begin depends on the
#: separator that the spreadsheet is set to, whatever the file uses: in much of Europe it is `;`,
#: and then the quotes around our cells are text.
_BEFORE_FORMULA: Final = re.compile(
    r"""(^|[;,|\t\r\n])(?=(?:[^\S\t\r\n]|["'])*[=+\-@|%\uff1d\uff0b\uff0d\uff20])"""
)
_WHITE_STARTS: Final = ("\t", "\r", "\n")
_CONTEXT: Final = ("deviceId", "streamId", "workflowId", "workflowVersion")
_DATA: Final = tuple(dict.fromkeys(chain.from_iterable(EVENT_DATA_KEYS.values())))
_MAX_METADATA_COLUMNS: Final = 200


def table(events: Iterable[StoredEvent], metadata_keys: Sequence[str]) -> Iterator[bytes]:
    """The rows, after a byte order mark that tells spreadsheets that the file is UTF-8.

    Metadata under any other keys share one column.
    """
    keys = list(metadata_keys)[:_MAX_METADATA_COLUMNS]
    buffer = io.StringIO()
    rows = csv.writer(buffer)
    header = [
        *("eventId", "eventType", "useCaseId", "timestamp", "receivedAt", *_CONTEXT, *_DATA),
        *("comment", "feedbackStatus", "warnings", "classes", "pictures"),
        *(f"metadata.{key}" for key in keys),
        *("otherMetadata", "imageMetadata", "other", "isPinned", "feedbackBy"),
    ]
    rows.writerow([harmless(cell) for cell in header])
    yield b"\xef\xbb\xbf" + _drained(buffer)
    for event in events:
        rows.writerow([harmless(cell) for cell in _row(event, keys)])
        yield _drained(buffer)


def harmless(cell: Any) -> Any:
    r"""The cell, changed so that no spreadsheet runs it as a formula; numbers stay numbers.

    >>> harmless('=HYPERLINK("http://x")'), harmless("ok;=1+1"), harmless(-4.5)
    ('\'=HYPERLINK("http://x")', "ok;'=1+1", -4.5)
    """
    if not isinstance(cell, str):
        return cell
    if cell.startswith(_WHITE_STARTS):
        cell = f"'{cell}"
    return _BEFORE_FORMULA.sub(r"\1'", cell)


def _row(event: StoredEvent, keys: Sequence[str]) -> list[Any]:
    body = event.body
    data = body.get("eventData") or {}
    metadata = dict(body.get("customMetadata") or {})
    classes = Counter(
        str(entry.get("class"))
        for image in body.get("images") or ()
        for name in ANNOTATION_LISTS
        for entry in image.get(name) or ()
    )
    of_images = [image_metadata(image) for image in body.get("images") or ()]
    known = [metadata.pop(key, None) for key in keys]
    return [
        event.event_id,
        event.event_type,
        event.use_case_id,
        iso_milliseconds(event.timestamp),
        iso_milliseconds(event.received_at),
        *(body.get(key) for key in _CONTEXT),
        *(data.get(key) for key in _DATA),
        body.get("comment"),
        event.feedback,
        len(event.warnings),
        "; ".join(f"{name}: {count}" for name, count in classes.most_common()),
        " ".join(dict.fromkeys(all_pictures(event))),
        *known,
        _json(metadata),
        _json(of_images if any(of_images) else None),
        _json(event.other),
        event.is_pinned,
        event.feedback_by,
    ]


def _json(value: Any) -> str | None:
    return json.dumps(value, ensure_ascii=False) if value else None


def _drained(buffer: io.StringIO) -> bytes:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text.encode()

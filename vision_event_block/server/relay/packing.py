"""An event of the store in the forms for the outbox and for the API. Pure.

The entry holds the event as received, without pictures: those stay in the store until the event is
sent. The store knows a picture by its own id, the courier by a member of a bundle, the API by the
id that it gave at the upload:

    {"sourceId": "3f0c..."}  ->  images/3f0c....jpg  ->  {"sourceId": "b7c1..."}
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

from vision_event_block.contract.names import (
    FORMAT_VERSION,
    FORMAT_VERSION_KEY,
    MEMBERS,
    SOURCE_IDS,
)
from vision_event_block.server.pictures.formats import FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vision_event_block.server.store.records import NewEvent, StoredPicture

#: In the payload of an entry: the event as received. Entries of the first versions lack it, and
#: hold their pictures.
RECEIVED: Final = "received"
#: Longer ids would make file names that are too long for some disks.
_MAX_NAME_CHARS: Final = 150
_MARK_CHARS: Final = 8


def payload_of(event: NewEvent) -> dict[str, Any]:
    identity = {key: event.body[key] for key in ("eventId", "eventType", "useCaseId", "timestamp")}
    received = dict(event.as_it_came)
    return {FORMAT_VERSION_KEY: FORMAT_VERSION, **identity, "images": [], RECEIVED: received}


def with_members(payload: Mapping[str, Any], members: list[str]) -> dict[str, Any]:
    """The payload, with pictures for the courier to upload."""
    return {**payload, "images": [{MEMBERS.output: member} for member in members]}


def source_ids_in(body: Mapping[str, Any]) -> list[str]:
    """The ids of the pictures that an event refers to, in order, without repeats."""
    return list(dict.fromkeys(_references(body)))


def missing_in(body: Mapping[str, Any], known: Mapping[str, StoredPicture]) -> int:
    """The number of an event's references to pictures that this server does not have."""
    return sum(reference not in known for reference in _references(body))


def member_of(picture: StoredPicture) -> str:
    return f"images/{picture.id}.{FORMATS[picture.media_type][0]}"


def request_body(body: Mapping[str, Any], source_ids: Mapping[str, str]) -> dict[str, Any]:
    """The body of `POST /vision-events`: as received, with the API's ids of its pictures.

    Only references to pictures without such an id are left out.

    >>> sent = {"images": [{"sourceId": "3f0c", "note": 1}, {"inputSourceId": "gone"}]}
    >>> request_body(sent, {"3f0c": "b7c1"})
    {'images': [{'sourceId': 'b7c1', 'note': 1}, {}]}
    """
    images = body.get("images")
    if not isinstance(images, list):
        return dict(body)
    return {**body, "images": [_with_ids(image, source_ids) for image in images]}


def entry_id(event_id: str) -> str:
    """A name for one entry about an event: fit for a file name, and never reused.

    The outbox counts entries by this name, and an event may come more than once. `event_id_in`
    returns the event's id.
    """
    return f"{stem_of(event_id)}-{uuid.uuid4().hex[:_MARK_CHARS]}"


def stem_of(event_id: str) -> str:
    """The common beginning of all entry ids of an event, up to the last hyphen."""
    name = quote(event_id, safe="")
    return name if len(name) <= _MAX_NAME_CHARS else str(uuid.uuid5(uuid.NAMESPACE_OID, event_id))


def event_id_in(name: str) -> str:
    """The event's id in an entry's id; for a very long id, its stand-in."""
    return unquote(name.rpartition("-")[0])


def _references(body: Mapping[str, Any]) -> Iterator[str]:
    """The values that may be ids of pictures; anything else under these keys stays unchanged."""
    images = body.get("images")
    for image in images if isinstance(images, list) else ():
        for key in SOURCE_IDS:
            if isinstance(image, dict) and isinstance(image.get(key), str):
                yield image[key]


def _with_ids(image: Any, source_ids: Mapping[str, str]) -> Any:
    if not isinstance(image, dict):
        return image
    return {
        key: source_ids[value] if key in SOURCE_IDS and isinstance(value, str) else value
        for key, value in image.items()
        if key not in SOURCE_IDS or not isinstance(value, str) or value in source_ids
    }

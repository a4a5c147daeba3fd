"""An event of the store as the outbox keeps it, and as the API gets it. Pure.

The store knows a picture by its own id, a bundle by its place in the archive, the API by the id
that it gave at the upload:

    {"sourceId": "3f0c..."}  ->  {"file": "images/3f0c....jpg"}  ->  {"sourceId": "b7c1..."}
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

from vision_event_block.contract.names import (
    FORMAT_VERSION,
    FORMAT_VERSION_KEY,
    MEMBERS,
    SOURCE_IDS,
    pictures_named,
)
from vision_event_block.events.bundle import create_body
from vision_event_block.server.pictures.formats import FORMATS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vision_event_block.server.store.records import StoredPicture

_KEYS: Final = dict(zip(SOURCE_IDS, MEMBERS, strict=True))
#: Longer ids would make file names that a disk may not take.
_MAX_NAME_CHARS: Final = 150
_MARK_CHARS: Final = 8


@dataclass(frozen=True)
class Packing:
    """How an event becomes a bundle."""

    #: As in the bundle, with members in place of the store's picture ids.
    payload: dict[str, Any]
    #: The store's id of each member's picture.
    members: dict[str, str]
    #: References to pictures that are not here; they are left out.
    missing: int


def source_ids_in(body: Mapping[str, Any]) -> list[str]:
    """The ids of pictures that an event refers to, in order, each once."""
    return pictures_named(body, SOURCE_IDS)


def packing_of(body: Mapping[str, Any], known: Mapping[str, StoredPicture]) -> Packing:
    """How an event of the store is packed, given what is known of the pictures that are there."""
    members: dict[str, str] = {}
    images, missing = [], 0
    for image in body.get("images", ()):
        entry = {}
        for key, value in image.items():
            if key not in _KEYS:
                entry[key] = value
            elif value in known:
                member = f"images/{value}.{FORMATS[known[value].media_type][0]}"
                entry[_KEYS[key]] = member
                members[member] = value
            else:
                missing += 1
        images.append(entry)  # even if nothing is left of it: its position may be the one shown
    payload = {FORMAT_VERSION_KEY: FORMAT_VERSION, **body, "images": images}
    return Packing(payload, members, missing)


def request_body(payload: Mapping[str, Any], source_ids: Mapping[str, str]) -> dict[str, Any]:
    """The body of `POST /vision-events`, given the API's id of each member.

    The image on display stays the one that the event names. Where an image is left out because
    nothing remains of it, positions mean other images than before, and none is named.
    """
    body = create_body(payload, source_ids)
    position = body.pop("displayImagePosition", payload.get("displayImagePosition"))
    if position is not None and len(body["images"]) == len(payload["images"]):
        body["displayImagePosition"] = position
    return body


def entry_id(event_id: str) -> str:
    """A name for one entry about an event: fit for a file name, and never given again.

    The outbox counts by it, and an event may come more than once. `event_id_in` reads it back.
    """
    return f"{stem_of(event_id)}-{uuid.uuid4().hex[:_MARK_CHARS]}"


def stem_of(event_id: str) -> str:
    """What the ids of all entries about an event begin with, up to the last hyphen."""
    name = quote(event_id, safe="")
    return name if len(name) <= _MAX_NAME_CHARS else str(uuid.uuid5(uuid.NAMESPACE_OID, event_id))


def event_id_in(name: str) -> str:
    """The event's id in an entry's; for a very long one, what stands for it."""
    return unquote(name.rpartition("-")[0])

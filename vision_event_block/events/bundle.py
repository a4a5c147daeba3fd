"""An event as a bundle: a payload that names each picture by its place in an archive.

The payload is the body of `POST /vision-events` in the official bundle format, version 1:
`bundleFormatVersion` at the top level, and in `images` the archive's members as `file` and
`inputFile`, where the API wants the ids of uploaded pictures.

    {"bundleFormatVersion": 1, "eventId": "0b1c...", ...,
     "images": [{"label": "workflow", "file": "images/77ab....jpg", "objectDetections": [...]}]}

Nothing here needs pixels, so a process that only sends stored events loads no image library.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vision_event_block.contract.names import (
    FORMAT_VERSION,
    FORMAT_VERSION_KEY,
    MEMBERS,
    SOURCE_IDS,
    pictures_named,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from vision_event_block.contract.names import PictureKeys
    from vision_event_block.events.event import VisionEvent
    from vision_event_block.events.images import Picture, Snapshot


@dataclass(frozen=True)
class Bundle:
    """An event ready to be stored: what an archive of it holds."""

    payload: dict[str, Any]
    #: JPEG bytes by the member that the payload names.
    pictures: dict[str, bytes] = field(repr=False)


def bundle_of(event: VisionEvent) -> Bundle:
    """The event as a bundle; raises ValueError if one of its pictures is not encoded yet."""
    contents = {member_of(picture): picture.content for picture in event.encoded_pictures}
    return Bundle(bundle_payload(event), contents)


def bundle_payload(event: VisionEvent) -> dict[str, Any]:
    """The payload alone, whether the pictures are encoded or not."""
    members = {picture.picture_id: member_of(picture) for picture in event.pictures}
    return {FORMAT_VERSION_KEY: FORMAT_VERSION, **event.payload(members, MEMBERS)}


def member_of(picture: Picture | Snapshot) -> str:
    return f"images/{picture.picture_id}.jpg"


def picture_members(payload: Mapping[str, Any]) -> list[str]:
    """Every member that the payload names, each once, image by image with the output first."""
    return pictures_named(payload, MEMBERS)


def input_members(payload: Mapping[str, Any]) -> list[str]:
    """The members that are originals, and not annotated pictures as well."""
    outputs = pictures_named(payload, [MEMBERS.output])
    return [name for name in pictures_named(payload, [MEMBERS.input]) if name not in outputs]


def create_body(payload: Mapping[str, Any], source_ids: Mapping[str, str]) -> dict[str, Any]:
    """The body of `POST /vision-events`, given the API's id of each member that was uploaded.

    A picture without an id is left out, and so is an image that is then empty.
    """
    body = _with_references(payload, source_ids, SOURCE_IDS)
    body.pop(FORMAT_VERSION_KEY, None)
    return body


def without_pictures(payload: Mapping[str, Any], members: Collection[str]) -> dict[str, Any]:
    """The payload without these pictures, and without images that are then empty."""
    kept = {member: member for member in picture_members(payload) if member not in members}
    return _with_references(payload, kept, MEMBERS)


def referring(
    payload: Mapping[str, Any], references: Mapping[str, str], keys: PictureKeys
) -> dict[str, Any]:
    """The parts of the payload that depend on its pictures, with references in place of members.

    That is `images`, whose pictures are named by these keys, and `displayImagePosition` if there is
    a picture to show. A member without a reference is left out, and so is an image without picture
    or annotation.
    """
    new_keys = dict(zip(MEMBERS, keys, strict=True))
    displayed = payload.get("displayImagePosition")
    images: list[dict[str, Any]] = []
    shown: list[int] = []
    for position, image in enumerate(payload.get("images", ())):
        entry = {
            new_keys.get(key, key): references[value] if key in new_keys else value
            for key, value in image.items()
            if key not in new_keys or value in references
        }
        if not any(value for key, value in entry.items() if key != "label"):
            continue
        if any(key in entry for key in keys):
            # The chosen picture goes first, then whichever comes first.
            shown.insert(0 if position == displayed else len(shown), len(images))
        images.append(entry)
    if displayed is None or not shown:
        return {"images": images}
    return {"images": images, "displayImagePosition": shown[0]}


def encode_payload(payload: Mapping[str, Any]) -> bytes:
    """The payload as JSON; raises ValueError for NaN and infinity, which JSON lacks."""
    return json.dumps(payload, allow_nan=False, separators=(",", ":")).encode()


def _with_references(
    payload: Mapping[str, Any], references: Mapping[str, str], keys: PictureKeys
) -> dict[str, Any]:
    rest = {key: value for key, value in payload.items() if key != "displayImagePosition"}
    return {**rest, **referring(payload, references, keys)}

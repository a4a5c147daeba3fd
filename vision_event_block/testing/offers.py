"""What a request brings, read from its body before its outcome is decided.

Pure: a call in, values out.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import uuid
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import parse_qs, urlsplit

from vision_event_block.contract import limits
from vision_event_block.contract.archives import MAX_ARCHIVE_BYTES, BadArchive, read_archive
from vision_event_block.contract.names import FORMAT_VERSION_KEY, MEMBERS, SOURCE_IDS
from vision_event_block.testing.wire import Refused, parse_form

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vision_event_block.testing.wire import Call, Route


@dataclass(frozen=True)
class Upload:
    """A picture that was uploaded, on its own or in a bundle."""

    #: Empty if the stand-in keeps no pictures.
    picture: bytes = field(repr=False)
    file_name: str | None
    media_type: str
    metadata: dict[str, Any] | None
    headers: Mapping[str, str]
    #: As hex digits.
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Offer:
    """What a request asks the Vision Events API to store; its events are not checked yet."""

    #: By the source ids under which they will be stored.
    uploads: Mapping[str, Upload] = field(default_factory=dict)
    events: tuple[Any, ...] = ()
    #: Why the whole request is unusable.
    refused: Refused | None = None

    @property
    def event_ids(self) -> tuple[str, ...]:
        """The ids of the events, as far as they have any."""
        ids = (event.get("eventId") for event in self.events if isinstance(event, dict))
        return tuple(event_id for event_id in ids if isinstance(event_id, str))


def read_offer(call: Call, route: Route | None) -> Offer:
    """What the request brings; empty for a route where it brings nothing to this API."""
    if call.method != "POST":
        return Offer()
    try:
        if route == "upload":
            return _read_upload(call)
        if route == "create":
            return Offer(events=(parse_json(call.body, "body"),))
        if route == "batch":
            return _read_batch(call)
        if route == "bundle":
            return _read_bundle(call)
    except Refused as refused:
        return Offer(refused=refused)
    return Offer()


def parse_json(text: bytes, what: str) -> Any:
    """The document; raises Refused for anything else, including NaN, which only Python accepts."""
    try:
        return _JSON.decode(text.decode())
    except (ValueError, RecursionError):
        raise Refused(HTTPStatus.BAD_REQUEST, f"{what} must be JSON") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_JSON: Final = json.JSONDecoder(parse_constant=_refuse_constant)


def _read_upload(call: Call) -> Offer:
    form = parse_form(call.headers.get("Content-Type", ""), call.body)
    if "file" not in form or not form["file"].content:
        raise Refused(HTTPStatus.BAD_REQUEST, "file is required")
    file = form["file"]
    metadata = parse_json(form["metadata"].content, "metadata") if "metadata" in form else None
    upload = _upload(file.content, file.file_name, file.media_type, call, metadata)
    return Offer(uploads={uuid.uuid4().hex: upload})


def _read_batch(call: Call) -> Offer:
    document = parse_json(call.body, "body")
    events = document.get("events") if isinstance(document, dict) else None
    if not isinstance(events, list) or not 1 <= len(events) <= limits.MAX_BATCH_EVENTS:
        words = f"events must hold 1 to {limits.MAX_BATCH_EVENTS} events"
        raise Refused(HTTPStatus.BAD_REQUEST, words)
    return Offer(events=tuple(events))


def _read_bundle(call: Call) -> Offer:
    """The event as if its pictures had been uploaded before it."""
    if len(call.body) > MAX_ARCHIVE_BYTES:
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"over {MAX_ARCHIVE_BYTES} bytes")
    try:
        archive = read_archive(call.body)
    except BadArchive as bad:
        raise Refused(HTTPStatus.BAD_REQUEST, str(bad)) from None
    event = archive.payload
    del event[FORMAT_VERSION_KEY]
    for use_case_id in parse_qs(urlsplit(call.path).query).get("useCaseId", ()):
        event["useCaseId"] = use_case_id
    source_ids = {name: uuid.uuid4().hex for name in archive.pictures}
    uploads = {}
    for image, file_key, source_id_key in _picture_places(event):
        name = image.pop(file_key)
        if not isinstance(name, str) or name not in source_ids:  # also in a list that is none
            raise Refused(HTTPStatus.BAD_REQUEST, f"{file_key} must name a member, not {name!r}")
        image[source_id_key] = source_ids[name]
        media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        uploads[source_ids[name]] = _upload(archive.pictures[name], name, media_type, call)
    return Offer(uploads, (event,))


def _picture_places(event: Mapping[str, Any]) -> list[tuple[dict[str, Any], str, str]]:
    images = event.get("images")
    return [
        (image, file_key, source_id_key)
        for image in (images if isinstance(images, list) else ())
        if isinstance(image, dict)
        for file_key, source_id_key in zip(MEMBERS, SOURCE_IDS, strict=True)
        if file_key in image
    ]


def _upload(
    picture: bytes,
    file_name: str | None,
    media_type: str,
    call: Call,
    metadata: dict[str, Any] | None = None,
) -> Upload:
    return Upload(
        picture=picture,
        file_name=file_name,
        media_type=media_type,
        metadata=metadata,
        headers=call.headers,
        sha256=hashlib.sha256(picture).hexdigest(),
        size_bytes=len(picture),
    )

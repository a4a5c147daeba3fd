"""Bundles: an event in one archive with its pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse

from vision_event_block.contract.archives import BadArchive, read_archive
from vision_event_block.contract.names import FORMAT_VERSION_KEY, MEMBERS, SOURCE_IDS
from vision_event_block.server.api import replies
from vision_event_block.server.api.dependencies import (
    EventSinkOf,
    RawBody,
    StoreOf,
    answers,
    open_use_case,
)
from vision_event_block.server.api.events import created
from vision_event_block.server.api.ingest import RequestRefused, fit, identify
from vision_event_block.server.auth import needs
from vision_event_block.server.store.timestamps import utc_now

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEYS: Final = dict(zip(MEMBERS, SOURCE_IDS, strict=True))
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_ARCHIVE: Final = {
    "requestBody": {
        "required": True,
        "content": {"application/gzip": _BINARY, "application/x-tar": _BINARY},
    }
}

router = APIRouter(tags=["events"])


@router.post(
    "/vision-events/bundle",
    status_code=201,
    dependencies=[needs("write", query_key=True)],
    responses=answers(201, replies.Created, 400, 408, 413, 503),
    openapi_extra=_ARCHIVE,
)
def create_bundled_event(
    store: StoreOf,
    sink: EventSinkOf,
    content: RawBody,
    use_case_id: Annotated[
        str | None,
        Query(
            alias="useCaseId",
            description="Replaces the one in the archive. An id or a name.",
        ),
    ] = None,
) -> JSONResponse:
    """Store the event and the pictures of a bundle, format version 1, tar or tar.gz."""
    try:
        archive = read_archive(content)
    except BadArchive as error:
        raise RequestRefused(f"the body is not a bundle: {error}") from None
    # Everything that could refuse the event is checked before its pictures are stored. Its id and
    # time are not generated here: a bundle comes late, and may come twice.
    identity = identify(archive.payload, now=utc_now(), use_case_id=use_case_id)
    identity = replace(identity, use_case_id=open_use_case(sink, identity.use_case_id))
    source_ids = {name: store.pictures.put(data).id for name, data in archive.pictures.items()}
    ingested = fit(_body(archive.payload, source_ids), identity)
    sink.put([ingested.event])
    return JSONResponse(created(ingested), 201)


def _body(payload: Mapping[str, Any], source_ids: Mapping[str, str]) -> dict[str, Any]:
    """The event as if its pictures had been uploaded first; nothing else is changed."""
    body = {key: value for key, value in payload.items() if key != FORMAT_VERSION_KEY}
    if source_ids:  # and so `images` is a list of objects
        body["images"] = [
            {
                _KEYS.get(key, key): source_ids[value] if key in _KEYS else value
                for key, value in image.items()
            }
            for image in payload["images"]
        ]
    return body

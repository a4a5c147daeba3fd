"""Routes that store and serve pictures."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.responses import FileResponse, JSONResponse, Response

from vision_event_block.contract.text import clean_text, cut
from vision_event_block.server.api import replies
from vision_event_block.server.api.dependencies import StoreOf, UploadForm, answers, parsed
from vision_event_block.server.api.event_rules import clean_metadata
from vision_event_block.server.api.ingest import MAX_WARNINGS, RequestRefused
from vision_event_block.server.auth import needs
from vision_event_block.server.store.errors import Busy, StorageDown

MAX_NAME_CHARS: Final = 256
#: Sides of a thumbnail, in pixels.
MIN_SIDE, MAX_SIDE = 16, 2048
#: A picture never changes under its id. Nothing in it may run, whatever type a browser assumes.
_HEADERS: Final = {
    "Cache-Control": "private, max-age=31536000, immutable",
    "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
}
#: What a page shows instead of a picture that is missing or not available now.
_PLACEHOLDER: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 48" fill="none" stroke="#888" '
    'stroke-width="1.5"><path d="M20 15h24v18H20zM20 29l7-6 5 4 4-3 8 6M17 36l30-24"/></svg>'
)
_FORM: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": "JPEG, PNG, WebP, GIF, TIFF, BMP, HEIC or AVIF.",
                        },
                        "name": {"type": "string", "description": "A name to show."},
                        "metadata": {
                            "type": "string",
                            "description": "A JSON object, as an event's `customMetadata`.",
                        },
                    },
                }
            }
        },
    }
}
_PICTURE: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The picture.",
        "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
    }
}

router = APIRouter(tags=["pictures"])


@router.post(
    "/vision-events/upload",
    status_code=201,
    dependencies=[needs("write")],
    responses=answers(201, replies.Uploaded, 400, 408, 413),
    openapi_extra=_FORM,
)
def upload(request: Request, store: StoreOf, form: UploadForm) -> JSONResponse:
    """Store a picture and get the `sourceId` for events that show it."""
    file, name = form.get("file"), form.get("name")
    if not isinstance(file, UploadFile):
        raise RequestRefused("file is required: a part of the form that holds the picture")
    metadata, violations = _metadata(form.get("metadata"))
    picture = store.pictures.put(
        file.file.read(),
        name=cut(clean_text(name), MAX_NAME_CHARS) if isinstance(name, str) else None,
        metadata=metadata,
    )
    reply: dict[str, Any] = {
        "success": True,
        "sourceId": picture.id,
        "url": str(request.url_for("picture", source_id=picture.id)),
    }
    if violations:
        reply["warnings"] = violations[:MAX_WARNINGS]
    return JSONResponse(reply, 201)


@router.get(
    "/vision-events/pictures/{source_id}",
    dependencies=[needs("read")],
    response_class=Response,
    responses={**answers(200, replies.Error, 400, 404, 410), **_PICTURE},
)
async def picture(
    request: Request,
    store: StoreOf,
    source_id: str,
    side: Annotated[
        int | None,
        Query(ge=MIN_SIDE, le=MAX_SIDE, description="Longest side of a JPEG thumbnail, in pixels."),
    ] = None,
) -> Response:
    """A picture as it was uploaded, or a thumbnail of it. An extension of this server."""
    try:
        return await _shown(store, source_id, side)
    except (FileNotFoundError, StorageDown, Busy) as error:
        is_gone = isinstance(error, FileNotFoundError)
        if request.headers.get("accept", "").startswith("image/"):  # a page's <img>
            headers = {**_HEADERS, "Cache-Control": "no-store"}
            status = 404 if is_gone else 503
            return Response(_PLACEHOLDER, status, headers, media_type="image/svg+xml")
        if not is_gone:
            raise
        known = store.pictures.info_of_many([source_id], also_shed=True)
        if (shed := known.get(source_id)) is not None and shed.shed_at is not None:
            when = f"{shed.shed_at:%Y-%m-%d}"
            raise RequestRefused(f"the picture was removed on {when} to make room", 410) from None
        raise RequestRefused("there is no picture with this id", 404) from None


async def _shown(store: StoreOf, source_id: str, side: int | None) -> Response:
    file = await run_in_threadpool(store.pictures.get, source_id)
    if file is None:
        raise FileNotFoundError
    if side is not None:
        # Awaited without a thread: a page of slow pictures would occupy them all.
        asked = await run_in_threadpool(store.pictures.thumbnails.ask, source_id, file, side)
        content = await asyncio.wrap_future(asked)
        if content is not None:
            return Response(content, media_type="image/jpeg", headers=_HEADERS)
    name = file.name.rpartition("/")[2]
    if file.path is None:
        headers = {**_HEADERS, "Content-Disposition": f'inline; filename="{name}"'}
        content = await run_in_threadpool(file.read)
        return Response(content, media_type=file.media_type, headers=headers)
    return FileResponse(
        file.path,
        media_type=file.media_type,
        headers=_HEADERS,
        filename=name,
        content_disposition_type="inline",
    )


def _metadata(text: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The valid part of a picture's metadata, and warnings about the rest."""
    if text is None:
        return {}, []
    if not isinstance(text, str):
        raise RequestRefused("metadata must be a JSON object as text")
    given = parsed(text.encode("utf-8", "surrogatepass"), "metadata")
    if not isinstance(given, dict):
        raise RequestRefused("metadata must be a JSON object as text")
    kept, violations = clean_metadata(given, "metadata")
    return kept, [violation.as_warning() for violation in violations]

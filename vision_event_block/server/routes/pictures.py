"""Pictures: into the store, and out of it."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.datastructures import UploadFile
from starlette.responses import FileResponse, JSONResponse, Response

from vision_event_block.events.text import clean_text, cut
from vision_event_block.server.access import needs
from vision_event_block.server.checks import clean_metadata
from vision_event_block.server.ingest import MAX_WARNINGS, Refused
from vision_event_block.server.routes import models
from vision_event_block.server.routes.wire import Form, StoreOf, answers, parsed

MAX_NAME_CHARS: Final = 256
#: Of a thumbnail, in pixels.
MIN_SIDE, MAX_SIDE = 16, 2048
#: A picture never changes under its id. Nothing in it may run, whatever a browser takes it for.
_HEADERS: Final = {
    "Cache-Control": "private, max-age=31536000, immutable",
    "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
}
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
    responses=answers(201, models.Uploaded, 400, 408, 413),
    openapi_extra=_FORM,
)
def upload(request: Request, store: StoreOf, form: Form) -> JSONResponse:
    """Store a picture and get the `sourceId` for events that show it."""
    file, name = form.get("file"), form.get("name")
    if not isinstance(file, UploadFile):
        raise Refused("file is required: a part of the form that holds the picture")
    metadata, findings = _metadata(form.get("metadata"))
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
    if findings:
        reply["warnings"] = findings[:MAX_WARNINGS]
    return JSONResponse(reply, 201)


@router.get(
    "/vision-events/pictures/{source_id}",
    dependencies=[needs("read")],
    response_class=Response,
    responses={**answers(200, models.Error, 400, 404), **_PICTURE},
)
def picture(
    store: StoreOf,
    source_id: str,
    side: Annotated[
        int | None,
        Query(ge=MIN_SIDE, le=MAX_SIDE, description="Longest side of a JPEG thumbnail, in pixels."),
    ] = None,
) -> Response:
    """A picture as it was uploaded, or a thumbnail of it. An extension of this server."""
    file = store.pictures.get(source_id)
    if file is None:
        raise Refused("there is no picture with this id", 404)
    if side is not None:
        content = store.pictures.thumbnail(source_id, side)
        if content is not None:
            return Response(content, media_type="image/jpeg", headers=_HEADERS)
    return FileResponse(
        file.path,
        media_type=file.media_type,
        headers=_HEADERS,
        filename=file.path.name,
        content_disposition_type="inline",
    )


def _metadata(text: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What is kept of the metadata beside a picture, and warnings about the rest."""
    if text is None:
        return {}, []
    if not isinstance(text, str):
        raise Refused("metadata must be a JSON object as text")
    given = parsed(text.encode("utf-8", "surrogatepass"), "metadata")
    if not isinstance(given, dict):
        raise Refused("metadata must be a JSON object as text")
    kept, findings = clean_metadata(given, "metadata")
    return kept, [finding.as_warning() for finding in findings]

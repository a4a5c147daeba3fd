"""Use cases, and the metadata keys seen in their events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from fastapi import APIRouter, Path
from starlette.responses import JSONResponse

from vision_event_block.contract import limits
from vision_event_block.server.api import bodies, replies
from vision_event_block.server.api.dependencies import (
    JsonText,
    StoreOf,
    answers,
    lookback_days,
    parsed_object,
    readable_use_case,
    takes_json,
)
from vision_event_block.server.api.ingest import RequestRefused
from vision_event_block.server.auth import needs
from vision_event_block.server.store.records import is_storable
from vision_event_block.server.store.timestamps import iso_milliseconds

if TYPE_CHECKING:
    from vision_event_block.server.storage import Store
    from vision_event_block.server.store.records import UseCase

#: One server is one workspace.
WORKSPACE: Final = "local"

UseCaseId = Annotated[str, Path(max_length=limits.MAX_USE_CASE_ID_CHARS)]

router = APIRouter(tags=["use cases"])


@router.get(
    "/vision-events/use-cases",
    dependencies=[needs("read")],
    responses=answers(200, replies.UseCaseList, 400),
)
def list_use_cases(
    store: StoreOf, status: Literal["active", "inactive", "all"] = "active"
) -> JSONResponse:
    """The use cases of a status; `all` is an extension of this server."""
    found = store.use_cases.list(None if status == "all" else status)
    return JSONResponse(
        {"useCases": [_answered(each) for each in found], "lookbackDays": lookback_days(store)}
    )


@router.post(
    "/vision-events/use-cases",
    status_code=201,
    dependencies=[needs("manage")],
    responses=answers(201, replies.UseCaseName, 400, 408, 413),
    openapi_extra=takes_json(bodies.NEW_USE_CASE),
)
def create_use_case(store: StoreOf, content: JsonText) -> JSONResponse:
    """Create a use case. Events name it by its id or by its name."""
    body = parsed_object(content)
    given_id = body.get("id")
    if given_id is not None and not bodies.ID.allows(given_id):
        raise RequestRefused("id must be letters, digits, '_' and '-', at most 64")
    use_case = store.use_cases.create(_name(body.get("name")), id=given_id)
    return JSONResponse({"id": use_case.id, "name": use_case.name}, 201)


@router.put(
    "/vision-events/use-cases/{use_case_id}",
    dependencies=[needs("manage")],
    responses=answers(200, replies.UseCaseName, 400, 404, 408, 413),
    openapi_extra=takes_json(bodies.USE_CASE_CHANGE),
)
def update_use_case(store: StoreOf, use_case_id: UseCaseId, content: JsonText) -> JSONResponse:
    """Rename a use case, or change its status."""
    body = parsed_object(content)
    name, status = body.get("name"), body.get("status")
    if name is None and status is None:
        raise RequestRefused("name or status is required")
    if status is not None and not bodies.STATUS.allows(status):
        raise RequestRefused("status must be active or inactive")
    use_case = store.use_cases.update(
        _storable(use_case_id), name=None if name is None else _name(name), status=status
    )
    return JSONResponse({"id": use_case.id, "name": use_case.name})


@router.post(
    "/vision-events/use-cases/{use_case_id}/archive",
    dependencies=[needs("manage")],
    responses=answers(200, replies.Success, 400, 404),
)
def archive_use_case(store: StoreOf, use_case_id: UseCaseId) -> JSONResponse:
    """Archive a use case: its events stay, and it accepts no new ones."""
    store.use_cases.archive(_storable(use_case_id))
    return JSONResponse({"success": True})


@router.post(
    "/vision-events/use-cases/{use_case_id}/unarchive",
    dependencies=[needs("manage")],
    responses=answers(200, replies.Success, 400, 404),
)
def unarchive_use_case(store: StoreOf, use_case_id: UseCaseId) -> JSONResponse:
    """Let an archived use case accept events again."""
    store.use_cases.unarchive(_storable(use_case_id))
    return JSONResponse({"success": True})


@router.get(
    "/vision-events/custom-metadata-schema/{use_case_id:path}",  # a name may hold a slash
    dependencies=[needs("read")],
    responses=answers(200, replies.MetadataSchema, 400, 404),
)
def metadata_schema(store: StoreOf, use_case_id: UseCaseId) -> JSONResponse:
    """The keys of custom metadata in a use case, and the types of their values."""
    return _schema(store, use_case_id, "metadata")


@router.get(
    "/vision-events/image-metadata-schema/{use_case_id:path}",
    dependencies=[needs("read")],
    responses=answers(200, replies.MetadataSchema, 400, 404),
)
def image_metadata_schema(store: StoreOf, use_case_id: UseCaseId) -> JSONResponse:
    """The keys of the metadata of images in a use case, and the types of their values."""
    return _schema(store, use_case_id, "image")


def _schema(store: Store, use_case_id: str, part: Literal["metadata", "image"]) -> JSONResponse:
    use_case_id = readable_use_case(store, use_case_id)
    found = store.metadata_schema(use_case_id, part)
    fields = {key: {"types": types} for key, types in found.items()}
    return JSONResponse({"useCaseId": use_case_id, "fields": fields})


def _answered(use_case: UseCase) -> dict[str, Any]:
    return {
        "id": use_case.id,
        "name": use_case.name,
        "status": use_case.status,
        "workspaceId": WORKSPACE,
        "createdAt": iso_milliseconds(use_case.created_at),
        "updatedAt": iso_milliseconds(use_case.updated_at),
        "eventCount": use_case.event_count,
    }


def _storable(use_case_id: str) -> str:
    if not is_storable(use_case_id):
        raise RequestRefused("there is no such use case", 404)
    return use_case_id


def _name(given: Any) -> str:
    name = given.strip() if isinstance(given, str) else ""
    if not bodies.NAME.allows(name):
        max_chars = bodies.NAME.schema["maxLength"]
        raise RequestRefused(f"name must be a string of 1 to {max_chars} characters")
    return name

"""The event store on a device: the one of its routes that the blocks use."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from fastapi import APIRouter
from starlette.responses import JSONResponse

from vision_event_block.server.api import replies
from vision_event_block.server.api.dependencies import (
    EventSinkOf,
    JsonText,
    StoreOf,
    answers,
    open_use_case,
    parsed,
    refuse_large,
    takes_json,
)
from vision_event_block.server.api.device_ingest import (
    DEVICE_EVENT,
    UNASSIGNED,
    UNPROCESSABLE,
    DeviceEvent,
    read_device_event,
)
from vision_event_block.server.api.ingest import RequestRefused, fit, identify
from vision_event_block.server.auth import needs
from vision_event_block.server.middleware.body_limits import MAX_JSON_BYTES
from vision_event_block.server.store.errors import DuplicateName, NotAPicture
from vision_event_block.server.store.timestamps import utc_now

if TYPE_CHECKING:
    from vision_event_block.server.storage import Store

router = APIRouter(tags=["event store"])


@router.post(
    "/v2/events",
    status_code=201,
    dependencies=[needs("write", header_key="X-API-Key")],
    responses=answers(
        201, replies.DeviceEventCreated, 400, 408, 413, 422, 503, error=replies.EventStoreError
    ),
    openapi_extra=takes_json(DEVICE_EVENT),
)
def create_device_event(store: StoreOf, sink: EventSinkOf, content: JsonText) -> JSONResponse:
    """Store an event as devices send it, with its pictures. Each post is an event of its own."""
    device_event = read_device_event(parsed(content), event_id=str(uuid4()), now=utc_now())
    if len(content) > MAX_JSON_BYTES:
        refuse_large(device_event.body)
    identity = identify(device_event.body, now=utc_now())
    if identity.use_case_id == UNASSIGNED and store.use_cases.get(UNASSIGNED) is None:
        with suppress(DuplicateName):  # a concurrent request may have created it
            store.use_cases.create("Unassigned", id=UNASSIGNED)
    identity = replace(identity, use_case_id=open_use_case(sink, identity.use_case_id))
    source_ids = _stored(store, device_event)
    event = fit(device_event.create_body(source_ids), identity).event
    sink.put([event])
    reply: dict[str, Any] = {"id": event.event_id}
    if event.warnings:
        reply["warnings"] = list(event.warnings)
    return JSONResponse(reply, 201)


def _stored(store: Store, event: DeviceEvent) -> dict[tuple[int, str], str]:
    source_ids = {}
    for place, data in event.pictures.items():
        try:
            source_ids[place] = store.pictures.put(data).id
        except NotAPicture as error:  # noqa: PERF203 -- the first error ends the loop
            raise RequestRefused(f"images.{place[0]}: {error}", UNPROCESSABLE) from None
    return source_ids

"""Routes that create, query, pin and delete events."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from vision_event_block.contract import limits
from vision_event_block.contract.text import cut
from vision_event_block.server.api import bodies, replies
from vision_event_block.server.api.dependencies import (
    EventSinkOf,
    JsonText,
    StoreOf,
    answers,
    in_turn,
    lookback_days,
    open_use_case,
    parsed,
    parsed_object,
    readable_use_case,
    refuse_large,
    takes_json,
)
from vision_event_block.server.api.event_rules import NEW_EVENT
from vision_event_block.server.api.ingest import Ingested, RequestRefused, fit, identify
from vision_event_block.server.auth import needs
from vision_event_block.server.middleware.body_limits import MAX_JSON_BYTES
from vision_event_block.server.store.filters import DEFAULT_LIMIT, MAX_LIMIT
from vision_event_block.server.store.query_filters import filters_of
from vision_event_block.server.store.timestamps import utc_now

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vision_event_block.server.storage import Store
    from vision_event_block.server.store.records import StoredEvent

router = APIRouter(tags=["events"])


@router.post(
    "/vision-events",
    status_code=201,
    dependencies=[needs("write")],
    responses=answers(201, replies.Created, 400, 408, 413, 503),
    openapi_extra=takes_json(NEW_EVENT),
)
def create_event(sink: EventSinkOf, content: JsonText) -> JSONResponse:
    """Store an event. The same `eventId` again overwrites it."""
    body = parsed(content)
    identity = identify(body, now=utc_now(), spare_id=sink.spare_id())
    use_case_id = open_use_case(sink, identity.use_case_id)
    ingested = fit(body, replace(identity, use_case_id=use_case_id))
    sink.put([ingested.event])
    return JSONResponse(created(ingested), 201)


@router.post(
    "/vision-events/batch",
    status_code=201,
    dependencies=[needs("write")],
    responses=answers(201, replies.BatchCreated, 400, 408, 413, 503),
    openapi_extra=takes_json(bodies.BATCH),
)
def create_events(sink: EventSinkOf, content: JsonText) -> JSONResponse:
    """Store up to a hundred events: all of them, or none if one is refused."""
    events = parsed_object(content).get("events")
    if not isinstance(events, list) or not 1 <= len(events) <= limits.MAX_BATCH_EVENTS:
        raise RequestRefused(f"events must be a list of 1 to {limits.MAX_BATCH_EVENTS} events")
    ingested = []
    look_up = cache(partial(open_use_case, sink))
    is_large = len(content) > MAX_JSON_BYTES
    for position, event in enumerate(events):
        try:
            if is_large:
                refuse_large(event)
            identity = identify(event, now=utc_now(), spare_id=sink.spare_id())
            use_case_id = look_up(identity.use_case_id)
        except RequestRefused as refused:
            raise RequestRefused(f"events.{position}: {refused.words}", refused.status) from None
        ingested.append(fit(event, replace(identity, use_case_id=use_case_id)))
    # If ids repeat, the last event is kept, as if they had come one after the other.
    sink.put(list({each.event.event_id: each.event for each in ingested}.values()))
    ids = [each.event.event_id for each in ingested]
    reply: dict[str, Any] = {"created": len(ids), "eventIds": ids}
    for each in ingested:
        told = {"warnings": each.event.warnings, "deprecations": each.deprecations}
        for name, entries in told.items():
            for entry in entries:
                reply.setdefault(name, []).append({"eventId": each.event.event_id, **entry})
    return JSONResponse(reply, 201)


@router.post(
    "/vision-events/query",
    dependencies=[needs("read")],
    responses=answers(200, replies.Events, 400, 404, 408, 413, 503),
    openapi_extra=takes_json(bodies.QUERY),
)
async def query_events(request: Request, store: StoreOf, content: JsonText) -> JSONResponse:
    """Events of a use case that match all filters, newest first, a page at a time.

    Large events make pages shorter than `limit`; `hasMore` says whether there are more.
    """
    return await in_turn(request, partial(_page, store, content))


def _page(store: Store, content: bytes) -> JSONResponse:
    body = parsed_object(content)
    filters = filters_of(body)
    cursor = body.get("cursor")
    if cursor is not None and not isinstance(cursor, str):
        raise RequestRefused("cursor must be the nextCursor of the page before")
    limit = _limit(body)
    filters = replace(filters, use_case_id=readable_use_case(store, filters.use_case_id))
    page = store.query(filters, limit=limit, cursor=cursor or None)
    return JSONResponse(
        {
            "events": [answered(event) for event in page.events],
            "nextCursor": page.next_cursor,
            "hasMore": page.has_more,
            "lookbackDays": lookback_days(store),
        }
    )


@router.post(
    "/vision-events/delete",
    dependencies=[needs("write")],
    responses=answers(200, replies.EventsDeleted, 400, 404, 408, 413, 503),
    openapi_extra=takes_json(bodies.DELETION),
)
def delete_events(store: StoreOf, sink: EventSinkOf, content: JsonText) -> JSONResponse:
    """Delete events for good, with the feedback about them.

    Pictures that no other event shows are deleted by the next clean-up. If the request fails, some
    of the events may be gone; the same request again deletes the others.
    """
    body = parsed_object(content)
    event_ids = _event_ids(body, "withPictures")
    use_case_id = readable_use_case(store, body["useCaseId"])
    with_pictures = bool(body.get("withPictures"))
    deleted, withdrawn = sink.delete(use_case_id, event_ids, with_pictures=with_pictures)
    reply: dict[str, Any] = {
        "deleted": len(deleted.event_ids),
        "notFound": list(deleted.not_found),
    }
    if withdrawn is not None:
        reply["forwarding"] = asdict(withdrawn)
    return JSONResponse(reply)


@router.post(
    "/vision-events/pin",
    dependencies=[needs("write")],
    responses=answers(200, replies.EventsPinned, 400, 404, 408, 413, 503),
    openapi_extra=takes_json(bodies.PIN),
)
def pin_events(store: StoreOf, content: JsonText) -> JSONResponse:
    """Exclude events and their pictures from every clean-up; with `isPinned` false, no longer.

    An extension of this server. A pinned event can still be deleted by its id.
    """
    body = parsed_object(content)
    event_ids = _event_ids(body, "isPinned")
    use_case_id = readable_use_case(store, body["useCaseId"])
    pinned = store.pin(use_case_id, event_ids, on=body.get("isPinned") is not False)
    reply = {"changed": len(pinned.event_ids), "notFound": list(pinned.not_found)}
    return JSONResponse(reply)


def created(ingested: Ingested) -> dict[str, Any]:
    reply = {"eventId": ingested.event.event_id, "created": True}
    warnings = list(ingested.event.warnings)
    return {**reply, **_filled(warnings=warnings, deprecations=ingested.deprecations)}


def answered(event: StoredEvent) -> dict[str, Any]:
    """An event as in query results: without its use case, which is the one in the query."""
    body = {"eventData": {}, "images": [], "customMetadata": {}, **event.body}
    body.pop("useCaseId", None)
    body |= {"isPinned": True} if event.is_pinned else {}
    return {**body, **_filled(warnings=list(event.warnings))}


def _limit(body: Mapping[str, Any]) -> int:
    limit = body.get("limit")
    if limit is None:
        return DEFAULT_LIMIT
    if not bodies.LIMIT.allows(limit):
        raise RequestRefused(f"limit must be a whole number from 1 to {MAX_LIMIT}")
    return int(limit)


def _event_ids(body: Mapping[str, Any], flag: str) -> list[str]:
    """The ids in a body, with its use case and one flag."""
    known = ("useCaseId", "eventIds", flag)
    unknown = sorted(set(body) - set(known))
    if unknown:
        raise RequestRefused(f"unknown field {cut(unknown[0], 60)!r}; known are {', '.join(known)}")
    if not isinstance(body.get("useCaseId"), str) or not body["useCaseId"]:
        raise RequestRefused("useCaseId is required and must be text")
    if not isinstance(body.get(flag), bool | None):
        raise RequestRefused(f"{flag} must be true or false")
    ids: list[str] = body.get("eventIds", [])
    if not bodies.EVENT_IDS.allows(ids):
        at_most = limits.MAX_DELETED_EVENTS
        raise RequestRefused(f"eventIds must be a list of 1 to {at_most} event ids")
    return ids


def _filled(**lists: list[Any]) -> dict[str, list[Any]]:
    return {name: entries for name, entries in lists.items() if entries}

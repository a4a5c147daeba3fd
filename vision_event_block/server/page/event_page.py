"""One event: its pictures, its data, and what operators say about it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode
from uuid import uuid4

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from vision_event_block.contract import limits
from vision_event_block.contract.names import BOXES, CLASSES, KEY_POINTS, OUTLINES, SOURCE_IDS
from vision_event_block.server.api.dependencies import EventSinkOf, Form, StoreOf, in_turn
from vision_event_block.server.auth import page_needs, scopes_of_visitor
from vision_event_block.server.page import neighbours, picture_download
from vision_event_block.server.page.exports import whole
from vision_event_block.server.page.feedback import (
    MAX_REVIEWER_CHARS,
    VERDICT_KEYS,
    feedback_event,
    problem_with,
    remembering,
    reviewer_of,
)
from vision_event_block.server.page.filter_query import FilterQuery
from vision_event_block.server.page.formatting import (
    duration,
    field_name,
    headline,
    plain_value,
    warning_in_words,
)
from vision_event_block.server.page.overlay import VIEW, Overlay, overlay
from vision_event_block.server.page.palette import colour_classes, slot_of, slots_of
from vision_event_block.server.page.rendering import (
    event_address,
    missing,
    picture_address,
    refused,
    rendered,
    step,
    use_case_address,
)
from vision_event_block.server.page.story import strips_of
from vision_event_block.server.page.tiles import Which, display_position, seen_in_words, size_of
from vision_event_block.server.store.errors import BadQuery
from vision_event_block.server.store.filters import Filters
from vision_event_block.server.store.image_metadata import image_metadata
from vision_event_block.server.store.records import REVIEWER
from vision_event_block.server.store.search import Position
from vision_event_block.server.store.timestamps import iso_milliseconds, utc_now

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from vision_event_block.server.page.formatting import Headline
    from vision_event_block.server.storage import Store
    from vision_event_block.server.store.records import StoredEvent, StoredPicture, UseCase

_CONTEXT: Final = {
    "deviceId": "device",
    "streamId": "stream",
    "workflowId": "workflow",
    "workflowVersion": None,
}
#: Event data that the page can filter by.
_FILTERED: Final = {"externalId": "external", "result": "result", "severity": "severity"}
_KINDS: Final = {
    BOXES: "box",
    OUTLINES: "outline",
    KEY_POINTS: "key points",
    CLASSES: "picture",
}

#: "Around an event" reaches this far before and after it.
_AROUND: Final = timedelta(minutes=5)
_SHOWN_ABOVE: Final = 12

router = APIRouter()


@dataclass(frozen=True)
class _PictureView:
    """One picture of an image, large."""

    name: str
    picture: str | None
    size: tuple[int, int] | None
    alt: str
    overlay: Overlay
    has_overlays: bool
    #: When it was removed to free space.
    shed_at: datetime | None = None
    #: The address to save it from; then the file name of the copy with the overlay drawn on it.
    save: str | None = None
    drawn_name: str = ""


@dataclass(frozen=True)
class _Fact:
    name: str
    text: str
    href: str | None = None


@router.get("/events/{event_id:path}", dependencies=[page_needs("read")])
async def event(request: Request, store: StoreOf, event_id: str) -> Response:
    """The page of an event; `image=2` shows its third image, `as=json` returns the event alone.

    With `as=around` it redirects to the grid of the events around that time.
    """
    return await in_turn(request, partial(_event, request, store, event_id))


def _event(request: Request, store: Store, event_id: str) -> Response:
    found = store.get(event_id)
    case = None if found is None else store.use_cases.get(found.use_case_id)
    if found is None or case is None:
        return missing(
            request, "There is no such event", "It may be older than what this server keeps."
        )
    if request.query_params.get("as") == "json":
        return Response(_document(found), media_type="application/json")
    if request.query_params.get("as") == "around":
        return RedirectResponse(_around(store, found), 303)
    return _page(request, store, found, case=case)


@router.post("/events/{event_id:path}/feedback", dependencies=[page_needs("write")])
def judge(
    request: Request, store: StoreOf, sink: EventSinkOf, event_id: str, form: Form
) -> Response:
    """Records what an operator says about an event, as an event of its own."""
    found = store.get(event_id)
    case = None if found is None else store.use_cases.get(found.use_case_id)
    if found is None or case is None:
        return missing(request, "There is no such event", "It may have been deleted meanwhile.")
    filter_query = FilterQuery.of_request(request)
    address = event_address(event_id, filter_query.query)
    if form.get("only") == "name":
        return remembering(request, form, address)
    verdict, comment = form.get("feedback"), form.get("comment")
    if (problem := problem_with(verdict, case)) is not None:
        if "read" not in scopes_of_visitor(request):
            return refused(request, problem)
        return _page(request, store, found, case=case, problem=problem)
    said = feedback_event(
        found.event_id,
        case.id,
        str(verdict),
        feedback_id=uuid4(),
        moment=utc_now(),
        reviewer=reviewer_of(request, form),
        comment=comment.strip() if isinstance(comment, str) else "",
    )
    sink.put([said])
    if form.get("then") == "next" and "read" in scopes_of_visitor(request):
        after = neighbours.older(store, _to_judge(_filters(store, filter_query, case.id)), found)
        told = (("judged", str(verdict)), *([] if after else [("last", "yes")]))
        address = event_address(after or event_id, urlencode((*filter_query.pairs, *told)))
    return remembering(request, form, address)


def _page(
    request: Request,
    store: Store,
    event: StoredEvent,
    *,
    case: UseCase,
    problem: str | None = None,
) -> Response:
    filter_query = FilterQuery.of_request(request).without("picture")
    slots = slots_of(store.choices(case.id)["class"])
    filters = _filters(store, filter_query, case.id)
    before = neighbours.newer(store, filters, event)
    after = neighbours.older(store, filters, event)
    images = event.body.get("images") or []
    wanted = request.query_params.get("image", "")
    shown = display_position(event.body)
    if wanted.isdecimal() and int(wanted[:6]) < len(images):
        shown = int(wanted[:6])
    ids = {image[key] for image in images for key in SOURCE_IDS if key in image}
    known = store.pictures.info_of_many(sorted(ids), also_shed=True)
    pictures = {key: one for key, one in known.items() if one.shed_at is None}
    words = headline(event.event_type, event.body.get("eventData") or {})
    views = list(_views(event, case, shown, known, slots, words)) if images else []
    found = [entry for view in views[:1] for entry in (*view.overlay.shapes, *view.overlay.tags)]
    return rendered(
        request,
        "event.html",
        problem=problem,
        event=event,
        case=case,
        headline=words,
        query=filter_query.query,
        back=use_case_address(case.id, filter_query.query),
        newer=before and event_address(before, filter_query.query),
        older=after and event_address(after, filter_query.query),
        views=views,
        has_pictures=any(view.picture for view in views),
        left_out=views[0].overlay.left_out if views else 0,
        classes=views[0].overlay.classes if found else {},
        strips=strips_of(
            event.body,
            pictures,
            lambda row: event_address(
                event.event_id, FilterQuery((*filter_query.pairs, ("image", str(row)))).query
            ),
            shown=shown,
        ),
        duration=duration(event.body.get("customMetadata") or {}),
        facts=list(_facts(event, case, filter_query)),
        metadata=list(_metadata(event, case, filter_query)),
        of_image=[
            _Fact(key, plain_value(value))
            for key, value in (image_metadata(images[shown]) if images else {}).items()
        ],
        other=json.dumps(event.other, ensure_ascii=False, indent=2) if event.other else "",
        warnings=[warning_in_words(warning) for warning in event.warnings],
        detections=list(_detections(images[shown], slots)) if images else [],
        may_delete="write" in scopes_of_visitor(request),
        can_judge="write" in scopes_of_visitor(request) and case.status == "active",
        verdicts=VERDICT_KEYS,
        notice=_saved_in_words(request.query_params),
        reviewer=reviewer_of(request),
        max_reviewer_chars=MAX_REVIEWER_CHARS,
        max_comment_chars=limits.MAX_COMMENT_CHARS,
        history=[
            {
                "verdict": str((one.body.get("eventData") or {}).get("feedback")),
                "timestamp": one.timestamp,
                "comment": one.body.get("comment"),
                "reviewer": one.body.get("customMetadata", {}).get(REVIEWER),
            }
            for one in reversed(store.feedback_on(event.event_id))
        ],
        document=_document(event),
    )


def _filters(store: Store, filter_query: FilterQuery, use_case_id: str) -> Filters:
    """The reader's filters; if they cannot be read, all events of the use case."""
    try:
        return filter_query.filters(
            use_case_id, types=store.metadata_schema(use_case_id), now=utc_now()
        )
    except BadQuery:
        return Filters(use_case_id=use_case_id)


def _around(store: Store, event: StoredEvent) -> str:
    """The grid of all events of these minutes, with a few newer ones above this one."""
    start, end = event.timestamp - _AROUND, event.timestamp + _AROUND
    query = FilterQuery().having(start=iso_milliseconds(start), end=iso_milliseconds(end))
    above = store.query(
        Filters(use_case_id=event.use_case_id, end=end),
        limit=_SHOWN_ABOVE,
        newer_than=Position.of(event),
    )
    if above.has_more:
        query = query.at_or_before(above.events[-1].timestamp)
    return use_case_address(event.use_case_id, query.query) + f"#e-{step(event.event_id)}"


def _to_judge(filters: Filters) -> Filters:
    """The events to judge among these: not feedback itself, unless it was asked for."""
    kinds = tuple(kind for kind in limits.EVENT_TYPES if kind != "operator_feedback")
    return replace(filters, event_types=filters.event_types or kinds)


def _saved_in_words(params: Mapping[str, str]) -> str | None:
    """What a verdict did, from the parameters of the address that follows it."""
    verdict = params.get("judged")
    if verdict not in limits.FEEDBACKS:
        return None
    here = "There is no older one here." if "last" in params else "This is the next event."
    return f"Saved: {verdict}. {here}"


def _views(  # noqa: PLR0913, PLR0917 -- all that a picture needs
    event: StoredEvent,
    case: UseCase,
    position: int,
    pictures: Mapping[str, StoredPicture],
    slots: Mapping[str, int],
    words: Headline,
) -> Iterator[_PictureView]:
    """Input and output of an image, or its annotations alone where there is no picture."""
    image = event.body["images"][position]
    sizes = {
        key: size_of(pictures.get(image.get(key, "")))
        for key in (SOURCE_IDS.input, SOURCE_IDS.output)
    }
    size = sizes[SOURCE_IDS.input] or sizes[SOURCE_IDS.output]  # what annotations refer to
    drawn = overlay(image, size, slots=slots, frame=VIEW)
    alt = seen_in_words(event.event_type, words, drawn)
    present = [
        (key, name)
        for key, name in ((SOURCE_IDS.input, "Input"), (SOURCE_IDS.output, "Output"))
        if key in image
    ]
    for key, name in present:
        known = pictures.get(image[key])
        is_here = known is not None and known.shed_at is None
        # The workflow has usually drawn on the output already.
        has_overlays = key == SOURCE_IDS.input or not is_here or len(present) == 1
        which: Which = "input" if key == SOURCE_IDS.input else "output"
        yield _PictureView(
            f"{name} picture",
            picture_address(image[key]) if is_here else None,
            sizes[key],
            f"{name}. {alt}",
            drawn,
            has_overlays and not (key == SOURCE_IDS.output and is_here),
            known.shed_at if known else None,
            picture_download.address(event.event_id, position, which) if is_here else None,
            f"{picture_download.file_stem(case.name, event, position, which)}_drawn.jpg",
        )
    if not present and (drawn.shapes or drawn.tags):
        yield _PictureView("Detections", None, None, alt, drawn, has_overlays=True)


def _facts(event: StoredEvent, case: UseCase, filter_query: FilterQuery) -> Iterator[_Fact]:
    for key, value in (event.body.get("eventData") or {}).items():
        href = None
        if key == "relatedEventId":
            href = event_address(str(value))
        elif key in _FILTERED and str(value).strip():
            href = _also(case, filter_query.also(_FILTERED[key], str(value)))
        yield _Fact(field_name(key), plain_value(value), href)
    if comment := event.body.get("comment"):
        yield _Fact("Comment", str(comment))
    for key, name in _CONTEXT.items():
        if value := event.body.get(key):
            yield _Fact(
                field_name(key),
                str(value),
                _also(case, filter_query.also(name, value)) if name and value.strip() else None,
            )


def _metadata(event: StoredEvent, case: UseCase, filter_query: FilterQuery) -> Iterator[_Fact]:
    for key, value in (event.body.get("customMetadata") or {}).items():
        text = json.dumps(value) if isinstance(value, bool) else str(value)
        asked = filter_query.also_metadata(key, text)
        yield _Fact(key, plain_value(value), _also(case, asked) if text else None)


def _detections(image: Mapping[str, Any], slots: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    for key, kind in _KINDS.items():
        for entry in image.get(key) or ():
            name = str(entry.get("class") or "unknown")
            numbers = (entry.get(side) for side in ("x", "y", "width", "height"))
            yield {
                "class_name": name,
                "colours": colour_classes(slot_of(name, slots)),
                "confidence": entry.get("confidence"),
                "kind": kind,
                "numbers": ["" if number is None else f"{number:.6g}" for number in numbers],
            }


def _also(case: UseCase, filter_query: FilterQuery) -> str:
    return use_case_address(case.id, filter_query.query)


def _document(event: StoredEvent) -> str:
    return json.dumps(whole(event), ensure_ascii=False, indent=2)

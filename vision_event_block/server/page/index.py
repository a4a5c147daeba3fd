"""The first page: the use cases, and what can be done with them."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from vision_event_block.contract.names import SOURCE_IDS
from vision_event_block.server.api.dependencies import Form, StoreOf, in_turn
from vision_event_block.server.auth import page_needs, scopes_of_visitor
from vision_event_block.server.loopback import is_loopback
from vision_event_block.server.page.formatting import sentence
from vision_event_block.server.page.rendering import picture_address, refused, rendered, step
from vision_event_block.server.page.tiles import display_image
from vision_event_block.server.store.devices import MIN_MISSED
from vision_event_block.server.store.errors import AlreadyActive, StoreError
from vision_event_block.server.store.filters import Filters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vision_event_block.server.storage import Store
    from vision_event_block.server.store.devices import Device
    from vision_event_block.server.store.records import UseCase

_STRIP_PICTURES: Final = 5
_STRIP_EVENTS: Final = 12
_STRIP_SIDE_PX: Final = 360
#: More cards than this come without pictures: nobody scrolls there, everybody waits.
_MAX_STRIPS: Final = 60
#: And so do those for which there is no time, since the events of others are large.
_MAX_STRIPS_S: Final = 2.0
#: The same for the devices of many use cases.
_MAX_DEVICES_S: Final = 2.0

#: Of the newest; the log has the others.
_MAX_REFUSALS: Final = 5

router = APIRouter()
_manages = [page_needs("manage")]


@router.get("/", dependencies=[page_needs("read")])
async def use_cases(request: Request, store: StoreOf, status: str = "active") -> Response:
    is_archive = status == "inactive"
    return await in_turn(request, partial(_index, request, store, is_archive=is_archive))


@router.post("/use-cases", dependencies=_manages)
def create(request: Request, store: StoreOf, form: Form) -> Response:
    name = str(form.get("name") or "")
    try:
        made = store.use_cases.create(name)
    except (StoreError, ValueError) as error:
        return _again(request, store, sentence(error), given_name=name)
    return RedirectResponse(f"/use-cases/{step(made.id)}", 303)


@router.post("/use-cases/{use_case_id}/rename", dependencies=_manages)
def rename(request: Request, store: StoreOf, use_case_id: str, form: Form) -> Response:
    try:
        changed = store.use_cases.update(use_case_id, name=str(form.get("name") or ""))
    except (StoreError, ValueError) as error:
        return _again(request, store, sentence(error))
    return _back(changed)


@router.post("/use-cases/{use_case_id}/archive", dependencies=_manages)
def archive(store: StoreOf, use_case_id: str) -> Response:
    """Takes one out of the list; it refuses new events from now on."""
    store.use_cases.archive(use_case_id)
    return RedirectResponse("/", 303)


@router.post("/use-cases/{use_case_id}/unarchive", dependencies=_manages)
def unarchive(store: StoreOf, use_case_id: str) -> Response:
    with suppress(AlreadyActive):  # somebody was quicker
        store.use_cases.unarchive(use_case_id)
    return RedirectResponse("/", 303)


def here_to_send(request: Request) -> dict[str, object]:
    """What `how_to_send.html` tells a newcomer."""
    host = request.url.hostname or ""
    return {
        "address": str(request.base_url).rstrip("/"),
        "host": host,
        "is_loopback": is_loopback(host),
    }


def _again(request: Request, store: Store, problem: str, *, given_name: str = "") -> Response:
    """The page with the form and what was wrong with it, for those who may see that page."""
    if "read" not in scopes_of_visitor(request):
        return refused(request, problem)
    return _index(request, store, problem=problem, given_name=given_name)


def _index(
    request: Request,
    store: Store,
    *,
    is_archive: bool = False,
    problem: str | None = None,
    given_name: str = "",
) -> Response:
    everything = store.use_cases.list()
    shown = [case for case in everything if (case.status == "inactive") == is_archive]
    shown.sort(key=lambda case: case.last_event_at or case.created_at, reverse=True)
    ends_at_s = time.monotonic() + _MAX_STRIPS_S
    devices = [] if is_archive else _devices(store, shown)
    return rendered(
        request,
        "use_cases.html",
        status=400 if problem else 200,
        cards=[
            (case, _newest_pictures(store, case) if has_time else [])
            for row, case in enumerate(shown)
            for has_time in (row < _MAX_STRIPS and time.monotonic() < ends_at_s,)
        ],
        devices=devices,
        silent=sum(device.is_silent for _, device in devices),
        min_missed=MIN_MISSED,
        archived=sum(case.status == "inactive" for case in everything),
        is_archive=is_archive,
        may_manage="manage" in scopes_of_visitor(request),
        problem=problem,
        given_name=given_name,
        kept=store.room.kept(),
        keep_rules=[rule.words for rule in store.keep_rules],
        refusals=request.app.state.refusals.recent()[:_MAX_REFUSALS],
        use_case_id=shown[0].id if len(shown) == 1 else None,
        **here_to_send(request),
    )


def _devices(store: Store, cases: Sequence[UseCase]) -> list[tuple[UseCase, Device]]:
    """Of all use cases: the one that misses most first, then the one not heard of for longest."""
    ends_at_s = time.monotonic() + _MAX_DEVICES_S
    found = []
    for case in cases:
        if time.monotonic() < ends_at_s:
            found += [(case, device) for device in store.devices(case.id)]
    found.sort(key=lambda one: (-one[1].missed * one[1].is_silent, one[1].last_event_at))
    return found


def _newest_pictures(store: Store, case: UseCase) -> list[str]:
    page = store.query(Filters(use_case_id=case.id), limit=_STRIP_EVENTS)
    ids = [
        image.get(SOURCE_IDS.input) or image.get(SOURCE_IDS.output)
        for image in (display_image(event.body) for event in page.events)
    ]
    wanted = list(dict.fromkeys(picture_id for picture_id in ids if picture_id))
    there = store.pictures.info_of_many(wanted)
    known = [picture_id for picture_id in wanted if picture_id in there]
    return [picture_address(each, _STRIP_SIDE_PX) for each in known[:_STRIP_PICTURES]]


def _back(case: UseCase) -> Response:
    return RedirectResponse("/" if case.status == "active" else "/?status=inactive", 303)

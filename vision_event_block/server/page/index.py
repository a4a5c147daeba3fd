"""The first page: use cases and their actions, devices, and forwarding."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from vision_event_block.contract.names import SOURCE_IDS
from vision_event_block.server.api.dependencies import EventSinkOf, Form, StoreOf, in_turn
from vision_event_block.server.auth import page_needs, scopes_of_visitor
from vision_event_block.server.loopback import is_loopback
from vision_event_block.server.page.formatting import sentence
from vision_event_block.server.page.rendering import (
    missing,
    picture_address,
    refused,
    rendered,
    use_case_address,
)
from vision_event_block.server.page.tiles import display_image
from vision_event_block.server.store.devices import MAX_DEVICES, MIN_MISSED
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
#: Cards after these have no pictures: few readers scroll that far, and all would have to wait.
_MAX_STRIPS: Final = 60
#: The worst devices, on the first page; then devices per page of the full list.
_FIRST_DEVICES: Final = 5
_PAGE_DEVICES: Final = 100
#: The newest refused requests; the log has the others.
_MAX_REFUSALS: Final = 5

router = APIRouter()
_manages = [page_needs("manage")]


@router.get("/", dependencies=[page_needs("read")])
async def use_cases(request: Request, store: StoreOf, status: str = "active") -> Response:
    is_archive = status == "inactive"
    return await in_turn(request, partial(_index, request, store, is_archive=is_archive))


@router.get("/devices", dependencies=[page_needs("read")])
async def devices(
    request: Request, store: StoreOf, page: Annotated[int, Query(ge=1, le=100_000)] = 1
) -> Response:
    """All devices and streams, the one with most events missing first."""
    return await in_turn(request, partial(_devices_page, request, store, page))


@router.post("/use-cases", dependencies=_manages)
def create(request: Request, store: StoreOf, form: Form) -> Response:
    name = str(form.get("name") or "")
    try:
        made = store.use_cases.create(name)
    except (StoreError, ValueError) as error:
        return _again(request, store, sentence(error), given_name=name)
    return RedirectResponse(use_case_address(made.id), 303)


@router.post("/use-cases/{use_case_id}/rename", dependencies=_manages)
def rename(request: Request, store: StoreOf, use_case_id: str, form: Form) -> Response:
    try:
        changed = store.use_cases.update(use_case_id, name=str(form.get("name") or ""))
    except (StoreError, ValueError) as error:
        return _again(request, store, sentence(error))
    return RedirectResponse("/" if changed.status == "active" else "/?status=inactive", 303)


@router.post("/use-cases/{use_case_id}/archive", dependencies=_manages)
def archive(store: StoreOf, use_case_id: str) -> Response:
    """Removes a use case from the list; it then refuses new events."""
    store.use_cases.archive(use_case_id)
    return RedirectResponse("/", 303)


@router.post("/use-cases/{use_case_id}/unarchive", dependencies=_manages)
def unarchive(store: StoreOf, use_case_id: str) -> Response:
    with suppress(AlreadyActive):  # another request was faster
        store.use_cases.unarchive(use_case_id)
    return RedirectResponse("/", 303)


@router.get("/forwarding", dependencies=[page_needs("read")])
def forwarding(request: Request, sink: EventSinkOf) -> Response:
    if sink.forwarding is None:
        return missing(
            request,
            "This server does not forward events",
            "Start it with --forward-to to send its events on to another server.",
        )
    report = sink.forwarding.report()
    return rendered(request, "forwarding.html", report=report, forwarding=report.summary)


def here_to_send(request: Request) -> dict[str, Any]:
    """The values for `how_to_send.html`."""
    host = request.url.hostname or ""
    return {
        "address": str(request.base_url).rstrip("/"),
        "host": host,
        "is_loopback": is_loopback(host),
    }


def _again(request: Request, store: Store, problem: str, *, given_name: str = "") -> Response:
    """The page with the form and what was wrong with it, for visitors who may see the page."""
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
    shown = _newest_first(everything, "inactive" if is_archive else "active")
    max_s: float = request.app.state.max_first_page_s
    devices = _devices(store, [] if is_archive else shown, max_s)
    ends_at_s = time.monotonic() + max_s
    return rendered(
        request,
        "use_cases.html",
        cards=[
            (case, _newest_pictures(store, case) if has_time else [])
            for row, case in enumerate(shown)
            for has_time in (row < _MAX_STRIPS and time.monotonic() < ends_at_s,)
        ],
        **_listed(devices, slice(_FIRST_DEVICES)),
        pages=None,
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


def _devices_page(request: Request, store: Store, page: int) -> Response:
    devices = _devices(store, _newest_first(store.use_cases.list()), request.app.state.max_read_s)
    # The link may be from a time when there were more.
    page = min(page, max(-(-len(devices.found) // _PAGE_DEVICES), 1))
    first, end = (page - 1) * _PAGE_DEVICES, page * _PAGE_DEVICES
    return rendered(
        request,
        "devices_page.html",
        **_listed(devices, slice(first, end)),
        pages={
            "first": first + 1,
            "before": f"/devices?page={page - 1}" if page > 1 else None,
            "after": f"/devices?page={page + 1}" if end < len(devices.found) else None,
        },
    )


def _newest_first(cases: Sequence[UseCase], status: str = "active") -> list[UseCase]:
    shown = [case for case in cases if case.status == status]
    return sorted(shown, key=lambda case: case.last_event_at or case.created_at, reverse=True)


@dataclass(frozen=True)
class _Devices:
    """Devices of all use cases: most events missing first, then the longest silent."""

    found: list[tuple[UseCase, Device]]
    #: Number of use cases that were left out for lack of time.
    left_out: int
    #: Number of use cases with too many devices to list.
    cut: int


def _devices(store: Store, cases: Sequence[UseCase], max_s: float) -> _Devices:
    ends_at_s = time.monotonic() + max_s
    found, looked_at, cut = [], 0, 0
    for case in cases:
        if time.monotonic() >= ends_at_s:
            break
        devices = store.devices(case.id)
        found += [(case, device) for device in devices.found]
        looked_at += 1
        cut += devices.is_cut
    found.sort(key=lambda one: (-one[1].missed * one[1].is_silent, one[1].last_event_at))
    return _Devices(found, len(cases) - looked_at, cut)


def _listed(devices: _Devices, shown: slice) -> dict[str, Any]:
    """The values for `devices.html`."""
    return {
        "devices": devices.found[shown],
        "device_count": len(devices.found),
        "silent": sum(device.is_silent for _, device in devices.found),
        "cases_left_out": devices.left_out,
        "cases_cut": devices.cut,
        "max_devices": MAX_DEVICES,
        "min_missed": MIN_MISSED,
    }


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

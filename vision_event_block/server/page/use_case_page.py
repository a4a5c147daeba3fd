"""One use case: its events as a grid, as charts and as files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

from vision_event_block.contract import limits
from vision_event_block.server.api.dependencies import StoreOf, in_turn, run_for
from vision_event_block.server.auth import page_needs, scopes_of_visitor
from vision_event_block.server.middleware.places import client_of
from vision_event_block.server.page import deletion_page, feedback, selection
from vision_event_block.server.page.chart_specs import Charts
from vision_event_block.server.page.charts import exact, last_of
from vision_event_block.server.page.exports import EXPORTS, export
from vision_event_block.server.page.filter_query import OPERATORS, RANGES, TIMES, FilterQuery
from vision_event_block.server.page.formatting import count, sentence
from vision_event_block.server.page.index import here_to_send
from vision_event_block.server.page.neighbours import GridPage, grid_page
from vision_event_block.server.page.palette import colour_classes, slot_of, slots_of
from vision_event_block.server.page.rendering import missing, rendered, use_case_address
from vision_event_block.server.page.tiles import Tile, Which, tiles_of
from vision_event_block.server.page.zones import zone_of
from vision_event_block.server.store.errors import BadQuery
from vision_event_block.server.store.facets import EXTERNAL_ID, RESULT, SEVERITY
from vision_event_block.server.store.read_budget import Budget, spending
from vision_event_block.server.store.timestamps import utc_now

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from starlette.types import Receive, Scope, Send

    from vision_event_block.server.middleware.places import Places
    from vision_event_block.server.storage import Store
    from vision_event_block.server.store.facets import Part
    from vision_event_block.server.store.filters import Filters
    from vision_event_block.server.store.records import Timeline, UseCase

PAGE_EVENTS: Final = 48
#: At most this many loaded tiles are requested again.
MAX_SHOWN: Final = 5 * PAGE_EVENTS
COUNT_AT_MOST: Final = 10_000
#: Buckets in the bar of hours: enough for each hour of a week.
_HOURS_BUCKETS: Final = 7 * 24 + 1
#: With more classes than this, only those on the shown tiles get a switch.
_MAX_TOGGLES: Final = 24

router = APIRouter(dependencies=[page_needs("read")])


@dataclass(frozen=True)
class UseCaseView:
    case: UseCase
    filter_query: FilterQuery
    #: None if the address cannot be read; then `problem` says why.
    filters: Filters | None
    problem: str | None
    types: dict[str, list[str]]

    @classmethod
    def of(cls, request: Request, store: Store, use_case_id: str) -> UseCaseView | None:
        case = store.use_cases.get(use_case_id)
        if case is None:
            return None
        filter_query = FilterQuery.of_request(request)
        types = store.metadata_schema(use_case_id)
        try:
            filters = filter_query.filters(use_case_id, types=types, now=utc_now())
        except BadQuery as error:
            return cls(case, filter_query, None, sentence(error), types)
        return cls(case, filter_query, filters, None, types)

    def at(self, path: str = "", query: str | None = None) -> str:
        """An address of this use case, with the same filters unless others are given."""
        query = self.filter_query.query if query is None else query
        return use_case_address(self.case.id, query, path)


@router.get("/use-cases/{use_case_id}")
async def events(
    request: Request,
    store: StoreOf,
    use_case_id: str,
    part: str | None = None,
    shown: int = PAGE_EVENTS,
) -> Response:
    """The page of the grid; with `part=grid`, the grid alone, with as many tiles as `shown`."""
    if part == "hours":
        return await in_turn(request, partial(_hours, request, store, use_case_id))
    limit = None if part is None else max(PAGE_EVENTS, min(shown, MAX_SHOWN))
    return await in_turn(request, partial(_grid, request, store, use_case_id, limit))


def _grid(request: Request, store: Store, use_case_id: str, part_events: int | None) -> Response:
    view = UseCaseView.of(request, store, use_case_id)
    if view is None:
        return no_use_case(request)
    if part_events is None and "" in request.query_params.values():
        return RedirectResponse(view.at(), 303)  # drops a form's empty fields
    get = request.query_params.get
    latest = store.latest_change(use_case_id)
    choices = store.choices(use_case_id)
    slots = slots_of(choices["class"])
    which: Which = "output" if view.filter_query.one("picture") == "output" else "input"
    tiles: list[Tile] = []
    page, problem = GridPage([]), view.problem
    here = view.filter_query
    if view.filters is not None:
        try:
            page = grid_page(
                store,
                view.filters,
                limit=part_events or PAGE_EVENTS,
                at=here.place(),
                cursor=get("cursor"),
                newer_than=get("newer"),
            )
        except BadQuery as error:
            problem = sentence(error)
        if get("newer") and page.events:
            here = here.at_or_before(page.events[0].timestamp)
        query = here.without("picture").query
        tiles = tiles_of(store, page.events, which=which, slots=slots, query=query)
    is_newest = not (here.one("at") or get("cursor") or get("newer"))
    values: dict[str, Any] = {
        "tiles": tiles,
        "newer": page.newer and view.at(query=here.and_then(newer=page.newer)),
        "newest": None if is_newest else view.at(query=here.without("at").query),
        "older": page.older and view.at(query=here.and_then(cursor=page.older)),
        "total": total(store, view.filters),
        "may_delete": "write" in scopes_of_visitor(request),
    }
    if part_events is not None:
        return rendered(request, "part.html", **values)
    return rendered(
        request,
        "use_case.html",
        **frame(view, choices, store.lookback_days, tab="events"),
        **values,
        **here_to_send(request),
        use_case_id=use_case_id,
        problem=problem,
        notice=deletion_page.outcome_in_words(request.query_params)
        or feedback.outcome_in_words(request.query_params)
        or selection.pinned_in_words(request.query_params),
        undo=feedback.undo_of(request.query_params),
        verdicts=feedback.VERDICT_KEYS if view.case.status == "active" else {},
        reviewer=feedback.reviewer_of(request),
        max_reviewer_chars=feedback.MAX_REVIEWER_CHARS,
        picture=which,
        picture_links={
            name: view.at(query=view.filter_query.having(picture=name).query)
            for name in ("input", "output")
        },
        feedback_switch=_feedback_switch(view),
        classes=_classes(choices["class"], tiles, slots),
        hours=_hour_bar(request, store, view) if is_newest else None,
        is_live=is_newest and problem is None and view.case.status == "active",
        latest=latest,
    )


def _hours(request: Request, store: Store, use_case_id: str) -> Response:
    view = UseCaseView.of(request, store, use_case_id)
    if view is None:
        return no_use_case(request)
    return rendered(request, "hours.html", hours=_hour_bar(request, store, view))


def _hour_bar(request: Request, store: Store, view: UseCaseView) -> dict[str, Any] | None:
    """The number of events over time, with links that select a period."""
    if view.filters is None:
        return None
    zone = zone_of(request).info
    timeline = store.timeline(
        view.filters,
        buckets=_HOURS_BUCKETS,
        zone=zone,
        by={"result": (RESULT,), "severity": (SEVERITY,)},
    )
    if not timeline.starts:
        return None
    grid = partial(view.at, "")
    everything = view.filter_query.without("range", "start", "end")
    is_part = view.filters.start is not None or view.filters.end is not None
    return {
        "svg": Charts(view.filter_query, grid, zone).hours(timeline),
        "wider": grid(_wider(everything, timeline).query) if is_part else None,
        "grid": grid(everything.query),
    }


def _wider(everything: FilterQuery, timeline: Timeline) -> FilterQuery:
    """A period three times as long, or all time where the calendar ends."""
    first, last = timeline.edges[0], timeline.edges[-1]
    try:
        start, end = first - (last - first), last + (last - first)
    except OverflowError:
        return everything
    return everything.having(start=exact(start), end=last_of(end))


@router.get("/use-cases/{use_case_id}/changes")
def changes(store: StoreOf, use_case_id: str) -> Response:
    """A number that grows when an event comes in."""
    return JSONResponse({"latest": store.latest_change(use_case_id)})


@router.get("/use-cases/{use_case_id}/values")
def values(
    store: StoreOf, use_case_id: str, key: str = "", field: str = "", start: str = ""
) -> Response:
    """Known values of a metadata key, or of the external id, that begin with `start`."""
    part: Part = "metadata" if key else "data"
    name = key or (field if field == EXTERNAL_ID.name else "")
    return JSONResponse(store.values_of(use_case_id, part, name, prefix=start))


class Download(StreamingResponse):
    """A file that is made while it is sent; `ended` is called once it is sent or abandoned."""

    def __init__(self, pieces: Iterator[bytes], *, media_type: str, name: str) -> None:
        #: For this file alone, so that a slow export takes no thread from pages and uploads.
        self._threads = anyio.CapacityLimiter(1)
        self._pieces = pieces
        self.ended: Callable[[], None] = lambda: None
        super().__init__(
            self._in_threads(),
            media_type=media_type,
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        budget = Budget()
        try:
            with spending(budget):
                await super().__call__(scope, receive, send)
        finally:
            budget.leave()
            self.ended()

    async def _in_threads(self) -> AsyncIterator[bytes]:
        while piece := await anyio.to_thread.run_sync(
            next, self._pieces, b"", limiter=self._threads
        ):
            yield piece


@router.get("/use-cases/{use_case_id}/export/{kind}")
async def download(request: Request, store: StoreOf, use_case_id: str, kind: str) -> Response:
    places: Places = request.app.state.exports
    client = client_of(request.scope)
    await places.take(client)
    try:
        made = await run_for(request, partial(_export, request, store, use_case_id, kind))
    except BaseException:
        places.give_back(client)
        raise
    if isinstance(made, Download):
        made.ended = partial(places.give_back, client)
    else:
        places.give_back(client)
    return made


def _export(request: Request, store: Store, use_case_id: str, kind: str) -> Response:
    view = UseCaseView.of(request, store, use_case_id)
    if view is None or kind not in EXPORTS:
        return no_use_case(request)
    if view.filters is None:
        raise BadQuery(view.problem)
    chosen = EXPORTS[kind]
    stem = "".join(char if char.isascii() and char.isalnum() else "-" for char in view.case.name)
    name = f"{stem[:80]}-{utc_now():%Y%m%d}{chosen.suffix}"
    pieces = export(store, kind, view.filters, sorted(view.types))
    return Download(pieces, media_type=chosen.media_type, name=name)


def frame(
    view: UseCaseView, choices: dict[str, list[str]], lookback_days: float | None, *, tab: str
) -> dict[str, Any]:
    """The values for everything around the view of a use case: tabs, filters and exports."""
    path = "/charts" if tab == "charts" else ""
    filter_query = view.filter_query
    untimed = filter_query.without(*TIMES)
    span = filter_query.one("range")
    is_all = not (span or filter_query.one("start") or filter_query.one("end"))
    presets = [
        {
            "name": name,
            "href": view.at(path, untimed.having(range=key).query),
            "is_current": span == key,
        }
        for key, (name, _) in RANGES.items()
    ]
    presets.append({"name": "All", "href": view.at(path, untimed.query), "is_current": is_all})
    start = None if view.filters is None else view.filters.start
    is_cut = lookback_days and (start is None or start < utc_now() - timedelta(days=lookback_days))
    return {
        "case": view.case,
        # Only if this is why older events are hidden.
        "lookback_days": lookback_days if is_cut else None,
        "filter_query": filter_query,
        "here": view.at(path, ""),
        "tab": tab,
        "tabs": {"events": view.at(), "charts": view.at("/charts")},
        "presets": presets,
        "untimed": untimed.pairs,
        "chips": [
            {"chip": chip, "href": view.at(path, chip.query)} for chip in filter_query.chips()
        ],
        "choices": choices,
        "types": limits.EVENT_TYPES,
        "operators": list(OPERATORS.items()),
        "metadata_keys": sorted(view.types),
        # Exports follow the filters.
        "only_wrong": None
        if filter_query.one("feedback")
        else view.at(path, filter_query.having(feedback="incorrect").query),
        "exports": [
            {"name": one.name, "help": one.help, "href": view.at(f"/export/{kind}")}
            for kind, one in EXPORTS.items()
        ],
    }


def _feedback_switch(view: UseCaseView) -> str | None:
    """The address that shows or hides operators' feedback; None if there is none to show."""
    asked = view.filter_query
    if "operator_feedback" not in view.case.event_types or asked.every("type"):
        return None
    is_off = asked.one("feedback_events")
    asked = asked.without("feedback_events") if is_off else asked.having(feedback_events="no")
    return view.at(query=asked.query)


def _classes(known: list[str], tiles: list[Tile], slots: dict[str, int]) -> dict[str, str]:
    """The classes that can be switched on and off, with their colours."""
    seen = {name for tile in tiles if tile.overlay for name in tile.overlay.classes}
    names = known if len(known) <= _MAX_TOGGLES else sorted(seen)[:_MAX_TOGGLES]
    return {name: colour_classes(slot_of(name, slots)) for name in names} if seen else {}


def total(store: Store, filters: Filters | None) -> str:
    number = 0 if filters is None else store.count(filters, at_most=COUNT_AT_MOST)
    return count(number, "event", at_most=COUNT_AT_MOST)


def no_use_case(request: Request) -> Response:
    return missing(
        request,
        "There is no such use case",
        "The address may be incomplete, or the use case is on another server.",
    )

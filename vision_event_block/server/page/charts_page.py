"""The charts of a use case."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, time, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from vision_event_block.server.api.dependencies import StoreOf, in_turn
from vision_event_block.server.auth import page_needs
from vision_event_block.server.page.chart_specs import META, Charts, ChartSpec, width_in_words
from vision_event_block.server.page.charts import exact
from vision_event_block.server.page.formatting import sentence
from vision_event_block.server.page.palette import slots_of
from vision_event_block.server.page.rendering import rendered
from vision_event_block.server.page.shifts import starts_of
from vision_event_block.server.page.use_case_page import UseCaseView, frame, no_use_case, total
from vision_event_block.server.page.zones import zone_of
from vision_event_block.server.store.errors import BadQuery
from vision_event_block.server.store.facets import (
    DEVICE_ID,
    RESULT,
    STREAM_ID,
    WORKFLOW_ID,
    Field,
    storable,
)
from vision_event_block.server.store.filters import FieldCondition
from vision_event_block.server.store.statistics import BY_CHARTED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

    from vision_event_block.server.page.shifts import Shift
    from vision_event_block.server.storage import Store
    from vision_event_block.server.store.filters import Filters

_BUCKETS: Final = 48
#: The most shifts that fit into one chart; they are never merged.
_SHIFTS: Final = 126
_SPLITS: Final = {"device": DEVICE_ID, "stream": STREAM_ID, "workflow": WORKFLOW_ID}
#: Days to go back -> the name of the earlier period to compare with.
_BESIDE: Final = {"1": "the day before", "7": "the week before", "28": "four weeks before"}

router = APIRouter(dependencies=[page_needs("read")])


@router.get("/use-cases/{use_case_id}/charts")
async def charts(
    request: Request, store: StoreOf, use_case_id: str, part: str | None = None
) -> Response:
    """The page; with `part`, the charts alone."""
    template = "charts.html" if part is None else "charts_part.html"
    return await in_turn(request, partial(_charts, request, store, use_case_id, template))


def _charts(request: Request, store: Store, use_case_id: str, template: str) -> Response:
    view = UseCaseView.of(request, store, use_case_id)
    if view is None:
        return no_use_case(request)
    if "" in request.query_params.values():
        return RedirectResponse(view.at("/charts"), 303)
    zone, shifts = zone_of(request).info, request.app.state.shifts
    latest = store.latest_change(use_case_id)
    choices = store.choices(use_case_id)
    specs: list[ChartSpec] = []
    bucket, problem = "", view.problem
    if view.filters is not None:
        try:
            specs, bucket = _specs(store, view, zone, shifts, choices["class"])
        except BadQuery as error:
            problem = sentence(error)
    monday = datetime.now(zone).date()
    monday -= timedelta(days=monday.weekday())
    week = view.filter_query.without("range", "end").having(
        start=exact(datetime.combine(monday, time(), zone)), beside="7"
    )
    return rendered(
        request,
        template,
        **frame(view, choices, store.lookback_days, tab="charts"),
        total=total(store, view.filters),
        problem=problem,
        charts=specs,
        bucket=bucket,
        splits=[
            *((name, name.capitalize()) for name in _SPLITS),
            *([("shift", "Shift")] if shifts else []),
        ],
        metadata_splits=[(f"{META}{key}", key) for key in sorted(view.types)],
        besides=list(_BESIDE.items()),
        this_week=view.at("/charts", week.query),
        is_live=problem is None and view.case.status == "active",
        latest=latest,
    )


def _specs(
    store: Store, view: UseCaseView, zone: tzinfo, shifts: Sequence[Shift], classes: list[str]
) -> tuple[list[ChartSpec], str]:
    """The charts, and how much time one bar stands for."""
    filters, query = view.filters, view.filter_query
    if filters is None:
        return [], ""
    split, beside = query.one("split"), query.one("beside")
    made = Charts(query, partial(view.at, ""), zone, _BESIDE.get(beside, ""))
    counted = partial(
        store.timeline,
        buckets=_BUCKETS,
        zone=zone,
        beside_days=int(beside) if beside in _BESIDE else None,
    )
    fields = _fields(split, view.types)
    by: dict[str, Any] = {**BY_CHARTED, **({"split": fields} if fields else {})}
    timeline = counted(filters, by=by)
    if not timeline.event_count:
        return [], ""
    specs = made.of(timeline, slots_of(classes))
    if fields:
        failed = counted(_failed(filters), by={"split": fields})
        specs = made.split(timeline, failed, split) + specs
    if split == "shift" and shifts:
        by_shift = store.timeline(
            filters,
            buckets=_SHIFTS,
            zone=zone,
            by={"result": (RESULT,)},
            starts_min=starts_of(shifts),
        )
        specs = made.shifts(by_shift, shifts) + specs
    return specs, width_in_words(timeline.bucket_s)


def _fields(split: str, types: dict[str, list[str]]) -> tuple[Field, ...]:
    """The fields to count by, from the split in the address."""
    if split in _SPLITS:
        return (_SPLITS[split],)
    key = split.removeprefix(META)
    of_type: list[Any] = types.get(key, []) if split.startswith(META) else []
    return tuple(Field("metadata", storable(key), type_) for type_ in of_type)


def _failed(filters: Filters) -> Filters:
    condition = FieldCondition(RESULT.name, "eq", "fail", "string")
    return replace(filters, event_fields=(*filters.event_fields, condition))

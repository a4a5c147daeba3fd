"""The events selected in the grid: the ticked ones, or all that match."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from vision_event_block.contract import limits
from vision_event_block.server.api.dependencies import SelectionForm, StoreOf, in_turn
from vision_event_block.server.auth import page_needs, scopes_of_visitor
from vision_event_block.server.page.filter_query import FilterQuery
from vision_event_block.server.page.formatting import count, numbers_in, sentence
from vision_event_block.server.page.rendering import event_address, refused, use_case_address
from vision_event_block.server.store.errors import BadQuery
from vision_event_block.server.store.records import Mark
from vision_event_block.server.store.timestamps import moment_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.datastructures import FormData

    from vision_event_block.server.storage import Store
    from vision_event_block.server.store.filters import Filters

#: If more match, only the newest are selected.
MAX_SELECTED: Final = 10_000
_MARK: Final = re.compile(r"(\d{1,17})-(\d{1,17})")

router = APIRouter()


@dataclass(frozen=True)
class Selection:
    event_ids: tuple[str, ...] = ()
    #: How many were shown as selected; some may have been deleted since.
    size: int = 0
    #: The fields that select the same events in another form.
    fields: tuple[tuple[str, str], ...] = ()
    #: Why nothing can be done with it; None if it is valid.
    problem: str | None = None

    @classmethod
    def of(cls, request: Request, store: Store, use_case_id: str, form: FormData) -> Selection:
        """The ticked events; with `all`, those that match the address.

        "All" means the events that the reader saw counted: events that arrived or were written
        again since then are not included.
        """
        if form.get("all") == "yes":
            return cls._all(request, store, use_case_id, form)
        ticked = (each for each in form.getlist("event") if isinstance(each, str))
        event_ids = tuple(dict.fromkeys(filter(None, ticked)))
        if not event_ids:
            return cls(problem="Select the events first.")
        if len(event_ids) > limits.MAX_DELETED_EVENTS:
            at_most = f"{limits.MAX_DELETED_EVENTS:,}"
            return cls(problem=f"At most {at_most} events can be ticked: use “all that match”.")
        fields = tuple(("event", event_id) for event_id in event_ids)
        return cls(event_ids, len(event_ids), fields)

    @classmethod
    def _all(cls, request: Request, store: Store, use_case_id: str, form: FormData) -> Selection:
        if "read" not in scopes_of_visitor(request):
            return cls(problem="Your key does not allow reading which events match.")
        until, size = form.get("until"), form.get("size")
        if not isinstance(until, str) or not isinstance(size, str) or not size.isdecimal():
            return cls(problem="Select the events again.")
        try:
            filters, mark = _asked(request, store, use_case_id, until)
        except BadQuery as error:
            return cls(problem=sentence(error))
        event_ids = store.ids(filters, until=mark, at_most=MAX_SELECTED)
        if not event_ids:
            return cls(problem="None of these events exists any more.")
        fields = (("all", "yes"), ("until", until), ("size", size))
        return cls(tuple(event_ids), int(size[:7]), fields)


def _asked(request: Request, store: Store, use_case_id: str, until: str) -> tuple[Filters, Mark]:
    """The filters of the address, and the mark up to which events count; raises BadQuery."""
    read = _MARK.fullmatch(until)
    if read is None:
        raise BadQuery("select the events again")
    mark = Mark(int(read[1]), int(read[2]))
    filters = FilterQuery.of_request(request).filters(
        use_case_id, types=store.metadata_schema(use_case_id), now=moment_of(mark.at_us)
    )
    return filters, mark


def pinned_in_words(params: Mapping[str, str]) -> str | None:
    """What pinning did, from the parameters of the address that follows it.

    >>> pinned_in_words({"kept": "2"})
    '2 events pinned: no clean-up removes them.'
    """
    for name, words in (
        ("kept", "pinned: no clean-up removes"),
        ("released", "unpinned: clean-ups may remove"),
    ):
        if (number := numbers_in(params, name).get(name)) is not None:
            whom = "it" if number == 1 else "them"
            return f"{count(number, 'event')} {words} {whom}."
    return None


@router.post("/use-cases/{use_case_id}/pin", dependencies=[page_needs("write")])
def pin(request: Request, store: StoreOf, use_case_id: str, form: SelectionForm) -> Response:
    """Protects the selected events from every clean-up; `pin=no` ends that."""
    selection = Selection.of(request, store, use_case_id, form)
    asked = FilterQuery.of_request(request)
    if selection.problem is not None:
        return refused(request, selection.problem, use_case_address(use_case_id, asked.query))
    is_on = form.get("pin") != "no"
    pinned = store.pin(use_case_id, selection.event_ids, on=is_on)
    if form.get("then") == "event":
        address = event_address(selection.event_ids[0], asked.query)
    else:
        told = {"kept" if is_on else "released": len(pinned.event_ids)}
        address = use_case_address(use_case_id, asked.and_then(**told))
    return RedirectResponse(address, 303)


@router.get("/use-cases/{use_case_id}/matching", dependencies=[page_needs("read")])
async def matching(request: Request, store: StoreOf, use_case_id: str) -> Response:
    """The exact number of matching events, and the mark that selects just these in a form."""
    return await in_turn(request, partial(_matching, request, store, use_case_id))


def _matching(request: Request, store: Store, use_case_id: str) -> Response:
    until = "{}-{}".format(*store.mark())
    filters, mark = _asked(request, store, use_case_id, until)
    found = store.ids(filters, until=mark, at_most=MAX_SELECTED + 1)
    chosen = set(found[:MAX_SELECTED])
    # A query by type is faster than checking each event.
    feedback: list[str] = []
    if not filters.event_types or "operator_feedback" in filters.event_types:
        filters = replace(filters, event_types=("operator_feedback",))
        feedback = store.ids(filters, until=mark, at_most=MAX_SELECTED)
    return JSONResponse(
        {
            "size": len(chosen),
            "judgeable": len(chosen.difference(feedback)),
            "isAll": len(found) == len(chosen),
            "until": until,
        }
    )

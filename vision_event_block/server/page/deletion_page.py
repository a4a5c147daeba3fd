"""Deleting events: a confirmation first, and then the result."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from vision_event_block.contract import limits
from vision_event_block.server.api.dependencies import (  # noqa: TC001 -- FastAPI reads annotations
    EventSinkOf,
    SelectionForm,
    StoreOf,
)
from vision_event_block.server.auth import page_needs, scopes_of_visitor
from vision_event_block.server.page.filter_query import FilterQuery
from vision_event_block.server.page.formatting import count, numbers_in
from vision_event_block.server.page.palette import slots_of
from vision_event_block.server.page.rendering import missing, rendered, use_case_address
from vision_event_block.server.page.selection import Selection
from vision_event_block.server.page.tiles import tiles_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vision_event_block.server.forwarding import EventSink
    from vision_event_block.server.storage import Store
    from vision_event_block.server.store.records import UseCase

#: Events shown with the question.
MAX_SHOWN: Final = 24
_SURE: Final = "yes"

router = APIRouter()


@router.post("/use-cases/{use_case_id}/delete", dependencies=[page_needs("write")])
def delete(
    request: Request, store: StoreOf, sink: EventSinkOf, use_case_id: str, form: SelectionForm
) -> Response:
    """Asks whether these events are to be deleted; with `sure`, deletes them."""
    case = store.use_cases.get(use_case_id)
    if case is None:
        return missing(request, "There is no such use case", "Nothing was deleted.")
    selection = Selection.of(request, store, case.id, form)
    if form.get("sure") != _SURE or selection.problem is not None:
        return _question(request, store, case, selection)
    with_pictures = form.get("pictures") == _SURE
    told = erase(sink, case.id, selection.event_ids, "deleted", with_pictures=with_pictures)
    query = FilterQuery.of_request(request).and_then(**told)
    return RedirectResponse(use_case_address(case.id, query), 303)


def erase(
    sink: EventSink,
    use_case_id: str,
    event_ids: Sequence[str],
    name: str,
    *,
    with_pictures: bool = False,
) -> Counter[str]:
    """Deletes events in small steps; returns the counts to report, as parameters of an address.

    The number of events that existed is counted under `name`.
    """
    told = Counter({name: 0})
    for start in range(0, len(event_ids), limits.MAX_DELETED_EVENTS):
        chosen = event_ids[start : start + limits.MAX_DELETED_EVENTS]
        deleted, withdrawn = sink.delete(use_case_id, chosen, with_pictures=with_pictures)
        told[name] += len(deleted.event_ids)
        if withdrawn is not None:
            told["withdrawn"] += withdrawn.withdrawn
            told["remote"] += withdrawn.remote
            told["there"] += withdrawn.deleted
    return told


def outcome_in_words(params: Mapping[str, str]) -> str | None:
    """What a deletion did, from the parameters of the address that follows it.

    >>> outcome_in_words({"deleted": "2"})
    '2 events deleted.'
    """
    numbers = numbers_in(params, "deleted", "undone", "withdrawn", "remote", "there")
    if "deleted" in numbers:
        words = [f"{count(numbers['deleted'], 'event')} deleted."]
    elif "undone" in numbers:
        words = [f"{count(numbers['undone'], 'verdict')} undone."]
    else:
        return None
    if withdrawn := numbers.get("withdrawn"):
        words.append(f"{withdrawn:,} still waiting to be forwarded will not be sent.")
    if there := numbers.get("there"):
        words.append(f"{there:,} also deleted at the destination.")
    if remote := numbers.get("remote"):
        words.append(
            f"{remote:,} already forwarded, or not forwarded by this server: "
            "delete them there as well."
        )
    return " ".join(words)


def _question(request: Request, store: Store, case: UseCase, selection: Selection) -> Response:
    event_ids, problem = selection.event_ids, selection.problem
    shown = []
    if "read" in scopes_of_visitor(request):  # others must not see what is stored
        found = (store.get(event_id) for event_id in event_ids[:MAX_SHOWN])
        shown = [event for event in found if event and event.use_case_id == case.id]
    query = FilterQuery.of_request(request).query
    return rendered(
        request,
        "deletion.html",
        problem=problem,
        case=case,
        total=len(event_ids),
        fields=selection.fields,
        pinned=store.count_pinned(event_ids),
        newer=None,
        newest=None,
        tiles=tiles_of(
            store, shown, which="input", slots=slots_of(store.choices(case.id)["class"]), query=""
        ),
        more=max(len(event_ids) - MAX_SHOWN, 0),
        older=None,
        may_delete=False,
        query=query,
        back=use_case_address(case.id, query),
    )

"""What reviewers say about events, one at a time or many at once, and who they are."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote
from uuid import UUID, uuid4, uuid5

from fastapi import APIRouter, Request
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from vision_event_block.contract import limits
from vision_event_block.contract.text import cut
from vision_event_block.server.api.dependencies import (  # noqa: TC001 -- FastAPI reads annotations
    EventSinkOf,
    Form,
    SelectionForm,
    StoreOf,
)
from vision_event_block.server.api.ingest import ingest
from vision_event_block.server.auth import page_needs
from vision_event_block.server.page.deletion_page import erase
from vision_event_block.server.page.filter_query import FilterQuery
from vision_event_block.server.page.formatting import count, numbers_in
from vision_event_block.server.page.rendering import keep_cookie, missing, refused, use_case_address
from vision_event_block.server.page.selection import MAX_SELECTED, Selection
from vision_event_block.server.store.errors import StoreError
from vision_event_block.server.store.records import REVIEWER
from vision_event_block.server.store.timestamps import iso_milliseconds, utc_now

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from starlette.datastructures import FormData

    from vision_event_block.server.store.records import NewEvent, UseCase

#: The keys that `keys.js` reads as verdicts.
VERDICT_KEYS: Final = {"correct": "c", "incorrect": "i", "inconclusive": "u"}
MAX_REVIEWER_CHARS: Final = 100
#: Events per write; other events can be written in between.
_BATCH_EVENTS: Final = 200
_COOKIE: Final = "reviewer"
_COOKIE_LIFETIME_S: Final = 365 * 24 * 3600

log = logging.getLogger(__name__)

router = APIRouter()


def reviewer_of(request: Request, form: FormData | None = None) -> str:
    """The reviewer in this browser, from this form or an earlier one; empty if none was given."""
    given = None if form is None else form.get("reviewer")
    if not isinstance(given, str):
        given = unquote(request.cookies.get(_COOKIE, ""))
    words = " ".join("".join(each if each.isprintable() else " " for each in given).split())
    return cut(words, MAX_REVIEWER_CHARS)


def remembering(request: Request, form: FormData, address: str) -> RedirectResponse:
    """Redirects to an address; a cookie keeps the reviewer's name, so it is asked for only once."""
    reviewer = reviewer_of(request, form)
    response = RedirectResponse(address, 303)
    lifetime_s = _COOKIE_LIFETIME_S if reviewer else 0
    keep_cookie(request, response, _COOKIE, quote(reviewer), lifetime_s)
    return response


def feedback_event(  # noqa: PLR0913 -- the verdict, the reviewer and the time
    event_id: str,
    use_case_id: str,
    verdict: str,
    *,
    feedback_id: UUID,
    moment: datetime,
    reviewer: str,
    comment: str = "",
) -> NewEvent:
    body: dict[str, Any] = {
        "eventId": str(feedback_id),
        "eventType": "operator_feedback",
        "useCaseId": use_case_id,
        "timestamp": iso_milliseconds(moment),
        "eventData": {"relatedEventId": event_id, "feedback": verdict},
    }
    if comment:
        body["comment"] = cut(comment, limits.MAX_COMMENT_CHARS)
    if reviewer:
        body["customMetadata"] = {REVIEWER: reviewer}
    return ingest(body, now=moment).event


def problem_with(verdict: object, case: UseCase) -> str | None:
    """Why a verdict about an event of a use case cannot be saved; None if it can."""
    if verdict not in limits.FEEDBACKS:
        return f"Feedback is one of {', '.join(limits.FEEDBACKS)}."
    if case.status != "active":
        return "The use case is archived and takes no feedback. Restore it first."
    return None


@router.post("/use-cases/{use_case_id}/feedback", dependencies=[page_needs("write")])
def judge_selected(
    request: Request, store: StoreOf, sink: EventSinkOf, use_case_id: str, form: SelectionForm
) -> Response:
    """Records one verdict about all selected events, in small steps."""
    case = store.use_cases.get(use_case_id)
    if case is None:
        return missing(request, "There is no such use case", "Nothing was saved.")
    if form.get("only") == "name":
        return remembering(request, form, _grid_address(request, case.id))
    selection = Selection.of(request, store, case.id, form)
    verdict = form.get("feedback")
    problem = problem_with(verdict, case) or selection.problem
    if problem is not None:
        return refused(request, problem, _grid_address(request, case.id))
    chosen = store.judgeable(case.id, selection.event_ids)
    reviewer, moment, batch = reviewer_of(request, form), utc_now(), uuid4()
    done = 0
    for start in range(0, len(chosen), _BATCH_EVENTS):
        events = [
            feedback_event(
                event_id,
                case.id,
                str(verdict),
                feedback_id=uuid5(batch, str(number)),
                moment=moment,
                reviewer=reviewer,
            )
            for number, event_id in enumerate(chosen[start : start + _BATCH_EVENTS], start)
        ]
        try:
            sink.put(events)
        except (StoreError, HTTPException, OperationalError) as error:
            if not done:
                raise
            why = getattr(error, "orig", error)  # without the statement and what was to be saved
            log.warning("%d of %d verdicts were saved: %s", done, len(chosen), why)
            break  # what was saved is reported, and can be undone
        done += len(events)
    told: dict[str, str | int] = {
        "judged": str(verdict),
        "events": done,
        "selected": selection.size,
        "refused": len(chosen) - done,
        "batch": batch.hex,
    }
    return remembering(request, form, _grid_address(request, case.id, told))


@router.post("/use-cases/{use_case_id}/feedback/undo", dependencies=[page_needs("write")])
def undo(request: Request, sink: EventSinkOf, use_case_id: str, form: Form) -> Response:
    """Deletes the feedback of one batch, so that the earlier verdicts count again."""
    given, events = form.get("batch"), form.get("events")
    try:
        batch = UUID(hex=given if isinstance(given, str) else "")
        size = min(int(events if isinstance(events, str) else ""), MAX_SELECTED)
    except ValueError:
        address = _grid_address(request, use_case_id)
        return refused(request, "There is nothing to undo.", address)
    ids = [str(uuid5(batch, str(number))) for number in range(size)]
    told = erase(sink, use_case_id, ids, "undone")
    return RedirectResponse(_grid_address(request, use_case_id, told), 303)


def outcome_in_words(params: Mapping[str, str]) -> str | None:
    """What one verdict for many events did, from the parameters of the address that follows it.

    >>> outcome_in_words({"judged": "correct", "events": "11", "selected": "12"})
    '11 events judged correct. 1 left out: feedback itself, changed meanwhile or deleted.'
    """
    verdict = params.get("judged")
    numbers = numbers_in(params, "events", "selected", "refused")
    if verdict not in limits.FEEDBACKS or "events" not in numbers:
        return None
    words = [f"{count(numbers['events'], 'event')} judged {verdict}."]
    not_taken = numbers.get("refused", 0)
    left_out = numbers.get("selected", 0) - numbers["events"] - not_taken
    if left_out > 0:
        words.append(f"{left_out:,} left out: feedback itself, changed meanwhile or deleted.")
    if not_taken:
        words.append(f"{not_taken:,} could not be saved: judge those again.")
    return " ".join(words)


def undo_of(params: Mapping[str, str]) -> dict[str, str] | None:
    """The form fields that undo the verdicts in the address; None if it has none."""
    batch, events = params.get("batch", ""), params.get("events", "0")
    return {"batch": batch, "events": events} if batch and events != "0" else None


def _grid_address(
    request: Request, use_case_id: str, told: Mapping[str, str | int] | None = None
) -> str:
    asked = FilterQuery.of_request(request)
    return use_case_address(use_case_id, asked.and_then(**(told or {})))

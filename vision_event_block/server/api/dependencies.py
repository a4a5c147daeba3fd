"""What routes read from a request, and how they answer.

Bodies are read in the event loop but parsed in a route's thread, so that other clients do not wait
while a large one is parsed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator  # noqa: TC003 -- FastAPI reads annotations
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException

from vision_event_block.contract import limits
from vision_event_block.contract.documents import NotJson, parse_json
from vision_event_block.contract.text import cut
from vision_event_block.server.api.ingest import RequestRefused
from vision_event_block.server.api.replies import Error
from vision_event_block.server.forwarding import EventSink
from vision_event_block.server.middleware.body_limits import MAX_JSON_BYTES, MIB
from vision_event_block.server.middleware.places import client_of
from vision_event_block.server.refusals import ARCHIVED_USE_CASE, UNKNOWN_USE_CASE, Refusal
from vision_event_block.server.storage import Store
from vision_event_block.server.store.read_budget import Budget, spending

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from pydantic import BaseModel

    from vision_event_block.server.api.rules import Rule
    from vision_event_block.server.middleware.places import Places

    T = TypeVar("T")

_MEANINGS: Final = {
    400: "Something in the request is wrong; `error` names it.",
    401: "The API key is missing or not known here.",
    403: "The API key lacks the scope, or the request comes from a page of another site.",
    404: "Not found.",
    408: "The body did not arrive in time.",
    410: "The picture existed, but was removed to make room.",
    413: "The body is too large.",
    422: "The event cannot be stored as it is.",
    503: "The server cannot handle it now; Retry-After says when to retry.",
}


def store_of(request: Request) -> Store:
    store: Store = request.app.state.store
    return store


def event_sink_of(request: Request) -> EventSink:
    sink: EventSink = request.app.state.sink
    return sink


async def raw_body(request: Request) -> bytes:
    return await request.body()


async def json_text(request: Request) -> bytes:
    """The body, unparsed; raises RequestRefused if its media type is not JSON."""
    media_type = request.headers.get("content-type", "application/json").partition(";")[0]
    if media_type.strip().lower() != "application/json":
        raise RequestRefused(f"Content-Type must be application/json, not {cut(media_type, 60)}")
    return await request.body()


async def upload_form(request: Request) -> AsyncIterator[FormData]:
    """The parts of an upload. Other kinds of forms are refused: they are slow to parse."""
    media_type = request.headers.get("content-type", "").partition(";")[0]
    if media_type.strip().lower() != "multipart/form-data":
        raise RequestRefused(
            f"Content-Type must be multipart/form-data, not {cut(media_type, 60)!r}"
        )
    async for parts in form(request):
        yield parts


async def form(request: Request) -> AsyncIterator[FormData]:
    """The parts of a form; its files are deleted once the answer is sent."""
    async for parts in _form(request, max_fields=20):
        yield parts


async def selection_form(request: Request) -> AsyncIterator[FormData]:
    """The same for a form with a field for each selected event."""
    async for parts in _form(request, max_fields=2 * limits.MAX_DELETED_EVENTS):
        yield parts


async def _form(request: Request, *, max_fields: int) -> AsyncIterator[FormData]:
    try:
        parts = await request.form(max_files=2, max_fields=max_fields)
    except (LookupError, ValueError):  # an unknown charset or an incomplete part
        raise HTTPException(400, "the form cannot be read") from None
    try:
        yield parts
    finally:
        await parts.close()


StoreOf = Annotated[Store, Depends(store_of)]
EventSinkOf = Annotated[EventSink, Depends(event_sink_of)]
RawBody = Annotated[bytes, Depends(raw_body)]
JsonText = Annotated[bytes, Depends(json_text)]
Form = Annotated[FormData, Depends(form)]
SelectionForm = Annotated[FormData, Depends(selection_form)]
UploadForm = Annotated[FormData, Depends(upload_form)]


def parsed(content: bytes, name: str = "the body") -> Any:
    """The document in a body; raises RequestRefused if it is not JSON."""
    try:
        return parse_json(content)
    except NotJson as error:
        raise RequestRefused(f"{name} is not JSON that can be stored: {error}") from None


def parsed_object(content: bytes) -> dict[str, Any]:
    """The object in a body; raises RequestRefused if it is something else."""
    document = parsed(content)
    if not isinstance(document, dict):
        raise RequestRefused("the body must be a JSON object")
    return document


async def in_turn(request: Request, work: Callable[[], T]) -> T:
    """Runs work that reads from the store once it gets a turn; stops it if the client leaves.

    All its reads see one snapshot: no event comes or goes between two parts of a page.

    Raises:
        Busy: the turn did not come in time, or the work took too long.
    """
    places: Places = request.app.state.reads
    client = client_of(request.scope)
    await places.take(client)
    store = store_of(request)

    def read() -> T:
        with store.one_moment():
            return work()

    with places.giving_back(client):
        return await run_for(request, read)


async def run_for(request: Request, work: Callable[[], T]) -> T:
    """Runs work in a thread, within a budget; its reads are cut short when the client leaves."""
    budget = Budget(request.app.state.max_read_s)
    watching = asyncio.create_task(_watch(request, budget))
    try:
        with spending(budget):
            return await run_in_threadpool(work)
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def _watch(request: Request, budget: Budget) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    await run_in_threadpool(budget.leave)


def lookback_days(store: Store) -> float | None:
    """`lookbackDays` of an answer, as a whole number where it is one."""
    days = store.lookback_days
    return int(days) if days is not None and days == int(days) else days


def refuse_large(event: Any) -> None:
    """Refuses an event in a larger body that would be too large on its own."""
    if len(json.dumps(event)) > MAX_JSON_BYTES:
        raise RequestRefused(f"one event is larger than {MAX_JSON_BYTES // MIB} MiB", 413)


def open_use_case(sink: EventSink, id_or_name: str) -> str:
    """The id of a use case that accepts events.

    Raises:
        RequestRefused: there is none, or it is archived.
    """
    use_case = sink.use_case(id_or_name)
    if use_case is None:
        raise RequestRefused(
            f"useCaseId {cut(id_or_name, 60)!r} is not known here; create the use case on the "
            "page, or with POST /vision-events/use-cases, and use its id or its name",
            refusal=Refusal(UNKNOWN_USE_CASE, id_or_name),
        )
    if use_case.status != "active":
        raise RequestRefused(
            f"useCaseId {cut(id_or_name, 60)!r} is archived; unarchive it first",
            refusal=Refusal(ARCHIVED_USE_CASE, id_or_name),
        )
    return use_case.id


def readable_use_case(store: Store, id_or_name: str) -> str:
    """The id of a use case to query. An archived one is found only by its id.

    Raises:
        RequestRefused: there is none.
    """
    use_case = store.use_cases.find(id_or_name)
    if use_case is None:
        raise RequestRefused("there is no use case with this useCaseId", 404)
    if use_case.status != "active" and use_case.id != id_or_name:
        raise RequestRefused(
            f"useCaseId is the name of an archived use case; use its id {use_case.id!r}", 404
        )
    return use_case.id


def answers(
    status: int, model: type[BaseModel], *also: int, error: type[BaseModel] = Error
) -> dict[int | str, dict[str, Any]]:
    """A route's answers, for the OpenAPI document."""
    shapes: dict[int | str, dict[str, Any]] = {status: {"model": model, "description": "Done."}}
    for code in (401, 403, *also):
        shapes[code] = {"model": error, "description": _MEANINGS[code]}
    return shapes


def takes_json(rule: Rule) -> dict[str, Any]:
    """A route's body, for the OpenAPI document: the route parses it itself."""
    content = {"application/json": {"schema": rule.schema}}
    return {"requestBody": {"required": True, "content": content}}

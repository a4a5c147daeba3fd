"""The server as an ASGI application."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from vision_event_block import __version__
from vision_event_block.server import page
from vision_event_block.server.api import (
    bundles,
    device_events,
    documentation,
    events,
    picture_files,
    use_cases,
    workspace,
)
from vision_event_block.server.api.bodies import body_shapes
from vision_event_block.server.auth import Admission
from vision_event_block.server.error_handlers import add_error_handlers
from vision_event_block.server.forwarding import EventSink
from vision_event_block.server.keys import Keys
from vision_event_block.server.login_limit import LoginLimit
from vision_event_block.server.metrics import ServerMetrics
from vision_event_block.server.middleware.body_limits import (
    MIB,
    PLACE_WAIT_S,
    READ_TIMEOUT_S,
    BodyLimits,
)
from vision_event_block.server.middleware.head_requests import HeadRequests
from vision_event_block.server.middleware.places import Places
from vision_event_block.server.middleware.proxy_headers import ProxyHeaders
from vision_event_block.server.middleware.request_watch import RequestWatch
from vision_event_block.server.middleware.response_pacing import WRITE_TIMEOUT_S, ResponsePacing
from vision_event_block.server.middleware.security import (
    SameSite,
    SecurityHeaders,
    UnhandledErrors,
    refuse_busy,
)
from vision_event_block.server.refusals import Refusals
from vision_event_block.server.store.read_budget import READ_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from vision_event_block.server.forwarding import Forwarding
    from vision_event_block.server.page.shifts import Shift
    from vision_event_block.server.storage import Store

#: Expired events, and pictures that no event shows, are removed within this time.
CLEAN_UP_INTERVAL_S: Final = 3600.0
#: How often to check whether more is stored than allowed.
LOOK_INTERVAL_S: Final = 1.0
FAILED_INTERVAL_S: Final = 60.0

#: Of pages and queries. More would not be faster, and each may hold some megabytes.
READS_AT_ONCE: Final = 3
EXPORTS_AT_ONCE: Final = 3
MAX_ANSWERS_BYTES: Final = 32 * MIB
MAX_ANSWERS_BYTES_OF_ONE: Final = 24 * MIB
#: Few, since each is already complete in memory.
MAX_WAITING_ANSWERS: Final = 4

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """How long the server waits for a client, and how long it works for one."""

    #: For the next chunk of a body.
    body_s: float = READ_TIMEOUT_S
    #: For a client to continue reading.
    answer_s: float = WRITE_TIMEOUT_S
    #: For a place for a large body, a query or a large answer.
    place_s: float = PLACE_WAIT_S
    #: For a place for an export. Short: exports may be long, and a waiting user sees nothing.
    export_place_s: float = 3.0
    #: How long the database may work on one read.
    read_s: float = READ_S
    #: How long the first page may look for devices, and again for pictures.
    first_page_s: float = 2.0


def create_app(  # noqa: PLR0913 -- for whom, behind what, how patiently, and how strictly
    store: Store,
    keys: Keys | None = None,
    *,
    names: Collection[str] | None = (),
    patience: Patience = Patience(),
    forwarding: Forwarding | None = None,
    proxies: Collection[str] = (),
    needs_keys: bool = False,
    strict: bool = False,
    shifts: Collection[Shift] = (),
) -> FastAPI:
    """The application around a store, which the caller closes.

    Args:
        store: Holds all data.
        keys: Who may do what, in addition to the keys of the store; if there are none, everybody
            may do everything.
        names: Host names that the server accepts in addition to those of loopback; None for any,
            which is only safe where keys are in force.
        patience: With slow clients, and with slow work.
        forwarding: Forwards events; without it, they stay here.
        proxies: Addresses and networks of proxies that name the client.
        needs_keys: Nobody is let in without a key, even if no key exists.
        strict: Refuses events without an id or a time instead of generating them.
        shifts: By which charts can be split.

    Raises:
        BadProxy: one of the proxies is not an address or a network.
    """
    app = FastAPI(
        title="Vision Events",
        description="The Vision Events API on your own machine.",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.store = store
    app.state.shifts = shifts
    app.state.metrics = metrics = ServerMetrics(store, forwarding)
    app.state.refusals = refusals = Refusals()
    app.state.sink = EventSink(store, forwarding, strict=strict, on_put=metrics.add_events)
    app.state.admission = Admission(keys or Keys(), store.keys, store.sessions, always=needs_keys)
    app.state.login_limit = LoginLimit()
    app.state.max_read_s = patience.read_s
    app.state.max_first_page_s = patience.first_page_s
    app.state.reads = Places(
        "questions", READS_AT_ONCE, for_one=READS_AT_ONCE - 1, wait_s=patience.place_s
    )
    app.state.exports = Places(
        "exports", EXPORTS_AT_ONCE, for_one=EXPORTS_AT_ONCE - 1, wait_s=patience.export_place_s
    )
    # The last one added sees a request first.
    app.add_middleware(BodyLimits, read_timeout_s=patience.body_s, place_wait_s=patience.place_s)
    app.add_middleware(SameSite, names=names)
    app.add_middleware(UnhandledErrors)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(
        ResponsePacing,
        answers=Places(
            "large answers",
            MAX_ANSWERS_BYTES,
            for_one=MAX_ANSWERS_BYTES_OF_ONE,
            wait_s=patience.place_s,
            max_waiting=MAX_WAITING_ANSWERS,
        ),
        refuse=refuse_busy,
        write_timeout_s=patience.answer_s,
    )
    app.add_middleware(RequestWatch, metrics=metrics, refusals=refusals)
    app.add_middleware(HeadRequests)
    if proxies:
        app.add_middleware(ProxyHeaders, trusted=proxies)
    for part in (
        events,
        bundles,
        picture_files,
        use_cases,
        device_events,
        workspace,
        documentation,
    ):
        app.include_router(part.router)
    app.include_router(page.router)
    add_error_handlers(app, page.failed)
    _document(app, strict=strict)
    return app


def _document(app: FastAPI, *, strict: bool) -> None:
    """Adds what the routes parse themselves to the OpenAPI document."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = made()
            schemas = document["components"]["schemas"]
            schemas.update(body_shapes(strict=strict))
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            document["components"]["securitySchemes"] = {
                "bearer": {"type": "http", "scheme": "bearer"}
            }
            document["security"] = [{"bearer": []}, {}]
            for operations in document["paths"].values():
                for operation in operations.values():
                    found = operation["responses"].get("422")
                    if found is not None and found["description"] == "Validation Error":
                        del operation["responses"]["422"]
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    cleaning = asyncio.create_task(_keep_clean(app.state.sink))
    try:
        yield
    finally:
        cleaning.cancel()
        with suppress(asyncio.CancelledError):
            await cleaning


async def _keep_clean(sink: EventSink) -> None:
    next_s = time.monotonic()
    while True:
        is_due = time.monotonic() >= next_s
        if is_due:
            next_s += CLEAN_UP_INTERVAL_S
        pause_s = LOOK_INTERVAL_S
        try:
            cleaned = await run_in_threadpool(sink.clean_up if is_due else sink.make_room)
        except Exception:
            # Catches everything: what failed now may work later, and must not stop the server.
            log.exception("the clean-up failed")
            pause_s = FAILED_INTERVAL_S
        else:
            if cleaned.events or cleaned.pictures:
                log.info("removed %d events, %d pictures", cleaned.events, cleaned.pictures)
        await asyncio.sleep(pause_s)

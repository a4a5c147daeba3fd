"""Counts every request when it is answered, whoever answered it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final

from vision_event_block.server.middleware.places import client_of
from vision_event_block.server.refusals import EMPTY_EVENT, OTHER, REASONS, Refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from vision_event_block.server.metrics import ServerMetrics
    from vision_event_block.server.refusals import Refusals

#: Key in the request's state under which a refusal may give its reason.
REFUSAL: Final = "refusal"
_PAGE: Final = "page"
_NO_ROUTE: Final = "none"
_FIRST_ERROR: Final = 400
_INTERNAL_ERROR: Final = 500
#: Error messages are shorter.
_MAX_WORDS_BYTES: Final = 64 * 1024


class RequestWatch:
    """Measures and counts requests; refusals in the API's format also go to the log and the page.

    Refusals that the page shows to a person are not logged.
    """

    def __init__(self, app: ASGIApp, metrics: ServerMetrics, refusals: Refusals) -> None:
        self._app = app
        self._metrics = metrics
        self._refusals = refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})
        began_s = time.perf_counter()
        received_bytes = status = 0

        async def receive_counted() -> Message:
            nonlocal received_bytes
            message = await receive()
            received_bytes += len(message.get("body", b""))
            return message

        async def send_counted(message: Message) -> None:
            nonlocal status
            # Before it is sent: once a client has the answer, it is counted.
            if message["type"] == "http.response.start":
                status = message["status"]
                took_s = time.perf_counter() - began_s
                self._metrics.add_answer(route_of(scope), status, took_s, received_bytes)
            elif status >= _FIRST_ERROR:
                self._count_refusal(scope, status, message.get("body", b""))
                status = 0  # once
            await send(message)

        await self._app(scope, receive_counted, send_counted)

    def _count_refusal(self, scope: Scope, status: int, body: bytes) -> None:
        refusal = scope["state"].get(REFUSAL) or Refusal(REASONS.get(status, OTHER))
        self._metrics.add_refusal(refusal.reason)
        words = _words_in(body)
        is_lookup = refusal.reason == REASONS[404] and scope["method"] in ("GET", "HEAD")
        is_of_interest = refusal.reason != EMPTY_EVENT and status != _INTERNAL_ERROR
        if words is not None and is_of_interest and not is_lookup:
            self._refusals.add(refusal, client=client_of(scope), words=words)


def route_of(scope: Scope) -> str:
    """The route that handled a request, one of a fixed few: never text that a client made up."""
    route = scope.get("route")
    if route is None or scope["method"] not in (getattr(route, "methods", None) or ()):
        return _NO_ROUTE
    if not getattr(route, "include_in_schema", False):
        return _PAGE
    return f"{scope['method']} {route.path}"


def _words_in(body: bytes) -> str | None:
    """The message of an error in the API's format; None for any other format."""
    if len(body) > _MAX_WORDS_BYTES or not body.startswith(b"{"):
        return None
    try:
        found = json.loads(body)
    except ValueError:
        return None
    words = found.get("error", found.get("detail"))
    return words if isinstance(words, str) else None

"""Which sites may send requests, and the security headers of every answer. Pure ASGI."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders

from vision_event_block.redaction import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from vision_event_block.server.store.errors import Busy

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self' data: blob:; style-src 'self'; script-src 'self'; "
        "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

log = logging.getLogger(__name__)


def error_body(path: str, words: str) -> dict[str, str]:
    """The format of all errors, except for the event store of a device, which has its own."""
    return {"detail" if path.startswith("/v2/") else "error": words}


class SecurityHeaders:
    """Sets the headers that protect a browser, unless a route sets its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:

        async def send_headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_headed if scope["type"] == "http" else send)


class UnhandledErrors:
    """Answers 500 without details; the log has them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        except Exception:
            # The last resort: nothing further out would answer in our format.
            log.exception("%s %s failed", scope["method"], printable(scope["path"]))
            if started:
                raise
            words = "internal server error; see the server's log"
            await answer(send, 500, error_body(scope["path"], words))


class SameSite:
    """Refuses requests that another site's page makes a browser send.

    A browser names the requesting site in `Origin` and `Sec-Fetch-Site`; programs send neither.
    The `Host` name is checked too, against another site's name that points to this server.
    """

    def __init__(self, app: ASGIApp, names: Collection[str] | None) -> None:
        """Accepts only these host names and those of loopback; None accepts any."""
        self._app = app
        self._names = None if names is None else {name.lower() for name in names} | _LOOPBACK_NAMES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            words = self._refusal(scope["method"], Headers(scope=scope))
            if words is not None:
                await answer(send, 403, error_body(scope["path"], words))
                return
        await self._app(scope, receive, send)

    def _refusal(self, method: str, headers: Headers) -> str | None:
        host = headers.get("host", "")
        if self._names is not None and _name_of(host) not in self._names:
            return "this server does not go by the name in `Host`; see its option --allowed-host"
        if method in _SAFE_METHODS:
            return None
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        is_foreign = origin is not None and origin.partition("://")[2].lower() != host.lower()
        if site in ("cross-site", "same-site") or is_foreign:
            return "requests from pages of other sites are refused"
        return None


def _name_of(host: str) -> str:
    """The name in a `Host` header without its port: `[::1]:80` is `::1`. Empty if it is invalid."""
    if any(char in "/?#@\\" or not "!" <= char <= "~" for char in host):
        return ""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


async def refuse_busy(send: Send, scope: Scope, error: Busy) -> None:
    retry = [(name.lower().encode(), text.encode()) for name, text in error.headers.items()]
    await answer(send, 503, error_body(scope["path"], str(error)), retry)


async def answer(
    send: Send, status: int, body: dict[str, str], more_headers: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    content = json.dumps(body).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        *more_headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})

"""What every request passes before a route sees it, and every answer on its way out.

Pure ASGI: bodies are counted while they come in and never gathered here.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException

from vision_event_block.events.archives import MAX_ARCHIVE_BYTES
from vision_event_block.redaction import printable

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MIB: Final = 2**20
MAX_JSON_BYTES: Final = 10 * MIB
#: By path; any other body is held to `MAX_JSON_BYTES`.
MAX_BODY_BYTES: Final = {
    "/vision-events/batch": 32 * MIB,
    "/vision-events/upload": 50 * MIB,
    "/vision-events/bundle": MAX_ARCHIVE_BYTES,
    "/v2/events": 64 * MIB,
}
#: Bodies beyond this size are read a few at a time, so that many at once do not add up in memory.
LARGE_BODY_BYTES: Final = MIB
MAX_LARGE_BODIES: Final = 4
#: How long a client may leave us waiting for the next piece of a body.
READ_TIMEOUT_S: Final = 30.0

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
    """The one shape of errors; the event store on a device has another."""
    return {"detail" if path.startswith("/v2/") else "error": words}


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Headed:
    """Sets the headers that keep a browser from being fooled, unless a route sets its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""

        async def send_headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_headed if scope["type"] == "http" else send)


class Outermost:
    """Answers 500 without a word of what went wrong, which stands in the log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
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
            # The last wall: nothing further out would answer in our shape.
            log.exception("%s %s failed", scope["method"], printable(scope["path"]))
            if started:
                raise
            words = "something went wrong in the server; its log says more"
            await _answer(send, 500, error_body(scope["path"], words))


class SameSite:
    """Refuses what another site's page makes a browser send.

    A browser names the site that asks in `Origin` and `Sec-Fetch-Site`; programs send neither.
    Against a name that another site lets point here, the names of the server are checked.
    """

    def __init__(self, app: ASGIApp, names: Collection[str] | None) -> None:
        """Answers to these names only, and to those of the loopback; None is any name."""
        self._app = app
        self._names = None if names is None else {name.lower() for name in names} | _LOOPBACK_NAMES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or refuses it."""
        if scope["type"] == "http":
            words = self._refusal(scope["method"], Headers(scope=scope))
            if words is not None:
                await _answer(send, 403, error_body(scope["path"], words))
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


class Bounded:
    """Ends a body that is too large, or too slow, while it comes in; lets in few large ones."""

    def __init__(self, app: ASGIApp, read_timeout_s: float = READ_TIMEOUT_S) -> None:
        self._app = app
        self._read_timeout_s = read_timeout_s
        self._room = asyncio.Semaphore(MAX_LARGE_BODIES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or refuses its body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        max_bytes = MAX_BODY_BYTES.get(path, MAX_JSON_BYTES)
        if int(Headers(scope=scope).get("content-length", "0")) > max_bytes:
            await _answer(send, 413, error_body(path, _too_large(max_bytes)))
            return
        read_bytes = 0
        is_read = is_large = False

        async def receive_bounded() -> Message:
            nonlocal read_bytes, is_read, is_large
            if is_read:
                return await receive()  # only waits for the client to leave
            try:
                message = await asyncio.wait_for(receive(), self._read_timeout_s)
            except asyncio.TimeoutError:
                raise HTTPException(408, "the body did not come", {"Connection": "close"}) from None
            read_bytes += len(message.get("body", b""))
            is_read = not message.get("more_body", False)
            if read_bytes > max_bytes:
                raise HTTPException(413, _too_large(max_bytes))
            if read_bytes > LARGE_BODY_BYTES and not is_large:
                await held.enter_async_context(self._room)
                is_large = True
            return message

        async with AsyncExitStack() as held:
            await self._app(scope, receive_bounded, send)


def _name_of(host: str) -> str:
    """The name in a `Host` header without its port: `[::1]:80` is `::1`. Empty if it is none."""
    if any(char in "/?#@\\" or not "!" <= char <= "~" for char in host):
        return ""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _too_large(max_bytes: int) -> str:
    return f"the body is larger than {max_bytes // MIB} MiB"


async def _answer(send: Send, status: int, body: dict[str, str]) -> None:
    content = json.dumps(body).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})

"""Limits on request bodies: how large, how slow, and how many large ones at once.

Pure ASGI: bodies are counted as they come in and never collected here.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from vision_event_block.contract.archives import MAX_ARCHIVE_BYTES
from vision_event_block.server.middleware.places import Places, client_of
from vision_event_block.server.middleware.security import answer, error_body

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MIB: Final = 2**20
KIB: Final = 2**10
MAX_JSON_BYTES: Final = 10 * MIB
#: For queries, and for any body that is not listed below.
MAX_SMALL_BYTES: Final = 64 * KIB
#: By path.
MAX_BODY_BYTES: Final = {
    "/login": 8 * KIB,
    "/vision-events": MAX_JSON_BYTES,
    "/vision-events/batch": 32 * MIB,
    "/vision-events/upload": 50 * MIB,
    "/vision-events/delete": 2 * MIB,  # a thousand ids of the longest, each character escaped
    "/vision-events/pin": 2 * MIB,
    "/vision-events/bundle": MAX_ARCHIVE_BYTES,
    "/v2/events": 64 * MIB,
}
#: The longest comment, with every character escaped.
_MAX_FEEDBACK_BYTES: Final = 160 * KIB
#: A thousand ids in a form, or fewer of the longest ones.
_MAX_SELECTION_BYTES: Final = 512 * KIB
#: Bodies above this size take places in memory, so that many at once do not add up.
#: One of unknown size does once it has sent this much.
LARGE_BODY_BYTES: Final = MIB
#: How much more memory a body takes than its size: numbers and texts become objects, and archives
#: are unpacked.
_WEIGHTS: Final = {"/vision-events": 8, "/vision-events/batch": 8, "/vision-events/bundle": 4}
_WEIGHT: Final = 2
MAX_BODIES_BYTES: Final = 128 * MIB
#: For one client, so that another client's large body finds a place.
MAX_BODIES_BYTES_OF_ONE: Final = 96 * MIB
MAX_WAITING_BODIES: Final = 64
PLACE_WAIT_S: Final = 10.0
#: The longest wait for the next chunk of a body.
READ_TIMEOUT_S: Final = 30.0
#: The minimum average rate after that time.
LEAST_BODY_BYTES_PER_S: Final = 4 * KIB
#: The longest time for a whole body.
MAX_BODY_S: Final = 900.0


class BodyLimits:
    """Refuses bodies that are too large or too slow as they come in, and limits the large ones."""

    def __init__(
        self,
        app: ASGIApp,
        read_timeout_s: float = READ_TIMEOUT_S,
        place_wait_s: float = PLACE_WAIT_S,
    ) -> None:
        self._app = app
        self._read_timeout_s = read_timeout_s
        self._places = Places(
            "large bodies",
            MAX_BODIES_BYTES,
            for_one=MAX_BODIES_BYTES_OF_ONE,
            wait_s=place_wait_s,
            max_waiting=MAX_WAITING_BODIES,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        max_bytes = max_body_bytes(path)
        announced_bytes = int(Headers(scope=scope).get("content-length", "0"))
        if announced_bytes > max_bytes:
            await answer(send, 413, error_body(path, _too_large(max_bytes)))
            return
        body = _Body(scope, receive, self._places, self._read_timeout_s, announced_bytes)
        try:
            await self._app(scope, body.receive, send)
        finally:
            body.end()


class _Body:
    """One incoming body. It holds its places until the request is answered."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        places: Places,
        read_timeout_s: float,
        announced_bytes: int,
    ) -> None:
        self._path = scope["path"]
        self._client = client_of(scope)
        self._receive = receive
        self._places = places
        self._read_timeout_s = read_timeout_s
        self._announced_bytes = announced_bytes
        self._max_bytes = max_body_bytes(self._path)
        self._held = 0
        self._read_bytes = 0
        self._started_s: float | None = None
        self._is_read = False

    async def receive(self) -> Message:
        if self._is_read:
            return await self._receive()  # only waits for the client to leave
        loop = asyncio.get_running_loop()
        if self._started_s is None:
            # Not before the route asks for it: a client without a key gets no place.
            if self._announced_bytes > LARGE_BODY_BYTES:
                await self._take_place(self._announced_bytes)
            self._started_s = loop.time()
        allowed_s = self._read_timeout_s + self._read_bytes / LEAST_BODY_BYTES_PER_S
        left_s = self._started_s + min(allowed_s, MAX_BODY_S) - loop.time()
        try:
            message = await asyncio.wait_for(
                self._receive(), max(min(left_s, self._read_timeout_s), 0)
            )
        except asyncio.TimeoutError:
            words = "the body did not arrive, or too slowly"
            raise HTTPException(408, words, {"Connection": "close"}) from None
        self._read_bytes += len(message.get("body", b""))
        self._is_read = not message.get("more_body", False)
        if self._read_bytes > self._max_bytes:
            raise HTTPException(413, _too_large(self._max_bytes))
        if self._read_bytes > LARGE_BODY_BYTES and not self._held:
            await self._take_place(self._max_bytes)
        return message

    def end(self) -> None:
        if self._held:
            self._places.give_back(self._client, self._held)

    async def _take_place(self, size_bytes: int) -> None:
        amount = size_bytes * _WEIGHTS.get(self._path, _WEIGHT)
        await self._places.take(self._client, amount)
        self._held = amount


def max_body_bytes(path: str) -> int:
    if path.startswith("/events/"):
        return _MAX_FEEDBACK_BYTES
    if path.startswith("/use-cases/") and path.endswith(("/delete", "/feedback", "/pin")):
        return _MAX_SELECTION_BYTES
    return MAX_BODY_BYTES.get(path, MAX_SMALL_BYTES)


def _too_large(max_bytes: int) -> str:
    size = f"{max_bytes // MIB} MiB" if max_bytes >= MIB else f"{max_bytes // KIB} KiB"
    return f"the body is larger than {size}"

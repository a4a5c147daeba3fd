"""Sends answers at the pace of their readers, and disconnects readers that stall.

Pure ASGI. An answer is sent in chunks, each when the one before has nearly left, so that a socket's
buffer is bounded; a client that stops reading, or reads so slowly that it can only be an attack, is
disconnected. Large answers that are complete in memory take places there.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from vision_event_block.server.middleware.places import client_of
from vision_event_block.server.store.errors import Busy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from vision_event_block.server.middleware.places import Places

    Refuse = Callable[[Send, Scope, Busy], Awaitable[None]]

#: Key in a scope's extensions for a function that ends the connection immediately.
ABORT: Final = "vision_events.abort"
PIECE_BYTES: Final = 64 * 1024
#: The longest wait for a client to read anything more.
WRITE_TIMEOUT_S: Final = 20.0
#: The minimum average rate at which a client has to read after that time.
LEAST_BYTES_PER_S: Final = 16 * 1024
#: Smaller answers are not counted.
_LARGE_BYTES: Final = 256 * 1024


class ResponsePacing:
    """Sends the application's answers in chunks."""

    def __init__(
        self,
        app: ASGIApp,
        answers: Places,
        refuse: Refuse,
        write_timeout_s: float = WRITE_TIMEOUT_S,
    ) -> None:
        self._app = app
        self._answers = answers
        self._refuse = refuse
        self._write_timeout_s = write_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(scope, send, self._answers, self._refuse, self._write_timeout_s)
        try:
            await self._app(scope, receive, answer.send)
        finally:
            answer.end()


class _Answer:
    def __init__(
        self, scope: Scope, send: Send, answers: Places, refuse: Refuse, write_timeout_s: float
    ) -> None:
        self._scope = scope
        self._send = send
        self._answers = answers
        self._refuse = refuse
        self._write_timeout_s = write_timeout_s
        #: Held back until it is known how much follows.
        self._start: Message | None = None
        self._held_bytes = 0
        self._sent_bytes = 0
        self._waited_s = 0.0
        self._is_over = False

    async def send(self, message: Message) -> None:
        if self._is_over:
            return
        if message["type"] == "http.response.start":
            self._start = message
            return
        body: bytes = message.get("body", b"")
        if self._start is not None:
            if len(body) > _LARGE_BYTES:
                try:
                    await self._answers.take(client_of(self._scope), len(body))
                except Busy as error:
                    self._is_over = True
                    await self._refuse(self._send, self._scope, error)
                    return
                self._held_bytes = len(body)
            start, self._start = self._start, None
            await self._send(start)
        more = message.get("more_body", False)
        for first in range(0, max(len(body), 1), PIECE_BYTES):
            last = first + PIECE_BYTES
            piece = body if len(body) <= PIECE_BYTES else body[first:last]
            await self._send_piece(
                {**message, "body": piece, "more_body": more or last < len(body)}
            )

    async def _send_piece(self, message: dict[str, Any]) -> None:
        if self._is_over:
            return
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        left_s = self._write_timeout_s + self._sent_bytes / LEAST_BYTES_PER_S - self._waited_s
        try:
            await asyncio.wait_for(self._send(message), max(left_s, 0.01))
        except asyncio.TimeoutError:
            self._is_over = True
            abort = self._scope.get("extensions", {}).get(ABORT)
            if abort is not None:
                abort()
            return
        self._waited_s += loop.time() - began_s
        self._sent_bytes += len(message["body"])

    def end(self) -> None:
        if self._held_bytes:
            self._answers.give_back(client_of(self._scope), self._held_bytes)

"""A file that is made while it is sent, in threads of its own and within a budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
from starlette.responses import StreamingResponse

from vision_event_block.server.store.read_budget import Budget, spending

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from starlette.types import Receive, Scope, Send

_END: Final = b""


class Download(StreamingResponse):
    """Pieces as an attachment; `ended` is called once nobody reads them any more."""

    def __init__(self, pieces: Iterator[bytes], *, media_type: str, name: str) -> None:
        #: Pages and uploads have their own threads: a slow export keeps none of theirs.
        self._threads = anyio.CapacityLimiter(1)
        self._pieces = pieces
        self.ended: Callable[[], None] = lambda: None
        super().__init__(
            self._in_threads(),
            media_type=media_type,
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        budget = Budget()
        try:
            with spending(budget):
                await super().__call__(scope, receive, send)
        finally:
            budget.leave()
            self.ended()

    async def _in_threads(self) -> AsyncIterator[bytes]:
        while piece := await anyio.to_thread.run_sync(
            next, self._pieces, _END, limiter=self._threads
        ):
            yield piece

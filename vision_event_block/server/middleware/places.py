"""Places: limits on how much of something is done or held at once, in total and per client.

Everything expensive takes a place first: a large body while it is in memory, a query to the store,
an export. A request that finds none waits briefly and is then told to retry, so that what the
server holds does not grow with the number of clients. A single client never gets all places of one
kind.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vision_event_block.server.store.errors import Busy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Scope


def client_of(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""


@dataclass(frozen=True, eq=False)
class _Waiting:
    client: str
    amount: int
    taken: asyncio.Future[None]


class Places:
    """A limited number of places; used in the event loop only.

    Args:
        what: What the places are for, in the plural, for the error: "exports".
        total: How many there are.
        for_one: How many of them one client may have.
        wait_s: How long a client waits for one.
        max_waiting: The maximum number of waiting clients.
    """

    def __init__(
        self, what: str, total: int, *, for_one: int, wait_s: float, max_waiting: int = 200
    ) -> None:
        self._what = what
        self._total = total
        self._for_one = for_one
        self._wait_s = wait_s
        self._max_waiting = max_waiting
        self._taken: Counter[str] = Counter()
        self._line: deque[_Waiting] = deque()

    async def take(self, client: str, amount: int = 1) -> None:
        """Takes places, to be given back; a request for more than exist gets all of them.

        Raises:
            Busy: none became free in time.
        """
        waiting = _Waiting(client, amount, asyncio.get_running_loop().create_future())
        if len(self._line) >= self._max_waiting:
            raise self._busy()
        self._line.append(waiting)
        self._seat()
        try:
            await asyncio.wait_for(asyncio.shield(waiting.taken), self._wait_s)
        except BaseException as error:
            if waiting.taken.done():
                self.give_back(client, amount)
            else:
                self._line.remove(waiting)
            if isinstance(error, asyncio.TimeoutError):
                raise self._busy() from None
            raise

    def give_back(self, client: str, amount: int = 1) -> None:
        self._taken[client] -= self._bounded(amount)
        self._taken += Counter()  # forgets clients that have none
        self._seat()

    @contextmanager
    def giving_back(self, client: str, amount: int = 1) -> Iterator[None]:
        try:
            yield
        finally:
            self.give_back(client, amount)

    def _seat(self) -> None:
        """Gives places to those waiting; a client at its limit is skipped."""
        for waiting in list(self._line):
            amount = self._bounded(waiting.amount)
            if self._taken.total() + amount > self._total:
                return
            if self._taken[waiting.client] and (
                self._taken[waiting.client] + amount > self._for_one
            ):
                continue
            self._line.remove(waiting)
            self._taken[waiting.client] += amount
            waiting.taken.set_result(None)

    def _bounded(self, amount: int) -> int:
        return min(amount, self._total)

    def _busy(self) -> Busy:
        return Busy(f"too many {self._what} at once; try again in a few seconds")

"""The stand-in API in a process of its own, so that its work is not counted as the block's."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING, Any

from vision_event_block.testing import StandInApi

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from typing_extensions import Self

_SPAWN = multiprocessing.get_context("spawn")


class StandIn:
    """A running stand-in, controlled over a pipe."""

    def __enter__(self) -> Self:
        self._pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        self.url: str = self._pipe.recv()
        self.pid: int = self._process.pid or 0
        return self

    def __exit__(self, *_: object) -> None:
        self._ask("end")
        self._process.join(10)

    def behave(self, *, delay_s: float = 0.0, connect_delay_s: float = 0.0) -> None:
        """Sets how long each request, and before it each new connection, waits from now on."""
        self._ask("behave", delay_s, connect_delay_s)

    def hang(self, seconds: float) -> None:
        """Delays every answer by this much from now on."""
        self._ask("hang", seconds)

    def heal(self) -> None:
        """Answers immediately again."""
        self._ask("heal")

    def begin(self) -> None:
        """Forgets what was received so far."""
        self._ask("begin")

    def wait(self, events: int, timeout_s: float) -> None:
        """Returns once this many events came since `begin`; raises TimeoutError after the time."""
        missing = self._ask("wait", events, timeout_s)
        if missing:
            raise TimeoutError(missing)

    def requests(self) -> tuple[int, int]:
        """How many requests came since `begin`, and over how many connections."""
        answer: tuple[int, int] = self._ask("requests")
        return answer

    def _ask(self, *message: Any) -> Any:
        self._pipe.send(message)
        return self._pipe.recv()


def _serve(pipe: Connection) -> None:
    with StandInApi(keeps_pictures=False) as api:
        pipe.send(api.url)
        while True:
            try:
                word, *rest = pipe.recv()
            except EOFError:  # the benchmark ended without a word
                return
            pipe.send(_carry_out(api, word, *rest))
            if word == "end":
                return


def _carry_out(api: StandInApi, word: str, *rest: Any) -> Any:
    if word == "behave":
        api.delay_s, api.connect_delay_s = rest
    elif word == "hang":
        api.hang(*rest)
    elif word == "heal":
        api.heal()
    elif word == "begin":
        for kept in (api.events, api.uploads, api.arrivals, api.requests):
            kept.clear()
    elif word == "wait":
        try:
            api.wait_for_events(*rest)
        except TimeoutError as error:
            return str(error)
    elif word == "requests":
        return len(api.requests), len({request.connection for request in api.requests})
    return None

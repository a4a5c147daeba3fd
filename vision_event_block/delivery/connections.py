"""All connections of the process, under one limit.

A server with a hundred keys and ten senders would otherwise hold a thousand of them, and then open
no file any more. A connection is kept after the answer that was expected and after no other.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from vision_event_block.delivery.http import Connection
from vision_event_block.process import OnePerProcess

if TYPE_CHECKING:
    from collections.abc import Hashable

#: Open at a time, unless so many are in use; half of what the smallest usual limit allows files.
MAX_CONNECTIONS: Final = 64


class Connections:
    """Lends connections. Any thread may use it."""

    def __init__(self, most: int = MAX_CONNECTIONS) -> None:
        self._most = most
        #: Guards what follows.
        self._lock = threading.Lock()
        #: Those that nobody uses, with whose they are; the longest unused first.
        self._idle: dict[Connection, Hashable] = {}
        self._in_use: dict[Connection, Hashable] = {}

    def take(self, owner: Hashable) -> Connection:
        """A connection to the owner's server: the one used last, or a new one."""
        with self._lock:
            found = next((it for it, its in reversed(self._idle.items()) if its == owner), None)
            if found is not None:
                del self._idle[found]
            connection = Connection() if found is None else found
            self._in_use[connection] = owner
            surplus = self._surplus()
        _close(surplus)
        return connection

    def give_back(self, connection: Connection, *, keep: bool) -> None:
        """Ends a loan; the connection is closed unless it may be kept."""
        with self._lock:
            owner = self._in_use.pop(connection, None)
            # Its owner may have been closed meanwhile, and then it is not in the list any more.
            if keep and owner is not None and connection.may_be_kept:
                self._idle[connection] = owner
                surplus = self._surplus()
            else:
                surplus = [connection]
        _close(surplus)

    def close(self, owner: Hashable) -> None:
        """Closes the owner's connections and breaks off what is under way on them."""
        with self._lock:
            idle = [it for it, its in self._idle.items() if its == owner]
            in_use = [it for it, its in self._in_use.items() if its == owner]
            for connection in idle:
                del self._idle[connection]
            for connection in in_use:
                del self._in_use[connection]
        _close(idle)
        for connection in in_use:
            connection.break_off()

    def _surplus(self) -> list[Connection]:
        surplus = []
        while self._idle and len(self._idle) + len(self._in_use) > self._most:
            connection = next(iter(self._idle))
            del self._idle[connection]
            surplus.append(connection)
        return surplus


def _close(connections: list[Connection]) -> None:
    for connection in connections:
        connection.close()


#: Those of this process.
shared: Final = OnePerProcess(Connections)

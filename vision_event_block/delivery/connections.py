"""All connections of the process, under one limit.

Otherwise a server with a hundred keys and ten senders would hold a thousand of them, and could then
open no more files. A connection is kept only after the answer that was expected.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from vision_event_block.delivery.http import Connection
from vision_event_block.process import OnePerProcess

if TYPE_CHECKING:
    from collections.abc import Hashable

#: Open at a time, unless more are in use; half of the smallest usual limit on open files.
MAX_CONNECTIONS: Final = 64


class Connections:
    """Lends connections. Any thread may use it."""

    def __init__(self, most: int = MAX_CONNECTIONS) -> None:
        self._most = most
        #: Guards the fields below.
        self._lock = threading.Lock()
        #: The unused ones with their owners; the one unused for longest first.
        self._idle: dict[Connection, Hashable] = {}
        self._in_use: dict[Connection, Hashable] = {}

    def take(self, owner: Hashable) -> Connection:
        """A connection to the owner's server: the last one used, or a new one."""
        with self._lock:
            found = next((it for it, its in reversed(self._idle.items()) if its == owner), None)
            if found is None:
                self._make_room(1)
            connection = Connection() if found is None else found
            self._in_use[connection] = owner
            self._idle.pop(connection, None)
        return connection

    def give_back(self, connection: Connection, *, keep: bool) -> None:
        """Ends a loan; the connection is closed unless it may be kept."""
        try:
            with self._lock:
                owner = self._in_use.pop(connection, None)
                # Its owner may have been closed meanwhile; then it is no longer in the list.
                if keep and owner is not None and connection.may_be_kept:
                    self._idle[connection] = owner
                    self._make_room(0)
                    return
            connection.close()
        except BaseException:  # otherwise it would never be closed
            self._in_use.pop(connection, None)
            self._idle.pop(connection, None)
            connection.close()
            raise

    def close(self, owner: Hashable) -> None:
        """Closes the owner's connections and aborts what is under way on them."""
        with self._lock:
            idle = [it for it, its in self._idle.items() if its == owner]
            in_use = [it for it, its in self._in_use.items() if its == owner]
            for connection in idle:
                del self._idle[connection]
            for connection in in_use:
                del self._in_use[connection]
        for connection in idle:
            connection.close()
        for connection in in_use:
            connection.break_off()

    def _make_room(self, count: int) -> None:
        """Closes those unused for longest, as far as needed for this many more."""
        while self._idle and len(self._idle) + len(self._in_use) + count > self._most:
            connection = next(iter(self._idle))
            connection.close()
            del self._idle[connection]


#: The connections of this process.
shared: Final = OnePerProcess(Connections)

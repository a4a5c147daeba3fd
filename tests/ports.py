"""Ports for servers that cannot be told to take any."""

from __future__ import annotations

import itertools
import os
import socket
from contextlib import suppress

#: Below those that the kernel gives away by itself: none is taken between here and the server.
_FIRST, _COUNT = 20_000, 12_000
#: Test processes that run at once begin apart.
_next = itertools.count(os.getpid() * 61)


def free_port():
    """A port on which nobody listens, another one each time."""
    for number in itertools.islice(_next, _COUNT):
        port = _FIRST + number % _COUNT
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")

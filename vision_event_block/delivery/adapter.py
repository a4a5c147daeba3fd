"""What `requests` opens connections with, so that their owner hears of each socket and answer.

A request is sent in as few calls as possible. Interim answers (1xx) are skipped, and the owner is
told if more arrives than the answer.
"""

from __future__ import annotations

import http.client
import io
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from vision_event_block.delivery.body import send_all

if TYPE_CHECKING:
    import socket

    from urllib3 import PoolManager

    from vision_event_block.delivery.http import Connection

#: A server that sends this many before its answer has none.
MAX_INTERIM_ANSWERS: Final = 10


class Adapter(HTTPAdapter):
    """Opens connections that report to their owner."""

    def __init__(self, owner: Connection) -> None:
        self._pools = {
            "http": _pool_for(owner, HTTPConnectionPool, HTTPConnection),
            "https": _pool_for(owner, HTTPSConnectionPool, HTTPSConnection),
        }
        super().__init__(pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **options: Any) -> PoolManager:
        manager: PoolManager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = self._pools
        return manager


def _pool_for(
    owner: Connection,
    pool_class: type[HTTPConnectionPool],
    connection_class: type[HTTPConnection],
) -> type[HTTPConnectionPool]:
    """A pool whose connections tell the owner about their socket and what arrives on it."""

    class Response(http.client.HTTPResponse):
        def __init__(
            self, sock: socket.socket, *args: Any, came: bytes = b"", **options: Any
        ) -> None:
            super().__init__(sock, *args, **options)
            self.fp.close()
            self.fp = _Reader(sock, owner, came)
            owner.answering(sock)

        def begin(self) -> None:
            for _ in range(MAX_INTERIM_ANSWERS):
                super().begin()
                if not 100 <= self.status < 200:  # noqa: PLR2004 -- HTTP's own figures
                    return
                self.headers = self.msg = None  # type: ignore[assignment]
            raise http.client.HTTPException("too many interim responses")

    class ToOneServer(connection_class):  # type: ignore[valid-type, misc]
        response_class = Response
        #: The pieces of a request being made; None while a proxy is told where to connect.
        _unsent: list[memoryview] | None = None

        def connect(self) -> None:
            owner.opened(self)
            super().connect()
            owner.opened(self)  # until now there was no socket to break off

        def request(self, *args: Any, **options: Any) -> None:
            unsent: list[memoryview] = []
            self._unsent = unsent
            owner.opened(self)
            try:
                super().request(*args, **options)
            finally:
                self._unsent = None
            if self.sock is None:
                self.connect()
            send_all(self.sock, unsent)
            owner.sent()

        def send(self, data: Any) -> None:
            if self._unsent is None:
                super().send(data)
            else:
                self._unsent.append(memoryview(data))

    class Pool(pool_class):  # type: ignore[valid-type, misc]
        ConnectionCls = ToOneServer

    return Pool


class _Raw(io.RawIOBase):
    """A socket as a file that can be told to return nothing more."""

    def __init__(self, file: Any, came: bytes) -> None:
        self._file = file
        #: What was read from it before.
        self._came = came
        self.is_ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._came:  # even when ended: the rest of it did not come from the socket
            length_bytes = min(len(buffer), len(self._came))
            buffer[:length_bytes] = self._came[:length_bytes]
            self._came = self._came[length_bytes:]
            return length_bytes
        read: int | None = 0 if self.is_ended else self._file.readinto(buffer)
        return read

    def close(self) -> None:
        self._file.close()
        super().close()


class _Reader(io.BufferedReader):
    """Reads one answer; at its end, reports whether more than the answer has arrived."""

    def __init__(self, sock: socket.socket, owner: Connection, came: bytes) -> None:
        self._raw_file = _Raw(sock.makefile("rb", buffering=0), came)
        self._owner = owner
        #: A TLS socket may hold more than `select` sees: the rest of a record.
        self._pending_bytes = getattr(sock, "pending", int)
        super().__init__(self._raw_file)

    def close(self) -> None:
        if not self.closed:
            self._raw_file.is_ended = True
            with suppress(OSError, ValueError):
                if self.peek(1) or self._pending_bytes():
                    self._owner.left_over()
        super().close()

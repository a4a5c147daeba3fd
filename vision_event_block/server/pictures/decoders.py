"""A few processes that decode pictures, each driven by a thread, with a bounded queue.

A bad picture costs at most one process and a limited time. Failures are remembered, so that a
picture is tried once and not for every viewer.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import select
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from vision_event_block.server.pictures.formats import FORMATS
from vision_event_block.server.pictures.thumbnail_child import SIZE
from vision_event_block.server.store.errors import Busy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vision_event_block.server.pictures.place import PictureFile

    Key = tuple[str, int]
    Keep = Callable[[str, int, bytes], None]

DECODERS: Final = 2
#: Three pages of the grid; later requests are told to retry.
MAX_WAITING: Final = 144
MAX_PIXELS: Final = 40_000_000
#: Processor time per picture. Forty megapixels take one or two seconds on a small machine.
MAX_CPU_S: Final = 10
#: For a decoder that hangs without using processor time.
MAX_WAIT_S: Final = 60.0
_MAX_FAILURES: Final = 10_000
_MAX_ANSWER_BYTES: Final = 64 * 2**20
_MODULE: Final = "vision_event_block.server.pictures.thumbnail_child"
_STOP_S: Final = 5.0
_KEPT_VARIABLES: Final = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME", "LANG")

log = logging.getLogger(__name__)


class Decoders:
    """Makes thumbnails; concurrent requests for the same picture and side share one job.

    Args:
        lock_path: A file that the processes lock; created if missing.
        keep: Called with picture, side and thumbnail before the waiting requests get it.
        max_pixels: Larger pictures are not decoded.
        max_cpu_s: Processor time after which a picture is abandoned.
    """

    def __init__(
        self,
        lock_path: Path,
        keep: Keep,
        *,
        max_pixels: int = MAX_PIXELS,
        max_cpu_s: int = MAX_CPU_S,
    ) -> None:
        self._lock_path = lock_path.absolute()
        self._keep = keep
        self._limits = (str(max_pixels), str(max_cpu_s))
        self._jobs: queue.Queue[tuple[Key, PictureFile] | None] = queue.Queue()
        #: Guards the attributes below.
        self._lock = threading.Lock()
        self._futures: dict[Key, Future[bytes | None]] = {}
        self._failed: OrderedDict[str, None] = OrderedDict()
        self._workers: list[tuple[threading.Thread, _Child]] = []
        self._is_closed = False

    def ask(self, picture_id: str, file: PictureFile, side: int) -> Future[bytes | None]:
        """A JPEG that fits into a square, as soon as it is made; None if it cannot be made.

        The future raises FileNotFoundError or StorageDown if the bytes cannot be read.

        Raises:
            Busy: too many are waiting already.
        """
        with self._lock:
            if picture_id in self._failed or self._is_closed:
                nothing: Future[bytes | None] = Future()
                nothing.set_result(None)
                return nothing
            asked = self._futures.get((picture_id, side))
            if asked is not None:
                return asked
            if len(self._futures) >= MAX_WAITING:
                raise Busy("too many thumbnails are waiting to be made")
            future = self._futures[picture_id, side] = Future()
            future.set_running_or_notify_cancel()  # one client's leaving must not cancel it
            self._jobs.put(((picture_id, side), file))
            if len(self._workers) < min(DECODERS, len(self._futures)):
                child = _Child(self._lock_path, self._limits)
                name = f"vision-events-thumbnails-{len(self._workers)}"
                thread = threading.Thread(target=self._work, args=(child,), name=name, daemon=True)
                self._workers.append((thread, child))
                thread.start()
            return future

    def forget(self, picture_id: str) -> None:
        """Forgets a removed picture's failures."""
        with self._lock:
            self._failed.pop(picture_id, None)

    def close(self) -> None:
        """Ends the processes; waiting requests get no thumbnail."""
        with self._lock:
            self._is_closed = True
            workers = list(self._workers)
        for _, child in workers:
            self._jobs.put(None)
            child.kill()
        for thread, _ in workers:
            thread.join(_STOP_S)

    def _work(self, child: _Child) -> None:
        try:
            while (job := self._jobs.get()) is not None:
                key, file = job
                try:
                    made = None if self._is_closed else child.decoded(file, key[1])
                    self._finish(key, file, made)
                except Exception as error:  # noqa: BLE001 -- raised where it is awaited
                    self._pop(key).set_exception(error)
        finally:
            child.end()

    def _finish(self, key: Key, file: PictureFile, made: bytes | None) -> None:
        if made is not None:
            with suppress(OSError):  # a full disk: made again next time
                self._keep(*key, made)
        elif not self._is_closed:
            if file.path is not None and not file.path.exists():
                raise FileNotFoundError(file.name)
            log.info("no thumbnail can be made of picture %s", key[0])
            with self._lock:
                self._failed[key[0]] = None
                if len(self._failed) > _MAX_FAILURES:
                    self._failed.popitem(last=False)
        self._pop(key).set_result(made)

    def _pop(self, key: Key) -> Future[bytes | None]:
        with self._lock:
            return self._futures.pop(key)


class _Child:
    """One process, started when needed and restarted after it was ended."""

    def __init__(self, lock_path: Path, limits: tuple[str, str]) -> None:
        self._lock_path = lock_path
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None

    def decoded(self, file: PictureFile, side: int) -> bytes | None:
        """The thumbnail; None if it cannot be decoded within the limits."""
        job: dict[str, object] = {"format": FORMATS[file.media_type][1], "side": side}
        content = b""
        if file.path is None:
            content = file.read()
            job["size"] = len(content)
        else:
            job["path"] = str(file.path.absolute())
        try:
            return self._answered(json.dumps(job).encode() + b"\n" + content)
        except (OSError, EOFError, TimeoutError):
            self.end()
            return None

    def kill(self) -> None:
        """Ends the process, whatever it is doing. Any thread may call it."""
        process = self._process
        if process is not None:
            process.kill()

    def end(self) -> None:
        """Ends the process; the next picture starts another one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _answered(self, job: bytes) -> bytes | None:
        process = self._running()
        assert process.stdin is not None  # noqa: S101 -- opened below
        process.stdin.write(job)
        process.stdin.flush()
        ends_at_s = time.monotonic() + MAX_WAIT_S
        (size_bytes,) = SIZE.unpack(_read(process, SIZE.size, ends_at_s))
        if size_bytes > _MAX_ANSWER_BYTES:
            raise EOFError
        return _read(process, size_bytes, ends_at_s) if size_bytes else None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self.end()  # it was killed while it was idle
        if self._process is None:
            self._lock_path.parent.mkdir(parents=True, exist_ok=True)
            self._process = subprocess.Popen(  # noqa: S603 -- our own module
                [sys.executable, "-m", _MODULE, *self._limits, str(self._lock_path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # A file in the server's working folder could be imported as a module.
                cwd="/",
                # None of the server's keys: only what Python needs to find the same modules.
                env={"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
                | {"MALLOC_ARENA_MAX": "1"}
                | {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
                # Ctrl-C is for the server, which then ends its processes.
                start_new_session=True,
            )
        return self._process


def _read(process: subprocess.Popen[bytes], size_bytes: int, ends_at_s: float) -> bytes:
    assert process.stdout is not None  # noqa: S101 -- opened above
    ready = select.poll()
    ready.register(process.stdout, select.POLLIN)
    read = b""
    while len(read) < size_bytes:
        if not ready.poll(max(0.0, ends_at_s - time.monotonic()) * 1000):
            raise TimeoutError
        piece = os.read(process.stdout.fileno(), size_bytes - len(read))
        if not piece:
            raise EOFError
        read += piece
    return read

"""The same work without a block: what this machine can do at most.

Each event is two encodings, what its durability asks for, two uploads and a create, over
connections that stay open. There is no queue that anybody could look into, no retry, no limit and
no form that a user could fill in.
"""

from __future__ import annotations

import http.client
import itertools
import json
import mmap
import os
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timezone
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
import scene
from contenders import Drive

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typing_extensions import Self

_FORM = (
    b"--bare\r\n"
    b'Content-Disposition: form-data; name="file"; filename="image.jpg"\r\n'
    b"Content-Type: image/jpeg\r\n\r\n"
)
_QUALITIES = (95, 85)
#: Events in memory that are not encoded yet.
_PLACES = 3


def drive(  # noqa: PLR0913 -- as many as there are to vary
    api: Any, folder: Path, *, events: int, threads: int, durability: str, step: Callable[[], Any]
) -> Drive:
    """How long some events take until the API has them, with a step of the engine before each."""
    api.begin()
    started_s, cpu_s = time.perf_counter(), time.process_time()
    with Bare(api.url, folder, threads) as bare:
        for _ in range(events):
            step()
            bare.record(durability)
    api.wait(events, 60.0)
    return Drive(time.perf_counter() - started_s, time.process_time() - cpu_s, events)


class Bare:
    """Records events, and sends them on so many threads; at the end it waits for all of them."""

    def __init__(self, url: str, folder: Path, threads: int) -> None:
        self._host = url.partition("://")[2]
        self._folder = folder
        self._images = scene.frame(), scene.drawn()
        self._annotations = [
            {"class": "part", "x": row, "y": row, "width": 40, "height": 40, "confidence": 0.5}
            for row in range(20)
        ]
        self._own = threading.local()
        self._numbers = itertools.count()
        self._places: SimpleQueue[Any] = SimpleQueue()
        for number in range(_PLACES):
            self._places.put(self._mapped(folder / f"place-{number}"))
        self._encoders = ThreadPoolExecutor(len(_QUALITIES))
        self._senders = ThreadPoolExecutor(threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._encoders.shutdown()
        self._senders.shutdown()

    def record(self, durability: str) -> None:
        """What a workflow waits for: both pictures on disk, or a copy that survives a kill."""
        if durability == "disk":
            path = self._folder / f"bare-{next(self._numbers)}"
            pictures = list(self._encoders.map(scene.encoded, self._images, _QUALITIES))
            _store(path, pictures)
            self._senders.submit(self._send, pictures, path)
            return
        try:
            place = self._places.get_nowait()
        except Empty:  # the encoders have their hands full
            self._senders.submit(self._send, [*map(scene.encoded, self._images, _QUALITIES)], None)
            return
        for copy, image in zip(place, self._images, strict=True):
            np.copyto(copy, image)
        self._encoders.submit(self._encode_and_send, place)

    def _encode_and_send(self, place: Any) -> None:
        pictures = [*map(scene.encoded, place, _QUALITIES)]
        self._places.put(place)
        self._senders.submit(self._send, pictures, None)

    def _send(self, pictures: list[bytes], path: Path | None) -> None:
        ids = [
            self._ask(
                "/vision-events/upload",
                _FORM + picture + b"\r\n--bare--\r\n",
                "multipart/form-data; boundary=bare",
            )["sourceId"]
            for picture in pictures
        ]
        event = {
            "eventId": str(uuid.uuid4()),
            "eventType": "custom",
            "useCaseId": "bench",
            "timestamp": datetime.now(timezone.utc).isoformat(),
            "images": [
                {"sourceId": ids[1], "inputSourceId": ids[0], "objectDetections": self._annotations}
            ],
        }
        self._ask("/vision-events", json.dumps(event).encode(), "application/json")
        if path is not None:
            path.unlink()

    def _ask(self, path: str, body: bytes, content_type: str) -> dict[str, Any]:
        if not hasattr(self._own, "connection"):
            self._own.connection = http.client.HTTPConnection(self._host)
        headers = {"Authorization": "Bearer made-up", "Content-Type": content_type}
        self._own.connection.request("POST", path, body, headers)
        answer: dict[str, Any] = json.loads(self._own.connection.getresponse().read())
        return answer

    def _mapped(self, path: Path) -> list[Any]:
        """Room for both pictures in a file, each page of it there."""
        size_bytes = sum(image.nbytes for image in self._images)
        with path.open("w+b") as file:
            os.posix_fallocate(file.fileno(), 0, size_bytes)
            memory = mmap.mmap(file.fileno(), size_bytes)
        with suppress(FileNotFoundError):
            path.unlink()
        copies = np.frombuffer(memory, np.uint8).reshape(-1, *self._images[0].shape)
        copies[:] = 0
        return list(copies)


def _store(path: Path, pictures: list[bytes]) -> None:
    arriving = path.with_suffix(".tmp")
    with arriving.open("xb") as file:
        file.writelines(pictures)
        file.flush()
        os.fdatasync(file.fileno())
    arriving.rename(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""The same work without a block: the most that this machine can do.

Each event is twenty boxes converted, two encodings, what its durability requires, two uploads and a
create, over connections that stay open. An event survives what its durability promises until it is
delivered: with `memory` the pixels and then the JPEGs are in mapped files, with `disk` event and
pictures are synced, with checksums. There is no queue that can be inspected, no retry, no count, no
limit and no form for the user to fill in.
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
import zlib
from concurrent.futures import ThreadPoolExecutor
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
#: More than the JPEGs of an event need.
_KEPT_BYTES = 2 * 2**20


def drive(  # noqa: PLR0913 -- as many as there are to vary
    api: Any, folder: Path, *, events: int, threads: int, durability: str, step: Callable[[], Any]
) -> Drive:
    """How long it takes until the API has all events, with a step of the engine before each."""
    api.begin()
    started_s, cpu_s = time.perf_counter(), time.process_time()
    with Bare(api.url, folder, threads) as bare:
        for _ in range(events):
            step()
            bare.record(durability)
    api.wait(events, 60.0)
    return Drive(time.perf_counter() - started_s, time.process_time() - cpu_s, events)


class Bare:
    """Records events and sends them on the given number of threads; at the end waits for all."""

    def __init__(self, url: str, folder: Path, threads: int) -> None:
        self._host = url.partition("://")[2]
        self._folder = folder
        self._images = scene.frame(), scene.drawn()
        self._boxes = scene.boxes(20)
        self._own = threading.local()
        self._numbers = itertools.count()
        self._places: SimpleQueue[Any] = SimpleQueue()
        for number in range(_PLACES):
            self._places.put(self._place(folder / f"place-{number}"))
        self._kept: SimpleQueue[mmap.mmap] = SimpleQueue()
        self._encoders = ThreadPoolExecutor(len(_QUALITIES))
        self._senders = ThreadPoolExecutor(threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._encoders.shutdown()
        self._senders.shutdown()

    def record(self, durability: str) -> None:
        """What a workflow waits for: both pictures on disk, or a copy that survives a kill."""
        event = self._event()
        if durability == "disk":
            path = self._folder / f"bare-{next(self._numbers)}"
            pictures = list(self._encoders.map(scene.encoded, self._images, _QUALITIES))
            _store(path, event, pictures)
            self._senders.submit(self._send, event, pictures, path.unlink)
            return
        try:
            place = self._places.get_nowait()
        except Empty:  # the encoders have their hands full
            self._keep_and_send(event, self._images)
            return
        for copy, image in zip(place, self._images, strict=True):
            np.copyto(copy, image)
        self._encoders.submit(self._encode_and_send, event, place)

    def _event(self) -> dict[str, Any]:
        boxes = self._boxes
        names = boxes.data["class_name"].tolist()
        found = zip(boxes.xyxy.tolist(), boxes.confidence.tolist(), names, strict=True)
        return {
            "eventId": str(uuid.uuid4()),
            "eventType": "custom",
            "useCaseId": "bench",
            "timestamp": datetime.now(timezone.utc).isoformat(),
            "images": [
                {
                    "objectDetections": [
                        {
                            "class": name,
                            "x": (left + right) / 2,
                            "y": (top + bottom) / 2,
                            "width": right - left,
                            "height": bottom - top,
                            "confidence": confidence,
                        }
                        for (left, top, right, bottom), confidence, name in found
                    ]
                }
            ],
        }

    def _encode_and_send(self, event: dict[str, Any], place: Any) -> None:
        self._keep_and_send(event, place)
        self._places.put(place)

    def _keep_and_send(self, event: dict[str, Any], images: Any) -> None:
        pictures = [*map(scene.encoded, images, _QUALITIES)]
        try:
            memory = self._kept.get_nowait()
        except Empty:
            memory = _mapped(self._folder / f"kept-{next(self._numbers)}", _KEPT_BYTES)
        kept = b"".join([json.dumps(event).encode(), *pictures])
        memory[: len(kept)] = kept
        self._senders.submit(self._send, event, pictures, lambda: self._kept.put(memory))

    def _send(
        self, event: dict[str, Any], pictures: list[bytes], when_delivered: Callable[[], None]
    ) -> None:
        ids = [
            self._ask(
                "/vision-events/upload",
                _FORM + picture + b"\r\n--bare--\r\n",
                "multipart/form-data; boundary=bare",
            )["sourceId"]
            for picture in pictures
        ]
        event["images"][0].update(sourceId=ids[1], inputSourceId=ids[0])
        self._ask("/vision-events", json.dumps(event).encode(), "application/json")
        when_delivered()

    def _ask(self, path: str, body: bytes, content_type: str) -> dict[str, Any]:
        if not hasattr(self._own, "connection"):
            self._own.connection = http.client.HTTPConnection(self._host)
        headers = {"Authorization": "Bearer made-up", "Content-Type": content_type}
        self._own.connection.request("POST", path, body, headers)
        answer: dict[str, Any] = json.loads(self._own.connection.getresponse().read())
        return answer

    def _place(self, path: Path) -> list[Any]:
        """Space for both pictures in a file, with every page allocated."""
        memory = _mapped(path, sum(image.nbytes for image in self._images))
        copies = np.frombuffer(memory, np.uint8).reshape(-1, *self._images[0].shape)
        copies[:] = 0
        return list(copies)


def _mapped(path: Path, size_bytes: int) -> mmap.mmap:
    with path.open("w+b") as file:
        os.posix_fallocate(file.fileno(), 0, size_bytes)
        memory = mmap.mmap(file.fileno(), size_bytes)
    path.unlink()
    return memory


def _store(path: Path, event: dict[str, Any], pictures: list[bytes]) -> None:
    parts = [json.dumps(event).encode(), *pictures]
    arriving = path.with_suffix(".tmp")
    with arriving.open("xb") as file:
        file.writelines([*parts, *(b"%08x" % zlib.crc32(part) for part in parts)])
        file.flush()
        os.fdatasync(file.fileno())
    arriving.rename(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

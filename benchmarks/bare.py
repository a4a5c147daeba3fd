"""The same work without an engine and without a block: what this machine can do at most.

Each event is two encodings, a file that is synced, two uploads and a create, over connections that
stay open. There is no queue, no retry, no limit and no form that a user could fill in.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import scene
from contenders import Drive

if TYPE_CHECKING:
    from pathlib import Path

_FORM = (
    b"--bare\r\n"
    b'Content-Disposition: form-data; name="file"; filename="image.jpg"\r\n'
    b"Content-Type: image/jpeg\r\n\r\n"
)


def drive(api: Any, folder: Path, *, events: int, threads: int, syncs: bool) -> Drive:
    """How long so many threads take to bring some events to the API."""
    image = scene.frame()
    annotations = [
        {"class": "part", "x": row, "y": row, "width": 40, "height": 40, "confidence": 0.5}
        for row in range(20)
    ]
    host = api.url.partition("://")[2]
    own = threading.local()
    numbers = itertools.count()

    def ask(path: str, body: bytes, content_type: str) -> dict[str, Any]:
        if not hasattr(own, "connection"):
            own.connection = http.client.HTTPConnection(host)
        own.connection.request(
            "POST", path, body, {"Authorization": "Bearer made-up", "Content-Type": content_type}
        )
        answer: dict[str, Any] = json.loads(own.connection.getresponse().read())
        return answer

    def one_event(_: int) -> None:
        pictures = [scene.encoded(image, quality) for quality in (95, 85)]
        path = folder / str(next(numbers))
        if syncs:
            _store(path, pictures)
        ids = [
            ask(
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
                {"sourceId": ids[1], "inputSourceId": ids[0], "objectDetections": annotations}
            ],
        }
        ask("/vision-events", json.dumps(event).encode(), "application/json")
        path.unlink(missing_ok=True)

    api.begin()
    with ThreadPoolExecutor(threads) as pool:
        started_s, cpu_s = time.perf_counter(), time.process_time()
        list(pool.map(one_event, range(events)))
        seconds, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
    api.wait(events, 60.0)
    return Drive(seconds, cpu_s, events)


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

"""Events and pictures for the store's tests."""

from __future__ import annotations

import io
from contextlib import suppress
from datetime import datetime, timedelta, timezone

from PIL import Image
from sqlalchemy import func, select

from vision_event_block.server.store import schema
from vision_event_block.server.store.disk_quota import HAS_BYTES
from vision_event_block.server.store.filters import Confidence, Detection, Filters
from vision_event_block.server.store.records import NewEvent

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


class StandingClock:
    """The time is what it was set to."""

    def __init__(self, now=NOON):
        self.now = now

    def __call__(self):
        return self.now

    def go(self, **delta):
        self.now += timedelta(**delta)


def event(
    event_id,
    *,
    use_case="dock",
    event_type="custom",
    minutes=0.0,
    time=None,
    data=None,
    metadata=None,
    seen=(),
    pictures=(),
    warnings=(),
    **context,
):
    """An event some minutes before noon; `seen` are pairs of a class and a confidence."""
    moment = time or NOON - timedelta(minutes=minutes)
    images = [{"sourceId": each} for each in pictures] or [{}]
    images[0]["objectDetections"] = [
        {"class": name, "confidence": confidence, "x": 1, "y": 1, "width": 2, "height": 2}
        for name, confidence in seen
    ]
    return NewEvent(
        event_id=event_id,
        event_type=event_type,
        use_case_id=use_case,
        timestamp=moment,
        warnings=tuple(warnings),
        body={
            "eventId": event_id,
            "eventType": event_type,
            "useCaseId": use_case,
            "timestamp": moment.isoformat(),
            "eventData": data or {},
            "customMetadata": metadata or {},
            "images": images,
            **context,
        },
    )


def feedback(event_id, about, verdict, **more):
    """An operator's verdict."""
    data = {"relatedEventId": about, "feedback": verdict}
    return event(event_id, event_type="operator_feedback", data=data, **more)


def everything(use_case="dock", **filters):
    return Filters(use_case_id=use_case, **filters)


def seen(*classes, neither=False, **confidence):
    """Filters by what was seen: `seen("pallet", gte=0.5)`."""
    sure = [Confidence(*each) for each in confidence.items()] or [None]
    return {"detections": tuple(Detection(classes, each, neither) for each in sure)}


def found(store, filters=None, **more):
    """The ids of what matches, newest first, and the count says the same."""
    filters = filters or everything(**more)
    ids = [each.event_id for each in store.walk(filters)]
    assert store.count(filters) == len(ids)
    return ids


def thumbnail_of(store, picture_id, side):
    """The small version as somebody who waits for it gets it; None if there is none."""
    file = store.pictures.get(picture_id)
    return None if file is None else store.pictures.thumbnails.ask(picture_id, file, side).result()


def picture(kind="JPEG", size=(64, 48), colour="red", mode="RGB", **options):
    """The bytes of a picture."""
    out = io.BytesIO()
    Image.new(mode, size, colour).save(out, kind, **options)
    return out.getvalue()


def noise(chance, side=64):
    """The bytes of a picture that takes 3 bytes for a pixel."""
    out = io.BytesIO()
    Image.frombytes("RGB", (side, side), chance.randbytes(3 * side * side)).save(out, "PNG")
    return out.getvalue()


def kept_bytes(store, folder):
    """What counts, as the disk and the database have it."""
    with store._database.reading() as connection:
        size_bytes = store._database.records_bytes(connection)
    for path in folder.glob("??/*"):
        with suppress(FileNotFoundError):  # it went meanwhile
            size_bytes += path.stat().st_size
    return size_bytes


def kept_at_one_moment(store):
    """The same by what the database says of the pictures, while others put and remove."""
    size = func.coalesce(func.sum(schema.pictures.c.size_bytes), 0)
    with store._database.reading() as connection:
        picture_bytes = connection.execute(select(size).where(HAS_BYTES)).scalar_one()
        return int(picture_bytes) + store._database.records_bytes(connection)

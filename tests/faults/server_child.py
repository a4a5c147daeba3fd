"""A process that puts events and pictures into a store until it is killed.

    python -m tests.faults.server_child FOLDER SEED [ROOM_BYTES]

It prints the id of each event, of its picture and the hash of the picture's bytes once both are
stored: whoever reads that knows what must be there.
"""

from __future__ import annotations

import hashlib
import io
import random
import sys
from datetime import datetime, timezone
from pathlib import Path
from uuid import uuid4

from PIL import Image

from vision_event_block.server.storage import Store
from vision_event_block.server.store.disk_quota import DiskLimits
from vision_event_block.server.store.records import NewEvent

USE_CASE = "dock"
#: Ids that are put again and again.
OVERWRITTEN = [f"again {number}" for number in range(5)]


def main(folder, seed, room_bytes=None):
    chance = random.Random(seed)
    quota = DiskLimits()
    if room_bytes is not None:
        with Store.open(Path(folder)) as store, store._database.reading() as connection:
            records_bytes = store._database.records_bytes(connection)
        quota = DiskLimits(keep_bytes=records_bytes + int(room_bytes))
    with Store.open(Path(folder), lookback_days=None, quota=quota) as store:
        store.room.make()
        if store.use_cases.get(USE_CASE) is None:
            store.use_cases.create("Dock", id=USE_CASE)
        while True:
            batch = [_stored_picture(store, chance) for _ in range(chance.randrange(1, 4))]
            events = [_event(picture_id, chance) for picture_id, _ in batch]
            store.put(events)
            for event, (picture_id, digest) in zip(events, batch, strict=True):
                print(event.event_id, picture_id, digest, sep="\t", flush=True)  # noqa: T201 - read


def _stored_picture(store, chance):
    out = io.BytesIO()
    size = (chance.randrange(1, 300), chance.randrange(1, 300))
    Image.frombytes("L", size, chance.randbytes(size[0] * size[1])).save(out, "PNG")
    return store.pictures.put(out.getvalue()).id, hashlib.sha256(out.getvalue()).hexdigest()


def _event(picture_id, chance):
    event_id = chance.choice(OVERWRITTEN) if chance.random() < 0.2 else str(uuid4())
    return NewEvent(
        event_id=event_id,
        event_type="custom",
        use_case_id=USE_CASE,
        timestamp=datetime.now(timezone.utc),
        body={
            "eventData": {"value": picture_id},
            "images": [{"sourceId": picture_id, "classifications": [{"class": "a"}]}],
            "customMetadata": {"door": chance.randrange(9), "shift": "night"},
        },
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

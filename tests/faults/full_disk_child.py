"""What can still be done with an outbox on a disk without a free byte; told as JSON.

    python full_disk_child.py DISK STICK URL

The disk is a small one that this process may fill, the stick a folder elsewhere.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from datetime import datetime, timezone
from pathlib import Path

from vision_event_block.delivery.client import Secret
from vision_event_block.delivery.destinations import API
from vision_event_block.outbox import clock
from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.entry import Address, DeliveryMetadata
from vision_event_block.outbox.outbox import Outbox
from vision_event_block.outbox.owner_status import OwnerStatus
from vision_event_block.outbox.quota import OutboxLimits
from vision_event_block.outbox.snapshot import take_snapshot

KEY = "made-up-key"
LIMITS = OutboxLimits(min_free_bytes=0)
PICTURE_BYTES = 100_000


def main(disk, stick, url):
    folder = disk / "outbox"
    metadata = DeliveryMetadata(Address(API, url, Secret(KEY).identity()), clock.reading())
    host = Outbox(folder, LIMITS)
    waiting = [store(host, metadata) for _ in range(20)]
    for _ in range(2):
        host.move_to_dead_letters(
            store(host, metadata), {"status": 400, "reason": "no such use case"}
        )

    fill(disk)
    told = {"free_bytes": [free_bytes(disk)]}
    more = [store(host, metadata) for _ in range(5)]
    told["shed"] = dict(host.journal.totals)["shed dead"]
    told["whole"] = sum(1 for entry in (*waiting, *more) if len(host.read(entry).pictures) == 2)
    host.write_status(OwnerStatus())
    host.close()
    environment = {
        **os.environ,
        "ROBOFLOW_API_KEY": KEY,
        "VISION_EVENT_API_URL": url,
        "VISION_EVENT_OUTBOX": str(folder),
        "VISION_EVENT_OUTBOX_MIN_FREE_BYTES": "0",
    }
    commands = (["drop", waiting[0].event_id], ["requeue", "--all"], ["export", stick], ["drain"])
    for command in commands:
        if command[0] == "drain":
            after = Outbox(folder, LIMITS)
            after_ids = [store(after, metadata).event_id for _ in range(3)]
            after.close()
        (disk / "others").open("ab").close()
        fill(disk)
        told["free_bytes"].append(free_bytes(disk))
        done = subprocess.run(
            [sys.executable, "-c", "from vision_event_block.cli import main; main()", *command],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=environment,
        )
        told[command[0]] = [done.returncode, done.stdout + done.stderr]
        if command[0] == "export":
            (disk / "others").unlink()
    told["after"] = after_ids
    found = take_snapshot(folder, RealDisk())
    told["counts"] = [found.stored, found.delivered, sum(found.dropped.values())]
    told["unaccounted"] = found.unaccounted
    print(json.dumps(told))  # noqa: T201 -- what the test reads


def store(outbox, metadata):
    event_id = str(uuid.uuid4())
    members = {f"images/{event_id}-{n}.jpg": os.urandom(PICTURE_BYTES) for n in range(2)}
    image = dict(zip(("file", "inputFile"), members, strict=True))
    payload = {
        "bundleFormatVersion": 1,
        "eventId": event_id,
        "eventType": "custom",
        "useCaseId": "dock",
        "timestamp": datetime.now(timezone.utc).isoformat(),
        "eventData": {"value": event_id},
        "images": [{"label": "workflow", **image}],
    }
    return outbox.store(event_id, payload, members, metadata)


def fill(disk):
    """Others take every byte."""
    with (disk / "others").open("ab", buffering=0) as file:
        for size_bytes in (2**16, 2**12, 1):
            try:
                while True:
                    file.write(bytes(size_bytes))
            except OSError:  # noqa: PERF203 -- each size once
                continue


def free_bytes(disk):
    return os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])

"""Records versions of events until there are enough of each, or the process is killed."""

from __future__ import annotations

import hashlib
import os
import random
import sys
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.worker import Log, destination_of, drain
from vision_event_block.delivery.courier import CourierLimits
from vision_event_block.delivery.dispatch import Dispatch, DispatchLimits
from vision_event_block.events.event import EventImage, VisionEvent
from vision_event_block.events.images import Picture
from vision_event_block.outbox.quota import OutboxLimits

if TYPE_CHECKING:
    from tests.faults.worker import Task

VERSIONS = 3
#: Begun, and not yet recorded in all versions.
MOST_OPEN = 12


def version_of(event_id: str, version: int) -> VisionEvent:
    """A version of an event: the pictures of the one before, and one more."""
    contents = [f"{event_id} {number} ".encode() * 200 for number in range(version + 1)]
    # The same name for the same picture, whichever process has it.
    pictures = [
        Picture(content=it, picture_id=hashlib.sha256(it).hexdigest()[:32]) for it in contents
    ]
    return VisionEvent(
        event_type="custom",
        use_case_id="belt",
        timestamp=datetime.now(timezone.utc),
        event_id=event_id,
        version=version,
        event_data={"value": f"{event_id} {version}"},
        images=tuple(EventImage(label=str(n), output=each) for n, each in enumerate(pictures)),
    )


def record_all(task: Task) -> None:
    """Begins events and goes on with them, and with those that a killed process had."""
    log = Log(task.logs)
    chance = random.Random(os.getpid())
    limits = CourierLimits(threads=task.threads, max_backoff_s=0.2)
    dispatch = Dispatch(
        DispatchLimits(Path(task.outbox), OutboxLimits(min_free_bytes=0), limits, hold_s=0.3)
    )
    destination = destination_of(task)
    print('{"ready": %d}' % os.getpid(), flush=True)  # noqa: T201, UP031
    under_way = [list(it) for it in task.continues]
    new = task.events
    while new or under_way:
        if new and (not under_way or (len(under_way) < MOST_OPEN and chance.random() < 0.4)):
            new -= 1
            under_way.append([os.urandom(16).hex(), 0, 0])
        it = under_way[chance.randrange(len(under_way))]
        event_id, version, recorded = it
        log.say("begins", event_id, str(version))
        event = version_of(event_id, version)
        dispatch.record(replace(event), destination, waits=chance.random() < task.share_waiting)
        log.say("recorded", event_id, str(version))
        it[1:] = [version + 1, recorded + 1]
        if recorded + 1 >= VERSIONS:
            under_way.remove(it)
    if task.ends == "drain":
        dispatch.empty_memory(60.0)
        drain(dispatch, Path(task.outbox), 60.0)
        dispatch.close(5.0)
        sys.exit(0)
    while True:  # it sends what it has until it is killed
        dispatch.flush(1.0)

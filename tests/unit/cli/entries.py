"""What the tests of the command line put into an outbox, and how they run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from datetime import datetime, timezone

from vision_event_block.delivery.secret import Secret
from vision_event_block.outbox import clock
from vision_event_block.outbox.entry import Address, DeliveryMetadata
from vision_event_block.outbox.outbox import OutboxLimits

KEY = "rf_made_up_key_of_the_tests"
LIMITS = OutboxLimits(min_free_bytes=0)
PICTURE = b"\xff\xd8 picture \xff\xd9"


def real_run(*arguments, **changes):
    """The command line as a process of its own."""
    program = "from vision_event_block.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
        env={**os.environ, **changes},
    )
    assert KEY not in result.stdout + result.stderr
    assert "Traceback" not in result.stderr, result.stderr
    return result


def payload_of(event_id, **changes):
    return {
        "bundleFormatVersion": 1,
        "eventId": event_id,
        "eventType": "quality_check",
        "useCaseId": "line-4",
        "timestamp": datetime.now(timezone.utc).isoformat(),
        "eventData": {"result": "pass"},
        "images": [{"file": f"images/{event_id}.jpg", "label": "workflow"}],
        "displayImagePosition": 0,
        **changes,
    }


def address_of(url, key=KEY):
    return Address("api", url, Secret(key).identity())


def store(outbox, address, count=1, picture=PICTURE):
    """Stores events; gives their entries."""
    entries = []
    for _ in range(count):
        event_id = str(uuid.uuid4())
        pictures = {f"images/{event_id}.jpg": picture + event_id.encode()}
        metadata = DeliveryMetadata(address, clock.reading())
        entries.append(outbox.store(event_id, payload_of(event_id), pictures, metadata))
    return entries


def move_to_dead_letters(outbox, entry):
    outbox.move_to_dead_letters(entry, {"status": 400, "reason": "no such use case"})


def accounts(run):
    """The status for programs."""
    return json.loads(run("status", "--json").output)

"""A host that records events at a steady rate through the real engine.

    python -m tests.faults.endurance_child EVENTS PER_S

It prints a line of JSON for each event: what the block said, and what the process holds by then.
After the last event it waits until the outbox is empty, prints how long that took, and ends as any
host does. Lines that come late say so: the clock, not the block, decides when an event is due.
"""

from __future__ import annotations

import gc
import json
import re
import sys
import time
from pathlib import Path

WIDTH_PX, HEIGHT_PX = 1920, 1080
#: How long the events that are left may take.
DRAIN_S = 120.0
STEP = {
    "type": "vision_event_block/vision_event@v1",
    "name": "event",
    "input_image": "$inputs.image",
    "output_image": "$inputs.annotated",
    "event_type": "custom",
    "custom_value": "$inputs.number",
    "use_case": "bottles",
    "cooldown_seconds": 0,
}
WORKFLOW = {
    "version": "1.0",
    "inputs": [
        {"type": "WorkflowImage", "name": "image"},
        {"type": "WorkflowImage", "name": "annotated"},
        {"type": "WorkflowParameter", "name": "number"},
    ],
    "steps": [STEP],
    "outputs": [{"type": "JsonField", "name": "event", "selector": "$steps.event.*"}],
}


def main(count, per_s):
    import inference.core  # noqa: F401, PLC0415 -- gives the engine the server's settings
    from inference.core.workflows.execution_engine.core import ExecutionEngine  # noqa: PLC0415

    from vision_event_block.outbox.disk import RealDisk  # noqa: PLC0415
    from vision_event_block.outbox.snapshot import take_snapshot  # noqa: PLC0415
    from vision_event_block.settings import outbox_folder  # noqa: PLC0415

    engine = ExecutionEngine.init(
        workflow_definition=WORKFLOW,
        init_parameters={"workflows_core.api_key": "made-up-key"},
    )
    camera = Camera()
    started_s = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, started_s + number / per_s - time.monotonic()))
        began_s = time.monotonic()
        picture, annotated = camera.frame(number)
        [row] = engine.run(
            runtime_parameters={"image": picture, "annotated": annotated, "number": str(number)}
        )
        ended_s = time.monotonic()
        say(
            {
                "event_id": row["event"]["event_id"],
                "status": row["event"]["delivery_status"],
                "late_s": began_s - started_s - number / per_s,
                "took_s": ended_s - began_s,
                **held(),
            }
        )
    ends_at_s = time.monotonic() + DRAIN_S
    while take_snapshot(outbox_folder(), RealDisk()).pending and time.monotonic() < ends_at_s:
        time.sleep(0.2)
    gc.collect()
    say({"drained_s": time.monotonic() - ends_at_s + DRAIN_S, **held()})


class Camera:
    """Frames of a belt, none like another, that are as large as JPEGs as those of a real one."""

    def __init__(self):
        import cv2  # noqa: PLC0415 -- after the host, which brings it
        import numpy as np  # noqa: PLC0415

        from vision_event_block.testing.scenes import floor  # noqa: PLC0415

        self._cv2 = cv2
        belt = cv2.resize(floor((True, False)).picture, (WIDTH_PX, HEIGHT_PX))
        grain = np.random.default_rng(0).normal(0, 4, belt.shape)
        self._still = np.clip(belt + grain, 0, 255).astype(np.uint8)

    def frame(self, number):
        """The picture, and the annotated one."""
        picture = self._still.copy()
        text = (str(number), (40, 100), self._cv2.FONT_HERSHEY_SIMPLEX, 3.0, (0, 0, 0), 6)
        self._cv2.putText(picture, *text)
        annotated = picture.copy()
        self._cv2.rectangle(annotated, (400, 300), (900, 800), (40, 200, 40), 4)
        return picture, annotated


def held():
    """What this process holds of the machine, without what it shares."""
    status = Path("/proc/self/status").read_text()
    return {
        "memory_mib": int(re.search(r"RssAnon:\s+(\d+)", status)[1]) / 1024,
        "threads": int(re.search(r"Threads:\s+(\d+)", status)[1]),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
    }


def say(document):
    print(json.dumps(document), flush=True)  # noqa: T201 -- read by the test


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))

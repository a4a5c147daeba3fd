"""A process of its own with the real engine in it, for what only shows when a process ends.

    python engine_process.py plugin-first|host-first|standalone [task]

With a task, a JSON document, it carries that out and ends as any script does. Without, it reads
tasks from its input, one a line, and has each carried out by a fork of itself: the host takes long
to import. A task says what it saw in a line of JSON.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import sys
import threading
import time
import warnings
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from urllib.request import urlopen

warnings.simplefilter("ignore")

TRACK_EVENT = "vision_event_block/track_event@v1"


def import_engine(order):
    """The engine's class; the orders are those in which plugin and host may meet."""
    if order == "plugin-first":
        import vision_event_block  # noqa: PLC0415

        vision_event_block.load_blocks()
        from inference import InferencePipeline  # noqa: F401, PLC0415
        from inference.core.workflows.execution_engine.core import ExecutionEngine  # noqa: PLC0415
    elif order == "host-first":
        import inference.core  # noqa: F401, PLC0415
        from inference.core.workflows.execution_engine.core import ExecutionEngine  # noqa: PLC0415
    else:
        from roboflow_workflows.execution_engine.core import ExecutionEngine  # noqa: PLC0415
    return ExecutionEngine


def carry_out(task, engine_class):
    """Runs a step as often as the task wants, and perhaps once more in a forked child."""
    for name, value in task.get("environment", {}).items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    logging.basicConfig(level=logging.INFO)
    for name in ("vision_event_block", "urllib3"):
        logging.getLogger(name).setLevel(logging.DEBUG)

    engine = engine_class.init(
        workflow_definition=workflow(task.get("fields", {})),
        init_parameters={"workflows_core.api_key": task.get("api_key")},
    )
    facts = {"threads_when_compiled": our_threads()}
    follows = task.get("fields", {}).get("type") == TRACK_EVENT
    runs = [
        run(engine, **(a_thing_at(number) if follows else {}))
        for number in range(task.get("runs", 1))
    ]
    ends_at_s = time.monotonic() + 30
    while task.get("until_warned") and time.monotonic() < ends_at_s:
        if runs[-1][0]["error_status"]:
            break
        time.sleep(0.05)
        runs.append(run(engine))
    facts |= {
        "outputs": [outputs for outputs, _ in runs],
        "seconds": [seconds for _, seconds in runs],
        "threads_at_the_end": our_threads(),
    }
    if task.get("forks"):
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            print(json.dumps({"child": run(engine)[0]}), flush=True)  # noqa: T201
            return
        facts["child_status"] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if task.get("scrapes"):
        facts["metrics"] = scraped(os.environ["VISION_EVENT_METRICS_PORT"])
    facts["done_at_s"] = time.monotonic()
    print(json.dumps(facts), flush=True)  # noqa: T201
    if task.get("is_killed"):
        os.kill(os.getpid(), signal.SIGKILL)


def scraped(port):
    """What this process shows on a port of its own, once everything is delivered."""
    ends_at_s = time.monotonic() + 30
    said = ""
    while "vision_events_outbox_events 0.0" not in said and time.monotonic() < ends_at_s:
        time.sleep(0.05)
        with suppress(OSError), urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            said = answer.read().decode()
    return said


def run(engine, **inputs):
    """The step's outputs, and how long it took."""
    import numpy as np  # noqa: PLC0415

    started_s = time.monotonic()
    [row] = engine.run(runtime_parameters={"image": np.full((48, 64, 3), 90, np.uint8), **inputs})
    return row["event"], time.monotonic() - started_s


def a_thing_at(number):
    """Frame by frame, a thing as a tracker knows it."""
    box = {"x": 30 + number, "y": 20, "width": 20, "height": 20, "confidence": 0.9, "class": "car"}
    box |= {"class_id": 0, "tracker_id": 7, "detection_id": str(number)}
    tracked = {"image": {"width": 64, "height": 48}, "predictions": [box]}
    moment = datetime.now(timezone.utc) + timedelta(seconds=number / 10)
    return {"tracked": [tracked], "now": moment.isoformat()}


def workflow(fields):
    """A workflow of one step, which records every run of it."""
    step = {
        "type": "vision_event_block/vision_event@v1",
        "name": "event",
        "input_image": "$inputs.image",
        "event_type": "custom",
        "use_case": "bottles",
        "cooldown_seconds": 0,
    }
    inputs = [{"type": "WorkflowImage", "name": "image"}]
    if fields.get("type") == TRACK_EVENT:
        del step["cooldown_seconds"]
        kind = ["object_detection_prediction"]
        inputs.append({"type": "WorkflowBatchInput", "name": "tracked", "kind": kind})
        inputs.append({"type": "WorkflowParameter", "name": "now"})
    return {
        "version": "1.0",
        "inputs": inputs,
        "steps": [{**step, **fields}],
        "outputs": [{"type": "JsonField", "name": "event", "selector": "$steps.event.*"}],
    }


def our_threads():
    """The names of the threads that the block has started."""
    return [
        thread.name for thread in threading.enumerate() if thread.name.startswith("vision-event")
    ]


def carry_out_in_forks(engine_class):
    """Has each line of the input carried out by a fork, which then ends as any script does."""
    # Loads all blocks, which is slow, but makes none of ours: that would read our settings.
    engine_class.init(
        workflow_definition={"version": "1.0", "inputs": [], "steps": [], "outputs": []}
    )
    gc.freeze()  # a fork that ends would look at every object of the host, which takes seconds
    print("ready", flush=True)  # noqa: T201
    while line := sys.stdin.readline():
        task = json.loads(line)
        child = os.fork()
        if child == 0:
            with open(task["says"], "wb") as says, open(task["logs"], "wb") as logs:  # noqa: PTH123
                os.dup2(says.fileno(), 1)
                os.dup2(logs.fileno(), 2)
            carry_out(task, engine_class)
            return
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        ended = {"status": status, "ended_at_s": time.monotonic()}
        print(json.dumps(ended), flush=True)  # noqa: T201


if __name__ == "__main__":
    if len(sys.argv) > 2:
        carry_out(json.loads(sys.argv[2]), import_engine(sys.argv[1]))
    else:
        carry_out_in_forks(import_engine(sys.argv[1]))

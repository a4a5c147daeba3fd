"""Three of the sample workflows on generated pictures, through the real engine.

    python sample_workflows/demo.py

What the workflows send goes to a stand-in of the Vision Events API in this very process.
"""

# ruff: noqa: INP001 - a script beside its data, and no package

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from vision_event_block.testing import StandInApi, scenes

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLES = Path(__file__).resolve().parent
#: What the host logs and warns about concerns its own insides; here it would look like trouble.
QUIET = {
    "ACTIVE_LEARNING_ENABLED": "False",
    "CORE_MODELS_ENABLED": "False",
    "DISABLE_VERSION_CHECK": "True",
    "LOG_LEVEL": "ERROR",
    "METRICS_ENABLED": "False",
    "TELEMETRY_OPT_OUT": "True",
}
ARRIVES_WITHIN_S = 10.0


@dataclass(frozen=True)
class Frame:
    """One picture on its way into a workflow."""

    title: str
    workflow: str
    inputs: dict[str, Any]


def frames() -> Iterator[Frame]:
    """What the cameras see, in order."""
    part = scenes.part("PART-0042").picture
    yield Frame("part with a code", "quality_check", {"image": part})
    yield Frame("the same part, still there", "quality_check", {"image": part})
    for title, seen in (
        ("part with a torn label", scenes.part("PART-0043", is_readable=False)),
        ("part with a code", scenes.part("PART-0044")),
    ):
        yield Frame(title, "quality_check", {"image": seen.picture})
    tray = {"image": scenes.tray(7), "template": scenes.cap()}
    yield Frame("tray of caps", "inventory_count", tray)
    for title, hard_hats in (
        ("three people with hard hats", (True, True, True)),
        ("one of three without", (True, False, True)),
    ):
        floor = scenes.floor(hard_hats)
        inputs = {"image": floor.picture, "predictions": [floor.predictions]}
        yield Frame(title, "safety_alert", inputs)


def load_engine(api_url: str, outbox: str) -> Any:
    """The host's engine with this project's block, which sends to that address."""
    os.environ.update(QUIET)
    os.environ.update(
        {
            "API_BASE_URL": api_url,
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "ROBOFLOW_API_KEY": "key-of-the-demo",
            "VISION_EVENT_API_URL": api_url,
            "VISION_EVENT_OUTBOX": outbox,
            "WORKFLOWS_PLUGINS": "vision_event_block",
        }
    )
    warnings.simplefilter("ignore")
    # First the server: it brings the settings that the engine takes over when it is imported.
    import inference.core  # noqa: F401, PLC0415 - and both only once the environment is set
    from roboflow_workflows.execution_engine.core import ExecutionEngine  # noqa: PLC0415

    logging.disable(logging.INFO)
    return ExecutionEngine


def run_all(engine_class: Any) -> Iterator[tuple[Frame, dict[str, Any]]]:
    """Each frame with what its workflow answered."""
    engines: dict[str, Any] = {}
    for frame in frames():
        if frame.workflow not in engines:
            definition = json.loads((SAMPLES / f"{frame.workflow}.json").read_text("utf-8"))
            engines[frame.workflow] = engine_class.init(
                workflow_definition=definition, init_parameters={}
            )
        [answer] = engines[frame.workflow].run(runtime_parameters=frame.inputs)
        yield frame, answer


def table_of(answers: list[tuple[Frame, dict[str, Any]]], api: StandInApi) -> Table:
    """A row for each frame: what the block answered, and what the API has of it."""
    table = Table(title="What went in, and what arrived", show_lines=True)
    for heading in ("frame", "block, API", "event", "pictures"):
        table.add_column(heading)
    for frame, answer in answers:
        event = api.events.get(answer["event_id"] or "")
        name = f"{frame.title}\n[dim]{frame.workflow}[/]"
        status = answer["delivery_status"] or "did not run"
        if event is None:
            table.add_row(name, f"{status}\n[yellow]nothing sent[/]")
        else:
            status = f"{status}\n[green]arrived[/]"
            table.add_row(name, status, "\n".join(event_lines(event)), pictures_of(event, api))
    return table


def event_lines(event: dict[str, Any]) -> list[str]:
    """What the event says."""
    return [
        f"[bold]{event['eventType']}[/]",
        *(f"{key}: {value}" for key, value in event["eventData"].items()),
        *annotation_counts(event),
        f"[dim]{event['timestamp'][11:23]} UTC[/]",
    ]


def annotation_counts(event: dict[str, Any]) -> list[str]:
    """How many of each class."""
    classes = [
        entry["class"]
        for image in event["images"]
        for entries in image.values()
        if isinstance(entries, list)
        for entry in entries
    ]
    return [f"{classes.count(name)} x {name}" for name in dict.fromkeys(classes)]


def pictures_of(event: dict[str, Any], api: StandInApi) -> str:
    """Each picture with its size, as it was uploaded."""
    lines = []
    for image in event["images"]:
        for title, key in (("input", "inputSourceId"), ("output", "sourceId")):
            if key in image:
                content = api.uploads[image[key]].picture
                pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
                height, width = pixels.shape[:2]
                lines.append(f"{title} {width}x{height}\n[dim]{len(content) / 1024:.0f} kB[/]")
    return "\n".join(lines)


def main() -> int:
    """The process's exit code."""
    console = Console()
    console.print(
        "[bold]Nothing leaves this machine:[/] the events go to a stand-in API in here.\n"
    )
    with StandInApi() as api, tempfile.TemporaryDirectory() as outbox:
        started_s = time.monotonic()
        with console.status("Loading Roboflow Inference. This takes about 20 seconds."):
            engine_class = load_engine(api.url, outbox)
        console.print(f"Roboflow Inference loaded in {time.monotonic() - started_s:.0f} s.")
        with console.status("Running the workflows."):
            answers = list(run_all(engine_class))
            sent = [answer for _, answer in answers if answer["event_id"]]
            api.wait_for_events(len(sent), ARRIVES_WITHIN_S)
        console.print(table_of(answers, api))
        console.print(
            "stored: the event was on disk before the workflow went on, and was sent in the "
            "background.\n"
            "throttled: the Cooldown; this part had just been recorded.\n"
            "did not run: a Continue If let only frames with somebody in danger through.\n"
        )
        console.print("The first event as it was sent (POST /vision-events):")
        console.print_json(data=api.events[sent[0]["event_id"]])
        console.print(f"\nThe workflows are in {SAMPLES}; its README.md says how to run your own.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The official block and ours in the same workflow on the real engine."""

from __future__ import annotations

import os
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import contextmanager
    from pathlib import Path
else:
    from contextlib import contextmanager

OFFICIAL = "roboflow_core/roboflow_vision_events@v1"
OURS = "vision_event_block/vision_event@v1"


@dataclass(frozen=True)
class Contender:
    """A block with its setting."""

    name: str
    block: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    #: What the pipeline gives to the official block; ours has its own.
    threads: int | None = None


def official(threads: int, **fields: Any) -> Contender:
    """The official block with this many threads for its background work."""
    return Contender(f"official, {threads} threads", OFFICIAL, fields, threads)


def ours(durability: str, **fields: Any) -> Contender:
    """Ours."""
    return Contender(f"ours, {durability}", OURS, {"durability": durability, **fields})


def set_up_host(url: str, outbox: Path, **more: str) -> None:
    """Imports the host so that both blocks talk to the stand-in."""
    os.environ.update(
        {
            "ACTIVE_LEARNING_ENABLED": "False",
            "API_BASE_URL": url,
            "CORE_MODELS_ENABLED": "False",
            "DISABLE_VERSION_CHECK": "True",
            "LOG_LEVEL": "ERROR",
            "METRICS_ENABLED": "False",
            "ROBOFLOW_API_KEY": "made-up",
            "TELEMETRY_OPT_OUT": "True",
            "VISION_EVENT_OUTBOX": str(outbox),
            "WORKFLOWS_PLUGINS": "vision_event_block",
            **more,
        }
    )
    warnings.simplefilter("ignore")
    import inference.core  # noqa: F401


class Running:
    """A contender's workflow, compiled."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def run(self, image: Any, drawn: Any, predictions: Any) -> dict[str, Any]:
        """The block's outputs for a frame, and for what was drawn on it."""
        [row] = self._engine.run(
            runtime_parameters={"image": image, "drawn": drawn, "predictions": predictions},
            serialize_results=False,
        )
        outputs: dict[str, Any] = row["event"]
        return outputs


@contextmanager
def running(contender: Contender) -> Iterator[Running]:
    """The workflow; on exit its background work is finished."""
    from roboflow_workflows.execution_engine.core import ExecutionEngine

    with ExitStack() as stack:
        init = {"workflows_core.api_key": "made-up"}
        if contender.threads:
            pool = stack.enter_context(ThreadPoolExecutor(contender.threads))
            init["workflows_core.thread_pool_executor"] = pool
        engine = ExecutionEngine.init(
            workflow_definition=_workflow(contender), init_parameters=init
        )
        stack.enter_context(closing(engine) if hasattr(engine, "close") else ExitStack())
        yield Running(engine)


def _workflow(contender: Contender) -> dict[str, Any]:
    step = {
        "type": contender.block,
        "name": "event",
        "input_image": "$inputs.image",
        "output_image": "$inputs.drawn",
        "predictions": "$inputs.predictions",
        "event_type": "custom",
        "solution": "bench",
        "cooldown_seconds": 0,
        **contender.fields,
    }
    kind = "object_detection_prediction"
    return {
        "version": "1.0",
        "inputs": [
            {"type": "WorkflowImage", "name": "image"},
            {"type": "WorkflowImage", "name": "drawn"},
            {"type": "WorkflowBatchInput", "name": "predictions", "kind": [kind]},
        ],
        "steps": [step],
        "outputs": [{"type": "JsonField", "name": "event", "selector": "$steps.event.*"}],
    }


#: A frame, and the same frame with the detections drawn on it.
Pictures = tuple[Any, Any]


@dataclass(frozen=True)
class Drive:
    """How long it took until the API had all events."""

    seconds: float
    cpu_seconds: float
    events: int

    @property
    def per_s(self) -> float:
        """Events a second."""
        return self.events / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Processor time for each, of all threads, without the API's."""
        return self.cpu_seconds / self.events * 1e3


def drive(workflow: Running, api: Any, pictures: Pictures, predictions: Any, events: int) -> Drive:
    """Runs the workflow this many times, as fast as possible, and waits for the last event."""
    api.begin()
    started_s, cpu_s = time.perf_counter(), time.process_time()
    for _ in range(events):
        outputs = workflow.run(*pictures, predictions)
        if outputs["error_status"]:
            raise RuntimeError(outputs["message"])
    api.wait(events, 300.0)
    return Drive(time.perf_counter() - started_s, time.process_time() - cpu_s, events)

"""The real engine of the host, set up once per process, and a stand-in API for each test."""

from __future__ import annotations

import os
from contextlib import closing

from tests.host_environment import HOST_ENVIRONMENT

os.environ.update(HOST_ENVIRONMENT)  # the host reads it when it is imported

import cv2
import numpy as np
import pytest

from vision_event_block.testing import StandInApi

API_KEY = os.environ["ROBOFLOW_API_KEY"]


@pytest.fixture(scope="session")
def _host():
    """The host, imported in the order that gives the engine the server's settings."""
    import inference.core  # noqa: F401, PLC0415
    import roboflow_workflows.core_steps.sinks.roboflow.vision_events.v1 as official  # noqa: PLC0415
    from roboflow_workflows import environment  # noqa: PLC0415

    return environment, official


@pytest.fixture
def api(_host, monkeypatch):
    """A stand-in API to which the host, our block and the official block talk."""
    with StandInApi() as stand_in:
        for module in _host:
            monkeypatch.setattr(module, "API_BASE_URL", stand_in.url)
        yield stand_in


@pytest.fixture
def compiled(_host):
    """A function that compiles a workflow on the real engine; closed after the test."""
    from roboflow_workflows.execution_engine.core import ExecutionEngine  # noqa: PLC0415

    engines = []

    def compile_workflow(specification, **init_parameters):
        engine = ExecutionEngine.init(
            workflow_definition=specification,
            init_parameters={f"workflows_core.{k}": v for k, v in init_parameters.items()},
        )
        engines.append(closing(engine))
        return engine

    yield compile_workflow
    for engine in engines:
        engine.__exit__()


@pytest.fixture
def photo():
    """640 x 480, smooth, so that JPEG changes it little."""
    rows, columns = np.mgrid[0:480, 0:640]
    picture = np.stack([columns / 4, rows / 3, 255 - columns / 4], axis=2).astype(np.uint8)
    cv2.circle(picture, (320, 240), 80, (40, 200, 240), -1)
    return picture

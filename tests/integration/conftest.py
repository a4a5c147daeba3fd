"""The real engine of the host, set up once per process, and a stand-in API for each test."""

from __future__ import annotations

import atexit
import os
import shutil
from importlib import import_module

from tests.host_environment import ENGINE, HOST_ENVIRONMENT, IS_OLD_HOST

os.environ.update(HOST_ENVIRONMENT)  # the host reads it when it is imported

import cv2
import numpy as np
import pytest

from vision_event_block import settings
from vision_event_block.delivery.shared_dispatch import shared_dispatch
from vision_event_block.testing import StandInApi

API_KEY = os.environ["ROBOFLOW_API_KEY"]


@pytest.fixture(scope="session")
def _host():
    """The host's modules that hold the API's address.

    Imported in the order that gives the engine the server's settings.
    """
    import inference.core  # noqa: F401, PLC0415

    environment = "inference.core.env" if IS_OLD_HOST else f"{ENGINE}.environment"
    official = f"{ENGINE}.core_steps.sinks.roboflow.vision_events.v1"
    return import_module(environment), import_module(official)


@pytest.fixture(autouse=True)
def nothing_goes_on():
    """After each test, once its variables are gone: what it leaves would go on beside the next.

    An event that its API never took is tried for ever, and a thread of it may have read the
    settings last.
    """
    yield
    shared = shared_dispatch()
    dispatch = shared._dispatch
    if dispatch is not None:
        dispatch.close(0.0)
        atexit.unregister(shared._close_at_exit)
        shared._dispatch = None
        shared_dispatch.forget()
        shutil.rmtree(HOST_ENVIRONMENT["VISION_EVENT_OUTBOX"], ignore_errors=True)
    settings.current.cache_clear()


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
    engine_class = import_module(f"{ENGINE}.execution_engine.core").ExecutionEngine
    engines = []

    def compile_workflow(specification, **init_parameters):
        engine = engine_class.init(
            workflow_definition=specification,
            init_parameters={f"workflows_core.{k}": v for k, v in init_parameters.items()},
        )
        engines.append(engine)
        return engine

    yield compile_workflow
    for engine in engines:
        if hasattr(engine, "close"):  # an old engine leaves its blocks as they are
            engine.close()


@pytest.fixture
def photo():
    """640 x 480, smooth, so that JPEG changes it little."""
    rows, columns = np.mgrid[0:480, 0:640]
    picture = np.stack([columns / 4, rows / 3, 255 - columns / 4], axis=2).astype(np.uint8)
    cv2.circle(picture, (320, 240), 80, (40, 200, 240), -1)
    return picture

"""The environment in which the tests run the host, in this process and in others."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from importlib.util import find_spec
from typing import Final

import pytest

#: The engine is a package of its own since `inference` 1.6.1.
IS_OLD_HOST: Final = find_spec("roboflow_workflows") is None
ENGINE: Final = "inference.core.workflows" if IS_OLD_HOST else "roboflow_workflows"

#: A folder for each test process: one that ended badly leaves nothing to the next.
_OUTBOX: Final = tempfile.mkdtemp(prefix="vision-event-tests-")
atexit.register(shutil.rmtree, _OUTBOX, ignore_errors=True)

HOST_ENVIRONMENT: Final = {
    "ACTIVE_LEARNING_ENABLED": "False",
    # Whatever forgets to point the host elsewhere reaches a port where nobody listens.
    "API_BASE_URL": "http://127.0.0.1:9",
    "CORE_MODELS_ENABLED": "False",
    "DISABLE_VERSION_CHECK": "True",
    "METRICS_ENABLED": "False",
    "ROBOFLOW_API_KEY": "key-of-the-tests",
    "TELEMETRY_OPT_OUT": "True",
    "VISION_EVENT_MAX_BACKOFF_S": "0.2",
    "VISION_EVENT_OUTBOX": _OUTBOX,
    "VISION_EVENT_OUTBOX_MIN_FREE_BYTES": "0",
    "WORKFLOWS_PLUGINS": "vision_event_block",
}


def host_environment(**changes: str) -> dict[str, str]:
    """The environment for a process of its own.

    Not simply ours: the host rewrites WORKFLOWS_PLUGINS in the process that imports it.
    """
    return {**os.environ, **HOST_ENVIRONMENT, **changes}


def needs_new_host(reason: str) -> pytest.MarkDecorator:
    """Skips the test on a host that has not yet what it is about."""
    return pytest.mark.skipif(IS_OLD_HOST, reason=f"before inference 1.6.1, {reason}")

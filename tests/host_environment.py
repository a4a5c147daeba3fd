"""The environment in which the tests run the host, in this process and in others."""

from __future__ import annotations

import os
from typing import Final

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
    "WORKFLOWS_PLUGINS": "vision_event_block",
}


def host_environment(**changes: str) -> dict[str, str]:
    """The environment for a process of its own.

    Not simply ours: the host rewrites WORKFLOWS_PLUGINS in the process that imports it.
    """
    return {**os.environ, **HOST_ENVIRONMENT, **changes}

"""Vision Event: a Roboflow Workflows block that records what a camera saw.

The host finds the block through `load_blocks`. Importing this package imports no host: the
engine freezes its settings with its first import, so that must happen in the host's own order.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import Any

__version__ = "0.2.0"
__all__ = ["BLOCKS_SOURCE", "REGISTERED_INITIALIZERS", "__version__", "load_blocks"]

#: The host passes API key, cache and platform client only to blocks of this source.
BLOCKS_SOURCE = "workflows_core"


def _host_hands_out_initializers() -> bool:
    """Whether the engine knows `BLOCKS_SOURCE`, as it does since it moved to its own package."""
    old_loader = "inference.core.workflows.execution_engine.introspection.blocks_loader"
    if old_loader in sys.modules:
        # On a new engine the old name leads to a module that carries the new name.
        return sys.modules[old_loader].__name__.startswith("roboflow_workflows")
    return find_spec("roboflow_workflows") is not None


#: On a new host this must stay empty: its contents would replace the host's own values for
#: every core block of the process. An old host hands a plugin nothing, so it gets defaults here.
REGISTERED_INITIALIZERS: dict[str, Any] = (
    {}
    if _host_hands_out_initializers()
    else {
        "api_key": lambda: os.environ.get("ROBOFLOW_API_KEY") or os.environ.get("API_KEY"),
        "background_tasks": None,
        "cache": None,
        "disable_sinks": False,
        "platform_client": None,
    }
)


def load_blocks() -> list[type[Any]]:
    """The blocks of this plugin; imports the host's engine."""
    from vision_event_block.blocks.track_event import TrackEventBlock  # noqa: PLC0415
    from vision_event_block.blocks.vision_event import VisionEventBlock  # noqa: PLC0415

    return [VisionEventBlock, TrackEventBlock]

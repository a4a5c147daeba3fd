"""A plugin of the host with two blocks that know a recording; only the demo loads it.

`vision_event_demo/scripted_model@v1` stands in for a model: its `model_id` is the recording's
script, and it answers for each frame what the script says. `vision_event_demo/recording@v1`
tells when a frame was taken, and of which part.

The blocks themselves are made in `load_blocks`, so that this module imports no host.
"""

from __future__ import annotations

from typing import Any, Final

MODEL_TYPE: Final = "vision_event_demo/scripted_model@v1"
RECORDING_TYPE: Final = "vision_event_demo/recording@v1"


def load_blocks() -> list[type[Any]]:
    """The blocks of this plugin; imports the host's engine."""
    from vision_event_block.demo.blocks import RecordingBlock, ScriptedModelBlock  # noqa: PLC0415

    return [ScriptedModelBlock, RecordingBlock]

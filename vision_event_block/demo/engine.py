"""Roboflow Inference: loaded without its noise, and playing recordings."""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vision_event_block.demo.recordings import Recording
    from vision_event_block.demo.streams import Stream

PLUGINS: Final = "vision_event_block,vision_event_block.demo.model"
#: How long a pipeline's end may wait for its last events.
_CLOSE_TIMEOUT_S: Final = 30

_OFF: Final = (
    "ACTIVE_LEARNING_ENABLED",
    "CORE_MODELS_ENABLED",
    "ENABLE_TENSOR_DATA_REPRESENTATION",
    "METRICS_ENABLED",
    # Models that are not used. Each costs time to import, or warns that it is not installed.
    "CORE_MODEL_CLIP_ENABLED",
    "CORE_MODEL_DOCTR_ENABLED",
    "CORE_MODEL_EASYOCR_ENABLED",
    "CORE_MODEL_GAZE_ENABLED",
    "CORE_MODEL_GROUNDINGDINO_ENABLED",
    "CORE_MODEL_PE_ENABLED",
    "CORE_MODEL_PPOCR_ENABLED",
    "CORE_MODEL_SAM_ENABLED",
    "CORE_MODEL_SAM2_ENABLED",
    "CORE_MODEL_SAM3_ENABLED",
    "CORE_MODEL_TROCR_ENABLED",
    "CORE_MODEL_YOLO_WORLD_ENABLED",
    "COSMOS3_ENABLED",
    "DEPTH_ESTIMATION_ENABLED",
    "FLORENCE2_ENABLED",
    "GLM_OCR_ENABLED",
    "MOONDREAM2_ENABLED",
    "PALIGEMMA_ENABLED",
    "QWEN_2_5_ENABLED",
    "QWEN_3_5_ENABLED",
    "QWEN_3_8_ENABLED",
    "QWEN_3_ENABLED",
    "SMOLVLM2_ENABLED",
    "VJEPA2_1_ENABLED",
)


@dataclass(frozen=True)
class Played:
    """What came out of a workflow while a recording went through it."""

    frames: int
    event_ids: tuple[str, ...]
    #: What the block said of events that need help, each once.
    troubles: tuple[str, ...]


def load(api_url: str, folder: Path) -> Any:
    """The host's `InferencePipeline`, whose events go to this address.

    It changes the environment of this process: nothing that belongs to the user, neither a key
    nor an outbox, is touched by what runs here.

    Args:
        api_url: Of the local server. Whatever else the host might ask, it asks there too.
        folder: For events on their way, and for what the host keeps.
    """
    for name in list(os.environ):
        if name.startswith("VISION_EVENT_") or name in ("ROBOFLOW_API_KEY", "API_KEY"):
            del os.environ[name]
    os.environ.update(
        {
            **dict.fromkeys(_OFF, "False"),
            "API_BASE_URL": api_url,
            "DISABLE_VERSION_CHECK": "True",
            "LOG_LEVEL": "ERROR",
            "MODEL_CACHE_DIR": str(folder / "host"),
            "TORCHINDUCTOR_CACHE_DIR": str(folder / "host"),
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "TELEMETRY_OPT_OUT": "True",
            "VISION_EVENT_API_URL": api_url,
            "VISION_EVENT_CLOSE_TIMEOUT_S": str(_CLOSE_TIMEOUT_S),
            "VISION_EVENT_OUTBOX": str(folder / "outbox"),
            "VISION_EVENT_OUTBOX_MIN_FREE_BYTES": "0",
            "WORKFLOWS_PLUGINS": PLUGINS,
        }
    )
    _hush()
    logging.disable(logging.WARNING)
    from inference import InferencePipeline  # noqa: PLC0415 -- reads its settings when imported

    logging.disable(logging.NOTSET)
    logging.getLogger().setLevel(logging.ERROR)
    logging.getLogger("vision_event_block").setLevel(logging.WARNING)
    return InferencePipeline


def play(
    pipeline_class: Any, stream: Stream, recording: Recording, on_frame: Callable[[], None]
) -> Played:
    """Plays a recording to its end. Events are on their way or delivered when it returns."""
    answers: list[dict[str, Any]] = []

    def keep(answer: dict[str, Any], _frame: Any) -> None:
        answers.append(answer)
        on_frame()

    pipeline = pipeline_class.init_with_workflow(
        video_reference=str(recording.video),
        workflow_specification=stream.definition(recording),
        workflows_parameters=stream.inputs(),
        on_prediction=keep,
    )
    _hush()  # loading blocks brings libraries that turn their own warnings on
    try:
        pipeline.start(use_main_thread=True)
    except BaseException:
        pipeline.terminate()
        raise
    finally:
        pipeline.join()
    return Played(
        frames=len(answers),
        # An event that was replaced is the same event.
        event_ids=tuple(
            dict.fromkeys(answer["event_id"] for answer in answers if answer["event_id"])
        ),
        troubles=tuple(
            dict.fromkeys(answer["message"] for answer in answers if answer["error_status"])
        ),
    )


def _hush() -> None:
    """What the host warns of is about its insides; to a newcomer it would look like trouble."""
    warnings.simplefilter("ignore")

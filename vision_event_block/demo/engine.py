"""Roboflow Inference, loaded without its log noise, and the playing of recordings with it."""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vision_event_block.demo.streams import Recording, Stream

PLUGINS: Final = "vision_event_block,vision_event_block.demo.model"
#: How long a pipeline may wait for its last events when it ends.
_CLOSE_TIMEOUT_S: Final = 30

_OFF: Final = (
    "ACTIVE_LEARNING_ENABLED",
    "CORE_MODELS_ENABLED",
    "ENABLE_TENSOR_DATA_REPRESENTATION",
    "METRICS_ENABLED",
    # Unused models. Each takes time to import, or warns that it is not installed.
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
    """What a workflow returned for a recording."""

    frames: int
    event_ids: tuple[str, ...]
    #: The block's messages about failed events, without repeats.
    troubles: tuple[str, ...]


def load(api_url: str, folder: Path) -> Any:
    """The host's `InferencePipeline`, set up to send its events to this address.

    It changes the environment of this process, so that nothing here uses the user's key or
    outbox.

    Args:
        api_url: The local server. All other requests of the host go there as well.
        folder: For the outbox, and for the host's caches.
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
    """Plays a recording to its end. When it returns, all events are delivered or being sent."""
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
    _hush()  # loading blocks imports libraries that turn their own warnings on
    try:
        pipeline.start(use_main_thread=True)
    except BaseException:
        pipeline.terminate()
        raise
    finally:
        pipeline.join()
    return Played(
        frames=len(answers),
        # A replaced event keeps its id, and counts once.
        event_ids=tuple(
            dict.fromkeys(answer["event_id"] for answer in answers if answer["event_id"])
        ),
        troubles=tuple(
            dict.fromkeys(answer["message"] for answer in answers if answer["error_status"])
        ),
    )


def _hush() -> None:
    """The host's warnings are about its internals; to a newcomer they would look like errors."""
    warnings.simplefilter("ignore")

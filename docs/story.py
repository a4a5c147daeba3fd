"""Makes the picture of a story in track-events.md: `python docs/story.py`.

Draws a clip of a belt from which a carton falls, plays it through a pipeline whose Vision Event is
triggered by the fall, and lays the pictures of the recorded event side by side. It takes
about a minute.
"""

# ruff: noqa: INP001 -- a script

from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from vision_event_block.contract.names import SOURCE_IDS
from vision_event_block.testing import StandInApi

if TYPE_CHECKING:
    from collections.abc import Mapping

SHEET = Path(__file__).parent / "images" / "story.jpg"
WIDTH, HEIGHT, FPS, SECONDS = 1280, 720, 30, 6
#: The carton reaches the end of the belt, and then the floor.
FALLS_S, LIES_S = 3.2, 3.75
COLUMNS, TILE_WIDTH, TILE_HEIGHT, CAPTION = 3, 320, 180, 30
BELT_END, BELT_TOP, FLOOR, SIZE = 860, 360, 640, 130


def main() -> int:
    """Writes the sheet."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, StandInApi() as api:
        clip = Path(folder) / "belt.mp4"
        film(clip)
        play(clip, api.url, Path(folder) / "outbox")
        [event] = api.wait_for_events(1)
        pictures = {key: upload.picture for key, upload in api.uploads.items()}
        drawn = sheet(event, pictures)
    cv2.imwrite(str(SHEET), drawn, [cv2.IMWRITE_JPEG_QUALITY, 80])
    sys.stdout.write(f"{SHEET.name}: {SHEET.stat().st_size / 1e3:.0f} kB\n")
    return 0


def film(path: Path) -> None:
    """The clip; each frame shows its time, so that the labels can be checked by eye."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), FPS, (WIDTH, HEIGHT))
    for number in range(SECONDS * FPS):
        writer.write(frame((number + 1) / FPS))  # the host's frame numbers begin with 1
    writer.release()


def frame(time_s: float) -> np.ndarray[Any, Any]:
    """What the camera sees at a time."""
    pixels = np.full((HEIGHT, WIDTH, 3), (214, 208, 200), np.uint8)
    cv2.rectangle(pixels, (0, FLOOR), (WIDTH, HEIGHT), (150, 146, 142), -1)
    cv2.rectangle(pixels, (0, BELT_TOP), (BELT_END, BELT_TOP + 26), (70, 66, 62), -1)
    for left in range(60, BELT_END, 160):
        cv2.rectangle(pixels, (left, BELT_TOP + 26), (left + 16, FLOOR), (120, 112, 104), -1)
        cv2.circle(pixels, (left + 8, BELT_TOP + 13), 10, (150, 146, 142), -1)
    for start_s in (FALLS_S, FALLS_S + 1.9):
        carton(pixels, time_s - start_s, falls=start_s == FALLS_S)
    cv2.putText(
        pixels, f"{time_s:.2f}", (36, 84), cv2.FONT_HERSHEY_SIMPLEX, 2, (90, 84, 78), 4, cv2.LINE_AA
    )
    return pixels


def carton(pixels: np.ndarray[Any, Any], since_end_s: float, *, falls: bool) -> None:
    """A carton some time after it reached the end of the belt; the second stops before that."""
    x, y, degrees = BELT_END - 40 + 300 * since_end_s, BELT_TOP - SIZE / 2, 0.0
    if not falls:
        x = min(x, BELT_END - 220)
    elif since_end_s > 0:
        air_s = min(since_end_s, LIES_S - FALLS_S)
        x, degrees = BELT_END - 40 + 300 * air_s, 150 * air_s / (LIES_S - FALLS_S) + 30
        y = min(BELT_TOP - SIZE / 2 + 1150 * air_s**2, FLOOR - SIZE * 0.45)
    corners = cv2.boxPoints(((x, y), (SIZE, SIZE), degrees))
    cv2.fillPoly(pixels, [corners.astype(np.int32)], (96, 148, 196), cv2.LINE_AA)
    cv2.polylines(pixels, [corners.astype(np.int32)], True, (60, 100, 140), 4, cv2.LINE_AA)  # noqa: FBT003
    tape = cv2.boxPoints(((x, y), (SIZE, 22), degrees))
    cv2.fillPoly(pixels, [tape.astype(np.int32)], (130, 180, 220), cv2.LINE_AA)


def play(clip: Path, api_url: str, outbox: Path) -> None:
    """Runs the clip through a pipeline; a step of three lines detects the fallen carton."""
    os.environ.update(
        {
            "API_BASE_URL": api_url,
            "CORE_MODELS_ENABLED": "False",
            "DISABLE_VERSION_CHECK": "True",
            "TELEMETRY_OPT_OUT": "True",
            "VISION_EVENT_API_URL": api_url,
            "VISION_EVENT_OUTBOX": str(outbox),
            "WORKFLOWS_PLUGINS": "vision_event_block",
        }
    )
    from inference import InferencePipeline  # noqa: PLC0415 - reads the environment

    pipeline = InferencePipeline.init_with_workflow(
        video_reference=str(clip),
        workflow_specification=workflow(),
        api_key="made-up",
        on_prediction=lambda *_: None,
    )
    pipeline.start(use_main_thread=True)
    pipeline.join()


def workflow() -> dict[str, Any]:
    """One alert, with the seconds before it and after it."""
    image = {"type": "DynamicInputDefinition", "selector_types": ["input_image"]}
    fall = {
        "type": "DynamicBlockDefinition",
        "manifest": {
            "type": "ManifestDescription",
            "block_type": "Fall",
            "inputs": {"image": image},
            "outputs": {"is_seen": {"type": "DynamicOutputDefinition", "kind": ["boolean"]}},
        },
        "code": {
            "type": "PythonCode",
            "run_function_code": f"""
def run(self, image):
    seen_s = image.video_metadata.frame_number / image.video_metadata.fps
    return {{"is_seen": seen_s >= {LIES_S}}}
""",
        },
    }
    return {
        "version": "1.0",
        "inputs": [{"type": "WorkflowImage", "name": "image"}],
        "dynamic_blocks_definitions": [fall],
        "steps": [
            {"type": "Fall", "name": "fall", "image": "$inputs.image"},
            {
                "type": "vision_event_block/vision_event@v1",
                "name": "event",
                "input_image": "$inputs.image",
                "event_type": "safety_alert",
                "alert_type": "fallen_carton",
                "severity": "high",
                "use_case": "belt",
                "trigger": "$steps.fall.is_seen",
                "cooldown_seconds": 60,
                "before_seconds": 2.5,
                "after_seconds": 1.5,
            },
        ],
        "outputs": [{"type": "JsonField", "name": "event", "selector": "$steps.event.*"}],
    }


def sheet(event: Mapping[str, Any], pictures: Mapping[str, bytes]) -> np.ndarray[Any, Any]:
    """The event's pictures in the order of time, the event's own framed."""
    tiles = [
        (
            float(image["label"].split()[0]) if image["label"].endswith(" s") else 0.0,
            "the event" if image["label"] == "workflow" else image["label"],
            pictures[image.get(SOURCE_IDS.output) or image[SOURCE_IDS.input]],
        )
        for image in event["images"]
    ]
    rows = -(-len(tiles) // COLUMNS)
    size = (rows * (TILE_HEIGHT + CAPTION) + 8, COLUMNS * (TILE_WIDTH + 8) + 8, 3)
    canvas = np.full(size, 255, np.uint8)
    for place, (_, label, content) in enumerate(sorted(tiles)):
        top = 8 + place // COLUMNS * (TILE_HEIGHT + CAPTION)
        left = 8 + place % COLUMNS * (TILE_WIDTH + 8)
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        canvas[top : top + TILE_HEIGHT, left : left + TILE_WIDTH] = cv2.resize(
            pixels, (TILE_WIDTH, TILE_HEIGHT), interpolation=cv2.INTER_AREA
        )
        is_event = label == "the event"
        colour = (40, 40, 200) if is_event else (70, 70, 70)
        if is_event:
            corner = (left + TILE_WIDTH - 1, top + TILE_HEIGHT - 1)
            cv2.rectangle(canvas, (left, top), corner, colour, 3)
        at = (left + 2, top + TILE_HEIGHT + 20)
        cv2.putText(canvas, label, at, cv2.FONT_HERSHEY_SIMPLEX, 0.55, colour, 1, cv2.LINE_AA)
    return canvas


if __name__ == "__main__":
    sys.exit(main())

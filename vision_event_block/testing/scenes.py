"""Generated pictures of a production line, for demonstrations and tests without a camera.

Every picture is BGR, 640 x 480, and the same on each call. Surfaces are smooth so that a JPEG
stays close to the original.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

WIDTH_PX, HEIGHT_PX = 640, 480
MAX_CAPS = 12
CAP_SIDE_PX = 64

_STEEL = (190, 186, 182)
_DARK = (70, 66, 62)
_WHITE = (250, 250, 250)
_SKIN = (150, 180, 220)
_YELLOW = (40, 200, 240)
_MODULE_PX = 6
#: The white margin that OpenCV's encoder leaves around a code, in modules.
_QUIET_MODULES = 2


@dataclass(frozen=True)
class Part:
    """A part on the belt with a code on its label."""

    picture: Pixels
    #: x_min, y_min, x_max, y_max of the code without its quiet zone; None without a code.
    code_box_px: tuple[int, int, int, int] | None


@dataclass(frozen=True)
class Scene:
    """A picture with a detection model's predictions for it."""

    picture: Pixels
    #: In the format of a model on the Inference server, as a `WorkflowBatchInput` takes it.
    predictions: dict[str, Any]


def part(code: str | None, *, is_readable: bool = True) -> Part:
    """A part whose label carries the code as QR; a tear across it makes it unreadable."""
    picture = _belt()
    cv2.rectangle(picture, (170, 100), (470, 380), _STEEL, -1)
    for centre in ((200, 130), (440, 130), (200, 350), (440, 350)):
        cv2.circle(picture, centre, 12, _DARK, -1)
    if code is None:
        return Part(picture, None)
    modules = cv2.QRCodeEncoder.create().encode(code)
    label = np.kron(modules, np.ones((_MODULE_PX, _MODULE_PX), np.uint8))
    side_px = len(label)
    left, top = (WIDTH_PX - side_px) // 2, (HEIGHT_PX - side_px) // 2
    picture[top : top + side_px, left : left + side_px] = label[:, :, None]
    rim_px = _QUIET_MODULES * _MODULE_PX
    box = (left + rim_px, top + rim_px, left + side_px - rim_px, top + side_px - rim_px)
    if not is_readable:
        cv2.line(picture, box[:2], box[2:], _STEEL, 5 * _MODULE_PX)
    return Part(picture, box)


def cap() -> Pixels:
    """One cap seen from above, as a template to find in a `tray`."""
    picture = np.full((CAP_SIDE_PX, CAP_SIDE_PX, 3), _STEEL, np.uint8)
    middle = (CAP_SIDE_PX // 2, CAP_SIDE_PX // 2)
    cv2.circle(picture, middle, 26, (60, 60, 190), -1, cv2.LINE_AA)
    cv2.circle(picture, middle, 16, (90, 90, 230), -1, cv2.LINE_AA)
    cv2.circle(picture, (middle[0] - 6, middle[1] - 8), 4, _WHITE, -1, cv2.LINE_AA)
    return picture


def cap_centres_px(caps: int) -> list[tuple[int, int]]:
    """The positions of a tray's caps, row by row: x and y of each centre."""
    return [(110 + 140 * (index % 4), 110 + 130 * (index // 4)) for index in range(caps)]


def tray(caps: int) -> Pixels:
    """A tray with this many caps, at most `MAX_CAPS`."""
    if not 0 <= caps <= MAX_CAPS:
        raise ValueError(f"a tray holds 0 to {MAX_CAPS} caps, not {caps}")
    picture = np.full((HEIGHT_PX, WIDTH_PX, 3), _STEEL, np.uint8)
    cv2.rectangle(picture, (8, 8), (WIDTH_PX - 9, HEIGHT_PX - 9), _DARK, 6)
    half = CAP_SIDE_PX // 2
    for x, y in cap_centres_px(caps):
        picture[y - half : y + half, x - half : x + half] = cap()
    return picture


def floor(hard_hats: Sequence[bool]) -> Scene:
    """People on the factory floor, from left to right, with or without a hard hat; at most four."""
    picture = _belt()
    boxes = []
    for index, has_hat in enumerate(hard_hats):
        x = 100 + 145 * index
        cv2.rectangle(picture, (x - 30, 230), (x + 30, 400), (160, 110, 60), -1)
        cv2.circle(picture, (x, 200), 28, _SKIN, -1, cv2.LINE_AA)
        if has_hat:
            cv2.ellipse(picture, (x, 190), (32, 24), 0, 180, 360, _YELLOW, -1, cv2.LINE_AA)
        boxes.append(
            {
                "x": float(x),
                "y": 283.0,
                "width": 72.0,
                "height": 238.0,
                "confidence": round(0.93 - 0.04 * index, 2),
                "class": "hard-hat" if has_hat else "no-hard-hat",
                "class_id": int(has_hat),
            }
        )
    return Scene(picture, {"image": {"width": WIDTH_PX, "height": HEIGHT_PX}, "predictions": boxes})


def _belt() -> Pixels:
    rows, columns = np.mgrid[0:HEIGHT_PX, 0:WIDTH_PX]
    shade = 120 + 40 * np.sin(rows / HEIGHT_PX * np.pi) + 10 * columns / WIDTH_PX
    return np.stack([shade, shade, shade - 6], axis=2).astype(np.uint8)

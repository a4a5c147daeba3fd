"""People as flat figures, with the key points that a pose model would find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vision_event_block.demo.canvas import box_of

if TYPE_CHECKING:
    from vision_event_block.demo.canvas import Canvas, Colour, Point

#: The key points of COCO, in its order.
KEY_POINTS: Final = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip

_SKIN: Final = (132, 168, 214)
_HAIR: Final = (36, 44, 58)
_BOOTS: Final = (46, 48, 52)
_STRIPE: Final = (226, 236, 240)


@dataclass(frozen=True)
class Person:
    """Somebody in the picture, seen from the side or walking towards it."""

    #: Between the feet.
    x_px: float
    ground_px: float
    height_px: float
    #: 1 looks to the right, -1 to the left.
    facing: int = 1
    #: Where in a step they are, in turns.
    stride: float = 0.0
    #: How far the arms reach forward: 0 hanging, 1 straight ahead.
    reach: float = 0.0
    vest: Colour = (40, 140, 250)
    trousers: Colour = (110, 74, 44)
    #: The hard hat's colour; None without one.
    hat: Colour | None = None

    def points(self) -> dict[str, Point]:
        swing = 0.085 * float(np.sin(2 * np.pi * self.stride))
        # Left is the side away from the viewer of somebody who looks to the right.
        relative = {
            "nose": (0.062, 0.905), "left_eye": (0.048, 0.925), "right_eye": (0.030, 0.925),
            "left_ear": (0.010, 0.915), "right_ear": (-0.014, 0.915),
            "left_shoulder": (0.050, 0.800), "right_shoulder": (-0.055, 0.800),
            "left_hip": (0.036, 0.505), "right_hip": (-0.040, 0.505),
            "left_knee": (0.040 + swing * 0.8, 0.275), "right_knee": (-0.030 - swing * 0.8, 0.275),
            "left_ankle": (0.030 + swing * 1.5, 0.045),
            "right_ankle": (-0.030 - swing * 1.5, 0.045),
        }  # fmt: skip
        for side, offset in (("left", 0.05), ("right", -0.055)):
            forward = -swing if side == "left" else swing
            elbow = (offset + 0.02 + 0.13 * self.reach + forward, 0.645 + 0.08 * self.reach)
            relative[f"{side}_elbow"] = elbow
            relative[f"{side}_wrist"] = (
                elbow[0] + 0.03 + 0.15 * self.reach + forward,
                elbow[1] - 0.14 * (1 - self.reach) + 0.02 * self.reach,
            )
        return {
            name: (
                self.x_px + self.facing * relative[name][0] * self.height_px,
                self.ground_px - relative[name][1] * self.height_px,
            )
            for name in KEY_POINTS
        }

    def draw(self, canvas: Canvas) -> None:
        """Puts them into the picture, with a shadow on the floor."""
        x, ground, unit = self.x_px, self.ground_px, self.height_px
        feet = [(x + unit * 0.26 * float(np.cos(a)), ground + unit * 0.03 * float(np.sin(a)))
                for a in np.linspace(0, 2 * np.pi, 24)]  # fmt: skip
        canvas.shadow(feet, blur_px=6, strength=0.5)
        far_vest, far_trousers = _darker(self.vest), _darker(self.trousers)
        self._arm(canvas, "left", far_vest)
        self._leg(canvas, "left", far_trousers)
        self._leg(canvas, "right", self.trousers)
        self._torso(canvas)
        self._head(canvas)
        self._arm(canvas, "right", _darker(self.vest, 0.92))

    def detection(self, name: str, class_id: int, confidence: float) -> dict[str, Any]:
        """What an object detection model says of them."""
        head_px = (self.x_px, self.ground_px - self.height_px * 1.015)
        feet = (self.x_px, self.ground_px + self.height_px * 0.012)
        around = box_of([*self.points().values(), head_px, feet], margin_px=self.height_px * 0.035)
        return {**around, "confidence": confidence, "class": name, "class_id": class_id}

    def pose(self, confidence: float) -> dict[str, Any]:
        """What a pose model says of them: the box and the key points."""
        points = self.points()
        key_points = [
            {
                "x": round(points[name][0], 1),
                "y": round(points[name][1], 1),
                "class": name,
                "class_id": number,
                "confidence": round(confidence - 0.01 * (number % 5), 2),
            }
            for number, name in enumerate(KEY_POINTS)
        ]
        return {**self.detection("person", 0, confidence), "keypoints": key_points}

    def _leg(self, canvas: Canvas, side: str, colour: Colour) -> None:
        at, unit = self.points(), self.height_px
        (x, y) = ankle = at[f"{side}_ankle"]
        canvas.line([at[f"{side}_hip"], at[f"{side}_knee"], ankle], colour, unit * 0.085)
        toe = (x + self.facing * unit * 0.055, y + unit * 0.022)
        canvas.line([(x, y + unit * 0.018), toe], _BOOTS, unit * 0.05)

    def _arm(self, canvas: Canvas, side: str, colour: Colour) -> None:
        at, unit = self.points(), self.height_px
        shoulder, elbow, wrist = (at[f"{side}_{joint}"] for joint in ("shoulder", "elbow", "wrist"))
        canvas.line([shoulder, elbow], colour, unit * 0.066)
        canvas.line([elbow, wrist], colour, unit * 0.056)
        canvas.circle(wrist, unit * 0.032, _SKIN)

    def _torso(self, canvas: Canvas) -> None:
        at, unit = self.points(), self.height_px
        corners = [
            at[name] for name in ("left_shoulder", "right_shoulder", "right_hip", "left_hip")
        ]
        canvas.polygon(corners, self.vest)
        canvas.line([*corners, corners[0]], self.vest, unit * 0.075)
        for share in (0.38, 0.70):
            left, right = (
                _between(at[f"{side}_shoulder"], at[f"{side}_hip"], share)
                for side in ("left", "right")
            )
            canvas.line([left, right], _STRIPE, unit * 0.026)

    def _head(self, canvas: Canvas) -> None:
        unit = self.height_px
        x, y = self.x_px + self.facing * 0.006 * unit, self.ground_px - 0.915 * unit

        def at(forward: float, down: float) -> Point:
            return x + self.facing * forward * unit, y + down * unit

        def dome(radius: float, height: float, down: float) -> list[Point]:
            angles = np.linspace(np.pi, 2 * np.pi, 20)
            return [at(radius * float(np.cos(a)), down + height * float(np.sin(a))) for a in angles]

        canvas.line([at(0, 0.03), at(-0.008, 0.1)], _darker(_SKIN), unit * 0.055)  # neck
        canvas.circle(at(-0.012, -0.012), unit * 0.064, _HAIR)
        canvas.circle((x + self.facing * 0.006 * unit, y), unit * 0.058, _SKIN)
        canvas.circle(at(0.058, 0.008), unit * 0.012, _SKIN)  # nose
        canvas.circle(at(0.036, -0.008), unit * 0.008, (40, 40, 40))  # eye
        if self.hat is None:
            canvas.polygon(dome(0.064, 0.056, -0.018), _HAIR)
        else:
            canvas.polygon(dome(0.073, 0.082, -0.022), self.hat)
            brim = [at(-0.07, -0.022), at(0.105, -0.022)]
            canvas.line(brim, _darker(self.hat, 0.86), unit * 0.02)
            canvas.line([at(0, -0.1), at(0.02, -0.052)], _darker(self.hat, 1.12), unit * 0.014)


def _darker(colour: Colour, share: float = 0.72) -> Colour:
    blue, green, red = (min(255, round(value * share)) for value in colour)
    return blue, green, red


def _between(one: Point, other: Point, share: float) -> Point:
    return one[0] + (other[0] - one[0]) * share, one[1] + (other[1] - one[1]) * share

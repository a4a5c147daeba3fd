"""A picture to draw on, with soft edges, shadows and worn surfaces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Pixels: TypeAlias = npt.NDArray[np.uint8]
Point: TypeAlias = tuple[float, float]
#: Blue, green, red, as OpenCV has them.
Colour: TypeAlias = tuple[int, int, int]

WIDTH_PX: Final = 960
HEIGHT_PX: Final = 540

#: Coordinates go to OpenCV in sixteenths of a pixel, so that things move smoothly.
_SHIFT: Final = 4


class Canvas:
    """Draws on `pixels`, in its coordinates."""

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = pixels

    def polygon(self, points: Iterable[Point], colour: Colour) -> None:
        cv2.fillPoly(self.pixels, [_fixed(points)], colour, cv2.LINE_AA, _SHIFT)

    def rectangle(self, left_top: Point, right_bottom: Point, colour: Colour) -> None:
        (left, top), (right, bottom) = left_top, right_bottom
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def line(self, points: Sequence[Point], colour: Colour, width_px: float) -> None:
        """A line with round ends and corners."""
        thickness = max(1, round(width_px))
        cv2.polylines(
            self.pixels,
            [_fixed(points)],
            isClosed=False,
            color=colour,
            thickness=thickness,
            lineType=cv2.LINE_AA,
            shift=_SHIFT,
        )

    def circle(self, centre: Point, radius_px: float, colour: Colour, width_px: int = -1) -> None:
        """A disc, or with a width a ring."""
        (middle,) = _fixed([centre])
        radius = round(radius_px * (1 << _SHIFT))
        cv2.circle(self.pixels, middle.tolist(), radius, colour, width_px, cv2.LINE_AA, _SHIFT)

    def text(self, words: str, left_bottom: Point, colour: Colour, height_px: float) -> None:
        """Words in capitals of this height."""
        font, per_px = cv2.FONT_HERSHEY_SIMPLEX, 1 / 22
        where = (round(left_bottom[0]), round(left_bottom[1]))
        scale = height_px * per_px
        width = max(1, round(height_px / 9))
        cv2.putText(self.pixels, words, where, font, scale, colour, width, cv2.LINE_AA)

    def shadow(self, points: Iterable[Point], *, blur_px: float, strength: float) -> None:
        """Darkens an area with soft edges; `strength` 1 is black."""
        mask = np.zeros(self.pixels.shape[:2], np.uint8)
        cv2.fillPoly(mask, [_fixed(points)], 255, cv2.LINE_AA, _SHIFT)
        # At a quarter of the size: a shadow has no detail, and the blur is what takes time.
        small = cv2.resize(mask, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        soft = cv2.GaussianBlur(small, (0, 0), blur_px / 4)
        height, width = self.pixels.shape[:2]
        mask = np.asarray(cv2.resize(soft, (width, height)), np.uint8)
        shade = 1 - strength * mask[:, :, None].astype(np.float32) / 255
        self.pixels[:] = (self.pixels * shade).astype(np.uint8)

    def paste(self, layer: Pixels, mask: Pixels) -> None:
        """Another picture of the same size, where its mask is white."""
        share = mask[:, :, None].astype(np.float32) / 255
        self.pixels[:] = (layer * share + self.pixels * (1 - share)).round().astype(np.uint8)


def surface(
    colour: Colour,
    *,
    seed: int,
    size_px: tuple[int, int] = (WIDTH_PX, HEIGHT_PX),
    grain: tuple[float, float] = (1.0, 1.0),
    roughness: float = 4.0,
) -> Pixels:
    """A worn surface, lit from the upper left.

    Args:
        colour: Of the middle.
        seed: The same gives the same surface.
        size_px: Width and height.
        grain: How far its marks reach, in x and y; far in x looks brushed.
        roughness: How much the marks differ from the colour, of 255.
    """
    width, height = size_px
    noise = np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), sigmaX=grain[0], sigmaY=grain[1])
    noise *= roughness / max(float(noise.std()), 1e-6)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    light = 1.08 - 0.10 * columns / width - 0.10 * rows / height
    shaded = np.asarray(colour, np.float32) * light[:, :, None] + noise[:, :, None]
    return np.asarray(shaded.clip(0, 255), np.uint8)


def box_of(points: Iterable[Point], margin_px: float = 0.0) -> dict[str, float]:
    """The box around points as models give it: its middle, width and height, in the picture."""
    xy = np.asarray(list(points), np.float64)
    low = np.maximum(xy.min(axis=0) - margin_px, 0)
    high = np.minimum(xy.max(axis=0) + margin_px, (WIDTH_PX, HEIGHT_PX))
    (x, y), (width, height) = ((low + high) / 2).round(1), (high - low).round(1)
    return {"x": float(x), "y": float(y), "width": float(width), "height": float(height)}


def _fixed(points: Iterable[Point]) -> npt.NDArray[np.int32]:
    return (np.asarray(list(points), np.float64) * (1 << _SHIFT)).round().astype(np.int32)

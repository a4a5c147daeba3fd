"""Whether an uploaded picture is the one it should be."""

from __future__ import annotations

import cv2
import numpy as np


def pixels_of(picture):
    return cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_UNCHANGED)


def assert_shows(picture, pixels):
    """Fails unless the JPEG was made from these pixels."""
    shown = pixels_of(picture)
    assert shown.shape == pixels.shape
    difference = cv2.absdiff(shown, pixels)
    assert difference.mean() <= 2
    # Sharp edges between colours are where JPEG errs, and there are few of them.
    assert np.percentile(difference, 99) <= 40

"""A picture is saved from its page, as it is or with what is drawn on it."""

from __future__ import annotations

import re

import cv2
import numpy as np

from tests.browser.conftest import BOX, HEIGHT_PX, OUTLINE, WIDTH_PX


def saved(page, button):
    with page.expect_download() as coming:
        button.click()
    content = coming.value.path().read_bytes()
    return coming.value.suggested_filename, cv2.imdecode(np.frombuffer(content, np.uint8), 1)


def test_a_picture_is_saved_with_and_without_boxes(open_page, site):
    case = site.new_use_case("Saved pictures")
    shown = {"inputSourceId": site.picture(), "objectDetections": [BOX]}
    site.put(case, "5b0a3a52-6d2f", streamId="north", images=[
        {**shown, "instanceSegmentations": [OUTLINE]}
    ])  # fmt: skip
    page = open_page(f"{site.address}/events/5b0a3a52-6d2f")

    name, plain = saved(page, page.get_by_role("link", name="Save", exact=True))
    drawn_name, drawn = saved(page, page.get_by_role("button", name="Save labelled"))
    page.locator(".class-toggle", has_text="scratch").click()
    _, without_scratch = saved(page, page.get_by_role("button", name="Save labelled"))

    stem = r"Saved-pictures_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\dZ_north_5b0a3a52"
    assert re.fullmatch(rf"{stem}\.jpg", name)
    assert re.fullmatch(rf"{stem}_drawn\.jpg", drawn_name)
    assert plain.shape == drawn.shape == (HEIGHT_PX, WIDTH_PX, 3)
    changed = np.abs(plain.astype(int) - drawn).max(axis=2) > 25
    left, right = int(BOX["x"] - BOX["width"] / 2), int(BOX["x"] + BOX["width"] / 2)
    assert changed[100:120, left - 2 : left + 3].any(axis=1).all(), "the box has no left side"
    assert changed[100:120, right - 2 : right + 3].any(axis=1).all(), "the box has no right side"
    outline = np.s_[195:285, 218:223]
    assert changed[outline].any(axis=1).all()
    same = np.abs(plain.astype(int) - without_scratch).max(axis=2)
    assert not (same[outline] > 25).any(), "a class that is switched off is drawn"

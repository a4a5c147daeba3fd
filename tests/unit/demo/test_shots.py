"""What the cameras of the demo see, and what is said about it."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from vision_event_block.demo import parts, sheets, trays, workshop
from vision_event_block.demo.canvas import HEIGHT_PX, WIDTH_PX
from vision_event_block.demo.people import KEY_POINTS

CAMERAS = {
    "parts": parts.shots,
    "trays": trays.shots,
    "sheets": sheets.shots,
    "press": workshop.press_shots,
    "floor": workshop.floor_shots,
}


@pytest.fixture(scope="module", params=CAMERAS)
def camera(request):
    """Makes a camera's shots, one at a time: all together they may be hundreds of megabytes."""
    return CAMERAS[request.param]


def test_a_camera_sees_the_same_each_time(camera):
    for one, other in zip(camera(), camera(), strict=True):
        assert (one.picture == other.picture).all()
        assert (one.at_s, one.predictions) == (other.at_s, other.predictions)


def test_every_frame_differs_from_the_one_before(camera):
    changes = [
        cv2.absdiff(one.picture, other.picture).mean()
        for one, other in pairwise(camera())
        if one.predictions or other.predictions or camera is not parts.shots
    ]
    assert 12 <= len(changes) <= (parts.PARTS * len(parts.WAY_PX) if camera is parts.shots else 40)
    assert min(changes) > 0.05


def test_a_recording_goes_forward_over_hours_but_for_the_conveyor(camera):
    times_s = [shot.at_s for shot in camera()]
    assert times_s == sorted(set(times_s))
    if camera is parts.shots:  # what is followed must not jump
        assert max(after - before for before, after in pairwise(times_s)) < 2
    else:
        assert 4 * 3600 < times_s[-1] - times_s[0] < 12 * 3600


def test_all_that_is_predicted_lies_in_the_picture(camera):
    for shot in camera():
        assert shot.picture.shape == (HEIGHT_PX, WIDTH_PX, 3)
        for found in shot.predictions:
            assert found["x"] - found["width"] / 2 >= -0.1  # all are rounded to a tenth
            assert found["x"] + found["width"] / 2 <= WIDTH_PX + 0.1
            assert found["y"] - found["height"] / 2 >= 0
            assert found["y"] + found["height"] / 2 <= HEIGHT_PX
            assert 0.5 < found["confidence"] < 1
            for point in (*found.get("points", ()), *found.get("keypoints", ())):
                assert abs(point["x"] - found["x"]) <= found["width"] / 2 + 0.2
                assert abs(point["y"] - found["y"]) <= found["height"] / 2 + 0.2


def test_a_part_goes_through_the_picture_and_none_is_there_at_the_end():
    ways = len(parts.WAY_PX)
    seen = [shot.predictions for shot in parts.shots()]
    assert [len(found) for found in seen] == [1] * parts.PARTS * ways + [0, 0, 0]
    for start in range(0, parts.PARTS * ways, ways):
        passing = [found["x"] for (found,) in seen[start : start + ways]]
        assert passing == sorted(passing)
        widths = [found["width"] for (found,) in seen[start : start + ways]]
        assert widths[0] < max(widths) > widths[-1]  # it comes in and goes out


def test_the_outline_of_a_scratch_lies_on_what_is_dark():
    outlines = 0
    for shot, scratches in zip(sheets.shots(), sheets.SCRATCHES, strict=True):
        grey = cv2.cvtColor(shot.picture, cv2.COLOR_BGR2GRAY)
        assert len(shot.predictions) == scratches
        for found in shot.predictions:
            inside = np.zeros_like(grey)
            points = np.array([[p["x"], p["y"]] for p in found["points"]]).round().astype(np.int32)
            cv2.fillPoly(inside, [points], 255)
            assert grey[inside > 0].mean() < 0.7 * np.median(grey)
            outlines += 1
    assert outlines == sum(sheets.SCRATCHES) > 0


def test_a_tray_shows_as_many_caps_as_it_holds():
    orange = (np.array((20, 100, 180)), np.array((120, 190, 255)))
    for shot, count in zip(trays.shots(), trays.COUNTS, strict=True):
        discs = cv2.inRange(shot.picture, *orange)
        blobs, _, stats, _ = cv2.connectedComponentsWithStats(discs)
        big = [index for index in range(1, blobs) if stats[index, cv2.CC_STAT_AREA] > 1500]
        assert len(big) == count


def test_people_at_the_press_have_all_key_points_and_sometimes_nobody_is_there():
    shots = list(workshop.press_shots())
    for shot in shots:
        for person in shot.predictions:
            assert [point["class"] for point in person["keypoints"]] == list(KEY_POINTS)
    assert {len(shot.predictions) for shot in shots} == {0, 1, 2}


def test_the_class_of_a_person_follows_the_hat():
    for shot, crew in zip(workshop.floor_shots(), workshop.CREWS, strict=True):
        worn = ["H" if found["class"] == "hard-hat" else "n" for found in shot.predictions]
        assert "".join(worn) == crew

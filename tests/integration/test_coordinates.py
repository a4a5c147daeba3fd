"""Boxes lie where docs/coordinates.md says, whatever stands between the model and the event.

Where they should lie is seen on the recorded picture itself: on a patch of a colour of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.host_environment import host_environment, needs_new_host
from tests.integration.coordinate_rows import ROWS
from vision_event_block.testing import StandInApi

pytestmark = [
    pytest.mark.timeout(400),
    needs_new_host("it has not all of these steps"),
]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/coordinates.md").read_text(encoding="utf-8")
#: Columns of the table that say what is recorded, by the picture that the event shows.
COLUMNS = {"seen": 2, "whole": 3}
#: Edges on a JPEG, outlines that run through pixels' centres, masks that are snapped to edges.
TOLERANCE_PX = 3
REPRESENTATIONS = ["arrays", "tensors"]


def table():
    """Of each step, what the page says that is recorded: `{name: {shown: text}}`."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.splitlines()
        if line.startswith("|")
    ]
    return {
        name: {shown: row[column] for shown, column in COLUMNS.items()}
        for row in rows[2:]
        for name in row[0].split(", ")
    }


def promised(cell, representation):
    """The verdict for a representation: "as given (tensors: true)" promises two of them."""
    arrays, _, tensors = cell.removesuffix(")").partition(" (tensors: ")
    return tensors or arrays if representation == "tensors" else arrays


@dataclass
class Shown:
    """What both blocks recorded of one kind on one picture; a list for each of its events."""

    official: list[list] = field(default_factory=list)
    ours: list[list] = field(default_factory=list)
    truth: list[list] = field(default_factory=list)
    is_named: bool = False

    @property
    def verdict(self):
        if not any(self.ours):
            return "-"
        place = "moved"
        if is_near(self.ours, self.truth):
            place = "true"
        elif is_near(self.ours, self.official):
            place = "as given"
        return f"{place}, named" if self.is_named else place


def is_near(some, others):
    """Whether the same extents lie in the same places."""
    some, others = (
        sorted(extent for event in events for extent in event) for events in (some, others)
    )
    return len(some) == len(others) and bool(np.allclose(some, others, rtol=0, atol=TOLERANCE_PX))


def extents(image):
    """Left, top, right and bottom of each box, each outline and the key points of each box."""
    found = []
    for entries in (value for value in image.values() if isinstance(value, list)):
        for entry in entries:
            half = entry["width"] / 2, entry["height"] / 2
            middle = entry["x"], entry["y"]
            found.append((*np.subtract(middle, half), *np.add(middle, half)))
            points = entry.get("points") or [
                (point["x"], point["y"]) for point in entry.get("keypoints", ())
            ]
            if points:
                found.append((*np.min(points, axis=0), *np.max(points, axis=0)))
    return found


def patch_on(picture, wider_px):
    """The extent that a box should have on this picture, None where there is no patch."""
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR).astype(int)
    blue, green, red = (pixels[..., colour] for colour in range(3))
    rows, columns = np.nonzero((blue > 170) & (green < 100) & (red > 170))
    if not len(rows):
        return None
    corners = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    return tuple(np.add(corners, np.multiply([-1, -1, 1, 1], [*wider_px, *wider_px])))


@pytest.fixture(scope="module")
def recorded():
    """`{representation: {(name, shown, kind): Shown}}`; the two hosts run side by side."""
    with ExitStack() as stack:
        running = {}
        for representation in REPRESENTATIONS:
            api = stack.enter_context(StandInApi())
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.integration.coordinate_process"],
                    cwd=ROOT,
                    env=host_environment(
                        API_BASE_URL=api.url,
                        ENABLE_TENSOR_DATA_REPRESENTATION=str(representation == "tensors"),
                    ),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(process.kill)
            running[representation] = (api, process)
        yield {name: all_shown(*host) for name, host in running.items()}


def all_shown(api, process):
    written, errors = process.communicate(timeout=380)
    assert process.returncode == 0, errors[-4000:]
    facts = json.loads(written.splitlines()[-1])
    assert facts["failed"] == {}
    found = {}
    for event in api.events.values():
        name, shown, kind, block = event["eventData"]["value"].split("|")
        [image] = event["images"]
        this = found.setdefault((name, shown, kind), Shown())
        getattr(this, block).append(extents(image))
        if block == "ours":
            patch = patch_on(api.picture_of(event, "input"), ROWS[name].wider_px)
            this.truth.append([patch] * len(extents(image)) if patch else [])
            this.is_named |= facts["said"][event["eventId"]] != "Delivered."
    return found


def test_the_table_has_each_step_that_is_tried():
    assert sorted(table()) == sorted(ROWS)


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_boxes_lie_where_the_table_says(representation, name, recorded):
    for shown, cell in table()[name].items():
        for kind in ROWS[name].kinds:
            nothing = Shown()
            found = recorded[representation].get((name, shown, kind), nothing)
            assert found.verdict == promised(cell, representation), (shown, kind, found)


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_wherever_the_official_block_is_right_ours_is(representation, recorded):
    right = {
        what
        for what, found in recorded[representation].items()
        if any(found.official) and is_near(found.official, found.truth)
    }

    assert len(right) > len(ROWS)
    assert {
        what for what in right if not recorded[representation][what].verdict.startswith("true")
    } == set()

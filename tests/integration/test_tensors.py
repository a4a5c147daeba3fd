"""The host in both of its representations, arrays and tensors, records the same events."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.host_environment import host_environment
from tests.integration.tensor_process import CASES, picture
from tests.pictures import assert_shows
from vision_event_block.testing import StandInApi

pytestmark = pytest.mark.timeout(600)

PROCESS = Path(__file__).with_name("tensor_process.py")


@dataclass(frozen=True)
class Recorded:
    """What one host gave the block, and what the API got of it, by case."""

    given: dict[str, str]
    said: dict[str, Any]
    events: dict[str, dict]
    pictures: dict[str, bytes]

    def annotations(self, case):
        image = self.events[case]["images"][0]
        return {key: value for key, value in image.items() if isinstance(value, list)}


@pytest.fixture(scope="module")
def hosts():
    """Both representations; the two processes import the host side by side."""
    with ExitStack() as stack:
        running = []
        for with_tensors in (False, True):
            api = stack.enter_context(StandInApi())
            environment = host_environment(
                API_BASE_URL=api.url, ENABLE_TENSOR_DATA_REPRESENTATION=str(with_tensors)
            )
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, str(PROCESS)],
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(process.kill)
            running.append((api, process))
        yield tuple(recorded(api, process) for api, process in running)


def recorded(api, process):
    written, errors = process.communicate(timeout=500)
    assert process.returncode == 0, errors[-4000:]
    facts = json.loads(written.splitlines()[-1])
    events = {event["eventData"]["value"]: event for event in api.events.values()}
    pictures = {case: api.picture_of(event, "input") for case, event in events.items()}
    return Recorded(facts["given"], facts["said"], events, pictures)


@pytest.fixture
def with_arrays(hosts):
    return hosts[0]


@pytest.fixture
def with_tensors(hosts):
    return hosts[1]


def test_the_host_hands_over_tensors_when_it_is_told_to(with_arrays, with_tensors):
    """Without it, all the others could compare arrays with arrays and say nothing."""
    assert {kind.partition(".")[0] for kind in with_tensors.given.values()} == {"inference_models"}
    assert set(with_arrays.given.values()) == {"supervision.Detections", "builtins.dict"}


@pytest.mark.parametrize("case", CASES)
def test_the_same_annotations_are_recorded_in_both(case, with_arrays, with_tensors):
    """Without it, a host on a GPU could record other boxes, outlines, points or classes, or none.

    The codes, trackers and crops come from the host's own steps, each in two versions.
    """
    expected = with_arrays.annotations(case)

    assert bool(expected) == (case != "no_boxes")
    assert with_tensors.annotations(case) == expected


@pytest.mark.parametrize("case", ["boxes", "crops"])
def test_the_picture_has_its_colours_and_its_sides_in_both(case, with_arrays, with_tensors):
    """Without it, red and blue, or rows and columns, could be mixed up on the way from a tensor."""
    pixels = picture()
    if case == "crops":
        pixels = pixels[60:160, 100:180]

    for host in (with_arrays, with_tensors):
        assert_shows(host.pictures[case], pixels)


@pytest.mark.parametrize("case", CASES)
def test_nothing_had_to_be_changed_in_either(case, with_arrays, with_tensors):
    """Without it, what is left out of a tensor, and named, would show in nobody's test."""
    for host in (with_arrays, with_tensors):
        said = host.said[case]
        said = said[0] if isinstance(said, list) else said
        assert said["delivery_status"] == "delivered"
        if case != "key_points":  # one of its boxes has no points
            assert said["message"] == "Delivered."

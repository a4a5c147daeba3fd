"""What a cooldown counts: a camera, a named stream or key, else this block alone.

The host's own block counts for each instance. Where nothing tells one picture's source from
another's ours does the same, so that no still picture is lost to somebody else's.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

from tests.integration.workflows import workflow

OFFICIAL = "roboflow_core/roboflow_vision_events@v1"
OURS = "vision_event_block/vision_event@v1"
BOTH = [OFFICIAL, OURS]
LONG = 3600


def recording(block_type, request, **fields):
    """One step whose use case is the test's name, so that tests do not hold each other back."""
    step = {
        "type": block_type,
        "name": "event",
        "input_image": "$inputs.image",
        "event_type": "custom",
        "solution": request.node.name,
        "fire_and_forget": False,
        **fields,
    }
    return workflow(step, inputs=[{"type": "WorkflowParameter", "name": "station"}])


@pytest.fixture
def still():
    return np.full((48, 64, 3), 90, np.uint8)


@pytest.fixture
def throttled(compiled, still):
    """A function that runs a compiled workflow on pictures; says which were held back."""

    def run(engine, **parameters):
        rows = engine.run(runtime_parameters={"image": [still], **parameters})
        return [row["event"]["throttling_status"] for row in rows]

    return run


@pytest.mark.parametrize("block_type", BOTH)
def test_two_stations_in_turn_each_record_every_picture(
    api, compiled, throttled, request, block_type
):
    """Each has a pipeline of its own, and its own pictures are further apart than the cooldown."""
    stations = [
        compiled(recording(block_type, request, cooldown_seconds=0.2), api_key="k")
        for _ in range(2)
    ]

    for _ in range(4):
        for station in stations:
            assert throttled(station) == [False]
            time.sleep(0.11)

    assert len(api.events) == 8


@pytest.mark.parametrize("block_type", BOTH)
def test_one_block_holds_its_own_next_still_picture_back(
    api, compiled, throttled, request, block_type
):
    engine = compiled(recording(block_type, request, cooldown_seconds=LONG), api_key="k")

    assert [throttled(engine) for _ in range(3)] == [[False], [True], [True]]
    assert len(api.events) == 1


@pytest.mark.parametrize("name", ["stream_id", "cooldown_key"])
def test_stations_that_name_themselves_count_apart_and_across_blocks(
    api, compiled, throttled, request, name
):
    fields = {name: "$inputs.station", "cooldown_seconds": LONG}
    specification = recording(OURS, request, **fields)

    held_back = {
        station: [throttled(compiled(specification, api_key="k"), station=station)[0]
                  for _ in range(3)]
        for station in ("north", "south")
    }  # fmt: skip

    assert held_back == {"north": [False, True, True], "south": [False, True, True]}
    assert len(api.events) == 2


@pytest.mark.parametrize("empty", [None, ""])
def test_an_empty_name_is_none(api, compiled, throttled, request, empty):
    fields = {"stream_id": "$inputs.station", "cooldown_seconds": LONG}

    for _ in range(3):
        engine = compiled(recording(OURS, request, **fields), api_key="k")
        assert throttled(engine, station=empty) == [False]

    assert len(api.events) == 3

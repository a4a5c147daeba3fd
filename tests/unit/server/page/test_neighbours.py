"""From event to event, in both directions the way the grid goes."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from vision_event_block.server.api.ingest import ingest
from vision_event_block.server.page.neighbours import newer, older
from vision_event_block.server.storage import Store
from vision_event_block.server.store.filters import Condition, Filters

NOW = datetime.now(timezone.utc)
DOCK = Filters(use_case_id="dock")


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path, lookback_days=None) as opened:
        opened.use_cases.create("Dock", id="dock")
        yield opened


def put(store, seconds_ago):
    bodies = [
        {
            "eventId": f"event-{number:04}",
            "eventType": "custom",
            "useCaseId": "dock",
            "timestamp": (NOW - timedelta(seconds=gone)).isoformat(),
            "deviceId": f"cam-{number % 2}",
        }
        for number, gone in enumerate(seconds_ago)
    ]
    store.put([ingest(body, now=NOW).event for body in bodies])


@pytest.mark.parametrize(
    "seconds_ago",
    [
        [5],
        [0.001 * number for number in range(130)],
        [3600 * number for number in range(12)],
        [0, 1, 2, 86_400 * 300, 86_400 * 300 + 0.000001],
        [7, 7, 7, 7, 20, 20],
        [*(number / 30 for number in range(120)), 9000],
    ],
    ids=["one", "dense", "sparse", "a gap of months", "ties", "a burst after silence"],
)
@pytest.mark.parametrize("device", [None, "cam-1"])
def test_both_ways_visit_what_the_grid_shows_in_its_order(store, seconds_ago, device):
    put(store, seconds_ago)
    filters = replace(DOCK, device_id=device and Condition("eq", device))
    grid = list(store.walk(filters))
    ids = [event.event_id for event in grid]

    assert [older(store, filters, event) for event in grid] == [*ids[1:], None][: len(ids)]
    assert [newer(store, filters, event) for event in grid] == [None, *ids][: len(ids)]


def test_nothing_beyond_the_period_that_the_reader_chose(store):
    put(store, [10, 20, 30])
    narrow = replace(DOCK, start=NOW - timedelta(seconds=25), end=NOW - timedelta(seconds=15))
    event = store.get("event-0001")

    assert newer(store, narrow, event) is None
    assert older(store, narrow, event) is None


def test_an_event_that_does_not_match_still_has_neighbours_that_do(store):
    put(store, [10, 20, 30])
    filters = replace(DOCK, device_id=Condition("eq", "cam-0"))
    event = store.get("event-0001")

    assert newer(store, filters, event) == "event-0000"
    assert older(store, filters, event) == "event-0002"

"""Queries over a socket: each filter of the API, pages, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from base64 import urlsafe_b64encode

import pytest

from tests.integration.server.conftest import ago, error_of, event, running
from tests.waiting import eventually


@pytest.fixture(scope="module")
def stocked(server):
    """A use case with events that the filters tell apart, by a letter each."""
    use_case = server.new_use_case()
    box = {"class": "pallet", "x": 1, "y": 1, "width": 2, "height": 2, "confidence": 0.4}
    events = {
        "a": event(
            use_case,
            timestamp=ago(hours=5),
            eventType="safety_alert",
            eventData={"alertType": "no_helmet", "severity": "high"},
            deviceId="cam-1",
            streamId="s-1",
        ),
        "b": event(
            use_case,
            timestamp=ago(hours=4),
            eventType="quality_check",
            eventData={"result": "fail", "externalId": "part-7"},
            workflowId="w-1",
        ),
        "c": event(
            use_case,
            timestamp=ago(hours=3),
            eventType="inventory_count",
            eventData={"location": "dock", "itemCount": 18, "itemType": "pallet"},
            customMetadata={"temp": 3.5, "shift": "night", "sealed": True},
            images=[{"objectDetections": [box, {**box, "confidence": 0.9}]}, {}],
        ),
        "d": event(
            use_case,
            timestamp=ago(hours=2),
            customMetadata={"temp": 9, "shift": "day"},
            images=[{"objectDetections": [box, {**box, "class": "dent", "confidence": 0.2}]}],
        ),
        "e": event(use_case, timestamp=ago(hours=1), colour="red"),
    }
    events["f"] = event(
        use_case,
        timestamp=ago(minutes=5),
        eventType="operator_feedback",
        eventData={"relatedEventId": events["b"]["eventId"], "feedback": "incorrect"},
        comment="it was clean",
    )
    reply = server.post("/vision-events/batch", json={"events": list(events.values())})
    assert reply.status_code == 201
    return use_case, events


def number(field, operator, value):
    return {"field": field, "operator": operator, "value": value, "type": "number"}


FILTERS = {
    "none gives the newest first": ({}, "fedcba"),
    "eventType": ({"eventType": "quality_check"}, "b"),
    "eventTypes": ({"eventTypes": ["quality_check", "inventory_count"]}, "cb"),
    "deviceId eq": ({"deviceId": {"operator": "eq", "value": "cam-1"}}, "a"),
    "deviceId neq": ({"deviceId": {"operator": "neq", "value": "cam-1"}}, "fedcb"),
    "streamId eq": ({"streamId": {"operator": "eq", "value": "s-1"}}, "a"),
    "workflowId eq": ({"workflowId": {"operator": "eq", "value": "w-1"}}, "b"),
    "externalId eq": ({"externalId": {"operator": "eq", "value": "part-7"}}, "b"),
    "metadata gt": ({"customMetadataFilters": [number("temp", "gt", 3)]}, "dc"),
    "event field eq": (
        {"eventFieldFilters": [{"column": "result", "operator": "eq", "value": "fail"}]},
        "b",
    ),
    "event field gt": (
        {"eventFieldFilters": [{"column": "itemCount", "operator": "gt", "value": 17}]},
        "c",
    ),
    "detection class": ({"detectionClass": {"class": "pallet"}}, "dc"),
    "a plain device": ({"deviceId": "cam-1"}, "a"),
    "a plain workflow": ({"workflowId": "w-1"}, "b"),
    "external id neq": ({"externalId": {"operator": "neq", "value": "part-7"}}, "fedca"),
    **{
        f"column {column}": (
            {"eventFieldFilters": [{"column": column, "operator": "eq", "value": value}]},
            expected,
        )
        for column, value, expected in (
            ("event_type", "quality_check", "b"),
            ("eventType", "quality_check", "b"),
            ("external_id", "part-7", "b"),
            ("location", "dock", "c"),
            ("item_count", 18, "c"),
            ("itemCount", 18, "c"),
            ("item_type", "pallet", "c"),
            ("alert_type", "no_helmet", "a"),
            ("severity", "high", "a"),
            ("feedback", "incorrect", "f"),
        )
    },
    "detection as text": ({"detection": "pallet"}, "dc"),
    "detection eq": ({"detection": {"operator": "eq", "value": "dent"}}, "d"),
    "detection neq": ({"detection": {"operator": "neq", "value": "dent"}}, "fecba"),
    "detection in": ({"detection": {"operator": "in", "value": ["dent", "pallet"]}}, "dc"),
    "detection not in": (
        {"detection": {"operator": "not_in", "value": ["dent", "pallet"]}},
        "feba",
    ),
    "any detection with confidence": (
        {"detection": {"confidence": {"operator": "lt", "value": 0.3}}},
        "d",
    ),
    "two detections": ({"detection": ["pallet", {"operator": "neq", "value": "dent"}]}, "c"),
    "detection and its older name": (
        {"detection": "pallet", "detectionClass": {"class": "dent"}},
        "d",
    ),
    "image count": ({"imageCount": {"operator": "eq", "value": 2}}, "c"),
    "feedback status": ({"feedbackStatus": "incorrect"}, "b"),
    "no feedback": ({"feedbackStatus": ["none"]}, "fedca"),
    "without warnings": ({"hasWarnings": False}, "fdcba"),
    "warnings": ({"hasWarnings": True}, "e"),
    "all together": (
        {"eventType": "custom", "customMetadataFilters": [number("temp", "gt", 3)]},
        "d",
    ),
    "nothing matches": ({"deviceId": {"operator": "eq", "value": "cam-9"}}, ""),
}


_THROUGH_THE_SDK = """
import contextlib, io, json, sys
from roboflow import Roboflow
with contextlib.redirect_stdout(io.StringIO()):
    workspace = Roboflow("any-key").workspace()
use_case, filters = sys.argv[1], json.loads(sys.argv[2])
print(json.dumps({
    name: [each["eventId"] for each in workspace.query_vision_events(use_case, **given)["events"]]
    for name, given in filters.items()
}))
"""


def test_the_official_sdk_passes_every_filter_on(server, stocked, tmp_path):
    use_case, events = stocked
    given = json.dumps({name: filters for name, (filters, _) in FILTERS.items()})
    done = subprocess.run(
        [sys.executable, "-c", _THROUGH_THE_SDK, use_case, given],
        env={
            **os.environ,
            "API_URL": server.url,
            "ROBOFLOW_CONFIG_DIR": str(tmp_path / "none.json"),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    letters = {each["eventId"]: letter for letter, each in events.items()}
    found = {
        name: "".join(map(letters.get, ids))
        for name, ids in json.loads(done.stdout.splitlines()[-1]).items()
    }
    assert found == {name: expected for name, (_, expected) in FILTERS.items()}


def test_a_full_last_page_promises_no_more(server, stocked):
    page = server.post("/vision-events/query", json={"useCaseId": stocked[0], "limit": 6}).json()

    assert len(page["events"]) == 6
    assert (page["hasMore"], page["nextCursor"]) == (False, None)
    assert page["lookbackDays"] == 14


def test_a_page_has_100_events_unless_told_and_1000_at_most(server, use_case):
    for _ in range(11):
        events = [event(use_case) for _ in range(100)]
        server.post("/vision-events/batch", json={"events": events})

    assert len(server.events_of(use_case)) == 100
    assert len(server.events_of(use_case, limit=1000)) == 1000
    assert len(server.events_of(use_case, limit=1.0)) == 1
    too_many = server.post("/vision-events/query", json={"useCaseId": use_case, "limit": 1001})
    assert error_of(too_many) == "limit must be a whole number from 1 to 1000"


def test_an_event_is_answered_in_the_shape_of_the_api(server, use_case):
    bare = event(use_case, eventType="custom")
    server.post("/vision-events", json=bare)

    reply = server.post("/vision-events/query", json={"useCaseId": use_case}).json()

    assert list(reply) == ["events", "nextCursor", "hasMore", "lookbackDays"]
    assert reply["events"] == [
        {
            "eventId": bare["eventId"],
            "eventType": "custom",
            "timestamp": bare["timestamp"],
            "eventData": {},
            "images": [],
            "customMetadata": {},
        }
    ]


def test_without_a_look_back_window_all_is_found(start):
    server = start(lookback_days=None)
    use_case = server.new_use_case()
    server.post("/vision-events", json=event(use_case, timestamp=ago(days=300)))

    page = server.post("/vision-events/query", json={"useCaseId": use_case}).json()

    assert len(page["events"]) == 1
    assert page["lookbackDays"] is None


def test_events_past_their_retention_are_deleted_when_the_server_starts(tmp_path):
    with running(tmp_path) as server:
        use_case = server.new_use_case()
        old, new = event(use_case, timestamp=ago(days=9)), event(use_case)
        server.post("/vision-events/batch", json={"events": [old, new]})

    with running(tmp_path, deletes_after_days=7) as server:
        eventually(lambda: server.store.get(old["eventId"]) is None)
        assert [each["eventId"] for each in server.events_of(use_case)] == [new["eventId"]]


BAD_QUERIES = {
    "no use case": ({"useCaseId": None}, "useCaseId"),
    "a filter that is none": ({"color": "red"}, "color"),
    "a limit of zero": ({"limit": 0}, "from 1 to 1000"),
    "a limit of half an event": ({"limit": 1.5}, "from 1 to 1000"),
    "a limit as text": ({"limit": "5"}, "limit"),
    "a limit that is a boolean": ({"limit": True}, "limit"),
    "a cursor that is none": ({"cursor": "garbage"}, "cursor"),
    "a cursor that is a number": ({"cursor": 5}, "cursor"),
    "a cursor of a truth value": (
        {"cursor": urlsafe_b64encode(b'[true, "a"]').decode()},
        "cursor",
    ),
    "a cursor with strange letters": ({"cursor": "é😀" * 50}, "cursor"),
}


@pytest.mark.parametrize("case", BAD_QUERIES)
def test_a_query_that_cannot_be_read_is_refused(server, use_case, case):
    changes, words = BAD_QUERIES[case]

    reply = server.post("/vision-events/query", json={"useCaseId": use_case, **changes})

    assert words in error_of(reply)


def test_a_query_in_an_unknown_use_case_says_so(server):
    assert error_of(server.post("/vision-events/query", json={"useCaseId": "nowhere"}), 404)

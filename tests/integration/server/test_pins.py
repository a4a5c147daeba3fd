"""Pins over a socket: set and taken off, asked for, exported, and named before a deletion."""

from __future__ import annotations

import csv
import io
import json

import pytest

from tests.integration.server.conftest import error_of, event


def put(server, use_case, count=1):
    sent = [event(use_case) for _ in range(count)]
    assert server.post("/vision-events/batch", json={"events": sent}).status_code == 201
    return [each["eventId"] for each in sent]


def pin(server, use_case, *event_ids, **more):
    body = {"useCaseId": use_case, "eventIds": list(event_ids), **more}
    return server.post("/vision-events/pin", json=body)


def test_a_pinned_event_says_so_and_can_be_asked_for(server, use_case):
    first, second = put(server, use_case, 2)

    reply = pin(server, use_case, first, "nowhere")

    assert (reply.status_code, reply.json()) == (200, {"changed": 1, "notFound": ["nowhere"]})
    [only] = server.events_of(use_case, isPinned=True)
    assert (only["eventId"], only["isPinned"]) == (first, True)
    [other] = server.events_of(use_case, isPinned=False)
    assert other["eventId"] == second
    assert "isPinned" not in other
    shown = server.get(f"/use-cases/{use_case}?pinned=yes").text
    assert first in shown
    assert second not in shown
    assert pin(server, use_case, first, isPinned=False).json()["changed"] == 1
    assert server.events_of(use_case, isPinned=True) == []


def test_exports_say_what_is_pinned(server, use_case):
    first, second = put(server, use_case, 2)
    pin(server, use_case, first)

    table = server.get(f"/use-cases/{use_case}/export/csv").content.decode("utf-8-sig")
    lines = server.get(f"/use-cases/{use_case}/export/jsonl").text

    rows = {row["eventId"]: row["isPinned"] for row in csv.DictReader(io.StringIO(table))}
    assert rows == {first: "True", second: "False"}
    events = [json.loads(line) for line in lines.splitlines()]
    assert {each["eventId"]: each["isPinned"] for each in events} == {first: True, second: False}


def test_the_page_names_pinned_events_before_it_deletes_them(server, use_case):
    first, second, third = put(server, use_case, 3)
    pin(server, use_case, first)
    path = f"/use-cases/{use_case}/delete"

    assert "It is pinned" in server.post(path, data={"event": [first]}).text
    assert "1 of them is pinned" in server.post(path, data={"event": [first, second]}).text
    assert "pinned" not in server.post(path, data={"event": [second, third]}).text


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"isPinned": "yes"}, "isPinned must be true or false"),
        ({"withPictures": True}, "unknown field 'withPictures'"),
        ({"eventIds": []}, "eventIds must be a list of 1 to 1000"),
    ],
)
def test_what_cannot_be_read_is_refused(server, use_case, body, words):
    whole = {"useCaseId": use_case, "eventIds": ["a"], **body}

    assert words in error_of(server.post("/vision-events/pin", json=whole))

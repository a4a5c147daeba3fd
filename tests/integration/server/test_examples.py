"""What the API's pages show works as it stands, whichever of them a reader follows.

One page calls `eventId` required and another leaves it out of its examples, one speaks of the id
of a use case and another of its name.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from uuid import UUID

import pytest

from tests.integration.server.conftest import answered, bundle, device_event, event, picture

NAME = "Dock pallets / north"


@pytest.fixture
def named(server):
    """The id of a use case with a name that is like nobody else's, and the name."""
    made = server.store.use_cases.create(f"{NAME} {datetime.now(timezone.utc).timestamp()}")
    return made.id, made.name


def missing(*paths, **about):
    """The warnings about what the server made."""
    return [
        {**about, "type": "any.required", "path": path, "value": None, "valueType": "object"}
        for path in paths
    ]


def without(body, *keys):
    return {key: value for key, value in body.items() if key not in keys}


def is_recent(timestamp):
    age = datetime.now(timezone.utc) - datetime.fromisoformat(timestamp)
    return timedelta(0) <= age < timedelta(minutes=1)


# Without an id, without a time


def test_an_event_without_an_id_gets_one_and_is_found_under_it(server, use_case):
    sent = without(event(use_case, eventData={"value": "x"}), "eventId")

    reply = server.post("/vision-events", json=sent)

    assert reply.status_code == 201
    event_id = reply.json()["eventId"]
    assert UUID(event_id).version == 4
    expected = missing("eventId")
    assert reply.json() == {"eventId": event_id, "created": True, "warnings": expected}
    whole = answered({**sent, "eventId": event_id, "warnings": expected})
    assert server.events_of(use_case) == [whole]
    assert server.events_of(use_case, hasWarnings=False) == []


def test_an_event_without_a_time_happened_when_it_came(server, use_case):
    sent = without(event(use_case), "timestamp")

    reply = server.post("/vision-events", json=sent)

    assert reply.json()["warnings"] == missing("timestamp")
    [kept] = server.events_of(use_case)
    assert kept["eventId"] == sent["eventId"]
    assert is_recent(kept["timestamp"])


def test_a_batch_may_hold_events_without_id_and_time_between_others(server, use_case):
    whole = event(use_case)
    bare = without(event(use_case), "eventId", "timestamp")

    reply = server.post("/vision-events/batch", json={"events": [bare, whole, bare]})

    assert reply.status_code == 201
    first, second, third = reply.json()["eventIds"]
    assert reply.json() == {
        "created": 3,
        "eventIds": [first, whole["eventId"], third],
        "warnings": [
            *missing("eventId", "timestamp", eventId=first),
            *missing("eventId", "timestamp", eventId=third),
        ],
    }
    kept = server.events_of(use_case)
    assert {each["eventId"] for each in kept} == {first, second, third}
    assert sum(is_recent(each["timestamp"]) for each in kept) == 3


def test_who_sends_an_event_without_an_id_again_has_it_twice(server, use_case):
    sent = without(event(use_case), "eventId")

    ids = {server.post("/vision-events", json=sent).json()["eventId"] for _ in range(2)}

    assert len(ids) == len(server.events_of(use_case)) == 2


def test_the_page_says_what_the_server_made(server, use_case):
    reply = server.post("/vision-events", json=without(event(use_case), "eventId", "timestamp"))

    page = server.get(f"/events/{reply.json()['eventId']}").text

    assert "eventId is required and missing. The server generated one." in page
    assert "timestamp is required and missing. The time of arrival was used." in page


# The name of a use case


def test_every_route_takes_the_name_of_a_use_case_and_keeps_its_id(server, named):
    use_case, name = named
    archive = bundle({"bundleFormatVersion": 1, **event(name)})
    overriding = bundle({"bundleFormatVersion": 1, **event("nowhere")})
    older = event(name, eventId="by-older-name")
    older["solution"] = older.pop("useCaseId")

    replies = [
        server.post("/vision-events", json=event(name, customMetadata={"n": 1})),
        server.post("/vision-events/batch", json={"events": [event(name), event(use_case)]}),
        server.post("/vision-events/bundle", data=archive),
        server.post("/vision-events/bundle", params={"useCaseId": name}, data=overriding),
        server.post("/v2/events", json=device_event(name)),
        server.post("/vision-events", json=older),
    ]

    assert [reply.status_code for reply in replies] == [201] * 6, [each.text for each in replies]
    kept = server.events_of(name)
    assert len(kept) == 7
    assert server.events_of(use_case) == kept
    schema = server.get(f"/vision-events/custom-metadata-schema/{name}").json()
    assert schema == {"useCaseId": use_case, "fields": {"n": {"types": ["number"]}}}
    assert server.store.use_cases.get(use_case).event_count == 7


def test_the_name_of_an_archived_use_case_is_refused_and_its_id_finds_its_events(server, named):
    use_case, name = named
    server.post("/vision-events", json=event(name))
    server.store.use_cases.archive(use_case)
    archive = bundle({"bundleFormatVersion": 1, **event(name)}, {"images/a.jpg": picture()})

    writes = [
        server.post("/vision-events", json=event(name)),
        server.post("/vision-events/batch", json={"events": [event(name)]}),
        server.post("/vision-events/bundle", data=archive),
    ]
    reads = [
        server.post("/vision-events/query", json={"useCaseId": name}),
        server.get(f"/vision-events/custom-metadata-schema/{name}"),
    ]

    assert [reply.status_code for reply in writes] == [400] * 3
    assert [reply.status_code for reply in reads] == [404] * 2
    assert all("is archived" in reply.json()["error"] for reply in writes)
    assert all(f"archived use case; use its id {use_case!r}" in each.text for each in reads)
    assert len(server.events_of(use_case)) == 1

"""What the stand-in shows by chance, by rate and for one event, and what it notes for a judge."""

from __future__ import annotations

import hashlib
import http.client
import json
import time

import pytest

from tests.bodies import event
from tests.unit.test_testing import KEY, connect, post, upload
from tests.waiting import eventually
from vision_event_block.testing import StandInApi


def outcome(connection):
    """The status of one request, or None if the connection was reset."""
    try:
        return post(connection, "/vision-events", event())[0]
    except http.client.RemoteDisconnected:
        return "ended in order"
    except ConnectionResetError:
        connection.close()  # opens again with the next request
        return None


def outcomes(api, count):
    with connect(api) as connection:
        return [outcome(connection) for _ in range(count)]


def test_flakiness_has_the_shares_that_were_asked_for_and_carries_out_half_of_what_it_cuts(api):
    api.flaky(unavailable=0.2, cut=0.3, seed=11)

    seen = outcomes(api, 600)

    assert seen.count(503) == pytest.approx(120, abs=30)
    assert seen.count(None) == pytest.approx(180, abs=30)
    assert seen.count(503) + seen.count(None) + seen.count(201) == 600
    cut_but_kept = len(api.events) - seen.count(201)
    assert cut_but_kept == pytest.approx(90, abs=25)


def test_flakiness_repeats_itself_with_its_seed_and_ends_when_healed(api):
    sequences = []
    for seed in (1, 1, 2):
        api.flaky(unavailable=0.3, cut=0.3, seed=seed)
        sequences.append(outcomes(api, 40))

    assert sequences[0] == sequences[1] != sequences[2]
    api.heal()
    assert outcomes(api, 40) == [201] * 40


@pytest.mark.parametrize("shares", [(0.8, 0.3), (-0.1, 0.2)])
def test_shares_that_are_none_are_refused(api, shares):
    with pytest.raises(ValueError, match="no shares of a whole"):
        api.flaky(*shares)


def test_a_rate_admits_a_burst_and_then_its_pace_until_healed(api):
    api.limit_rate(per_s=5)

    seen = outcomes(api, 60)

    first, last = api.requests[0], api.requests[59]
    assert seen[:5] == [201] * 5
    assert seen.count(201) <= 6 + 5 * (last.ended_s - first.started_s)
    assert 0 < seen.count(429) == 60 - seen.count(201)
    eventually(lambda: outcomes(api, 1) == [201])
    assert len(api.events) == seen.count(201) + 1
    api.heal()
    assert outcomes(api, 60) == [201] * 60


def test_over_the_rate_the_answer_names_the_pause(api):
    api.limit_rate(per_s=1, retry_after_s=3)
    with connect(api) as connection:
        post(connection, "/vision-events", event())
        connection.request("POST", "/vision-events", b"{}")
        response = connection.getresponse()
    assert (response.status, response.headers["Retry-After"]) == (429, "3")


def test_the_script_comes_before_the_rate_and_the_rate_before_chance(api):
    api.fail(500, times=1)
    api.limit_rate(per_s=1)
    api.flaky(unavailable=1, cut=0)

    assert outcomes(api, 3) == [500, 503, 429]


def test_a_poisoned_event_is_refused_in_every_way_until_cured_and_takes_its_batch_with_it(api):
    bad, good = event(), event()
    api.poison(bad["eventId"], 422, "too odd")
    api.heal()
    refused = (422, {"error": "too odd"})
    with connect(api) as connection:
        assert post(connection, "/vision-events", bad) == refused
        assert post(connection, "/vision-events/batch", {"events": [good, bad]}) == refused
        assert not api.events
        assert post(connection, "/vision-events/batch", {"events": [good]})[0] == 201
        api.cure(bad["eventId"])
        assert post(connection, "/vision-events", bad)[0] == 201


def test_a_request_is_noted_with_the_events_in_it_whatever_became_of_it(api):
    first, second = event(), event(useCaseId=None)
    ids = (first["eventId"], second["eventId"])
    api.fail(503, times=1)
    with connect(api) as connection:
        post(connection, "/vision-events", first)
        post(connection, "/vision-events/batch", {"events": [first, second]})
        post(connection, "/vision-events/batch", {"events": [7, {}, {"eventId": 7}, second]})
        upload(connection, b"picture")
        post(connection, "/vision-events", b"no JSON")
        post(connection, "/v2/events", first)

    assert [(request.status, request.event_ids) for request in api.requests] == [
        (503, ids[:1]),
        (400, ids),
        (400, ids[1:]),
        (201, ()),
        (400, ()),
        (422, ()),
    ]


def test_each_arrival_of_an_event_is_noted_also_one_whose_answer_was_lost(api):
    sent, other = event(), event()
    started_s = time.monotonic()
    with connect(api) as connection:
        post(connection, "/vision-events", event(useCaseId=None))
        api.cut(times=1, after_storing=True, reset=True)
        with pytest.raises(ConnectionResetError):
            post(connection, "/vision-events", sent)
        connection.close()
        post(connection, "/vision-events/batch", {"events": [other, sent]})

    ids, times_s = zip(*api.arrivals, strict=True)
    assert ids == (sent["eventId"], other["eventId"], sent["eventId"])
    assert started_s < times_s[0] < times_s[1] <= times_s[2] < time.monotonic()


@pytest.mark.parametrize(("keeps_pictures", "kept"), [(True, b"a picture"), (False, b"")])
def test_an_upload_is_known_by_its_hash_and_size_with_or_without_the_picture(keeps_pictures, kept):
    with StandInApi(keeps_pictures=keeps_pictures) as api:
        with connect(api) as connection:
            source_id = upload(connection, b"a picture")[1]["sourceId"]
        stored = api.uploads[source_id]
    assert stored.picture == kept
    assert stored.sha256 == hashlib.sha256(b"a picture").hexdigest()
    assert stored.size_bytes == 9


@pytest.mark.parametrize("path", ["", "/upload", "/batch", "/bundle"])
def test_reading_changes_nothing(api, path):
    with connect(api) as connection:
        body = json.dumps(event())
        connection.request("GET", f"/vision-events{path}", body, {"Authorization": f"Bearer {KEY}"})
        assert connection.getresponse().status == 404
    assert (api.events, api.uploads, api.arrivals) == ({}, {}, [])
    assert api.requests[0].event_ids == ()

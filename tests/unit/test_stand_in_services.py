"""The stand-in's bundle route, which trusts no archive, and its event store."""

from __future__ import annotations

import gzip
import json
import tarfile

import pytest

from tests.bodies import event, tar
from tests.unit.test_testing import KEY, connect, post

RAW_LIMIT_BYTES = 26_214_400


def member(kind, name="images/odd", link="", headers=()):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.pax_headers = kind, link, dict(headers)
    return info


def bundle(members=(), **changes):
    payload = event(
        bundleFormatVersion=1,
        images=[
            {"label": "belt", "file": "images/out.jpg", "inputFile": "images/in.jpg"},
            {"file": "images/out.jpg"},
        ],
    )
    payload = {key: value for key, value in {**payload, **changes}.items() if value != "left out"}
    return {
        "payload.json": json.dumps(payload).encode(),
        "images": member(tarfile.DIRTYPE, "images"),
        "images/out.jpg": b"annotated",
        "images/in.jpg": b"as seen",
        "sounds/note.wav": b"of a later version",
        **dict(members),
    }


def send(api, body, *, query="", key=KEY):
    with connect(api) as connection:
        return post(connection, f"/vision-events/bundle{query}", body, key=key)


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["tar", "tar.gz"])
def test_a_bundle_is_kept_as_if_its_pictures_had_been_uploaded(api, compress):
    status, reply = send(api, compress(tar(bundle(eventId="e-1"))))

    assert (status, reply) == (201, {"eventId": "e-1", "created": True})
    stored = api.events["e-1"]
    assert api.picture_of(stored) == b"annotated"
    assert api.picture_of(stored, "input") == b"as seen"
    first, second = stored["images"]
    assert first.keys() == {"label", "sourceId", "inputSourceId"}
    assert second == {"sourceId": first["sourceId"]}
    assert "bundleFormatVersion" not in stored
    assert len(api.uploads) == 2
    shot = api.uploads[first["sourceId"]]
    assert (shot.media_type, shot.size_bytes) == ("image/jpeg", 9)
    assert api.requests[0].event_ids == ("e-1",)
    assert [event_id for event_id, _ in api.arrivals] == ["e-1"]


def test_a_use_case_in_the_address_wins_over_the_one_in_the_bundle(api):
    for use_case_id in ("line-4", "left out"):
        body = tar(bundle(eventId="e-1", useCaseId=use_case_id))
        assert send(api, body, query="?useCaseId=line%209")[0] == 201
        assert api.events.pop("e-1")["useCaseId"] == "line 9"


def test_a_bundle_without_any_use_case_is_refused(api):
    assert send(api, tar(bundle(useCaseId="left out")))[0] == 400


def test_a_bundle_needs_a_good_key_in_its_header(api):
    assert send(api, tar(bundle()), key=None, query=f"?api_key={KEY}")[0] == 401
    api.forbid(KEY)
    assert send(api, tar(bundle()))[0] == 403
    assert not api.uploads


def test_a_poisoned_event_is_refused_in_a_bundle_too(api):
    api.poison("e-1")
    assert send(api, tar(bundle(eventId="e-1")))[0] == 400
    assert not api.uploads


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (tar(bundle({"../up": b"x"})), "outside"),
        (tar(bundle(bundleFormatVersion=2)), "bundleFormatVersion"),
        (tar(bundle(images=[{"file": "images/none.jpg"}])), "images/none.jpg"),
        (tar(bundle(images=[{"inputFile": ["images/in.jpg"]}])), "images/in.jpg"),
        (tar(bundle({"images/big.jpg": bytes(101 * 2**20)})), "unpacks to more"),
    ],
    ids=["up", "version", "no such member", "no name", "bomb"],
)
def test_what_is_no_safe_bundle_is_refused_as_a_whole_and_with_the_reason(api, body, words):
    status, reply = send(api, gzip.compress(body, compresslevel=1))
    assert status == 400
    assert words in reply["error"]
    assert not api.events
    assert not api.uploads


def test_a_bundle_may_be_as_large_as_the_limit_and_no_larger(api):
    body = tar(bundle(eventId="e-1"))
    body += bytes(RAW_LIMIT_BYTES - len(body))
    assert send(api, body)[0] == 201
    assert send(api, body + b"\0")[0] == 413


def local_event(**changes):
    return {
        "inference_timestamp": "2026-03-01T09:15:27.123456+00:00",
        "event_schema": "quality_check",
        "event_data": {"result": "fail"},
        "solution": "line-4",
        "images": [{"base64Image": "/9j/4AAQ"}],
        **changes,
    }


def keep(api, document, headers=None):
    with connect(api) as connection:
        return post(connection, "/v2/events", document, key=None, headers=headers)


def test_the_event_store_keeps_what_comes_again_as_another_event(api):
    replies = [keep(api, local_event()) for _ in range(2)]

    assert [status for status, _ in replies] == [201, 201]
    ids = [reply["id"] for _, reply in replies]
    assert len(set(ids)) == 2
    assert api.event_store_events == [{**local_event(), "id": one} for one in ids]
    assert (api.events, api.arrivals) == ({}, [])


@pytest.mark.parametrize(
    ("document", "status", "words"),
    [
        (local_event(inference_timestamp=None), 422, "inference_timestamp"),
        (local_event(event_schema="party"), 422, "event_schema"),
        (local_event(event_schema=None), 422, "event_schema"),
        (local_event(event_data=None), 422, "event_data is not accepted"),
        (local_event(event_data={"result": "pass", "score": 3}), 422, "event_data.score"),
        (local_event(event_data={"value": "of another type"}), 422, "event_data.value"),
        ([], 422, "object"),
        (b"no JSON", 400, "JSON"),
    ],
    ids=["no time", "type", "no type", "no data", "unknown key", "foreign key", "list", "text"],
)
def test_the_event_store_says_in_its_own_way_what_it_does_not_take(api, document, status, words):
    seen, reply = keep(api, document)
    assert seen == status
    assert words in reply["detail"]
    assert not api.event_store_events


def test_the_event_store_wants_its_key_if_it_has_one_and_no_other(api):
    api.event_store_key = "of the store"
    assert keep(api, local_event(), {"Authorization": "Bearer of the store"})[0] == 401
    status, reply = keep(api, local_event(), {"X-API-Key": "another"})
    assert status == 401
    assert "detail" in reply
    assert keep(api, local_event(), {"X-API-Key": "of the store"})[0] == 201
    assert len(api.event_store_events) == 1


def test_a_full_event_store_says_so_and_the_api_beside_it_goes_on(api):
    api.fail(529, route="event_store", times=1)
    status, reply = keep(api, local_event())
    assert status == 529
    assert "detail" in reply
    assert keep(api, local_event())[0] == 201

    api.fail(529, route="event_store")
    with connect(api) as connection:
        assert post(connection, "/vision-events", event())[0] == 201

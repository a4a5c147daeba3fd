"""The client of the event store on the device, against the stand-in."""

from __future__ import annotations

import traceback
from contextlib import contextmanager

import pytest

from vision_event_block import __version__
from vision_event_block.delivery.client import EventStoreClient, Secret
from vision_event_block.delivery.errors import (
    AuthError,
    NoAnswer,
    NotNow,
    RejectedError,
    UnknownReply,
    VisionEventsError,
)
from vision_event_block.delivery.replies import EventStoreReply

KEY = "store/made+up key"
ROUTE = "POST /v2/events"
BODY = {
    "inference_timestamp": "2026-03-01T09:15:27.000000+00:00",
    "event_schema": "quality_check",
    "event_data": {"result": "pass"},
    "images": [{"label": "nächtlich \U0001f319", "base64Image": "/9j/4A=="}],
}


@contextmanager
def client_of(base_url, **options):
    client = EventStoreClient(base_url=base_url, **options)
    try:
        yield client
    finally:
        client.close()


@pytest.fixture
def client(api):
    with client_of(api.url) as client:
        yield client


def test_an_event_arrives_as_it_was_and_gets_an_id_of_the_store(api, client):
    reply = client.create(BODY)

    (stored,) = api.event_store_events
    assert stored == {**BODY, "id": reply.id}


def test_a_key_is_sent_in_its_own_header_and_nowhere_else(api):
    api.event_store_key = KEY
    with client_of(f"{api.url}/", api_key=Secret(KEY)) as client:
        client.create(BODY)
    (recorded,) = api.requests
    assert recorded.path == "/v2/events"
    assert recorded.headers["X-API-Key"] == KEY
    assert "Authorization" not in recorded.headers
    assert recorded.headers["Content-Type"] == "application/json"
    assert recorded.headers["User-Agent"] == f"vision-event-block/{__version__}"


def test_without_a_key_nobodys_is_sent(api, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with client_of(api.url) as client:
        client.create(BODY)
    (recorded,) = api.requests
    assert not {"authorization", "x-api-key"} & {name.lower() for name in recorded.headers}


@pytest.mark.parametrize("key", [None, "another"])
def test_a_missing_or_wrong_key_is_trouble_with_the_stores_key(api, key):
    api.event_store_key = KEY
    with (
        client_of(api.url, api_key=key and Secret(key)) as client,
        pytest.raises(AuthError, match="the event store key was refused.*missing") as caught,
    ):
        client.create(BODY)
    assert (caught.value.status, caught.value.route) == (401, ROUTE)


def test_a_full_store_is_not_able_now_and_says_why_and_until_when(api, client):
    full = {"detail": "disk full, 12 uploads pending", "error": "capacity_blocked"}
    api.fail(529, body=full, retry_after="7", times=1)
    with pytest.raises(
        NotNow, match=r"the event store is temporarily unavailable \(529\)"
    ) as caught:
        client.create(BODY)
    assert str(caught.value).endswith(": disk full, 12 uploads pending")
    assert caught.value.retry_after_s == 7.0
    assert client.create(BODY).id


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RejectedError),
        (401, AuthError),
        (403, AuthError),
        (404, UnknownReply),
        (405, UnknownReply),
        (413, RejectedError),
        (422, RejectedError),
        (429, NotNow),
        (500, NotNow),
        (503, NotNow),
        (307, UnknownReply),
    ],
)
def test_a_status_becomes_its_error(api, client, status, kind):
    api.fail(status, body={"detail": "the store's own words"})
    with pytest.raises(VisionEventsError, match="the store's own words") as caught:
        client.create(BODY)
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.route) == (status, ROUTE)


def test_another_service_at_the_address_condemns_no_event(api):
    api.fail(404, body={"detail": "Not Found"})
    with (
        client_of(f"{api.url}/elsewhere") as client,
        pytest.raises(NoAnswer, match="check the URL"),
    ):
        client.create(BODY)


@pytest.mark.parametrize(
    ("detail", "words"),
    [
        (
            [
                {
                    "type": "extra_forbidden",
                    "loc": ["body", "event_data", "score"],
                    "msg": "Extra inputs are not permitted",
                    "input": "/9j/4AAQ",
                },
                {"loc": ["body", "images", 0, "label"], "msg": "Input should be a string"},
            ],
            (
                "event_data.score: Extra inputs are not permitted; "
                "images.0.label: Input should be a string"
            ),
        ),
        ([{"loc": ["query", "x"], "msg": "Field required"}], "query.x: Field required"),
        ([{"loc": ["body"], "msg": "Field required"}], "Field required"),
        ([{"msg": "no place"}, "a text", 7, {"loc": ["body", "x"]}], "no place; a text"),
        ([{"loc": "solution", "msg": "too long"}], "solution: too long"),
        (" too\nlong ", "too long"),
        ({"reason": "odd"}, '{"detail": {"reason": "odd"}}'),
        ([], '{"detail": []}'),
        (None, '{"detail": null}'),
    ],
)
def test_what_is_wrong_with_an_event_can_be_read(api, client, detail, words):
    api.fail(422, body={"detail": detail})
    with pytest.raises(RejectedError) as caught:
        client.create(BODY)
    assert str(caught.value) == f"{ROUTE}: the event store refused it (422): {words}"


def test_an_event_that_the_store_does_not_know_is_refused_by_name(api, client):
    with pytest.raises(RejectedError, match=r"event_data\.score is not accepted"):
        client.create({**BODY, "event_data": {"score": 1}})
    assert not api.event_store_events


@pytest.mark.parametrize(
    ("reply", "event_id"), [({"id": "a"}, "a"), ({"id": 7}, "7"), ({}, None), ({"id": None}, None)]
)
def test_a_kept_event_may_be_answered_in_few_words(reply, event_id):
    assert EventStoreReply.from_json(reply) == EventStoreReply(event_id)


@pytest.mark.parametrize("body", ["<html>Please log in</html>", {"error": "upstream is down"}])
def test_a_success_that_is_none_is_no_answer(api, client, body):
    api.fail(200, body=body)
    with pytest.raises(NoAnswer):
        client.create(BODY)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_json_cannot_say_is_not_even_sent(api, client, number):
    with pytest.raises(ValueError, match="JSON"):
        client.create({**BODY, "custom_metadata": {"temp": number}})
    assert not api.requests


@pytest.mark.parametrize("status", [200, 307, 401, 422, 529])
def test_no_error_tells_the_key_not_even_with_the_locals_of_its_traceback(api, status):
    api.fail(status, body={"detail": f"{KEY} or store%2Fmade%2Bup%20key?", "error": KEY})
    with (
        client_of(api.url, api_key=Secret(KEY)) as client,
        pytest.raises(VisionEventsError) as caught,
    ):
        client.create(BODY)
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    told = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    # This frame's own locals do not hold the key, only the module does.
    assert "EventStoreClient object" in told
    for shown in (told, str(error), repr(error)):
        assert KEY not in shown
        assert "store%2Fmade" not in shown

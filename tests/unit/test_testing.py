"""The stand-in, spoken to by a client of the standard library that shares no code with ours."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
import uuid
from contextlib import closing

import pytest

from tests.bodies import event
from tests.waiting import TIMEOUT_S, eventually
from vision_event_block.testing import StandInApi

KEY = "made-up-key"
BOUNDARY = "c0ffee"


def connect(api, timeout_s=TIMEOUT_S):
    return closing(
        http.client.HTTPConnection("127.0.0.1", int(api.url.rpartition(":")[2]), timeout=timeout_s)
    )


def post(connection, path, document, *, key=KEY, headers=None):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    bearer = {"Authorization": f"Bearer {key}"} if key else {}
    connection.request("POST", path, body, {**bearer, **(headers or {})})
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def form(content, *, name="file"):
    return (
        f"--{BOUNDARY}\r\n"
        f'Content-Disposition: form-data; name="{name}"; filename="shot.jpg"\r\n'
        f"Content-Type: image/jpeg\r\n\r\n".encode()
        + content
        + f'\r\n--{BOUNDARY}\r\nContent-Disposition: form-data; name="metadata"\r\n\r\n'.encode()
        + b'{"line": 4}'
        + f"\r\n--{BOUNDARY}--\r\n".encode()
    )


def upload(connection, content):
    multipart = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return post(connection, "/vision-events/upload", form(content), headers=multipart)


def test_an_uploaded_picture_keeps_every_byte_and_what_was_said_about_it(api):
    content = bytes(range(256)) * 40 + b"\r\n--" + b"\r\n\r\n--c0ffe"
    with connect(api) as connection:
        status, reply = upload(connection, content)
    assert status == 201
    stored = api.uploads[reply["sourceId"]]
    assert stored.picture == content
    assert (stored.file_name, stored.media_type) == ("shot.jpg", "image/jpeg")
    assert stored.metadata == {"line": 4}


@pytest.mark.parametrize("body", [b"", b"no form", form(b""), form(b"x", name="picture")])
def test_an_upload_without_a_file_is_refused(api, body):
    multipart = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    with connect(api) as connection:
        status, reply = post(connection, "/vision-events/upload", body, headers=multipart)
    assert (status, reply) == (400, {"error": "file is required"})


def test_an_event_is_stored_and_overwritten_under_its_id(api):
    first = event()
    second = {**first, "eventData": {"result": "fail"}}
    with connect(api) as connection:
        assert post(connection, "/vision-events", first) == (
            201,
            {"eventId": first["eventId"], "created": True},
        )
        post(connection, "/vision-events", second)
    assert list(api.events.values()) == [second]


@pytest.mark.parametrize(
    "changes",
    [
        {"eventId": None},
        {"eventType": "party"},
        {"timestamp": "2001-03-01T09:15:27Z"},
    ],
)
def test_a_wrong_strict_field_refuses_the_event_and_the_error_names_the_field(api, changes):
    with connect(api) as connection:
        status, reply = post(connection, "/vision-events", event(**changes))
    assert status == 400
    assert next(iter(changes)) in reply["error"]
    assert not api.events


@pytest.mark.parametrize(
    ("changes", "warnings"),
    [
        (
            {"eventData": {"result": "pass", "score": 3}},
            [("object.unknown", "eventData.score", 3, "number")],
        ),
        # A value that is no scalar is not repeated.
        ({"eventData": ["pass"]}, [("object.base", "eventData", None, "object")]),
    ],
)
def test_loose_trouble_is_a_warning_and_costs_the_event_data(api, changes, warnings):
    sent = event(**changes)
    with connect(api) as connection:
        status, reply = post(connection, "/vision-events", sent)
    assert status == 201
    assert len(reply["warnings"]) == len(warnings)
    for warning, expected in zip(reply["warnings"], warnings, strict=True):
        assert expected in (None, tuple(warning.values()))
    assert api.events[sent["eventId"]] == {**sent, "eventData": {}}


def test_a_batch_is_stored_as_a_whole_in_its_order(api):
    events = [event(), event(eventData={"result": "?"}), event()]
    with connect(api) as connection:
        status, reply = post(connection, "/vision-events/batch", {"events": events})
    ids = [one["eventId"] for one in events]
    assert (status, reply["created"], reply["eventIds"]) == (201, 3, ids)
    assert [warning["eventId"] for warning in reply["warnings"]] == [ids[1]]
    assert list(api.events) == ids


@pytest.mark.parametrize(
    "document",
    [
        {"events": [event(), event(useCaseId=None)]},
        {"events": [event()] * 101},
        {"events": []},
        {},
        [],
    ],
    ids=["one bad event", "too many", "none", "no key", "no object"],
)
def test_a_batch_with_anything_wrong_in_it_stores_nothing(api, document):
    with connect(api) as connection:
        status, reply = post(connection, "/vision-events/batch", document)
    assert status == 400
    assert reply["error"].startswith("events")
    assert not api.events


def test_events_without_id_and_time_are_taken_only_if_the_stand_in_is_not_strict():
    sent = event()
    del sent["eventId"], sent["timestamp"]
    with StandInApi(strict=False) as lenient, connect(lenient) as connection:
        status, reply = post(connection, "/vision-events", sent)
        batch = post(connection, "/vision-events/batch", {"events": [sent, event()]})[1]
        empty = post(connection, "/vision-events", {**sent, "eventId": ""})
        kept = dict(lenient.events)
    with StandInApi() as strict, connect(strict) as connection:
        refused = post(connection, "/vision-events", sent)

    assert status == 201
    assert [warning["path"] for warning in reply["warnings"]] == ["eventId", "timestamp"]
    assert list(kept) == [reply["eventId"], *batch["eventIds"]]
    assert {warning["eventId"] for warning in batch["warnings"]} == {batch["eventIds"][0]}
    assert uuid.UUID(reply["eventId"]).version == 4
    assert empty[0] == 400
    assert refused == (400, {"error": "eventId is required"})


def test_an_older_name_of_the_use_case_is_answered_with_its_deprecation(api):
    sent = event()
    sent["solution"] = sent.pop("useCaseId")
    with connect(api) as connection:
        _, reply = post(connection, "/vision-events", sent)
        _, batch = post(connection, "/vision-events/batch", {"events": [event(), sent]})
    entry = {"field": "solution", "replacement": "useCaseId", "message": "use useCaseId"}
    assert reply == {"eventId": sent["eventId"], "created": True, "deprecations": [entry]}
    assert batch["deprecations"] == [{"eventId": sent["eventId"], **entry}]
    assert api.events[sent["eventId"]]["useCaseId"] == "line-4"


@pytest.mark.parametrize(
    ("given", "alone", "of_many"),
    [
        ((), {"field": "deviceId"}, {"eventId": "e-1", "field": "deviceId"}),
        (({"old": "deviceId"},), {"old": "deviceId"}, {"eventId": "e-1", "old": "deviceId"}),
        (("deviceId is old",), "deviceId is old", "deviceId is old"),
    ],
    ids=["by default", "an object", "a text"],
)
def test_any_field_can_be_deprecated_in_any_shape(api, given, alone, of_many):
    sent = event(eventId="e-1", deviceId="cam-1")
    api.deprecate("deviceId", *given)
    with connect(api) as connection:
        status, reply = post(connection, "/vision-events", sent)
        _, batch = post(connection, "/vision-events/batch", {"events": [event(), sent]})
        _, without = post(connection, "/vision-events", event())
    assert (status, reply["deprecations"]) == (201, [alone])
    assert batch["deprecations"] == [of_many]
    assert "deprecations" not in without
    assert api.events["e-1"] == sent


def test_keys_are_missing_refused_forbidden_and_allowed_again(api):
    with connect(api) as connection:
        assert post(connection, "/vision-events", event(), key=None)[0] == 401
        api.refuse_key(KEY)
        assert post(connection, "/vision-events", event())[0] == 401
        api.forbid(KEY)
        words = {"error": "Insufficient permissions for this resource."}
        assert post(connection, "/vision-events", event()) == (403, words)
        assert post(connection, "/vision-events", event(), key="another")[0] == 201
        api.allow(KEY)
        assert post(connection, "/vision-events", event())[0] == 201


def test_a_scripted_failure_hits_its_route_so_many_times_and_stores_nothing(api):
    api.fail(503, route="create", times=2, retry_after="7")
    with connect(api) as connection:
        assert upload(connection, b"picture")[0] == 201
        for _ in range(2):
            connection.request("POST", "/vision-events", b"{}")
            response = connection.getresponse()
            response.read()
            assert (response.status, response.headers["Retry-After"]) == (503, "7")
        assert not api.events
        assert post(connection, "/vision-events", event())[0] == 201


def test_failures_are_shown_in_the_order_of_the_script_until_healed(api):
    api.fail(500, times=1, body={"error": "own words"})
    api.fail(429)
    with connect(api) as connection:
        assert post(connection, "/vision-events", event()) == (500, {"error": "own words"})
        assert [post(connection, "/vision-events", event())[0] for _ in range(3)] == [429] * 3
        api.heal()
        assert post(connection, "/vision-events", event())[0] == 201


@pytest.mark.parametrize("after_storing", [False, True])
@pytest.mark.parametrize(
    ("reset", "seen"),
    [(False, http.client.RemoteDisconnected), (True, ConnectionResetError)],
)
def test_a_cut_ends_the_connection_unanswered_before_or_after_storing(
    api, after_storing, reset, seen
):
    api.cut(times=1, after_storing=after_storing, reset=reset)
    with connect(api) as connection, pytest.raises(ConnectionError) as caught:
        post(connection, "/vision-events", event())
    assert caught.type is seen
    assert len(api.events) == after_storing
    assert [request.status for request in api.requests] == [None]


def test_a_hanging_answer_comes_late_but_is_a_real_one(api):
    api.hang(0.2, times=1)
    started_s = time.monotonic()
    with connect(api) as connection:
        assert post(connection, "/vision-events", event())[0] == 201
    assert time.monotonic() - started_s > 0.19
    assert api.requests[0].ended_s - api.requests[0].started_s > 0.19


def test_what_hangs_is_cut_off_and_not_carried_out_once_healed(api):
    api.hang(3600)
    with connect(api) as connection:
        connection.request("POST", "/vision-events", json.dumps(event()))
        eventually(lambda: api.hanging == 1)
        api.heal()
        with pytest.raises(ConnectionError):
            connection.getresponse()
    eventually(lambda: api.hanging == 0)
    assert not api.events
    with connect(api) as connection:
        assert post(connection, "/vision-events", event())[0] == 201


def test_stopping_is_quick_while_answers_hang_and_leaves_no_thread():
    threads = threading.active_count()
    with StandInApi() as api:
        api.hang(60)
        with connect(api) as connection:
            connection.request("POST", "/vision-events", json.dumps(event()))
            eventually(lambda: api.hanging)
            started_s = time.monotonic()
            api.__exit__(None, None, None)
            assert time.monotonic() - started_s < 30
            with pytest.raises(ConnectionError):
                connection.getresponse()
    eventually(lambda: threading.active_count() <= threads)
    assert not api.events


def test_an_answer_that_nobody_waits_for_any_more_is_no_matter(api, capfd):
    api.hang(0.2, times=1)
    with connect(api) as connection:
        connection.request("POST", "/vision-events", json.dumps(event()))
        eventually(lambda: api.hanging)
        api.refuse()
        with pytest.raises(ConnectionError):
            connection.getresponse()
    eventually(lambda: api.requests)
    time.sleep(0.1)  # the answer is written right after
    assert capfd.readouterr().err == ""


def test_a_refusing_api_ends_connections_and_comes_back_on_the_same_port(api):
    with connect(api) as kept:
        post(kept, "/vision-events", event())
        url = api.url
        with api.refusing():
            with connect(api) as fresh, pytest.raises(ConnectionRefusedError):
                fresh.connect()
            kept.auto_open = False
            with pytest.raises((ConnectionError, http.client.NotConnected)):
                post(kept, "/vision-events", event())
        assert api.url == url
    with connect(api) as connection:
        assert post(connection, "/vision-events", event())[0] == 201


def test_delays_hit_each_request_and_each_new_connection_once(api):
    api.delay_s, api.connect_delay_s = 0.1, 1.0
    with connect(api) as connection:
        durations_s = []
        for _ in range(2):
            started_s = time.monotonic()
            post(connection, "/vision-events", event())
            durations_s.append(time.monotonic() - started_s)
    assert durations_s[0] > 1.09
    assert 0.09 < durations_s[1] < 1.0


def test_the_record_tells_connections_and_parallel_requests_apart(api):
    api.delay_s = 1.0
    both_ready = threading.Barrier(2)

    def send_two():
        with connect(api) as connection:
            both_ready.wait()
            upload(connection, b"a")
            api.delay_s = 0.0
            post(connection, "/vision-events", event())

    threads = [threading.Thread(target=send_two) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first, second = (request for request in api.requests if request.route == "upload")
    assert max(first.started_s, second.started_s) < min(first.ended_s, second.ended_s)
    assert first.connection != second.connection
    assert len(api.requests) == 4
    assert len({request.connection for request in api.requests}) == 2


def test_waiting_for_events_ends_when_they_are_there_or_says_how_many_are(api):
    with pytest.raises(TimeoutError, match="0 of 1 events"):
        api.wait_for_events(1, timeout_s=0.05)
    sent = event()

    def send_later():
        time.sleep(0.1)
        with connect(api) as connection:
            post(connection, "/vision-events", sent)

    sender = threading.Thread(target=send_later)
    sender.start()
    assert api.wait_for_events(1) == [sent]
    sender.join()


def test_both_pictures_of_an_event_can_be_looked_at(api):
    with connect(api) as connection:
        output_id = upload(connection, b"annotated")[1]["sourceId"]
        input_id = upload(connection, b"as seen")[1]["sourceId"]
    sent = event(images=[{"sourceId": output_id, "inputSourceId": input_id}])
    assert api.picture_of(sent) == b"annotated"
    assert api.picture_of(sent, "input") == b"as seen"


@pytest.mark.parametrize("path", ["/", "/vision-events/query"])
def test_other_routes_are_not_found(api, path):
    with connect(api) as connection:
        assert post(connection, path, {})[0] == 404


def test_a_body_that_is_no_json_is_refused(api):
    with connect(api) as connection:
        assert post(connection, "/vision-events", b"{") == (400, {"error": "body must be JSON"})


def test_a_client_that_leaves_in_the_middle_stores_nothing_and_disturbs_nobody(api, capfd):
    port = int(api.url.rpartition(":")[2])
    body = json.dumps(event()).encode()
    head = "POST /vision-events HTTP/1.1\r\nAuthorization: Bearer k\r\nContent-Length: "
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(f"{head}{len(body) + 1}\r\n\r\n".encode() + body)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    assert not api.events
    assert not api.requests
    with connect(api) as connection:
        assert post(connection, "/vision-events", event())[0] == 201
    assert capfd.readouterr().err == ""

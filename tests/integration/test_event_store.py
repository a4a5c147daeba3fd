"""`write_to_event_store`: the same event for the service on the device, through the same outbox."""

from __future__ import annotations

import base64
import logging

import pytest

from tests.integration.test_block import BOX, BOXES, IMAGE, parameter, prediction, workflow
from vision_event_block import settings


@pytest.fixture
def operator(monkeypatch):
    """A function that sets what the operator says about event stores."""

    def says(**variables):
        for name in ("URL", "ALLOWED_URLS"):
            monkeypatch.delenv(f"VISION_EVENT_STORE_{name}", raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(f"VISION_EVENT_STORE_{name}", value)
        settings.current.cache_clear()

    yield says
    monkeypatch.undo()
    settings.current.cache_clear()


@pytest.fixture
def local(api, operator):
    """The fields of a step that writes to the operator's event store."""
    operator(URL=api.url)
    return {"write_to_event_store": True, "event_store_url": api.url}


def test_an_event_reaches_the_store_with_picture_and_boxes_and_needs_no_key(
    api, compiled, photo, local, monkeypatch
):
    for name in ("ROBOFLOW_API_KEY", "API_KEY", "EVENT_INGESTION_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    specification = workflow(
        inputs=(IMAGE, BOXES),
        input_image="$inputs.image",
        predictions="$inputs.p",
        custom_value="belt stopped",
        **local,
    )

    [result] = compiled(specification, api_key=None).run(
        runtime_parameters={"image": [photo], "p": [prediction(BOX)]}
    )

    assert result["delivery_status"] == "delivered", result["message"]
    [event] = api.event_store_events
    assert (event["event_schema"], event["solution"]) == ("custom", "dock")
    assert event["event_data"] == {"value": "belt stopped"}
    [image] = event["images"]
    assert base64.b64decode(image["inputBase64Image"]).startswith(b"\xff\xd8")
    assert image["objectDetections"][0]["class"] == "cat"
    assert [(request.route, "Authorization" in request.headers) for request in api.requests] == [
        ("event_store", False)
    ]


def test_the_stores_own_key_is_sent_and_no_other(api, compiled, photo, local, monkeypatch):
    api.event_store_key = "key-of-the-store"
    monkeypatch.setenv("EVENT_INGESTION_API_KEY", "key-of-the-store")
    specification = workflow(input_image="$inputs.image", **local)

    [result] = compiled(specification).run(runtime_parameters={"image": [photo]})

    assert result["delivery_status"] == "delivered", result["message"]
    assert len(api.event_store_events) == 1


def test_a_full_store_is_waited_for_and_the_event_arrives_once_it_has_room(
    api, compiled, photo, local
):
    api.fail(529, route="event_store", times=2)
    specification = workflow(input_image="$inputs.image", **local)

    [result] = compiled(specification).run(runtime_parameters={"image": [photo]})

    assert result["delivery_status"] == "delivered", result["message"]
    assert len(api.event_store_events) == 1
    assert [request.status for request in api.requests] == [529, 529, 201]


def test_the_switch_may_come_over_a_wire(api, compiled, photo, local):
    specification = workflow(
        inputs=(IMAGE, parameter("local", default=False)),
        input_image="$inputs.image",
        **{**local, "write_to_event_store": "$inputs.local"},
    )
    engine = compiled(specification)

    engine.run(runtime_parameters={"image": [photo], "local": True})
    engine.run(runtime_parameters={"image": [photo], "local": False})

    assert len(api.event_store_events) == 1
    assert len(api.events) == 1


def test_an_address_that_is_none_is_named(api, compiled, photo, local):
    specification = workflow(
        input_image="$inputs.image", **{**local, "event_store_url": "store.local:8001"}
    )

    [result] = compiled(specification).run(runtime_parameters={"image": [photo]})

    assert (result["delivery_status"], result["error_status"]) == ("failed", True)
    assert "event_store_url" in result["message"]
    assert not api.requests


KEY = "key-of-the-store"


def run_with_address(compiled, photo, address):
    """What a run answers whose parameter names the event store."""
    specification = workflow(
        inputs=(IMAGE, parameter("where", default="")),
        input_image="$inputs.image",
        write_to_event_store=True,
        event_store_url="$inputs.where",
    )
    [result] = compiled(specification).run(runtime_parameters={"image": [photo], "where": address})
    return result


@pytest.mark.parametrize(
    "address",
    [
        "{url}",
        "{url}/?",
        "{url}/#",
        "http://localhost:8001@{host}",
        "http://localhost:8001?@{host}",
        "http://localhost:8001\\@{host}",
        "http://localhost:8001#@{host}",
        "http://localhost:8001 @{host}",
        "http://localhost:8001/../@{host}",
    ],
)
def test_a_run_cannot_send_the_key_or_a_request_where_the_operator_has_not_allowed_it(
    api, compiled, photo, operator, monkeypatch, address
):
    operator()
    monkeypatch.setenv("EVENT_INGESTION_API_KEY", KEY)
    host = api.url.removeprefix("http://")

    result = run_with_address(compiled, photo, address.format(url=api.url, host=host))

    assert (result["delivery_status"], result["error_status"]) == ("failed", True)
    assert "event_store_url" in result["message"]
    assert api.requests == []


def test_the_operator_allows_further_addresses_and_any_spelling_leads_to_his(
    api, compiled, photo, operator, monkeypatch
):
    operator(URL="http://127.0.0.1:9", ALLOWED_URLS=f"http://other.invalid {api.url}")
    monkeypatch.setenv("EVENT_INGESTION_API_KEY", KEY)
    api.event_store_key = KEY
    port = api.url.rpartition(":")[2]

    for address in (api.url, f"{api.url}/", f"http://LOCALHOST:{port}", f"http://[::1]:{port}"):
        result = run_with_address(compiled, photo, address)
        assert result["delivery_status"] == "delivered", result["message"]

    assert len(api.event_store_events) == 4
    assert len({request.headers["Host"] for request in api.requests}) == 1


@pytest.mark.parametrize("address", ["", "http://localhost:8001"])
def test_an_address_left_as_it_is_means_the_operators(api, compiled, photo, operator, address):
    operator(URL=api.url)

    result = run_with_address(compiled, photo, address)

    assert result["delivery_status"] == "delivered", result["message"]


@pytest.mark.parametrize("status", [200, 302, 400, 401, 404, 500])
def test_what_an_event_store_answers_is_for_the_log_and_not_for_whoever_runs_a_workflow(
    api, compiled, photo, local, monkeypatch, caplog, status
):
    api.fail(status, route="event_store", body="words from the inside")
    monkeypatch.setenv("VISION_EVENT_WAIT_S", "2")
    settings.current.cache_clear()

    with caplog.at_level(logging.INFO):
        result = run_with_address(compiled, photo, api.url)
    api.heal()

    assert "from the inside" not in str(result)
    assert "log" in result["message"]
    assert "from the inside" in caplog.text

"""`write_to_event_store`: the same event for the service on the device, through the same outbox."""

from __future__ import annotations

import base64

import pytest

from tests.integration.test_block import BOX, BOXES, IMAGE, parameter, prediction, workflow


@pytest.fixture
def local(api):
    """The fields of a step that writes to the event store."""
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

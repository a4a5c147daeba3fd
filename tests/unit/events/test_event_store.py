"""The body for the event store on the device, made of a bundle's payload."""

from __future__ import annotations

import base64

import pytest

from vision_event_block.contract import limits
from vision_event_block.events.bundle import encode_payload
from vision_event_block.events.event_store import (
    COMMENT_KEY,
    event_store_adjustments,
    event_store_body,
)

BOXES = {"objectDetections": [{"class": "cat"}]}
PICTURES = {"images/o.jpg": b"\xff\xd8output", "images/i.jpg": b"\xff\xd8input"}
MAIN = {"label": "workflow", "file": "images/o.jpg", "inputFile": "images/i.jpg", **BOXES}


def payload(**changes):
    values = {
        "bundleFormatVersion": 1,
        "eventId": "e-1",
        "eventType": "quality_check",
        "useCaseId": "dock",
        "timestamp": "2026-03-01T09:15:27.000000+00:00",
        "images": [],
    }
    return {**values, **changes}


def test_what_is_not_there_is_not_sent_but_for_what_the_store_demands():
    assert event_store_body(payload(), {}) == {
        "inference_timestamp": "2026-03-01T09:15:27.000000+00:00",
        "event_schema": "quality_check",
        "event_data": {},
        "images": [],
        "solution": "dock",
    }


def test_everything_that_is_there_is_sent_under_the_stores_names():
    body = event_store_body(
        payload(
            images=[MAIN],
            displayImagePosition=0,
            eventData={"result": "pass", "externalId": "x"},
            customMetadata={"shift": "night"},
            deviceId="d",
            streamId="s",
            workflowId="w",
            workflowVersion="7",
        ),
        PICTURES,
    )

    assert body == {
        "inference_timestamp": "2026-03-01T09:15:27.000000+00:00",
        "event_schema": "quality_check",
        "event_data": {"result": "pass", "externalId": "x"},
        "images": [
            {
                "label": "workflow",
                "base64Image": base64.b64encode(b"\xff\xd8output").decode(),
                "inputBase64Image": base64.b64encode(b"\xff\xd8input").decode(),
                **BOXES,
            }
        ],
        "solution": "dock",
        "device_id": "d",
        "stream_id": "s",
        "workflow_id": "w",
        "workflow_version": "7",
        "custom_metadata": {"shift": "night"},
        "displayImagePosition": 0,
    }
    encode_payload(body)


def test_a_bundle_without_a_use_case_is_sent_without_one():
    no_use_case = payload()
    del no_use_case["useCaseId"]

    assert "solution" not in event_store_body(no_use_case, {})


def test_a_picture_that_was_shed_is_left_out_and_so_is_an_image_of_which_nothing_remains():
    top = {"label": "top", "file": "images/t.jpg"}
    shown = payload(images=[MAIN, top], displayImagePosition=0)

    without_output = event_store_body(shown, {"images/i.jpg": b"input"})
    bare = event_store_body(shown, {})

    (image,) = without_output["images"]
    assert image.keys() == {"label", "inputBase64Image", "objectDetections"}
    assert without_output["displayImagePosition"] == 0
    assert bare["images"] == [{"label": "workflow", **BOXES}]
    assert "displayImagePosition" not in bare


def test_a_comment_travels_among_the_custom_metadata_which_is_named():
    commented = payload(comment="a shadow", customMetadata={"shift": "night"})

    body = event_store_body(commented, {})
    (adjustment,) = event_store_adjustments(commented)

    assert body["custom_metadata"] == {"shift": "night", COMMENT_KEY: "a shadow"}
    assert "comment" not in body
    assert "sent as feedback_comment in custom_metadata" in str(adjustment)
    assert "cut" not in str(adjustment)
    assert commented["customMetadata"] == {"shift": "night"}


def test_a_long_comment_is_cut_to_the_length_of_a_metadata_value():
    commented = payload(comment="c" * 1001)

    text = event_store_body(commented, {})["custom_metadata"][COMMENT_KEY]
    (adjustment,) = event_store_adjustments(commented)

    assert len(text) == limits.MAX_METADATA_VALUE_CHARS
    assert text.endswith("c…")
    assert "cut from 1001 characters" in str(adjustment)


@pytest.mark.parametrize(
    "metadata",
    [{COMMENT_KEY: "the user's own"}, {f"key {i}": i for i in range(limits.MAX_METADATA_KEYS)}],
    ids=["key taken", "full"],
)
def test_a_comment_without_room_is_left_out_and_named(metadata):
    commented = payload(comment="a shadow", customMetadata=metadata)

    (adjustment,) = event_store_adjustments(commented)

    assert event_store_body(commented, {})["custom_metadata"] == metadata
    assert "left out" in str(adjustment)


def test_the_last_free_place_is_the_comments():
    metadata = {f"key {i}": i for i in range(limits.MAX_METADATA_KEYS - 1)}

    body = event_store_body(payload(comment="a shadow", customMetadata=metadata), {})

    assert body["custom_metadata"][COMMENT_KEY] == "a shadow"


@pytest.mark.parametrize("comment", [None, ""])
def test_without_a_comment_nothing_is_adjusted(comment):
    assert event_store_adjustments(payload()) == []
    assert event_store_adjustments(payload(comment=comment)) == []

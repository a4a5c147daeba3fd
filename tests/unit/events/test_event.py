"""The event as a value, and its body for the API."""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.unit.events.test_bundle import BOXES, event, picture
from vision_event_block.events.errors import UnfitEvent, UnfitPicture
from vision_event_block.events.event import EventImage, VisionEvent, use_case_id
from vision_event_block.events.images import Snapshot
from vision_event_block.events.values import short_text


def test_what_is_not_there_is_not_sent():
    assert event().payload({}) == {
        "eventId": "e-1",
        "eventType": "custom",
        "useCaseId": "dock",
        "timestamp": "2026-03-01T09:15:27.000000+00:00",
        "images": [],
    }


def test_everything_that_is_there_is_sent_under_the_apis_names():
    payload = event(
        event_data={"value": "x"},
        comment="note",
        custom_metadata={"shift": "night"},
        device_id="d",
        stream_id="s",
        workflow_id="w",
        workflow_version="7",
        images=(
            EventImage(label="workflow", input=picture("i"), output=picture("o"),
                       annotations=BOXES),
            EventImage(label="top", output=picture("t")),
        ),
    ).payload({"i": "I", "o": "O", "t": "T"})  # fmt: skip

    assert payload["images"] == [
        {"label": "workflow", "sourceId": "O", "inputSourceId": "I", **BOXES},
        {"label": "top", "sourceId": "T"},
    ]
    assert payload["displayImagePosition"] == 0
    assert payload["eventData"] == {"value": "x"}
    assert payload["customMetadata"] == {"shift": "night"}
    assert [payload[key] for key in ("comment", "deviceId", "streamId", "workflowId")] == [
        "note", "d", "s", "w",
    ]  # fmt: skip
    assert payload["workflowVersion"] == "7"


def test_annotations_without_a_picture_are_sent_but_not_as_the_one_to_display():
    payload = event(images=(EventImage(label="workflow", annotations=BOXES),)).payload({})

    assert payload["images"] == [{"label": "workflow", **BOXES}]
    assert "displayImagePosition" not in payload


def test_each_event_has_an_id_of_its_own_from_the_start():
    made = [VisionEvent(event_type="custom", use_case_id="d", timestamp=event().timestamp)
            for _ in range(2)]  # fmt: skip

    assert made[0].event_id != made[1].event_id
    assert made[0].payload({})["eventId"] == made[0].payload({})["eventId"]


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="zone"):
        event(timestamp=datetime(2026, 3, 1))  # noqa: DTZ001 - on purpose


class FakePixels:
    nbytes = 100


def snapshot(name):
    return Snapshot(pixels=FakePixels(), quality=90, picture_id=name)


def test_encoding_puts_each_picture_into_its_place():
    raw = event(
        images=(
            EventImage(label="workflow", input=snapshot("i"), output=picture("o")),
            EventImage(label="top", output=snapshot("t")),
        )
    )

    ready = raw.encoded(lambda snapshots: [picture(one.picture_id) for one in snapshots])

    assert [one.content for one in ready.pictures] == [b"o", b"i", b"t"]
    assert raw.size_bytes == 201
    assert ready.size_bytes == 3
    assert ready.event_id == raw.event_id


def test_a_picture_that_is_input_and_output_is_encoded_once():
    both = snapshot("b")
    raw = event(images=(EventImage(label="workflow", input=both, output=both),))

    def encode(snapshots):
        (only,) = snapshots
        return [picture(only.picture_id)]

    (image,) = raw.encoded(encode).images
    assert image.input is image.output
    assert image.input.content == b"b"
    assert raw.size_bytes == 100


def test_a_picture_that_cannot_be_encoded_is_left_out_and_named_and_so_is_an_empty_entry():
    raw = event(
        images=(
            EventImage(label="workflow", input=snapshot("i"), annotations=BOXES),
            EventImage(label="top", output=snapshot("t")),
        )
    )

    ready = raw.encoded(lambda snapshots: [UnfitPicture("no pixels") for _ in snapshots])

    assert [image.label for image in ready.images] == ["workflow"]
    assert ready.payload({})["images"] == [{"label": "workflow", **BOXES}]
    assert "no pixels" in str(ready.adjustments[0])


@pytest.mark.parametrize(
    ("given", "expected"), [(" dock ", "dock"), (7, "7"), ("u" * 256, "u" * 256)]
)
def test_a_use_case_is_text(given, expected):
    assert use_case_id(given) == expected


@pytest.mark.parametrize("given", [None, "", "  ", "u" * 257, "\N{PILE OF POO}" * 129])
def test_what_cannot_be_a_use_case_is_refused(given):
    with pytest.raises(UnfitEvent, match="use_case"):
        use_case_id(given)


def test_an_id_is_kept_cut_or_absent():
    assert short_text("cam-2", "stream_id", max_chars=256) == ("cam-2", [])
    assert short_text(None, "stream_id", max_chars=256) == (None, [])
    assert short_text("", "stream_id", max_chars=256) == (None, [])
    cut, (adjustment,) = short_text("d" * 300, "device_id", max_chars=256)
    assert cut == "d" * 255 + "…"
    assert "device_id" in str(adjustment)
    assert short_text("7" * 65, "workflow_version", max_chars=64)[0] == "7" * 63 + "…"

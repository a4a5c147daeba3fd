"""The event as a bundle, and the bodies that its payload becomes."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from datetime import datetime, timezone

import pytest

from vision_event_block.events.bundle import (
    bundle_of,
    create_body,
    encode_payload,
    input_members,
    picture_members,
    without_pictures,
)
from vision_event_block.events.event import EventImage, VisionEvent
from vision_event_block.events.images import Picture, Snapshot

BOXES = {"objectDetections": [{"class": "cat"}]}


def picture(name):
    return Picture(content=name.encode(), picture_id=name)


def event(*images, **changes):
    values = {
        "event_type": "custom",
        "use_case_id": "dock",
        "timestamp": datetime(2026, 3, 1, 9, 15, 27, tzinfo=timezone.utc),
        "event_id": "e-1",
        "images": images,
    }
    return VisionEvent(**{**values, **changes})


def two_views(**changes):
    """A first view with both pictures and boxes, a second with its output alone."""
    return event(
        EventImage(label="workflow", input=picture("i"), output=picture("o"), annotations=BOXES),
        EventImage(label="top", output=picture("t")),
        **changes,
    )


def members(*names):
    return [f"images/{name}.jpg" for name in names]


def images_after(change, *images):
    """What becomes of these images, and which one is on display."""
    changed = change(bundle_of(event(*images)).payload)
    return changed["images"], changed.get("displayImagePosition")


# The bundle


def test_a_bundle_names_its_pictures_by_member_and_holds_their_bytes():
    bundle = bundle_of(two_views(event_data={"value": "x"}, comment="note"))

    assert bundle.payload == {
        "bundleFormatVersion": 1,
        "eventId": "e-1",
        "eventType": "custom",
        "useCaseId": "dock",
        "timestamp": "2026-03-01T09:15:27.000000+00:00",
        "images": [
            {"label": "workflow", "file": "images/o.jpg", "inputFile": "images/i.jpg", **BOXES},
            {"label": "top", "file": "images/t.jpg"},
        ],
        "eventData": {"value": "x"},
        "comment": "note",
        "displayImagePosition": 0,
    }
    assert bundle.pictures == {
        "images/o.jpg": b"o", "images/i.jpg": b"i", "images/t.jpg": b"t",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("picture_id", "position"),
    [(None, 0), ("o", 0), ("i", 0), ("t", 1), ("gone", 0)],
)
def test_the_picture_on_display_is_the_one_that_was_chosen(picture_id, position):
    bundle = bundle_of(two_views(displayed_picture_id=picture_id))

    assert bundle.payload["displayImagePosition"] == position


@pytest.mark.parametrize(
    ("gone", "position"),
    [
        ((), 2),
        (("o",), 2),
        (("o", "i"), 2),  # the first view keeps its boxes, so it keeps its place
        (("t",), 1),
        (("s",), 0),
        (("o", "s"), 0),
        (("o", "i", "s"), 1),
        (("o", "i", "t", "s"), None),
    ],
)
def test_the_picture_on_display_stays_so_whatever_else_goes(gone, position):
    views = two_views(displayed_picture_id="s").images
    payload = bundle_of(
        event(*views, EventImage(label="side", output=picture("s")), displayed_picture_id="s")
    ).payload

    lighter = without_pictures(payload, members(*gone))

    assert lighter.get("displayImagePosition") == position


def test_an_event_without_pictures_is_a_bundle_too():
    bundle = bundle_of(event())

    assert (bundle.payload["images"], bundle.pictures) == ([], {})
    assert "displayImagePosition" not in bundle.payload


def test_a_picture_that_is_shown_twice_is_held_once():
    same = picture("s")
    bundle = bundle_of(
        event(EventImage(label="workflow", input=same, output=same),
              EventImage(label="top", output=same))
    )  # fmt: skip

    assert bundle.pictures == {"images/s.jpg": b"s"}
    assert picture_members(bundle.payload) == members("s")


def test_a_picture_that_is_not_encoded_yet_has_no_place_in_a_bundle():
    class Pixels:
        nbytes = 100

    raw = event(EventImage(label="workflow", output=Snapshot(pixels=Pixels(), quality=90)))

    with pytest.raises(ValueError, match="not encoded"):
        bundle_of(raw)


def test_members_come_in_the_order_of_the_images_outputs_first():
    payload = bundle_of(two_views()).payload

    assert picture_members(payload) == members("o", "i", "t")
    assert input_members(payload) == members("i")


def test_a_picture_that_is_output_and_input_is_one_member_named_twice():
    both = picture("b")
    bundle = bundle_of(event(EventImage(label="workflow", input=both, output=both)))

    assert bundle.pictures == {"images/b.jpg": b"b"}
    assert bundle.payload["images"] == [
        {"label": "workflow", "file": "images/b.jpg", "inputFile": "images/b.jpg"}
    ]
    assert picture_members(bundle.payload) == members("b")
    assert create_body(bundle.payload, {"images/b.jpg": "up"})["images"] == [
        {"label": "workflow", "sourceId": "up", "inputSourceId": "up"}
    ]


def test_the_picture_on_display_is_not_shed_as_an_original():
    both = picture("b")
    payload = bundle_of(event(EventImage(label="workflow", input=both, output=both))).payload

    assert input_members(payload) == []


@pytest.mark.parametrize("payload", [{}, {"images": []}, {"images": [{"label": "workflow"}]}])
def test_a_payload_without_pictures_has_no_members(payload):
    assert picture_members(payload) == input_members(payload) == []


# The body for the API


def test_the_body_for_the_api_is_what_the_event_itself_would_send():
    whole = two_views(event_data={"value": "x"}, custom_metadata={"a": 1}, device_id="d")
    by_member = {"images/o.jpg": "O", "images/i.jpg": "I", "images/t.jpg": "T"}

    body = create_body(bundle_of(whole).payload, by_member)

    assert body == whole.payload({"o": "O", "i": "I", "t": "T"})


@pytest.mark.parametrize(
    "change", [lambda p: create_body(p, {}), lambda p: without_pictures(p, [])]
)
def test_a_payload_is_left_as_it_was(change):
    payload = bundle_of(two_views()).payload
    before = copy.deepcopy(payload)

    change(payload)

    assert payload == before


def test_a_picture_without_an_id_of_the_api_is_left_out_and_the_rest_is_sent():
    body = create_body(bundle_of(two_views()).payload, {"images/i.jpg": "I", "images/t.jpg": "T"})

    assert body["images"] == [
        {"label": "workflow", "inputSourceId": "I", **BOXES},
        {"label": "top", "sourceId": "T"},
    ]
    assert body["displayImagePosition"] == 0


def test_annotations_outlive_their_pictures_but_an_empty_image_does_not():
    images, position = images_after(
        lambda payload: create_body(payload, {"images/o.jpg": "O"}),
        EventImage(label="workflow", output=picture("o")),
        EventImage(label="left", input=picture("l"), annotations=BOXES),
        EventImage(label="top", output=picture("t")),
    )

    assert images == [{"label": "workflow", "sourceId": "O"}, {"label": "left", **BOXES}]
    assert position == 0


@pytest.mark.parametrize(
    ("first", "source_ids", "position"),
    [
        ({"output": picture("a"), "annotations": BOXES}, {}, None),
        ({"input": picture("a"), "annotations": BOXES}, {"images/b.jpg": "B"}, 1),
        ({"output": picture("a")}, {"images/b.jpg": "B"}, 0),
        ({"input": picture("a")}, {"images/a.jpg": "A"}, 0),
        ({"output": picture("a")}, {}, None),
        ({"annotations": BOXES}, {"images/b.jpg": "B"}, 1),
    ],
    ids=["nothing", "second only", "second moved up", "first", "no image", "never had one"],
)
def test_the_first_image_with_a_picture_is_on_display(first, source_ids, position):
    _, shown = images_after(
        lambda payload: create_body(payload, source_ids),
        EventImage(label="a", **first),
        EventImage(label="b", output=picture("b")),
    )

    assert shown == position


def test_empty_lists_of_annotations_keep_no_image():
    payload = {"images": [{"label": "workflow", "file": "images/o.jpg", "keypoints": []}]}

    assert create_body(payload, {})["images"] == []


# Without some pictures


def test_a_payload_without_its_originals_is_still_a_bundle():
    payload = bundle_of(two_views()).payload

    lighter = without_pictures(payload, input_members(payload))

    assert lighter["bundleFormatVersion"] == 1
    assert lighter["images"] == [
        {"label": "workflow", "file": "images/o.jpg", **BOXES},
        {"label": "top", "file": "images/t.jpg"},
    ]
    assert lighter["displayImagePosition"] == 0
    assert picture_members(lighter) == members("o", "t")


def test_a_payload_without_any_picture_keeps_its_annotations():
    payload = bundle_of(two_views()).payload

    bare = without_pictures(payload, picture_members(payload))

    assert bare["images"] == [{"label": "workflow", **BOXES}]
    assert "displayImagePosition" not in bare
    assert bare["eventId"] == "e-1"


def test_a_payload_without_nothing_or_without_a_stranger_is_itself():
    payload = bundle_of(two_views()).payload

    assert without_pictures(payload, []) == without_pictures(payload, {"images/x.jpg"}) == payload


# As JSON


def test_a_payload_survives_as_compact_json():
    payload = bundle_of(two_views(comment="nächtlich \U0001f319")).payload

    encoded = encode_payload(payload)

    assert json.loads(encoded) == payload
    assert encoded.startswith(b'{"bundleFormatVersion":1,"eventId":"e-1",')


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_json_cannot_say_is_refused(number):
    with pytest.raises(ValueError, match="JSON"):
        encode_payload({"customMetadata": {"temp": number}})


def test_whoever_only_sends_what_is_stored_loads_no_image_library():
    program = (
        "import sys, vision_event_block.events.bundle, vision_event_block.events.event_store;"
        "print([name for name in ('cv2', 'numpy') if name in sys.modules])"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
    )

    assert ended.stdout == "[]\n"

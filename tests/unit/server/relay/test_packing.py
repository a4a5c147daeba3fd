"""Events of the store as bundles, and as the API gets them."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from vision_event_block.events.bundle import picture_members
from vision_event_block.outbox.slot import entry_name, event_id_of, is_entry
from vision_event_block.server.relay.packing import (
    entry_id,
    event_id_in,
    packing_of,
    request_body,
    source_ids_in,
)
from vision_event_block.server.store.records import StoredPicture


def known(**media_types):
    now = datetime.now(timezone.utc)
    return {
        picture_id: StoredPicture(
            id=picture_id,
            media_type=f"image/{media_type}",
            width=1,
            height=1,
            size_bytes=1,
            name=None,
            metadata={},
            uploaded_at=now,
        )
        for picture_id, media_type in media_types.items()
    }


def body(*images, **fields):
    return {"eventId": "e-1", "timestamp": "2026-03-01T09:15:27Z", "images": [*images], **fields}


def test_pictures_become_members_named_by_what_they_are_and_then_ids_of_the_api():
    sent = body({"label": "a", "sourceId": "p1", "inputSourceId": "p2"}, displayImagePosition=0)
    packing = packing_of(sent, known(p1="jpeg", p2="png"))

    assert packing.members == {"images/p1.jpg": "p1", "images/p2.png": "p2"}
    assert packing.missing == 0
    assert packing.payload["bundleFormatVersion"] == 1
    assert picture_members(packing.payload) == ["images/p1.jpg", "images/p2.png"]
    uploaded = {"images/p1.jpg": "api-1", "images/p2.png": "api-2"}
    assert request_body(packing.payload, uploaded) == body(
        {"label": "a", "sourceId": "api-1", "inputSourceId": "api-2"}, displayImagePosition=0
    )
    assert sent["images"][0]["sourceId"] == "p1", "the store's own body is left as it is"


def test_one_picture_in_two_places_is_one_member():
    sent = body({"sourceId": "p1"}, {"inputSourceId": "p1"})

    assert source_ids_in(sent) == ["p1"]
    assert packing_of(sent, known(p1="jpeg")).members == {"images/p1.jpg": "p1"}


@pytest.mark.parametrize("sent", [body(), {"eventId": "e-1"}])
def test_an_event_without_images_has_an_empty_list_of_them(sent):
    packing = packing_of(sent, {})

    assert (packing.members, packing.missing) == ({}, 0)
    assert request_body(packing.payload, {}) == {**sent, "images": []}


def test_a_picture_that_is_not_here_is_counted_and_its_annotations_stay():
    seen = {"classifications": [{"class": "a", "confidence": 0.5}]}
    packing = packing_of(body({"sourceId": "gone", "label": "a", **seen}), {})

    assert packing.missing == 1
    assert request_body(packing.payload, {})["images"] == [{"label": "a", **seen}]


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ({"classifications": [{"class": "a", "confidence": 1}]}, 1),  # it stays, without picture
        ({"label": "nothing but a label", "sourceId": "gone"}, None),  # it goes: 1 would be wrong
    ],
)
def test_the_image_on_display_is_the_one_that_was_named_or_none(first, expected):
    packing = packing_of(body(first, {"sourceId": "p1"}, displayImagePosition=1), known(p1="jpeg"))
    sent = request_body(packing.payload, {"images/p1.jpg": "api-1"})

    assert sent.get("displayImagePosition") == expected


@pytest.mark.parametrize(
    "event_id", ["0b1c-77", "../up", "a b\n", "", "-", "a.tar", "%2F", "\N{SNOWMAN}"]
)
def test_an_entry_is_named_so_that_the_id_can_be_read_back_and_nothing_else_can_happen(event_id):
    name = entry_name(1_700_000_000.0, entry_id(event_id))

    assert is_entry(name)
    assert "/" not in name
    assert not any(char.isspace() for char in name)  # the journal divides its lines by spaces
    assert event_id_in(event_id_of(name)) == event_id


def test_no_name_is_given_twice_and_none_is_too_long_for_a_disk():
    assert entry_id("e-1") != entry_id("e-1")
    assert len(entry_id("\N{SNOWMAN}" * 256)) < 200

"""Events of the store as bundles, and as the API gets them."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from vision_event_block.events.bundle import picture_members
from vision_event_block.outbox.entry_names import entry_name, event_id_of, is_entry
from vision_event_block.server.api.ingest import ingest
from vision_event_block.server.relay.packing import (
    entry_id,
    event_id_in,
    member_of,
    missing_in,
    payload_of,
    request_body,
    source_ids_in,
    with_members,
)
from vision_event_block.server.store.records import StoredPicture


def known(**media_types):
    return {
        picture_id: StoredPicture(
            id=picture_id,
            media_type=f"image/{media_type}",
            width=1,
            height=1,
            size_bytes=1,
            name=None,
            metadata={},
        )
        for picture_id, media_type in media_types.items()
    }


def body(*images, **fields):
    return {"eventId": "e-1", "timestamp": "2026-03-01T09:15:27Z", "images": [*images], **fields}


def test_an_entry_says_what_it_is_about_and_holds_the_event_as_it_came():
    sent = {**body({"sourceId": "p1", "odd": 1}), "eventType": "custom", "useCaseId": "line"}
    now = datetime(2026, 3, 2, tzinfo=timezone.utc)
    payload = payload_of(ingest({**sent, "odd": [1]}, now=now).event)

    assert payload["received"] == {**sent, "odd": [1]}
    assert (payload["eventId"], payload["useCaseId"]) == ("e-1", "line")
    assert (payload["bundleFormatVersion"], picture_members(payload)) == (1, [])
    assert picture_members(with_members(payload, ["images/p1.jpg"])) == ["images/p1.jpg"]


def test_pictures_are_named_by_what_they_are():
    pictures = known(p1="jpeg", p2="png")

    assert [member_of(each) for each in pictures.values()] == ["images/p1.jpg", "images/p2.png"]


def test_one_picture_in_two_places_is_one_picture():
    assert source_ids_in(body({"sourceId": "p1"}, {"inputSourceId": "p1"})) == ["p1"]


def test_the_api_gets_its_own_ids_and_everything_else_as_it_came():
    seen = {"classifications": [{"class": "a", "confidence": 0.5, "new": {}}], "file": "mine"}
    sent = body({"sourceId": "p1", **seen}, {"inputSourceId": "p2"}, displayImagePosition=1)

    assert request_body(sent, {"p1": "api-1", "p2": "api-2"}) == body(
        {"sourceId": "api-1", **seen}, {"inputSourceId": "api-2"}, displayImagePosition=1
    )
    assert sent["images"][0]["sourceId"] == "p1", "the store's own body is left as it is"


def test_a_picture_that_is_not_here_is_counted_and_only_its_name_is_left_out():
    sent = body({"sourceId": "gone", "label": "a"}, {"inputSourceId": "gone"}, {"sourceId": "p1"})

    assert missing_in(sent, known(p1="jpeg")) == 2
    assert request_body(sent, {"p1": "api"})["images"] == [{"label": "a"}, {}, {"sourceId": "api"}]


@pytest.mark.parametrize(
    "images", [None, "none", {"sourceId": "p1"}, [[], None, "a", {"sourceId": {"a": 1}}]]
)
def test_images_that_are_none_are_passed_on_for_the_api_to_judge(images):
    sent = {"eventId": "e-1", "images": images}

    assert source_ids_in(sent) == []
    assert missing_in(sent, {}) == 0
    assert request_body(sent, {"p1": "api"}) == sent


def test_an_event_without_images_gets_none():
    assert request_body({"eventId": "e-1"}, {}) == {"eventId": "e-1"}


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

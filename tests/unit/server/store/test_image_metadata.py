"""Metadata of images: what is read from an image, and how events are found by it."""

from __future__ import annotations

import pytest

from tests.unit.server.scenes import event, everything
from vision_event_block.contract import limits
from vision_event_block.server.store.facets import MAX_IMAGE_VALUES
from vision_event_block.server.store.image_metadata import image_metadata
from vision_event_block.server.store.query_filters import filters_of

NOT_READ = {
    "what an image is known to hold": {"label": "a", "sourceId": "b", "objectDetections": []},
    "a value beside": {"gain": 2},
    "nested values": {"metadata": {"gain": {"value": 2}, "list": [1], "none": None}},
    "keys that no metadata have": {"metadata": {"a.b": 1, "": 1, "k" * 101: 1}},
    "values that no metadata have": {"metadata": {"text": "x" * 1001, "number": 10**400}},
    "metadata that are none": {"metadata": "gain 2"},
}


@pytest.mark.parametrize("case", NOT_READ)
def test_what_keeps_no_rule_of_metadata_is_not_read(case):
    assert image_metadata(NOT_READ[case]) == {}


def test_any_unknown_object_is_read_after_the_one_of_the_likeliest_name():
    image = {"camera": {"gain": 9, "lens": "wide"}, "metadata": {"gain": 2.5, "lit": True}}

    assert image_metadata(image) == {"gain": 2.5, "lit": True, "lens": "wide"}


def test_no_more_is_read_than_metadata_may_hold():
    image = {"a": {f"a{n}": n for n in range(80)}, "b": {f"b{n}": n for n in range(80)}}

    assert len(image_metadata(image)) == limits.MAX_METADATA_KEYS


def with_images(event_id, *found, **more):
    return event(event_id, **more, images=[{"metadata": each} for each in found])


FILTERS = {
    "a number": ("gain", "eq", 4, ["two"]),
    "a number beyond a bound": ("gain", "gt", 2, ["two", "one"]),
    "another number": ("gain", "neq", 4, ["none", "one"]),
    "a text": ("lens", "eq", "wide", ["two"]),
    "a part of a text": ("lens", "contains", "i", ["two", "one"]),
    "another text": ("lens", "neq", "wide", ["none", "one"]),
    "a boolean": ("lit", "eq", True, ["one"]),
}


@pytest.mark.parametrize("case", FILTERS)
def test_an_event_is_found_once_by_what_any_of_its_images_has(store, case):
    key, operator, value, expected = FILTERS[case]
    store.put(
        [
            with_images("none", {}, minutes=1, metadata={"gain": 4, "lens": "wide"}),
            with_images("two", {"gain": 4, "lens": "wide"}, {"gain": 5, "lens": "fish"}, minutes=2),
            with_images("one", {"gain": 3, "lens": "thin", "lit": True}, minutes=3),
        ]
    )
    condition = {"field": key, "operator": operator, "value": value}
    filters = filters_of({"useCaseId": "dock", "imageMetadataFilters": [condition]})

    page = store.query(filters, limit=1)
    pages = [*page.events]
    while page.next_cursor:
        page = store.query(filters, limit=1, cursor=page.next_cursor)
        pages += page.events

    assert [each.event_id for each in pages] == expected
    assert store.count(filters) == len(expected)


def test_the_schema_names_what_is_still_there(store):
    store.put([with_images("a", {"gain": 4}, {"gain": "high"}), with_images("b", {"lens": "x"})])
    store.put([event("b")])

    assert store.metadata_schema("dock", "image") == {"gain": ["number", "string"]}
    assert store.metadata_schema("dock") == {}
    assert store.metadata_schema("line", "image") == {}


def test_an_event_with_more_values_than_can_be_found_is_kept_whole(store):
    images = [{f"key {n}": m for n in range(100)} for m in range(20)]
    store.put([with_images("a", *images)])

    assert [each["metadata"] for each in store.get("a").body["images"]] == images
    assert len(store.metadata_schema("dock", "image")) == 100
    assert MAX_IMAGE_VALUES < 100 * 20
    assert store.count(everything()) == 1

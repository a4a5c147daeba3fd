from __future__ import annotations

import pytest

from tests.unit.server.scenes import event, everything, feedback, found, picture
from vision_event_block.server.store.blocks import BLOCK_EVENTS

DAY_MINUTES = 24 * 60


def test_a_pin_is_found_shown_and_taken_off_again(store):
    store.put([event(each, minutes=number) for number, each in enumerate("abc")])
    before = store.latest_change("dock")

    pinned = store.pin("dock", ["b", "nowhere", "b"])

    assert (pinned.event_ids, pinned.not_found) == (("b",), ("nowhere",))
    assert store.get("b").is_pinned
    assert not store.get("a").is_pinned
    assert found(store, is_pinned=True) == ["b"]
    assert found(store, is_pinned=False) == ["a", "c"]
    assert store.count_pinned(["a", "b", "\0"]) == 1
    assert store.latest_change("dock") > before

    assert store.pin("dock", ["b", "c"], on=False).event_ids == ("b", "c")
    assert found(store, is_pinned=True) == []
    assert found(store, is_pinned=False) == ["a", "b", "c"]


def test_charts_of_what_is_pinned_count_pins_of_whatever_age(store):
    ids = [f"e{number:04}" for number in range(BLOCK_EVENTS + 9)]
    store.put([event(each) for each in ids])
    store.pin("dock", [ids[0], ids[9], ids[-1]])
    store.pin("dock", [ids[9]], on=False)

    for is_pinned, count in ((True, 2), (False, len(ids) - 2)):
        filters = everything(is_pinned=is_pinned)
        assert store.timeline(filters, buckets=1).event_count == count


def test_a_pin_is_set_by_the_use_case_that_has_the_event(store):
    store.put([event("a"), event("b", use_case="line")])

    assert store.pin("dock", ["a", "b", "half \ud800"]).not_found == ("b", "half \ud800")
    assert store.pin("nowhere", ["a"]).not_found == ("a",)
    assert store.pin("line", ["b"]).event_ids == ("b",)
    assert found(store, is_pinned=True) == ["a"]


def test_more_events_than_a_statement_takes_are_pinned(store):
    ids = [f"e{number:03}" for number in range(250)]
    store.put([event(each) for each in ids])

    assert store.pin("dock", ids).event_ids == tuple(ids)
    assert store.count_pinned(ids) == 250


def test_an_event_that_is_written_again_keeps_its_pin_and_what_else_is_known_of_it(store):
    store.put([event("a", minutes=5), event("b"), feedback("f", "a", "correct")])
    store.pin("dock", ["a"])

    store.put([event("a", minutes=9, data={"value": "late"}), event("b")])

    again = store.get("a")
    assert (again.is_pinned, again.feedback) == (True, "correct")
    assert again.body["eventData"] == {"value": "late"}
    assert not store.get("b").is_pinned


def test_no_clean_up_takes_a_pinned_event_or_its_pictures(open_store, store, clock):
    kept, gone = (store.pictures.put(picture()).id for _ in range(2))
    store.put(
        [
            event("kept", minutes=30 * DAY_MINUTES, pictures=[kept]),
            event("gone", minutes=20 * DAY_MINUTES, pictures=[gone]),
        ]
    )
    store.pin("dock", ["kept"])
    store = open_store(deletes_after_days=10)

    assert store.clean_up().events == 1
    clock.go(days=2)
    assert store.clean_up().pictures == 1
    assert found(store) == ["kept"]
    assert store.pictures.exists(kept)

    store.pin("dock", ["kept"], on=False)
    assert store.clean_up().events == 1


@pytest.mark.parametrize("with_pictures", [True, False])
def test_who_names_a_pinned_event_may_delete_it(store, with_pictures):
    store.put([event("a"), event("b")])
    store.pin("dock", ["a"])

    assert store.delete("dock", ["a"], with_pictures=with_pictures).event_ids == ("a",)
    assert store.count(everything()) == 1

    store.put([event("a")])
    assert not store.get("a").is_pinned

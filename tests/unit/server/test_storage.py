from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

import pytest

from tests.unit.server.scenes import NOON, event, everything, feedback, found, picture, seen
from vision_event_block.server.store.errors import BadQuery, NoSuchUseCase
from vision_event_block.server.store.filters import Condition, FieldCondition
from vision_event_block.server.store.records import NewEvent, StoredEvent


def test_an_event_comes_back_as_it_was_put(store):
    put = event(
        "a", data={"value": "x"}, metadata={"door": 4}, seen=[("pallet", 0.5)], deviceId="cam"
    )

    store.put([put])

    assert store.get("a") == StoredEvent(
        event_id="a",
        event_type="custom",
        use_case_id="dock",
        timestamp=NOON,
        body=put.body,
        warnings=(),
        received_at=NOON,
        feedback=None,
    )


@pytest.mark.parametrize("event_id", ["b", "", "\0", "\ud800", "' OR 1=1 --"])
def test_an_unknown_id_finds_nothing(store, event_id):
    store.put([event("a")])

    assert store.get(event_id) is None
    assert store.feedback_on(event_id) == []


def test_an_event_is_there_after_the_store_was_opened_again(store, open_store):
    store.put([event("a", deviceId="cam")])
    store.close()

    assert found(open_store(), device_id=Condition("eq", "cam")) == ["a"]


@pytest.mark.parametrize(
    "text",
    ["", "a'b\"c%_\\", "\0 null", "half \ud800 pair", "großer Käse", "x" * 9_999, "\U0001f4e6"],
)
def test_texts_of_every_kind_come_back_and_are_found(store, text):
    store.put(
        [
            event("a", data={"value": text}, metadata={"key": text}, deviceId=text),
            event("b", data={"value": "other"}, metadata={"key": "other"}, deviceId="other"),
        ]
    )

    stored = store.get("a").body
    assert (stored["eventData"]["value"], stored["deviceId"]) == (text, text)
    assert found(store, device_id=Condition("eq", text)) == ["a"]
    assert found(store, device_id=Condition("neq", text)) == ["b"]
    assert found(store, metadata=(FieldCondition("key", "eq", text, "string"),)) == ["a"]
    assert "a" in found(store, event_fields=(FieldCondition("value", "contains", text, "string"),))


def test_the_same_id_again_takes_the_place_of_the_event(store):
    store.put([event("a", deviceId="old", metadata={"door": 4}, seen=[("pallet", 0.9)])])

    store.put([event("a", deviceId="new", minutes=5)])

    assert store.get("a").body["deviceId"] == "new"
    assert found(store) == ["a"]
    assert found(store, device_id=Condition("eq", "old")) == []
    assert found(store, device_id=Condition("eq", "new")) == ["a"]
    assert found(store, **seen("pallet")) == []
    assert store.metadata_schema("dock") == {}
    assert store.use_cases.get("dock").event_count == 1


def test_the_same_id_again_moves_the_event_between_use_cases(store):
    store.put([event("a"), event("b")])

    store.put([event("a", use_case="line")])

    assert (found(store), found(store, everything("line"))) == (["b"], ["a"])
    assert [each.event_count for each in store.use_cases.list()] == [1, 1]
    assert store.timeline(everything(), buckets=5).event_count == 1


def test_of_two_with_the_same_id_in_one_call_the_last_counts(store):
    store.put([event("a", deviceId="first"), event("a", deviceId="last")])

    assert store.get("a").body["deviceId"] == "last"
    assert found(store) == ["a"]


def test_nothing_of_a_call_is_stored_if_one_use_case_is_unknown(store):
    with pytest.raises(NoSuchUseCase, match="'nowhere'"):
        store.put([event("a"), event("b", use_case="nowhere")])

    assert store.get("a") is None


def test_nothing_put_is_nothing_stored(store):
    store.put([])

    assert found(store) == []


def test_more_events_than_one_statement_takes_are_stored_together(store):
    store.put([event(f"e{number:04}", deviceId=f"cam-{number}") for number in range(450)])

    assert store.count(everything()) == 450
    assert found(store, device_id=Condition("eq", "cam-449")) == ["e0449"]


def test_an_event_without_a_zone_or_with_an_unfit_id_cannot_be_made():
    with pytest.raises(ValueError, match="zone"):
        event("a", time=NOON.replace(tzinfo=None))
    for unfit in ("", "a\0b", "\ud800"):
        with pytest.raises(ValueError, match="NUL"):
            event(unfit)


def test_threads_that_put_at_once_all_find_their_events_stored(store):
    refused = []

    def put(thread):
        for number in range(20):
            store.put([event(f"{thread}-{number}")])
            assert store.get(f"{thread}-{number}") is not None
        try:
            store.put([event(f"{thread}-bad", use_case="nowhere")])
        except NoSuchUseCase:
            refused.append(thread)

    threads = [threading.Thread(target=put, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert store.count(everything()) == 160
    assert sorted(refused) == list(range(8))
    assert store.use_cases.get("dock").event_count == 160


def test_events_come_newest_first_and_ties_by_id_downwards(store):
    store.put([event("b"), event("a", minutes=1), event("c"), event("d", minutes=-1)])

    assert found(store) == ["d", "c", "b", "a"]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("filtered", [False, True])
def test_pages_of_any_size_show_every_event_once(store, limit, filtered):
    # Three of the same moment each, and two devices.
    store.put([event(f"e{n:02}", minutes=n // 3, deviceId=f"cam-{n % 2}") for n in range(20)])
    filters = everything(device_id=Condition("eq", "cam-1")) if filtered else everything()

    ids, cursor = [], None
    while True:
        page = store.query(filters, limit=limit, cursor=cursor)
        assert len(page.events) <= limit
        assert page.has_more == (page.next_cursor is not None)
        assert page.events
        ids += [each.event_id for each in page.events]
        cursor = page.next_cursor
        if cursor is None:
            break

    expected = [f"e{n:02}" for n in range(20) if not filtered or n % 2]
    assert sorted(ids) == expected
    assert ids == found(store, filters)


def test_a_page_is_not_shifted_by_events_that_arrive_meanwhile(store):
    store.put([event(f"e{n}", minutes=n) for n in range(4)])
    first = store.query(everything(), limit=2)

    store.put([event("new", minutes=-1)])
    second = store.query(everything(), limit=2, cursor=first.next_cursor)

    assert [each.event_id for each in second.events] == ["e2", "e3"]


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "bm8=", "W10=", "WzEsMl0=", "WyJhIiwiYiJd", "WzFlMzAsImEiXQ==", "é", "[" * 99],
)
def test_a_cursor_that_no_page_held_is_refused(store, cursor):
    with pytest.raises(BadQuery, match="cursor"):
        store.query(everything(), limit=2, cursor=cursor)


def test_a_limit_below_one_is_refused(store):
    with pytest.raises(BadQuery, match="limit"):
        store.query(everything(), limit=0)


def test_an_unknown_use_case_holds_nothing(store):
    store.put([event("a")])
    for use_case in ("nowhere", "\0", "\ud800"):
        nowhere = everything(use_case)

        assert store.query(nowhere, limit=5).events == []
        assert store.count(nowhere) == 0
        assert store.timeline(nowhere, buckets=5).starts == ()
        assert store.latest_change(use_case) == 0
        assert store.metadata_schema(use_case) == {}
        assert store.choices(use_case)["class"] == []


def test_a_count_goes_no_further_than_asked(store):
    store.put([event(f"e{n}") for n in range(9)])

    assert store.count(everything(), at_most=5) == 5
    assert store.count(everything(), at_most=9) == 9
    assert store.count(everything(), at_most=10) == 9


def test_events_before_the_lookback_window_are_hidden_and_not_gone(store, open_store):
    store.put([event("old", minutes=3 * 1440), event("new", minutes=1440)])
    short = open_store(lookback_days=2.0)

    assert found(short) == ["new"]
    assert found(short, start=NOON - timedelta(days=9)) == ["new"]
    assert short.timeline(everything(), buckets=5).event_count == 1
    assert short.get("old") is not None
    assert found(open_store(lookback_days=None)) == ["new", "old"]


def test_the_latest_feedback_by_its_own_time_decides(store):
    store.put([event("a", minutes=60)])
    store.put([feedback("late", "a", "incorrect", minutes=1)])
    store.put([feedback("early", "a", "correct", minutes=2)])

    assert store.get("a").feedback == "incorrect"
    assert [each.event_id for each in store.feedback_on("a")] == ["early", "late"]
    assert found(store, feedback=("incorrect",)) == ["a"]
    assert found(store, feedback=("correct",)) == []


def test_feedback_counts_for_an_event_that_arrives_later(store):
    store.put([feedback("f", "a", "inconclusive")])

    store.put([event("a", minutes=60), event("b", minutes=61)])

    assert store.get("a").feedback == "inconclusive"
    assert store.get("b").feedback is None


def test_feedback_stays_with_an_event_that_is_put_again(store):
    store.put([event("a", minutes=60), feedback("f", "a", "correct")])

    store.put([event("a", minutes=59)])

    assert store.get("a").feedback == "correct"
    assert found(store, feedback=("correct",)) == ["a"]


def test_feedback_that_turns_to_another_event_leaves_the_first_as_it_was(store):
    store.put([event("a"), event("b"), feedback("f1", "a", "correct", minutes=2)])
    store.put([feedback("f2", "a", "incorrect", minutes=1)])

    store.put([feedback("f2", "b", "incorrect", minutes=1)])

    assert (store.get("a").feedback, store.get("b").feedback) == ("correct", "incorrect")


def test_feedback_from_another_use_case_counts_too(store):
    store.put([event("a")])
    before = store.latest_change("dock")

    store.put([feedback("f", "a", "correct", use_case="line")])

    assert store.get("a").feedback == "correct"
    assert store.latest_change("dock") > before


def test_the_latest_change_grows_with_each_put_into_the_use_case_only(store):
    seen = [store.latest_change("dock")]
    for put in ([event("a")], [event("a", deviceId="cam")], [event("b"), event("c")]):
        store.put(put)
        seen.append(store.latest_change("dock"))
    other = store.latest_change("line")

    store.put([event("a", use_case="line")])
    seen.append(store.latest_change("dock"))

    assert seen == sorted(set(seen))
    assert store.latest_change("line") > other


def test_the_metadata_schema_tells_every_type_of_every_key(store):
    store.put(
        [
            event("a", metadata={"door": 4, "sealed": True}),
            event("b", metadata={"door": "four", "shift": "night"}),
            event("c", use_case="line", metadata={"other": 1.5}),
        ]
    )

    assert store.metadata_schema("dock") == {
        "door": ["number", "string"],
        "sealed": ["boolean"],
        "shift": ["string"],
    }


def test_choices_are_what_occurs_in_the_use_case(store):
    store.put(
        [
            event("a", deviceId="cam-2", streamId="s", seen=[("pallet", 0.5), ("person", 0.4)]),
            event("b", deviceId="cam-1", workflowId="w", metadata={"door": 4, "shift": "x"}),
            event("c", use_case="line", deviceId="cam-9"),
        ]
    )

    assert store.choices("dock") == {
        "deviceId": ["cam-1", "cam-2"],
        "streamId": ["s"],
        "workflowId": ["w"],
        "class": ["pallet", "person"],
        "metadata": ["door", "shift"],
    }


def test_choices_are_bounded(store):
    store.put([event(f"e{n}", deviceId=f"cam-{n:03}") for n in range(250)])

    assert store.choices("dock")["deviceId"] == [f"cam-{n:03}" for n in range(200)]


def test_numbers_that_no_database_holds_harm_nothing(store):
    huge = NewEvent(
        event_id="a",
        event_type="custom",
        use_case_id="dock",
        timestamp=NOON,
        body={"customMetadata": {"huge": 10**400, "large": 1e308, "inf": float("inf")}},
    )

    store.put([huge])

    assert store.metadata_schema("dock") == {"large": ["number"]}
    assert found(store, metadata=(FieldCondition("large", "gt", 1e307, "number"),)) == ["a"]


def test_a_picture_that_is_not_here_does_not_keep_an_event_away(store):
    here = store.pictures.put(picture()).id

    store.put([event("a", pictures=[here, "somewhere/else", "f" * 32, "../../x"])])

    assert store.get("a").body["images"][1]["sourceId"] == "somewhere/else"


def test_what_is_read_at_one_moment_does_not_see_what_comes_meanwhile(store):
    store.put([event("a")])

    with store.one_moment():
        before = store.count(everything())
        with ThreadPoolExecutor(1) as pool:
            pool.submit(store.put, [event("b")]).result()
            seen_elsewhere = pool.submit(store.count, everything()).result()
        page = store.query(everything(), limit=5)
        meanwhile = (store.count(everything()), store.get("b"), len(page.events))

    assert (before, seen_elsewhere) == (1, 2)
    assert meanwhile == (1, None, 1)
    assert store.count(everything()) == 2


def test_a_moment_ends_with_an_error_in_it(store):
    with suppress(ZeroDivisionError), store.one_moment():
        store.count(everything())
        store.put([event("a")])
        raise ZeroDivisionError

    assert store.count(everything()) == 1

from __future__ import annotations

import random

import pytest
from sqlalchemy.event import listen

from tests.unit.server.scenes import NOON, event, everything, feedback, found, picture
from vision_event_block.server.storage import Store

WIDE = NOON.replace(year=2025)


def many(chance):
    """Events over two days, some with feedback about them."""
    events = [
        event(
            f"e{number:03}",
            event_type=chance.choice(("custom", "quality_check", "safety_alert")),
            minutes=chance.randrange(2880),
            data={
                "result": chance.choice(("pass", "fail")),
                "severity": chance.choice(("low", "high")),
            },
            seen=[(chance.choice(("pallet", "person")), chance.random())],
            deviceId=f"cam-{chance.randrange(3)}",
        )
        for number in range(350)
    ]
    verdicts = [
        feedback(
            f"f{number}{copy}",
            f"e{number:03}",
            chance.choice(("correct", "incorrect")),
            minutes=chance.randrange(2880),
        )
        for number in range(0, 350, 7)
        for copy in "ab"
    ]
    return [*events, *verdicts]


def figures(store):
    """All that is counted, and what is found by feedback."""
    use_case = store.use_cases.get("dock")
    return (
        use_case.event_count,
        use_case.last_event_at,
        use_case.event_types,
        store.timeline(everything(), buckets=48),
        store.timeline(everything(start=WIDE), buckets=10),
        store.choices("dock"),
        *(found(store, feedback=(state,)) for state in ("correct", "incorrect", "none")),
    )


def test_counts_and_charts_after_a_deletion_are_those_of_a_recount(store, tmp_path, clock):
    events = many(random.Random(5))
    store.put(events)
    gone = {each.event_id for each in events[:300:2]} | {"f7a", "f14b"}

    deleted = store.delete("dock", [*gone, "nowhere"])

    about = {each.event_id for each in events if each.event_id[0] == "f"}
    about = {each for each in about if f"e{int(each[1:-1]):03}" in gone} - gone
    assert set(deleted.event_ids) == gone
    assert deleted.not_found == ("nowhere",)
    assert set(deleted.feedback_ids) == about
    with Store.open(tmp_path / "recount", lookback_days=None, clock=clock) as recount:
        recount.use_cases.create("Dock", id="dock")
        recount.put([each for each in events if each.event_id not in gone | about])
        assert figures(store) == figures(recount)


def test_an_event_of_another_use_case_is_not_found_and_stays(store):
    store.put([event("a"), event("b", use_case="line")])

    deleted = store.delete("dock", ["b", "a", "b", "", "\0", "\ud800"])

    assert deleted.event_ids == ("a",)
    assert deleted.not_found == ("b", "", "\0", "\ud800")
    assert store.get("b") is not None
    assert store.delete("nowhere", ["b"]).not_found == ("b",)


def test_deleted_feedback_counts_no_more_and_the_verdict_before_it_counts_again(store):
    store.put([event("a", minutes=9)])
    store.put([feedback("f1", "a", "correct", minutes=5), feedback("f2", "a", "incorrect")])
    assert store.get("a").feedback == "incorrect"

    store.delete("dock", ["f2"])
    assert store.get("a").feedback == "correct"
    store.delete("dock", ["f1"])

    assert store.get("a").feedback is None
    assert found(store, feedback=("none",)) == ["a"]


def test_more_feedback_than_one_step_erases_goes_with_its_event(store):
    store.put([event("a")])
    store.put([feedback(f"f{number}", "a", "correct", use_case="line") for number in range(230)])

    deleted = store.delete("dock", ["a"])

    assert len(deleted.feedback_ids) == 230
    assert store.use_cases.get("line").event_count == 0


@pytest.fixture
def pictured(store):
    """Two events with a picture each, and one that both show."""
    first, second, shared = (store.pictures.put(picture()).id for _ in range(3))
    store.put([event("a", pictures=[first, shared]), event("b", pictures=[second, shared])])
    return first, second, shared


def there(store, ids):
    return [store.pictures.exists(each) for each in ids]


def test_pictures_of_deleted_events_go_with_the_next_clean_up(store, pictured):
    store.delete("dock", ["a"])
    assert there(store, pictured) == [True, True, True]

    assert store.clean_up().pictures == 1

    assert there(store, pictured) == [False, True, True]


def test_pictures_can_go_at_once_unless_another_event_shows_them(store, pictured):
    assert store.delete("dock", ["a"], with_pictures=True).pictures == 1
    assert there(store, pictured) == [False, True, True]

    assert store.delete("dock", ["b"], with_pictures=True).pictures == 2

    assert there(store, pictured) == [False, False, False]


def test_an_event_that_comes_back_before_the_clean_up_keeps_its_picture(store, pictured):
    store.delete("dock", ["a"])
    store.put([event("c", pictures=[pictured[0]])])

    store.clean_up()

    assert there(store, pictured) == [True, True, True]


def test_a_thousand_events_with_their_pictures_are_deleted_in_one_go(store):
    ids = [store.pictures.put(picture()).id for _ in range(40)]
    store.put([event(f"e{number}", pictures=[ids[number % 40]]) for number in range(1000)])

    deleted = store.delete("dock", [f"e{number}" for number in range(1000)], with_pictures=True)

    assert (len(deleted.event_ids), deleted.not_found, deleted.pictures) == (1000, (), 40)
    assert store.count(everything()) == store.use_cases.get("dock").event_count == 0
    assert store.timeline(everything(), buckets=5).event_count == 0


def test_events_are_found_by_their_ids_and_not_by_a_walk_over_all(tmp_path):
    """SQLite would read the index of a whole use case rather than a hundred ids."""
    asked = []
    with Store.open(tmp_path, lookback_days=None) as store:
        store.use_cases.create("Dock", id="dock")
        store.put([event(f"e{number}") for number in range(150)])
        listen(
            store._database._engine,
            "before_cursor_execute",
            lambda _connection, _cursor, statement, parameters, *_: asked.append(
                (statement, parameters)
            ),
        )
        store.delete("dock", [f"e{number}" for number in range(120)])

        assert store.use_cases.get("dock").event_count == 30
        plans, done = [], tuple(asked)
        with store._database.reading() as connection:
            for statement, parameters in done:
                if statement.startswith(("SELECT events", "DELETE FROM events")):
                    plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                    plans += [row.detail for row in plan]
    assert plans
    assert not [plan for plan in plans if "SCAN" in plan or "events_by_time" in plan]

"""Many events at once: the ids of what matched at a moment, and who judged them."""

from __future__ import annotations

import pytest
from sqlalchemy.event import listen

from tests.unit.server.scenes import event, everything, feedback, seen


def test_what_matched_at_a_moment_is_neither_more_nor_other_events_later(store, clock):
    pallets = everything(**seen("pallet"))
    store.put([event(f"e{number}", minutes=number, seen=[("pallet", 1)]) for number in range(5)])
    store.put([event("other", minutes=0.5), event("elsewhere", use_case="line")])
    mark = store.mark()
    assert store.ids(everything(), until=mark, at_most=3) == ["e0", "other", "e1"]
    assert store.ids(pallets, until=mark, at_most=3) == ["e0", "e1", "e2"]

    clock.go(minutes=1)
    store.put([event(each, minutes=1.5, seen=[("pallet", 1)]) for each in ("late", "e1")])
    store.delete("dock", ["e3"])

    assert store.ids(everything(), until=mark, at_most=9) == ["e0", "other", "e2", "e4"]
    assert store.ids(pallets, until=mark, at_most=9) == ["e0", "e2", "e4"]


def test_an_event_that_got_the_number_of_a_deleted_one_came_later(store, clock):
    store.put([event("kept", minutes=5)])
    store.put([event("gone")])
    mark = store.mark()

    store.delete("dock", ["gone"])
    clock.go(seconds=1)
    store.put([event("new")])

    assert store.ids(everything(), until=mark, at_most=9) == ["kept"]


def test_feedback_other_use_cases_and_unknown_ids_are_not_judgeable(store):
    store.put([event("a"), event("b", use_case="line"), *(event(f"m{n}") for n in range(230))])
    store.put([feedback("f", "a", "correct")])
    asked = ["f", "a", "b", "nowhere", "", "\0", "a", *(f"m{n}" for n in range(230))]

    assert store.judgeable("dock", asked) == ["a", *(f"m{n}" for n in range(230))]
    assert store.judgeable("nowhere", asked) == []


def test_the_reviewer_is_the_one_of_the_latest_verdict(store):
    store.put([event("a", minutes=9), event("b"), event("c")])
    anna, bo = ({"reviewer": name} for name in ("Anna", "Bo"))
    store.put(
        [
            feedback("f2", "a", "incorrect", minutes=2, metadata=bo),
            feedback("f1", "a", "correct", minutes=5, metadata=anna),
            feedback("f3", "b", "correct"),
            feedback("f4", "c", "correct", metadata={"reviewer": 7}),
        ]
    )

    def by():
        return {each.event_id: each.feedback_by for each in store.walk(everything())}

    assert by() | {"a": "Bo", "b": None, "c": None, "f1": None} == by()
    store.delete("dock", ["f2"])
    assert (store.get("a").feedback, store.get("a").feedback_by) == ("correct", "Anna")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_few_of_many_events_are_looked_up_by_id(store):
    store.put([event(f"e{number:03}", minutes=number) for number in range(150)])
    asked = []

    def note(_connection, _cursor, statement, parameters, *_):
        asked.append((statement, parameters))

    listen(store._database._engine, "before_cursor_execute", note)
    chosen = [f"e{number:03}" for number in range(100)]
    assert store.judgeable("dock", chosen) == chosen
    assert store.pin("dock", chosen).event_ids == tuple(chosen)

    plans, done = [], [each for each in asked if each[0].startswith("SELECT events")]
    with store._database.reading() as connection:
        for statement, parameters in done:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans += [row.detail for row in plan]
    assert len(done) == 2
    assert not [plan for plan in plans if "SCAN" in plan or "events_by_time" in plan]

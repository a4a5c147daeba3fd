from __future__ import annotations

import pytest

from tests.unit.server.scenes import event, found
from vision_event_block.server.store.keep_rules import Ages, KeepRule, ages_of, size_of

DAY_MINUTES = 24 * 60


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("90d", KeepRule(90.0)),
        ("36h", KeepRule(1.5)),
        ("2y", KeepRule(730.0)),
        ("6w", KeepRule(42.0)),
        ("pass=7d", KeepRule(7.0, result="pass")),
        ("line-4:30d", KeepRule(30.0, use_case="line-4")),
        ("Line 4: caps:fail=forever", KeepRule(None, use_case="Line 4: caps", result="fail")),
    ],
)
def test_a_rule_is_read_as_a_person_writes_it(text, rule):
    assert KeepRule.of(text) == rule


@pytest.mark.parametrize("text", ["", "7", "7 days", "pass=", "fail:2y=", "0d", "-1d", "1m"])
def test_a_rule_without_an_age_is_refused_with_examples(text):
    with pytest.raises(ValueError, match="USE_CASE:RESULT=AGE"):
        KeepRule.of(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("fial=2y", "pass or fail"), ("Pass=2d", "pass or fail"), ("101y", "forever")],
)
def test_a_rule_that_fits_no_event_or_outlives_the_clock_is_refused(text, reason):
    with pytest.raises(ValueError, match=reason):
        KeepRule.of(text)


def test_the_longest_age_is_one_that_the_database_knows(open_store, store):
    store.put([event("old", minutes=400 * DAY_MINUTES)])

    assert open_store(keep_rules=[KeepRule.of("100y")]).clean_up().events == 0


@pytest.mark.parametrize(
    ("text", "size"),
    [("200GB", 200 * 10**9), ("1.5 TB", 15 * 10**11), ("512MiB", 2**29), ("8g", 8 * 10**9)],
)
def test_a_size_is_read_as_a_person_writes_it(text, size):
    assert size_of(text) == size


@pytest.mark.parametrize("text", ["", "0", "GB", "much", "-1GB", "1PB", "200", "64kB", "9" * 400])
def test_a_size_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="200GB"):
        size_of(text)


def test_the_most_specific_rule_holds_and_of_two_alike_the_longer_age():
    rules = list(map(KeepRule.of, ["90d", "fail=2y", "line:30d", "line:pass=1d", "yard:forever"]))

    assert ages_of(rules, ("dock", "Dock")) == Ages({"fail": 730.0}, 90.0)
    assert ages_of(rules, ("x1", "line")) == Ages({"fail": 730.0, "pass": 1.0}, 30.0)
    assert ages_of(rules, ("yard", "Yard")) == Ages({"fail": None}, None)
    assert ages_of([KeepRule.of("fail=2y")], ("dock",)) == Ages({"fail": 730.0}, None)


def test_fails_are_kept_for_two_years_and_passes_for_a_week(open_store, store):
    def checks(use_case, *ages):
        for days in ages:
            for result in ("pass", "fail", None):
                yield event(
                    f"{use_case} {result} {days}",
                    use_case=use_case,
                    minutes=days * DAY_MINUTES + 1,
                    data={} if result is None else {"result": result},
                )

    store.put([*checks("dock", 6, 7, 89, 90, 729, 730), *checks("line", 2, 3, 800)])
    store.pin("dock", ["dock pass 729"])
    rules = ["90d", "pass=7d", "fail=2y", "Line:pass=3d", "line:forever"]
    store = open_store(keep_rules=map(KeepRule.of, rules))

    assert store.clean_up().events == 8 + 2

    assert found(store) == [
        *("dock pass 6", "dock fail 6", "dock None 6"),
        *("dock fail 7", "dock None 7"),
        *("dock fail 89", "dock None 89"),
        *("dock fail 90", "dock pass 729", "dock fail 729"),
    ]
    assert found(store, use_case="line") == [
        *("line pass 2", "line fail 2", "line None 2"),
        *("line fail 3", "line None 3"),
        *("line fail 800", "line None 800"),
    ]
    assert store.clean_up().events == 0


def test_those_that_stay_are_passed_and_more_than_a_step_goes(open_store, store):
    results = ("pass", "fail")
    store.put(
        [
            event(
                f"{number:03}",
                minutes=30 * DAY_MINUTES + number,
                data={"result": results[number % 2]},
            )
            for number in range(500)
        ]
    )
    store.pin("dock", [f"{number:03}" for number in range(300, 500, 2)])
    store = open_store(keep_rules=[KeepRule.of("7d"), KeepRule.of("fail=2y")])

    assert store.clean_up().events == 150
    assert len(found(store)) == 350

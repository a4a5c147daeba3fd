"""Searches among more events than are fetched at once, so that every way of searching is taken."""

from __future__ import annotations

import itertools
from datetime import timedelta

import psycopg
import pytest

from tests.unit.server.scenes import NOON, event, everything, feedback, found, seen
from vision_event_block.server.storage import Store
from vision_event_block.server.store.filters import Condition, FieldCondition
from vision_event_block.server.store.search import Position

EVENTS = 12_000


def text(name, operator, value):
    return {"metadata": (FieldCondition(name, operator, value, "string"),)}


def number(operator, value):
    return {"event_fields": (FieldCondition("itemCount", operator, value, "number"),)}


#: A filter, and for which number of an event it holds.
FILTERS = {
    "one device of nearly all": (
        {"device_id": Condition("eq", "cam-0")},
        lambda n: n % 12 != 0,
    ),
    "one device of few": ({"device_id": Condition("eq", "cam-1")}, lambda n: n % 12 == 0),
    "any other device": ({"device_id": Condition("neq", "cam-1")}, lambda n: n % 12 != 0),
    "a common class": (seen("pallet"), lambda n: n % 10 != 0),
    "a common class, surely": (
        seen("pallet", gte=0.999),
        lambda n: n % 10 != 0 and n % 1000 == 999,
    ),
    "a common class, hardly": (
        seen("pallet", lt=0.002),
        lambda n: n % 10 != 0 and n % 1000 == 1,
    ),
    "a common class, at most": (
        seen("pallet", lte=0.9),
        lambda n: n % 10 != 0 and n % 1000 <= 900,
    ),
    "anything, hardly": (seen(lt=0.002), lambda n: n % 10 != 0 and n % 1000 == 1),
    "one of two classes": (seen("crate", "barrel"), lambda n: n % 100 in (0, 1, 2)),
    "one of two classes, surely": (
        seen("crate", "barrel", gte=0.6),
        lambda n: n % 100 in (1, 2),
    ),
    "neither class": (seen("crate", "barrel", neither=True), lambda n: n % 100 > 2),
    "several images": (
        {"image_count": FieldCondition("imageCount", "gt", 1.0, "number")},
        lambda n: n % 50 == 0,
    ),
    "judged wrong or not at all": (
        {"feedback": ("none", "incorrect")},
        lambda n: n % 400 != 200,
    ),
    "two types": (
        {"event_types": ("custom", "safety_alert")},
        lambda n: n % 5 in (0, 1),
    ),
    "many numbers": (number("gt", 500.0), lambda n: n > 500),
    "few numbers": (number("lte", 500.0), lambda n: n <= 500),
    "a part of few different texts": (text("shift", "contains", "igh"), lambda n: n % 3 == 0),
    "a part of many different texts": (
        text("order", "contains", "77"),
        lambda n: "77" in str(n),
    ),
    "no warnings": ({"has_warnings": False}, lambda n: n % 7 != 0),
    "warnings": ({"has_warnings": True}, lambda n: n % 7 == 0),
    "the last hour": ({"start": NOON - timedelta(minutes=60)}, lambda n: n // 10 <= 60),
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def large(request, tmp_path_factory):
    url = None
    if is_postgresql := request.param == "postgresql":
        url = request.getfixturevalue("postgres").new_store_database()
    folder = tmp_path_factory.mktemp("large")
    with Store.open(folder, database_url=url, lookback_days=None) as store:
        store.use_cases.create("Dock", id="dock")
        store.use_cases.create("Line", id="line")
        store.put(
            [
                event(
                    f"e{n:05}",
                    event_type=("custom", "safety_alert", *["inventory_count"] * 3)[n % 5],
                    minutes=n // 10,
                    data={"itemCount": n},
                    metadata={"shift": ("night", "day", "late")[n % 3], "order": f"order {n}"},
                    seen=[
                        *([("pallet", (n % 1000) / 1000)] if n % 10 else []),
                        *([("crate", 0.5)] if n % 100 in (0, 1) else []),
                        *([("barrel", 0.7)] if n % 100 in (1, 2) else []),
                    ],
                    pictures=[f"{n:032x}"] * (2 if n % 50 == 0 else 1),
                    warnings=[{}] if n % 7 == 0 else [],
                    deviceId="cam-1" if n % 12 == 0 else "cam-0",
                )
                for n in range(EVENTS)
            ]
        )
        store.put(
            [
                feedback(f"f{n}", f"e{n:05}", verdict, use_case="line")
                for first, verdict in ((0, "incorrect"), (200, "correct"))
                for n in range(first, EVENTS, 400)
            ]
        )
        if is_postgresql:  # as it does by itself within a minute or two
            with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
                connection.execute("ANALYZE")
        yield store


def _pages(store, filters, limit, most):
    """The ids of the first pages."""
    ids, cursor = [], None
    while len(ids) < most:
        page = store.query(filters, limit=limit, cursor=cursor)
        ids += [each.event_id for each in page.events]
        cursor = page.next_cursor
        if cursor is None:
            break
    return ids[:most]


@pytest.mark.parametrize(
    "names",
    [pytest.param(pair, id=" + ".join(pair)) for pair in itertools.combinations(FILTERS, 2)],
)
def test_two_filters_find_what_both_of_them_say_in_order(large, names):
    (one, is_one), (two, is_two) = (FILTERS[name] for name in names)
    both = {**one, **two}
    for key in one.keys() & two.keys():
        if isinstance(one[key], tuple) and key not in ("event_types", "feedback"):
            both[key] = one[key] + two[key]
        else:
            pytest.skip("one takes the place of the other")
    expected = sorted(
        (n for n in range(EVENTS) if is_one(n) and is_two(n)), key=lambda n: (n // 10, -n)
    )

    assert large.count(everything(**both), at_most=EVENTS) == len(expected)
    assert _pages(large, everything(**both), 37, 150) == [f"e{n:05}" for n in expected[:150]]


@pytest.mark.parametrize("name", FILTERS)
def test_from_a_place_on_it_goes_up_as_it_came_down(large, name):
    asked, holds = FILTERS[name]
    expected = sorted((n for n in range(EVENTS) if holds(n)), key=lambda n: (n // 10, -n))
    place = len(expected) // 2
    ids, start = [], large.get(f"e{expected[place]:05}")
    while len(ids) < 150:
        page = large.query(everything(**asked), limit=37, newer_than=Position.of(start))
        ids += [each.event_id for each in page.events]
        if not page.has_more:
            break
        start = page.events[-1]

    nearest = expected[:place][::-1][:150]
    assert ids[:150] == [f"e{n:05}" for n in nearest]


def test_everything_is_walked_to_the_end(large):
    ids = found(large, device_id=Condition("eq", "cam-1"))

    assert len(ids) == EVENTS // 12
    assert ids[-1] == f"e{EVENTS - 12:05}"


def test_a_count_is_bounded_unless_asked_for_more(large):
    assert large.count(everything()) == 10_000


@pytest.mark.parametrize("name", FILTERS)
def test_any_part_is_counted_as_it_is(large, name):
    filters, is_met = FILTERS[name]
    numbers = [n for n in range(EVENTS) if is_met(n)]

    timeline = large.timeline(everything(**filters), buckets=60)

    assert timeline.event_count == len(numbers)

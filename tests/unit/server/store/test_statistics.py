from __future__ import annotations

import random
from collections import Counter
from datetime import datetime, timedelta, timezone
from itertools import pairwise

import pytest

from tests.unit.server.scenes import NOON, event, everything
from vision_event_block.server.store.filters import Condition
from vision_event_block.server.store.records import Timeline


def test_nothing_makes_an_empty_timeline(store):
    assert store.timeline(everything(), buckets=10) == Timeline(
        edges=(),
        bucket_s=0.0,
        events=(),
        series={"eventType": {}, "result": {}, "severity": {}, "class": {}},
    )


def test_each_event_counts_once_by_type_result_severity_and_each_class(store):
    store.put(
        [
            event("a", event_type="quality_check", data={"result": "fail"}, minutes=119),
            event("b", event_type="quality_check", data={"result": "pass"}, minutes=1),
            event(
                "c",
                event_type="safety_alert",
                data={"severity": "high"},
                minutes=30,
                seen=[("person", 0.5), ("person", 0.6), ("forklift", 0.7)],
            ),
            event("elsewhere", use_case="line"),
        ]
    )

    timeline = store.timeline(everything(), buckets=2)

    assert timeline.starts == (NOON - timedelta(hours=2), NOON - timedelta(hours=1))
    assert timeline.bucket_s == 3600
    assert timeline.series == {
        "eventType": {"quality_check": (1, 1), "safety_alert": (0, 1)},
        "result": {"fail": (1, 0), "pass": (0, 1)},
        "severity": {"high": (0, 1)},
        "class": {"forklift": (0, 1), "person": (0, 1)},
    }
    assert timeline.events == (1, 2)


@pytest.fixture(scope="module")
def scattered(shared_store):
    """Events at any time of two days."""
    chance = random.Random(5)
    events = [
        event(
            f"e{n}",
            minutes=chance.uniform(0, 3_000),
            seen=[(chance.choice(("pallet", "person")), 0.5)],
            deviceId=f"cam-{n % 2}",
        )
        for n in range(200)
    ]
    shared_store.put(events)
    return events


@pytest.mark.parametrize("buckets", [1, 2, 7, 24, 60, 500, 5_000])
@pytest.mark.parametrize(
    ("from_minutes", "to_minutes"), [(None, None), (2_000, 100), (61, 59), (30, 29)]
)
@pytest.mark.parametrize("filtered", [False, True])
def test_any_period_in_any_width_counts_exactly_what_lies_in_it(
    shared_store, scattered, buckets, from_minutes, to_minutes, filtered
):
    start = None if from_minutes is None else NOON - timedelta(minutes=from_minutes)
    end = None if to_minutes is None else NOON - timedelta(minutes=to_minutes)
    device = Condition("eq", "cam-1") if filtered else None

    filters = everything(start=start, end=end, device_id=device)
    timeline = shared_store.timeline(filters, buckets=buckets)

    counted = [
        each
        for each in scattered
        if (start is None or start <= each.timestamp)
        and (end is None or each.timestamp <= end)
        and (not filtered or each.body["deviceId"] == "cam-1")
    ]
    assert timeline.event_count == len(counted)
    assert 1 <= len(timeline.starts) <= min(buckets, 1_000)
    expected = Counter(
        (each.body["images"][0]["objectDetections"][0]["class"], number)
        for each in counted
        for number, (begin, end) in enumerate(pairwise(timeline.edges))
        if begin <= each.timestamp < end
    )
    assert sum(expected.values()) == len(counted)
    assert {
        (name, number): count
        for name, counts in timeline.series["class"].items()
        for number, count in enumerate(counts)
        if count
    } == expected


def test_values_come_in_the_order_of_their_size(store):
    store.put(
        [
            event(f"{n}-{m}", seen=[(f"class {n}", 0.5)])
            for n in range(30)
            for m in range(1 + n // 8)
        ]
    )

    shown = store.timeline(everything(), buckets=1).series["class"]

    assert len(shown) == 30
    assert list(shown.values()) == sorted(shown.values(), reverse=True)


def test_events_that_were_put_again_or_moved_count_once(store):
    frame = [event("first", minutes=600), event("last")]
    store.put([*frame, event("a", minutes=300, seen=[("pallet", 0.5)]), event("b", minutes=300)])
    store.put([event("a", minutes=200), event("b", use_case="line", minutes=300)])

    timeline = store.timeline(everything(), buckets=12)

    assert timeline.bucket_s == 3600
    assert timeline.event_count == 3
    assert timeline.series["class"] == {}


FAR = {
    "an end without end": {"end": datetime.max.replace(tzinfo=timezone.utc)},
    "all time": {
        "start": datetime.min.replace(tzinfo=timezone.utc),
        "end": datetime.max.replace(tzinfo=timezone.utc),
    },
    "a beginning before all": {"start": datetime.min.replace(tzinfo=timezone.utc)},
    "the last day": {"start": datetime(9999, 12, 31, tzinfo=timezone.utc)},
}


@pytest.fixture(scope="module")
def far_apart(shared_store):
    """The use case with the first, the last and a present event."""
    first = datetime(1, 1, 3, tzinfo=timezone.utc)
    last = datetime(9999, 12, 31, 23, 59, tzinfo=timezone.utc)
    times = {"first": first, "now": None, "last": last}
    shared_store.put([event(name, use_case="line", time=time) for name, time in times.items()])
    return "line"


@pytest.mark.parametrize("buckets", [1, 7, 48])
@pytest.mark.parametrize("case", FAR)
def test_a_period_of_any_length_has_its_chart(shared_store, far_apart, case, buckets):
    filters = everything(far_apart, **FAR[case])

    made = shared_store.timeline(filters, buckets=buckets)

    assert made.event_count == shared_store.count(filters)
    assert 1 <= len(made.starts) <= buckets
    assert sum(made.series["eventType"]["custom"]) == made.event_count


def test_values_are_suggested_in_order_and_not_too_many(store):
    metadata = [
        *({"shift": name, "door": number} for number, name in enumerate(["night", "day", "Noon"])),
        *({"order": f"{number:03}", "door": number / 2} for number in range(120)),
        {"door": "open", "shift": True, "note": "n" * 300},
    ]
    store.put(
        [
            event(f"e{n}", metadata=each, data={"externalId": f"p{n}"})
            for n, each in enumerate(metadata)
        ]
    )

    def values(name, prefix="", part="metadata"):
        return store.values_of("dock", part, name, prefix=prefix)

    assert values("shift") == ["Noon", "day", "night", "true"]
    assert values("shift", "n") == ["night"]
    assert values("order") == [f"{number:03}" for number in range(50)]
    assert values("order", "11") == [f"11{number}" for number in range(10)]
    assert values("door")[:4] == ["open", "0", "0.5", "1"]
    assert values("door", "0") == ["0", "0.5"]
    assert values("externalId", "p12", part="data") == ["p12", "p120", "p121", "p122", "p123"]
    assert values("note") == [], "more than its beginning is not known"
    assert values("none") == values("shift", "x") == []
    assert store.values_of("nowhere", "metadata", "shift", prefix="") == []


@pytest.mark.parametrize("day", [(1, 1, 1), (9999, 12, 31)])
def test_the_first_and_the_last_day_of_all_are_split_and_compared_like_others(store, day):
    store.put([event("odd clock", time=datetime(*day, tzinfo=timezone.utc))])

    by_shift = store.timeline(everything(), buckets=10, starts_min=[360, 840, 1320])
    beside = store.timeline(everything(), buckets=10, beside_days=7).beside

    assert sum(by_shift.events) == 1
    assert sum(beside.events) == 0


def test_what_stands_beside_is_counted_also_where_queries_do_not_look_back(open_store, store):
    store.put([event("now", minutes=60), *(event(f"then {n}", minutes=60 + n) for n in range(5))])
    week_min = 7 * 24 * 60
    store.put([event(f"before {n}", minutes=week_min + 60 + n) for n in range(3)])
    store = open_store(lookback_days=2)

    timeline = store.timeline(everything(), buckets=10, beside_days=7)

    assert (sum(timeline.events), sum(timeline.beside.events)) == (6, 3)

"""Counts compared with a recount, in sealed blocks and out of them."""

from __future__ import annotations

import random
from collections import Counter
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import delete, select

from tests.unit.server.scenes import event, everything, feedback, seen
from vision_event_block.server.storage import Store
from vision_event_block.server.store import schema
from vision_event_block.server.store.blocks import PART_EVENTS, due_to_seal
from vision_event_block.server.store.columns import BLOCK_EVENTS
from vision_event_block.server.store.counting import MAX_VALUES
from vision_event_block.server.store.errors import BadQuery
from vision_event_block.server.store.facets import DEVICE_ID, RESULT, Field
from vision_event_block.server.store.filters import Condition, FieldCondition

BERLIN = ZoneInfo("Europe/Berlin")
#: In the night after it, clocks in Berlin are put forward.
START = datetime(2026, 3, 28, 3, tzinfo=timezone.utc)
DOOR = tuple(Field("metadata", "door", kind) for kind in ("number", "string"))
BY = {"device": (DEVICE_ID,), "result": (RESULT,), "door": DOOR}
LONG = "x" * 250


def made(number, chance):
    """An event at any time of three days, whatever its number."""
    moment = START + timedelta(seconds=chance.randrange(3 * 86_400), microseconds=number)
    door = chance.choice((1, 2.5, "gate", None))
    return event(
        f"e{number}",
        event_type="quality_check",
        time=moment,
        data={"result": chance.choice(("pass", "pass", "fail"))},
        metadata={"door": door} if door is not None else {},
        seen=[("pallet", round(chance.random(), 2))] if number % 3 else [],
        comment=LONG + str(number % 2) if number % 5 == 0 else "short",
        deviceId=f"cam-{chance.randrange(4)}",
    )


def value_of(each, name):
    if name == "device":
        return each.body["deviceId"]
    if name == "result":
        return each.body["eventData"]["result"]
    door = each.body["customMetadata"].get("door")
    return None if door is None else str(door)


def confidence_of(each):
    return max((one["confidence"] for one in each.body["images"][0]["objectDetections"]), default=0)


def comment(operator, value):
    return {"event_fields": (FieldCondition("comment", operator, value, "string"),)}


WRONG = {f"e{n}" for n in range(0, 5_000, 40)}
PINNED = {f"e{n}" for n in range(0, 5_000, 70)}
#: Filters, and for which events they hold.
CASES = {
    "nothing": ({}, lambda _: True),
    "one device": (
        {"device_id": Condition("eq", "cam-1")},
        lambda each: each.body["deviceId"] == "cam-1",
    ),
    "surely": (seen("pallet", gte=0.5), lambda each: confidence_of(each) >= 0.5),
    "a number": (
        {"metadata": (FieldCondition("door", "gte", 2.0, "number"),)},
        lambda each: each.body["customMetadata"].get("door") == 2.5,
    ),
    "a long text": (comment("eq", LONG + "1"), lambda each: each.body["comment"] == LONG + "1"),
    "unlike a long text": (
        comment("neq", LONG + "1"),
        lambda each: each.body["comment"] != LONG + "1",
    ),
    "part of a text": (comment("contains", "hor"), lambda each: "hor" in each.body["comment"]),
    "judged": ({"feedback": ("incorrect",)}, lambda each: each.event_id in WRONG),
    "not judged": ({"feedback": ("none",)}, lambda each: each.event_id not in WRONG),
    "pinned": ({"is_pinned": True}, lambda each: each.event_id in PINNED),
    "a day": (
        {"start": START + timedelta(days=1), "end": START + timedelta(days=2)},
        lambda each: timedelta(days=1) <= each.timestamp - START <= timedelta(days=2),
    ),
    "no such device": ({"device_id": Condition("eq", "cam-9")}, lambda _: False),
    "no such field": (
        {"metadata": (FieldCondition("colour", "neq", "red", "string"),)},
        lambda _: True,
    ),
}


def check(store, events):
    """Every case by every field, in days and in hours."""
    for case, (filters, is_met) in CASES.items():
        expected = [each for each in events if is_met(each)]
        assert store.count(everything(**filters)) == len(expected), case
        assert store.count(everything(**filters), at_most=9) == min(len(expected), 9), case
        for buckets in (4, 100):
            timeline = store.timeline(everything(**filters), buckets=buckets, zone=BERLIN, by=BY)
            periods = list(pairwise(timeline.edges))

            def by_period(chosen, periods=periods):
                return tuple(
                    sum(start <= each.timestamp < end for each in chosen) for start, end in periods
                )

            assert timeline.events == by_period(expected), case
            for name in BY:
                values = {value_of(each, name) for each in expected} - {None}
                assert timeline.series[name] == {
                    value: by_period([each for each in expected if value_of(each, name) == value])
                    for value in values
                }, (case, name)


def whole_blocks(connection):
    number = schema.blocks.c.no
    return connection.execute(select(number).where(number >= 0)).scalars().all()


def test_counts_are_those_of_a_recount_before_and_after_blocks_are_sealed(store):
    chance = random.Random(3)
    events = {f"e{n}": made(n, chance) for n in range(BLOCK_EVENTS + 300)}
    store.put(list(events.values()))
    gone = chance.sample(sorted(events), 400)
    store.delete("dock", gone)
    written = gone[:40] + sorted(set(events) - set(gone))[:40]
    again = [made(int(name[1:]), chance) for name in written]
    store.put(again)
    events = {name: each for name, each in events.items() if name not in gone}
    events |= {each.event_id: each for each in again}
    wrong = sorted(WRONG & set(events))
    store.put([feedback(f"f{name}", name, "incorrect", use_case="line") for name in wrong])
    store.pin("dock", sorted(PINNED & set(events)))

    check(store, list(events.values()))
    with store._database.writing() as connection:
        assert whole_blocks(connection) == [0]
        # As a database of an earlier version comes.
        connection.execute(delete(schema.blocks))
        connection.execute(delete(schema.columns))
    check(store, list(events.values()))
    store.clean_up()
    with store._database.reading() as connection:
        assert whole_blocks(connection) == [0]
        assert due_to_seal(connection) == []
    check(store, list(events.values()))


def test_while_a_block_fills_only_its_newest_events_are_read_one_by_one(store):
    """Reading the facets of a block that is nearly full takes a tenth of a second."""
    chance = random.Random(5)
    events = [made(n, chance) for n in range(3 * PART_EVENTS + 100)]
    for start in range(0, len(events), 90):
        store.put(events[start : start + 90])
    store.delete("dock", [each.event_id for each in events[10:20]])
    left = events[:10] + events[20:]

    facets = schema.facets
    with store._database.writing() as connection:
        connection.execute(delete(facets).where(facets.c.event_no <= 3 * PART_EVENTS - 1))

    timeline = store.timeline(everything(), buckets=1, by=BY)
    assert timeline.event_count == len(left)
    for name in BY:
        values = Counter(value_of(each, name) for each in left)
        del values[None]
        assert timeline.series[name] == {value: (count,) for value, count in values.items()}


@pytest.mark.parametrize("left", [0, 1])
def test_numbers_of_deleted_events_are_not_given_to_others_in_a_sealed_part(store, left):
    old = [event(f"e{n}", deviceId="old") for n in range(2 * PART_EVENTS)]
    store.put(old)

    store.delete("dock", [each.event_id for each in old[PART_EVENTS + left :]])
    store.put([event(f"new{n}", deviceId="new") for n in range(PART_EVENTS)])

    timeline = store.timeline(everything(), buckets=1, by={"device": (DEVICE_ID,)})
    assert timeline.series["device"] == {"old": (PART_EVENTS + left,), "new": (PART_EVENTS,)}


def test_numbers_of_deleted_events_are_not_given_to_others_in_a_sealed_block(store):
    old = [event(f"e{n}", deviceId="old") for n in range(BLOCK_EVENTS + 5)]
    store.put(old)

    store.delete("dock", [each.event_id for each in old[-500:]])
    store.put([event("new", deviceId="new", minutes=1)])

    timeline = store.timeline(everything(), buckets=1, by={"device": (DEVICE_ID,)})
    assert timeline.series["device"] == {"old": (BLOCK_EVENTS - 495,), "new": (1,)}


def test_a_block_goes_with_its_last_event(store):
    events = [event(f"e{n}") for n in range(BLOCK_EVENTS)]
    store.put([*events, event("newest")])

    for start in range(0, BLOCK_EVENTS, 500):
        store.delete("dock", [each.event_id for each in events[start : start + 500]])

    with store._database.reading() as connection:
        assert connection.execute(select(schema.blocks.c.no)).first() is None
        assert connection.execute(select(schema.columns.c.field_no)).first() is None
    assert store.timeline(everything(), buckets=1).event_count == 1


def test_too_many_values_to_count_by_are_refused(tmp_path):
    by = {"order": (Field("metadata", "order", "string"),)}
    with Store.open(tmp_path, lookback_days=None) as store:
        store.use_cases.create("Dock", id="dock")
        store.put([event(f"e{n}", metadata={"order": f"{n}"}) for n in range(MAX_VALUES)])
        counted = store.timeline(everything(), buckets=1, by=by).series["order"]
        assert Counter(map(sum, counted.values())) == {1: MAX_VALUES}

        store.put([event("one more", metadata={"order": "one more"})])
        with pytest.raises(BadQuery, match="10,000 different values"):
            store.timeline(everything(), buckets=1, by=by)

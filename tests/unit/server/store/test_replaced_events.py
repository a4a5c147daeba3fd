"""Events that are written again under their ids, as those of tracked things are."""

from __future__ import annotations

import random

import pytest

from tests.unit.server.scenes import NOON, event, everything, feedback, found, picture, seen
from vision_event_block.server.storage import Store
from vision_event_block.server.store.filters import FieldCondition

STATES = ("still there", "left", "cut off", "pushed out")


def version_of(number, chance, pictures):
    """One of the states of a thing's event: what it is, and all that is known, may change."""
    return event(
        f"thing-{number}",
        event_type=chance.choice(("custom", "quality_check", "safety_alert")),
        minutes=chance.randrange(600),
        data={
            "result": chance.choice(("pass", "fail")),
            "severity": chance.choice(("low", "high")),
        },
        metadata={
            "track_id": number,
            "duration_s": round(chance.uniform(0, 90), 1),
            "state": chance.choice(STATES),
            chance.choice(("frames", "note", "path")): chance.choice((4, "four")),
        },
        seen=[(chance.choice(("car", "van", "truck")), chance.random())],
        pictures=chance.sample(pictures, chance.randrange(1, 4)),
        deviceId=f"cam-{chance.randrange(3)}",
        warnings=[{"type": "any.only"}] if chance.random() < 0.2 else (),
    )


def longer_than(seconds):
    return everything(metadata=(FieldCondition("duration_s", "gt", seconds, "number"),))


def figures(store):
    """All that is counted, offered and found."""
    use_case = store.use_cases.get("dock")
    return {
        "count": use_case.event_count,
        "types": use_case.event_types,
        "last": use_case.last_event_at,
        "by hour": store.timeline(everything(), buckets=10),
        "filtered": store.timeline(longer_than(30), buckets=10),
        "choices": store.choices("dock"),
        "metadata": store.metadata_schema("dock"),
        "all": found(store),
        "long": found(store, longer_than(45)),
        "cars": found(store, **seen("car", gte=0.5)),
        "judged": [found(store, feedback=(each,)) for each in ("correct", "incorrect", "none")],
        "warned": found(store, has_warnings=True),
    }


@pytest.mark.parametrize("seed", range(2))
def test_what_was_written_again_counts_as_if_only_its_last_version_had_ever_come(
    store, tmp_path, clock, seed
):
    chance = random.Random(seed)
    pictures = [store.pictures.put(picture()).id for _ in range(12)]
    versions = [version_of(number, chance, pictures) for number in range(40) for _ in range(4)]
    verdicts = [
        feedback(f"verdict-{number}", f"thing-{number}", chance.choice(("correct", "incorrect")))
        for number in range(0, 40, 5)
    ]
    arriving = [*versions, *verdicts]
    chance.shuffle(arriving)

    last = {each.event_id: each for each in arriving}
    while arriving:
        size = chance.choice((1, 2, 30))
        store.put(arriving[:size])
        arriving = arriving[size:]

    with Store.open(tmp_path / "recount", lookback_days=None, clock=clock) as recount:
        recount.use_cases.create("Dock", id="dock")
        recount.put(list(last.values()))
        assert figures(store) == figures(recount)


def test_pictures_that_the_newer_version_does_not_name_go_and_those_of_both_stay(store, clock):
    first, best, story = (store.pictures.put(picture()).id for _ in range(3))
    store.put([event("a", pictures=[first, best])])
    clock.go(days=30)

    store.put([event("a", pictures=[best, story])])
    store.clean_up()
    assert all(map(store.pictures.exists, (first, best, story)))  # a retry may still name it

    clock.go(days=1, seconds=1)
    assert store.clean_up().pictures == 1
    assert [store.pictures.exists(each) for each in (first, best, story)] == [False, True, True]


def test_a_page_of_events_that_change_between_two_reads_shows_each_once(store):
    """Their times stand, so nobody's place in the order moves."""
    store.put([event(f"e{number:02}", minutes=number) for number in range(20)])
    page = store.query(everything(), limit=8)
    store.put([event(f"e{number:02}", minutes=number, deviceId="again") for number in range(20)])

    shown = [each.event_id for each in page.events]
    while page.next_cursor:
        page = store.query(everything(), limit=8, cursor=page.next_cursor)
        shown += [each.event_id for each in page.events]

    assert shown == [f"e{number:02}" for number in range(20)]


def test_a_version_that_comes_again_is_a_change_that_a_page_sees(store, clock):
    store.put([event("a", time=NOON)])
    before, received = store.latest_change("dock"), store.get("a").received_at
    clock.go(seconds=2)

    store.put([event("a", time=NOON, metadata={"state": "left"})])

    assert store.latest_change("dock") > before
    assert store.get("a").received_at > received

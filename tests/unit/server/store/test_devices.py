"""Devices by when they were last heard of, and which are quieter than is their habit."""

from __future__ import annotations

from datetime import timedelta

from tests.unit.server.scenes import NOON, event
from vision_event_block.server.store.devices import Devices

DAY_MIN, WEEK_MIN = 24 * 60, 7 * 24 * 60


def put(store, name, minutes, **context):
    store.put(
        [
            event(f"{name} {n}", minutes=each, deviceId=name, **context)
            for n, each in enumerate(minutes)
        ]
    )


def known(store):
    return {each.name: each for each in store.devices("dock").found}


def test_a_device_is_silent_if_it_sent_in_the_same_hours_a_week_before(store):
    # Each hour of the day on weekdays, quiet since nine; NOON is a Sunday.
    put(store, "busy on sundays", [*range(180, 240), *range(WEEK_MIN - 60, WEEK_MIN + 300, 5)])
    put(store, "quiet on sundays", [*range(180, 240), *range(WEEK_MIN + 190, WEEK_MIN + 900, 5)])

    devices = known(store)

    busy, quiet = devices["busy on sundays"], devices["quiet on sundays"]
    assert (busy.is_silent, busy.missed, busy.habit) == (True, 36, "week")
    assert busy.last_event_at == NOON - timedelta(minutes=180)
    assert (quiet.is_silent, quiet.missed) == (False, 0)


def test_a_newer_device_is_compared_with_the_day_before_or_with_its_rate_so_far(store):
    put(store, "since two days", [60, *range(DAY_MIN, DAY_MIN + 61, 5), 2 * DAY_MIN])
    put(store, "since an hour", range(30, 60, 2))
    put(store, "once", [600])

    devices = known(store)

    assert (devices["since two days"].missed, devices["since two days"].habit) == (12, "day")
    assert (devices["since an hour"].missed, devices["since an hour"].habit) == (15, "so far")
    assert not devices["once"].is_silent


def test_the_rate_stands_beside_the_usual_one_of_that_hour(store):
    put(store, "known", [*range(1, 31), *range(WEEK_MIN + 1, WEEK_MIN + 21), WEEK_MIN + 100])
    put(store, "new", [5, 10])

    devices = known(store)

    assert (devices["known"].last_hour, devices["known"].usual_hour) == (30, 20)
    assert (devices["new"].last_hour, devices["new"].usual_hour) == (2, None)


def test_the_one_that_misses_most_comes_first_then_the_one_that_was_quiet_for_longest(store):
    put(store, "misses 12", [61, *range(WEEK_MIN, WEEK_MIN + 60, 5), WEEK_MIN + 90])
    put(store, "misses 30", [61, *range(WEEK_MIN, WEEK_MIN + 60, 2), WEEK_MIN + 90])
    put(store, "well", [1], streamId="belt")
    put(store, "rare", [300])

    assert [(each.kind, each.name) for each in store.devices("dock").found] == [
        ("device", "misses 30"),
        ("device", "misses 12"),
        ("device", "rare"),
        ("stream", "belt"),
        ("device", "well"),
    ]
    assert store.devices("line") == store.devices("nowhere") == Devices([])


def test_what_was_not_heard_of_for_weeks_is_not_missed_any_more(store):
    put(store, "gone", [29 * DAY_MIN])
    put(store, "in the future", [-30])

    devices = known(store)

    assert set(devices) == {"in the future"}
    assert not devices["in the future"].is_silent

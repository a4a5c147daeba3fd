"""At most one event per key and period, whoever asks and wherever."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock

import pytest

from tests.waiting import TIMEOUT_S
from vision_event_block.blocks.cooldown import (
    CACHE_PREFIX,
    CACHE_RESTS_S,
    MAX_KEYS,
    Cooldown,
    VideoTime,
)


class Clock:
    def __init__(self, now_s=1000.0):
        self.now_s = now_s

    def __call__(self):
        return self.now_s


class SharedCache:
    """What two workers see in one Redis: plain values, whole seconds, a lock."""

    def __init__(self):
        self.values = {}
        self.lock_ = Lock()

    def get(self, key):
        return self.values.get(key)

    def set(self, key, value, expire=None):
        assert type(expire) is int
        assert expire >= 1
        self.values[key] = value

    @contextmanager
    def lock(self, key, expire=None):
        with self.lock_:
            yield


class BrokenCache:
    tries = 0

    def get(self, key):
        self.tries += 1
        raise ConnectionError("redis is away")

    set = get


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def cooldown(clock):
    return Cooldown(clock=clock, wall_clock=Clock(5e8))


def test_one_event_a_period(cooldown, clock):
    assert cooldown.claim("a", 1.0, run="r1")
    clock.now_s += 0.99
    assert cooldown.claim("a", 1.0, run="r2") is None
    clock.now_s += 0.02
    assert cooldown.claim("a", 1.0, run="r3")


def test_a_throttled_event_does_not_prolong_the_period(cooldown, clock):
    cooldown.claim("a", 1.0, run="r1")
    for step in range(9):
        clock.now_s += 0.1
        assert cooldown.claim("a", 1.0, run=f"s{step}") is None
    clock.now_s += 0.11
    assert cooldown.claim("a", 1.0, run="r2")


def test_keys_count_by_themselves(cooldown):
    assert cooldown.claim("a", 1.0, run="r1")
    assert cooldown.claim("b", 1.0, run="r2")


def test_everything_of_one_run_passes(cooldown):
    assert all(cooldown.claim("a", 1.0, run="r1") for _ in range(3))
    assert cooldown.claim("a", 1.0, run="r2") is None


@pytest.mark.parametrize("refused", [[0], [1], [0, 2]])
def test_a_period_is_spent_if_one_event_of_the_run_was_accepted(cooldown, refused):
    claims = [cooldown.claim("a", 1.0, run="r1") for _ in range(3)]
    for number in refused:
        claims[number].release()

    assert cooldown.claim("a", 1.0, run="r2") is None
    for claim in claims:
        if claims.index(claim) not in refused:
            claim.release()
    assert cooldown.claim("a", 1.0, run="r3")


def test_a_run_that_never_ends_is_none(cooldown, clock):
    cooldown.claim("a", 3600, run="r1")
    clock.now_s += 59
    assert cooldown.claim("a", 3600, run="r1")
    clock.now_s += 2
    assert cooldown.claim("a", 3600, run="r1") is None


def test_without_runs_nothing_belongs_together(cooldown):
    assert cooldown.claim("a", 1.0, run=None)
    assert cooldown.claim("a", 1.0, run=None) is None


@pytest.mark.parametrize("period_s", [0, -1])
def test_no_period_holds_nothing_back(cooldown, period_s):
    assert all(cooldown.claim("a", period_s, run=f"r{i}") for i in range(3))


def test_giving_back_restores_the_period_before(cooldown, clock):
    cooldown.claim("a", 1.0, run="r1")
    clock.now_s += 1.5
    cooldown.claim("a", 1.0, run="r2").release()

    assert cooldown.claim("a", 2.0, run="r3") is None  # r1 was 1.5 s ago


def test_giving_back_late_does_not_take_anothers_period(cooldown, clock):
    late = cooldown.claim("a", 1.0, run="r1")
    clock.now_s += 1.5
    cooldown.claim("a", 1.0, run="r2")
    late.release()

    assert cooldown.claim("a", 1.0, run="r3") is None


def test_of_many_threads_one_wins(cooldown):
    with ThreadPoolExecutor(16) as pool:
        claims = list(pool.map(lambda i: cooldown.claim("a", 60, run=f"r{i}"), range(200)))

    assert sum(claim is not None for claim in claims) == 1


def test_memory_is_bounded(cooldown):
    for number in range(MAX_KEYS + 10):
        cooldown.claim(str(number), 60, run=None)

    assert len(cooldown._spent) == MAX_KEYS


# --- several processes, one cache


@pytest.fixture
def workers():
    """Two processes' cooldowns: monotonic clocks of their own, one wall clock."""
    wall_clock = Clock(5e8)
    return (
        Cooldown(clock=Clock(10), wall_clock=wall_clock),
        Cooldown(clock=Clock(99999), wall_clock=wall_clock),
        wall_clock,
    )


def test_a_period_holds_for_every_worker(workers):
    one, other, wall_clock = workers
    cache = SharedCache()

    assert one.claim("a", 1.5, run="r1", cache=cache)
    assert other.claim("a", 1.5, run="r2", cache=cache) is None
    wall_clock.now_s += 1.6
    assert other.claim("a", 1.5, run="r3", cache=cache)


def test_a_cache_that_hangs_does_not_hold_up_other_keys(cooldown):
    cache = SharedCache()
    with cache.lock_, ThreadPoolExecutor(1) as pool:
        slow = pool.submit(cooldown.claim, "slow", 1.0, run="r1", cache=cache)
        assert cooldown.claim("quick", 1.0, run="r2")
        assert not slow.done()
        cache.lock_.release()
        assert slow.result(TIMEOUT_S)
        cache.lock_.acquire()


def test_a_given_back_period_is_free_for_every_worker(workers):
    one, other, _ = workers
    cache = SharedCache()
    one.claim("a", 60, run="r1", cache=cache).release()

    assert other.claim("a", 60, run="r2", cache=cache)


def test_a_wall_clock_that_jumped_back_holds_nothing_back_for_hours(workers):
    one, other, wall_clock = workers
    cache = SharedCache()
    one.claim("a", 1.0, run="r1", cache=cache)
    wall_clock.now_s -= 7200

    assert other.claim("a", 1.0, run="r2", cache=cache)


def test_a_cache_that_fails_costs_no_event(cooldown, clock):
    assert cooldown.claim("a", 1.0, run="r1", cache=BrokenCache())
    assert cooldown.claim("a", 1.0, run="r2", cache=BrokenCache()) is None
    clock.now_s += 1.1
    cooldown.claim("a", 1.0, run="r3", cache=BrokenCache()).release()


def test_a_cache_that_fails_is_left_alone_for_a_while(cooldown, clock):
    """One that hangs takes seconds to fail, and every camera would wait for them."""
    broken = BrokenCache()
    for number in range(5):
        cooldown.claim(f"camera {number}", 1.0, run=None, cache=broken)
    assert broken.tries == 1
    clock.now_s += CACHE_RESTS_S

    whole = SharedCache()
    assert cooldown.claim("a", 1.0, run="r1", cache=whole)
    assert whole.values


def test_giving_back_late_does_not_take_another_workers_period(workers):
    one, other, wall_clock = workers
    cache = SharedCache()
    late = one.claim("a", 1.0, run="r1", cache=cache)
    wall_clock.now_s += 1.5
    assert other.claim("a", 1.0, run="r2", cache=cache)
    late.release()

    assert one.claim("a", 1.0, run="r3", cache=cache) is None


def test_garbage_in_the_cache_costs_no_event(cooldown):
    cache = SharedCache()
    cache.values[CACHE_PREFIX + "a"] = {"until": "soon"}

    assert cooldown.claim("a", 1.0, run="r1", cache=cache)


# --- videos


def claimed(cooldown, times_s, *, period_s=1.0, session="s", cache=None):
    """Of the frames at these times of a video, those that were let through."""
    return [
        time_s
        for time_s in times_s
        if cooldown.claim(
            "a", period_s, run=f"{session} {time_s}", cache=cache, video=VideoTime(session, time_s)
        )
    ]


@pytest.mark.parametrize("cache", [None, SharedCache()])
def test_a_file_that_runs_faster_than_life_counts_by_its_own_seconds(cooldown, cache):
    times_s = [number / 10 for number in range(60)]

    assert claimed(cooldown, times_s, cache=cache) == [0, 1, 2, 3, 4, 5]


def test_a_file_that_runs_slower_than_life_does_too(cooldown, clock):
    found = []
    for number in range(60):
        clock.now_s += 1
        found += claimed(cooldown, [number / 10])

    assert found == [0, 1, 2, 3, 4, 5]


def test_a_video_that_plays_again_begins_again(cooldown):
    once = [0.0, 2.0, 4.0, 6.0]

    assert claimed(cooldown, once * 3, period_s=100.0) == [0.0, 0.0, 0.0]


def test_a_frame_that_comes_a_little_late_does_not_begin_again(cooldown):
    assert claimed(cooldown, [5.0, 4.9, 5.1, 4.2]) == [5.0]


def test_what_another_pipeline_plays_counts_by_real_seconds(cooldown, clock):
    """Each video has a time of its own."""
    assert claimed(cooldown, [3600.0]) == [3600.0]
    assert claimed(cooldown, [0.0, 5.0], session="t") == []
    clock.now_s += 1.1
    assert claimed(cooldown, [6.0, 6.5, 7.0], session="t") == [6.0, 7.0]


def test_another_workers_period_holds_for_a_video_too(workers):
    one, other, wall_clock = workers
    cache = SharedCache()

    assert claimed(one, [0.0, 1.0], cache=cache) == [0.0, 1.0]
    assert claimed(other, [0.0, 50.0], cache=cache) == []
    wall_clock.now_s += 1.1
    assert claimed(other, [60.0], cache=cache) == [60.0]

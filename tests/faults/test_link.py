"""A link and an API that fail: nothing is lost, and few requests are wasted.

The figures of each run are printed with `pytest -s`.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from vision_event_block.delivery.courier_limits import CourierLimits
from vision_event_block.outbox.owner_status import DestinationState

RATE_PER_S = 20


def rss_bytes():
    pages = Path("/proc/self/statm").read_text("ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def drained_per_s(api, producer, count, begin):
    """How many events a second arrive once it begins."""
    before = len(api.events)
    started_s = time.monotonic()
    begin()
    api.wait_for_events(before + count, 60)
    assert producer.courier.flush(60) == 0
    return count / (time.monotonic() - started_s)


def test_events_of_an_outage_arrive_after_few_probes(api, producer_with, judge, say):
    # The longest waits that the jitter may draw: probes are due 1, 3 and 7 s after it closed.
    producer = producer_with(uniform=lambda _low, high: high)
    producer.send(pictures=2)
    api.wait_for_events(1)
    healthy = len(api.requests)

    api.fail(503)
    for _ in range(50):
        producer.send(pictures=2)
        time.sleep(0.2)
    wasted = len(api.requests) - healthy
    api.heal()
    ended_s = time.monotonic()
    api.wait_for_events(51, 60)

    say(f"outage: {wasted} requests in 10 s, back after {time.monotonic() - ended_s:.1f} s")
    # Those under way when it closed, and three probes; on a slow machine the one after 15 s, too.
    assert 4 <= wasted <= 8 + 4
    assert producer.courier.flush(60) == 0
    judge(producer)


def test_a_backlog_of_3000_drains_as_fast_as_fresh_events(api, producer_with, judge, say):
    producer = producer_with(max_backoff_s=0.5)

    def hand_over(entries):
        for entry in entries:
            producer.courier.submit(entry)

    def healthy_per_s():
        fresh = [producer.store() for _ in range(600)]
        return drained_per_s(api, producer, 600, lambda: hand_over(fresh))

    def share_of_the_healthy_rate():
        before_per_s = healthy_per_s()
        backlog = [producer.store() for _ in range(3000)]
        with api.refusing():
            hand_over(backlog)
            time.sleep(1.0)
            before_bytes = rss_bytes()
            (state,) = producer.courier.states()
            assert (state.state, state.pending) == (DestinationState.DOWN, 3000)
        requests = len(api.requests)
        drain_per_s = drained_per_s(api, producer, 3000, lambda: None)
        per_event = (len(api.requests) - requests) / 3000
        grown_bytes = rss_bytes() - before_bytes
        after_per_s = healthy_per_s()
        say(
            f"backlog: {before_per_s:.0f} and {after_per_s:.0f}/s healthy, "
            f"{drain_per_s:.0f}/s drained, {per_event:.2f} requests per event, "
            f"{grown_bytes / 1e6:.0f} MB more memory"
        )
        assert per_event <= 1.3
        assert grown_bytes < 60e6  # most of it is what the stand-in keeps
        return drain_per_s / min(before_per_s, after_per_s)

    # Other work on the machine comes and goes: whoever can do it once can do it.
    assert any(share_of_the_healthy_rate() >= 0.8 for _ in range(3))
    judge(producer)


def test_a_flaky_link_loses_and_doubles_nothing(api, producer_with, judge, say):
    producer = producer_with(max_backoff_s=2.0)
    api.flaky(unavailable=0.2, cut=0.05, seed=1)

    for _ in range(200):
        producer.send(pictures=2)
    api.wait_for_events(200, 40)
    while producer.courier.flush(10):  # it ends early each time that the gate closes
        pass

    creates = [it for it in api.requests if it.event_ids and it.status == 201]
    needed = 400 + len(creates)
    say(f"flaky: {len(api.requests) / needed:.2f} requests per needed request")
    assert len(api.requests) > 1.2 * needed  # else there were no faults
    assert len(api.requests) <= 1.5 * needed
    api.heal()
    judge(producer)


def test_events_whose_answer_is_lost_are_stored_once_each(api, producer_with, judge, say):
    producer = producer_with(max_backoff_s=0.2)
    for route in ("create", "batch"):
        api.cut(route=route, times=10, after_storing=True)

    for _ in range(100):
        producer.send()
    api.wait_for_events(100)
    while producer.courier.flush(10):  # it ends early each time that the gate closes
        pass

    say(f"answer lost: {len(api.arrivals)} arrivals of 100 events")
    assert len(api.arrivals) > 100  # else nothing was asked again
    api.heal()
    judge(producer)


def test_a_rate_limit_is_used_and_hardly_ever_hit(api, producer_with, judge, say):
    producer = producer_with()
    entries = [producer.store(pictures=2) for _ in range(100)]
    api.limit_rate(RATE_PER_S, retry_after_s=1)

    for entry in entries:
        producer.courier.submit(entry)
    api.wait_for_events(100, 40)

    took_s = api.requests[-1].ended_s - api.requests[0].started_s
    limited = sum(request.status == 429 for request in api.requests)
    taken = len(api.requests) - limited
    say(
        f"rate limit: {taken / took_s:.1f} of {RATE_PER_S} requests/s used, "
        f"{limited} of {len(api.requests)} answers are 429"
    )
    assert taken / took_s >= 0.9 * RATE_PER_S
    # What was on its way at the first refusal, and hardly any after that.
    assert limited <= CourierLimits().threads + 0.03 * len(api.requests)
    api.heal()
    assert producer.courier.flush(60) == 0
    judge(producer)


def test_of_a_hundred_events_only_the_poisoned_one_is_put_aside(api, producer_with, judge):
    producer = producer_with()
    entries = [producer.store() for _ in range(100)]
    bad = entries[60].event_id
    api.poison(bad, error="unknown use case")

    for entry in entries:
        producer.courier.submit(entry)
    assert producer.courier.flush(20) == 0

    (dead_letter_reason,) = (producer.outbox.folder / "dead").glob("*.json")
    reason = json.loads(dead_letter_reason.read_text("utf-8"))
    assert (reason["event_id"], reason["status"]) == (bad, 400)
    assert "unknown use case" in reason["reason"]
    assert dead_letter_reason.with_suffix(".tar").exists()
    judge(producer, without={bad})

"""The breaker by a clock that the tests move: when the next request may start."""

from __future__ import annotations

import pytest

from tests.unit.out_of_memory import each_line
from vision_event_block.delivery.circuit_breaker import CircuitBreaker
from vision_event_block.delivery.errors import (
    AuthError,
    InternalError,
    NotNow,
    RejectedError,
    Unreachable,
)
from vision_event_block.outbox.owner_status import DestinationState

ROUTE = "POST /vision-events"


def breaker_of(**changes):
    """A breaker whose jitter always draws the longest wait."""
    values = {"max_concurrency": 8, "max_backoff_s": 60.0, "key_retry_s": 300.0}
    return CircuitBreaker(**{**values, **changes}, uniform=lambda _low, high: high)


def rejected():
    return RejectedError("no", route=ROUTE, status=400)


def bad_key():
    return AuthError("no", route=ROUTE, status=401)


def internal():
    return InternalError("odd", route=ROUTE)


def away():
    return Unreachable("not there", route=ROUTE)


def tired(status=503, retry_after_s=None):
    return NotNow("not now", route=ROUTE, status=status, retry_after_s=retry_after_s)


def fail(breaker, now_s, error=None):
    breaker.ended(breaker.start(now_s), error or away(), now_s)


def closed(at_s=0.0, **changes):
    breaker = breaker_of(**changes)
    for _ in range(3):
        fail(breaker, at_s)
    return breaker


def test_as_many_requests_start_at_once_as_there_are_lanes():
    breaker = breaker_of(max_concurrency=2)

    breaker.start(0.0)
    assert breaker.starts_at_s(5.0) == 5.0
    breaker.start(5.0)
    assert breaker.starts_at_s(5.0) is None


def test_the_third_failure_in_a_row_closes():
    breaker = breaker_of()

    fail(breaker, 0.0)
    fail(breaker, 0.0)
    assert (breaker.state, breaker.starts_at_s(0.0)) == (DestinationState.OPEN, 0.0)
    fail(breaker, 0.0)
    assert (breaker.state, breaker.starts_at_s(0.0)) == (DestinationState.DOWN, 1.0)


@pytest.mark.parametrize("answer", [None, rejected()])
def test_an_answer_between_failures_keeps_it_open(answer):
    breaker = breaker_of()
    for _ in range(2):
        fail(breaker, 0.0)

    breaker.ended(breaker.start(0.0), answer, 0.0)
    for _ in range(2):
        fail(breaker, 0.0)

    assert breaker.state is DestinationState.OPEN


@pytest.mark.parametrize(
    ("error", "wait_s"),
    [
        (tired(429), 1.0),
        (tired(429, 7.0), 7.0),  # exactly as asked for, below the step
        (tired(429, 0.25), 0.25),  # and above it
        (tired(503, 7.0), 7.0),
        (tired(503, 0.25), 1.0),  # only a floor
    ],
)
def test_the_apis_wish_for_a_pause_closes_at_once(error, wait_s):
    breaker = breaker_of()

    fail(breaker, 10.0, error)

    assert breaker.state is DestinationState.DOWN
    assert breaker.starts_at_s(10.0) == 10.0 + wait_s


def test_one_probe_at_a_time_goes_after_growing_pauses():
    breaker, waits_s, now_s = closed(max_backoff_s=10.0), [], 0.0

    for _ in range(6):
        probe_s = breaker.starts_at_s(now_s)
        waits_s.append(probe_s - now_s)
        generation = breaker.start(probe_s)
        assert breaker.starts_at_s(probe_s) is None
        breaker.ended(generation, away(), probe_s)
        now_s = probe_s

    assert waits_s == [1, 2, 4, 8, 10, 10]


def test_it_reopens_with_one_two_four_and_eight_lanes():
    breaker = closed()
    breaker.retry_now(0.0)

    widths = []
    for _ in range(5):
        generations = []
        while breaker.starts_at_s(0.0) is not None:
            generations.append(breaker.start(0.0))
        widths.append(len(generations))
        breaker.ended(generations.pop(), None, 0.0)
        for generation in generations:
            breaker.cancelled(generation)

    assert widths == [1, 2, 4, 8, 8]
    assert breaker.state is DestinationState.OPEN


def test_after_a_success_the_pauses_are_short_again():
    breaker = closed()
    for _ in range(3):
        fail(breaker, 0.0)

    assert breaker.ended(breaker.start(0.0), None, 0.0)
    for _ in range(3):
        fail(breaker, 0.0)

    assert breaker.opens_at_s == 1.0


@pytest.mark.parametrize("answer", [None, rejected(), internal(), away(), bad_key()])
def test_an_answer_to_a_request_from_before_it_closed_changes_nothing(answer):
    breaker = breaker_of()
    old = breaker.start(0.0)
    fail(breaker, 0.0, tired(429, 30.0))
    breaker.ended(old, answer, 1.0)

    assert (breaker.state, breaker.starts_at_s(1.0)) == (DestinationState.DOWN, 30.0)
    breaker.start(30.0)
    assert breaker.starts_at_s(30.0) is None  # still one at a time


def test_a_refused_key_closes_for_long_and_a_success_opens():
    breaker = breaker_of()

    breaker.ended(breaker.start(0.0), bad_key(), 0.0)

    assert (breaker.state, breaker.starts_at_s(0.0)) == (DestinationState.KEY_REFUSED, 300.0)
    assert breaker.ended(breaker.start(300.0), None, 0.0)
    assert breaker.state is DestinationState.OPEN


@pytest.mark.parametrize(
    ("error", "opens_at_s"), [(tired(503), 1.0), (tired(503, 30.0), 30.0), (tired(429, 5.0), 5.0)]
)
def test_hurrying_skips_a_back_off_but_not_the_apis_wish(error, opens_at_s):
    breaker = breaker_of()
    for _ in range(3):
        fail(breaker, 0.0, error)

    breaker.retry_now(1.0)

    assert breaker.starts_at_s(0.0) == opens_at_s


def test_hurrying_tries_a_refused_key():
    breaker = breaker_of()
    breaker.ended(breaker.start(0.0), bad_key(), 0.0)

    breaker.retry_now(2.0)

    assert breaker.starts_at_s(2.0) == 2.0


def take(breaker, count, from_s, until_s):
    """So many requests that get through, evenly."""
    for number in range(count):
        breaker.ended(breaker.start(from_s + number * (until_s - from_s) / count), None, 0.0)


def starts_of(breaker, now_s, count):
    starts_s = []
    for _ in range(count):
        now_s = breaker.starts_at_s(now_s)
        starts_s.append(now_s)
        breaker.ended(breaker.start(now_s), None, 0.0)
    return starts_s


def test_after_a_429_it_keeps_to_a_rate_slightly_above_what_was_allowed():
    breaker = breaker_of()
    take(breaker, 20, 0.0, 1.0)
    fail(breaker, 1.0, tired(429, 1.0))

    starts_s = starts_of(breaker, 1.0, 21)

    assert starts_s[0] == 2.0
    assert 20 / (starts_s[-1] - starts_s[0]) == pytest.approx(11.0, rel=0.05)  # 20 in 2 s, and 10 %


def test_what_got_through_just_before_the_429_counts_also_if_its_answer_comes_after():
    breaker = breaker_of()
    late = [breaker.start(0.0) for _ in range(5)]
    take(breaker, 15, 0.0, 1.0)
    fail(breaker, 1.0, tired(429, 1.0))
    for generation in late:
        breaker.ended(generation, None, 0.0)

    starts_s = starts_of(breaker, 1.0, 21)

    assert 20 / (starts_s[-1] - starts_s[0]) == pytest.approx(11.0, rel=0.05)


def test_quiet_hours_before_a_429_do_not_make_the_rate_small():
    breaker = breaker_of()
    for hour in range(24):
        breaker.ended(breaker.start(hour * 3600.0), None, 0.0)
    now_s = 24 * 3600.0
    take(breaker, 20, now_s, now_s + 1)
    fail(breaker, now_s + 1, tired(429, 1.0))

    starts_s = starts_of(breaker, now_s + 1, 21)

    assert 20 / (starts_s[-1] - starts_s[0]) == pytest.approx(11.0, rel=0.05)


def test_a_rate_climbs_until_the_next_429():
    breaker = breaker_of()
    take(breaker, 20, 0.0, 1.0)
    fail(breaker, 1.0, tired(429, 1.0))

    starts_s = starts_of(breaker, 1.0, 500)

    assert 1 / (starts_s[-1] - starts_s[-2]) > 20.0


def test_a_few_requests_before_a_429_say_nothing_about_a_rate():
    breaker = breaker_of()
    take(breaker, 4, 0.0, 1.0)
    fail(breaker, 1.0, tired(429, 1.0))

    breaker.ended(breaker.start(2.0), None, 0.0)

    assert breaker.starts_at_s(2.0) == 2.0


def test_a_start_that_needed_no_request_costs_nothing_of_the_rate():
    breaker = breaker_of()
    take(breaker, 20, 0.0, 1.0)
    fail(breaker, 1.0, tired(429, 1.0))
    breaker.ended(breaker.start(2.0), None, 0.0)
    due_s = breaker.starts_at_s(2.0)

    breaker.cancelled(breaker.start(due_s))

    assert breaker.starts_at_s(due_s) == pytest.approx(due_s)


def test_a_verdict_on_one_event_opens_what_was_down_and_makes_the_pauses_short_again():
    breaker = closed()
    fail(breaker, 1.0)
    assert breaker.starts_at_s(1.0) == 3.0

    breaker.ended(breaker.start(3.0), rejected(), 0.0)

    assert breaker.state is DestinationState.OPEN
    for _ in range(3):
        fail(breaker, 3.0)
    assert breaker.starts_at_s(3.0) == 4.0


def test_a_verdict_on_one_event_says_nothing_about_a_refused_key():
    breaker = breaker_of()
    breaker.ended(breaker.start(0.0), bad_key(), 0.0)

    breaker.ended(breaker.start(300.0), rejected(), 0.0)

    assert breaker.state is DestinationState.KEY_REFUSED


def test_a_rate_that_allowed_next_to_nothing_is_halved_but_never_to_a_stop():
    breaker = breaker_of()
    take(breaker, 20, 0.0, 1.0)
    fail(breaker, 1.0, tired(429, 1.0))
    breaker.ended(breaker.start(2.0), None, 0.0)
    pauses_s = []
    now_s = 2.0
    for _ in range(12):
        now_s = breaker.starts_at_s(now_s)
        fail(breaker, now_s, tired(429, 1.0))
        now_s = breaker.starts_at_s(now_s)
        breaker.ended(breaker.start(now_s), None, 0.0)
        pauses_s.append(breaker.starts_at_s(now_s) - now_s)
    assert pauses_s[1] / pauses_s[0] == pytest.approx(2.0, rel=0.2)
    assert 5.0 < pauses_s[-1] <= 10.0


@pytest.mark.parametrize("number", range(10))
def test_a_failure_inside_this_process_says_nothing_about_the_destination(number):
    breaker = closed() if number % 2 else breaker_of()
    before = (breaker.state, breaker.generation)

    for _ in range(number):
        breaker.ended(breaker.start(5.0), internal(), 5.0)

    assert (breaker.state, breaker.generation) == before
    assert breaker.in_flight == 0


def test_without_memory_at_any_line_of_a_request_there_is_always_a_next_one():
    breaker = breaker_of(max_concurrency=2)
    now_s = 0.0

    def request_that_fails():
        permit = None
        try:
            permit = breaker.start(now_s)
            breaker.ended(permit, tired(), now_s)
        except MemoryError:
            if permit is not None:
                breaker.cancelled(permit)  # as whoever had it does
            raise

    for place, _ in each_line(["delivery/circuit_breaker.py"], request_that_fails):
        now_s += 1000.0
        assert breaker.starts_at_s(now_s) is not None, place
        assert breaker.in_flight == 0, place

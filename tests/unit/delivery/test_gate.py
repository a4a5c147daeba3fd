"""The gate by a clock that the tests move: when the next request may start."""

from __future__ import annotations

import pytest

from vision_event_block.delivery.errors import NotNow, Unreachable
from vision_event_block.delivery.gate import Gate, State

ROUTE = "POST /vision-events"


def gate_of(**changes):
    """A gate whose jitter always draws the longest wait."""
    values = {"lanes": 8, "max_backoff_s": 60.0, "key_retry_s": 300.0}
    return Gate(**{**values, **changes}, uniform=lambda _low, high: high)


def away():
    return Unreachable("not there", route=ROUTE)


def tired(status=503, retry_after_s=None):
    return NotNow("not now", route=ROUTE, status=status, retry_after_s=retry_after_s)


def fail(gate, now_s, error=None):
    gate.troubled(gate.start(now_s), error or away(), now_s)


def closed(at_s=0.0, **changes):
    gate = gate_of(**changes)
    for _ in range(3):
        fail(gate, at_s)
    return gate


def test_as_many_requests_start_at_once_as_there_are_lanes():
    gate = gate_of(lanes=2)

    gate.start(0.0)
    assert gate.starts_at_s(5.0) == 5.0
    gate.start(5.0)
    assert gate.starts_at_s(5.0) is None


def test_the_third_failure_in_a_row_closes():
    gate = gate_of()

    fail(gate, 0.0)
    fail(gate, 0.0)
    assert (gate.state, gate.starts_at_s(0.0)) == (State.OPEN, 0.0)
    fail(gate, 0.0)
    assert (gate.state, gate.starts_at_s(0.0)) == (State.DOWN, 1.0)


@pytest.mark.parametrize("end", ["succeeded", "refused"])
def test_an_answer_between_failures_keeps_it_open(end):
    gate = gate_of()
    for _ in range(2):
        fail(gate, 0.0)

    getattr(gate, end)(gate.start(0.0))
    for _ in range(2):
        fail(gate, 0.0)

    assert gate.state is State.OPEN


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
    gate = gate_of()

    fail(gate, 10.0, error)

    assert gate.state is State.DOWN
    assert gate.starts_at_s(10.0) == 10.0 + wait_s


def test_one_probe_at_a_time_goes_after_growing_pauses():
    gate, waits_s, now_s = closed(max_backoff_s=10.0), [], 0.0

    for _ in range(6):
        probe_s = gate.starts_at_s(now_s)
        waits_s.append(probe_s - now_s)
        epoch = gate.start(probe_s)
        assert gate.starts_at_s(probe_s) is None
        gate.troubled(epoch, away(), probe_s)
        now_s = probe_s

    assert waits_s == [1, 2, 4, 8, 10, 10]


def test_it_reopens_with_one_two_four_and_eight_lanes():
    gate = closed()
    gate.hurry(0.0)

    widths = []
    for _ in range(5):
        epochs = []
        while gate.starts_at_s(0.0) is not None:
            epochs.append(gate.start(0.0))
        widths.append(len(epochs))
        gate.succeeded(epochs.pop())
        for epoch in epochs:
            gate.cancelled(epoch)

    assert widths == [1, 2, 4, 8, 8]
    assert gate.state is State.OPEN


def test_after_a_success_the_pauses_are_short_again():
    gate = closed()
    for _ in range(3):
        fail(gate, 0.0)

    assert gate.succeeded(gate.start(0.0))
    for _ in range(3):
        fail(gate, 0.0)

    assert gate.opens_at_s == 1.0


@pytest.mark.parametrize("end", ["succeeded", "refused", "cancelled", "troubled", "key_refused"])
def test_an_answer_to_a_request_from_before_it_closed_changes_nothing(end):
    gate = gate_of()
    old = gate.start(0.0)
    fail(gate, 0.0, tired(429, 30.0))
    more = {"troubled": (away(), 1.0), "key_refused": (1.0,)}.get(end, ())

    getattr(gate, end)(old, *more)

    assert (gate.state, gate.starts_at_s(1.0)) == (State.DOWN, 30.0)
    gate.start(30.0)
    assert gate.starts_at_s(30.0) is None  # still one at a time


def test_a_refused_key_closes_for_long_and_a_success_opens():
    gate = gate_of()

    gate.key_refused(gate.start(0.0), 0.0)

    assert (gate.state, gate.starts_at_s(0.0)) == (State.KEY_REFUSED, 300.0)
    assert gate.succeeded(gate.start(300.0))
    assert gate.state is State.OPEN


@pytest.mark.parametrize(
    ("error", "opens_at_s"), [(tired(503), 1.0), (tired(503, 30.0), 30.0), (tired(429, 5.0), 5.0)]
)
def test_hurrying_skips_a_back_off_but_not_the_apis_wish(error, opens_at_s):
    gate = gate_of()
    for _ in range(3):
        fail(gate, 0.0, error)

    gate.hurry(1.0)

    assert gate.starts_at_s(0.0) == opens_at_s


def test_hurrying_tries_a_refused_key():
    gate = gate_of()
    gate.key_refused(gate.start(0.0), 0.0)

    gate.hurry(2.0)

    assert gate.starts_at_s(2.0) == 2.0


def take(gate, count, from_s, until_s):
    """So many requests that get through, evenly."""
    for number in range(count):
        gate.succeeded(gate.start(from_s + number * (until_s - from_s) / count))


def starts_of(gate, now_s, count):
    starts_s = []
    for _ in range(count):
        now_s = gate.starts_at_s(now_s)
        starts_s.append(now_s)
        gate.succeeded(gate.start(now_s))
    return starts_s


def test_after_a_429_it_keeps_to_a_rate_slightly_above_what_was_allowed():
    gate = gate_of()
    take(gate, 20, 0.0, 1.0)
    fail(gate, 1.0, tired(429, 1.0))

    starts_s = starts_of(gate, 1.0, 21)

    assert starts_s[0] == 2.0
    assert 20 / (starts_s[-1] - starts_s[0]) == pytest.approx(11.0, rel=0.05)  # 20 in 2 s, and 10 %


def test_what_got_through_just_before_the_429_counts_also_if_its_answer_comes_after():
    gate = gate_of()
    late = [gate.start(0.0) for _ in range(5)]
    take(gate, 15, 0.0, 1.0)
    fail(gate, 1.0, tired(429, 1.0))
    for epoch in late:
        gate.succeeded(epoch)

    starts_s = starts_of(gate, 1.0, 21)

    assert 20 / (starts_s[-1] - starts_s[0]) == pytest.approx(11.0, rel=0.05)


def test_quiet_hours_before_a_429_do_not_make_the_rate_small():
    gate = gate_of()
    for hour in range(24):
        gate.succeeded(gate.start(hour * 3600.0))
    now_s = 24 * 3600.0
    take(gate, 20, now_s, now_s + 1)
    fail(gate, now_s + 1, tired(429, 1.0))

    starts_s = starts_of(gate, now_s + 1, 21)

    assert 20 / (starts_s[-1] - starts_s[0]) == pytest.approx(11.0, rel=0.05)


def test_a_rate_climbs_until_the_next_429():
    gate = gate_of()
    take(gate, 20, 0.0, 1.0)
    fail(gate, 1.0, tired(429, 1.0))

    starts_s = starts_of(gate, 1.0, 500)

    assert 1 / (starts_s[-1] - starts_s[-2]) > 20.0


def test_a_few_requests_before_a_429_say_nothing_about_a_rate():
    gate = gate_of()
    take(gate, 4, 0.0, 1.0)
    fail(gate, 1.0, tired(429, 1.0))

    gate.succeeded(gate.start(2.0))

    assert gate.starts_at_s(2.0) == 2.0


def test_a_start_that_needed_no_request_costs_nothing_of_the_rate():
    gate = gate_of()
    take(gate, 20, 0.0, 1.0)
    fail(gate, 1.0, tired(429, 1.0))
    gate.succeeded(gate.start(2.0))
    due_s = gate.starts_at_s(2.0)

    gate.cancelled(gate.start(due_s))

    assert gate.starts_at_s(due_s) == pytest.approx(due_s)


def test_a_verdict_on_one_event_opens_what_was_down_and_makes_the_pauses_short_again():
    gate = closed()
    fail(gate, 1.0)
    assert gate.starts_at_s(1.0) == 3.0

    gate.refused(gate.start(3.0))

    assert gate.state is State.OPEN
    for _ in range(3):
        fail(gate, 3.0)
    assert gate.starts_at_s(3.0) == 4.0


def test_a_verdict_on_one_event_says_nothing_about_a_refused_key():
    gate = gate_of()
    gate.key_refused(gate.start(0.0), 0.0)

    gate.refused(gate.start(300.0))

    assert gate.state is State.KEY_REFUSED


def test_a_rate_that_allowed_next_to_nothing_is_halved_but_never_to_a_stop():
    gate = gate_of()
    take(gate, 20, 0.0, 1.0)
    fail(gate, 1.0, tired(429, 1.0))
    gate.succeeded(gate.start(2.0))
    pauses_s = []
    now_s = 2.0
    for _ in range(12):
        now_s = gate.starts_at_s(now_s)
        fail(gate, now_s, tired(429, 1.0))
        now_s = gate.starts_at_s(now_s)
        gate.succeeded(gate.start(now_s))
        pauses_s.append(gate.starts_at_s(now_s) - now_s)
    assert pauses_s[1] / pauses_s[0] == pytest.approx(2.0, rel=0.2)
    assert 5.0 < pauses_s[-1] <= 10.0

"""Wrong keys cost waiting, for the address that they come from and for no other."""

from __future__ import annotations

import pytest

from vision_event_block.server.login_limit import (
    FREE_TRIES,
    MAX_ADDRESSES,
    TRY_EVERY_S,
    LoginLimit,
)

HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"


class Timer:
    now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def timer():
    return Timer()


@pytest.fixture
def limit(timer):
    return LoginLimit(timer)


def spend(limit, address=HERE):
    assert [limit.admit(address) for _ in range(FREE_TRIES)] == [0] * FREE_TRIES


def test_a_few_tries_are_free_and_then_one_in_a_while(limit, timer):
    spend(limit)

    assert limit.admit(HERE) == TRY_EVERY_S
    timer.now_s += TRY_EVERY_S - 0.5
    assert limit.admit(HERE) == 1
    timer.now_s += 0.5
    assert limit.admit(HERE) == 0
    assert limit.admit(HERE) == TRY_EVERY_S


def test_asking_while_one_has_to_wait_makes_the_wait_no_longer(limit, timer):
    spend(limit)
    for _ in range(1000):
        limit.admit(HERE)

    timer.now_s += TRY_EVERY_S

    assert limit.admit(HERE) == 0


def test_a_thousand_guesses_a_second_become_five_a_minute(limit, timer):
    admitted = 0
    for _ in range(60_000):
        timer.now_s += 0.001
        admitted += limit.admit(HERE) == 0

    assert admitted == FREE_TRIES + 60 // TRY_EVERY_S - 1


def test_another_address_is_not_concerned(limit):
    spend(limit)

    assert limit.admit(ELSEWHERE) == 0


def test_a_right_key_ends_the_waiting(limit):
    spend(limit)

    limit.forgive(HERE)

    spend(limit)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("2001:db8::1", "2001:db8::ffff:2"),
        ("::ffff:192.0.2.1", HERE),
        ("fe80::1%eth0", "fe80::1%eth1"),
    ],
)
def test_one_client_with_many_spellings_or_addresses_is_one(limit, first, second):
    spend(limit, first)

    assert limit.admit(second) > 0


def test_what_is_no_address_counts_all_the_same(limit):
    spend(limit, "unknown")

    assert limit.admit("unknown") > 0


def test_the_memory_of_addresses_is_bounded(limit):
    for number in range(MAX_ADDRESSES + 100):
        limit.admit(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")

    assert len(limit._spent_until_s) == MAX_ADDRESSES

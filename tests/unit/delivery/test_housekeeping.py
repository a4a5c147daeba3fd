"""The thread that tends the outbox goes on, whatever one of its steps runs into."""

from __future__ import annotations

from tests.waiting import eventually
from vision_event_block.delivery.counters import Counters
from vision_event_block.delivery.housekeeping import Housekeeping


def test_a_step_that_always_fails_does_not_stop_the_others(caplog):
    taken = []

    def fail():
        raise TypeError("an odd request")

    housekeeping = Housekeeping({"failing": fail, "taking": lambda: taken.append(1)}, Counters())
    housekeeping.ensure_running()
    eventually(lambda: len(taken) >= 2)
    housekeeping.stop(5)

    assert "housekeeping step failed (failing), will retry: an odd request" in caplog.text


def test_a_thread_that_died_is_replaced_and_counted():
    taken, counters = [], Counters()

    def end_once():
        taken.append(1)
        if len(taken) == 1:
            raise SystemExit  # ends the thread, whatever wall there is

    housekeeping = Housekeeping({"ending": end_once}, counters)
    housekeeping.ensure_running()
    eventually(lambda: len(taken) == 1 and not housekeeping._thread.is_alive())

    housekeeping.ensure_running()

    eventually(lambda: len(taken) == 2)
    housekeeping.stop(5)
    assert counters.take() == {"replaced housekeeping": 1}


def test_a_thread_that_was_stopped_is_not_started_again():
    housekeeping = Housekeeping({}, Counters())
    housekeeping.ensure_running()
    housekeeping.stop(5)

    housekeeping.ensure_running()

    assert not housekeeping._thread.is_alive()

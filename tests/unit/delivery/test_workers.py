"""Whatever happens to a thread or in the middle of a job, its events go back, once."""

from __future__ import annotations

import socket
import sys
import threading
import time

import pytest

from tests.unit.delivery.test_courier import Desk, destination_of
from tests.unit.out_of_memory import OutOfMemory
from tests.waiting import TIMEOUT_S, eventually
from vision_event_block.delivery.client import Secret, Timeouts, VisionEventsClient
from vision_event_block.delivery.destinations import ApiDestination
from vision_event_block.delivery.queued_event import Verdict

#: The modules in which a job and its events change hands.
ENGINE = [
    f"delivery/{name}.py"
    for name in ("executor", "jobs", "queue", "queued_event", "queues", "workers")
]


class Deadly:
    """A destination on whose way the thread itself ends, once."""

    def __init__(self, destination, call):
        self._destination = destination
        self._calls = {call}

    def __getattr__(self, name):
        if name in self._calls:
            self._calls.clear()
            raise SystemExit
        return getattr(self._destination, name)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("call", ["upload", "send"])
def test_a_thread_that_died_is_replaced_and_its_events_arrive(tmp_path, api, call):
    desk = Desk(tmp_path / "outbox", Deadly(destination_of(api), call), threads=1)
    event_id, handle = desk.send(2)
    eventually(lambda: not desk.threads)

    desk.courier.replace_dead_threads()

    assert handle.wait(TIMEOUT_S).verdict is Verdict.DELIVERED
    assert desk.courier.flush(TIMEOUT_S) == 0
    assert list(api.events) == [event_id]
    assert desk.courier.counters.take()["replaced courier"] == 1
    desk.close()


@pytest.mark.parametrize("number", range(20, 1080, 35))
def test_without_memory_at_any_line_every_event_arrives_and_is_counted_once(tmp_path, api, number):
    desk = Desk(tmp_path / "outbox", destination_of(api), threads=2)
    entries = [desk.store(1) for _ in range(3)]
    fault = OutOfMemory(number, ENGINE)
    threading.settrace(fault)
    try:
        desk.courier.take(entries[:1])  # the threads start under the trace, and this one does not
    finally:
        threading.settrace(None)
    sys.settrace(None)
    desk.courier.take(entries[1:])

    eventually(lambda: desk.courier.pending == 0)
    assert set(api.events) == {entry.event_id for entry in entries}, fault.place
    assert desk.outbox.entries() == [], fault.place
    assert desk.courier.queues.counts == {"delivered": 3}, fault.place
    assert desk.send(1)[1].wait(TIMEOUT_S).verdict is Verdict.DELIVERED
    desk.close()


def test_destinations_that_never_answer_leave_threads_to_one_that_does(tmp_path, api):
    desk = Desk(tmp_path / "outbox", destination_of(api))
    assert desk.send(1)[1].wait(TIMEOUT_S).verdict is Verdict.DELIVERED
    with socket.create_server(("127.0.0.1", 0), backlog=128) as silent:
        for number in range(60):
            url = f"http://127.0.0.1:{silent.getsockname()[1]}/{number}"
            client = VisionEventsClient(
                base_url=url, api_key=Secret("k"), timeouts=Timeouts(connect_s=30, read_s=30)
            )
            destination = ApiDestination(client, url, Secret("k"))
            desk.courier.register(destination)
            desk.courier.submit(desk.store(1, address=destination.address))
        time.sleep(0.3)

        started_s = time.monotonic()
        for _ in range(3):
            assert desk.send(1)[1].wait(TIMEOUT_S).verdict is Verdict.DELIVERED
        assert time.monotonic() - started_s < 20, "the others have thirty seconds each"
        desk.close()

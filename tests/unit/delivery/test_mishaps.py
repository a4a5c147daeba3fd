"""Something goes wrong in an odd way, and still every event arrives, once."""

from __future__ import annotations

import errno
import threading

import pytest

from tests.unit.delivery.test_courier import Desk, destination_of
from tests.waiting import TIMEOUT_S, eventually
from vision_event_block.delivery import queues
from vision_event_block.delivery.courier import Courier, CourierLimits
from vision_event_block.delivery.queued_event import Verdict
from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.outbox import Outbox


@pytest.fixture
def desk(tmp_path, api):
    desk = Desk(tmp_path / "outbox", destination_of(api))
    yield desk
    desk.close()


def test_an_event_that_the_api_never_takes_now_does_not_stand_before_all_others(api, desk):
    bad = desk.store()
    api.poison(bad.event_id, 503)
    desk.courier.submit(bad)
    eventually(lambda: desk.courier.states()[0].last_error is not None)

    others = [desk.send()[0] for _ in range(20)]
    eventually(lambda: set(others) <= set(api.events), timeout_s=20)

    eventually(lambda: desk.courier.pending == 1)
    assert bad.event_id not in api.events


class Oddity:
    """A destination on whose way something of the host's fails a few times."""

    def __init__(self, destination, failures):
        self._destination = destination
        self._failures = failures

    def __getattr__(self, name):
        return getattr(self._destination, name)

    def upload(self, image):
        return self._after_failing(self._destination.upload, image)

    def send(self, events):
        return self._after_failing(self._destination.send, events)

    def _after_failing(self, call, *arguments):
        if self._failures:
            self._failures -= 1
            raise KeyError("an extra header")
        return call(*arguments)


@pytest.mark.parametrize("pictures", [0, 2])
def test_an_odd_exception_on_the_way_costs_no_event(tmp_path, api, pictures, caplog):
    desk = Desk(tmp_path / "outbox", Oddity(destination_of(api), failures=3))

    handles = desk.send_many(3, pictures)

    assert all(t.wait(TIMEOUT_S).verdict is Verdict.DELIVERED for t in handles.values())
    assert desk.courier.pending == 0
    assert "internal error while" in caplog.text
    assert desk.courier.flush(TIMEOUT_S) == 0
    desk.close()


class Tired(RealDisk):
    """A disk that cannot read events for a while."""

    failures = 0

    def read(self, path):
        if path.suffix == ".tar" and self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().read(path)


def test_an_event_that_cannot_be_read_just_now_is_read_later(tmp_path, api):
    disk = Tired()
    with_contents = Desk(tmp_path / "outbox", destination_of(api))
    with_contents.outbox.close()
    outbox = Outbox(tmp_path / "outbox", disk=disk)
    desk = with_contents
    desk.outbox, desk.courier = outbox, Courier(outbox, CourierLimits(max_backoff_s=0.2))
    desk.courier.register(desk.destination)
    disk.failures = 2

    handles = desk.send_many(2)

    assert all(t.wait(TIMEOUT_S).verdict is Verdict.DELIVERED for t in handles.values())
    assert disk.failures == 0
    desk.close()


def test_an_event_goes_once_even_if_it_was_taken_twice(desk, api):
    api.refuse()
    entry = desk.store()
    desk.courier.submit(entry)
    desk.courier.take([entry])
    api.accept()

    eventually(lambda: desk.courier.flush(1.0) == 0)

    assert [event_id for event_id, _ in api.arrivals] == [entry.event_id]
    assert desk.courier.queues.counts == {"delivered": 1}


def test_a_process_without_threads_to_spare_sends_with_those_it_has(desk, api, monkeypatch):
    started = []
    start = threading.Thread.start

    def start_two(thread):
        if thread.name.startswith("vision-event-courier"):
            if len(started) >= 2:
                raise RuntimeError("can't start new thread")
            started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_two)

    assert desk.send(2)[1].wait(TIMEOUT_S).verdict is Verdict.DELIVERED
    assert len(desk.threads) == 2


def test_connections_to_where_nothing_goes_any_more_are_let_go(tmp_path, api, monkeypatch):
    monkeypatch.setattr(queues, "IDLE_S", 0.0)
    desk = Desk(tmp_path / "outbox", destination_of(api))
    for number in range(3 * queues.MAX_QUEUES):
        destination = destination_of(api, f"key-{number}")
        desk.courier.register(destination)
        entry = desk.store(address=destination.address)
        assert desk.courier.submit(entry).wait(TIMEOUT_S).verdict is Verdict.DELIVERED
        eventually(lambda: desk.courier.pending == 0)

    assert len(desk.courier.states()) <= queues.MAX_QUEUES
    assert desk.courier.queues.counts == {"delivered": 3 * queues.MAX_QUEUES}
    desk.close()


def test_a_busy_line_is_not_let_go(tmp_path, api, monkeypatch):
    monkeypatch.setattr(queues, "IDLE_S", 0.0)
    desk = Desk(tmp_path / "outbox", destination_of(api))
    api.refuse()
    handle = desk.send()[1]
    for number in range(2 * queues.MAX_QUEUES):
        desk.courier.register(destination_of(api, f"key-{number}"))
    api.accept()

    assert handle.wait(10) is not None
    eventually(lambda: desk.courier.flush(1.0) == 0)
    assert len(api.events) == 1
    desk.close()


def test_a_line_that_was_used_just_now_is_not_let_go(tmp_path, api):
    desk = Desk(tmp_path / "outbox", destination_of(api))
    for number in range(2 * queues.MAX_QUEUES):
        desk.courier.register(destination_of(api, f"key-{number}"))

    # Somebody is about to hand an event over.
    assert desk.send()[1].wait(TIMEOUT_S).verdict is Verdict.DELIVERED
    desk.close()

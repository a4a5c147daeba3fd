"""Which worker is woken, and for what."""

from __future__ import annotations

import threading
from datetime import datetime, timezone
from types import SimpleNamespace

import pytest

from tests.waiting import TIMEOUT_S, eventually
from vision_event_block.delivery.counters import Counters
from vision_event_block.delivery.courier_limits import CourierLimits
from vision_event_block.delivery.executor import Executor
from vision_event_block.delivery.queued_event import QueuedEvent, State
from vision_event_block.delivery.queues import Queues
from vision_event_block.outbox import clock
from vision_event_block.outbox.entry import Address, DeliveryMetadata, EntryContents

ADDRESS = Address("api", "https://example.invalid", "fingerprint")


class Looks:
    """A clock that stands still and knows how often each worker has read it to look for work."""

    def __init__(self):
        self.by_worker = {}

    def __call__(self):
        name = threading.current_thread().name
        self.by_worker[name] = self.by_worker.get(name, 0) + 1
        return 1000.0

    @property
    def total(self):
        return sum(n for name, n in self.by_worker.items() if name.startswith("worker"))


@pytest.fixture
def looks():
    return Looks()


@pytest.fixture
def queues(looks):
    found = Queues(CourierLimits(threads=3), clock_s=looks)
    found.register(SimpleNamespace(address=ADDRESS, max_batch_events=100, takes=ADDRESS.__eq__))
    yield found
    found.stop()


@pytest.fixture
def workers(queues, looks):
    """Three that sleep, each for one task; gives what they got."""
    tasks = []
    threads = [
        threading.Thread(target=queues.take, args=(tasks.append,), name=f"worker {n}", daemon=True)
        for n in range(3)
    ]
    for thread in threads:
        thread.start()
    eventually(lambda: sleeping(queues) == 3)
    looks.by_worker.clear()
    yield tasks
    queues.stop()
    for thread in threads:
        thread.join(TIMEOUT_S)


def sleeping(queues):
    with queues.lock:
        return len(queues._work_there._waiters)


@pytest.mark.parametrize(("uploads", "kept"), [(True, {}), (False, {"images/a.jpg": b"a"})])
def test_an_event_that_is_stored_once_its_pictures_are_up_needs_no_memory_for_them(uploads, kept):
    destination = SimpleNamespace(
        address=ADDRESS,
        max_batch_events=100,
        uploads_images=uploads,
        takes=ADDRESS.__eq__,
        completed=lambda contents: contents,
        upload=lambda _image: "id",
    )
    queues = Queues(CourierLimits())
    queues.register(destination)
    payload = {
        "timestamp": datetime.now(timezone.utc).isoformat(),
        "images": [{"label": "workflow", "file": "images/a.jpg"}],
    }
    metadata = DeliveryMetadata(ADDRESS, clock.reading())
    contents = EntryContents(payload, {"images/a.jpg": b"a"}, metadata)
    event = QueuedEvent("a", ADDRESS, contents=contents)
    queues.put(event)
    tasks = []
    queues.take(tasks.append)
    Executor(queues, Counters()).carry_out(tasks[0])
    assert event.state is State.READY
    assert event.contents.pictures == contents.pictures

    queues.is_stored(event, SimpleNamespace(name="a"), SimpleNamespace(claim=lambda _entry: True))

    assert event.contents.pictures == kept


def test_nobody_is_woken_while_there_is_nothing_to_do(queues, workers, looks):
    for _ in range(5):
        with queues.lock:
            queues.tell()
        eventually(lambda: sleeping(queues) == 3)
    assert (looks.total, workers) == (0, [])


def test_one_new_event_wakes_one_worker(queues, workers, looks):
    queues.put(QueuedEvent("a", ADDRESS))

    eventually(lambda: len(workers) == 1)

    assert [task.job.event.event_id for task in workers] == ["a"]
    eventually(lambda: sleeping(queues) == 2)
    assert len(looks.by_worker.keys() - {"MainThread"}) == 1


def test_several_events_wake_as_many_workers(queues, workers):
    with queues.lock:
        for name in ("a", "b", "c"):
            queues.put(QueuedEvent(name, ADDRESS))

    eventually(lambda: len(workers) == 3)

    assert sorted(task.job.event.event_id for task in workers) == ["a", "b", "c"]

"""The queue by a clock that the tests move: which request comes next."""

from __future__ import annotations

import itertools
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tests.unit.out_of_memory import each_line
from vision_event_block.delivery.circuit_breaker import CircuitBreaker
from vision_event_block.delivery.courier_limits import CourierLimits
from vision_event_block.delivery.errors import (
    AuthError,
    InternalError,
    NotNow,
    UnknownReply,
    Unreachable,
)
from vision_event_block.delivery.jobs import CreateEvents, LoadEvent, UploadImage
from vision_event_block.delivery.outcomes import MAX_KEY_REFUSALS
from vision_event_block.delivery.queue import MAX_HELD_BYTES, Queue
from vision_event_block.delivery.queued_event import (
    DeliveryHandle,
    On,
    QueuedEvent,
    State,
    UploadedImage,
    Verdict,
)
from vision_event_block.delivery.ready_events import BATCH_WAIT_S
from vision_event_block.outbox import clock
from vision_event_block.outbox.entry import Address
from vision_event_block.outbox.owner_status import DestinationState

ADDRESS = Address("api", "https://example.invalid", "fingerprint")


@pytest.fixture
def queue():
    return queue_of()


def queue_of(*, threads=8, **options):
    limits = CourierLimits(
        threads=threads, backlog_bytes_per_s=options.pop("backlog_bytes_per_s", 0)
    )
    breaker = CircuitBreaker(
        max_concurrency=threads,
        max_backoff_s=60,
        key_retry_s=300,
        uniform=lambda _low, high: high,
    )
    destination = SimpleNamespace(address=ADDRESS, max_batch_events=100)
    return Consistent(destination, breaker, limits, **options)


class Consistent(Queue):
    """A queue of which every job was announced: whoever slept until then has not missed it."""

    def next(self, now_s):
        due_at_s = super().due_at_s(now_s)
        found = super().next(now_s)
        if found is None:
            assert due_at_s is None or due_at_s <= now_s
        else:
            assert due_at_s is not None
            assert due_at_s <= (found if isinstance(found, float) else now_s)
        return found


class Unclaimable:
    """An outbox that hands everything out."""

    def unclaim(self, entry):
        pass


def event(name, *, size_bytes=1000, **changes):
    entry = SimpleNamespace(size_bytes=size_bytes, name=name)
    return QueuedEvent(name, ADDRESS, entry, Unclaimable(), **changes)


def loaded(queue, name, **changes):
    """An event that was read and whose images are to be uploaded."""
    it = event(name, **changes)
    it.state = State.LOADING
    it.move(On.LOADED)
    queue.events[it] = 1
    return it


def ready(queue, name, now_s, **changes):
    it = loaded(queue, name, **changes)
    queue.add_ready(it, now_s)
    return it


def creating(queue, name):
    it = loaded(queue, name)
    it.move(On.UPLOADED)
    it.move(On.SENT)
    return it


def back(queue, name, due_s, *, is_first=True, **changes):
    it = loaded(queue, name, **changes)
    queue.back(it, due_s, is_first=is_first)
    return it


def uploads(it, *members):
    it.uploads_open = set(members)
    return [UploadImage(it, member, b"") for member in members]


def names(job):
    return [event.event_id for event in job.events]


def opened(queue, count, now_s=0.0):
    return [names(queue.next(now_s))[0] for _ in range(count)]


def test_an_empty_queue_has_nothing_to_do(queue):
    assert queue.next(0.0) is None
    assert queue.due_at_s(0.0) is None


def test_what_is_due_and_when_is_told_without_beginning_it(queue):
    back(queue, "later", 7.0)
    assert queue.due_at_s(0.0) == 7.0
    queue.add_ready(loaded(queue, "busy"), 0.0)
    queue.next(0.0)
    ready(queue, "waits for company", 0.05)
    assert queue.due_at_s(0.05) == 0.05 + BATCH_WAIT_S
    queue.join(event("new"))
    assert [queue.due_at_s(0.05) for _ in range(2)] == [0.05, 0.05]
    assert names(queue.next(0.05)) == ["new"]


def test_events_go_in_order_with_the_urgent_in_front(queue):
    for name in ("a", "b"):
        queue.join(event(name))
    queue.join(event("urgent", is_urgent=True))

    assert opened(queue, 3) == ["urgent", "a", "b"]
    assert queue.next(0.0) is None


def test_the_backlog_goes_oldest_first_with_the_urgent_in_front(queue):
    for name in ("a", "b"):
        queue.join(event(name, is_backlog=True))
    queue.join(event("urgent", is_backlog=True, is_urgent=True))

    assert opened(queue, 3) == ["urgent", "a", "b"]


def test_fresh_events_have_half_of_the_lanes_while_a_backlog_waits():
    queue = queue_of(threads=4)
    for number in range(5):
        queue.join(event(f"fresh {number}"))
        queue.join(event(f"old {number}", is_backlog=True))

    assert opened(queue, 5) == ["fresh 0", "fresh 1", "old 0", "old 1", "old 2"]


def test_without_a_backlog_fresh_events_have_all_lanes():
    queue = queue_of(threads=4)
    for number in range(4):
        queue.join(event(str(number)))

    assert opened(queue, 4) == ["0", "1", "2", "3"]


def test_pictures_of_events_that_are_begun_come_before_new_events(queue):
    queue.join(event("new"))
    queue.add_uploads(uploads(loaded(queue, "begun"), "images/b.jpg"))

    assert isinstance(queue.next(0.0), UploadImage)
    assert isinstance(queue.next(0.0), LoadEvent)


def test_a_lone_event_waits_for_no_company(queue):
    ready(queue, "a", 0.0)

    assert names(queue.next(0.0)) == ["a"]


def test_events_wait_a_moment_for_company_that_is_coming(queue):
    ready(queue, "a", 0.0)
    queue.join(event("b"))
    assert isinstance(queue.next(0.0), LoadEvent)
    queue.join(event("c"))
    ready(queue, "b", 0.05)

    assert isinstance(queue.next(0.05), LoadEvent)
    assert names(queue.next(BATCH_WAIT_S)) == ["a", "b"]


def test_while_a_create_is_under_way_the_next_one_is_put_off(queue):
    ready(queue, "a", 0.0)
    first = queue.next(0.0)
    ready(queue, "b", 0.0)

    assert queue.next(BATCH_WAIT_S / 2) == BATCH_WAIT_S
    queue.creation_ended(first)
    ready(queue, "c", BATCH_WAIT_S)
    assert names(queue.next(BATCH_WAIT_S)) == ["b", "c"]


def test_right_after_a_create_the_next_event_waits_for_company_unless_somebody_waits_for_it(queue):
    ready(queue, "a", 0.0)
    queue.creation_ended(queue.next(0.0))
    ready(queue, "b", 0.01)
    assert queue.next(0.01) == 0.01 + BATCH_WAIT_S
    ready(queue, "c", 0.02)
    job = queue.next(0.01 + BATCH_WAIT_S)
    assert names(job) == ["b", "c"]
    queue.creation_ended(job)

    ready(queue, "unawaited", 0.15)
    assert queue.next(0.15) == 0.15 + BATCH_WAIT_S
    job = queue.next(0.15 + BATCH_WAIT_S)
    assert names(job) == ["unawaited"]
    queue.creation_ended(job)

    awaited = DeliveryHandle()
    awaited.is_awaited = True
    ready(queue, "awaited", 0.2, handle=awaited)
    assert names(queue.next(0.2)) == ["awaited"]


def sent(queue, ready_at_s, *, answer_s=0.005):
    """When batches of events that get ready at these times go, and how many go together.

    It is asked for a job when an event gets ready, when a request ends, and when the queue said.
    """
    coming, under_way, batches, now_s = [*ready_at_s], [], [], 0.0
    while True:
        due_at_s = queue.due_at_s(now_s)
        times_s = [*coming[:1], *(ends_at_s for ends_at_s, _ in under_way[:1])]
        times_s += [] if due_at_s is None else [due_at_s]
        if not times_s:
            return batches
        now_s = min(times_s)
        if under_way and under_way[0][0] <= now_s:
            queue.creation_ended(under_way.pop(0)[1])
        elif coming and coming[0] <= now_s:
            ready(queue, f"at {coming.pop(0)}", now_s)
        else:
            job = queue.next(now_s)
            assert isinstance(job, CreateEvents), "woken for nothing"
            batches.append((now_s, len(job.events)))
            under_way.append((now_s + answer_s, job))


def every(gap_s, count, *, at_once=1):
    return [number // at_once * gap_s for number in range(count)]


@pytest.mark.parametrize(
    ("ready_at_s", "fewest", "last_wait_s"),
    [
        pytest.param(every(0.033, 100), 3, 0.05, id="thirty a second"),
        pytest.param(every(0.033, 100, at_once=4), 12, 0.05, id="four cameras, thirty a second"),
        pytest.param(every(0.008, 200), 11, 0.015, id="as fast as it goes"),
        pytest.param(every(0.016, 200, at_once=2), 11, 0.025, id="two encoders at the same time"),
        pytest.param(every(0.09, 30), 2, 0.101, id="eleven a second"),
    ],
)
def test_a_batch_waits_while_events_come_at_their_pace_and_goes_soon_after_the_last(
    queue, ready_at_s, fewest, last_wait_s
):
    batches = sent(queue, ready_at_s)

    assert sum(count for _, count in batches) == len(ready_at_s)
    assert min(count for _, count in batches[1:-1]) >= fewest
    assert batches[-1][0] - ready_at_s[-1] <= last_wait_s


def taken(queue, *moves):
    it = event("waits")
    queue.join(it)
    assert names(queue.next(0.0)) == ["waits"]
    for on in moves:
        it.move(on)
    return it


def batched(queue):
    it = taken(queue, On.LOADED)
    queue.add_ready(it, 0.0)
    return it


def joined(queue):
    it = event("waits")
    queue.join(it)
    return it


@pytest.mark.parametrize(
    ("waiting", "state"),
    [
        (joined, State.WAITING),
        (taken, State.LOADING),
        (lambda queue: taken(queue, On.LOADED), State.UPLOADING),
        (batched, State.READY),
    ],
)
def test_who_waits_for_an_event_hears_at_once_that_its_key_was_refused_for_another_one(
    queue, waiting, state
):
    waits = waiting(queue)
    assert waits.state is state
    generation = queue.breaker.start(0.0)

    error = AuthError("the API key was refused", route="POST /vision-events", status=401)
    queue.answered(generation, error, 1.0, 0.0)

    outcome = waits.handle.wait(0)
    assert (outcome.verdict, outcome.is_settled) == (Verdict.KEY_REFUSED, True)
    assert "the API key was refused" in outcome.reason


def test_an_event_in_a_request_of_its_own_waits_for_that_one(queue):
    waits = taken(queue, On.LOADED, On.UPLOADED, On.SENT)
    generation = queue.breaker.start(0.0)

    error = AuthError("the API key was refused", route="POST /vision-events", status=401)
    queue.answered(generation, error, 1.0, 0.0)

    assert waits.handle.wait(0) is None


@pytest.mark.parametrize(
    ("fails", "soonest_s", "latest_s"), [(False, BATCH_WAIT_S, BATCH_WAIT_S), (True, 0.0, 0.02)]
)
def test_a_batch_waits_for_what_is_on_its_way_unless_that_fails(queue, fails, soonest_s, latest_s):
    sent(queue, every(0.008, 101))
    queue.join(event("on its way"))
    on_its_way = queue.next(0.8).event
    ready(queue, "a", 0.808)
    if fails:
        queue.back(on_its_way, 5.0)

    goes_at_s = queue.next(0.808)
    assert 0.808 + soonest_s <= goes_at_s <= 0.808 + latest_s
    assert names(queue.next(goes_at_s)) == ["a"]


def test_what_new_events_hold_stays_in_memory_up_to_a_limit_until_they_go_or_the_link_fails(queue):
    third = MAX_HELD_BYTES // 3 + 1
    events = [event(name, size_bytes=third, contents=object()) for name in "abcd"]
    for each in events[:3]:
        queue.join(each)
    assert [each.contents is not None for each in events[:3]] == [True, True, False]

    assert opened(queue, 1) == ["a"]
    assert events[0].contents is not None
    queue.join(events[3])
    assert events[3].contents is not None

    trip(queue)
    assert [each.contents for each in events[1:]] == [None, None, None]
    again = event("e", size_bytes=2 * third, contents=object())
    queue.join(again)
    assert again.contents is not None


def trip(queue):
    """The link fails; the next try may be made at second 1."""
    for _ in range(3):
        generation = queue.breaker.start(0.0)
        queue.answered(generation, Unreachable("not there", route="POST /x"), 0.0, 0.0)


def test_a_hundred_go_at_once_and_the_rest_later(queue):
    for number in range(130):
        ready(queue, str(number), 0.0)
    queue.join(event("more"))

    assert len(queue.next(0.0).events) == 100
    assert isinstance(queue.next(0.0), LoadEvent)
    assert len(queue.next(BATCH_WAIT_S).events) == 30


def test_the_halves_of_a_refused_batch_go_next_and_as_they_are(queue):
    ready(queue, "other", 0.0)
    queue.split([creating(queue, name) for name in "abc"])

    assert [names(queue.next(0.0)) for _ in range(2)] == [["a"], ["b", "c"]]


@pytest.mark.parametrize("why", [{"goes_alone": True}, {"failures": 1}])
def test_an_event_that_failed_travels_alone(queue, why):
    ready(queue, "a", 0.0)
    ready(queue, "alone", 0.0, **why)
    ready(queue, "b", 0.0)

    assert names(queue.next(0.0)) == ["alone"]
    assert names(queue.next(BATCH_WAIT_S)) == ["a", "b"]


def test_what_a_batch_left_over_goes_again_alone(queue):
    for name in "ab":
        queue.send_alone(creating(queue, name))

    assert [names(queue.next(0.0)) for _ in range(2)] == [["a"], ["b"]]


def test_an_event_to_be_tried_again_comes_when_it_is_due_and_then_first(queue):
    queue.join(event("new"))
    back(queue, "again", 5.0)
    assert opened(queue, 1) == ["new"]
    assert queue.next(0.0) == 5.0

    queue.join(event("newer"))

    assert opened(queue, 2, 5.0) == ["again", "newer"]


def test_trying_now_makes_due_what_is_to_be_tried_again(queue):
    back(queue, "a", 60.0)

    queue.retry_now(1.0)

    assert opened(queue, 1, 1.0) == ["a"]


def test_an_event_whose_key_was_refused_comes_behind_the_others(queue):
    for name in ("a", "b"):
        queue.join(event(name, is_backlog=True))
    back(queue, "refused", 0.0, is_backlog=True, is_first=False)

    assert opened(queue, 3) == ["a", "b", "refused"]


def test_what_waits_when_the_link_fails_becomes_the_backlog_in_its_order(queue):
    for name in ("a", "b"):
        queue.join(event(name))
    queue.join(event("urgent", is_urgent=True))

    trip(queue)
    queue.join(event("fresh"))

    assert opened(queue, 4, 1.0) == ["fresh", "urgent", "a", "b"]


def test_nothing_goes_while_the_link_is_down(queue):
    trip(queue)
    queue.join(event("a"))

    assert queue.next(0.0) == 1.0
    assert opened(queue, 1, 1.0) == ["a"]


def test_a_backlog_with_a_share_of_the_line_keeps_to_it_and_fresh_events_do_not():
    queue = queue_of(backlog_bytes_per_s=500)
    for name in ("a", "b"):
        queue.join(event(name, is_backlog=True, size_bytes=1000))

    assert opened(queue, 1) == ["a"]
    assert queue.next(0.0) == 2.0
    queue.join(event("fresh"))
    assert opened(queue, 1) == ["fresh"]
    assert opened(queue, 1, 2.0) == ["b"]


def test_pictures_that_are_not_in_the_entry_take_their_share_of_the_line_too():
    queue = queue_of(backlog_bytes_per_s=500)
    for name in ("a", "b"):
        queue.join(event(name, is_backlog=True, size_bytes=1000))

    job = queue.next(0.0)
    job.event.contents = SimpleNamespace(pictures={"images/1.jpg": bytes(2500)})
    queue.pace(job.event)

    assert queue.next(0.0) == 5.0


def test_a_refused_key_counts_against_an_event_if_others_passed_in_between(queue):
    suspect = event("suspect")
    counted = []
    for _ in range(MAX_KEY_REFUSALS + 1):
        for _ in range(2):  # the second time nothing was delivered since
            queue.blames(suspect)
            counted.append(suspect.key_refusals)
        queue.ended[State.DELIVERED] += 1
    assert counted == [0, 0, 1, 1, 2, 2]
    assert suspect.goes_alone


def test_company_is_not_waited_for_once_there_is_a_full_batch(queue):
    queue.add_uploads(uploads(loaded(queue, "busy"), "images/1.jpg"))
    for number in range(100):
        ready(queue, str(number), 0.0)

    assert len(queue.next(0.0).events) == 100


def test_what_is_to_be_tried_again_during_an_outage_joins_the_backlog(queue):
    again = back(queue, "again", 5.0)

    trip(queue)
    queue.join(event("fresh"))

    assert again.is_backlog
    assert opened(queue, 2, 5.0) == ["fresh", "again"]


def test_an_event_that_is_nowhere_but_in_memory_keeps_what_it_holds_during_an_outage(queue):
    contents = SimpleNamespace(payload={}, pictures={})
    kept = QueuedEvent("in-memory", ADDRESS, contents=contents)
    queue.join(kept)

    trip(queue)

    assert kept.contents is contents
    assert opened(queue, 1, 1.0) == ["in-memory"]


def test_an_event_whose_images_were_uploaded_too_long_ago_begins_again():
    at = clock.reading()
    later = replace(at, uptime_s=at.uptime_s + 7 * 3600)
    queue = queue_of(reading=lambda: later)
    stale = ready(queue, "stale", 0.0, images={"images/a.jpg": UploadedImage("s", at)})

    job = queue.next(0.0)

    assert isinstance(job, LoadEvent)
    assert job.events == (stale,)


def test_a_failure_inside_this_process_is_named_apart_from_the_link(queue):
    error = InternalError("internal error, KeyError", route="creating events")
    for _ in range(5):
        queue.answered(queue.breaker.start(0.0), error, 0.0, 0.0)

    assert queue.status.state is DestinationState.OPEN
    assert queue.status.last_error is None
    assert queue.status.internal_error == str(error)
    queue.answered(queue.breaker.start(0.0), None, 0.0, 0.0)
    assert queue.status.internal_error is None


def test_an_answer_that_nobody_understands_is_named_once_it_keeps_coming(queue):
    error = UnknownReply("unexpected response (200)", route="POST /vision-events")
    for _ in range(2):
        queue.answered(queue.breaker.start(0.0), error, 0.0, 0.0)
    assert queue.status.unknown_reply is None
    queue.answered(queue.breaker.start(0.0), NotNow("503", route="POST /x"), 0.0, 0.0)
    queue.answered(queue.breaker.start(9.0), error, 9.0, 0.0)
    assert queue.status.unknown_reply == str(error)


PARTS = ["waiting", "delayed", "ready", "uploading", "loading", "creating", "refused"]


def in_nobodys_hands(queue, state):
    """An event of which a worker or a list lost track."""
    it = event(state)
    it.state = State(state)
    if it.state is State.UPLOADING:
        pictures = {"images/a.jpg": b"a"}
        payload = {"images": [{"file": "images/a.jpg"}]}
        it.contents = SimpleNamespace(payload=payload, pictures=pictures)
        it.uploads_open = {"images/a.jpg"}
    queue.events[it] = 1
    return it


@pytest.mark.parametrize("state", PARTS)
def test_an_event_that_nobody_has_any_more_is_found_again(queue, state):
    lost = in_nobodys_hands(queue, state)

    assert queue.audit([]) == []
    assert queue.audit([]) == []  # and not twice

    job = queue.next(1.0)
    assert job.events == (lost,)
    assert not isinstance(queue.next(1.0), LoadEvent | UploadImage | CreateEvents)


def test_an_event_that_somebody_has_is_left_alone(queue):
    jobs = []
    for state in ("loading", "creating", "refused"):
        it = in_nobodys_hands(queue, state)
        jobs.append(LoadEvent(it, 1.0) if state == "loading" else CreateEvents((it,)))
    it = in_nobodys_hands(queue, "uploading")
    jobs.append(UploadImage(it, "images/a.jpg", b"a"))

    queue.audit(jobs)

    assert queue.next(1.0) is None


def test_an_event_that_the_api_has_and_nobody_clears_is_told(queue):
    confirmed = in_nobodys_hands(queue, "confirmed")

    assert queue.audit([]) == [confirmed]
    assert queue.audit([CreateEvents((confirmed,))]) == []


@pytest.mark.parametrize("state", ["delivered", "dead", "gone"])
def test_an_event_that_is_done_with_is_not_counted_any_more(queue, state):
    in_nobodys_hands(queue, state)

    queue.audit([])

    assert queue.pending == 0


class Claims:
    """An outbox that knows what is being sent."""

    def __init__(self):
        self.names = set()

    def unclaim(self, entry):
        self.names.discard(entry.name)


def test_without_memory_at_any_line_an_event_that_goes_back_is_sent_again(queue):
    outbox, numbers = Claims(), itertools.count()

    def go_back():
        it = creating(queue, f"{next(numbers)}")
        it.outbox = outbox
        outbox.names.add(it.entry.name)
        queue.back(it, 0.0)

    for place, _ in each_line(["delivery/queue.py"], go_back):
        queue.audit([])
        assert not outbox.names, place
        assert isinstance(queue.next(1.0), LoadEvent), place


def test_without_memory_at_any_line_a_new_event_is_taken_or_not(queue):
    numbers, taken = itertools.count(), []

    def join():
        it = event(f"{next(numbers)}")
        try:
            queue.join(it)
        except MemoryError:
            queue.audit([])
            if it not in queue.events:
                raise
        taken.append(it.event_id)

    outcomes = list(each_line(["delivery/queue.py"], join))

    assert {raised for _, raised in outcomes} == {True, False}
    assert [queue.next(1.0).event.event_id for _ in taken] == taken
    assert queue.next(1.0) is None

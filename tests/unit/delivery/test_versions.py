"""Versions of one event: a newer one replaces an older one, and never the other way round."""

from __future__ import annotations

import itertools
import shutil
import threading
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.paths import paths_in
from tests.waiting import eventually
from vision_event_block.delivery.client import Secret, Timeouts, VisionEventsClient
from vision_event_block.delivery.counters import Counters
from vision_event_block.delivery.courier_limits import CourierLimits, DispatchLimits
from vision_event_block.delivery.destinations import ApiDestination, Sent
from vision_event_block.delivery.dispatch import Dispatch
from vision_event_block.delivery.errors import NotNow, RejectedError
from vision_event_block.delivery.executor import Executor
from vision_event_block.delivery.jobs import CreateEvents
from vision_event_block.delivery.queued_event import (
    TRANSITIONS,
    DeliveryHandle,
    QueuedEvent,
    State,
    Verdict,
)
from vision_event_block.delivery.queues import Queues, Task
from vision_event_block.delivery.versions import makes_way
from vision_event_block.events.bundle import bundle_payload
from vision_event_block.events.event import EventImage, VisionEvent
from vision_event_block.events.images import Picture
from vision_event_block.outbox import clock
from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.entry import Address, DeliveryMetadata, EntryContents
from vision_event_block.outbox.operator_outbox import OperatorOutbox
from vision_event_block.outbox.outbox import Outbox
from vision_event_block.outbox.quota import OutboxLimits
from vision_event_block.outbox.snapshot import take_snapshot

KEY = Secret("made-up-key")
LIMITS = OutboxLimits(min_free_bytes=0)


@pytest.mark.parametrize("state", [state for state, moves in TRANSITIONS.items() if moves])
def test_a_newer_version_replaces_what_nobody_has_in_hand_and_follows_the_rest(state):
    in_hands = {State.LOADING, State.CREATING, State.CONFIRMED, State.REFUSED, State.REPLACED}
    follows = state in in_hands or state is State.UPLOADING
    assert makes_way(state, is_uploading=True) is not follows
    if state is State.UPLOADING:
        assert makes_way(state, is_uploading=False)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "outbox"


@pytest.fixture
def destination(api):
    client = VisionEventsClient(
        base_url=api.url, api_key=KEY, timeouts=Timeouts(connect_s=1.0, read_s=5.0)
    )
    return ApiDestination(client, api.url, KEY)


@pytest.fixture
def opened(folder):
    made = []

    def open_one(**changes):
        courier = CourierLimits(max_backoff_s=0.1)
        made.append(Dispatch(DispatchLimits(folder, LIMITS, courier, **changes)))
        return made[-1]

    yield open_one
    for each in made:
        each.close(0.0)


def event(**changes):
    image = EventImage(label="workflow", output=Picture(content=b"the first picture"))
    values = {"event_type": "custom", "use_case_id": "dock", "images": (image,)}
    return VisionEvent(timestamp=datetime.now(timezone.utc), **{**values, **changes})


def newer(older, **changes):
    """The next version: one picture more, and another value."""
    image = EventImage(label=f"v{older.version + 1}", output=Picture(content=b"another picture"))
    version = older.version + 1
    values = {"images": (*older.images, image), "event_data": {"value": f"v{version}"}}
    return replace(older, version=version, **{**values, **changes})


def value(api, sent):
    return api.events.get(sent.event_id, {}).get("eventData", {}).get("value", "")


def counts(dispatch, folder):
    """The sum of the events, and what is beside it."""
    dispatch._upkeep.write_counts()
    found = take_snapshot(folder, RealDisk())
    assert found.unaccounted == 0
    totals = found.totals
    assert totals["accepted"] == found.stored + found.unstored
    return {
        "accepted": totals["accepted"],
        "delivered": found.delivered,
        "pending": sum(not file.is_update for file in found.pending),
        "dead": len(found.dead),
        "versions": found.versions,
        "superseded": found.superseded,
    }


def is_through(dispatch):
    eventually(lambda: dispatch.courier.pending == 0)


def test_a_version_that_waits_is_replaced_in_its_place(api, destination, folder, opened):
    dispatch, first = opened(), event()
    with api.refusing():
        before = dispatch.record(first, destination)
        [file] = folder.glob("slots/*/*.tar")
        after = dispatch.record(newer(first), destination)
        assert after.is_stored
        assert list(folder.glob("slots/*/*.tar")) == [file], "the event has one file"
        found = counts(dispatch, folder)
        assert (found["accepted"], found["pending"], found["versions"]) == (1, 1, 1)
    dispatch.flush(1)

    assert after.handle.wait(10).verdict is Verdict.DELIVERED
    assert before.handle.wait(10).verdict is Verdict.DELIVERED, "it follows the newer one"
    is_through(dispatch)
    assert [event_id for event_id, _ in api.arrivals] == [first.event_id]
    assert value(api, first) == "v1"
    assert counts(dispatch, folder) == {
        "accepted": 1, "delivered": 1, "pending": 0, "dead": 0, "versions": 1, "superseded": 1,
    }  # fmt: skip


@pytest.mark.parametrize("waits", [True, False])
def test_a_version_after_the_delivery_is_no_second_event_and_shares_its_pictures(
    api, destination, folder, opened, waits
):
    dispatch, first = opened(), event()
    dispatch.record(first, destination, waits=waits)
    eventually(lambda: first.event_id in api.events)
    is_through(dispatch)
    dispatch.record(newer(first), destination, waits=waits)
    dispatch.empty_memory(5)

    eventually(lambda: value(api, first) == "v1")
    is_through(dispatch)
    assert len(api.uploads) == 2, "the first picture was uploaded again"
    found = counts(dispatch, folder)
    assert (found["accepted"], found["delivered"], found["superseded"]) == (1, 1, 0)


def test_a_killed_process_leaves_a_version_after_the_delivery_to_the_next_one(
    api, destination, folder, opened
):
    dispatch, first = opened(), event()
    dispatch.record(first, destination).handle.wait(10)
    is_through(dispatch)
    with api.refusing():
        dispatch.record(newer(first), destination)
        dispatch.courier.outbox.abandon()  # as a kill does: nothing is settled
        second = opened()
        second.courier.register(destination)
        eventually(lambda: second.courier.pending == 1)
    second.flush(1)
    eventually(lambda: value(api, first) == "v1")


def test_a_version_waits_for_one_that_is_being_created(api, destination, folder, opened):
    api.hang(0.5, route="create", times=1)
    dispatch, first = opened(), event()
    dispatch.record(first, destination)
    eventually(lambda: any(q.state is State.CREATING for q in queued(dispatch)))
    last = dispatch.record(newer(newer(first)), destination)

    assert last.handle.wait(10).verdict is Verdict.DELIVERED
    is_through(dispatch)
    assert [event_id for event_id, _ in api.arrivals] == [first.event_id] * 2
    assert value(api, first) == "v2"
    found = counts(dispatch, folder)
    assert (found["accepted"], found["delivered"], found["superseded"]) == (1, 1, 0)


def test_who_waits_for_a_version_that_comes_too_late_learns_what_became_of_the_newer(
    api, destination, opened
):
    dispatch, first = opened(), event()
    with api.refusing():
        last = dispatch.record(newer(first), destination)
        late = dispatch.record(first, destination)
        assert late.handle.wait(0.0) == last.handle.wait(0.0)
    dispatch.flush(1)
    is_through(dispatch)
    for handle in (late.handle, dispatch.record(first, destination).handle):
        assert handle.wait(10).verdict is Verdict.DELIVERED
    assert value(api, first) == "v1"


def test_who_waits_for_a_version_older_than_a_rejected_one_is_not_told_that_it_is_delivered(
    api, destination, opened
):
    api.fail(422)
    dispatch, first = opened(), event()
    assert dispatch.record(newer(first), destination).handle.wait(10).verdict is Verdict.REJECTED
    is_through(dispatch)
    late = dispatch.record(first, destination).handle.wait(0.0)
    assert (late.verdict, late.is_settled) == (Verdict.SUPERSEDED, True)


def test_a_version_that_was_in_memory_with_an_older_one_is_stored_as_the_event(
    api, destination, folder, opened
):
    dispatch, first = opened(hold_s=3600.0), event()
    dispatch.record(event(), destination).handle.wait(10)  # the link works
    is_through(dispatch)
    api.hang(3.0, route="create", times=1)
    dispatch.record(first, destination, waits=False)
    eventually(lambda: any(q.state is State.CREATING for q in queued(dispatch)))
    dispatch.record(newer(first), destination, waits=False)
    eventually(lambda: len(dispatch._holding._all()) == 2)
    for held in sorted(dispatch._holding._all(), key=lambda it: it.contents.metadata.version):
        dispatch._holding._try_to_write(held)
    assert counts(dispatch, folder)["pending"] == 1, "it waits, and is exported with the others"

    is_through(dispatch)
    assert value(api, first) == "v1"
    found = counts(dispatch, folder)
    assert (found["accepted"], found["delivered"]) == (2, 2)


def test_an_older_version_makes_way_that_is_to_be_held_in_memory(api, destination, folder):
    """The turn keeps it out as a rule; what is adopted takes no turn."""
    dispatch, first = Dispatch(DispatchLimits(folder, LIMITS)), event(images=())
    last = newer(first, images=())
    dispatch.courier.register(destination)
    metadata = DeliveryMetadata(destination.address, clock.reading(), version=1, is_update=True)
    contents = EntryContents(bundle_payload(last), {}, metadata)
    dispatch.courier.submit_unstored(first.event_id, contents, on_end=lambda *_: None)
    is_through(dispatch)

    older = EntryContents(_payload(first), {}, replace(metadata, version=0, is_update=False))
    take = partial(dispatch._holding.take, first, older, DeliveryHandle())
    taking = threading.Thread(target=take, daemon=True)
    taking.start()
    taking.join(10)
    assert not taking.is_alive(), "it waits for itself"
    assert not dispatch._holding._all()
    assert value(api, first) == "v1"
    dispatch.close(0.0)


def test_a_picture_that_is_being_uploaded_for_the_older_version_is_not_uploaded_again(
    api, destination, folder, opened
):
    api.hang(0.5, route="upload", times=1)
    dispatch, first = opened(), event()
    dispatch.record(first, destination)
    eventually(lambda: any(q.state is State.UPLOADING for q in queued(dispatch)))
    last = dispatch.record(newer(first), destination)

    assert last.handle.wait(10).verdict is Verdict.DELIVERED
    assert len(api.arrivals) == 1, "the older version was not needed"
    assert len([it for it in api.requests if it.route == "upload"]) == 2
    assert counts(dispatch, folder)["superseded"] == 1


def queued(dispatch):
    queues = dispatch.courier.queues
    with queues.lock:
        return [event for queue in queues._queues.values() for event in queue.events]


def test_a_dead_letter_is_superseded_by_a_newer_version(api, destination, folder, opened):
    dispatch, first = opened(), event()
    api.poison(first.event_id)
    assert dispatch.record(first, destination).handle.wait(10).verdict is Verdict.REJECTED
    assert counts(dispatch, folder)["dead"] == 1
    api.cure(first.event_id)
    last = dispatch.record(newer(first), destination)

    assert last.handle.wait(10).verdict is Verdict.DELIVERED
    is_through(dispatch)
    found = counts(dispatch, folder)
    assert (found["dead"], found["delivered"], found["superseded"]) == (0, 1, 1)


def test_a_dead_letter_is_not_requeued_over_a_newer_version_that_waits_or_was_sent(
    api, destination, folder, opened, tmp_path
):
    dispatch, first = opened(), event()
    api.poison(first.event_id)
    dispatch.record(first, destination).handle.wait(10)
    [letter] = (folder / "dead").glob("*.tar")
    kept = shutil.copy(letter, tmp_path / letter.name)
    api.cure(first.event_id)
    command = OperatorOutbox(folder, LIMITS)
    with api.refusing():
        dispatch.record(newer(first), destination)
        assert command.adopt_dead([letter.name]) == [], "a newer one waits"
    dispatch.flush(1)
    eventually(lambda: value(api, first) == "v1")
    is_through(dispatch)
    shutil.copy(kept, letter)  # somebody was faster, and puts it back now
    assert command.adopt_dead([letter.name]) == []
    assert command.drop_outdated([letter.name]) == [letter.name]
    command.close()
    assert len(api.arrivals) == 1
    assert not list((folder / "dead").glob("*.tar"))


def test_a_version_waits_while_another_process_has_an_older_one(api, destination, folder, opened):
    first = event()
    other = OperatorOutbox(folder, LIMITS)
    metadata = DeliveryMetadata(destination.address, clock.reading())
    entry = other.store(first.event_id, _payload(first), {}, metadata)
    dispatch = opened()
    dispatch.record(newer(first, images=()), destination)
    eventually(lambda: any(q.state is State.DELAYED for q in queued(dispatch)))
    assert not api.arrivals
    assert other.is_outranked(entry), "it would not be sent any more"

    other.drop(entry, "operator")
    eventually(lambda: value(api, first) == "v1")
    other.close()


@pytest.mark.parametrize("is_another_process", [False, True])
def test_an_older_version_that_turns_up_later_is_not_sent(
    api, destination, folder, opened, is_another_process
):
    first = event(images=())
    dispatch = opened()
    dispatch.record(newer(first, images=()), destination).handle.wait(10)
    other = OperatorOutbox(folder, LIMITS)
    metadata = DeliveryMetadata(destination.address, clock.reading())
    other.store(first.event_id, _payload(first), {}, metadata)
    other.close()
    if is_another_process:
        dispatch.close(5.0)
        opened().courier.register(destination)  # it adopts what it finds

    eventually(lambda: not paths_in(folder, "slots/*/*.tar"), timeout_s=20)
    assert len(api.arrivals) == 1
    assert value(api, first) == "v1"


def _payload(sent):
    return bundle_payload(replace(sent, images=()))


ADDRESS = Address("api", "https://example.invalid", "fingerprint")


class Api:
    """A destination that fails as it is told, and remembers what it took."""

    address = ADDRESS
    max_batch_events = 3
    uploads_images = True

    def __init__(self):
        self.says, self.confirms = "ok", None
        self.uploads, self.lost, self.taken = Counter(), Counter(), []

    def completed(self, contents):
        return contents

    def takes(self, address):
        return address == ADDRESS

    def close(self):
        pass

    def _answer(self):
        if self.says == "rejected":
            raise RejectedError("no", route="POST /", status=422)
        if self.says != "ok":
            raise NotNow("no", route="POST /", status=503)

    def upload(self, image):
        if self.says != "unavailable":
            self.uploads[image] += 1
        self.lost[image] += self.says == "lost"
        self._answer()
        return f"id of {image!r}"

    def send(self, events):
        if self.says != "unavailable":
            self.taken.append([contents.payload["value"] for contents, _ in events])
        self._answer()
        return Sent(
            frozenset(contents.payload["eventId"] for contents, _ in events[: self.confirms])
        )


def contents_of(event_id, version):
    members = [f"images/{event_id}-{number}.jpg" for number in range(version + 1)]
    payload = {
        "eventId": event_id,
        "timestamp": datetime.now(timezone.utc).isoformat(),
        "value": (event_id, version),
        "images": [{"file": member} for member in members],
    }
    metadata = DeliveryMetadata(ADDRESS, clock.reading(), version=version)
    return EntryContents(payload, {it: it.encode() for it in members}, metadata)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("new"), st.integers(0, 1)),
        st.tuples(st.just("late"), st.integers(0, 1)),
        st.tuples(st.just("work"), st.integers(0, 3)),
        st.tuples(st.just("begin"), st.just(0)),
        st.tuples(st.just("end"), st.integers(0, 3)),
        st.tuples(st.just("wait"), st.integers(1, 90)),
        st.tuples(st.sampled_from(["ok", "unavailable", "lost"]), st.just(0)),
    ),
    min_size=30,
    max_size=80,
)


class World:
    """The courier without threads: jobs are in hand until the test ends them."""

    def __init__(self):
        self.now_s, self.api = 0.0, Api()
        self.queues = Queues(
            CourierLimits(threads=4), clock_s=lambda: self.now_s, uniform=lambda low, _: low
        )
        self.executor = Executor(self.queues, Counters())
        self.queues.register(self.api)
        [self.queue] = self.queues._queues.values()
        self.in_hand, self.newest, self.ended = [], {}, Counter()

    def put(self, event_id, version, **changes):
        values = {"on_end": lambda it, _: self.ended.update([(it.event_id, it.version)]), **changes}
        contents = contents_of(event_id, version)
        event = QueuedEvent(event_id, ADDRESS, contents=contents, version=version, **values)
        replaced = self.queues.put(event)
        if replaced is not None:
            self.executor.clear_superseded(replaced)
        return event

    def do(self, step, number):
        if step == "new":
            version = self.newest.get(str(number), -1) + 1
            self.newest[str(number)] = version
            self.put(str(number), version)
        elif step == "late" and self.newest.get(str(number), 0) > 0:
            self.put(str(number), self.newest[str(number)] - 1)
        elif step == "begin" and len(self.in_hand) < 4:
            found = self.queue.next(self.now_s)
            if found is not None and not isinstance(found, float):
                task = Task(self.queue, found)
                self.queues._tasks.add(task)
                task.generation = self.queue.breaker.start(self.now_s)
                self.in_hand.append(task)
                if isinstance(found, CreateEvents):
                    ids = [event.event_id for event in found.events]
                    assert len(set(ids)) == len(ids), "two versions in one batch"
        elif step == "end" and self.in_hand:
            task = self.in_hand.pop(number % len(self.in_hand))
            self.executor.carry_out(task)
            self.queues.done(task)
        elif step == "work":
            self.do("begin", 0)
            self.do("end", number)
        elif step == "wait":
            self.now_s += number
        elif step in ("ok", "unavailable", "lost"):
            self.api.says = step


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_whatever_happens_the_newest_version_is_the_last_one_sent(steps):
    world = World()
    for step, number in steps:
        world.do(step, number)
    world.do("ok", 0)
    for _ in itertools.takewhile(lambda _: world.queue.pending or world.in_hand, range(1000)):
        for step in ("begin", "end"):
            world.do(step, 0)
        world.do("wait", 90)

    sent = defaultdict(list)
    for request in world.api.taken:
        for event_id, version in request:
            sent[event_id].append(version)
    assert {event_id: versions[-1] for event_id, versions in sent.items()} == world.newest
    assert all(versions == sorted(versions) for versions in sent.values())
    assert not world.queue.pending
    for image, times in world.api.uploads.items():
        assert times <= 1 + world.api.lost[image], "uploaded again although the answer came"
    put = sum(version + 1 for version in world.newest.values())
    late = sum(step == "late" for step, _ in steps)
    assert put <= sum(world.ended.values()) <= put + late


def test_a_version_that_is_in_another_request_by_now_is_waited_for():
    world = World()

    def meanwhile(*_):
        world.do("begin", 0)  # what was not confirmed goes alone
        world.put("1", 1)

    world.put("0", 0, on_end=meanwhile)
    other = world.put("1", 0)
    for _ in range(2):
        world.do("work", 0)
    world.api.confirms = 1
    world.do("wait", 1)
    world.do("work", 0)
    assert world.api.taken == [[("0", 0), ("1", 0)]]
    assert other.state is State.CREATING

    world.api.confirms = None
    for _ in range(4):
        world.do("end", 0)
        world.do("begin", 0)
        world.do("wait", 1)
    assert world.api.taken[1:] == [[("1", 0)], [("1", 1)]]
    assert not world.queue.pending


def test_no_dead_letter_is_left_of_a_version_that_a_newer_one_followed_while_it_was_stored(folder):
    world, outbox = World(), Outbox(folder, LIMITS)

    def store():
        world.put("0", 1)
        contents = contents_of("0", 0)
        entry = outbox.store("0", contents.payload, contents.pictures, contents.metadata)
        world.queues.is_stored(first, entry, outbox)

    first = world.put("0", 0, store=store)
    world.do("work", 0)
    world.api.says = "rejected"
    world.do("wait", 1)
    world.do("work", 0)
    world.api.says = "ok"
    for _ in range(5):
        world.do("wait", 1)
        world.do("work", 0)
    assert world.api.taken[-1] == [("0", 1)]
    assert not world.queue.pending
    assert not list(folder.glob("*/**/*.tar")), "it would be requeued over the newer one"
    outbox.close()

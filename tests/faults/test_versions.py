"""Versions of events in order, whatever happens to the processes that record and send them."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.faults.versions_child import VERSIONS, version_of
from tests.faults.worker import WORKER_HEADER
from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.snapshot import take_snapshot
from vision_event_block.testing import StandInApi
from vision_event_block.testing.offers import read_offer
from vision_event_block.testing.wire import route_of

pytestmark = pytest.mark.timeout(3600)

WORKERS = 2


@dataclass(frozen=True)
class Taken:
    """A version or a picture that the API took, in the order in which it did."""

    worker: str
    started_s: float
    ended_s: float
    event_id: str = ""
    version: int = 0
    picture: str = ""
    is_answered: bool = True


class Watched(StandInApi):
    """One that remembers every version and picture that it took."""

    def __init__(self):
        super().__init__(keeps_pictures=False)
        self.versions, self.pictures, self.doubled = [], [], []

    def _carry_out(self, call, route, offer, *, keeps):
        response = super()._carry_out(call, route, offer, keeps=keeps)
        if keeps and response.status == 201 and route in ("create", "batch"):
            ids = [body["eventId"] for body in offer.events]
            self.doubled += [ids] if len(set(ids)) < len(ids) else []
            for body in offer.events:
                event_id, version = body["eventData"]["value"].split(" ")
                self.versions.append(self._taken(call, event_id=event_id, version=int(version)))
        return response

    def _answer(self, call):
        response = super()._answer(call)
        route = route_of(call.path)
        if route == "upload" and response.status in (201, None):
            for upload in read_offer(call, route).uploads.values():
                is_answered = response.status == 201
                self.pictures.append(
                    self._taken(call, picture=upload.sha256, is_answered=is_answered)
                )
        return response

    def _taken(self, call, **what):
        return Taken(call.headers[WORKER_HEADER], call.started_s, time.monotonic(), **what)


@pytest.fixture
def api():
    with Watched() as api:
        yield api


def test_versions_arrive_in_order_through_kills_and_adoptions(nursery, api, task, soak):
    kills, events = (60, 200) if soak > 1 else (6, 40)
    chance = random.Random(7)
    api.flaky(unavailable=0.2, cut=0.05, seed=7)
    task = replace(task, versions=True, events=-(-events // kills), share_waiting=0.5)
    killed_at_s, left = {}, []
    workers = [nursery.start(task) for _ in range(WORKERS)]
    for _ in range(kills):
        time.sleep(chance.uniform(0.1, 0.6))
        victim = workers.pop(0)
        nursery.kill(victim)
        killed_at_s[str(victim)] = time.monotonic()
        left = unfinished(task, victim)
        workers.append(nursery.start(replace(task, continues=tuple(left))))
    for worker in workers:
        nursery.kill(worker)
        killed_at_s[str(worker)] = time.monotonic()
    api.heal()
    left = [it for worker in workers for it in unfinished(task, worker)]
    last = replace(task, continues=tuple(left), events=1, ends="drain")
    assert nursery.wait(nursery.start(last)) == 0, "the outbox was not drained within 60 s"

    begun, recorded = read(task)
    found = take_snapshot(Path(task.outbox), RealDisk())
    print(  # noqa: T201 -- seen with -s
        f"{len(recorded)} events, {sum(map(len, recorded.values()))} versions, {kills} kills; "
        f"{len(api.versions)} arrivals, {found.superseded} superseded, "
        f"{len(api.requests)} requests, {len(twice(api.pictures))} pictures twice in a process"
    )
    assert len(recorded) >= events
    assert all(len(versions) >= VERSIONS for versions in recorded.values())
    for event_id, versions in recorded.items():
        _, version = api.events[event_id]["eventData"]["value"].split(" ")
        assert max(versions) <= int(version) <= max(begun[event_id])
        assert len(api.events[event_id]["images"]) == int(version) + 1
    assert not api.events.keys() - begun.keys()
    assert not stale(api.versions, killed_at_s)
    assert not api.doubled, "a request has two versions of one event"
    assert not twice(api.pictures)
    assert not found.pending
    assert not found.dead


def test_without_kills_each_picture_is_uploaded_once(nursery, api, task):
    task = replace(task, versions=True, events=25, ends="drain", share_waiting=0.5)
    api.flaky(unavailable=0.2, cut=0.0, seed=3)

    assert nursery.wait(nursery.start(task)) == 0

    _, recorded = read(task)
    assert len(recorded) == len(api.events) == 25
    for event_id in recorded:
        assert api.events[event_id]["eventData"]["value"] == f"{event_id} {VERSIONS - 1}"
    assert not stale(api.versions, {})
    uploads = [it.picture for it in api.pictures]
    assert len(uploads) == len(set(uploads))
    found = take_snapshot(Path(task.outbox), RealDisk())
    assert found.totals["accepted"] == found.delivered == 25
    assert found.stored + found.unstored == 25
    assert found.unaccounted == 0
    assert found.versions == 25 * (VERSIONS - 1)
    assert found.superseded == 25 * VERSIONS - len(
        {(it.event_id, it.version) for it in api.versions}
    )


def read(task, pid=""):
    """The versions of each event that were begun, and those that were recorded."""
    begun, recorded = defaultdict(list), defaultdict(list)
    for path in Path(task.logs).glob(f"{pid}*.log"):
        for line in path.read_text().splitlines():
            kind, event_id, version = line.split(" ")
            (begun if kind == "begins" else recorded)[event_id].append(int(version))
    return begun, recorded


def unfinished(task, pid):
    """What a killed worker has left, for another one to go on with."""
    everything, all_recorded = read(task)
    begun, _ = read(task, f"{pid}-")
    return [
        (event_id, max(everything[event_id]) + 1, len(all_recorded[event_id]))
        for event_id in begun
        if len(all_recorded[event_id]) < VERSIONS
    ]


def stale(versions, killed_at_s):
    """Older versions that came after a newer one."""
    newest, found = {}, []
    for it in versions:
        before = newest.get(it.event_id)
        if before is None or it.version >= before.version:
            newest[it.event_id] = it
        # A request outlives the process that sent it, and no one can call it back.
        elif not it.started_s < killed_at_s.get(it.worker, 0.0) <= before.ended_s:
            found.append((before, it))
    return found


def twice(pictures):
    """Pictures that a process uploaded again though it had the answer."""
    answered = defaultdict(int)
    for it in pictures:
        answered[it.worker, it.picture] += it.is_answered
    return [key for key, times in answered.items() if times > 1]


def test_the_pictures_of_a_version_are_those_of_the_one_before_and_one_more():
    first, second = version_of("e", 0), version_of("e", 1)
    assert [it.picture_id for it in second.pictures][:-1] == [
        it.picture_id for it in first.pictures
    ]

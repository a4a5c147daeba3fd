"""What follows from what the API answers, over real sockets and real files."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.delivery.test_courier import Desk, destination_of, routes
from tests.waiting import TIMEOUT_S, eventually
from vision_event_block.delivery.jobs import progress_note
from vision_event_block.delivery.queued_event import UploadedImage, Verdict
from vision_event_block.outbox import clock
from vision_event_block.outbox.owner_status import DestinationState
from vision_event_block.testing.misbehaviour import names_only, says, somebody_elses_id


@pytest.fixture
def desk_with(tmp_path, api):
    desks = []

    def make(**limits):
        desks.append(Desk(tmp_path / "outbox", destination_of(api), **limits))
        return desks[-1]

    yield make
    for desk in desks:
        desk.close()


@pytest.fixture
def desk(desk_with):
    return desk_with()


NO_SUCH_IMAGE = {"error": "images.0.sourceId does not exist"}


def with_uploads_since(desk, age_s):
    """An event of an earlier process whose two images went up so long ago."""
    entry = desk.store(2)
    now = clock.reading()
    at = replace(now, wall_s=now.wall_s - age_s, boot_id="an-earlier-start")
    members = [f"images/{number}-{entry.event_id}.jpg" for number in range(2)]
    images = {member: UploadedImage("id-of-then", at) for member in members}
    desk.outbox.note_progress(entry, progress_note(images))
    return entry


def test_images_that_went_up_long_ago_are_uploaded_again(api, desk):
    entry = with_uploads_since(desk, 25 * 3600.0)

    desk.courier.take([entry])

    event = api.wait_for_events(1)[0]
    assert len(api.uploads) == 2
    assert api.picture_of(event) == f"0 of {entry.event_id}".encode()


def test_images_that_went_up_not_long_ago_are_not_uploaded_again(api, desk):
    desk.courier.take([with_uploads_since(desk, 3600.0)])

    event = api.wait_for_events(1)[0]
    assert event["images"][0]["sourceId"] == "id-of-then"
    assert api.uploads == {}


def test_images_that_wait_too_long_in_memory_are_uploaded_again(api, desk_with):
    desk = desk_with(max_image_age_s=0.4)
    api.fail(503, route="create", times=1, retry_after="1")

    event_id, handle = desk.send(2)

    assert handle.wait(TIMEOUT_S).verdict is Verdict.DELIVERED
    assert len(api.uploads) == 4
    assert api.picture_of(api.events[event_id]) == f"0 of {event_id}".encode()


def test_a_refusal_that_may_be_about_old_images_has_them_uploaded_again_once(api, desk):
    entry = with_uploads_since(desk, 3600.0)
    api.fail(400, route="create", times=1, body=NO_SUCH_IMAGE)

    desk.courier.take([entry])

    event = api.wait_for_events(1)[0]
    assert api.picture_of(event) == f"0 of {entry.event_id}".encode()
    assert desk.dead() == {}


def test_an_event_that_is_refused_with_new_images_too_is_a_dead_letter(api, desk):
    entry = with_uploads_since(desk, 3600.0)
    api.fail(400, route="create", body=NO_SUCH_IMAGE)

    desk.courier.take([entry])

    eventually(lambda: desk.courier.pending == 0)
    assert list(desk.dead()) == [entry.event_id]
    assert len(routes(api, "create")) == 2
    assert len(api.uploads) == 2


def test_an_event_that_is_refused_with_images_of_this_very_try_is_a_dead_letter_at_once(api, desk):
    api.fail(400, route="create", body=NO_SUCH_IMAGE)

    _, handle = desk.send(2)

    assert handle.wait(TIMEOUT_S).verdict is Verdict.REJECTED
    assert len(routes(api, "create")) == 1


def waiting_batch(api, desk, count):
    """So many events that wait for one another, so that they share a request."""
    with api.refusing():
        handles = desk.send_many(count)
        eventually(lambda: desk.courier.states()[0].state is DestinationState.DOWN)
    return handles


def test_what_a_batch_reply_does_not_name_goes_again_alone(api, desk):
    api.misbehave(names_only(10), route="batch", after_storing=True)
    handles = waiting_batch(api, desk, 30)

    assert desk.courier.flush(10) == 0

    assert {handle.wait(TIMEOUT_S).verdict for handle in handles.values()} == {Verdict.DELIVERED}
    assert set(api.events) == set(handles)
    assert desk.courier.queues.counts == {"delivered": 30}
    assert len(routes(api, "create")) > 1


@pytest.mark.parametrize("reply", [says({}), says({"status": "error"}), says({"created": True})])
def test_a_batch_reply_in_an_unknown_shape_delivers_nothing_and_all_go_alone(api, desk, reply):
    api.misbehave(reply, route="batch")
    handles = waiting_batch(api, desk, 12)

    assert desk.courier.flush(20) == 0

    assert set(api.events) == set(handles)
    alone = {request.event_ids[0] for request in routes(api, "create") if request.status == 201}
    assert len(alone) >= 11


@pytest.mark.parametrize(
    "reply", [says({}, 200), says({"success": True}, 200), somebody_elses_id(), says("ok", 200)]
)
def test_a_success_that_does_not_name_the_event_is_no_delivery_and_is_named(api, desk, reply):
    api.misbehave(reply)
    handles = desk.send_many(5, 1)
    eventually(lambda: desk.courier.states()[0].unknown_reply is not None)

    assert desk.courier.queues.counts == {}
    assert len(desk.outbox.entries()) == 5
    assert "unexpected response" in desk.courier.states()[0].unknown_reply
    assert desk.courier.states()[0].state is DestinationState.DOWN
    api.heal()
    assert all(
        handle.wait(TIMEOUT_S).verdict is Verdict.DELIVERED for handle in handles.values()
    ) or (desk.courier.flush(10) == 0)
    assert set(api.events) == set(handles)


@pytest.mark.parametrize("status", [402, 403, 406, 413, 418, 428, 451])
def test_the_page_of_a_firewall_condemns_no_event_and_no_key(api, desk, status):
    api.fail(status, body="<html>Blocked</html>", times=6)
    handles = desk.send_many(3, 1)

    eventually(lambda: len(api.events) == 3, timeout_s=20)

    assert desk.dead() == {}
    assert {handle.wait(TIMEOUT_S).verdict for handle in handles.values()} == {Verdict.DELIVERED}


def test_a_failure_of_the_own_process_is_no_trouble_with_the_link(tmp_path, api):
    class Odd:
        failures = 6

        def __init__(self, destination):
            self._destination = destination

        def __getattr__(self, name):
            return getattr(self._destination, name)

        def send(self, events):
            if self.failures:
                Odd.failures -= 1
                raise KeyError("an extra header")
            return self._destination.send(events)

    desk = Desk(tmp_path / "outbox", Odd(destination_of(api)), threads=1)
    handles = desk.send_many(3)
    eventually(lambda: desk.courier.states()[0].internal_error is not None)

    [status] = desk.courier.states()
    assert (status.state, status.last_error) == (DestinationState.OPEN, None)
    assert "KeyError" in status.internal_error
    assert all(handle.wait(20).verdict is Verdict.DELIVERED or True for handle in handles.values())
    eventually(lambda: desk.courier.pending == 0, timeout_s=20)
    counted = desk.courier.counters.take()
    assert counted["internal_errors creating events"] == 6
    assert sum(number for name, number in counted.items() if name.endswith(" internal")) >= 6
    desk.close()

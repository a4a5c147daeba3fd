"""`vision-events drain` against real folders, living processes and the stand-in."""

from __future__ import annotations

import os
import signal
import socket
import time
from datetime import datetime, timezone

from tests.unit.cli.entries import KEY, LIMITS, PICTURE, accounts, address_of, real_run
from vision_event_block.delivery.secret import Secret
from vision_event_block.events.event import EventImage, VisionEvent
from vision_event_block.events.frames import Frame
from vision_event_block.events.images import Picture
from vision_event_block.outbox import clock
from vision_event_block.outbox.entry import Address, DeliveryMetadata
from vision_event_block.outbox.outbox import Outbox


def test_what_a_dead_process_left_is_delivered(run, orphans, api):
    entries, _ = orphans(5)
    result = real_run("drain")
    assert result.returncode == 0, result.stderr
    assert "Delivered: 5 events" in result.stdout
    assert set(api.events) == {entry.event_id for entry in entries}
    assert api.picture_of(api.events[entries[0].event_id]) == (
        PICTURE + entries[0].event_id.encode()
    )
    found = accounts(run)
    assert (found["stored"], found["delivered"], found["pending"]) == (5, 5, 0)
    assert found["unaccounted"] == 0


def test_events_of_a_living_process_are_left_to_it(run, owner, api):
    owner(2)
    result = run("drain")
    assert (result.exit_code, result.output) == (0, "Nothing to send.\n")
    assert api.events == {}
    assert accounts(run)["pending"] == 2


def test_nothing_is_made_where_no_outbox_is(run, folder):
    result = run("drain")
    assert (result.exit_code, "There is no outbox in" in result.output) == (2, True)
    assert not folder.exists()


def test_requeued_events_are_delivered_once_the_cause_is_fixed(run, orphans, api):
    _, (dead,) = orphans(0, dead=1)
    run("requeue", "--all")
    assert run("drain").exit_code == 0
    assert set(api.events) == {dead.event_id}
    found = accounts(run)
    assert (found["stored"], found["delivered"], found["dead"]) == (1, 1, 0)


def test_a_refused_event_becomes_a_dead_letter_and_the_command_says_so(run, orphans, api):
    (good, bad), _ = orphans(2)
    api.poison(bad.event_id)
    result = run("drain")
    assert result.exit_code == 1
    assert "Rejected: 1 event" in result.output
    assert set(api.events) == {good.event_id}
    found = accounts(run)
    assert (found["dead"], found["pending"], found["unaccounted"]) == (1, 0, 0)


def test_a_refused_key_ends_the_command_at_once_and_keeps_the_events(run, orphans, api):
    orphans(2)
    api.refuse_key(KEY)
    began_s = time.monotonic()
    result = run("drain")
    assert time.monotonic() - began_s < 20
    assert result.exit_code == 1
    assert "key refused" in result.output
    assert accounts(run)["pending"] == 2


def test_events_of_another_key_are_left_and_named(run, orphans, api):
    orphans(1)
    orphans(2, address=address_of(api.url, "another key"))
    result = run("drain")
    assert result.exit_code == 1
    assert "Delivered: 1 event" in result.output
    assert "Left: 2 events for" in result.output
    assert "a key or address that this environment does not have" in result.output
    assert accounts(run)["pending"] == 2


def test_an_api_that_stays_away_ends_the_command_after_the_time_out(run, orphans):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    orphans(2, address=address_of(url))
    began_s = time.monotonic()
    result = real_run("drain", "--timeout", 1, VISION_EVENT_API_URL=url)
    assert time.monotonic() - began_s < 20
    assert result.returncode == 1
    assert "Left: 2 events" in result.stderr
    assert "down" in result.stderr
    found = accounts(run)
    assert (found["pending"], found["unaccounted"]) == (2, 0)


def test_what_a_relay_keeps_the_pictures_of_is_left_to_it_and_said(run, orphans, api):
    orphans(2, address=Address("relay", api.url, Secret(KEY).identity()))
    orphans(1, address=address_of(api.url))

    result = run("drain")

    assert result.exit_code == 1
    assert "Delivered: 1 event" in result.output
    assert "Left: 2 events" in result.output
    assert "--forward-to" in result.output
    assert accounts(run)["pending"] == 2


def test_the_device_s_own_store_gets_what_is_for_it(run, orphans, api):
    orphans(2, address=Address("event_store", api.url))
    result = run("drain")
    assert result.exit_code == 0, result.output
    assert len(api.event_store_events) == 2
    assert accounts(run)["pending"] == 0


def test_what_a_killed_process_had_in_memory_is_named_and_delivered(run, folder, api):
    metadata = DeliveryMetadata(address_of(api.url), clock.reading())
    image = EventImage(label="workflow", input=Picture(content=PICTURE))
    sent = VisionEvent(
        event_type="custom",
        use_case_id="line-4",
        timestamp=datetime.now(timezone.utc),
        images=(image,),
    )
    pid = os.fork()
    if pid == 0:
        try:
            outbox = Outbox(folder, LIMITS)
            outbox.keep_in_memory(Frame.of(sent, metadata.to_json()))
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)

    found = accounts(run)
    assert (found["pending"], found["spooled"]) == (0, 1)
    assert "1 event of a process that was killed" in " ".join(run("status").output.split())

    assert run("drain").exit_code == 0
    assert set(api.events) == {sent.event_id}
    assert api.picture_of(api.events[sent.event_id], "input") == PICTURE
    found = accounts(run)
    assert (found["stored"], found["delivered"], found["spooled"]) == (1, 1, 0)

"""What a process does with its events, over real files and sockets."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import threading
import time
from dataclasses import fields
from datetime import datetime, timezone
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from tests.paths import paths_in
from tests.unit.out_of_memory import each_line
from tests.waiting import TIMEOUT_S, eventually
from vision_event_block.delivery import encoder, upkeep
from vision_event_block.delivery.background import RECORD_TRIES
from vision_event_block.delivery.client import Secret, Timeouts, VisionEventsClient
from vision_event_block.delivery.courier import CourierLimits
from vision_event_block.delivery.destinations import ApiDestination
from vision_event_block.delivery.dispatch import Dispatch, DispatchLimits
from vision_event_block.delivery.encoder import encode_in_turn
from vision_event_block.delivery.queued_event import Verdict
from vision_event_block.delivery.records import NotTaken
from vision_event_block.delivery.shared_dispatch import shared_dispatch
from vision_event_block.events.bundle import bundle_of
from vision_event_block.events.event import EventImage, VisionEvent
from vision_event_block.events.images import Picture, Snapshot
from vision_event_block.outbox import clock
from vision_event_block.outbox.entry import DeliveryMetadata
from vision_event_block.outbox.quota import OutboxLimits
from vision_event_block.settings import Settings, outbox_max_bytes

KEY = Secret("made-up-key")
PATIENCE = CourierLimits(max_backoff_s=0.2, key_retry_s=0.1)


@pytest.fixture
def destination(api):
    client = VisionEventsClient(
        base_url=api.url, api_key=KEY, timeouts=Timeouts(connect_s=TIMEOUT_S, read_s=TIMEOUT_S)
    )
    return ApiDestination(client, api.url, KEY)


@pytest.fixture
def limits(tmp_path):
    return DispatchLimits(tmp_path / "outbox", courier=PATIENCE)


@pytest.fixture
def dispatch_with(tmp_path):
    made = []

    def make(**changes):
        values = {"folder": tmp_path / "outbox", "courier": PATIENCE}
        made.append(Dispatch(DispatchLimits(**{**values, **changes})))
        return made[-1]

    yield make
    for it in made:
        it.close(0.0)


def event(*, content=b"picture", **changes):
    image = EventImage(label="workflow", output=Picture(content=content))
    values = {"event_type": "custom", "use_case_id": "dock", "images": (image,)}
    return VisionEvent(timestamp=datetime.now(timezone.utc), **{**values, **changes})


class Mount:
    """A folder that is taken away and brought back in one step each: nobody gets in between."""

    def __init__(self, path):
        self.path = path
        self.elsewhere = path.with_name("elsewhere")
        self.elsewhere.mkdir()
        path.symlink_to(self.elsewhere)

    def take_away(self):
        """Now a file is in its place."""
        file = self.path.with_name("file")
        file.touch()
        file.replace(self.path)

    def bring_back(self):
        link = self.path.with_name("link")
        link.symlink_to(self.elsewhere)
        link.replace(self.path)


def unusable(tmp_path):
    """A place where no folder can be made, whoever asks."""
    (tmp_path / "file").write_text("in the way")
    return tmp_path / "file" / "outbox"


def test_an_event_is_on_disk_when_it_was_recorded_and_arrives(api, destination, dispatch_with):
    keeping = dispatch_with()
    sent = event()
    with api.refusing():
        result = keeping.record(sent, destination)
        assert result.is_stored
        assert paths_in(keeping._limits.folder, f"slots/*/*-{sent.event_id}.tar")

    assert keeping.flush(TIMEOUT_S) in {0, 1}
    assert result.handle.wait(TIMEOUT_S).verdict is Verdict.DELIVERED
    assert api.picture_of(api.events[sent.event_id]) == b"picture"


def test_in_the_background_the_caller_does_not_wait_for_pictures(api, destination, dispatch_with):
    pixels = np.random.default_rng(0).integers(0, 255, (3000, 4000, 3), np.uint8)
    image = EventImage(label="workflow", input=Snapshot(pixels=pixels, quality=90))
    keeping = dispatch_with()
    keeping.record(event(), destination)

    def took_s(**how):
        started_s = time.monotonic()
        result = keeping.record(event(images=(image,)), destination, **how)
        return result, time.monotonic() - started_s

    def share_of_the_time():
        result, background_s = took_s(waits=False)
        keeping.empty_memory(TIMEOUT_S)
        results.append(result)
        return background_s / took_s()[1]

    results = []
    share_of_the_time()  # the memory is there from now on
    # Other work on the machine comes and goes: whoever can do it once can do it.
    assert any(share_of_the_time() < 1 / 3 for _ in range(5))
    assert not any(result.handle or result.is_stored for result in results)
    result = results[-1]
    assert keeping.flush(TIMEOUT_S) == 0
    arrived = api.events
    assert api.picture_of(arrived[result.event.event_id], "input").startswith(b"\xff\xd8")


def test_with_a_full_memory_the_background_becomes_the_foreground(api, destination, dispatch_with):
    keeping = dispatch_with(memory_bytes=10)
    with api.refusing():
        stored = [
            keeping.record(event(content=b"x" * 100), destination, waits=False).is_stored
            for _ in range(20)
        ]

    # The first one finds the memory empty; while it is there, others are stored at once.
    assert stored[0] is False
    assert any(stored[1:])
    assert len(api.wait_for_events(20)) == 20


def test_a_high_severity_is_urgent_also_for_the_next_process(api, destination, dispatch_with):
    keeping = dispatch_with()
    with api.refusing():
        data = {"alertType": "fall", "severity": "high"}
        keeping.record(event(event_type="safety_alert", event_data=data), destination)
        keeping.record(event(), destination)

        assert [it.metadata.is_urgent for it in keeping.courier.outbox.entries()] == [True, False]


def test_without_a_usable_folder_events_go_from_memory_and_it_is_said(
    api, destination, dispatch_with, tmp_path, caplog
):
    keeping = dispatch_with(folder=unusable(tmp_path))

    result = keeping.record(event(), destination)

    assert not keeping.stores
    assert not result.is_stored
    assert "VISION_EVENT_OUTBOX" in result.problem
    assert result.handle.wait(TIMEOUT_S).verdict is Verdict.DELIVERED
    assert "could not write to the outbox" in caplog.text


def test_what_fits_neither_disk_nor_memory_is_not_taken_until_there_is_room(
    api, destination, dispatch_with, tmp_path
):
    keeping = dispatch_with(folder=unusable(tmp_path), memory_bytes=150)
    with api.refusing():
        keeping.record(event(content=b"x" * 100), destination)
        with pytest.raises(NotTaken, match="memory limit is reached"):
            keeping.record(event(content=b"y" * 100), destination)
    api.wait_for_events(1)
    keeping.flush(TIMEOUT_S)

    assert keeping.record(event(), destination).handle.wait(TIMEOUT_S).verdict is Verdict.DELIVERED


def test_a_full_outbox_is_named_and_the_event_goes_from_memory(api, destination, dispatch_with):
    keeping = dispatch_with(outbox=OutboxLimits(max_events=1))
    with api.refusing():
        assert keeping.record(event(), destination).is_stored
        result = keeping.record(event(), destination)
        assert "MAX_EVENTS" in result.problem

    assert len(api.wait_for_events(2)) == 2


def test_the_next_process_delivers_what_the_last_one_left(api, destination, dispatch_with):
    first = dispatch_with()
    sent = [event() for _ in range(5)]
    with api.refusing():
        for it in sent:
            first.record(it, destination)
        assert first.close(0.3).left == 5

    later = dispatch_with()
    later.record(event(), destination)  # which brings the key

    assert {it.event_id for it in sent} <= {it["eventId"] for it in api.wait_for_events(6)}


def test_closing_delivers_what_is_still_being_encoded(api, destination, dispatch_with):
    keeping = dispatch_with()
    for _ in range(5):
        keeping.record(event(), destination, waits=False)

    assert keeping.close(5).left == 0
    assert len(api.events) == 5


def test_the_status_tells_what_the_courier_knows(api, destination, dispatch_with):
    keeping = dispatch_with()
    keeping.record(event(), destination)
    keeping.close(5)

    (path,) = (keeping._limits.folder / "slots").glob("*/status.json")
    (state,) = json.loads(path.read_text("utf-8"))["destinations"]
    assert (state["state"], state["pending"]) == ("open", 0)
    assert KEY.reveal() not in path.read_text("utf-8")


class User:
    pass


@pytest.fixture
def _nobody_else(monkeypatch):
    """The process as if no block of another test had left one behind."""
    monkeypatch.setattr(shared_dispatch, "_thing", None)


@pytest.mark.usefixtures("_nobody_else")
def test_the_process_has_one_until_its_last_user_leaves(api, destination, limits):
    one, other = User(), User()
    first = shared_dispatch().use(lambda: limits, one, exit_timeout_s=1.0)
    try:
        assert shared_dispatch().use(lambda: limits, other, exit_timeout_s=1.0) is first
        first.record(event(), destination)
        assert shared_dispatch().leave(one, TIMEOUT_S).left == 0
        assert shared_dispatch().use(lambda: limits, other, exit_timeout_s=1.0) is first
    finally:
        shared_dispatch().leave(one, 0.0)
        shared_dispatch().leave(other, TIMEOUT_S)

    assert len(api.events) == 1
    eventually(lambda: not first._housekeeping._thread.is_alive())
    second = shared_dispatch().use(lambda: limits, one, exit_timeout_s=1.0)
    try:
        assert second is not first
    finally:
        shared_dispatch().leave(one, 0.0)


@pytest.mark.usefixtures("_nobody_else")
def test_a_user_that_is_gone_without_a_word_keeps_it_no_longer(limits):
    gone, last = User(), User()
    first = shared_dispatch().use(lambda: limits, gone, exit_timeout_s=1.0)
    shared_dispatch().use(lambda: limits, last, exit_timeout_s=1.0)
    del gone

    shared_dispatch().leave(last, 1.0)

    eventually(lambda: not first._housekeeping._thread.is_alive())


@pytest.mark.usefixtures("_nobody_else")
def test_it_goes_on_while_events_are_left_though_its_last_user_has_gone(api, destination, limits):
    user = User()
    with api.refusing():
        shared_dispatch().use(lambda: limits, user, exit_timeout_s=1.0).record(event(), destination)
        assert shared_dispatch().leave(user, 1.0).left == 1

    api.wait_for_events(1)
    shared_dispatch().use(lambda: limits, user, exit_timeout_s=1.0)
    assert shared_dispatch().leave(user, TIMEOUT_S).left == 0


def test_the_settings_say_how_much_of_everything_there_may_be(tmp_path):
    settings = Settings(
        outbox_min_free_bytes=1,
        outbox_max_events=2,
        outbox_max_age_days=3,
        senders=4,
        max_backoff_s=5,
        key_retry_s=6,
        backlog_bytes_per_s=7,
        max_pending_bytes=8,
    )
    limits = DispatchLimits.of(settings, tmp_path)
    assert limits.folder == tmp_path
    assert limits.outbox == OutboxLimits(
        max_bytes=outbox_max_bytes(tmp_path),
        min_free_bytes=1,
        max_events=2,
        max_age_s=3 * 86_400,
    )
    assert limits.courier == CourierLimits(
        threads=4, max_backoff_s=5, key_retry_s=6, backlog_bytes_per_s=7
    )
    assert limits.memory_bytes == 8


def test_a_bundle_is_kept_first_and_then_carried_or_withdrawn(api, destination, dispatch_with):
    keeping = dispatch_with()
    kept = [event() for _ in range(2)]
    carried, withdrawn = (
        keeping.keep_bundle(
            it.event_id, bundle_of(it.encoded(encode_in_turn)), destination, is_urgent=is_urgent
        )
        for it, is_urgent in zip(kept, (True, False), strict=True)
    )
    assert [entry.metadata.is_urgent for entry in (carried, withdrawn)] == [True, False]
    assert api.events == {}

    keeping.withdraw(withdrawn)
    assert keeping.carry(carried).wait(TIMEOUT_S).verdict is Verdict.DELIVERED

    assert set(api.events) == {kept[0].event_id}
    assert keeping.close(5).left == 0
    assert keeping.courier.outbox.journal.totals["dropped withdrawn"] == 1
    assert keeping.courier.outbox.journal.totals["accepted"] == 1


def test_a_bundle_that_cannot_be_kept_on_disk_is_not_taken(destination, dispatch_with, tmp_path):
    keeping = dispatch_with(folder=unusable(tmp_path))
    it = event()
    with pytest.raises(NotTaken, match="VISION_EVENT_OUTBOX"):
        keeping.keep_bundle(it.event_id, bundle_of(it.encoded(encode_in_turn)), destination)


def test_a_disk_that_refuses_is_named_and_the_event_goes_from_memory(
    api, destination, dispatch_with, tmp_path
):
    mount = Mount(tmp_path / "outbox")
    keeping = dispatch_with(folder=mount.path)
    keeping.record(event(), destination)
    mount.take_away()

    result = keeping.record(event(), destination)

    assert not result.is_stored
    assert result.problem == "Not a directory"
    assert result.handle.wait(TIMEOUT_S).verdict is Verdict.DELIVERED


def test_housekeeping_goes_on_after_a_folder_was_gone_for_a_while(
    destination, dispatch_with, caplog, tmp_path
):
    mount = Mount(tmp_path / "outbox")
    keeping = dispatch_with(folder=mount.path)
    mount.take_away()
    eventually(lambda: "housekeeping step failed" in caplog.text, timeout_s=20)
    for status in paths_in(mount.elsewhere, "slots/*/status.json"):
        status.unlink()
    mount.bring_back()
    eventually((keeping.courier.outbox.slot_folder / "status.json").exists, timeout_s=20)


def test_a_folder_that_is_taken_away_is_made_again_and_used(
    api, destination, dispatch_with, tmp_path
):
    keeping = dispatch_with()
    keeping.record(event(), destination)
    api.wait_for_events(1)
    keeping._limits.folder.rename(tmp_path / "elsewhere")

    result = keeping.record(event(), destination)

    assert result.is_stored
    assert result.handle.wait(TIMEOUT_S).verdict is Verdict.DELIVERED


def test_what_is_lost_in_the_background_is_named(destination, dispatch_with, caplog, tmp_path):
    keeping = dispatch_with(folder=unusable(tmp_path), memory_bytes=10)
    too_large = event(content=b"x" * 100)
    keeping.record(too_large, destination, waits=False)
    keeping.empty_memory(5)
    assert f"event {too_large.event_id} is lost" in caplog.text
    assert "the memory limit is reached" in caplog.text


def test_what_the_background_had_to_change_is_named(api, destination, dispatch_with, caplog):
    no_picture = Snapshot(pixels=np.zeros((10, 10, 7), np.uint8), quality=90)
    keeping = dispatch_with()
    keeping.record(
        event(images=(EventImage(label="workflow", output=no_picture),)), destination, waits=False
    )
    keeping.empty_memory(5)
    assert "event adjusted" in caplog.text
    assert "expected 1, 3 or 4 channels, found 7" in caplog.text
    assert len(api.wait_for_events(1)) == 1


def said_by(program, *arguments):
    """What a process says that runs this program and ends by itself."""
    ended = subprocess.run(
        [sys.executable, "-c", PREAMBLE + program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended.stdout + ended.stderr


PREAMBLE = """
import logging, os, socket, sys, time
from datetime import datetime, timezone
from pathlib import Path
from vision_event_block.delivery.shared_dispatch import shared_dispatch
from vision_event_block.delivery.client import Secret, Timeouts, VisionEventsClient
from vision_event_block.delivery.destinations import ApiDestination
from vision_event_block.delivery.dispatch import DispatchLimits
from vision_event_block.events.event import EventImage, VisionEvent
from vision_event_block.events.images import Picture

logging.basicConfig()
nobody = socket.socket()
nobody.bind(("127.0.0.1", 0))  # bound and not listening: whoever calls is turned away
url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
key = Secret("made-up-key")
client = VisionEventsClient(base_url=url, api_key=key, timeouts=Timeouts(connect_s=1, read_s=1))
destination = ApiDestination(client, url, key)
limits = DispatchLimits(Path(sys.argv[1]))


class User:
    pass


the_block = User()


def record(user=the_block, **how):
    image = EventImage(label="workflow", output=Picture(content=b"picture"))
    event = VisionEvent(
        timestamp=datetime.now(timezone.utc),
        event_type="custom",
        use_case_id="dock",
        images=(image,),
    )
    taken = shared_dispatch().use(lambda: limits, user, exit_timeout_s=0.5)
    return taken, taken.record(event, destination, **how)
"""


def test_a_process_that_ends_says_what_was_not_delivered_and_leaves_it_on_disk(tmp_path):
    said = said_by("record()\nrecord(waits=False)\n", tmp_path / "outbox")
    assert "0 delivered, 2 waiting on disk, 0 rejected, 0 lost (`vision-events status`" in said
    assert len(list((tmp_path / "outbox" / "slots").glob("*/*.tar"))) == 2


def test_a_process_that_ends_without_a_disk_says_what_is_lost(tmp_path):
    said = said_by("record()\n", unusable(tmp_path))
    assert "0 delivered, 0 waiting on disk, 0 rejected, 1 lost" in said


def test_the_last_line_counts_each_fate_truly_and_names_the_command_that_shows_more(tmp_path, api):
    program = f"""
logging.getLogger().setLevel(logging.INFO)
url = {api.url!r}
client = VisionEventsClient(base_url=url, api_key=key)
destination = ApiDestination(client, url, key)
waiting = ApiDestination(VisionEventsClient(base_url="http://127.0.0.1:1", api_key=key), "x", key)
api_says = [record()[1].handle.wait(20) for _ in range(2)]
print(shared_dispatch().use(lambda: limits, the_block, exit_timeout_s=0.5).remainder())
"""
    assert "2 delivered, 0 waiting on disk, 0 rejected, 0 lost (`vision-events status`" in said_by(
        program, tmp_path / "one"
    )
    api.fail(404, route="create", times=1)
    rejected = said_by(f"{program}\ndestination = waiting\nrecord()\n", tmp_path / "two")
    assert (
        "vision events: 1 delivered, 1 waiting on disk, 1 rejected, 0 lost "
        "(`vision-events status and list --dead` shows more)"
    ) in rejected


def test_a_forked_child_has_a_dispatch_of_its_own_and_leaves_its_parents_events_alone(tmp_path):
    program = """
parent, _ = record()
shared_dispatch().empty_memory(5)
child = os.fork()
if child == 0:
    block = User()
    own, result = record(block)
    slots = [it.courier.outbox.slot_folder for it in (own, parent)]
    print("own", own is not parent, slots[0] != slots[1])
    print("stored", result.is_stored)
    left = shared_dispatch().leave(block, 0.1).left
    print("left", left, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print("parent", [entry.event_id for entry in parent.courier.outbox.entries()] != [])
"""
    said = said_by(program, tmp_path / "outbox")
    assert "own True True\nstored True\nleft 1\n" in said
    assert "parent True\n" in said
    # The child has gone for good, and if there was time for it the parent has taken its event over.
    assert re.search("0 delivered, [12] waiting on disk", said)


PIXELS = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
TO_ENCODE = EventImage(label="workflow", input=Snapshot(pixels=PIXELS, quality=95))


@pytest.fixture
def busy_encoder():
    """Whose threads have other work until they are let go."""
    gate = threading.Event()
    for _ in range(encoder.THREADS):
        encoder.run_soon(gate.wait, 60)
    yield gate
    gate.set()


def test_what_is_not_encoded_when_the_process_ends_is_the_next_ones(
    tmp_path, api, destination, dispatch_with, busy_encoder
):
    folder = tmp_path / "outbox"
    keeping = Dispatch(DispatchLimits(folder, courier=PATIENCE))
    sent = [
        keeping.record(event(images=(TO_ENCODE,)), destination, waits=False).event for _ in range(5)
    ]

    found = keeping.close(0.0)

    assert (found.left, found.unstored) == (5, 0)
    assert len(list(folder.glob("slots/*/spool-*"))) == 5
    busy_encoder.set()
    assert keeping.empty_memory(60) == 0

    dispatch_with(folder=folder).courier.register(destination)

    arrived = {it["eventId"]: it for it in api.wait_for_events(5, timeout_s=60)}
    assert arrived.keys() == {it.event_id for it in sent}
    encoded = TO_ENCODE.input.encode().content
    assert all(api.picture_of(it, "input") == encoded for it in arrived.values())
    eventually(lambda: not paths_in(folder, "slots/*/spool-*"))


def test_without_a_spool_they_are_lost_and_that_is_said(
    tmp_path, api, destination, caplog, busy_encoder
):
    limits = OutboxLimits(min_free_bytes=2**62)
    keeping = Dispatch(DispatchLimits(tmp_path / "outbox", outbox=limits, courier=PATIENCE))
    for _ in range(5):
        keeping.record(event(images=(TO_ENCODE,)), destination, waits=False)

    found = keeping.close(0.0)

    assert (found.left, found.unstored) == (5, 5)
    assert "events in memory are lost if this process is killed: No space left" in caplog.text
    busy_encoder.set()
    eventually(lambda: "is lost: the process ended before" in caplog.text)
    assert keeping.empty_memory(60) == 0


def test_nobody_waits_for_events_that_cannot_be_stored(tmp_path, api, destination, dispatch_with):
    keeping = dispatch_with(folder=unusable(tmp_path))
    with api.refusing():
        keeping.record(event(), destination)
        started_s = time.monotonic()

        assert keeping.empty_memory(20) == 0

    assert time.monotonic() - started_s < 15


def totals(keeping):
    keeping._upkeep.write_counts()
    return keeping.courier.outbox.journal.totals


class Unlucky(VisionEvent):
    """An event on whose way to the disk something fails a few times."""

    failures: ClassVar[int] = 0

    def encoded(self, encode):
        if type(self).failures:
            type(self).failures -= 1
            raise MemoryError
        return super().encoded(encode)


def unlucky():
    sent = event()
    return Unlucky(**{it.name: getattr(sent, it.name) for it in fields(sent)})


def test_a_passing_failure_loses_no_event_of_the_background(
    api, destination, dispatch_with, caplog, monkeypatch
):
    monkeypatch.setattr(Unlucky, "failures", RECORD_TRIES - 1)
    keeping = dispatch_with()
    sent = unlucky()

    keeping.record(sent, destination, waits=False)

    assert [it["eventId"] for it in api.wait_for_events(1)] == [sent.event_id]
    assert keeping.empty_memory(5) == 0
    assert "will retry" in caplog.text
    assert keeping.close(5).left == 0


def test_an_event_of_the_background_that_is_given_up_is_counted(
    destination, dispatch_with, caplog, monkeypatch
):
    monkeypatch.setattr(Unlucky, "failures", RECORD_TRIES)
    keeping = dispatch_with()

    keeping.record(unlucky(), destination, waits=False)
    assert keeping.empty_memory(10) == 0

    assert "is lost: MemoryError" in caplog.text
    assert (totals(keeping)["dropped lost"], totals(keeping)["unstored"]) == (1, 1)
    assert totals(keeping)["accepted"] == 1


def without_threads(monkeypatch, name):
    """No thread of this name can be started until the list is emptied."""
    start, names = threading.Thread.start, [name]

    def refuse(thread):
        if any(thread.name.startswith(each) for each in names):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    return names


def test_without_a_thread_to_encode_an_event_is_stored_once(
    api, destination, dispatch_with, monkeypatch
):
    monkeypatch.setattr(encoder._threads, "_thing", None)
    without_threads(monkeypatch, "vision-event-encoder")
    keeping = dispatch_with()
    sent = event()

    keeping.record(sent, destination, waits=False)

    assert keeping.empty_memory(0) == 0
    keeping.flush(TIMEOUT_S)
    assert [event_id for event_id, _ in api.arrivals] == [sent.event_id]
    assert totals(keeping)["stored"] == 1


def test_without_a_thread_for_housekeeping_events_go_all_the_same_and_nothing_leaks(
    api, destination, dispatch_with, monkeypatch
):
    names = without_threads(monkeypatch, "vision-event-housekeeping")
    keeping = dispatch_with()
    keeping.record(event(), destination)
    keeping.flush(TIMEOUT_S)
    before = len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(20):
        assert keeping.record(event(), destination).is_stored
    keeping.flush(TIMEOUT_S)

    assert len(api.events) == 21
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 20  # connections
    names.clear()
    keeping.record(event(), destination)
    eventually((keeping.courier.outbox.slot_folder / "status.json").exists)


def test_a_stored_event_that_nobody_delivers_is_found(api, destination, dispatch_with, monkeypatch):
    monkeypatch.setattr(upkeep, "COMPARE_EVERY_S", 0.0)
    keeping = dispatch_with()
    sent = event()

    keeping.keep_bundle(sent.event_id, bundle_of(sent.encoded(encode_in_turn)), destination)

    assert [it["eventId"] for it in api.wait_for_events(1)] == [sent.event_id]


def test_an_outbox_that_opens_late_has_its_events_delivered_by_this_process(
    api, destination, dispatch_with, tmp_path
):
    keeping = dispatch_with(folder=unusable(tmp_path))
    assert not keeping.record(event(), destination).is_stored
    (tmp_path / "file").unlink()
    eventually(lambda: keeping.stores, timeout_s=20)

    result = keeping.record(event(), destination)

    assert result.is_stored
    assert result.handle.wait(TIMEOUT_S).verdict is Verdict.DELIVERED


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_housekeeping_that_died_is_taken_up_again_by_whoever_sends(api, destination, dispatch_with):
    keeping = dispatch_with()
    keeping.record(event(), destination)
    thread = keeping._housekeeping._thread
    keeping._housekeeping._steps["dying"] = sys.exit
    eventually(lambda: not thread.is_alive())
    del keeping._housekeeping._steps["dying"]

    keeping.courier.submit(store_unseen(keeping, destination))

    api.wait_for_events(2)
    eventually(lambda: keeping._housekeeping._thread is not thread)


def store_unseen(keeping, destination):
    """An event in the outbox that did not come by `record`."""
    sent = event()
    bundle = bundle_of(sent.encoded(encode_in_turn))
    metadata = DeliveryMetadata(destination.address, clock.reading())
    return keeping.courier.outbox.store(sent.event_id, bundle.payload, bundle.pictures, metadata)


#: What an event goes through on its caller's thread.
ON_THE_WAY = [
    *(f"delivery/{it}.py" for it in ("dispatch", "courier", "queues", "queue", "queued_event")),
    *(f"delivery/{it}.py" for it in ("housekeeping", "workers", "counters", "background")),
    "delivery/ready_events.py",
    *(f"outbox/{it}.py" for it in ("outbox", "slot", "entry_index", "journal", "disk")),
]


def test_a_dispatch_that_finds_no_memory_at_any_line_leaves_nothing_open(tmp_path):
    numbers, made = itertools.count(), []
    others = set(threading.enumerate())

    def lock_files():
        links = [it.readlink() for it in Path("/proc/self/fd").iterdir() if it.is_symlink()]
        return [it for it in links if it.name == ".lock" and it.is_relative_to(tmp_path)]

    def make():
        folder = tmp_path / str(next(numbers))
        made.append(Dispatch(DispatchLimits(folder)))

    for place, raised in each_line(ON_THE_WAY, make):
        if raised:
            assert not made, place
        else:
            made.pop().close(0.0)
        assert not lock_files(), place
        names = [it.name for it in set(threading.enumerate()) - others if it.is_alive()]
        assert "vision-event-housekeeping" not in names, place


def test_without_memory_at_any_line_an_event_arrives_if_and_only_if_it_is_taken(
    api, destination, dispatch_with, monkeypatch
):
    monkeypatch.setattr(upkeep, "COMPARE_EVERY_S", 0.0)
    keeping = dispatch_with()
    keeping.record(event(), destination)
    tried, taken = [], []

    def record():
        sent = event()
        tried.append(sent.event_id)
        keeping.record(sent, destination)
        taken.append(sent.event_id)

    for _ in each_line(ON_THE_WAY, record):
        pass

    assert len(tried) > len(taken) > 10
    eventually(lambda: set(taken) <= api.events.keys(), timeout_s=60)
    assert keeping.close(10).left == 0
    assert set(tried) & api.events.keys() == set(taken)
    totals = keeping.courier.outbox.journal.totals
    assert totals["stored"] == totals["delivered"] == len(taken) + 1

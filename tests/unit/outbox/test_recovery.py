"""What a killed process had in memory is stored by the next one: each event once, and whole."""

from __future__ import annotations

import errno
import os
import sys
import threading
from dataclasses import replace
from datetime import datetime, timezone

import numpy as np
import pytest

from tests.paths import paths_in
from vision_event_block.events.bundle import bundle_of
from vision_event_block.events.event import EventImage, VisionEvent
from vision_event_block.events.frames import Frame
from vision_event_block.events.images import Snapshot
from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.entry import Address, ClockReading, DeliveryMetadata
from vision_event_block.outbox.outbox import Outbox
from vision_event_block.outbox.quota import OutboxLimits
from vision_event_block.outbox.snapshot import take_snapshot
from vision_event_block.outbox.spool import MARK

DISK = RealDisk()
LIMITS = OutboxLimits(min_free_bytes=0)
METADATA = DeliveryMetadata(
    Address("api", "http://127.0.0.1:1", "key"), ClockReading(1_800_000_000.25, 7.0, "boot")
)


def event():
    pixels = np.random.default_rng(5).integers(0, 256, (70, 50, 3), np.uint8)
    image = EventImage(label="workflow", input=Snapshot(pixels=pixels, quality=90))
    now = datetime.now(timezone.utc)
    return VisionEvent(event_type="custom", use_case_id="dock", timestamp=now, images=(image,))


def encoded(sent):
    return bundle_of(sent.encoded(lambda all_: [each.encode() for each in all_]))


def killed(folder, work):
    """A process that does some work with an outbox and is killed, or was on the way."""
    pid = os.fork()
    if pid == 0:
        try:
            work(Outbox(folder, LIMITS))
        finally:
            os.kill(os.getpid(), 9)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9


def keep(outbox, *events):
    return [outbox.keep_in_memory(Frame.of(each, METADATA.to_json())) for each in events]


def store(outbox, sent):
    bundle = encoded(sent)
    outbox.store(sent.event_id, bundle.payload, bundle.pictures, METADATA)


def spool_files(folder):
    return paths_in(folder, "slots/*/spool-*")


@pytest.fixture
def adopting(folder):
    """The next process."""
    opened = []

    def open_and_adopt():
        opened.append(Outbox(folder, LIMITS))
        return opened[-1], opened[-1].adopt()

    yield open_and_adopt
    for each in opened:
        each.close()


def test_the_next_process_stores_what_was_in_memory(folder, adopting):
    one, two = event(), event()
    killed(folder, lambda outbox: keep(outbox, one, two))

    outbox, entries = adopting()

    assert {entry.event_id for entry in entries} == {one.event_id, two.event_id}
    assert all(entry.name.startswith("1800000000250-") for entry in entries)
    contents = {entry.event_id: outbox.read(entry) for entry in entries}
    for sent in (one, two):
        found = contents[sent.event_id]
        assert (found.payload, found.pictures) == (encoded(sent).payload, encoded(sent).pictures)
        assert found.metadata == METADATA
    assert not spool_files(folder)
    assert take_snapshot(folder, DISK).stored == 2


def test_what_was_stored_before_the_kill_is_there_once(folder, adopting):
    sent, gone, dropped = event(), event(), event()

    def work(outbox):
        keep(outbox, sent, gone, dropped)
        for each in (sent, gone, dropped):
            store(outbox, each)
        entries = {entry.event_id: entry for entry in outbox.entries()}
        outbox.delivered(entries[gone.event_id])
        outbox.drop(entries[dropped.event_id], "age")

    killed(folder, work)
    _, entries = adopting()

    assert [entry.event_id for entry in entries] == [sent.event_id]
    found = take_snapshot(folder, DISK)
    assert (found.stored, found.delivered, found.dropped) == (3, 1, {"age": 1})
    assert not spool_files(folder)


def test_what_was_released_is_not_there(folder, adopting):
    killed(folder, lambda outbox: keep(outbox, event())[0].release())
    assert adopting()[1] == []
    assert not spool_files(folder)


class Sorted(RealDisk):
    """A disk lists names in whatever order."""

    def names(self, folder):
        return sorted(super().names(folder))


@pytest.mark.parametrize("kept", [(0, 1), (1, 0), (1,)], ids=str)
@pytest.mark.parametrize("is_stored", [True, False], ids=["stored before", "in memory alone"])
def test_of_versions_in_memory_the_newest_is_the_one_that_counts(folder, is_stored, kept):
    is_in_the_sum = is_stored or 0 in kept  # else an earlier process has counted the first one
    versions = [event()]
    versions.append(replace(versions[0], version=1, comment="newer"))

    def work(outbox):
        if is_stored:
            store(outbox, versions[0])
        for number in kept:
            metadata = replace(METADATA, version=number, is_update=number > 0)
            outbox.keep_in_memory(Frame.of(versions[number], metadata.to_json()))

    killed(folder, work)
    outbox = Outbox(folder, LIMITS, disk=Sorted())
    [entry] = outbox.adopt()

    assert entry.version == 1
    assert outbox.read(entry).payload["comment"] == "newer"
    found = take_snapshot(folder, DISK)
    assert (found.stored + found.unstored, len(found.pending)) == (is_in_the_sum, 1)
    assert (found.stored >= is_stored, found.unaccounted) == (True, 0)
    assert not spool_files(folder)
    outbox.close()


def test_a_version_in_memory_whose_event_was_delivered_is_kept_beside_the_sum(folder, adopting):
    first = event()

    def work(outbox):
        store(outbox, first)
        outbox.delivered(outbox.entries()[0])
        metadata = replace(METADATA, version=1, is_update=True)
        outbox.keep_in_memory(Frame.of(replace(first, version=1), metadata.to_json()))

    killed(folder, work)
    _, [entry] = adopting()

    assert (entry.event_id, entry.version) == (first.event_id, 1)
    found = take_snapshot(folder, DISK)
    assert (found.stored, found.delivered, found.unaccounted) == (1, 1, 0)
    assert [file.is_update for file in found.pending] == [True]


def test_two_processes_that_adopt_store_it_once(folder, adopting):
    sent = [event() for _ in range(20)]
    killed(folder, lambda outbox: keep(outbox, *sent))
    found = []
    threads = [threading.Thread(target=lambda: found.extend(adopting()[1])) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found += adopting()[1]  # if the slot was taken just as the other one looked
    assert sorted(entry.event_id for entry in found) == sorted(each.event_id for each in sent)


def test_a_frame_that_a_power_cut_has_torn_is_counted_as_lost(folder, adopting, caplog):
    killed(folder, lambda outbox: keep(outbox, event(), event()))
    torn = spool_files(folder)[0]
    content = bytearray(torn.read_bytes())
    content[-8192:] = bytes(8192)
    torn.write_bytes(content)

    assert len(adopting()[1]) == 1
    found = take_snapshot(folder, DISK)
    assert found.dropped == {"lost": 1}
    assert "in memory when the power was cut" in caplog.text
    assert not spool_files(folder)


def test_a_frame_of_another_version_is_left_alone_and_named(folder, adopting, caplog):
    killed(folder, lambda outbox: keep(outbox, event(), event()))
    [other, _] = spool_files(folder)
    content = other.read_bytes()
    other.write_bytes(MARK[:-1] + b"9" + content[len(MARK) :])

    assert len(adopting()[1]) == 1
    assert spool_files(folder) == [other]
    assert f"{other} stays in the outbox" in caplog.text
    assert adopting()[1] == []

    other.write_bytes(content)  # that version is back
    assert len(adopting()[1]) == 1
    assert not spool_files(folder)


def test_on_a_full_disk_it_waits_until_there_is_space(folder, disk):
    sent = event()
    killed(folder, lambda outbox: keep(outbox, sent))
    disk.fail("write", ".tar.tmp", errno.ENOSPC)
    outbox = Outbox(folder, LIMITS, disk=disk)
    assert outbox.adopt() == []
    assert len(spool_files(folder)) == 1

    disk.heal()
    assert [entry.event_id for entry in outbox.adopt()] == [sent.event_id]
    outbox.close()


def lines_until_kill(number):
    """Has the process killed at the so many-th line of the package that it comes to."""
    left = [number]

    def trace(frame, _, __):
        if "vision_event_block" not in frame.f_code.co_filename:
            return None
        return local

    def local(_, kind, __):
        if kind == "line":
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), 9)
        return local

    return trace, left


def test_killed_at_any_line_of_the_copy_it_is_whole_or_not_there(folder, adopting):
    sent = event()
    expected = encoded(sent)
    seen = []

    def work(outbox, number):
        trace, left = lines_until_kill(number)
        sys.settrace(trace)
        keep(outbox, sent)
        sys.settrace(None)
        (folder.parent / "through").write_text(str(left[0]))

    for number in range(1, 2000, 3):
        killed(folder, lambda outbox, number=number: work(outbox, number))
        outbox, entries = adopting()
        assert len(entries) <= 1
        for entry in entries:
            found = outbox.read(entry)
            assert (found.payload, found.pictures) == (expected.payload, expected.pictures)
            outbox.delivered(entry)
        seen.append(len(entries))
        assert not spool_files(folder)
        outbox.close()
        if (folder.parent / "through").exists():
            break
    assert seen[-1] == 1
    assert 20 < len(seen) < 666
    assert seen == sorted(seen), "it was there, and at a later line it was not"


def test_killed_at_any_line_of_the_recovery_it_is_stored_once(folder, adopting):
    trials = 0
    for number in range(1, 4000, 17):
        trials += 1
        sent = event()
        killed(folder, lambda outbox, sent=sent: keep(outbox, sent))

        def recover(outbox, number=number):
            trace, _ = lines_until_kill(number)
            sys.settrace(trace)
            outbox.adopt()
            sys.settrace(None)
            (folder.parent / "through").touch()

        killed(folder, recover)
        outbox, entries = adopting()
        assert [entry.event_id for entry in entries] == [sent.event_id]
        outbox.delivered(entries[0])
        outbox.close()
        if (folder.parent / "through").exists():
            break
    assert 20 < trials < 235
    found = take_snapshot(folder, DISK)
    assert (found.stored, found.delivered, found.dropped) == (trials, trials, {})
    assert not found.pending


def test_without_an_image_library_it_is_left_to_the_host(folder, adopting, caplog, monkeypatch):
    killed(folder, lambda outbox: keep(outbox, event()))
    with monkeypatch.context() as alone:
        alone.delitem(sys.modules, "vision_event_block.events.frames")
        alone.setitem(sys.modules, "vision_event_block.events.images", None)
        assert adopting()[1] == []
    assert "encoding its pictures needs the host" in caplog.text
    assert len(spool_files(folder)) == 1
    assert len(adopting()[1]) == 1

"""An outbox that version 0.1.0 left behind, when it was killed, is taken over whole."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.entry import Address, ClockReading
from vision_event_block.outbox.operator_outbox import OperatorOutbox
from vision_event_block.outbox.quota import OutboxLimits
from vision_event_block.outbox.snapshot import take_snapshot

ARCHIVE = Path(__file__).with_name("outbox-0.1.0.tar.gz")


@pytest.fixture
def folder(tmp_path):
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path)
    return tmp_path / "outbox"


def assert_sum(folder, **expected):
    found = take_snapshot(folder, RealDisk())
    assert found.unaccounted == 0
    shown = {
        "stored": found.stored,
        "delivered": found.delivered,
        "pending": len(found.pending),
        "dead": len(found.dead),
        "corrupt": len(found.corrupt),
    }
    assert shown == expected


def test_what_waits_there_is_adopted_and_counted(folder):
    assert_sum(folder, stored=7, delivered=2, pending=2, dead=1, corrupt=2)
    box = OperatorOutbox(folder, OutboxLimits(min_free_bytes=0))
    urgent, begun = box.adopt()

    assert (urgent.event_id, urgent.metadata.is_urgent) == ("urgent", True)
    assert urgent.metadata.address == Address("api", "http://127.0.0.1:9", "0123456789ab")
    assert urgent.metadata.taken == ClockReading(1_790_000_000.0, 50.0, "11111111-1111")
    contents = box.read(begun)
    assert contents.payload["eventId"] == "begun"
    assert contents.pictures == {
        "images/begun-o.jpg": b"o picture of begun",
        "images/begun-i.jpg": b"i picture of begun",
    }
    assert box.progress(begun) == {"images/begun-o.jpg": "source-1"}
    for entry in (urgent, begun):
        box.delivered(entry)
    assert_sum(folder, stored=7, delivered=4, pending=0, dead=1, corrupt=2)
    assert list((folder / "slots").iterdir()) == [box.slot_folder]
    box.close()


def test_its_dead_letters_and_what_it_set_aside_come_back(folder):
    box = OperatorOutbox(folder, OutboxLimits(min_free_bytes=0))
    box.adopt()
    (dead_letter_reason,) = (folder / "dead").glob("*.tar")
    (refused,) = box.adopt_dead([dead_letter_reason.name])
    (condemned,) = box.recheck()
    box.do_housekeeping()  # nothing is too old: its clock was another start's

    for entry in (refused, condemned):
        assert box.read(entry).payload["eventId"] == entry.event_id
    assert_sum(folder, stored=7, delivered=2, pending=4, dead=0, corrupt=1)
    box.close()

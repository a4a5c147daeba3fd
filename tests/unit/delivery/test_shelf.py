"""The outbox as the courier uses it, also where there is none or its disk refuses."""

from __future__ import annotations

import errno

import pytest

from vision_event_block.delivery.errors import RejectedError
from vision_event_block.delivery.parcel import Parcel
from vision_event_block.delivery.shelf import Shelf
from vision_event_block.outbox import clock
from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.entry import Address, Contents, Notes
from vision_event_block.outbox.outbox import Outbox

ADDRESS = Address("api", "http://127.0.0.1:9", "abc")
PAYLOAD = {"images": [], "timestamp": "2026-01-01T00:00:00+00:00"}
REFUSED = RejectedError("no such use case", route="POST /vision-events", status=400)


class StubbornDisk(RealDisk):
    """A disk that removes and moves nothing any more."""

    is_stubborn = False

    def remove(self, path):
        if self.is_stubborn:
            raise OSError(errno.EROFS, "Read-only file system")
        super().remove(path)

    def rename(self, source, target):
        if self.is_stubborn:
            raise OSError(errno.EROFS, "Read-only file system")
        super().rename(source, target)


@pytest.fixture
def disk():
    return StubbornDisk()


@pytest.fixture
def outbox(tmp_path, disk):
    outbox = Outbox(tmp_path / "outbox", disk=disk)
    yield outbox
    disk.is_stubborn = False
    outbox.close()


@pytest.fixture
def parcel(outbox):
    notes = Notes(ADDRESS, clock.moment())
    return Parcel("a", ADDRESS, outbox.store("a", PAYLOAD, {}, notes))


def test_an_event_is_fetched_once_it_can_be_claimed_and_read(outbox, parcel):
    shelf = Shelf(outbox)
    assert shelf.fetch(parcel)
    assert parcel.contents.payload == PAYLOAD
    outbox.drop(parcel.entry, "operator")
    assert not shelf.fetch(parcel)


def test_a_damaged_event_is_not_fetched(outbox, parcel):
    (outbox.slot_folder / parcel.entry.name).write_bytes(b"damaged")
    assert not Shelf(outbox).fetch(parcel)


def test_what_is_up_is_known_again_only_for_an_event_of_the_backlog(outbox, parcel):
    shelf = Shelf(outbox)
    outbox.note_progress(parcel.entry, {"images/a.jpg": "source-1"})
    assert shelf.fetch(parcel)
    assert parcel.source_ids == {}
    shelf.put_back(parcel)
    parcel.is_backlog = True
    assert shelf.fetch(parcel)
    assert parcel.source_ids == {"images/a.jpg": "source-1"}


def test_progress_is_written_when_there_is_more_of_it(outbox, parcel):
    shelf = Shelf(outbox)
    shelf.fetch(parcel)
    shelf.put_back(parcel)
    assert list(outbox.slot_folder.glob("*.state.json")) == []
    parcel.source_ids["images/a.jpg"] = "source-1"
    shelf.put_back(parcel)
    (state,) = outbox.slot_folder.glob("*.state.json")
    state.unlink()
    shelf.put_back(parcel)
    assert not state.exists()
    parcel.source_ids["images/b.jpg"] = "source-2"
    shelf.put_back(parcel)
    assert outbox.progress(parcel.entry) == parcel.source_ids


def test_an_event_that_is_put_back_may_be_handed_to_another_process(outbox, parcel):
    shelf = Shelf(outbox)
    shelf.fetch(parcel)
    assert not outbox.claim(parcel.entry)
    shelf.put_back(parcel)
    assert outbox.claim(parcel.entry)


def test_a_disk_that_refuses_makes_no_event_unsent_and_is_named(outbox, parcel, disk, caplog):
    shelf = Shelf(outbox)
    disk.is_stubborn = True
    shelf.take_off(parcel)
    shelf.bury(parcel, REFUSED)
    assert outbox.entries() == []
    assert "cannot be moved now: [Errno 30] Read-only file system" in caplog.text


def test_an_event_in_memory_alone_needs_no_outbox(outbox):
    contents = Contents(PAYLOAD, {}, Notes(ADDRESS, clock.moment()))
    for shelf in (Shelf(None), Shelf(outbox)):
        parcel = Parcel("b", ADDRESS, contents=contents, source_ids={"images/a.jpg": "source-1"})
        assert shelf.fetch(parcel)
        shelf.put_back(parcel)
        shelf.take_off(parcel)
        shelf.bury(parcel, REFUSED)
    assert [path.name for path in (outbox.folder / "dead").iterdir()] == []


def test_a_stored_event_is_not_fetched_while_there_is_no_outbox(parcel):
    assert not Shelf(None).fetch(parcel)

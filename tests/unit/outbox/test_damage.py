"""Only damage is damage: a file is set aside for what is in it, and for nothing else."""

from __future__ import annotations

import resource

import pytest

from tests.unit.outbox.test_quota import METADATA
from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.entry import (
    Address,
    ClockReading,
    Corrupt,
    DeliveryMetadata,
    pack,
    unpack,
)
from vision_event_block.outbox.operator_outbox import OperatorOutbox
from vision_event_block.outbox.quota import OutboxLimits

LIMITS = OutboxLimits(min_free_bytes=0)
PAYLOAD = {"images": [{"file": "images/o.jpg"}]}


class ShortOfMemory(RealDisk):
    """Once a file is read, this process gets hardly any more memory."""

    is_short = False

    def read(self, path):
        content = super().read(path)
        if self.is_short and path.suffix == ".tar":
            _, hard = resource.getrlimit(resource.RLIMIT_AS)
            with open("/proc/self/statm") as file:  # noqa: PTH123 -- no path of ours
                pages = int(file.read().split()[0])
            room_bytes = 32 * 2**20
            limit = pages * resource.getpagesize() + room_bytes
            resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
        return content


@pytest.fixture
def limited():
    before = resource.getrlimit(resource.RLIMIT_AS)
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.usefixtures("limited")
def test_an_event_that_is_read_with_too_little_memory_stays_where_it_is(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_AS)
    disk = ShortOfMemory()
    box = OperatorOutbox(tmp_path / "outbox", LIMITS, disk=disk)
    picture = bytes(96 * 2**20)
    entry = box.store("e", PAYLOAD, {"images/o.jpg": picture}, METADATA)
    disk.is_short = True
    with pytest.raises(MemoryError):
        box.read(entry)
    disk.is_short = False
    resource.setrlimit(resource.RLIMIT_AS, before)

    assert list((box.folder / "corrupt").iterdir()) == []
    assert box.read(entry).pictures["images/o.jpg"] == picture
    box.close()


def test_what_was_set_aside_and_is_whole_comes_back_and_the_rest_stays(tmp_path):
    box = OperatorOutbox(tmp_path / "outbox", LIMITS)
    whole, damaged = (
        box.store(name, {"images": []}, {}, METADATA) for name in ("whole", "damaged")
    )
    content = (box.slot_folder / whole.name).read_bytes()
    for entry in (whole, damaged):
        (box.slot_folder / entry.name).write_bytes(b"no tar")
        assert box.read(entry) is None
    (box.folder / "corrupt" / whole.name).write_bytes(content)

    (again,) = box.recheck()
    assert again.event_id == "whole"
    assert box.read(again).payload == {"images": []}
    assert [path.name for path in (box.folder / "corrupt").iterdir()] == [damaged.name]
    assert box.recheck() == []
    box.close()


@pytest.mark.parametrize("place", ['{"address":{', '"taken":{', '"shed":{}'])
def test_notes_of_a_later_version_are_no_damage(place):
    metadata = DeliveryMetadata(
        Address("api", "http://api.invalid", "k"), ClockReading(1.8e9, 1.0, "boot")
    )
    later = f'{place}"colour":"red",' if place.endswith("{") else f'{place},"colour":"red"'
    text = metadata.to_json()
    assert place in text
    assert DeliveryMetadata.from_json(text.replace(place, later)) == metadata


@pytest.mark.parametrize("length_bytes", [0, 1, 511, 512, 1024, 1540])
def test_a_file_that_was_cut_is_damaged(length_bytes):
    tar = b"".join(pack(b'{"images":[]}', {}, METADATA))
    assert len(tar) > 1540
    with pytest.raises(Corrupt):
        unpack(tar[:length_bytes])

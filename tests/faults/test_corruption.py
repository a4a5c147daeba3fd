"""Damage on the disk never stops a start, and costs at most the event that it hits."""

from __future__ import annotations

import os
import shutil
from random import Random

import pytest

from vision_event_block.outbox.entry import Address, ClockReading, DeliveryMetadata
from vision_event_block.outbox.operator_outbox import OperatorOutbox
from vision_event_block.outbox.owner_status import OwnerStatus

STARTS = 5_000 if float(os.environ.get("TEST_SOAK", "1")) > 1 else 200
EVENTS = [f"event-{number}" for number in range(5)]
METADATA = DeliveryMetadata(
    Address("api", "http://api.invalid", "k"), ClockReading(1_800_000_000.0, 1.0, "boot")
)
SOURCE_IDS = {"images/o.jpg": "source-1"}


def flip(data, spot, random):
    return data[:spot] + bytes([data[spot] ^ (1 << random.randrange(8))]) + data[spot + 1 :]


def cut(data, spot, _):
    return data[:spot]


def blank(data, spot, random):
    length = min(random.choice([1, 16, 512, 4096]), len(data) - spot)
    return data[:spot] + bytes(length) + data[spot + length :]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    """An outbox whose process is gone: four pending events, one dead letter."""
    folder = tmp_path_factory.mktemp("healthy") / "outbox"
    box = OperatorOutbox(folder)
    for event_id in EVENTS:
        payload = {"eventId": event_id, "images": [{"file": "images/o.jpg"}]}
        entry = box.store(event_id, payload, {"images/o.jpg": event_id.encode() * 200}, METADATA)
        box.note_progress(entry, SOURCE_IDS)
    box.move_to_dead_letters(entry, {"reason": "no such use case"})
    box.write_status(OwnerStatus(1))
    box.close()
    return folder


@pytest.mark.timeout(1_200)
def test_damage_at_a_random_spot_costs_at_most_the_event_it_hits(healthy, tmp_path):
    hit = set()
    for seed in range(STARTS):
        random = Random(seed)
        folder = tmp_path / str(seed)
        shutil.copytree(healthy, folder)
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
        path = random.choice(files)
        data = path.read_bytes()
        damage = random.choice([flip, cut, blank])
        path.write_bytes(damage(data, random.randrange(len(data)), random))
        hit.add("".join(path.suffixes) or path.name)
        touched = [event_id for event_id in EVENTS if f"-{event_id}.tar" in path.name]

        box = OperatorOutbox(folder)
        box.adopt()
        box.adopt_dead([path.name for path in (folder / "dead").glob("*.tar")])
        read = {}
        for entry in box.entries():
            assert box.progress(entry) in ({}, SOURCE_IDS), seed
            contents = box.read(entry)
            if contents is not None:
                read[entry.event_id] = contents
        aside = [path.name for path in (folder / "corrupt").iterdir()]
        box.close()
        assert {event_id for event_id in EVENTS if event_id not in touched} <= read.keys(), seed
        assert len(read) + len(aside) == len(EVENTS), seed
        for event_id, contents in read.items():
            assert contents.payload["eventId"] == event_id, seed
            assert contents.pictures == {"images/o.jpg": event_id.encode() * 200}, seed
            assert contents.metadata == METADATA, seed
        shutil.rmtree(folder)
    assert hit == {".tar", ".state.json", ".json", "journal", "ballast"}

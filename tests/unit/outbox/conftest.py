"""One outbox, for as many processes as a test wants, on a disk that fails where it is told to."""

from __future__ import annotations

import itertools

import pytest

from tests.unit.outbox.faulty_disk import FaultyDisk
from vision_event_block.outbox import clock
from vision_event_block.outbox.operator_outbox import OperatorOutbox
from vision_event_block.outbox.quota import OutboxLimits

NOW_S = 1_800_000_000.0


@pytest.fixture
def disk():
    return FaultyDisk()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "outbox"


@pytest.fixture
def opened(folder):
    """Opens the outbox as one more process has it; closed after the test.

    By its clock a second passes whenever it is looked at.
    """
    boxes = []

    def open_(*, disk=None, now=None, uptime=clock.uptime_s, **limits):
        now = now or itertools.count(NOW_S).__next__
        limits = OutboxLimits(**{"min_free_bytes": 0, **limits})
        boxes.append(OperatorOutbox(folder, limits, disk=disk, now=now, uptime=uptime))
        return boxes[-1]

    yield open_
    for box in boxes:
        box.close()

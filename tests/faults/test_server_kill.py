"""A server's store that is killed in the middle of whatever it does."""

from __future__ import annotations

import hashlib
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta, timezone

import pytest

from tests.faults.server_child import OVERWRITTEN, USE_CASE
from tests.waiting import eventually
from vision_event_block.server.storage import Store
from vision_event_block.server.store.filters import Detection, Filters

pytestmark = pytest.mark.timeout(600)

KILLS = 20
KILLS_WHILE_ROOM_IS_MADE = 5
#: For pictures, beside what the database takes at the start of a life: a few.
ROOM_BYTES = 120_000


def test_what_was_put_is_there_however_often_the_process_is_killed(tmp_path):
    chance = random.Random(11)
    printed = {}
    for life in range(KILLS):
        said = _killed_life(tmp_path / "data", life, chance)
        printed.update({event_id: rest for event_id, *rest in said})

    assert len(printed) > 2 * KILLS
    (checked,) = sqlite3.connect(tmp_path / "data" / "vision-events.db").execute(
        "PRAGMA integrity_check"
    )
    assert checked == ("ok",)
    with Store.open(tmp_path / "data", lookback_days=None) as store:
        for event_id, (picture_id, digest) in printed.items():
            stored = store.get(event_id)
            assert stored is not None, event_id
            if event_id not in OVERWRITTEN:
                assert stored.body["images"] == [
                    {"sourceId": picture_id, "classifications": [{"class": "a"}]}
                ]
            content = store.pictures.get(picture_id).path.read_bytes()
            assert hashlib.sha256(content).hexdigest() == digest
        _counts_agree(store)
        _nothing_is_left_over(store, tmp_path / "data")


def test_no_file_is_orphaned_and_no_event_points_at_nothing_when_room_is_made(tmp_path):
    chance = random.Random(12)
    printed = {}
    for life in range(KILLS_WHILE_ROOM_IS_MADE):
        said = _killed_life(tmp_path / "data", life, chance, str(ROOM_BYTES))
        printed.update({event_id: rest for event_id, *rest in said})

    later = datetime.now(timezone.utc) + timedelta(days=2)
    with Store.open(tmp_path / "data", lookback_days=None, clock=lambda: later) as store:
        store.clean_up()
        expected, shed = set(), 0
        for event in store.walk(Filters(use_case_id=USE_CASE)):
            [picture_id] = {image["sourceId"] for image in event.body["images"]}
            known = store.pictures.info_of_many([picture_id], also_shed=True)[picture_id]
            if known.shed_at is None:
                expected.add(picture_id)
                content = store.pictures.get(picture_id).path.read_bytes()
                digests = [digest for one, digest in printed.values() if one == picture_id]
                assert digests in ([], [hashlib.sha256(content).hexdigest()])
            else:
                shed += 1
        assert shed
        files = {path.stem for path in (tmp_path / "data" / "pictures").glob("??/*")}
        assert files == expected
        assert store.sizes().pictures == len(files)
        _counts_agree(store)


def _killed_life(folder, life, chance, *more):
    """What a child said until it was killed: while it started, or after up to ten events."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.server_child", folder, str(life), *more],
        stdout=subprocess.PIPE,
        text=True,
    )
    lines = []

    def read():
        for line in child.stdout:
            lines.append(line)  # noqa: PERF402 - who waits counts them meanwhile

    reader = threading.Thread(target=read)
    reader.start()
    if life % 5:
        count = chance.randint(1, 10)
        eventually(lambda: len(lines) >= count)
        time.sleep(chance.uniform(0.0, 0.1))
    else:
        time.sleep(chance.uniform(0.0, 0.6))
    child.send_signal(signal.SIGKILL)
    assert child.wait(10) == -signal.SIGKILL
    reader.join(10)
    child.stdout.close()
    # The last line may have been cut.
    return [line.rstrip("\n").split("\t") for line in lines if line.endswith("\n")]


def _counts_agree(store):
    """All ways to count come to the same."""
    everything = Filters(use_case_id=USE_CASE)
    events = sum(1 for _ in store.walk(everything))
    assert store.use_cases.get(USE_CASE).event_count == events
    assert store.timeline(everything, buckets=1).event_count == events
    assert store.count(Filters(use_case_id=USE_CASE, detections=(Detection(("a",)),))) == events


def _nothing_is_left_over(store, folder):
    """Once pictures without an event are swept, every file belongs to an event."""
    kept = {
        image["sourceId"]
        for event in store.walk(Filters(use_case_id=USE_CASE))
        for image in event.body["images"]
    }
    later = datetime.now(timezone.utc) + timedelta(days=2)
    with Store.open(folder, lookback_days=None, clock=lambda: later) as sweeping:
        sweeping.clean_up()
    files = {path.stem for path in (folder / "pictures").glob("??/*")}
    assert files == kept

"""A disk that is full for a while, with the API up."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from tests.faults import full_disk_child, worker
from tests.faults.judge import inspect, judge, read_logs
from vision_event_block.delivery.dispatch import REOPEN_EVERY_S

EVERY_S = 0.05
FULL_FROM, FULL_UNTIL = 20, 80
BACK_WITHIN_S = REOPEN_EVERY_S + 1
EVENTS = FULL_UNTIL + int(BACK_WITHIN_S / EVERY_S) + 20


@pytest.fixture
def full_task(task):
    return replace(
        task,
        events=EVENTS,
        every_s=EVERY_S,
        picture_bytes=50_000,  # two of them are more than `worker.SMALL_FILE_BYTES`
        full_from=FULL_FROM,
        full_until=FULL_UNTIL,
        ends="drain",
    )


def test_events_go_from_memory_while_files_cannot_grow(nursery, api, full_task):
    task = replace(full_task, full="file size")

    status = nursery.wait(nursery.start(task))

    assert_full_for_a_while(status, api, task)
    judge(nursery, api, task)


def test_events_go_from_memory_while_the_disk_has_no_room(api, full_task, tmp_path):
    mount = tmp_path / "disk"
    mount.mkdir()
    task = replace(full_task, full="room", outbox=str(mount / "outbox"))
    script = 'mount -t tmpfs -o size=8m none "$1" && exec "$2" "$3" "$4"'
    command = [*own_mounts(), "sh", "-c", script, "sh", mount, sys.executable]
    command += [worker.__file__, json.dumps(asdict(task))]

    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)

    assert "Traceback" not in done.stderr, done.stderr
    assert_full_for_a_while(done.returncode, api, task)
    inspect(api, task)


def test_without_a_free_byte_pictures_are_shed_and_every_command_works(api, tmp_path):
    mount, stick = tmp_path / "disk", tmp_path / "stick"
    mount.mkdir()
    script = 'mount -t tmpfs -o size=8m none "$1" && exec "$2" "$3" "$1" "$4" "$5"'
    command = [*own_mounts(), "sh", "-c", script, "sh", mount, sys.executable]
    command += [full_disk_child.__file__, stick, api.url]

    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["free_bytes"] == [0] * 5
    # Dead letters give their pictures first, and then the oldest events their originals.
    assert told["shed"] == 4
    assert 0 < told["whole"] < 25
    assert told["drop"] == [0, "Dropped: 1 event\n"]
    assert told["requeue"] == [0, "Requeued: 2 events\n"]
    # 20 and 5 and 2, without the one that was dropped.
    assert told["export"][0] == 0, told["export"]
    assert len(list(stick.glob("*.tar.gz"))) == 26
    assert told["drain"][0] == 0, told["drain"]
    assert api.events.keys() == set(told["after"])
    assert told["counts"] == [30, 3, 27]
    assert told["unaccounted"] == 0


def own_mounts():
    """The beginning of a command that may mount; its mounts end with it."""
    for command in (
        ["unshare", "--map-root-user", "--mount"],
        ["sudo", "-n", "unshare", "--mount"],
    ):
        if shutil.which(command[0]):
            trial = [*command, "mount", "-t", "tmpfs", "none", "/mnt"]
            if not subprocess.run(trial, capture_output=True, timeout=60, check=False).returncode:
                return command
    pytest.skip("nobody may mount a file system here")


def assert_full_for_a_while(status, api, task):
    """Fails unless nothing raised, every event arrived, and storing went on in time."""
    logs = read_logs(task.logs)
    [order] = [ids for ids in logs.order.values() if len(ids) == EVENTS]
    assert status == 0
    assert not logs.refused
    assert set(order) <= api.events.keys()
    back = next(number for number in range(FULL_UNTIL, EVENTS) if order[number] in logs.stored)
    back_s = (back - FULL_UNTIL) * EVERY_S
    print(f"{len(logs.kept)} events from memory, stored again after {back_s:.2f} s")  # noqa: T201 -- seen with -s
    assert set(order[:FULL_FROM]) <= logs.stored
    assert set(order[FULL_FROM:FULL_UNTIL]) == logs.kept - set(order[FULL_UNTIL:])
    assert set(order[back:]) <= logs.stored
    assert back_s < BACK_WITHIN_S

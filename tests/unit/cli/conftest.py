"""A real outbox folder, processes that own slots in it, and the command line beside them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from tests.unit.cli.entries import KEY, LIMITS, PICTURE, address_of, move_to_dead_letters, store
from vision_event_block import settings
from vision_event_block.cli.commands import app
from vision_event_block.outbox.outbox import Outbox

OWNER = """
import json, os, sys, time
from pathlib import Path
from vision_event_block.outbox.outbox import Outbox
from vision_event_block.outbox.quota import OutboxLimits
from vision_event_block.outbox.entry import unpack
outbox = Outbox(Path(sys.argv[1]), OutboxLimits(min_free_bytes=0))
for name in json.loads(sys.argv[2]):
    contents = unpack(Path(name).read_bytes())
    event_id = contents.payload["eventId"]
    entry = outbox.store(event_id, contents.payload, contents.pictures, contents.metadata)
    if event_id in sys.argv[3]:
        outbox.claim(entry)
status = {"pid": os.getpid(), "destinations": json.loads(sys.argv[4])}
(outbox.slot_folder / "status.json").write_text(json.dumps(status))
print("ready", flush=True)
for _ in range(3000):
    outbox.hand_over()
    time.sleep(0.02)
"""


@pytest.fixture(autouse=True)
def environment(api, tmp_path, monkeypatch):
    """What a device's environment holds, and settings read anew by each command."""
    monkeypatch.setenv("ROBOFLOW_API_KEY", KEY)
    monkeypatch.setenv("VISION_EVENT_API_URL", api.url)
    monkeypatch.setenv("VISION_EVENT_OUTBOX", str(tmp_path / "outbox"))
    monkeypatch.setenv("VISION_EVENT_OUTBOX_MIN_FREE_BYTES", "0")
    monkeypatch.setenv("VISION_EVENT_CONNECT_TIMEOUT_S", "1")
    monkeypatch.setenv("VISION_EVENT_READ_TIMEOUT_S", "2")
    monkeypatch.setenv("VISION_EVENT_MAX_BACKOFF_S", "0.2")
    settings.current.cache_clear()
    umask = os.umask(0o022)  # the commands of the server set their own
    yield
    os.umask(umask)
    settings.current.cache_clear()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "outbox"


@pytest.fixture
def run():
    """The command line in this process: exit code and what was printed."""

    def call(*arguments):
        settings.current.cache_clear()
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert KEY not in result.output
        return result

    return call


@pytest.fixture
def orphans(folder, api):
    """Events of a process that is gone."""

    def leave(count=1, *, dead=0, address=None, picture=PICTURE):
        outbox = Outbox(folder, LIMITS)
        where = address or address_of(api.url)
        entries = store(outbox, where, count, picture)
        dead_letters = store(outbox, where, dead)
        for entry in dead_letters:
            move_to_dead_letters(outbox, entry)
        outbox.close()
        return entries, dead_letters

    return leave


@pytest.fixture
def owner(folder, api, tmp_path):
    """A living process with events in its slot, which hands over what it is asked for."""
    processes = []

    def start(count=1, *, sending=(), destinations=()):
        other = Outbox(tmp_path / "elsewhere", LIMITS)
        entries = store(other, address_of(api.url), count)
        paths = [str(other.slot_folder / entry.name) for entry in entries]
        ids = [entry.event_id for entry in entries]
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                OWNER,
                str(folder),
                json.dumps(paths),
                " ".join(ids[index] for index in sending),
                json.dumps(list(destinations)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout.readline() == "ready\n"
        other.close()
        return ids, process

    yield start
    for process in processes:
        process.kill()
        process.communicate(timeout=10)

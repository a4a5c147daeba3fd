"""The ways out of each dead end: to another use case, another key, a stick, or a try at once."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from datetime import datetime

import pytest
from typer.testing import CliRunner

from tests.unit.cli.entries import KEY, PICTURE, accounts, address_of, real_run
from tests.waiting import eventually
from vision_event_block.cli.commands import app
from vision_event_block.contract.archives import read_archive

OLD_KEY = "the_key_of_last_year"
#: A host's process: it sends what is in the outbox with the key of its environment.
HOST = """
import sys
from pathlib import Path
from vision_event_block.delivery.client import Secret, VisionEventsClient
from vision_event_block.delivery.courier_limits import CourierLimits
from vision_event_block.delivery.destinations import ApiDestination
from vision_event_block.delivery.dispatch import Dispatch, DispatchLimits
from vision_event_block.outbox.quota import OutboxLimits
limits = DispatchLimits(
    Path(sys.argv[1]), OutboxLimits(min_free_bytes=0), CourierLimits(key_retry_s=3600.0)
)
dispatch = Dispatch(limits)
key = Secret(sys.argv[3])
dispatch.courier.register(
    ApiDestination(VisionEventsClient(base_url=sys.argv[2], api_key=key), sys.argv[2], key)
)
print("ready", flush=True)
sys.stdin.readline()
dispatch.close(2.0)
"""


@pytest.fixture
def host(folder, api):
    """Starts such a process."""
    processes = []

    def start(key=KEY):
        process = subprocess.Popen(
            [sys.executable, "-c", HOST, str(folder), api.url, key],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in processes:
        process.communicate("\n", timeout=60)


def test_dead_letters_are_sent_to_the_right_use_case(run, orphans, api):
    _, (first, second) = orphans(0, dead=2)
    assert "requeue --all" in run("list", "--dead").output
    assert "--use-case ID" in run("status").output

    assert run("requeue", first.event_id, "--use-case", "line-5").exit_code == 0
    assert run("drain").exit_code == 0
    assert api.events[first.event_id]["useCaseId"] == "line-5"
    assert api.picture_of(api.events[first.event_id], "output") == PICTURE + (
        first.event_id.encode()
    )

    assert real_run("requeue", "--all", "--use-case", "line-6").returncode == 0
    assert run("drain").exit_code == 0
    assert api.events[second.event_id]["useCaseId"] == "line-6"
    found = accounts(run)
    assert (found["stored"], found["delivered"], found["unaccounted"]) == (2, 2, 0)
    assert run("requeue", "--use-case", "line-7").exit_code == 2


def test_events_of_a_key_that_is_gone_are_sent_with_the_new_one_after_a_question(run, orphans, api):
    (gone, gone_too), _ = orphans(2, address=address_of(api.url, OLD_KEY))
    (ours,), _ = orphans(1)
    result = run("drain")
    assert "vision-events requeue --key-from-environment" in result.output
    assert set(api.events) == {ours.event_id}

    refused = CliRunner().invoke(app, ["requeue", "--key-from-environment"], input="n\n")
    assert refused.exit_code == 1
    assert f"Send 2 events that wait for {api.url} (key " in refused.output
    assert accounts(run)["pending"] == 2

    agreed = CliRunner().invoke(app, ["requeue", "--key-from-environment"], input="y\n")
    assert (agreed.exit_code, "Requeued: 2 events" in agreed.output) == (0, True)
    assert run("drain").exit_code == 0
    assert set(api.events) == {ours.event_id, gone.event_id, gone_too.event_id}
    assert accounts(run)["unaccounted"] == 0
    again = run("requeue", "--key-from-environment")
    assert (again.exit_code, again.output) == (0, "Requeued: 0 events\n")


def test_a_running_host_gives_events_of_another_key_away_and_sends_them(run, orphans, host, api):
    orphans(2, address=address_of(api.url, OLD_KEY))
    host()
    eventually(lambda: ": no process with this key" in run("status").output)
    assert run("status").exit_code == 1

    assert real_run("requeue", "--key-from-environment", "--yes").returncode == 0

    eventually(lambda: len(api.events) == 2)


def test_dead_letters_are_exported_and_counted(run, orphans, folder, tmp_path):
    (waiting,), (dead,) = orphans(1, dead=1)
    result = run("export", tmp_path / "stick", "--dead")
    assert result.exit_code == 0, result.output
    (archive,) = (tmp_path / "stick").glob("*.tar.gz")
    assert read_archive(archive.read_bytes()).payload["eventId"] == dead.event_id
    found = accounts(run)
    assert (found["pending"], found["dead"], found["dropped"]) == (1, 0, {"exported": 1})
    assert found["unaccounted"] == 0
    assert waiting.event_id in run("list").output
    assert list((folder / "dead").iterdir()) == []


def test_a_dead_letter_that_cannot_be_written_stays_one(run, orphans, tmp_path):
    _, (dead,) = orphans(0, dead=1)
    shown = json.loads(run("show", dead.event_id).output)
    taken = datetime.fromisoformat(shown["payload"]["timestamp"])
    name = f"event_{taken:%Y%m%dT%H%M%S_%f}_{dead.event_id}.tar.gz"
    (tmp_path / name).write_bytes(b"another file")
    result = run("export", tmp_path, "--dead")
    assert (result.exit_code, "cannot be written" in result.output) == (1, True)
    assert accounts(run)["dead"] == 1


def test_a_running_host_tries_at_once_after_the_key_was_fixed(run, orphans, host, api, folder):
    api.refuse_key(KEY)
    orphans(1)
    host()
    eventually(lambda: run("status").output.find(": key refused since") > 0)
    assert "then vision-events retry" in " ".join(run("status").output.split())

    still = run("retry")
    assert (still.exit_code, ": key refused" in still.output) == (1, True)
    api.allow(KEY)
    fixed = real_run("retry")

    assert fixed.returncode == 0, fixed.stdout
    assert fixed.stdout.startswith("All well: ")
    eventually(lambda: len(api.events) == 1)
    assert not list(folder.glob("slots/*/retry"))


def test_a_retry_that_nobody_takes_is_withdrawn_and_said(run, owner, orphans, folder):
    orphans(1)
    assert "No process is running here" in run("retry").output
    owner(1)  # of a version that does not know the request
    result = run("retry", "--patience", 0.3)
    assert (result.exit_code, "did not take the request: 1\n" in result.output) == (1, True)
    assert not list(folder.glob("slots/*/retry"))


def test_a_drain_takes_the_request_too(run, orphans, api):
    orphans(1)
    with api.refusing():
        draining = threading.Thread(target=lambda: real_run("drain", "--timeout", 8))
        draining.start()
        eventually(lambda: ": unreachable" in " ".join(run("status").output.split()))
        result = run("retry")
        draining.join(60)
    assert "did not take" not in result.output
    assert "No process is running" not in result.output
    assert result.exit_code == 1, "it is still out of reach"


def test_tail_follows_what_all_processes_do(orphans, host, api, folder):
    orphans(1)
    tail = subprocess.Popen(
        [sys.executable, "-c", "from vision_event_block.cli import main; main()", "tail", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert tail.stderr.readline().startswith("Watching ")
        (delivered, poisoned), _ = orphans(2)
        api.poison(poisoned.event_id)
        host()
        seen = [json.loads(tail.stdout.readline()) for _ in range(5)]
    finally:
        tail.kill()
        tail.communicate(timeout=10)
    told = {(each["event_id"], each["what"]) for each in seen}
    assert {(delivered.event_id, "stored"), (delivered.event_id, "delivered")} <= told
    assert {(poisoned.event_id, "stored"), (poisoned.event_id, "rejected")} <= told
    assert len(told) == 5, "the third was there before, and is delivered"

"""Imports, forks, full queues and the end of the process, seen from outside of that process."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.host_environment import host_environment
from tests.ports import free_port
from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.snapshot import take_snapshot
from vision_event_block.testing import StandInApi

pytestmark = pytest.mark.timeout(600)

ENGINE_PROCESS = Path(__file__).with_name("engine_process.py")
#: With what has to be quoted in a URL, which is one more way to be written down.
KEY = "rf_Secret+Key/of=Line&3"


@dataclass(frozen=True)
class Ended:
    """A process that carried out a task and has ended."""

    facts: dict[str, Any]
    #: What a forked child of it saw.
    child: dict[str, Any] | None
    #: Everything that it wrote to either stream.
    written: str
    log: str
    status: int
    #: From the end of the task to the end of the process.
    exit_s: float

    @property
    def outputs(self):
        return self.facts["outputs"]

    @property
    def statuses(self):
        return [output["delivery_status"] for output in self.outputs]


@pytest.fixture
def stand_in():
    with StandInApi() as stand_in:
        yield stand_in


@pytest.fixture(scope="module")
def home():
    """The API that API_BASE_URL names when the host is imported."""
    with StandInApi() as home:
        yield home


@pytest.fixture(scope="module")
def _engine_process(home):
    """A process that has the host imported and forks for each task."""
    with subprocess.Popen(
        [sys.executable, str(ENGINE_PROCESS), "host-first"],
        env=host_environment(API_BASE_URL=home.url),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            while (line := process.stdout.readline()) != "ready\n":
                assert line, "the process ended before it was ready"
            yield process
        finally:
            process.kill()


@pytest.fixture
def carry_out(_engine_process, stand_in, tmp_path):
    """A function that has a task carried out by a process whose events go to `stand_in`."""
    outbox = str(tmp_path / "outbox")

    def ask(*, environment=(), **task):
        says, logs = tmp_path / "says.txt", tmp_path / "logs.txt"
        task = {
            "api_key": KEY,
            "environment": {
                "VISION_EVENT_API_URL": stand_in.url,
                "VISION_EVENT_OUTBOX": outbox,
                **dict(environment),
            },
            "says": str(says),
            "logs": str(logs),
            **task,
        }
        print(json.dumps(task), file=_engine_process.stdin, flush=True)
        ended = json.loads(_engine_process.stdout.readline())
        said, log = says.read_text("utf-8"), logs.read_text("utf-8")
        lines = [json.loads(line) for line in said.splitlines()]
        assert lines, log
        facts = next(line for line in lines if "outputs" in line)
        child = next((line["child"] for line in lines if "child" in line), None)
        exit_s = ended["ended_at_s"] - facts["done_at_s"]
        return Ended(facts, child, said + log, log, ended["status"], exit_s)

    return ask


def routes(stand_in):
    return sorted(request.route for request in stand_in.requests)


def test_importing_the_package_imports_no_host_and_starts_no_thread():
    script = """
import sys, threading, vision_event_block
print(vision_event_block.REGISTERED_INITIALIZERS, vision_event_block.BLOCKS_SOURCE)
print(threading.active_count())
print([m for m in ("inference", "roboflow_workflows", "torch", "cv2") if m in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )

    # Any registered value would replace the host's own for every core block of the process.
    assert done.stdout.splitlines() == ["{} workflows_core", "1", "[]"]


@pytest.mark.parametrize(
    ("order", "address"),
    [
        ("plugin-first", "API_BASE_URL"),
        # The engine alone does not read API_BASE_URL; our own setting is for that.
        ("standalone", "VISION_EVENT_API_URL"),
    ],
)
def test_the_block_works_in_either_order_of_imports_and_delivers_before_the_process_ends(
    stand_in, order, address
):
    stand_in.delay_s = 0.3
    done = subprocess.run(
        [sys.executable, str(ENGINE_PROCESS), order, json.dumps({"api_key": KEY})],
        env=host_environment(**{address: stand_in.url}),
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    facts = json.loads(done.stdout.splitlines()[-1])
    [output] = facts["outputs"]
    assert output["delivery_status"] == "stored"
    assert list(stand_in.events) == [output["event_id"]]
    assert facts["threads_when_compiled"] == []
    assert len(facts["threads_at_the_end"]) >= 1


def test_on_a_host_that_was_imported_first_events_go_where_api_base_url_says(carry_out, home):
    ended = carry_out(environment={"VISION_EVENT_API_URL": None}, fields={"fire_and_forget": False})

    assert ended.statuses == ["delivered"]
    assert list(home.events) == [ended.outputs[0]["event_id"]]


def test_no_thread_is_started_before_the_first_event(carry_out):
    disabled = carry_out(fields={"disable_sink": True})
    recorded = carry_out()

    assert disabled.facts["threads_when_compiled"] == []
    assert disabled.facts["threads_at_the_end"] == []
    assert len(recorded.facts["threads_at_the_end"]) >= 1


@pytest.mark.parametrize("durability", ["disk", "memory"])
def test_events_are_delivered_before_the_process_ends(carry_out, stand_in, durability):
    stand_in.delay_s = 0.3

    ended = carry_out(runs=5, fields={"durability": durability})

    assert ended.status == 0
    assert set(stand_in.events) == {output["event_id"] for output in ended.outputs}
    assert len(stand_in.events) == 5
    assert ended.exit_s > 0.3, "nothing was waiting, so nothing was shown"


def test_a_process_without_a_server_of_its_own_shows_its_metrics_on_a_port(carry_out):
    port = str(free_port())

    ended = carry_out(runs=3, scrapes=True, environment={"VISION_EVENT_METRICS_PORT": port})

    assert ended.status == 0
    lines = ended.facts["metrics"].splitlines()
    assert 'vision_events_stored_total{reason=""} 3.0' in lines
    assert "vision_events_dead_letters 0.0" in lines


def test_a_port_that_is_taken_costs_the_workflow_nothing(carry_out, stand_in):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        ended = carry_out(runs=3, environment={"VISION_EVENT_METRICS_PORT": port})

    assert ended.status == 0
    assert len(stand_in.events) == 3


@pytest.mark.parametrize("trouble", ["hangs", "is down"])
def test_what_the_api_did_not_take_before_the_end_is_delivered_by_the_next_process(
    carry_out, stand_in, trouble
):
    stand_in.hang(60) if trouble == "hangs" else stand_in.refuse()
    ended = carry_out(runs=3, environment={"VISION_EVENT_CLOSE_TIMEOUT_S": "1"})

    assert ended.status == 0
    assert ended.statuses == ["stored"] * 3
    assert ended.exit_s < 25  # and not until the request times out
    assert "0 delivered, 3 waiting on disk, 0 rejected, 0 lost (`vision-events status`" in ended.log
    assert "Traceback" not in ended.log

    stand_in.heal() if trouble == "hangs" else stand_in.accept()
    outputs = list(ended.outputs)
    for _ in range(10):  # on a busy machine a short life may be over before it has adopted
        outputs += carry_out(fields={"fire_and_forget": False}).outputs
        stored = {output["event_id"] for output in outputs}
        if set(stand_in.events) == stored:
            break
    assert set(stand_in.events) == stored
    assert len(stored) == len(outputs)


@pytest.mark.parametrize("durability", ["disk", "memory"])
def test_an_event_whose_story_is_not_over_survives_a_killed_process_as_it_was(
    carry_out, stand_in, durability
):
    stand_in.refuse()
    fields = {"before_seconds": 5, "after_seconds": 60, "durability": durability}
    killed = carry_out(fields=fields, is_killed=True)
    stand_in.accept()

    assert killed.status == -signal.SIGKILL
    [output] = killed.outputs
    for _ in range(10):  # on a busy machine a short life may be over before it has adopted
        carry_out(fields={"fire_and_forget": False})
        if output["event_id"] in stand_in.events:
            break
    [image] = stand_in.events[output["event_id"]]["images"]
    assert image["label"] == "workflow"


def test_a_full_outbox_goes_on_from_memory_and_a_full_memory_refuses_and_says_why(
    carry_out, stand_in
):
    stand_in.hang(60)
    environment = {
        "VISION_EVENT_OUTBOX_MAX_EVENTS": "2",
        "VISION_EVENT_MAX_PENDING_BYTES": "1",
        "VISION_EVENT_CLOSE_TIMEOUT_S": "0",
    }

    ended = carry_out(runs=6, environment=environment)

    assert ended.statuses == ["stored"] * 2 + ["accepted"] + ["failed"] * 3
    assert "VISION_EVENT_OUTBOX_MAX_EVENTS" in ended.outputs[2]["message"]
    for refused in ended.outputs[3:]:
        assert (refused["error_status"], refused["event_id"]) == (True, "")
        assert "VISION_EVENT_OUTBOX_MAX_EVENTS" in refused["message"]
    # The first run also loads what encodes and sends.
    assert max(ended.facts["seconds"][1:]) < 5


def test_a_folder_that_cannot_be_used_is_named_and_events_go_from_memory(
    carry_out, stand_in, tmp_path
):
    (tmp_path / "file").write_text("no folder")

    ended = carry_out(runs=2, environment={"VISION_EVENT_OUTBOX": str(tmp_path / "file")})

    # Whether they are in danger depends on how soon the API answers.
    assert ended.statuses == ["accepted"] * 2
    assert "VISION_EVENT_OUTBOX" in ended.outputs[0]["message"]
    assert set(stand_in.events) == {output["event_id"] for output in ended.outputs}


def test_what_failed_did_not_use_up_the_cooldown(carry_out):
    environment = {"VISION_EVENT_API_URL": None, "ROBOFLOW_API_KEY": None, "API_KEY": None}

    ended = carry_out(
        runs=3, api_key=None, fields={"cooldown_seconds": 3600}, environment=environment
    )

    assert ended.statuses == ["failed"] * 3


def test_without_a_key_every_run_fails_and_the_log_says_it_once(carry_out):
    environment = {"VISION_EVENT_API_URL": None, "ROBOFLOW_API_KEY": None, "API_KEY": None}

    ended = carry_out(runs=3, api_key=None, environment=environment)

    assert ended.statuses == ["failed"] * 3
    assert [output["error_status"] for output in ended.outputs] == [True] * 3
    assert "set ROBOFLOW_API_KEY on the host" in ended.outputs[0]["message"]
    assert ended.log.count("set ROBOFLOW_API_KEY on the host") == 1
    assert ended.facts["threads_at_the_end"] == []


@pytest.mark.parametrize("in_background", [True, False], ids=["on its way", "delivered"])
def test_a_forked_child_sends_its_own_event_and_not_its_parents(carry_out, stand_in, in_background):
    stand_in.delay_s = 0.3  # so that, in the background, the parent's is on its way while it forks

    ended = carry_out(fields={"fire_and_forget": in_background}, forks=True)

    assert (ended.status, ended.facts["child_status"]) == (0, 0)
    [of_parent] = ended.outputs
    assert of_parent["event_id"] != ended.child["event_id"]
    assert set(stand_in.events) == {of_parent["event_id"], ended.child["event_id"]}
    assert routes(stand_in) == ["create", "create", "upload", "upload"]


def _answer(stand_in, status):
    stand_in.fail(status, body={"error": {"message": f"the key {KEY} was refused"}})


def _portal(stand_in):
    stand_in.fail(200, body=f"<html>log in first, {KEY}</html>")


def _login(stand_in):
    stand_in.fail(302, headers={"Location": f"{stand_in.url}/login?api_key={KEY}"})


@pytest.mark.parametrize(
    "break_it",
    [
        *(
            pytest.param(lambda stand_in, status=status: _answer(stand_in, status), id=str(status))
            for status in (400, 401, 429, 503)
        ),
        pytest.param(_portal, id="captive portal"),
        pytest.param(_login, id="redirect"),
        pytest.param(StandInApi.refuse, id="down"),
        pytest.param(StandInApi.cut, id="cut"),
        pytest.param(lambda stand_in: stand_in.hang(60), id="hangs"),
    ],
)
def test_the_key_is_never_written_down_however_the_api_fails(carry_out, stand_in, break_it):
    break_it(stand_in)
    environment = {
        "VISION_EVENT_CLOSE_TIMEOUT_S": "0.3",
        "VISION_EVENT_READ_TIMEOUT_S": "0.5",
        "VISION_EVENT_WAIT_S": "1.5",
    }

    ended = carry_out(fields={"fire_and_forget": False}, environment=environment)

    [output] = ended.outputs
    assert output["delivery_status"] in ("stored", "rejected", "failed")
    assert json.dumps(output["message"]) in ended.written, "the check below sees the outputs"
    assert "vision_event_block" in ended.log, "and what was logged"
    for part in (KEY, KEY.replace("+", "%2B"), "Secret", "Line&3"):
        assert part not in ended.written


def test_a_key_that_no_header_can_carry_is_not_repeated(carry_out):
    environment = {"VISION_EVENT_API_URL": None}
    ended = carry_out(api_key="rf_Secret\nKey", environment=environment)

    assert ended.statuses == ["failed"]
    assert "API key" in ended.outputs[0]["message"]
    assert "rf_Secret" not in ended.written


NO_ROOM = {"VISION_EVENT_OUTBOX_MIN_FREE_BYTES": "999999999999"}


@pytest.mark.parametrize("durability", ["disk", "memory"])
def test_events_that_cannot_be_stored_are_in_danger_and_counted_as_lost_at_the_end(
    carry_out, stand_in, tmp_path, durability
):
    stand_in.refuse()
    environment = {**NO_ROOM, "VISION_EVENT_CLOSE_TIMEOUT_S": "0.5"}

    fields = {"durability": durability}
    ended = carry_out(runs=20, until_warned=True, environment=environment, fields=fields)

    assert set(ended.statuses) == {"accepted"}
    warned = [output for output in ended.outputs if output["error_status"]]
    assert all("MIN_FREE_BYTES" in output["message"] for output in warned)
    # Encoding in the background, a step learns of it with its next frames.
    assert len(warned) == 20 if durability == "disk" else warned
    lost = len(ended.outputs)
    assert f"0 delivered, 0 waiting on disk, 0 rejected, {lost} lost (`vision-events status`" in (
        ended.log
    )
    found = take_snapshot(tmp_path / "outbox", RealDisk())
    assert (found.stored, found.unstored, found.dropped) == (0, lost, {"lost": lost})
    assert (found.unaccounted, found.totals["accepted"]) == (0, lost)


def test_events_that_cannot_be_stored_are_in_no_danger_while_the_api_takes_them(
    carry_out, stand_in, tmp_path
):
    ended = carry_out(runs=5, environment=NO_ROOM, fields={"fire_and_forget": False})

    assert ended.statuses == ["delivered"] * 5
    assert not any(output["error_status"] for output in ended.outputs)
    assert len(stand_in.events) == 5
    found = take_snapshot(tmp_path / "outbox", RealDisk())
    assert (found.unstored, found.delivered, found.dropped) == (5, 5, {})
    assert found.unaccounted == 0


FOLLOWS = {
    "type": "vision_event_block/track_event@v1",
    "predictions": "$inputs.tracked",
    "timestamp": "$inputs.now",
}


@pytest.mark.parametrize(("report", "told"), [("start_and_end", 1), ("end", 0)])
def test_the_end_of_a_process_completes_what_is_open(carry_out, stand_in, report, told):
    """Nothing closes the block: so do older hosts, and scripts around an engine."""
    ended = carry_out(fields={**FOLLOWS, "report": report}, runs=10)

    assert [len(output["events"]) for output in ended.outputs].count(1) == told
    [event] = stand_in.events.values()
    assert event["customMetadata"]["state"] == "cut off"
    assert event["customMetadata"]["frames"] == 10


def test_of_a_killed_process_the_first_version_of_what_was_open_is_left(carry_out, stand_in):
    with stand_in.refusing():
        killed = carry_out(fields=FOLLOWS, runs=10, is_killed=True)
    assert killed.status == -signal.SIGKILL

    for _ in range(10):  # on a busy machine a short life may be over before it has adopted
        carry_out(fields={"fire_and_forget": False})
        if any("customMetadata" in event for event in stand_in.events.values()):
            break
    [first] = [event for event in stand_in.events.values() if "customMetadata" in event]
    assert first["customMetadata"]["state"] == "still there"
    assert first["customMetadata"]["track_id"] == 7

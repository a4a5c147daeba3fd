"""`vision-events doctor` on machines on which one thing is wrong."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.unit.cli.entries import KEY, LIMITS, real_run
from vision_event_block.outbox.mounts import file_system
from vision_event_block.outbox.outbox import Outbox

MOUNTS = """\
22 1 259:2 / / rw,relatime shared:1 - overlay overlay rw
30 22 0:26 / /data rw,nosuid - ext4 /dev/sda1 rw
31 22 0:27 / /data/fast rw,nosuid - tmpfs tmpfs rw
32 22 0:28 / /with\\040space rw - xfs /dev/sdb1 rw
33 22 0:29 / /twice rw - ext4 /dev/sdc1 rw
34 22 0:30 / /twice rw - tmpfs tmpfs rw
broken line
"""


@pytest.fixture
def lasting(folder):
    """An outbox that outlasts a restart, or as near as this machine has one."""
    Outbox(folder, LIMITS).close()
    return folder


@pytest.fixture
def checks(run, lasting):
    def look(*arguments):
        result = run("doctor", "--no-host", "--json", *arguments)
        found = json.loads(result.output)
        assert (result.exit_code == 0) == all(check["is_fine"] for check in found)
        return {(check["matter"], check["is_fine"]): check for check in found}

    return look


def problem(checks, matter):
    found = checks()
    assert (matter, False) in found, found
    return found[matter, False]


def test_a_key_that_is_taken_and_an_api_that_answers_are_fine(checks, api):
    found = checks()
    assert ("key", True) in found
    assert ("api", True) in found
    assert ("room", True) in found
    assert ("clock", True) in found
    assert ("events", True) in found
    assert api.events == {}, "the doctor leaves nothing with the API"


def test_a_missing_key_is_found(checks, monkeypatch):
    monkeypatch.delenv("ROBOFLOW_API_KEY")
    monkeypatch.delenv("API_KEY", raising=False)
    monkeypatch.delenv("VISION_EVENT_API_URL")
    assert "ROBOFLOW_API_KEY" in problem(checks, "key")["advice"]


def test_a_refused_key_is_found_and_not_shown(checks, api):
    api.forbid(KEY)
    found = problem(checks, "key")
    assert "is refused" in found["words"]
    assert KEY not in json.dumps(found)


def test_an_api_out_of_reach_is_found(checks, api):
    with api.refusing():
        found = problem(checks, "api")
    assert "does not answer" in found["words"]
    assert "vision-events serve" in found["advice"]  # it is on this machine


def test_an_offline_host_is_found(checks, monkeypatch):
    monkeypatch.delenv("VISION_EVENT_API_URL")
    monkeypatch.setenv("OFFLINE_MODE", "True")
    assert "OFFLINE_MODE" in problem(checks, "api")["words"]


def test_a_folder_that_others_may_read_is_found(checks, lasting):
    lasting.chmod(0o755)
    assert problem(checks, "outbox")["advice"] == f"chmod 700 {lasting}"


def test_a_folder_that_is_a_file_is_found(checks, lasting):
    shutil.rmtree(lasting)
    lasting.write_bytes(b"")
    assert "Not a directory" in problem(checks, "outbox")["words"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_to_is_found(checks, lasting):
    lasting.chmod(0o500)
    assert "cannot be written to" in problem(checks, "outbox")["words"]


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="there is no memory disk here")
def test_a_folder_in_memory_is_found(checks):
    folder = Path("/dev/shm") / f"vision-events-{os.getpid()}"
    Outbox(folder, LIMITS).close()
    before = sorted(folder.rglob("*"))
    try:
        found = checks("--outbox", str(folder))
        assert "tmpfs" in found["outbox", False]["words"]
        assert sorted(folder.rglob("*")) == before, "nothing is left behind"
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/elsewhere/outbox", "overlay"),
        ("/data/outbox", "ext4"),
        ("/database/outbox", "overlay"),
        ("/data/fast/outbox", "tmpfs"),
        ("/with space/outbox", "xfs"),
        ("/twice", "tmpfs"),
    ],
)
def test_the_file_system_of_a_folder_is_that_of_the_nearest_mount(tmp_path, folder, kind):
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTS)
    assert file_system(Path(folder), table) == kind


def test_without_a_table_of_mounts_the_file_system_is_unknown(tmp_path):
    assert file_system(tmp_path, tmp_path / "none") is None


def test_a_full_disk_is_found(checks, monkeypatch):
    monkeypatch.setenv("VISION_EVENT_OUTBOX_MIN_FREE_BYTES", str(2**60))
    assert "free, less than the" in problem(checks, "room")["words"]


def test_a_misspelled_setting_is_found_with_what_was_meant(checks, monkeypatch):
    assert ("setting", True) in checks()
    monkeypatch.setenv("VISION_EVENT_SENDER", "3")
    assert "VISION_EVENT_SENDERS" in problem(checks, "setting")["advice"]


def test_a_full_outbox_is_found(checks, orphans, monkeypatch):
    orphans(2)
    monkeypatch.setenv("VISION_EVENT_OUTBOX_MAX_BYTES", "5000")
    assert "being shed" in problem(checks, "room")["words"]


def test_events_that_nobody_sends_and_refused_ones_are_found(checks, orphans):
    orphans(2)
    assert "No process is sending 2 events" in problem(checks, "events")["words"]
    orphans(0, dead=1)
    assert checks()["events", False]["advice"]


def test_what_was_set_aside_and_is_whole_is_found(checks, orphans, lasting):
    orphans(2)
    for path in lasting.glob("slots/*/*.tar"):
        path.rename(lasting / "corrupt" / path.name)
    found = problem(checks, "events")
    assert "2 events set aside but intact" in found["words"]
    assert "recheck" in found["advice"]
    for path in lasting.glob("corrupt/*.tar"):
        path.write_bytes(b"no tar")
    assert "2 events damaged" in problem(checks, "events")["words"]


def test_each_line_says_what_to_do_and_the_exit_code_that_something_is_wrong(lasting, api):
    lasting.chmod(0o755)
    result = real_run("doctor", WORKFLOWS_PLUGINS="something_else")
    assert result.returncode == 1
    assert f"-> chmod 700 {lasting}" in result.stdout
    assert "-> set WORKFLOWS_PLUGINS=vision_event_block" in result.stdout
    assert f"ok     api     {api.url} answers" in result.stdout


def test_a_host_that_fails_is_found_with_its_last_words(checks, lasting, tmp_path):
    package = tmp_path / "modules" / "inference"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('the host is broken')")
    result = real_run(
        "doctor",
        "--json",
        WORKFLOWS_PLUGINS="vision_event_block",
        PYTHONPATH=f"{package.parent}{os.pathsep}{Path.cwd()}",
    )
    found = {check["matter"]: check for check in json.loads(result.stdout)}
    assert found["plugin"]["advice"]
    assert "the host is broken" in found["plugin"]["words"]


@pytest.mark.timeout(200)
def test_the_installed_host_is_asked_for_the_block(lasting):
    pytest.importorskip("inference_sdk", reason="the host is not installed")
    result = real_run("doctor", "--json", WORKFLOWS_PLUGINS="vision_event_block")
    found = {check["matter"]: check for check in json.loads(result.stdout)}
    assert found["plugin"]["is_fine"], found["plugin"]


UP = {"address": "https://api.example", "state": "open", "pending": 1, "last_success_s": None}


def test_an_answer_that_nobody_knows_is_quoted_while_a_process_keeps_getting_it(checks, owner):
    words = "POST /vision-events: unexpected response (200): it reads: {}"
    owner(1, destinations=[{**UP, "state": "down", "unknown_reply": words}])

    found = problem(checks, "events")

    assert words in found["words"]
    assert "captive portal" in found["advice"]


def test_a_fault_inside_a_running_process_is_not_blamed_on_the_network(checks, owner):
    owner(1, destinations=[{**UP, "internal_error": "creating events: internal error, KeyError"}])

    found = problem(checks, "events")

    assert "KeyError" in found["words"]
    assert "not in the network" in found["advice"]


def test_a_status_of_half_a_shape_is_no_reason_to_fail(checks, owner):
    owner(1, destinations=["nonsense", {}, {"address": 7}])

    assert ("events", False) not in checks()

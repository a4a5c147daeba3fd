"""`vision-events status` against real folders and living processes."""

from __future__ import annotations

import json
import logging
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest

from tests.unit.cli.entries import LIMITS, accounts, real_run, store
from vision_event_block.logs import PlainFormatter
from vision_event_block.outbox.entry import Address
from vision_event_block.outbox.outbox import Outbox

#: What runs the tests in the background has Ctrl-C ignored, and children inherit that.
RESET_SIGNAL = ("env", "--default-signal=INT")
UP = {
    "address": "https://api.example (key 0123456789ab)",
    "state": "open",
    "pending": 2,
    "last_error": None,
    "last_success_s": 1_800_000_000.0,
    "internal_error": None,
    "unknown_reply": None,
    "since_s": None,
    "unstored": 0,
}


@pytest.mark.parametrize(
    "command",
    [["status"], ["status", "--json"], ["list"], ["show", "1"], ["tail"], ["retry"], ["recheck"],
     ["requeue", "--all"], ["drop", "--dead"], ["drain"], ["export", "there"], ["verify"]],
    ids=" ".join,
)  # fmt: skip
def test_a_folder_that_is_no_outbox_is_an_error_in_every_command(run, folder, tmp_path, command):
    result = run(*command)
    assert result.exit_code == 2
    assert f"There is no outbox in {folder}." in result.output
    assert "VISION_EVENT_OUTBOX" in result.output
    assert not folder.exists()

    (tmp_path / "photos").mkdir()
    result = run(*command, "--outbox", tmp_path / "photos")
    assert result.exit_code == 2
    assert "photos is not an outbox" in result.output
    assert list((tmp_path / "photos").iterdir()) == []


def test_stored_is_the_sum_of_delivered_pending_dead_and_dropped(run, folder):
    outbox = Outbox(folder, LIMITS)
    entries = store(outbox, Address("api", "https://api.example"), 7)
    for entry in entries[:3]:
        outbox.delivered(entry)
    outbox.drop(entries[3], "age")
    outbox.move_to_dead_letters(entries[4], {"reason": "no"})
    found = accounts(run)
    outbox.close()
    assert found["stored"] == 7
    assert (found["delivered"], found["pending"], found["dead"]) == (3, 2, 1)
    assert found["dropped"] == {"age": 1}
    assert (found["unaccounted"], found["is_moving"]) == (0, False)
    assert found["size_bytes"] == sum(
        entry.size_bytes for entry in (entries[4], entries[5], entries[6])
    )


def test_a_living_owner_is_told_from_one_that_is_gone(run, orphans, owner):
    orphans(1)
    _, process = owner(2, destinations=[UP])
    slots = {slot["has_owner"]: slot for slot in accounts(run)["slots"]}
    assert slots[True]["pid"] == process.pid
    assert (slots[True]["pending"], slots[False]["pending"]) == (2, 1)
    assert slots[True]["destinations"] == [UP]
    process.kill()
    process.wait(10)
    after = accounts(run)["slots"]
    assert [slot["has_owner"] for slot in after] == [False, False]
    assert [slot["destinations"] for slot in after if slot["pending"] == 2] == [[UP]]
    assert [slot["destinations"] for slot in after if slot["pending"] == 1] == [[]]


def test_waiting_events_alone_are_no_reason_for_help(run, orphans):
    orphans(2)
    result = run("status")
    assert result.exit_code == 0
    assert "vision-events drain" in result.output


def test_a_process_that_is_gone_is_shown_only_while_it_left_events(run, orphans):
    orphans(0, dead=1)
    assert [slot["has_owner"] for slot in accounts(run)["slots"]] == [False]
    assert "Processes" not in run("status").output
    orphans(1)
    assert "Processes" in run("status").output


def test_a_refused_event_asks_for_help(run, orphans):
    orphans(0, dead=1)
    result = run("status")
    assert result.exit_code == 1
    assert "list --dead" in result.output


def test_a_refused_key_asks_for_help_and_is_shown_with_its_address(run, owner):
    owner(1, destinations=[{**UP, "state": "key refused", "last_error": "401: no such key"}])
    result = run("status")
    assert result.exit_code == 1
    assert "key refused" in result.output
    assert "401: no such key" in result.output
    assert "https://api.example" in result.output


def test_the_oldest_pending_event_gives_the_age(run, folder):
    now_s = time.time()
    outbox = Outbox(folder, LIMITS, now=lambda: now_s - 7200)
    store(outbox, Address("api", "https://api.example"))
    outbox.close()
    assert 7190 < accounts(run)["oldest_pending_s"] < 7300
    assert "the oldest for 2 h" in run("status").output


def test_an_event_stored_while_the_clock_was_wrong_has_no_age(run, folder):
    outbox = Outbox(folder, LIMITS, now=lambda: 12.0)
    store(outbox, Address("api", "https://api.example"))
    outbox.close()
    assert accounts(run)["oldest_pending_s"] is None
    assert "clock was wrong" in run("status").output


def test_the_status_changes_nothing_on_disk(run, orphans, folder):
    orphans(2, dead=1)
    (folder / "slots" / "made-by-nobody").mkdir()

    def everything():
        return {
            str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_size)
            for path in folder.rglob("*")
        }

    before = everything()
    run("status")
    run("list")
    assert everything() == before


def test_a_setting_that_cannot_be_is_a_usage_error_and_names_its_variable(run, monkeypatch):
    monkeypatch.setenv("VISION_EVENT_OUTBOX_MAX_BYTES", "lots")
    result = run("status")
    assert result.exit_code == 2
    assert "VISION_EVENT_OUTBOX_MAX_BYTES" in result.output


def test_the_command_works_as_a_process_and_writes_nothing_but_json(orphans, folder, tmp_path):
    orphans(3)
    result = real_run("status", "--json", "--outbox", folder, VISION_EVENT_OUTBOX=str(tmp_path))
    assert result.returncode == 0
    found = json.loads(result.stdout)
    assert (found["outbox"], found["pending"]) == (str(folder), 3)
    assert result.stderr == ""


def test_watching_shows_what_changes_and_ends_with_ctrl_c(folder):
    Outbox(folder, LIMITS).close()
    terminal, theirs = pty.openpty()
    watching = subprocess.Popen(
        [*RESET_SIGNAL, Path(sys.executable).parent / "vision-events", "status", "--watch"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "COLUMNS": "100", "LINES": "40", "TERM": "xterm"},
    )
    os.close(theirs)
    seen = ""

    def comes(words):
        nonlocal seen
        ends_at_s = time.monotonic() + 20
        while words not in seen:
            assert time.monotonic() < ends_at_s, seen
            if select.select([terminal], [], [], 0.2)[0]:
                shown = os.read(terminal, 65_536).decode(errors="replace")
                seen = " ".join((seen + re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)).split())

    try:
        comes("pending 0")
        outbox = Outbox(folder, LIMITS)
        store(outbox, Address("api", "https://api.example"), 3)
        comes("pending 3")
        outbox.close()
        watching.send_signal(signal.SIGINT)
        assert watching.wait(60) == 0
    finally:
        watching.kill()
        watching.wait(10)
        os.close(terminal)
    assert "Traceback" not in seen


HOSTILE = "no\x1b]0;owned\x07\nstored 9 \u202e"


def test_text_from_elsewhere_does_nothing_to_the_terminal_and_shows_no_password(run, owner):
    address = "https://me:s3cret@box"
    owner(1, destinations=[{**UP, "address": address, "state": HOSTILE, "last_error": HOSTILE}])

    for printed in (run("status").output, run("status", "--json").output):
        assert "https://***@box" in printed
        assert "s3cret" not in printed
        for char in ("\x1b", "\x07", "\u202e", "\nstored 9 "):
            assert char not in printed


def test_a_log_line_of_a_command_is_one_line_and_a_traceback_has_its_own():
    formatter = PlainFormatter("%(message)s")

    def formatted(message, error=None):
        info = None if error is None else (type(error), error, error.__traceback__)
        return formatter.format(logging.LogRecord("x", 40, "x", 1, message, (), info))

    assert formatted("a\nb\x1b[2J") == "a\\nb\\x1b[2J"
    lines = formatted("failed", ValueError("odd \x1b[2J")).split("\n")
    assert lines == ["failed", "ValueError: odd \\x1b[2J"]


def test_a_fault_inside_a_process_and_an_unknown_answer_are_told(run, owner):
    owner(
        1,
        destinations=[
            {**UP, "internal_error": "creating events: internal error, KeyError"},
            {**UP, "state": "down", "unknown_reply": "unexpected response (200)"},
        ],
    )

    output = " ".join(run("status").output.split())

    assert "internal error, KeyError. The cause is in the process, not in the network" in output
    assert "Events wait: unexpected response (200)" in output


def first_line(result):
    return result.output.partition("\n")[0]


@pytest.fixture
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")


@pytest.mark.usefixtures("wide")
def test_the_first_line_says_that_all_is_well(run, folder):
    outbox = Outbox(folder, LIMITS)
    (entry, _) = store(outbox, Address("api", "https://api.example"), 2)
    outbox.delivered(entry)
    result = run("status")
    outbox.close()
    assert result.exit_code == 0
    assert first_line(result) == "All well: 1 event waiting, 1 event delivered."


@pytest.mark.usefixtures("wide")
def test_events_that_wait_for_too_long_are_said_since_when_and_end_with_1(run, folder):
    now_s = time.time()
    outbox = Outbox(folder, LIMITS, now=lambda: now_s - 700)
    store(outbox, Address("api", "https://api.example"))
    result = run("status", "--utc")
    patient = run("status", "--max-age", "15m")
    outbox.close()
    stored = datetime.fromtimestamp(now_s - 700, timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")
    assert result.exit_code == 1
    assert first_line(result).startswith(f"1 event waiting, the oldest since {stored}. ")
    assert "vision-events retry" in first_line(result)
    assert (patient.exit_code, first_line(patient)[:8]) == (0, "All well")
    assert run("status", "--max-age", "soon").exit_code == 2


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize(
    ("row", "words", "advice"),
    [
        ({"state": "down", "last_error": "no route"}, ": unreachable since 20", "doctor"),
        ({"state": "key refused", "last_error": "401"}, ": key refused since 20", "retry"),
        ({"state": "no key"}, ": no process with this key", "--key-from-environment"),
    ],
)
def test_a_way_that_does_not_work_is_the_first_line_with_its_remedy(run, owner, row, words, advice):
    owner(1, destinations=[{**UP, "since_s": time.time() - 90, **row}])
    result = run("status")
    assert result.exit_code == 1
    assert words in first_line(result)
    assert "2 events waiting" in first_line(result)
    assert advice in first_line(result)


@pytest.mark.usefixtures("wide")
def test_after_the_process_has_ended_it_still_says_why_events_wait(run, owner):
    refused = {**UP, "state": "key refused", "last_error": "401: no such key"}
    _, process = owner(2, destinations=[refused])
    process.kill()
    process.wait(10)
    result = run("status")
    assert result.exit_code == 1
    assert "No process is sending 2 events, the oldest since 20" in first_line(result)
    assert "401: no such key" in first_line(result)
    assert "was key refused" in result.output


@pytest.mark.usefixtures("wide")
def test_events_in_memory_only_are_counted(run, owner):
    owner(1, destinations=[{**UP, "pending": 4, "unstored": 3}])
    assert accounts(run)["in_memory"] == 3
    assert first_line(run("status")).startswith(
        "All well: 1 event waiting, 3 events in memory only"
    )


def test_times_are_local_with_their_offset_or_utc(orphans, monkeypatch):
    orphans(1)
    local = real_run("list", TZ="Asia/Kolkata").stdout
    assert re.search(r"\d\d:\d\d:\d\d\+05:30", local)
    assert re.search(r"\d\d:\d\d:\d\dZ\b", real_run("list", "--utc", TZ="Asia/Kolkata").stdout)

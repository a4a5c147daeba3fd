"""The command line as a program: start, help, completion, tracebacks, and the small commands."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.entries import KEY, PICTURE, accounts, real_run
from tests.unit.server.scenes import picture
from vision_event_block import __version__, settings
from vision_event_block.cli.commands import _COMMANDS
from vision_event_block.server.http_server import serving
from vision_event_block.server.keys import Keys
from vision_event_block.server.storage import Store

PROGRAM = Path(sys.executable).with_name("vision-events")


def test_the_version_is_said_within_moments_and_loads_no_command():
    took_s = []
    for _ in range(5):
        began_s = processor_s_of_children()
        said = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True)
        took_s.append(processor_s_of_children() - began_s)
        assert said.stdout == f"{__version__}\n"
    assert min(took_s) < 0.3

    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", PROGRAM, "--version"],
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    assert "vision_event_block.cli" in loaded
    for module in ("typer", "pydantic", "requests", "numpy"):
        assert not re.search(rf"\| +{module}$", loaded, re.MULTILINE), module


def processor_s_of_children():
    """How busy a machine is with other things does not count."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_is_whole_at_80_columns(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    pages = {command: run(command, "-h").output for command in _COMMANDS}
    pages[""] = run("--help").output
    for command, page in pages.items():
        assert "Usage: " in page, command
        assert "\\[" not in page, command
        assert "…" not in page
        assert "..." not in re.sub(
            r"COMMAND \[ARGS\]\.\.\.|\]\.\.\.|KEY=\.\.\.|EVENT_IDS\.\.\.", "", page
        ), command
        assert max(map(len, page.splitlines())) <= 80, command
    subcommands = [page for command, page in pages.items() if command]
    assert not any("--install-completion" in page for page in subcommands)
    assert "Export waiting events as bundle archives" in " ".join(pages[""].split())
    assert "--delete-after-days" in pages["serve"]
    assert "manifests" not in pages[""]


def test_commands_and_options_are_completed_in_the_shell():
    def completed(words):
        said = subprocess.run(
            [PROGRAM],
            capture_output=True,
            text=True,
            check=True,
            env={
                **os.environ,
                "_VISION_EVENTS_COMPLETE": "complete_bash",
                "COMP_WORDS": f"vision-events {words}",
                "COMP_CWORD": str(len(words.split(" "))),
            },
        )
        return said.stdout.split()

    assert completed("re") == ["retry", "requeue", "recheck"]
    assert "--key-from-environment" in completed("requeue --")
    assert completed("use-cases c") == ["create"]


def test_a_fault_of_the_command_line_itself_shows_no_variables(tmp_path):
    code = (
        "from vision_event_block.cli import commands, main\n"
        "from vision_event_block.outbox import slot\n"
        "import vision_event_block.cli.config as config\n"
        "def broken(*_, **__):\n"
        f"    own_secret = '{KEY}'\n"
        "    raise RuntimeError('a fault of our own')\n"
        "config.console = broken\n"
        "main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, "config"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "RuntimeError: a fault of our own" in ended.stderr
    assert len(ended.stderr.splitlines()) < 60
    assert "locals" not in ended.stderr
    assert KEY not in ended.stderr


def test_config_shows_each_setting_its_value_and_where_that_comes_from(run, monkeypatch):
    monkeypatch.setenv("VISION_EVENT_SENDERS", "3")
    monkeypatch.setenv("VISION_EVENTS_API_KEYS", KEY)
    monkeypatch.setenv("VISION_EVENT_DATABASE_URL", "postgresql://ann:s3cret@db/events")
    result = run("config", "--json")
    rows = {row["name"]: row for row in json.loads(result.output)["settings"]}
    assert {f"VISION_EVENT_{name.upper()}" for name in settings.Settings.model_fields} < set(rows)
    assert rows["VISION_EVENT_SENDERS"] == {
        "name": "VISION_EVENT_SENDERS",
        "value": "3",
        "source": "environment",
    }
    assert rows["VISION_EVENT_WAIT_S"]["value"] == "10.0"
    assert rows["VISION_EVENT_WAIT_S"]["source"] == "default"
    assert rows["ROBOFLOW_API_KEY"]["value"] == "set, not shown"
    assert rows["VISION_EVENT_API_KEYS"]["source"] == "environment, as VISION_EVENTS_API_KEYS"
    assert "s3cret" not in result.output
    assert result.exit_code == 1, "the old name is to be changed"

    monkeypatch.delenv("VISION_EVENTS_API_KEYS")
    assert run("config").exit_code == 0
    monkeypatch.setenv("VISION_EVENT_SENDER", "3")
    odd = run("config")
    assert odd.exit_code == 1
    assert "VISION_EVENT_SENDER is not a setting; did you mean VISION_EVENT_SENDERS?" in odd.output


@pytest.fixture
def server(tmp_path, monkeypatch):
    with Store.open(tmp_path / "server") as store, serving(store, Keys([KEY])) as url:
        monkeypatch.setenv("VISION_EVENT_API_URL", url)
        monkeypatch.setenv("VISION_EVENT_READ_TIMEOUT_S", "60")
        yield store


def test_use_cases_are_made_listed_and_archived(run, server):
    assert "No use cases" in run("use-cases", "list").output
    made = real_run("use-cases", "create", "Dock pallets")
    use_case_id = made.stdout.strip()
    assert server.use_cases.find(use_case_id).name == "Dock pallets"
    assert use_case_id in run("use-cases", "list").output
    assert json.loads(run("use-cases", "list", "--json").output)[0]["name"] == "Dock pallets"

    assert run("use-cases", "archive", use_case_id).exit_code == 0
    assert run("use-cases", "list", "--json").output == "[]\n"
    assert use_case_id in run("use-cases", "list", "--archived").output

    again = run("use-cases", "create", "Dock pallets")
    assert (again.exit_code, "Dock pallets" in again.output) == (1, True)
    assert run("use-cases", "archive", "../none").exit_code == 1


def test_a_test_event_is_sent_straight_or_through_the_outbox(run, server, tmp_path):
    server.use_cases.create("Dock", id="dock")
    image = tmp_path / "part.jpg"
    image.write_bytes(picture())
    straight = real_run("send", "--use-case", "dock", "--image", image)
    assert straight.returncode == 0, straight.stderr
    event = server.get(straight.stdout.strip())
    assert event.use_case_id == "dock"
    assert len(event.body["images"]) == 1

    stored = run("send", "--use-case", "dock", "--image", image, "--through-outbox")
    assert stored.exit_code == 0
    assert accounts(run)["pending"] == 1
    assert run("drain").exit_code == 0
    assert server.get(stored.output.split()[-1]) is not None

    wrong = run("send", "--use-case", "dok")
    assert (wrong.exit_code, "dok" in wrong.output) == (1, True)
    (tmp_path / "part.png").write_bytes(b"\x89PNG")
    png = run("send", "--use-case", "dock", "--image", tmp_path / "part.png", "--through-outbox")
    assert png.exit_code == 2


def test_the_list_is_readable_at_60_columns_in_any_order(run, orphans, monkeypatch):
    (small, _), (dead,) = orphans(2, dead=1, picture=PICTURE)
    (large,), _ = orphans(1, picture=PICTURE * 1000)
    monkeypatch.setenv("COLUMNS", "60")
    output = run("list").output
    assert max(map(len, output.splitlines()[:-2])) <= 60
    for words in (small.event_id, dead.event_id, "no such use case", "http://127.0.0.1"):
        assert words in output

    def order(*arguments):
        rows = json.JSONDecoder().raw_decode(run("list", "--json", *arguments).output)[0]
        return [row["event_id"] for row in rows]

    assert order("--sort", "size")[0] == large.event_id
    assert order("--sort", "newest")[0] == large.event_id
    assert order("--sort", "age") == order("--sort", "newest")[::-1]
    assert order("--sort", "age", "--limit", 1) == order("--sort", "age")[:1]
    assert order()[-1] == dead.event_id
    few = run("list", "--limit", 1)
    assert "Not listed: 3 events" in few.output

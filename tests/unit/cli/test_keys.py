"""`vision-events keys`: made once, listed without being shown, revoked at once."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from datetime import datetime, timedelta, timezone

import pytest
from typer.testing import CliRunner

from tests.integration.server.serve_process import COMMAND, serve, serve_environment
from tests.waiting import eventually
from vision_event_block.cli.commands import app
from vision_event_block.cli.keys import given_keys


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A function that runs a command on the keys of a folder, and gives all that it printed."""
    monkeypatch.delenv("VISION_EVENT_DATABASE_URL", raising=False)

    def command(*arguments, exit_code=0):
        done = CliRunner().invoke(app, ["keys", *arguments, "--data", str(tmp_path / "data")])
        assert done.exit_code == exit_code, done.output
        return done.output

    return command


def made(run, *arguments):
    return run("new", *arguments).splitlines()[-1]


def listed(run):
    return {row["name"]: row for row in json.loads(run("list", "--json"))}


def test_a_key_is_printed_once_alone_and_its_folder_is_for_its_user_only(run, tmp_path):
    options = ["--scopes", "write,vision-events:read", "--data", str(tmp_path / "data")]
    done = subprocess.run(
        [*COMMAND[:-1], "keys", "new", "line-1", *options],
        capture_output=True,
        text=True,
        env=serve_environment(),
        timeout=60,
        check=True,
    )

    key = done.stdout.strip()
    assert len(key.split()) == 1
    assert "may read, write and does not expire" in done.stderr
    assert key not in run("list")
    assert "line-1" in run("list")
    assert listed(run)["line-1"]["scopes"] == ["read", "write"]
    for path in (tmp_path / "data", *(tmp_path / "data").iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
        assert path.is_dir() or key.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("text", "span"),
    [("90d", timedelta(days=90)), ("12h", timedelta(hours=12))],
)
def test_a_key_may_end_after_a_span(run, text, span):
    made(run, "visitor", "--expires", text)

    ends_at = datetime.fromisoformat(listed(run)["visitor"]["expires"])
    assert abs(ends_at - datetime.now(timezone.utc) - span) < timedelta(minutes=5)


def test_a_key_may_end_on_a_day(run):
    made(run, "visitor", "--expires", "2099-01-31")

    assert listed(run)["visitor"]["expires"] == "2099-01-31T00:00:00+00:00"


def test_a_running_server_follows(run, tmp_path):
    with serve(tmp_path) as server:
        path = "/vision-events/use-cases"
        assert server.get(path).status_code == 200

        headers = {"Authorization": f"Bearer {made(run, 'line-1')}"}
        eventually(lambda: server.get(path).status_code == 401)
        assert server.get(path, headers=headers).status_code == 200

        run("revoke", "line-1")
        eventually(lambda: server.get(path, headers=headers).status_code == 401)
        assert listed(run)["line-1"]["state"] == "revoked"

        run("revoke", "line-1", "--forget")
        eventually(lambda: server.get(path).status_code == 200)
    assert "No keys yet" in run("list")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["new", "x", "--expires", "soon"], "90d or 12h"),
        (["new", "x", "--expires", "2020-01-01"], "expired already"),
        (["new", "x", "--scopes", "reed"], "read, write, manage"),
        (["new", "a\nb"], "printable"),
        (["revoke", "nobody"], "no key 'nobody'"),
    ],
)
def test_what_cannot_be_done_is_one_line(run, arguments, words):
    printed = run(*arguments, exit_code=1 if arguments[0] == "revoke" else 2)

    assert words in printed
    assert printed.count("\n") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can work beside another user")
def test_root_leaves_no_file_beside_those_of_the_server_s_user(run, tmp_path):
    made(run, "line-1")
    os.chown(tmp_path / "data/vision-events.db", 1234, 1234)

    printed = run("new", "line-2", exit_code=1)

    assert "runs as user 1234" in printed
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["vision-events.db"]


def test_a_database_that_cannot_be_opened_is_one_line(run):
    url = "postgresql://me:s3cret@127.0.0.1:1/events"

    printed = run("list", "--database-url", url, exit_code=1)

    assert "database" in printed
    assert "s3cret" not in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize("name", ["VISION_EVENT_DATABASE_URL", "VISION_EVENTS_DATABASE_URL"])
def test_the_database_may_be_named_by_a_variable_and_by_its_old_name(run, monkeypatch, name):
    monkeypatch.setenv(name, "mysql://box/events")

    assert "postgresql://" in run("list", exit_code=1)


def test_keys_of_the_environment_are_read_under_the_old_name_unless_the_new_one_is_set(monkeypatch):
    monkeypatch.delenv("VISION_EVENT_API_KEYS", raising=False)
    monkeypatch.setenv("VISION_EVENTS_API_KEYS", "an-old-key another-old-key")
    assert given_keys([], None) == ["an-old-key", "another-old-key"]

    monkeypatch.setenv("VISION_EVENT_API_KEYS", "a-new-key")
    assert given_keys([], None) == ["a-new-key"]

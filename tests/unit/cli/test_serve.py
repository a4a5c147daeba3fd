"""`vision-events serve` as a process: what it prints, what it keeps, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys

import pytest
import requests
from typer.testing import CliRunner

from vision_event_block.cli.commands import app

COMMAND = [sys.executable, "-c", "from vision_event_block.cli import main; main()", "serve"]
KEY = "a-key-of-the-tests"


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """A function that starts the command and gives the process and its first lines."""
    for name in ("VISION_EVENT_API_KEYS", "VISION_EVENT_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    processes = []

    def start(*options, lines=6, **environment):
        process = subprocess.Popen(
            [*COMMAND, "--port", "0", "--data", str(tmp_path / "data"), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        )
        processes.append(process)
        printed = []
        while len(printed) < lines and (line := process.stdout.readline()):
            printed.append(line)
        return process, "".join(printed)

    yield start
    for process in processes:
        process.kill()
        process.communicate(timeout=60)


def url_in(printed):
    return re.search(r"http://[^\s]+", printed)[0]


def failed(*options):
    """What the command prints when it does not get as far as serving."""
    done = CliRunner().invoke(app, ["serve", "--port", "0", *options])
    assert done.exit_code != 0
    assert isinstance(done.exception, SystemExit)
    return done


def test_it_says_where_it_is_and_keeps_a_folder_for_its_user_only(serve, tmp_path):
    _, printed = serve(lines=5)

    url = url_in(printed)
    assert requests.get(f"{url}/health", timeout=60).status_code == 200
    assert f"VISION_EVENT_API_URL={url}" in printed
    assert str(tmp_path / "data") in printed
    assert "127.0.0.1" in url
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_charts_are_split_by_the_shifts_that_are_given(serve):
    _, printed = serve("--shifts", "early 6:00-14:00, late 14:00-22:00", lines=5)
    url = url_in(printed)
    made = requests.post(f"{url}/vision-events/use-cases", json={"name": "Dock"}, timeout=60)

    charts = requests.get(f"{url}/use-cases/{made.json()['id']}/charts", timeout=60)

    assert '<option value="shift"' in charts.text
    done = failed("--shifts", "early 6:00-14:00, late 13:00-22:00")
    assert (done.exit_code, "must not overlap" in done.output) == (2, True)


def test_it_stops_cleanly_and_keeps_what_it_has(serve):
    process, printed = serve(lines=5)
    url = url_in(printed)
    made = requests.post(f"{url}/vision-events/use-cases", json={"name": "Dock"}, timeout=60)

    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)

    assert process.returncode == 0
    assert output.strip().endswith("Stopped.")
    assert errors == ""
    _, printed = serve("--lookback-days", "unlimited", lines=5)
    listed = requests.get(f"{url_in(printed)}/vision-events/use-cases", timeout=60).json()
    assert [each["id"] for each in listed["useCases"]] == [made.json()["id"]]
    assert listed["lookbackDays"] is None


def test_it_stops_while_a_client_holds_a_connection(serve):
    process, printed = serve(lines=5)
    host, _, port = url_in(printed).removeprefix("http://").rpartition(":")

    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"POST /vision-events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)

    assert process.returncode == 0


def test_keys_come_from_the_command_line_the_environment_and_a_file(serve, tmp_path):
    file = tmp_path / "keys"
    file.write_text("# for the cameras\na-key-of-the-file:write\n\n")

    _, printed = serve(
        "--host",
        "0.0.0.0",
        "--api-key",
        KEY,
        "--api-key-file",
        str(file),
        lines=7,
        VISION_EVENT_API_KEYS="key-of-the-environment:read other-key-of-the-environment",
    )

    url = f"{url_in(printed)}/vision-events/use-cases"
    statuses = {
        key: requests.get(url, headers={"Authorization": f"Bearer {key}"}, timeout=60).status_code
        for key in (
            KEY,
            "a-key-of-the-file",
            "key-of-the-environment",
            "other-key-of-the-environment",
            "a-key-of-nobody",
        )
    }
    assert list(statuses.values()) == [200, 403, 200, 200, 401]
    assert KEY not in printed
    assert "need a key" in printed
    assert f"From elsewhere      http://{socket.gethostname()}:" in printed


def test_for_others_it_wants_a_key(tmp_path):
    done = failed("--host", "0.0.0.0", "--data", str(tmp_path))

    assert "API key" in done.output
    assert "VISION_EVENT_API_KEYS" in done.output
    assert "vision-events keys" in done.output
    assert done.output.count("\n") == 1


def test_scopes_are_spelt_as_in_the_documents(serve):
    _, printed = serve(
        "--api-key",
        f"{KEY}:device:update",
        lines=6,
        VISION_EVENT_API_KEYS="a-key-to-read:vision-events:read,visionEvents.manage",
    )

    url = f"{url_in(printed)}/vision-events/use-cases"
    replies = {
        key: [
            requests.get(url, headers=headers, timeout=60).status_code,
            requests.post(url, headers=headers, json={"name": "Dock"}, timeout=60).status_code,
        ]
        for key in (KEY, f"{KEY}:device", f"{KEY}:device:update", "a-key-to-read")
        for headers in [{"Authorization": f"Bearer {key}"}]
    }
    assert list(replies.values()) == [[403, 403], [401, 401], [401, 401], [200, 201]]


@pytest.mark.parametrize("scopes", ["raed", "device:updte", "read,all", ""])
def test_an_unknown_scope_is_one_line_that_names_the_known_ones(tmp_path, scopes):
    file = tmp_path / "keys"
    file.write_text(f"{KEY}:{scopes}\n")
    file.chmod(0o600)

    done = failed("--api-key-file", str(file), "--data", str(tmp_path / "data"))

    assert done.exit_code == 2
    assert "key 1 has an unknown scope" in done.output
    assert "vision-events:read" in done.output
    assert "device:update" in done.output
    assert KEY not in done.output
    assert done.output.count("\n") == 1


@pytest.mark.parametrize(("options", "status"), [([], 201), (["--strict"], 400)])
def test_strict_refuses_what_is_otherwise_made(serve, options, status):
    _, printed = serve(*options, lines=5)
    url = f"{url_in(printed)}/vision-events"
    use_case = requests.post(f"{url}/use-cases", json={"name": "Dock"}, timeout=60).json()["id"]

    bare = {"eventType": "custom", "useCaseId": use_case}
    reply = requests.post(url, json=bare, timeout=60)
    batch = requests.post(f"{url}/batch", json={"events": [bare]}, timeout=60)

    assert (reply.status_code, batch.status_code) == (status, status)
    assert status == 201 or reply.json() == {"error": "eventId is required"}


def test_a_bad_key_is_refused_without_showing_it(tmp_path):
    for key, options in (
        ("s3cret", []),
        ("fifteen-letters", ["--host", "0.0.0.0"]),
        ("fifteen-letters", ["--trusted-proxy", "127.0.0.1"]),
    ):
        done = failed("--api-key", key, "--data", str(tmp_path), *options)

        assert "16 characters" in done.output
        assert "vision-events keys new" in done.output
        assert key not in done.output


def test_a_short_key_and_one_that_others_can_see_are_warned_of(serve, tmp_path):
    file = tmp_path / "keys"
    file.write_text("fifteen-letters\n")
    file.chmod(0o644)

    process, _ = serve("--api-key", KEY, "--api-key-file", str(file), lines=6)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)

    assert "process list" in errors
    assert f"chmod 600 {file}" in errors
    assert "shorter than 16 characters" in errors
    assert KEY not in errors
    assert "fifteen" not in errors


def test_with_json_each_line_of_the_start_is_json_warnings_included(serve, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o755)
    file = tmp_path / "keys"
    file.write_text("fifteen-letters\n")
    file.chmod(0o644)

    options = ["--log-format", "json", "--api-key", KEY, "--api-key-file", str(file)]
    process, _ = serve(*options, lines=0, VISION_EVENT_SENDER="3")
    lines = [process.stderr.readline()]
    while "Ctrl-C" not in lines[-1]:
        lines.append(process.stderr.readline())
        assert lines[-1], "it has ended"

    records = [json.loads(line) for line in lines]
    warned = [each["message"] for each in records if each["level"] == "WARNING"]
    for words in ("VISION_EVENT_SENDERS?", "process list", "chmod 600", "o-rwx", "16 characters"):
        assert words in str(warned)
    assert len(warned) == 5


def test_an_open_folder_is_warned_of_and_what_is_in_it_is_closed(serve, tmp_path):
    data = tmp_path / "data"
    for path in (data / "pictures", data / "thumbnails", data / "notes"):
        path.mkdir(parents=True, mode=0o755)
        path.chmod(0o755)
    data.chmod(0o755)
    database = data / "vision-events.db"
    database.touch(0o644)

    process, printed = serve(lines=5)
    url = url_in(printed)
    made = requests.post(f"{url}/vision-events/use-cases", json={"name": "Dock"}, timeout=60)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)

    assert made.status_code == 201
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in data.iterdir()}
    assert modes.pop("notes") == 0o755
    assert stat.S_IMODE(data.stat().st_mode) == 0o755
    assert all(mode & 0o077 == 0 for mode in modes.values()), modes
    assert {"pictures", "thumbnails", "vision-events.db"} <= modes.keys()
    assert f"chmod o-rwx {data}" in errors


def test_a_folder_that_is_shared_with_a_group_stays_so(serve, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o770)

    serve(lines=5)

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in data.iterdir()}
    assert modes["pictures"] & 0o777 == 0o770
    assert modes["vision-events.db"] & 0o007 == 0


def test_a_port_in_use_is_one_line_that_says_what_to_do(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = failed("--port", str(port), "--data", str(tmp_path))

    assert done.output == (
        f"127.0.0.1:{port}: Address already in use; choose another with --port\n"
    )
    assert done.exit_code == 1


def test_a_folder_that_cannot_be_is_one_line(tmp_path):
    file = tmp_path / "file"
    file.write_text("")

    done = failed("--data", str(file / "below"))

    assert str(file) in done.output
    assert done.output.count("\n") == 1


@pytest.mark.parametrize(
    "url", ["postgresql://me:s3cret@127.0.0.1:1/events", "no address", "s3cret://x"]
)
def test_a_database_that_cannot_be_opened_is_one_line(tmp_path, url):
    done = failed("--database-url", url, "--data", str(tmp_path))

    assert "database" in done.output
    assert ":s3cret@" not in done.output
    assert done.output.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "value", "hint"),
    [
        ("--keep", "fial=2y", "pass or fail"),
        ("--keep-bytes", "200", "200GB"),
        ("--delete-after-days", "1e12", "36525"),
    ],
)
def test_a_slip_that_would_cost_events_is_refused(tmp_path, option, value, hint):
    done = failed(option, value, "--data", str(tmp_path))

    assert (done.exit_code, hint in done.output) == (2, True)


def test_a_rule_for_a_use_case_that_is_not_there_is_named(serve):
    process, _ = serve("--keep", "lnie-4:forever", "--delete-after-days", "30", lines=5)

    process.send_signal(signal.SIGINT)

    assert "'lnie-4'" in process.communicate(timeout=60)[1]


@pytest.mark.parametrize("days", ["0", "-1", "forever", "nan", "inf"])
def test_a_look_back_window_that_is_none_is_refused(tmp_path, days):
    done = failed("--lookback-days", days, "--data", str(tmp_path))

    assert "unlimited" in done.output


def test_requests_are_logged_on_demand_and_without_keys(serve):
    process, printed = serve("--log-requests", "--lookback-days", "2.5", lines=5)
    requests.post(f"{url_in(printed)}/?api_key={KEY}", timeout=60)
    listed = requests.get(f"{url_in(printed)}/vision-events/use-cases", timeout=60)

    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 0
    assert listed.json()["lookbackDays"] == 2.5
    assert '"POST / HTTP/1.1" 200' in errors
    assert KEY not in errors


@pytest.mark.parametrize(
    ("module", "command"), [("fastapi", ["serve"]), ("sqlalchemy", ["keys", "list"])]
)
def test_without_its_extra_it_says_what_to_install(module, command, tmp_path):
    block = f"import sys; sys.modules[{module!r}] = None; "
    done = subprocess.run(
        [COMMAND[0], "-c", block + COMMAND[2], *command, "--data", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "install vision-event-block again, with [server] after its path or name" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_rest_of_the_command_line_needs_no_extra():
    block = "import sys; sys.modules['fastapi'] = sys.modules['sqlalchemy'] = None; "
    done = subprocess.run(
        [COMMAND[0], "-c", block + COMMAND[2], "--version"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0

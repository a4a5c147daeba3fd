"""`vision-events demo` where something that it needs is missing."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

RUN = "from vision_event_block.cli import main; main()"


def run(*options, without=""):
    """The command, in a process where a module is not installed."""
    hidden = f"import sys; sys.modules[{without!r}] = None; " if without else ""
    return subprocess.run(
        [sys.executable, "-c", hidden + RUN, "demo", "--exit", *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("inference", "Roboflow Inference, which is not installed"),
        ("fastapi", "the server's extra: install vision-event-block again, with [server] after"),
    ],
)
def test_without_what_it_needs_it_says_how_to_install_it(module, words):
    done = run(without=module)
    assert done.returncode == 1
    assert words in done.stderr
    assert "README, Install" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("--port", str(port))
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr

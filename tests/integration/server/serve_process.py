"""`vision-events serve` in a process of its own, and a client of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import requests

from vision_event_block.settings import API_KEYS, DATABASE_URL, PICTURES_URL

COMMAND = (sys.executable, "-c", "from vision_event_block.cli import main; main()", "serve")
#: So that nothing of the machine's counts.
_CLEARED = ("AWS_", "VISION_EVENTS_", API_KEYS, DATABASE_URL, PICTURES_URL)
#: Only guards against hanging: on a busy machine an end takes long.
_STOP_S = 60


class ServeProcess(requests.Session):
    """A server that runs, and knows where it is."""

    def __init__(self, process, printed):
        super().__init__()
        self.trust_env = False
        self.process = process
        self.printed = printed
        self.url = re.search(r"http://\S+", printed)[0]

    def request(self, method, url, *args, **kwargs):
        kwargs.setdefault("timeout", 60)
        return super().request(method, self.url + url, *args, **kwargs)

    def upload(self, content):
        return self.post("/vision-events/upload", files={"file": ("x.bin", content)})

    def query(self, use_case_id, **query):
        """All events that match, of all pages."""
        found, cursor = [], None
        while True:
            more = {} if cursor is None else {"cursor": cursor}
            body = {"useCaseId": use_case_id, "limit": 500, **query, **more}
            reply = self.post("/vision-events/query", json=body)
            assert reply.status_code == 200, reply.text
            found += reply.json()["events"]
            cursor = reply.json()["nextCursor"]
            if cursor is None:
                return found

    def kill(self):
        self.process.kill()
        self.process.wait(_STOP_S)


def serve_environment(**variables):
    """The environment of the command; nothing in it is the machine's own."""
    kept = {name: each for name, each in os.environ.items() if not name.startswith(_CLEARED)}
    return {**kept, "PYTHONUNBUFFERED": "1", **variables}


def launch(folder, *options, command=COMMAND, **environment):
    """The process, which may fail at its start; what it says goes to `serve.log` in the folder."""
    folder.mkdir(exist_ok=True)
    with (folder / "serve.log").open("ab") as log:
        return subprocess.Popen(
            [*command, "--port", "0", "--data", str(folder / "data"), *options],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=serve_environment(**environment),
        )


def started(folder, process):
    """A client of a process that was launched, once it serves."""
    printed = []
    while not (printed and "Ctrl-C" in printed[-1]):
        line = process.stdout.readline()
        assert line, (folder / "serve.log").read_text()
        printed.append(line)
    (folder / "printed.log").open("a").writelines(printed)
    return ServeProcess(process, "".join(printed))


@contextmanager
def serve(folder, *options, command=COMMAND, **environment):
    """A server for as long as the block lasts; its data lie in `data` in the folder."""
    process = launch(folder, *options, command=command, **environment)
    try:
        with started(folder, process) as server:
            yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        finally:
            process.kill()
            process.communicate()

"""The host's stock HTTP server as a process of its own, and what is sent to it."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import pytest
import requests

from tests.host_environment import host_environment
from tests.integration import workflows

BLOCK_TYPE = "vision_event_block/vision_event@v1"
START_TIMEOUT_S = 500.0


@dataclass(frozen=True)
class HostServer:
    """A server's process and the file of its log."""

    process: subprocess.Popen
    log: Path
    #: Processes that answer under its address.
    workers: int = 1

    @cached_property
    def url(self):
        """Its address; waits until all its workers answer there."""
        give_up_at_s = time.monotonic() + START_TIMEOUT_S
        while self.process.poll() is None and time.monotonic() < give_up_at_s:
            said = self.log.read_text("utf-8", "replace")
            found = re.search(r"running on (http://127\.0\.0\.1:\d+)", said)
            if found and said.count("Application startup complete") >= self.workers:
                return found[1]
            time.sleep(0.2)
        pytest.fail(f"the server did not start:\n{self.log.read_text('utf-8')[-5000:]}")

    def post(self, path, body):
        return requests.post(self.url + path, json=body, timeout=60)

    def run(self, specification, image, **request):
        """The outputs of the step `event`, one for each picture."""
        body = {"specification": specification, "inputs": {"image": image}, **request}
        answer = self.post("/workflows/run", body)
        assert answer.status_code == 200, answer.text
        return [outputs["event"] for outputs in answer.json()["outputs"]]


@contextmanager
def host_server(folder, *, workers=1, **environment):
    """A server that runs in this folder and is still starting."""
    # It refuses to start without the folders of its start page, which no wheel holds.
    for name in ("out/static", "out/_next/static"):
        (folder / "inference/landing" / name).mkdir(parents=True)
    log = folder / "log.txt"
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(Path(__file__).parent)]
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [
                *command,
                "serve:app",
                "--host",
                "127.0.0.1",
                "--port",
                "0",
                "--workers",
                str(workers),
            ],
            cwd=folder,
            env=host_environment(
                ENABLE_STREAM_API="False", MODEL_CACHE_DIR=str(folder / "models"), **environment
            ),
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            yield HostServer(process, log, workers)
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


def workflow(*steps, inputs=()):
    """A workflow that shows all of each step."""
    return workflows.workflow(*steps, inputs=inputs, shown=[step["name"] for step in steps])


def plain_image(grey, media_type="png"):
    """A picture of one grey, as a request holds it."""
    _, content = cv2.imencode(f".{media_type}", np.full((48, 64, 3), grey, np.uint8))
    return {"type": "base64", "value": base64.b64encode(content).decode()}

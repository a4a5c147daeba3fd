"""The recipes of docs/recipes.md, each command run as it stands there.

Without these, the first thing that a plant without a route or with a relay copies from the docs
may not work, and nobody would know before they do.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from base64 import b64decode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
import requests

from tests.host_environment import needs_new_host
from vision_event_block.testing import StandInApi

pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[2]
RECIPES = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
RUNS = 3
ENGINE_PROCESS = "tests/integration/engine_process.py"


def commands(containing):
    """The one block of shell commands that holds this text."""
    (found,) = (
        text for text in re.findall(r"```sh\n(.*?)```", RECIPES, re.DOTALL) if containing in text
    )
    return found


def workflow_with(block):
    """The one workflow that holds this block."""
    (found,) = (
        text for text in re.findall(r"```json\n(.*?)```", RECIPES, re.DOTALL) if block in text
    )
    return json.loads(found)


def variables(**more):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    # A host that was imported in this process has rewritten the variable.
    ours = {"PATH": path, "PYTHONUNBUFFERED": "1", "WORKFLOWS_PLUGINS": "vision_event_block"}
    return {**os.environ, **ours, **more}


def shell(text, **environment):
    done = subprocess.run(
        ["/bin/sh", "-ec", text],
        env=variables(**environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def exported(text):
    """The variables that a block of commands sets, as a shell understands it."""
    names = re.findall(r"^export (\w+)=", text, re.MULTILINE)
    said = shell(f"{text}\nenv")
    return {name: re.search(rf"^{name}=(.*)$", said, re.MULTILINE)[1] for name in names}


def line_of_a_plant(**environment):
    """What the block answered on a line, in a process that ends."""
    task = {
        "runs": RUNS,
        "api_key": environment["ROBOFLOW_API_KEY"],
        "environment": {**environment, "VISION_EVENT_CLOSE_TIMEOUT_S": "0.5"},
    }
    done = subprocess.run(
        [sys.executable, ROOT / ENGINE_PROCESS, "standalone", json.dumps(task)],
        env=variables(**environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])["outputs"]


def test_events_of_a_plant_without_a_route_arrive_on_a_stick(tmp_path):
    outbox, stick = tmp_path / "outbox", tmp_path / "stick"
    stick.mkdir()
    answers = line_of_a_plant(
        VISION_EVENT_OUTBOX=str(outbox),
        VISION_EVENT_API_URL="http://127.0.0.1:9",
        ROBOFLOW_API_KEY="any",
    )
    assert {answer["delivery_status"] for answer in answers} == {"stored"}

    export = commands("vision-events export").replace("/media/stick", str(stick))
    shell(export, VISION_EVENT_OUTBOX=str(outbox))
    assert len(list(stick.glob("*.tar*"))) == RUNS
    with StandInApi() as api:
        upload = commands("vision-events upload").replace("/media/stick", str(stick))
        shell(upload, VISION_EVENT_API_URL=api.url)
        shell(upload, VISION_EVENT_API_URL=api.url)  # and nothing arrives twice
        sent = [event_id for event_id, _ in api.arrivals]
        pictures = [api.picture_of(event, "input") for event in api.events.values()]

    assert sorted(sent) == sorted(answer["event_id"] for answer in answers)
    assert all(picture.startswith(b"\xff\xd8") for picture in pictures)
    assert len(list((stick / "sent").iterdir())) == RUNS


def test_the_events_of_a_fleet_reach_the_cloud_through_its_relay(tmp_path):
    *preparation, command = commands("--forward-to").strip().splitlines()
    at_home = {"XDG_DATA_HOME": str(tmp_path)}
    line_key, _, office_key = re.findall(r"vek_[\w-]+", shell("\n".join(preparation), **at_home))
    with StandInApi() as cloud:
        command = command.replace("https://api.roboflow.com", cloud.url)
        command = command.replace("--host 0.0.0.0", "--host 127.0.0.1 --port 0")
        relay = subprocess.Popen(
            shlex.split(command),
            env=variables(ROBOFLOW_API_KEY="key-of-the-cloud", **at_home),
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            url = next(
                found[0] for line in relay.stdout if (found := re.search(r"http://\S+", line))
            )
            on_the_line = commands("relay.plant.local")
            on_the_line = on_the_line.replace("http://relay.plant.local:9100", url)
            answers = line_of_a_plant(
                **exported(on_the_line.replace("vek_...", line_key)),
                VISION_EVENT_OUTBOX=str(tmp_path / "outbox"),
            )
            events = cloud.wait_for_events(RUNS)
            page = requests.get(
                f"{url}/vision-events/use-cases",
                headers={"Authorization": f"Bearer {office_key}"},
                timeout=10,
            )
        finally:
            relay.send_signal(signal.SIGINT)
            assert relay.wait(30) == 0
    assert {event["eventId"] for event in events} == {answer["event_id"] for answer in answers}
    assert "bottles" in page.text  # the use case of the line, for the office to look at


class Reader:
    """The host's models, of which only the one that reads text is asked for."""

    def add_model(self, *_, **__):
        pass

    def run_doctr_ocr(self, **_):
        word = {"x": 100.0, "y": 60.0, "width": 40.0, "height": 20.0, "confidence": 0.9,
                "class": "LOT 4711", "class_id": 0, "detection_id": "w-1"}  # fmt: skip
        image = {"width": 640, "height": 480}
        return {"result": "LOT 4711", "image": image, "predictions": [word]}


@needs_new_host("OCR gives no boxes")
def test_text_that_a_model_reads_is_the_value_of_an_event(compiled, api, photo):
    engine = compiled(workflow_with("ocr_model"), model_manager=Reader())
    engine.run(runtime_parameters={"image": [photo]})

    (event,) = api.wait_for_events(1)
    assert event["eventData"] == {"value": "LOT 4711"}
    (image,) = event["images"]
    assert image["objectDetections"] == [
        {"class": "LOT 4711", "x": 100, "y": 60, "width": 40, "height": 20, "confidence": 0.9}
    ]


class Answer(BaseHTTPRequestHandler):
    """A model behind OpenAI's interface; it tells the size of the question's picture."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        parts = asked["messages"][-1]["content"]
        (url,) = (part["image_url"]["url"] for part in parts if part["type"] == "image_url")
        seen = cv2.imdecode(np.frombuffer(b64decode(url.partition(",")[2]), np.uint8), 1)
        message = {"role": "assistant", "content": f"The cap is loose. Seen at {seen.shape[:2]}."}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        document = {"id": "1", "object": "chat.completion", "created": 0, "model": asked["model"]}
        body = json.dumps({**document, "choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@needs_new_host("there is no block for a server of one's own")
def test_text_that_a_model_writes_is_the_value_of_an_event(compiled, api, photo):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        compiled(workflow_with("openai_compatible")).run(
            runtime_parameters={
                "image": [photo],
                "server": f"http://127.0.0.1:{server.server_port}/v1",
            }
        )
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

    (event,) = api.wait_for_events(1)
    assert event["eventData"] == {"value": "The cap is loose. Seen at (480, 640)."}

"""What stands in the README of the sample workflows is so, and its snippets run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import cv2
import pytest

from vision_event_block.testing import scenes

SAMPLES = Path(__file__).resolve().parents[2] / "sample_workflows"
NAMES = sorted(path.stem for path in SAMPLES.glob("*.json"))
README = (SAMPLES / "README.md").read_text("utf-8")
FRONT_PAGE = (SAMPLES.parent / "README.md").read_text("utf-8")


def snippet(language, containing, page=README):
    (found,) = (
        text
        for text in re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
        if containing in text
    )
    return found


def sample(name):
    return json.loads((SAMPLES / f"{name}.json").read_text("utf-8"))


def readme_row(name):
    (row,) = re.findall(rf"^\| \[{name}\]\({name}\.json\) \|(.*)\|$", README, re.MULTILINE)
    shows, inputs, model = row.split(" | ")
    return shows, inputs, model


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_names_all_inputs_of_a_sample(name):
    _, inputs, _ = readme_row(name)
    assert re.findall(r"`(\w+)`", inputs) == [
        given["name"] for given in sample(name)["inputs"] if given["name"] != "use_case"
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_model_that_the_readme_names_fits_the_sample(name, compiled):
    text = (SAMPLES / f"{name}.json").read_text("utf-8")
    _, _, model = readme_row(name)
    types = re.findall(r"`(roboflow_\w+_model@v\d)`", model)
    assert bool(types) == ("$inputs.predictions" in text)
    if not types:
        return
    step = json.loads(snippet("json", "your-project"))
    specification = json.loads(text.replace("$inputs.predictions", "$steps.model.predictions"))
    specification["steps"].insert(0, {**step, "type": f"roboflow_core/{types[0]}"})
    specification["inputs"] = [
        given for given in specification["inputs"] if given["name"] != "predictions"
    ]
    compiled(specification, model_manager=None)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder that looks like the repository's root."""
    (tmp_path / "sample_workflows").symlink_to(SAMPLES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_readmes_pipeline_records_the_parts_of_a_video(api, folder, capsys):
    video = cv2.VideoWriter("parts.mp4", cv2.VideoWriter_fourcc(*"mp4v"), 10, (640, 480))
    for code in ("PART-0001", "PART-0002"):
        for _ in range(5):
            video.write(scenes.part(code).picture)
    video.release()
    code = snippet("python", "InferencePipeline")
    exec(compile(code, "README.md", "exec"), {})
    events = api.wait_for_events(2)
    assert {event["eventData"]["externalId"] for event in events} == {"PART-0001", "PART-0002"}
    said = capsys.readouterr().out
    assert "stored PART-0001" in said
    assert "throttled PART-0002" in said


def test_the_front_page_records_its_first_events(api, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    workflow = snippet("json", "barcode_detector", FRONT_PAGE)
    Path("workflow.json").write_text(workflow, "utf-8")

    script = snippet("python", "InferencePipeline", FRONT_PAGE)
    exec(compile(script, "record.py", "exec"), {})

    event = api.wait_for_events(1)[0]
    [image] = event["images"]
    assert event["useCaseId"] == "parts"
    assert event["eventData"] == {"value": "part on the belt"}
    assert event["customMetadata"].items() >= {"line": "line-4", "shift": "night"}.items()
    assert image["objectDetections"]
    assert api.picture_of(event, "input")
    said = capsys.readouterr().out.splitlines()
    assert "The event is stored; it is sent in the background." in said
    promised = re.findall(r"\*(The event is stored[^*]*)\*", FRONT_PAGE)
    assert set(promised) <= set(said)
    # It stands on the first screens of the page.
    assert FRONT_PAGE[: FRONT_PAGE.index(script)].count("\n") < 130


class _Listener(BaseHTTPRequestHandler):
    """Keeps what is posted."""

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        self.server.posted.append((self.path, json.loads(self.rfile.read(length))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        """Keeps quiet."""


def test_the_readmes_curl_command_posts_what_the_engine_runs(api, folder, compiled, monkeypatch):
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    with HTTPServer(("127.0.0.1", 0), _Listener) as server:
        server.posted = []
        thread = Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        commands = snippet("sh", "part.jpg',") + snippet("sh", "curl").replace(
            "http://localhost:9001", url
        )
        subprocess.run(["/bin/sh", "-ec", commands], check=True, timeout=60)
        server.shutdown()
        thread.join()
    ((path, body),) = server.posted
    assert path == "/workflows/run"
    assert body["api_key"] == os.environ["ROBOFLOW_API_KEY"]
    (answer,) = compiled(body["specification"]).run(runtime_parameters=body["inputs"])
    (event,) = api.wait_for_events(1)
    assert event["eventData"] == {"result": "pass", "externalId": "PART-0042"}
    assert api.picture_of(event, "input") == (folder / "part.jpg").read_bytes()
    (promised,) = json.loads(snippet("json", "outputs"))["outputs"]
    assert {**answer, "event_id": "..."} == promised

"""`vision-events demo`, as a newcomer starts it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from itertools import islice
from types import SimpleNamespace

import cv2
import pytest
import requests

from vision_event_block.demo import parts, sheets, trays, workshop
from vision_event_block.server.storage import Store
from vision_event_block.server.store.filters import Filters

pytestmark = pytest.mark.timeout(400)

COMMAND = [sys.executable, "-c", "from vision_event_block.cli import main; main()", "demo"]
ENDS_WITHIN_S = 150
PART_FRAMES = sum(1 for _ in parts.shots())
EVENTS = {
    "part-labels": parts.PARTS,
    "cap-trays": len(trays.COUNTS),
    "steel-sheets": len(sheets.SCRATCHES),
    "press-2": sum(workshop.VISITS),
    "hard-hats": sum("n" in crew for crew in workshop.CREWS),
}


@contextmanager
def started(folder, *options):
    """The command under way, by somebody whose own settings lead nowhere."""
    for name in ("home", "tmp"):
        (folder / name).mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONUNBUFFERED": "1",
        # Whoever asks the internet reaches a port where nobody listens.
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "ROBOFLOW_API_KEY": "key-of-the-user",
        "VISION_EVENT_API_URL": "http://127.0.0.1:9",
        "VISION_EVENT_OUTBOX": str(folder / "outbox-of-the-user"),
    }
    process = subprocess.Popen(
        # A process in the background of a shell would ignore Ctrl-C.
        ["env", "--default-signal=INT", *COMMAND, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=folder,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=20)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The command, run until it has shown everything, and stopped with Ctrl-C."""
    folder = tmp_path_factory.mktemp("demo")
    with started(folder, "--data", "data") as process:
        printed = ""
        while "Ctrl-C" not in printed and (line := process.stdout.readline()):
            printed += line
        url = re.search(r"http://[^\s]+", printed)[0]
        page = requests.get(url, timeout=20)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=ENDS_WITHIN_S)
    return SimpleNamespace(
        code=process.returncode,
        output=printed + output,
        after_ctrl_c=output,
        errors=errors,
        folder=folder,
        url=url,
        page=page,
    )


@pytest.fixture
def store(done):
    """What the demo left in its data folder."""
    with Store.open(done.folder / "data") as opened:
        yield opened


def events_of(store, use_case_id):
    """Oldest first."""
    found = store.walk(Filters(use_case_id=use_case_id))
    return sorted(found, key=lambda event: event.timestamp)


def test_it_ends_well_without_a_word_of_warning(done):
    assert (done.code, done.errors) == (0, "")
    assert "Loading Roboflow Inference" in done.output
    addresses = re.findall(r"http://127\.0\.0\.1:\d+", done.output)
    assert len(set(addresses)) == 1
    assert done.output.index(addresses[0]) < done.output.index("Loading")


def test_its_table_has_a_row_for_each_stream(done):
    readable = sum(map(parts.is_readable, range(parts.PARTS)))
    for cells in (
        ("Part labels", "parts_on_belt", PART_FRAMES, parts.PARTS, parts.PARTS),
        ("Hard hats", "safety_alert", len(workshop.CREWS), EVENTS["hard-hats"]),
    ):
        assert re.search(r"\s+".join(map(str, cells)), done.output)
    assert f"{readable} pass, {parts.PARTS - readable} fail" in done.output


def test_it_leaves_nothing_but_the_data_folder(done):
    left = {path.name for path in done.folder.iterdir()}
    assert left == {"data", "home", "tmp"}
    assert not list((done.folder / "tmp").glob("vision-events*"))


def test_the_server_has_the_events_of_all_streams(store):
    counts = {each.id: each.event_count for each in store.use_cases.list()}
    assert counts == EVENTS
    assert not [event for name in EVENTS for event in events_of(store, name) if event.warnings]


def test_every_event_has_its_pictures_as_they_were_recorded(store):
    for name in EVENTS:
        for event in events_of(store, name):
            [image] = event.body["images"]
            keys = ("inputSourceId",) if name == "part-labels" else ("inputSourceId", "sourceId")
            for key in keys:
                picture = cv2.imread(str(store.pictures.get(image[key]).path))
                assert picture.shape == (540, 960, 3)


def test_codes_are_really_read_and_caps_really_counted(store):
    labels = [event.body["eventData"] for event in events_of(store, "part-labels")]
    assert labels == [
        {"result": "pass", "externalId": parts.code_of(index)}
        if parts.is_readable(index)
        else {"result": "fail"}
        for index in range(parts.PARTS)
    ]
    caps = [event.body["eventData"]["itemCount"] for event in events_of(store, "cap-trays")]
    assert caps == list(trays.COUNTS)


def test_each_part_on_the_conveyor_is_one_event_with_its_best_picture(store):
    conveyor = parts.shots()
    for index, event in enumerate(events_of(store, "part-labels")):
        passing = list(islice(conveyor, len(parts.WAY_PX)))
        said = event.body["customMetadata"]
        # The tracker numbers all but the first part when it sees them for the second time.
        assert said["state"] == "left"
        assert said["frames"] == len(passing) - (index > 0)
        assert said["duration_s"] == (said["frames"] - 1) * parts.FRAME_S
        [image] = event.body["images"]
        [found] = image["objectDetections"]
        best = max(shot.predictions[0]["confidence"] for shot in passing)
        # Whole, and no frame leads by more than a tenth over the one that is kept.
        assert found["width"] > 0.99 * max(shot.predictions[0]["width"] for shot in passing)
        assert found["confidence"] > best / 1.1
        [shown] = [shot for shot in passing if abs(shot.predictions[0]["x"] - found["x"]) < 1]
        picture = cv2.imread(str(store.pictures.get(image["inputSourceId"]).path))
        assert cv2.absdiff(picture, shown.picture).mean() < 4


def test_the_models_answers_are_recorded_as_annotations(store):
    found = Counter()
    for name in ("steel-sheets", "press-2", "hard-hats"):
        for event in events_of(store, name):
            [image] = event.body["images"]
            for key in ("instanceSegmentations", "keypoints", "objectDetections"):
                for entry in image.get(key, ()):
                    found[name, key, entry["class"]] += 1
    people = sum(len(shot.predictions) for shot in workshop.press_shots())
    assert found == {
        ("steel-sheets", "instanceSegmentations", "scratch"): sum(sheets.SCRATCHES),
        ("press-2", "keypoints", "person"): people,
        ("hard-hats", "objectDetections", "no-hard-hat"): "".join(workshop.CREWS).count("n"),
    }
    sheets_seen = [event.body["eventData"] for event in events_of(store, "steel-sheets")]
    assert [data["result"] for data in sheets_seen] == [
        "fail" if scratches else "pass" for scratches in sheets.SCRATCHES
    ]
    assert len({data["externalId"] for data in sheets_seen}) == len(sheets.SCRATCHES)


def test_the_times_are_those_of_the_recording(store):
    for name in EVENTS:
        times = [event.timestamp for event in events_of(store, name)]
        length = times[-1] - times[0]
        if name == "part-labels":  # a conveyor as it ran, part after part
            assert timedelta(seconds=60) < length < timedelta(seconds=90)
        else:
            assert timedelta(hours=4) < length < timedelta(hours=12)
        assert times[-1] <= datetime.now(timezone.utc)


def test_it_serves_the_page_until_ctrl_c(done):
    assert done.page.status_code == 200
    assert "Steel sheets" in done.page.text
    assert done.after_ctrl_c.strip() == "Stopped."
    with pytest.raises(requests.ConnectionError):
        requests.get(done.url, timeout=5)

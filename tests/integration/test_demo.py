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

from tests.clips import CAPS, PARTS, UNREADABLE, WAY, code_of, frames_of, lines_of
from vision_event_block.server.storage import Store
from vision_event_block.server.store.filters import Filters

pytestmark = pytest.mark.timeout(400)

COMMAND = [sys.executable, "-c", "from vision_event_block.cli import main; main()", "demo"]
ENDS_WITHIN_S = 150
LINES = {
    name: lines_of(name)
    for name in ("part-labels", "cap-trays", "steel-sheets", "press-2", "hard-hats")
}
FOUND = {name: [line["predictions"] for line in lines] for name, lines in LINES.items()}
EVENTS = {
    "part-labels": PARTS,
    "cap-trays": len(CAPS),
    "steel-sheets": len(LINES["steel-sheets"]),
    "press-2": sum(map(bool, FOUND["press-2"])),
    "hard-hats": sum(
        any(person["class"] == "no-hard-hat" for person in crew) for crew in FOUND["hard-hats"]
    ),
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
        process.communicate(timeout=60)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The command, run until it has shown everything, and stopped with Ctrl-C."""
    folder = tmp_path_factory.mktemp("demo")
    with started(folder, "--data", "data") as process:
        printed = ""
        while "Ctrl-C" not in printed and (line := process.stdout.readline()):
            printed += line
        url = re.search(r"http://[^\s]+", printed)[0]
        page = requests.get(url, timeout=60)
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
    unreadable = len(UNREADABLE)
    for cells in (
        ("Part labels", "parts_on_belt", len(LINES["part-labels"]), PARTS, PARTS),
        ("Hard hats", "safety_alert", len(LINES["hard-hats"]), EVENTS["hard-hats"]),
    ):
        assert re.search(r"\s+".join(map(str, cells)), done.output)
    assert f"{PARTS - unreadable} pass, {unreadable} fail" in done.output


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
        {"result": "fail"}
        if index in UNREADABLE
        else {"result": "pass", "externalId": code_of(index)}
        for index in range(PARTS)
    ]
    caps = [event.body["eventData"]["itemCount"] for event in events_of(store, "cap-trays")]
    assert caps == list(CAPS)


def test_each_part_on_the_conveyor_is_one_event_with_its_best_picture(store):
    conveyor = zip(frames_of("part-labels"), LINES["part-labels"], strict=True)
    for index, event in enumerate(events_of(store, "part-labels")):
        passing = [
            (frame, line["at_s"], *line["predictions"]) for frame, line in islice(conveyor, WAY)
        ]
        said = event.body["customMetadata"]
        # The tracker numbers all but the first part when it sees them for the second time.
        assert said["state"] == "left"
        assert said["frames"] == len(passing) - (index > 0)
        assert said["duration_s"] == passing[-1][1] - passing[-said["frames"]][1]
        [image] = event.body["images"]
        [found] = image["objectDetections"]
        best = max(seen["confidence"] for _, _, seen in passing)
        # Whole, and no frame leads by more than a tenth over the one that is kept.
        assert found["width"] > 0.99 * max(seen["width"] for _, _, seen in passing)
        assert found["confidence"] > best / 1.1
        [shown] = [frame for frame, _, seen in passing if abs(seen["x"] - found["x"]) < 1]
        picture = cv2.imread(str(store.pictures.get(image["inputSourceId"]).path))
        assert cv2.absdiff(picture, shown).mean() < 4


def test_the_models_answers_are_recorded_as_annotations(store):
    found = Counter()
    for name in ("steel-sheets", "press-2", "hard-hats"):
        for event in events_of(store, name):
            [image] = event.body["images"]
            for key in ("instanceSegmentations", "keypoints", "objectDetections"):
                for entry in image.get(key, ()):
                    found[name, key, entry["class"]] += 1
    hats = Counter(person["class"] for crew in FOUND["hard-hats"] for person in crew)
    assert found == {
        ("steel-sheets", "instanceSegmentations", "scratch"): sum(map(len, FOUND["steel-sheets"])),
        ("press-2", "keypoints", "person"): sum(map(len, FOUND["press-2"])),
        ("hard-hats", "objectDetections", "no-hard-hat"): hats["no-hard-hat"],
    }
    sheets_seen = [event.body["eventData"] for event in events_of(store, "steel-sheets")]
    assert [data["result"] for data in sheets_seen] == [
        "fail" if scratches else "pass" for scratches in FOUND["steel-sheets"]
    ]
    assert len({data["externalId"] for data in sheets_seen}) == len(FOUND["steel-sheets"])


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

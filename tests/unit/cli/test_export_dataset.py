"""`vision-events export-dataset` against a real server, interrupted in every way."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import threading
import zipfile
from collections import Counter
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
import supervision

from tests.unit.server.scenes import picture
from vision_event_block import settings
from vision_event_block.cli.export_state import ExportState
from vision_event_block.server.api.ingest import ingest
from vision_event_block.server.http_server import serving
from vision_event_block.server.keys import Keys
from vision_event_block.server.page.exports import export
from vision_event_block.server.storage import Store
from vision_event_block.server.store.filters import Filters

KEY = "key-for-all-of-it-1"
NOW = datetime.now(timezone.utc).replace(microsecond=0)
BOX = {"class": "dent", "x": 40.5, "y": 30.25, "width": 21.0, "height": 10.5, "confidence": 0.9}
PICTURES = 20
#: More than one page of them.
EVENTS = 130


class Gate(ThreadingHTTPServer):
    """Between a client and a server: counts the pictures that came through, and may interfere."""

    daemon_threads = True

    def __init__(self, url):
        super().__init__(("127.0.0.1", 0), _Passage)
        self.server_url = url
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.passed = Counter()
        self.asked = Counter()
        #: What becomes of a request, given its path: None, or something done with its handler.
        self.interfere = lambda path, handler: None

    @property
    def pictures(self):
        return Counter({path: n for path, n in self.passed.items() if "/pictures/" in path})


class _Passage(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked[self.path] += 1
        if self.server.interfere(self.path, self):
            self.close_connection = True
            return
        headers = {
            key: self.headers[key] for key in ("Authorization", "Content-Type") if self.headers[key]
        }
        reply = requests.request(
            self.command, self.server.server_url + self.path, data=body, headers=headers, timeout=60
        )
        self.send_response(reply.status_code)
        for name in ("Content-Type", "Content-Length"):
            self.send_header(name, reply.headers[name])
        self.end_headers()
        self.wfile.write(reply.content)
        self.server.passed[self.path] += 1

    do_POST = do_GET  # noqa: N815 -- what the standard library looks for

    def log_message(self, *arguments):
        pass


def cut_off(handler):
    """Half of a picture, and then nothing."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n\xff\xd8\xff half")
    handler.wfile.flush()
    handler.connection.close()
    return True


def unavailable(handler):
    words = b'{"error": "busy"}'
    handler.wfile.write(b"HTTP/1.1 503 Busy\r\nContent-Length: %d\r\n\r\n" % len(words) + words)
    return True


@pytest.fixture
def store(tmp_path, monkeypatch):
    with (
        Store.open(tmp_path / "server", lookback_days=None) as store,
        serving(store, Keys([KEY])) as url,
    ):
        store.use_cases.create("Dock", id="dock")
        store.url = url
        monkeypatch.setenv("ROBOFLOW_API_KEY", KEY)
        monkeypatch.setenv("VISION_EVENT_READ_TIMEOUT_S", "60")
        point_at(url, monkeypatch)
        yield store


def point_at(url, monkeypatch):
    monkeypatch.setenv("VISION_EVENT_API_URL", url)
    settings.current.cache_clear()


@pytest.fixture
def gate(store, monkeypatch):
    with Gate(store.url) as gate:
        threading.Thread(target=gate.serve_forever, daemon=True).start()
        point_at(gate.url, monkeypatch)
        yield gate
        gate.shutdown()


def put(store, *bodies):
    events = []
    for number, body in enumerate(bodies):
        event = {
            "eventId": f"event-{number}",
            "eventType": "custom",
            "useCaseId": "dock",
            "timestamp": (NOW - timedelta(minutes=number)).isoformat(),
            **body,
        }
        events.append(ingest(event, now=NOW).event)
    store.put(events)


@pytest.fixture
def filled(store):
    """Events, some of them with pictures, and one verdict about one, then another."""
    shown = [store.pictures.put(picture(colour=(n * 12, 90, 0))).id for n in range(PICTURES - 1)]
    gif = store.pictures.put(picture("GIF")).id
    images = [
        {"inputSourceId": each, "objectDetections": [BOX], "keypoints": [
            {**BOX, "class": "grip", "keypoints": [{"id": 1, "x": 33, "y": 20}]}
        ]}
        for each in (*shown, gif, shown[0], "f" * 32)
    ]  # fmt: skip
    put(store, *({"images": [each]} for each in images), *({} for _ in range(EVENTS)))
    for number, verdict in enumerate(("correct", "incorrect")):
        put(
            store,
            {
                "eventId": f"verdict-{number}",
                "eventType": "operator_feedback",
                "eventData": {"relatedEventId": "event-3", "feedback": verdict},
                "timestamp": (NOW + timedelta(minutes=number)).isoformat(),
            },
        )
    return store


def files_in(folder):
    return {
        each.relative_to(folder).as_posix(): each.read_bytes()
        for each in folder.rglob("*")
        if each.is_file()
    }


def files_of_the_server(store, kind="yolo", **filters):
    content = b"".join(export(store, kind, Filters(use_case_id="dock", **filters), []))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


@pytest.mark.parametrize("layout", ["yolo", "yolo-seg", "yolo-pose", "coco"])
def test_it_is_the_data_set_that_the_server_exports(run, filled, tmp_path, layout):
    result = run("export-dataset", tmp_path / "out", "--use-case", "dock", "--format", layout)

    assert result.exit_code == 0, result.output
    kind = "coco-zip" if layout == "coco" else layout
    assert files_in(tmp_path / "out") == files_of_the_server(filled, kind)
    assert f"Exported: {PICTURES} pictures" in result.output
    assert "Left out: 1 picture no longer there" in result.output


def test_supervision_loads_it(run, filled, tmp_path):
    run("export-dataset", tmp_path / "out", "--use-case", "dock", "--split", "1/0/0")

    found = supervision.DetectionDataset.from_yolo(
        images_directory_path=str(tmp_path / "out/train/images"),
        annotations_directory_path=str(tmp_path / "out/train/labels"),
        data_yaml_path=str(tmp_path / "out/data.yaml"),
    )
    assert len(found) == PICTURES
    for _, _, detections in found:
        assert detections.xyxy.tolist() == [[30, 25, 51, 35.5]] * 2


def test_no_picture_is_fetched_twice(run, filled, gate, tmp_path):
    assert run("export-dataset", tmp_path / "out", "--use-case", "dock").exit_code == 0

    # Each of the server's, the GIF that is no use among them, though two events show the first.
    assert set(gate.pictures.values()) == {1}
    assert len(gate.asked) >= PICTURES


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["killed", "Ctrl-C"])
def test_a_process_that_is_ended_is_continued_by_the_next(filled, gate, run, tmp_path, how):
    process = None
    ended = threading.Event()

    def end(path, handler):
        if len(gate.pictures) == 7 and not ended.is_set():
            ended.set()
            process.send_signal(how)
            process.wait(100)
            return True
        return None

    gate.interfere = lambda path, handler: end(path, handler) if "/pictures/" in path else None
    command = ["export-dataset", str(tmp_path / "out"), "--use-case", "dock"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from vision_event_block.cli import main; main()", *command],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    said = process.communicate(timeout=100)[1]

    assert ended.is_set()
    assert process.returncode == (-how if how == signal.SIGKILL else 1)
    assert "Traceback" not in said
    if how == signal.SIGINT:
        assert "Interrupted. Run the same command again" in said
    assert len(files_in(tmp_path / "out")) > 7

    assert run(*command).exit_code == 0
    assert files_in(tmp_path / "out") == files_of_the_server(filled)
    assert set(gate.pictures.values()) == {1}


def test_a_network_that_breaks_off_ends_it_and_the_next_one_continues(filled, gate, run, tmp_path):
    command = ("export-dataset", tmp_path / "out", "--use-case", "dock")
    pages = []

    def second_page(path, handler):
        if path.endswith("/query"):
            pages.append(path)
            return unavailable(handler) if len(pages) > 2 else None
        return None

    gate.interfere = second_page
    first = run(*command)
    gate.interfere = lambda path, handler: cut_off(handler) if len(gate.pictures) == 9 else None
    second = run(*command)
    gate.interfere = lambda path, handler: None
    third = run(*command)

    assert (first.exit_code, second.exit_code, third.exit_code) == (1, 1, 0)
    for each in (first, second):
        assert "Run the same command again to continue" in each.output
    assert files_in(tmp_path / "out") == files_of_the_server(filled)
    assert set(gate.pictures.values()) == {1}


def test_only_the_wrong_ones_and_other_filters(run, filled, tmp_path):
    put(
        filled,
        {"eventId": "by-7", "deviceId": "cam-7", "images": filled.get("event-0").body["images"]},
    )
    device = '{"deviceId": {"operator": "eq", "value": "cam-7"}}'

    wrong = run("export-dataset", tmp_path / "a", "--use-case", "dock", "--only-wrong")
    one = run("export-dataset", tmp_path / "b", "--use-case", "dock", "--query", device)
    late = run("export-dataset", tmp_path / "c", "--use-case", "dock", "--since", "330s")

    assert "Exported: 1 picture " in wrong.output
    assert files_in(tmp_path / "a") == files_of_the_server(filled, feedback=("incorrect",))
    assert b"event-3" in files_in(tmp_path / "a")["pictures.csv"]
    assert b"by-7,2" in files_in(tmp_path / "b")["pictures.csv"]
    assert "Exported: 1 picture " in one.output
    assert int(late.output.split("Exported: ")[1].split()[0]) < 8


def test_another_export_does_not_get_into_the_same_folder(run, filled, gate, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    command = ("export-dataset", tmp_path / "out", "--use-case", "dock")
    gate.interfere = lambda path, handler: unavailable(handler) if "/pictures/" in path else None
    assert run(*command).exit_code == 1

    full = run("export-dataset", tmp_path / "full", "--use-case", "dock")
    other = run(*command, "--format", "coco")

    assert (full.exit_code, other.exit_code) == (2, 2)
    assert "is not empty" in full.output
    assert "interrupted export with other options" in other.output


def test_what_will_not_get_better_is_told_apart_from_what_may(run, store, tmp_path, monkeypatch):
    unknown = run("export-dataset", tmp_path / "a", "--use-case", "nowhere")
    mended = run("export-dataset", tmp_path / "a", "--use-case", "dock")
    odd = run("export-dataset", tmp_path / "b", "--use-case", "dock", "--query", '{"colour": 1}')
    monkeypatch.setenv("ROBOFLOW_API_KEY", "some-other-key-2")
    no_key = run("export-dataset", tmp_path / "c", "--use-case", "dock")
    point_at("http://127.0.0.1:9", monkeypatch)
    away = run("export-dataset", tmp_path / "d", "--use-case", "dock")

    assert [each.exit_code for each in (unknown, mended, odd, no_key, away)] == [1, 0, 1, 1, 1]
    for each in (unknown, odd):
        assert "Trying again will not help" in each.output
    assert "Set another ROBOFLOW_API_KEY" in no_key.output
    assert "Run the same command again" in away.output
    for options in (["--split", "90/20"], ["--query", "[]"], ["--since", "monday"]):
        assert run("export-dataset", tmp_path / "e", "--use-case", "dock", *options).exit_code == 2


class Elsewhere(ThreadingHTTPServer):
    """Serves one picture at addresses whose signature is the one of now."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Picture)
        self.seen = []
        self.signature = "old"

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}/1.jpg?signature={self.signature}"


class _Picture(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.seen.append(self.headers.get("Authorization"))
        content = picture() if self.path.endswith(self.server.signature) else b""
        self.send_response(200 if content else 403)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


def test_an_event_may_say_where_its_pictures_are_and_the_key_does_not_go_there(
    run, store, tmp_path
):
    image = {"inputSourceId": "in the cloud", "objectDetections": [BOX]}
    command = ("export-dataset", tmp_path / "out", "--use-case", "dock")
    with Elsewhere() as elsewhere:
        threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
        put(store, {"images": [{**image, "inputUrl": elsewhere.address}]})
        elsewhere.signature = "new"

        expired = run(*command)
        put(store, {"images": [{**image, "inputUrl": elsewhere.address}]})
        again = run(*command)
        elsewhere.shutdown()

    assert (expired.exit_code, again.exit_code) == (1, 0)
    assert (
        "may have expired, and new addresses will be requested. Run the same command"
        in expired.output
    )
    assert "Exported: 1 picture " in again.output
    assert set(elsewhere.seen) == {None}


def test_two_exports_do_not_share_a_folder(run, store, tmp_path):
    (tmp_path / "out").mkdir()
    with ExportState(tmp_path / "out"):
        result = run("export-dataset", tmp_path / "out", "--use-case", "dock")

    assert result.exit_code == 1
    assert "Is another export running in this folder?" in result.output


def test_a_server_that_serves_no_pictures_is_named(run, store, tmp_path):
    put(store, {"images": [{"inputSourceId": "in the cloud", "objectDetections": [BOX]}]})

    result = run("export-dataset", tmp_path / "out", "--use-case", "dock")

    assert result.exit_code == 1
    assert "None of the pictures can be fetched" in result.output

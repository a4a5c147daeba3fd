"""Pictures in a bucket: `vision-events serve` as a process, and a real storage that speaks S3.

A folder cannot be unreachable, and a library's own fake agrees with the library. Without these
tests nothing would show that an event of a 201 has its pictures however the process ends, that a
storage that is down costs no event and breaks no page, that what retention deletes is gone from
the bucket, and that the credentials appear in no file, log, page or error.
"""

from __future__ import annotations

import hashlib
import io
import random
import re
import sqlite3
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import ExitStack, closing
from importlib.util import find_spec

import psycopg
import pytest
import requests
from PIL import Image

from tests.integration.server.conftest import ago, bundle, event
from tests.integration.server.serve_process import launch, serve
from tests.object_storage import SECRET_KEY, object_storage
from tests.tools import missing
from tests.waiting import eventually
from vision_event_block.delivery.client import VisionEventsClient
from vision_event_block.delivery.errors import NotNow
from vision_event_block.delivery.secret import Secret

TWO_DAYS_US = 2 * 86_400 * 1_000_000
#: As a browser asks for an <img>.
IMG = {"Accept": "image/avif,image/webp,*/*;q=0.8"}


@pytest.fixture(scope="session")
def storage(tmp_path_factory):
    if find_spec("obstore") is None:
        missing("obstore (the extra [s3])")
    with object_storage(tmp_path_factory.mktemp("storage")) as storage:
        yield storage


@pytest.fixture
def bucket(storage, request):
    """The name of a bucket of the test's own."""
    name = f"b{hashlib.sha256(request.node.name.encode()).hexdigest()[:20]}"
    storage.new_bucket(name)
    return name


@pytest.fixture
def run(tmp_path, storage, bucket):
    """A function that starts a server on the bucket; all end with the test."""
    with ExitStack() as running:

        def start(*options, name="one", **environment):
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            given = {**storage.environment, **environment}
            url = ("--pictures-url", f"s3://{bucket}/line-7/")
            return running.enter_context(serve(folder, *url, *options, **given))

        yield start


def noisy(number, size=(400, 300)):
    """A picture like no other, too large to be lost in a header."""
    out = io.BytesIO()
    noise = random.Random(number).randbytes(size[0] * size[1])
    Image.frombytes("L", size, noise).convert("RGB").save(out, "JPEG", quality=70)
    return out.getvalue()


def new_use_case(server, name="Dock"):
    made = server.post("/vision-events/use-cases", json={"name": name})
    assert made.status_code == 201, made.text
    return made.json()["id"]


def post_event(server, use_case_id, *source_ids, **fields):
    images = [{"sourceId": each} for each in source_ids]
    sent = event(use_case_id, images=images, **fields)
    reply = server.post("/vision-events", json=sent)
    assert reply.status_code == 201, reply.text
    return sent


def test_a_picture_goes_all_the_way_through_a_bucket(run, storage, bucket):
    server = run()
    use_case_id = new_use_case(server)
    content = noisy(1)
    source_id = server.upload(content).json()["sourceId"]
    sent = event(use_case_id, images=[{"inputSourceId": source_id}])
    assert server.post("/vision-events", json=sent).status_code == 201

    assert storage.objects(bucket) == {f"line-7/{source_id[:2]}/{source_id}.jpg": content}
    address = f"/vision-events/pictures/{source_id}"
    whole = server.get(address)
    assert (whole.content, whole.headers["Content-Type"]) == (content, "image/jpeg")
    assert whole.headers["Content-Length"] == str(len(content))
    assert f'filename="{source_id}.jpg"' in whole.headers["Content-Disposition"]

    for page in (f"/use-cases/{use_case_id}", f"/events/{sent['eventId']}"):
        shown = set(re.findall(rf"{address}(?:\?side=\d+)?", server.get(page).text))
        assert shown, page
        for each in shown:
            picture = server.get(each, headers=IMG)
            assert (picture.status_code, picture.headers["Content-Type"]) == (200, "image/jpeg")
    with Image.open(io.BytesIO(server.get(f"{address}?side=160").content)) as thumbnail:
        assert thumbnail.size == (160, 120)

    for kind in ("jsonl-zip", "coco-zip"):
        exported = server.get(f"/use-cases/{use_case_id}/export/{kind}")
        with zipfile.ZipFile(io.BytesIO(exported.content)) as archive:
            assert content in [archive.read(name) for name in archive.namelist()], kind


def test_room_is_made_in_a_bucket_the_oldest_first(run, storage, bucket):
    server = run("--keep-bytes", "1MB")
    use_case_id = new_use_case(server)
    sources = []
    # One after the other: on a busy machine room is made meanwhile, and that for pictures without
    # an event would be made of events.
    for number in range(20):
        sources.append(server.upload(noisy(number)).json()["sourceId"])
        post_event(server, use_case_id, sources[-1], timestamp=ago(hours=99 - number))

    def left():
        there = {name.rpartition("/")[2][:32] for name in storage.objects(bucket)}
        return [source_id in there for source_id in sources]

    def answers():
        return [
            server.get(f"/vision-events/pictures/{source_id}").status_code for source_id in sources
        ]

    def settled():
        there = left()
        return there if there == [status == 200 for status in answers()] else None

    eventually(lambda: sum(map(len, storage.objects(bucket).values())) < 900_000)
    # Looked at once more, the next room may be in the making, whose pictures go in any order.
    there = eventually(settled)
    assert there == sorted(there)
    assert not there[0]
    assert there[-1]
    assert {status for status in answers() if status != 200} == {410}
    assert len(server.query(use_case_id)) == len(sources)


def test_a_bundle_and_a_device_event_leave_their_pictures_in_the_bucket(run, storage, bucket):
    server = run()
    use_case_id = new_use_case(server)
    payload = {
        "bundleFormatVersion": 1,
        **event(use_case_id, images=[{"file": "images/a.jpg"}]),
    }

    reply = server.post(
        "/vision-events/bundle", data=bundle(payload, {"images/a.jpg": noisy(2)}.items())
    )

    assert reply.status_code == 201, reply.text
    (stored,) = server.query(use_case_id)
    assert set(storage.objects(bucket).values()) == {noisy(2)}
    (source_id,) = (image["sourceId"] for image in stored["images"])
    assert server.get(f"/vision-events/pictures/{source_id}").content == noisy(2)


def test_what_retention_deletes_is_gone_from_the_bucket(run, storage, bucket, tmp_path):
    server = run()
    use_case_id = new_use_case(server)
    old, young = (server.upload(noisy(number)).json()["sourceId"] for number in (4, 5))
    post_event(server, use_case_id, old, timestamp=ago(days=9))
    post_event(server, use_case_id, young)
    forgotten = [server.upload(noisy(100 + n, (8, 8))).json()["sourceId"] for n in range(120)]
    server.get(f"/vision-events/pictures/{old}?side=160")
    assert len(storage.objects(bucket)) == 122
    server.kill()

    database = tmp_path / "one" / "data" / "vision-events.db"
    server = run("--delete-after-days", "5")
    eventually(lambda: len(server.query(use_case_id)) == 1)  # the picture goes a day later
    server.kill()
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE pictures SET idle_since_us = idle_since_us - ?", (TWO_DAYS_US,))
    server = run("--delete-after-days", "5")

    eventually(lambda: len(storage.objects(bucket)) == 1)
    with closing(sqlite3.connect(database)) as connection:
        ids = "SELECT id FROM pictures"
        eventually(lambda: connection.execute(ids).fetchall() == [(young,)])
    assert [each.rpartition("/")[2] for each in storage.objects(bucket)] == [f"{young}.jpg"]
    for gone in (old, forgotten[0]):
        assert server.get(f"/vision-events/pictures/{gone}").status_code == 404
    assert list((tmp_path / "one" / "data" / "thumbnails").rglob("*.jpg")) == []
    assert server.get(f"/vision-events/pictures/{young}").content == noisy(5)


def test_a_process_that_is_killed_while_pictures_come_leaves_none_without_its_bytes(
    run, storage, bucket, tmp_path
):
    uploaded, chance = {}, random.Random(5)
    for life in range(4):
        server = run()
        use_case_id = new_use_case(server, f"Life {life}")
        threads = [
            threading.Thread(
                target=_upload_until_it_ends, args=(server.url, n, use_case_id, uploaded)
            )
            for n in range(6)
        ]
        for thread in threads:
            thread.start()
        goal = len(uploaded) + 8
        eventually(lambda goal=goal: len(uploaded) >= goal)
        time.sleep(chance.uniform(0, 0.4))
        server.kill()
        for thread in threads:
            thread.join(60)

    objects = storage.objects(bucket)
    known = {name.rpartition("/")[2].partition(".")[0]: each for name, each in objects.items()}
    assert {each: known.get(each) for each in uploaded} == uploaded
    with closing(sqlite3.connect(tmp_path / "one" / "data" / "vision-events.db")) as connection:
        rows = {row[0] for row in connection.execute("SELECT id FROM pictures")}
        uses = {row[0] for row in connection.execute("SELECT picture_id FROM picture_uses")}
    assert set(known) <= rows
    assert uses <= set(known)


def _upload_until_it_ends(url, number, use_case_id, uploaded):
    """Notes what was answered with 201, as a client would rely on it."""
    client = requests.Session()
    client.trust_env = False
    for each in range(10_000):
        content = noisy(f"{use_case_id} {number} {each}", (64, 48))
        try:
            reply = client.post(
                f"{url}/vision-events/upload", files={"file": ("x.jpg", content)}, timeout=60
            )
            if reply.status_code == 201:
                uploaded[reply.json()["sourceId"]] = content
                sent = event(use_case_id, images=[{"sourceId": reply.json()["sourceId"]}])
                client.post(f"{url}/vision-events", json=sent, timeout=60)
        except requests.RequestException:
            return


def test_a_storage_that_is_down_costs_no_event_and_breaks_no_page(tmp_path):
    folder = tmp_path / "storage"
    folder.mkdir()
    with object_storage(folder) as storage:
        url = storage.new_bucket("pictures")
        variables = {**storage.environment, "VISION_EVENT_PICTURES_URL": url}
        with serve(tmp_path / "one", "--log-requests", **variables) as server:
            use_case_id = new_use_case(server)
            seen, unseen = (server.upload(noisy(n)).json()["sourceId"] for n in (6, 7))
            post_event(server, use_case_id, seen, unseen)
            assert server.get(f"/vision-events/pictures/{seen}?side=320").status_code == 200
            client = VisionEventsClient(base_url=server.url, api_key=Secret("a-key"))

            storage.stop()
            began_s = time.monotonic()
            for _ in range(3):
                reply = server.upload(noisy(8))
                assert (reply.status_code, reply.headers["Retry-After"]) == (503, "5")
                assert list(reply.json()) == ["error"]
            assert time.monotonic() - began_s < 30
            with pytest.raises(NotNow) as raised:
                client.upload(noisy(8))
            assert raised.value.retry_after_s == 5
            post_event(server, use_case_id)  # one without pictures does not care
            page = server.get(f"/use-cases/{use_case_id}")
            assert page.status_code == 200
            assert unseen in page.text or seen in page.text
            assert server.get(f"/vision-events/pictures/{seen}?side=320").status_code == 200
            for address in (
                f"/vision-events/pictures/{unseen}{side}" for side in ("", "?side=320")
            ):
                placeholder = server.get(address, headers=IMG)
                assert placeholder.status_code == 503
                assert placeholder.headers["Content-Type"] == "image/svg+xml"
                assert placeholder.headers["Cache-Control"] == "no-store"
                assert server.get(address).json()["error"].startswith("the picture storage")
            assert server.get(f"/use-cases/{use_case_id}/export/jsonl-zip").status_code == 503
            assert server.get(f"/use-cases/{use_case_id}/export/jsonl").status_code == 200

            storage.start()
            eventually(lambda: server.upload(noisy(8)).status_code == 201)
            assert client.upload(noisy(9)).source_id
            client.close()
            picture = server.get(f"/vision-events/pictures/{unseen}", headers=IMG)
            assert picture.content == noisy(7)
    log = (tmp_path / "one" / "serve.log").read_text()
    assert log.count("pictures cannot be kept or shown: the bucket pictures at") == 1
    assert "Traceback" not in log
    assert SECRET_KEY not in log


def test_a_picture_whose_object_was_deleted_by_others_is_not_there(storage, tmp_path):
    url = storage.new_bucket("emptied")
    variables = {**storage.environment, "VISION_EVENT_PICTURES_URL": url}
    with serve(tmp_path / "one", **variables) as server:
        use_case_id = new_use_case(server)
        source_id = server.upload(noisy(10)).json()["sourceId"]
        post_event(server, use_case_id, source_id)
        storage.forget("emptied", f"{source_id[:2]}/{source_id}.jpg")

        for side in ("", "?side=160"):
            assert server.get(f"/vision-events/pictures/{source_id}{side}").status_code == 404
            shown = server.get(f"/vision-events/pictures/{source_id}{side}", headers=IMG)
            assert (shown.status_code, shown.headers["Content-Type"]) == (404, "image/svg+xml")
        assert server.get(f"/use-cases/{use_case_id}/export/jsonl-zip").status_code == 200


def test_the_credentials_are_in_no_file_log_page_or_error(run, storage, tmp_path):
    server = run("--log-requests")
    use_case_id = new_use_case(server)
    source_id = server.upload(noisy(11)).json()["sourceId"]
    sent = post_event(server, use_case_id, source_id)
    pages = [
        "/",
        "/docs",
        "/openapi.json",
        "/health",
        f"/use-cases/{use_case_id}",
        f"/events/{sent['eventId']}",
        f"/vision-events/pictures/{source_id}?side=160",
        f"/use-cases/{use_case_id}/export/jsonl-zip",
    ]
    texts = [server.get(each).content for each in pages]
    server.process.terminate()
    server.process.wait(60)

    files = [path for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert {"serve.log", "printed.log", "vision-events.db"} <= {path.name for path in files}
    texts += [path.read_bytes() for path in files]
    for value in (
        storage.environment[f"AWS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")
    ):
        assert not [text for text in texts if value.encode() in text]


@pytest.mark.parametrize(
    ("changes", "url", "said"),
    [
        ({}, "s3://no-such-bucket/x", "there is no such bucket"),
        ({"AWS_SECRET_ACCESS_KEY": "another-s3cret"}, None, "refuses the credentials"),
        ({"AWS_ACCESS_KEY_ID": "another-s3cret"}, None, "refuses the credentials"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, None, "cannot be reached"),
        ({"AWS_ENDPOINT_URL": "http://me:another-s3cret@127.0.0.1:9"}, None, "without credentials"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:port-s3cret"}, None, "AWS_ENDPOINT_URL"),
        ({"AWS_ENDPOINT_URL": "not an address"}, None, "AWS_ENDPOINT_URL"),
        ({"AWS_ACCESS_KEY_ID": ""}, None, "AWS_SECRET_ACCESS_KEY are not set"),
        ({}, "s3://me:another-s3cret@bucket/x", "must be s3://bucket"),
        ({}, "https://bucket/x", "must be s3://bucket"),
        ({}, "s3://", "must be s3://bucket"),
        ({}, "s3://bucket/../x", "must be s3://bucket"),
    ],
)
def test_a_storage_that_cannot_be_used_is_one_line_at_the_start(
    storage, bucket, tmp_path, changes, url, said
):
    process = launch(
        tmp_path, "--pictures-url", url or f"s3://{bucket}", **{**storage.environment, **changes}
    )

    output, _ = process.communicate(timeout=120)

    log = (tmp_path / "serve.log").read_text()
    assert process.returncode == 1
    assert output == ""
    assert said in log
    assert log.count("\n") == 1, log
    assert "s3cret" not in log


def test_without_its_extra_it_says_what_to_install(tmp_path):
    program = (
        "import sys; sys.modules['obstore'] = sys.modules['obstore.store'] = None; "
        "from vision_event_block.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "serve", "--data", tmp_path, "--pictures-url", "s3://pics"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 1
    assert (
        "install vision-event-block again, with [server,s3] after its path or name" in done.stderr
    )
    assert done.stderr.count("\n") == 1


def test_two_servers_on_one_database_and_one_bucket_show_each_others_pictures(
    run, storage, bucket, postgres, tmp_path
):
    database_url = postgres.new_database()
    options = ("--database-url", database_url, "--delete-after-days", "5")
    one, other = (run(*options, name=name) for name in ("one", "other"))
    use_case_id = new_use_case(one)
    source_id = one.upload(noisy(12)).json()["sourceId"]
    post_event(other, use_case_id, source_id, timestamp=ago(days=9))
    address = f"/vision-events/pictures/{source_id}"

    for server in (one, other):
        assert server.get(address).content == noisy(12)
        assert server.get(f"{address}?side=160").status_code == 200
        assert source_id in server.get(f"/use-cases/{use_case_id}").text
    assert len(list(tmp_path.glob("*/data/thumbnails/*/*.jpg"))) == 2

    for server in (one, other):
        server.process.terminate()
        server.process.wait(60)
    with psycopg.connect(database_url, autocommit=True) as connection:
        cleaning = run(*options, name="one")
        eventually(lambda: connection.execute("SELECT count(*) FROM events").fetchone() == (0,))
        cleaning.kill()
        connection.execute("UPDATE pictures SET idle_since_us = idle_since_us - %s", [TWO_DAYS_US])
    run(*options, name="one")
    eventually(lambda: storage.objects(bucket) == {})
    other = run(*options, name="other")
    assert other.get(f"{address}?side=160").status_code == 404
    eventually(lambda: not list(tmp_path.glob("*/data/thumbnails/*/*.jpg")))

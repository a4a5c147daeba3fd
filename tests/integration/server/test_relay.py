"""The local server as a relay: `vision-events serve --forward-to`, as a process.

Without this, a plant whose network loses its route to the cloud would lose what its cameras saw,
or get it there twice, in an old version, under another id or without its pictures, and nobody
could see on the page that something waits or was refused.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest
import requests

from tests.host_environment import host_environment
from tests.integration.server.conftest import ago, bundle, device_event, event, picture
from tests.paths import paths_in
from tests.waiting import eventually
from vision_event_block.delivery.client import VisionEventsClient
from vision_event_block.delivery.secret import Secret
from vision_event_block.testing import StandInApi

COMMAND = [sys.executable, "-c", "from vision_event_block.cli import main; main()"]
KEY = "rf_the_key_of_the_relay"
CLIENT_KEY = "rf_the_key_of_a_camera"
USE_CASE = "line-4"


class RelayProcess(requests.Session):
    """A relay that runs, and a client of it."""

    def __init__(self, data, forward_to=None, options=(), **environment):
        super().__init__()
        self.trust_env = False
        self.headers["Authorization"] = f"Bearer {CLIENT_KEY}"
        self.data = data
        self._log = (data.parent / f"{data.name}.log").open("ab")
        variables = {
            "ROBOFLOW_API_KEY": KEY,
            "PYTHONUNBUFFERED": "1",
            "VISION_EVENT_MAX_BACKOFF_S": "0.2",
            "VISION_EVENT_OUTBOX_MIN_FREE_BYTES": "0",
            "VISION_EVENT_CLOSE_TIMEOUT_S": "0.5",
            **environment,
        }
        self.process = subprocess.Popen(
            [*COMMAND, "serve", "--port", "0", "--data", str(data), *options]
            + ([] if forward_to is None else ["--forward-to", forward_to]),
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, **variables},
        )
        self.printed = ""
        while "Ctrl-C" not in self.printed:
            line = self.process.stdout.readline()
            assert line, Path(self._log.name).read_text()
            self.printed += line
        self.url = re.search(r"http://[^\s]+", self.printed)[0]

    def request(self, method, url, *args, **kwargs):
        kwargs.setdefault("timeout", 60)
        return super().request(method, self.url + url, *args, **kwargs)

    def upload(self, content):
        reply = self.post("/vision-events/upload", files={"file": ("x.bin", content)})
        assert reply.status_code == 201, reply.text
        return reply.json()["sourceId"]

    def take(self, body):
        reply = self.post("/vision-events", json=body)
        assert reply.status_code == 201, reply.text
        return body["eventId"]

    def page(self, path="/forwarding"):
        reply = self.get(path)
        assert reply.status_code == 200, reply.text
        return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", reply.text))

    def strip(self):
        text = self.get("/").text
        found = re.search(r'<a class="badge forwarding.*?</a>', text, re.DOTALL)
        return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", found[0])).strip() if found else None

    def wait_for_strip(self, words):
        until(lambda: self.strip().startswith(words), self.strip)

    def cli(self, *arguments):
        return subprocess.run(
            [*COMMAND, *arguments, "--outbox", str(self.data / "outbox")],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def kill(self):
        self.process.kill()
        self._end()

    def stop(self):
        self.process.terminate()
        self._end()
        return self.process.returncode

    def _end(self):
        self.process.communicate(timeout=60)
        self._log.close()

    @property
    def log(self):
        return Path(self._log.name).read_text()


def until(holds, what, timeout_s=60.0):
    ends_at_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < ends_at_s, what()
        time.sleep(0.05)


@pytest.fixture
def cloud():
    with StandInApi() as api:
        yield api


@pytest.fixture
def relay_to(tmp_path):
    """A function that starts a relay on one folder, however often."""
    started = []

    def start_relay(url=None, *options, **environment):
        started.append(RelayProcess(tmp_path / "data", url, options, **environment))
        return started[-1]

    yield start_relay
    for relay in started:
        if relay.process.poll() is None:
            relay.kill()


def with_pictures(relay, number, **fields):
    """An event with two pictures of its own, and their bytes."""
    output, original = picture("PNG", (40 + number, 24)), picture("JPEG", (40 + number, 32))
    image = {
        "label": "workflow",
        "sourceId": relay.upload(output),
        "inputSourceId": relay.upload(original),
        "classifications": [{"class": "scratch", "confidence": 0.5}],
    }
    values = {"images": [image], "customMetadata": {"n": number}, **fields}
    return event(USE_CASE, displayImagePosition=0, **values), (output, original)


def assert_arrived(cloud, sent, pictures):
    """The event is at the cloud with everything that it was sent with."""
    there = cloud.events[sent["eventId"]]
    [image], [sent_image] = there["images"], sent["images"]
    assert cloud.picture_of(there) == pictures[0]
    assert cloud.picture_of(there, "input") == pictures[1]
    assert {**there, "images": [], "eventData": {}} == {**sent, "images": [], "eventData": {}}
    ids = ("sourceId", "inputSourceId")
    assert {k: v for k, v in image.items() if k not in ids} == {
        k: v for k, v in sent_image.items() if k not in ids
    }


def test_what_comes_in_without_a_route_waits_visibly_and_arrives_whole(cloud, relay_to):
    relay = relay_to(cloud.url)
    assert f"Forwards to         {cloud.url}" in relay.printed
    with cloud.refusing():
        started_s = time.monotonic()
        sent = [with_pictures(relay, number) for number in range(8)]
        for body, _ in sent[:4]:
            relay.take(body)
        batch = relay.post("/vision-events/batch", json={"events": [b for b, _ in sent[4:]]})
        assert batch.status_code == 201, batch.text
        member = picture("JPEG", (20, 20))
        in_archive = event(USE_CASE, bundleFormatVersion=1, images=[{"file": "images/a.jpg"}])
        archive = bundle(in_archive, {"images/a.jpg": member}.items())
        assert relay.post("/vision-events/bundle", data=archive).status_code == 201
        device = relay.post("/v2/events", json=device_event(USE_CASE))
        assert device.status_code == 201, device.text
        assert time.monotonic() - started_s < 30

        # The first event is in the hands of the courier for a moment, but it waits all the same.
        assert relay.strip().startswith(f"10 waiting for {cloud.url[7:]}")
        until(lambda: "does not answer" in relay.page(), relay.page)
        page = relay.page()
        assert "Waiting 10 events" in page
        assert "Accepted 10 events" in page
        assert "Last try POST" in page

    arrived = {it["eventId"]: it for it in cloud.wait_for_events(10, 60)}
    for body, pictures in sent:
        assert_arrived(cloud, body, pictures)
    assert cloud.picture_of(arrived[in_archive["eventId"]]) == member
    assert device.json()["id"] in arrived
    relay.wait_for_strip("All forwarded")
    until(lambda: "Delivered 10 events" in relay.page(), relay.page)
    kinds = {upload.media_type for upload in cloud.uploads.values()}
    assert {"image/png", "image/jpeg"} <= kinds
    assert relay.stop() == 0


def test_a_killed_relay_loses_nothing_and_sends_nothing_under_another_id(cloud, relay_to):
    with cloud.refusing():
        relay = relay_to(cloud.url)
        sent = [with_pictures(relay, number) for number in range(12)]
        changed = {**sent[0][0], "customMetadata": {"n": 99}}
        for body, _ in sent:
            relay.take(body)
        relay.take(changed)
        relay.kill()
        relay = relay_to(cloud.url)
        relay.wait_for_strip("13 waiting")
        relay.kill()

    relay = relay_to(cloud.url)
    cloud.wait_for_events(12, 60)
    relay.wait_for_strip("All forwarded")

    assert set(cloud.events) == {body["eventId"] for body, _ in sent}
    assert_arrived(cloud, changed, sent[0][1])
    for body, pictures in sent[1:]:
        assert_arrived(cloud, body, pictures)
    status = json.loads(relay.cli("status", "--json").stdout)
    assert (status["stored"], status["delivered"], status["unaccounted"]) == (13, 13, 0)


def test_what_the_relay_does_not_know_arrives_as_it_came_also_after_a_kill(cloud, relay_to):
    """In one request and in a batch, once and again with the same id."""
    first = {"exposure_us": 900, "lens": {"mm": [8, 0.5]}}

    def version(body, number):
        [image] = body["images"]
        box = {"class": "a", "x": 1, "y": 2, "width": 3, "height": 4, "confidence": 0.5}
        boxes = [{**box, "trackerId": number, "pose": {"z": None}}]
        odd = {"metadata": first, "later": number, "objectDetections": boxes}
        data = {"value": "v", "unit": "mm"}
        return {**body, "images": [{**image, **odd}], "eventData": data, "site": {"n": number}}

    with cloud.refusing():
        relay = relay_to(cloud.url)
        sent = [with_pictures(relay, number) for number in range(4)]
        for body, _ in sent[:2]:
            relay.take(version(body, 1))
        batch = relay.post(
            "/vision-events/batch", json={"events": [version(body, 1) for body, _ in sent[2:]]}
        )
        assert batch.status_code == 201, batch.text
        relay.take(version(sent[0][0], 2))
        relay.kill()

    relay = relay_to(cloud.url)
    cloud.wait_for_events(4, 60)
    relay.wait_for_strip("All forwarded")
    for body, pictures in sent:
        there = cloud.bodies[body["eventId"]]
        [image], [sent_image] = there["images"], body["images"]
        assert cloud.picture_of(there) == pictures[0]
        assert cloud.picture_of(there, "input") == pictures[1]
        ids = {key: image[key] for key in ("sourceId", "inputSourceId")}
        as_sent = {**body, "images": [{**sent_image, **ids}]}
        assert there == version(as_sent, 2 if body is sent[0][0] else 1)


def test_however_it_is_killed_the_cloud_ends_with_what_the_relay_has(cloud, relay_to):
    """Clients write new events and change old ones all the while, over a link that fails."""
    chance = random.Random(5)
    answered, tried = {}, {}
    cloud.flaky(0.2, 0.1, seed=5)

    def write(relay, own):
        for number in itertools.count():
            event_id = own.choice([*tried, str(uuid4())])
            version = tried[event_id] = tried.get(event_id, 0) + 1
            images = []
            if number % 2:
                images = [{"sourceId": relay.upload(picture(size=(20 + version, 20)))}]
            body = event(USE_CASE, eventId=event_id, images=images, deviceId=str(version))
            relay.take(body)
            answered[event_id] = version

    def live(relay, own):
        with suppress(requests.RequestException):  # it was killed
            write(relay, own)

    for life in range(1, 6):
        relay = relay_to(cloud.url)
        with ThreadPoolExecutor(1) as pool:
            clients = pool.submit(live, relay, random.Random(chance.random()))
            try:
                # On a busy machine few are written in so little time, and most change old ones.
                eventually(lambda life=life: len(answered) > life)
                time.sleep(chance.uniform(0.3, 1.0))
            finally:
                relay.kill()
            clients.result(60)
    cloud.heal()
    relay = relay_to(cloud.url)
    relay.wait_for_strip("All forwarded")

    assert len(answered) > 5
    assert answered.keys() <= cloud.events.keys() <= tried.keys()
    for event_id, version in answered.items():
        here = relay.get(f"/events/{event_id}", params={"as": "json"}).json()
        there = cloud.events[event_id]
        assert here["deviceId"] == there["deviceId"]
        assert int(there["deviceId"]) >= version
        assert len(here["images"]) == len(there["images"])
        if here["images"]:
            shown = relay.get("/vision-events/pictures/" + here["images"][0]["sourceId"])
            assert cloud.picture_of(there) == shown.content
    status = json.loads(relay.cli("status", "--json").stdout)
    assert (status["pending"], status["dead"], status["unaccounted"]) == (0, 0, 0)


def test_a_second_version_that_was_delivered_before_survives_a_kill(cloud, relay_to):
    relay = relay_to(cloud.url)
    first = event(USE_CASE, customMetadata={"n": 1})
    relay.take(first)
    cloud.wait_for_events(1)
    relay.wait_for_strip("All forwarded")
    with cloud.refusing():
        relay.take({**first, "customMetadata": {"n": 2}})
        relay.kill()

    relay = relay_to(cloud.url)
    until(lambda: cloud.events[first["eventId"]]["customMetadata"] == {"n": 2}, relay.page)


def test_the_last_version_of_an_event_is_the_one_that_stays(cloud, relay_to):
    """Old versions have pictures to upload, so that the new ones would overtake them."""
    relay = relay_to(cloud.url)
    cloud.delay_s = 0.03
    sent = [with_pictures(relay, number)[0] for number in range(15)]

    def write(body):
        relay.take(body)
        for version in range(3):
            latest = {**body, "images": [], "customMetadata": {"version": version}}
            latest.pop("displayImagePosition")
            relay.take(latest)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, sent))
    relay.wait_for_strip("All forwarded")

    assert len(cloud.events) == 15
    for body in sent:
        assert cloud.events[body["eventId"]]["customMetadata"] == {"version": 2}


def test_a_dead_letter_is_told_with_its_reason_and_comes_back_as_the_event_is_now(cloud, relay_to):
    relay = relay_to(cloud.url)
    body, pictures = with_pictures(relay, 1)
    cloud.poison(body["eventId"], 400, "solution <line-4> is not known")
    relay.take(body)
    relay.wait_for_strip("1 refused")

    page = relay.get("/forwarding").text
    assert "solution &lt;line-4&gt; is not known" in page
    assert f'href="/events/{body["eventId"]}"' in page
    assert relay.get(f"/events/{body['eventId']}").status_code == 200

    cloud.cure(body["eventId"])
    changed = {**body, "customMetadata": {"n": 2}}
    relay.take(changed)
    cloud.wait_for_events(1)
    requeued = relay.cli("requeue", "--all")
    assert requeued.returncode == 0, requeued.stderr
    until(lambda: len(cloud.arrivals) == 2, relay.page)

    relay.wait_for_strip("All forwarded")
    assert_arrived(cloud, changed, pictures)


def test_with_a_full_outbox_clients_are_told_to_come_back(cloud, relay_to):
    cloud.refuse()
    relay = relay_to(cloud.url, VISION_EVENT_OUTBOX_MAX_EVENTS="3")
    for _ in range(3):
        relay.take(event(USE_CASE))
    refused = event(USE_CASE)

    replies = [
        relay.post("/vision-events", json=refused),
        relay.post("/vision-events/batch", json={"events": [refused]}),
        relay.post("/v2/events", json=device_event(USE_CASE)),
    ]

    assert {reply.status_code for reply in replies} == {503}
    assert all(int(reply.headers["Retry-After"]) > 0 for reply in replies)
    assert "VISION_EVENT_OUTBOX_MAX_EVENTS" in replies[0].json()["error"]
    assert "VISION_EVENT_OUTBOX_MAX_EVENTS" in replies[2].json()["detail"]
    assert relay.get(f"/events/{refused['eventId']}").status_code == 404
    cloud.accept()
    cloud.wait_for_events(3)
    relay.wait_for_strip("All forwarded")
    relay.take(refused)
    until(lambda: refused["eventId"] in cloud.events, relay.page)


def test_a_picture_that_is_not_here_is_left_out_and_counted(cloud, relay_to):
    relay = relay_to(cloud.url)
    image = {"label": "a", "sourceId": "f" * 32, "inputSourceId": relay.upload(picture())}
    position = {"displayImagePosition": 1}
    body = event(USE_CASE, images=[{"sourceId": "of another server"}, image], **position)
    relay.take(body)

    cloud.wait_for_events(1)
    [there] = cloud.events.values()
    first, image_there = there["images"]
    assert cloud.uploads[image_there.pop("inputSourceId")].picture == picture()
    assert (first, image_there) == ({}, {"label": "a"})
    assert there["displayImagePosition"] == 1
    until(lambda: "Without picture 2 references" in relay.page(), relay.page)
    assert "is forwarded without 2 of its pictures" in relay.log


@pytest.mark.parametrize("event_id", ["../../../escape", "\N{SNOWMAN}" * 100])
def test_an_event_id_is_never_a_path(cloud, relay_to, event_id):
    cloud.refuse()
    relay = relay_to(cloud.url)
    relay.take(event(USE_CASE, eventId=event_id))
    relay.kill()
    assert not list(relay.data.parent.glob("**/*escape"))
    assert len(paths_in(relay.data, "outbox/slots/*/*.tar")) == 1

    relay = relay_to(cloud.url)
    cloud.accept()
    assert [it["eventId"] for it in cloud.wait_for_events(1)] == [event_id]


def test_no_key_is_ever_written_down(cloud, relay_to):
    cloud.refuse_key(KEY)
    relay = relay_to(cloud.url, "--log-requests")
    body, _ = with_pictures(relay, 1)
    relay.take(body)
    until(lambda: "refuses the key" in relay.page(), relay.page)
    page, printed = relay.get("/forwarding").text, relay.printed
    relay.kill()

    files = [path for path in relay.data.rglob("*") if path.is_file()]
    assert len(files) > 5
    for content in (page.encode(), printed.encode(), relay.log.encode()):
        assert KEY.encode() not in content
    for path in files:
        content = path.read_bytes()
        assert KEY.encode() not in content, path
        assert CLIENT_KEY.encode() not in content, path
    assert {record.headers["Authorization"] for record in cloud.requests} == {f"Bearer {KEY}"}


def test_the_block_records_through_the_relay(cloud, relay_to, tmp_path):
    cloud.refuse()
    relay = relay_to(cloud.url)
    script = Path(__file__).parents[1] / "engine_process.py"
    fields = {"use_case": "a-use-case-of-the-cloud", "fire_and_forget": False}
    done = subprocess.run(
        [sys.executable, str(script), "standalone", json.dumps({"fields": fields, "runs": 3})],
        env=host_environment(
            VISION_EVENT_API_URL=relay.url,
            VISION_EVENT_OUTBOX=str(tmp_path / "outbox of the block"),
            ROBOFLOW_API_KEY=CLIENT_KEY,
        ),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    outputs = json.loads(done.stdout.splitlines()[-1])["outputs"]
    assert [each["delivery_status"] for each in outputs] == ["delivered"] * 3
    relay.wait_for_strip("3 waiting")

    cloud.accept()
    arrived = cloud.wait_for_events(3, 60)
    assert {each["eventId"] for each in arrived} == {each["event_id"] for each in outputs}
    assert {each["useCaseId"] for each in arrived} == {"a-use-case-of-the-cloud"}
    kept = relay.get("/events/" + outputs[0]["event_id"], params={"as": "json"}).json()
    shown = relay.get("/vision-events/pictures/" + kept["images"][0]["inputSourceId"])
    there = cloud.events[outputs[0]["event_id"]]
    assert cloud.picture_of(there, "input") == shown.content


def test_another_real_server_can_be_the_cloud(start, relay_to):
    cloud = start(keys=[KEY])
    cloud.headers["Authorization"] = f"Bearer {KEY}"
    use_case = cloud.new_use_case()
    relay = relay_to(cloud.url)
    client = VisionEventsClient(base_url=relay.url, api_key=Secret(CLIENT_KEY))
    source_id = client.upload(picture("WEBP"), media_type="image/webp").source_id
    sent = event(use_case, images=[{"sourceId": source_id, "label": "a"}], deviceId="cam-1")
    client.create(sent)
    client.batch([event(use_case, customMetadata={"n": 1}), event("not-known-there")])
    client.close()

    until(lambda: len(cloud.events_of(use_case)) == 2, relay.page)
    there = cloud.store.get(sent["eventId"])
    assert cloud.store.pictures.get(there.body["images"][0]["sourceId"]).read() == picture("WEBP")
    here = relay.get(f"/events/{sent['eventId']}", params={"as": "json"}).json()
    here["images"][0].pop("sourceId")
    there.body["images"][0].pop("sourceId")
    assert there.body == {key: here[key] for key in there.body}
    until(lambda: "not known here" in relay.page(), relay.page)


def test_an_event_without_an_id_and_with_the_name_of_its_use_case_goes_on_with_both_ids(
    cloud, relay_to
):
    relay = relay_to(cloud.url)
    relay.take(event("id-in-the-cloud"))  # the relay makes the use case
    renamed = relay.put("/vision-events/use-cases/id-in-the-cloud", json={"name": "Line 4"})
    assert renamed.status_code == 200, renamed.text
    sent = event("Line 4", customMetadata={"n": 1})
    del sent["eventId"], sent["timestamp"]

    created = relay.post("/vision-events", json=sent)
    by_new_name = relay.post("/vision-events", json=event("Known to the cloud only"))

    assert (created.status_code, by_new_name.status_code) == (201, 201), created.text
    cloud.wait_for_events(3)
    there = cloud.events[created.json()["eventId"]]
    assert there["useCaseId"] == "id-in-the-cloud"
    assert there["customMetadata"] == {"n": 1}
    [here] = relay.post(
        "/vision-events/query", json={"useCaseId": "Line 4", "hasWarnings": True}
    ).json()["events"]
    assert (here["eventId"], here["timestamp"]) == (there["eventId"], there["timestamp"])
    assert cloud.events[by_new_name.json()["eventId"]]["useCaseId"] == "Known to the cloud only"


def test_what_came_in_before_stays_and_a_plain_server_says_nothing_of_forwarding(cloud, relay_to):
    plain = relay_to()
    assert plain.get("/forwarding").status_code == 404
    assert plain.strip() is None
    assert plain.post("/vision-events", json=event(USE_CASE)).status_code == 400
    made = plain.post("/vision-events/use-cases", json={"name": "Line 4", "id": USE_CASE})
    assert made.status_code == 201
    before = plain.take(event(USE_CASE))
    plain.stop()

    relay = relay_to(cloud.url)
    after = relay.take(event(USE_CASE))
    cloud.wait_for_events(1)
    relay.wait_for_strip("All forwarded")
    assert set(cloud.events) == {after}
    assert relay.get(f"/events/{before}").status_code == 200


def test_on_a_good_end_what_can_go_goes(cloud, relay_to):
    # Far more than the second it takes: on a busy machine that is ten.
    relay = relay_to(cloud.url, VISION_EVENT_CLOSE_TIMEOUT_S="45")
    cloud.delay_s = 0.05
    ids = [relay.take(event(USE_CASE)) for _ in range(20)]
    assert relay.stop() == 0
    assert set(cloud.events) == set(ids)


def test_a_cloud_that_hangs_does_not_hold_up_the_end(cloud, relay_to):
    relay = relay_to(cloud.url, VISION_EVENT_READ_TIMEOUT_S="300")
    cloud.hang(3600)
    relay.take(event(USE_CASE, eventId=str(uuid4()), timestamp=ago(minutes=1)))
    eventually(lambda: cloud.hanging)
    started_s = time.monotonic()
    assert relay.stop() == 0
    assert time.monotonic() - started_s < 50, "a request that is not answered lasts longer"
    assert len(paths_in(relay.data, "outbox/slots/*/*.tar")) == 1
    assert "1 events are not forwarded yet" in relay.log

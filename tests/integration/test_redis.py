"""Several server processes with one Redis and one outbox between them.

Three processes: the stock server alone, and the stock server with two workers that share their
metrics through files. Without these tests nobody would notice if a plant with several workers
recorded each event several times, recorded none once Redis is away, counted one outbox twice, or
left the events of a killed worker lying.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from threading import Barrier, Event

import pytest
import requests
from typer.testing import CliRunner

from tests.integration.host_server import BLOCK_TYPE, host_server, plain_image, workflow
from tests.ports import free_port
from tests.tools import missing
from tests.waiting import eventually
from vision_event_block.blocks.cooldown import CACHE_RESTS_S
from vision_event_block.cli.commands import app
from vision_event_block.delivery.metrics import LEAVE_EVERY_S
from vision_event_block.testing import StandInApi

pytestmark = pytest.mark.timeout(600)

LONG_S = 3600
PROCESSES = 3


class Redis:
    """A server of its own port, which forgets everything when it is stopped."""

    def __init__(self, folder):
        self._folder = folder
        self.port = free_port()
        self._process = None

    def start(self):
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", ""]
        self._process = subprocess.Popen(command, cwd=self._folder, stdout=subprocess.DEVNULL)
        eventually(self.answers)

    def answers(self):
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait(60)
            self._process = None


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    if shutil.which("redis-server") is None:
        missing("redis-server")
    redis = Redis(tmp_path_factory.mktemp("redis"))
    try:
        redis.start()
        yield redis
    finally:
        redis.kill()


@pytest.fixture(scope="module")
def stand_in():
    with StandInApi() as stand_in:
        yield stand_in


@pytest.fixture(scope="module")
def outbox(tmp_path_factory):
    return tmp_path_factory.mktemp("outbox")


@pytest.fixture(scope="module")
def servers(redis, stand_in, outbox, tmp_path_factory):
    """The server alone, and the one with two workers."""
    environment = {
        "API_BASE_URL": stand_in.url,
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": str(redis.port),
        "VISION_EVENT_OUTBOX": str(outbox),
    }
    figures = tmp_path_factory.mktemp("figures")
    with ExitStack() as running:
        both = [
            running.enter_context(host_server(tmp_path_factory.mktemp("alone"), **environment)),
            running.enter_context(
                host_server(
                    tmp_path_factory.mktemp("workers"),
                    workers=2,
                    PROMETHEUS_MULTIPROC_DIR=str(figures),
                    **environment,
                )
            ),
        ]
        assert all(server.url for server in both)
        yield both


@pytest.fixture
def api(stand_in):
    yield stand_in
    stand_in.heal()


@pytest.fixture
def ask(servers, request):
    """A function that runs some steps on one of the servers and gives their outputs by name."""

    def ask(server, *names, picture=None, key="gate", **fields):
        step = {
            "type": BLOCK_TYPE,
            "input_image": "$inputs.image",
            "event_type": "quality_check",
            "use_case": request.node.name,
            "cooldown_seconds": LONG_S,
            # Over a wire: written into the step it would make another step of it.
            "cooldown_key": "$inputs.key",
            **fields,
        }
        specification = workflow(
            *({**step, "name": name} for name in names),
            inputs=[{"type": "WorkflowParameter", "name": "key"}],
        )
        inputs = {"image": picture or plain_image(90), "key": key}
        body = {"specification": specification, "inputs": inputs}
        answer = servers[server].post("/workflows/run", body)
        assert answer.status_code == 200, answer.text
        [outputs] = answer.json()["outputs"]
        return outputs

    return ask


@pytest.fixture
def record(ask):
    """A function that runs one step on one of the servers and gives its outputs."""

    def record(server, **fields):
        return ask(server, "event", **fields)["event"]

    return record


def race(record, *, seconds=0.0, requests_each=10, **fields):
    """The outputs of concurrent requests through both servers."""
    ends_at_s = time.monotonic() + seconds
    start = Barrier(8)

    def client(number):
        outputs = []
        start.wait()
        while len(outputs) < requests_each or time.monotonic() < ends_at_s:
            outputs.append(record(number % 2, **fields))
        return outputs

    with ThreadPoolExecutor(8) as clients:
        return [output for outputs in clients.map(client, range(8)) for output in outputs]


def statuses(outputs):
    return Counter(output["delivery_status"] for output in outputs)


# --- the cooldown


def test_of_concurrent_requests_to_three_processes_one_is_recorded(api, ask):
    """Many steps in one workflow: the processes meet at each of them anew."""
    names = [f"step_{number}" for number in range(25)]
    start = Barrier(6)

    def client(number):
        for turn in range(4):
            start.wait(60)
            for name, output in ask(number % 2, *names, key=str(turn)).items():
                yield name, turn, output["delivery_status"]

    with ThreadPoolExecutor(6) as clients:
        told = [
            line for lines in clients.map(lambda n: list(client(n)), range(6)) for line in lines
        ]

    stored = Counter((name, turn) for name, turn, status in told if status == "stored")
    assert stored == {(name, turn): 1 for name in names for turn in range(4)}
    assert {status for *_, status in told} == {"stored", "throttled"}


def test_each_period_has_one_event(api, record):
    began_s = time.monotonic()
    outputs = race(record, seconds=5.3, cooldown_seconds=1)
    periods = (time.monotonic() - began_s) / 1.0

    accepted = statuses(outputs)["stored"]
    assert statuses(outputs).keys() == {"stored", "throttled"}
    # A process that finds the period spent asks anew with its next request, so that none is left
    # out, but for those that a busy machine's requests outlast.
    assert 2 <= accepted <= 1 + periods


def test_an_event_that_is_refused_leaves_the_period_to_the_other_server(api, record):
    api.fail(422, route="create", times=1)

    refused = record(0, fire_and_forget=False)
    taken = record(1, fire_and_forget=False)
    again = [record(server, fire_and_forget=False) for server in (0, 1)]

    assert refused["delivery_status"] == "rejected"
    assert taken["delivery_status"] == "delivered"
    assert statuses(again) == {"throttled": 2}


def test_cameras_and_cooldown_keys_count_by_themselves(api, record):
    def seen_by(camera):
        metadata = {
            "video_identifier": camera,
            "frame_number": 1,
            "frame_timestamp": "2026-01-01T08:00:00",
        }
        return {**plain_image(90), "video_metadata": metadata}

    first = [record(0, key="a"), record(0, picture=seen_by("line-1"))]
    same = [record(1, key="a"), record(1, picture=seen_by("line-1"))]
    others = [record(1, key="b"), record(1, picture=seen_by("line-2"))]

    assert statuses(first) == {"stored": 2}
    assert statuses(same) == {"throttled": 2}
    assert statuses(others) == {"stored": 2}


def test_without_redis_each_process_counts_by_itself_until_redis_is_back(
    api, record, redis, servers
):
    """No request fails while Redis goes, while it is away and while it comes back."""
    assert record(0, key="before")["delivery_status"] == "stored"
    stop = Event()

    def go_on(server):
        outputs = []
        while not stop.is_set():
            outputs.append(record(server, key="all the time", cooldown_seconds=0.5))
        return outputs

    def are_shared(key):
        """Whether what one server records keeps the other from it, whichever worker answers."""
        pairs = [[record(server, key=f"{key} {n}") for server in (0, 1)] for n in range(4)]
        return all(statuses(pair) == {"stored": 1, "throttled": 1} for pair in pairs)

    with ThreadPoolExecutor(2) as clients:
        running = [clients.submit(go_on, server) for server in (0, 1)]
        try:
            time.sleep(0.3)
            redis.kill()
            time.sleep(0.3)
            alone = race(record, key="alone")
            known = record(0, key="before")
            redis.start()
            keys = map("back {}".format, count())
            eventually(lambda: are_shared(next(keys)), CACHE_RESTS_S + 60)
        finally:
            stop.set()
        outputs = [output for future in running for output in future.result(60)]

    assert statuses(alone)["stored"] == PROCESSES
    assert statuses(alone).keys() == {"stored", "throttled"}
    assert known["delivery_status"] == "throttled"
    assert statuses(outputs).keys() == {"stored", "throttled"}
    said = [
        server.log.read_text("utf-8", "replace").count("cooldown is not shared")
        for server in servers
    ]
    assert said == [server.workers for server in servers], "once for each process"


# --- the outbox and its metrics


def figures(server):
    """The values of our metrics by name and labels, as one worker of the server gives them."""
    text = requests.get(server.url + "/metrics", timeout=60).text
    lines = re.findall(r"^vision_events_(\S+) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in lines}


def counts(server):
    found = figures(server)
    return {
        name: sum(value for key, value in found.items() if re.match(rf"{name}\b", key))
        for name in (
            "accepted_total",
            "delivered_total",
            "stored_total",
            "outbox_events",
            "dead_letters",
        )
    }


def status_of(outbox):
    result = CliRunner().invoke(app, ["status", "--json", "--outbox", str(outbox)])
    return json.loads(result.stdout)


@pytest.fixture
def emptied(servers, outbox):
    """The outbox, once everything of the tests before is delivered."""
    eventually(lambda: status_of(outbox)["pending"] == 0)
    return outbox


def settled(servers, expected):
    """Waits until every worker tells these counts; asks often enough to meet each of them."""

    def agree():
        told = [counts(server) for server in servers for _ in range(6)]
        return all(told_one == expected for told_one in told)

    eventually(agree, LEAVE_EVERY_S + 60)


def test_every_worker_tells_the_same_and_what_the_api_got(api, record, servers, emptied):
    with api.refusing():
        waiting = [record(number % 2, cooldown_seconds=0) for number in range(6)]
        eventually(lambda: all(counts(server)["outbox_events"] == 6 for server in servers))
    eventually(lambda: {output["event_id"] for output in waiting} <= set(api.events))
    eventually(lambda: status_of(emptied)["pending"] == 0)

    delivered = len(api.events)
    dead = status_of(emptied)["dead"]
    settled(
        servers,
        {
            "accepted_total": delivered + dead,
            "delivered_total": delivered,
            "stored_total": delivered + dead,
            "outbox_events": 0,
            "dead_letters": dead,
        },
    )
    names = {key for server in servers for key in figures(server) if key.startswith("outbox_info")}
    assert len(names) == 1, "one outbox, by whose name the maximum can be taken"
    assert str(emptied) in names.pop()


def test_what_a_killed_server_leaves_is_delivered_once_by_the_others(api, record, servers, emptied):
    killed, living = servers
    with api.refusing():
        outputs = [record(number % 2, cooldown_seconds=0) for number in range(8)]
        # The one that lives knows what the other has accepted once that has written it.
        eventually(lambda: counts(living)["accepted_total"] == status_of(emptied)["stored"])
        killed.process.kill()
        killed.process.wait(60)
        assert status_of(emptied)["pending"] == 8
    ids = {output["event_id"] for output in outputs}
    eventually(lambda: ids <= set(api.events))
    eventually(lambda: status_of(emptied)["pending"] == 0)

    arrivals = Counter(event_id for event_id, _ in api.arrivals)
    assert {event_id: arrivals[event_id] for event_id in ids} == dict.fromkeys(ids, 1)
    status = status_of(emptied)
    assert (status["delivered"], status["unaccounted"]) == (len(api.events), 0)
    settled(
        [living],
        {
            "accepted_total": status["stored"],
            "delivered_total": status["delivered"],
            "stored_total": status["stored"],
            "outbox_events": 0,
            "dead_letters": status["dead"],
        },
    )

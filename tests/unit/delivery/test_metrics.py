"""The outbox as metrics: the same figures from whichever worker is asked."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import REGISTRY

from tests.ports import free_port
from vision_event_block.delivery import metrics
from vision_event_block.delivery.counters import ACCEPTED, Counters
from vision_event_block.outbox.entry import Address, ClockReading, DeliveryMetadata
from vision_event_block.outbox.outbox import Outbox
from vision_event_block.outbox.quota import OutboxLimits

METADATA = DeliveryMetadata(
    Address("api", "http://127.0.0.1:9", "abc"), ClockReading(2e9, 5.0, "boot")
)


@pytest.fixture
def workers(tmp_path):
    """Two processes' holds on one outbox."""
    both = [Outbox(tmp_path, OutboxLimits(min_free_bytes=0)) for _ in range(2)]
    yield both
    for outbox in both:
        outbox.close()


@pytest.fixture
def registry(tmp_path):
    """What a scrape tells of that outbox."""
    registry = CollectorRegistry()
    registry.register(metrics.OutboxCollector(tmp_path))
    return registry


def store(outbox, event_id):
    payload = {
        "bundleFormatVersion": 1,
        "eventId": event_id,
        "images": [{"label": "workflow", "file": "images/a.jpg"}],
    }
    return outbox.store(event_id, payload, {"images/a.jpg": bytes(1000)}, METADATA)


def write_status(outbox, document):
    """What another version may have written, as it stands in the file."""
    (outbox.slot_folder / "status.json").write_text(json.dumps(document))


def test_each_worker_answers_for_all_and_none_takes_its_counts_with_it(workers, registry):
    one, other = workers
    store(one, "a")
    one.delivered(store(one, "b"))
    other.drop(store(other, "c"), "age")
    other.move_to_dead_letters(store(other, "d"), {"reason": "no such use case"})

    def value(name, **labels):
        return registry.get_sample_value(f"vision_events_{name}", labels)

    def all_values():
        return (
            value("stored_total", reason=""),
            value("delivered_total", reason=""),
            value("dropped_total", reason="age"),
            value("outbox_events"),
            value("dead_letters"),
        )

    assert all_values() == (4, 1, 1, 1, 1)
    other.close()
    one.adopt()
    assert all_values() == (4, 1, 1, 1, 1)


def test_each_count_is_there_before_the_first_event(workers, registry):
    """Else Prometheus sees no rise, and no alert comes for the first loss."""
    for name in ("dropped", "shed", "internal_errors", "rejected", "accepted"):
        assert registry.get_sample_value(f"vision_events_{name}_total", {"reason": ""}) == 0


def test_labels_hold_no_password_and_no_key_and_there_are_only_so_many(workers, registry):
    many = metrics.MAX_DESTINATIONS + 50
    destinations = [
        {"address": f"https://me:s3cret@box (key {n:012x})", "state": "open", "last_success_s": n}
        for n in range(many)
    ]
    destinations += [
        {"address": f"https://box-{n}", "state": "open", "last_success_s": 1.0} for n in range(many)
    ]
    destinations.append({"address": "https://down", "state": "down", "last_success_s": None})
    write_status(workers[0], {"pid": 1, "destinations": destinations})

    said = generate_latest(registry).decode()

    assert "s3cret" not in said
    assert "(key" not in said
    assert said.count("vision_events_link_state{") == metrics.MAX_DESTINATIONS + 1
    assert said.count("last_success_timestamp_seconds{") <= metrics.MAX_DESTINATIONS
    assert 'vision_events_link_state{destination="https://down"} 1.0' in said
    assert 'vision_events_link_state{destination="others"} 0.0' in said


def test_the_worst_state_of_a_destination_counts_and_its_last_success(workers, registry):
    states = [("open", 100.0), ("key refused", None)]
    for outbox, (state, last_s) in zip(workers, states, strict=True):
        destination = {"address": "there", "state": state, "last_success_s": last_s}
        write_status(outbox, {"pid": 1, "destinations": [destination]})

    said = generate_latest(registry).decode()

    assert 'vision_events_link_state{destination="there"} 2.0' in said
    assert 'last_success_timestamp_seconds{destination="there"} 100.0' in said


def test_exposing_a_folder_twice_does_no_harm(tmp_path):
    def samples():
        lines = generate_latest(REGISTRY).decode().splitlines()
        return sum(line.startswith("vision_events_outbox_events ") for line in lines)

    before = samples()
    metrics.expose(tmp_path)
    metrics.expose(tmp_path)

    assert samples() == before + 1


def test_a_folder_that_is_gone_takes_no_other_metrics_along(tmp_path):
    registry = CollectorRegistry()
    registry.register(metrics.OutboxCollector(tmp_path / "gone"))
    Gauge("of_the_host", "Another's", registry=registry).set(7)

    said = generate_latest(registry).decode()

    assert "of_the_host 7.0" in said
    assert "vision_events" not in said


def test_processes_with_the_same_outbox_name_it_alike(tmp_path):
    def name_of(folder):
        folder.mkdir(exist_ok=True)
        [info] = (
            family
            for family in metrics.OutboxCollector(folder).collect()
            if family.name == "vision_events_outbox_info"
        )
        return info.samples[0].labels["outbox"]

    (tmp_path / "mounted").symlink_to(tmp_path / "here")

    assert name_of(tmp_path / "here") == name_of(tmp_path / "mounted")
    assert name_of(tmp_path / "here") != name_of(tmp_path / "there")


def test_requests_are_counted_and_timed_by_what_became_of_them(workers, registry):
    one, other = workers
    for worker in workers:
        counters = Counters()
        counters.add(ACCEPTED)
        counters.add_request("upload", "ok", 0.25)
        counters.add_request("upload", "link", 5.0)
        for name, number in counters.take().items():
            worker.journal.count(name, number)
        assert counters.take() == {}
    one.journal.count("rejected 400", 1)

    def value(name, **labels):
        return registry.get_sample_value(f"vision_events_{name}", labels)

    def all_values():
        return (
            value("accepted_total", reason=""),
            value("rejected_total", reason="400"),
            value("request_seconds_count", route="upload", outcome="ok"),
            value("request_seconds_sum", route="upload", outcome="ok"),
            value("request_seconds_sum", route="upload", outcome="link"),
        )

    assert all_values() == (2, 1, 2, 0.5, 10.0)
    other.close()
    one.adopt()
    assert all_values() == (2, 1, 2, 0.5, 10.0)


def test_workers_that_leave_their_figures_for_each_other_all_tell_the_same(workers, tmp_path):
    """With several processes a host shows only what lies in their common folder."""
    one, _ = workers
    store(one, "a")
    one.delivered(store(one, "b"))
    figures = tmp_path / "figures"
    figures.mkdir()
    environment = {**os.environ, metrics.MULTIPROCESS_FOLDER: str(figures)}
    command = [sys.executable, "-c", WORKER, str(tmp_path), str(figures)]
    said = []
    for _ in range(2):
        ended = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert ended.returncode == 0, ended.stderr
        said.append(ended.stdout)
    one_says, other_says = (
        [line for line in text.splitlines() if "_age_" not in line] for text in said
    )
    assert one_says == other_says
    assert 'vision_events_stored_total{reason=""} 2.0\n' in said[0]
    assert 'vision_events_delivered_total{reason=""} 1.0\n' in said[0]
    assert "vision_events_outbox_events 1.0\n" in said[0]


#: Exposes the folder, in a child that it forks too, and shows what a scrape would.
WORKER = """
import os, sys, threading, time
from pathlib import Path
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from vision_event_block.delivery import metrics

def threads():
    return sum(it.name == "vision-event-metrics" for it in threading.enumerate())

def figures():
    registry = CollectorRegistry()
    MultiProcessCollector(registry, sys.argv[2])
    return generate_latest(registry).decode()

def wait(condition):
    ends_at_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends_at_s, "no figures"
        time.sleep(0.01)

def wait_for_own_file():
    # Before a file is laid out whoever reads it stumbles.
    own = f"*_{os.getpid()}.db"
    wait(lambda: any(b"outbox_info" in it.read_bytes() for it in Path(sys.argv[2]).glob(own)))

metrics.expose(Path(sys.argv[1]))
metrics.expose(Path(sys.argv[1]))
assert threads() == 1, threads()
wait_for_own_file()
child = os.fork()
if child == 0:
    metrics.expose(Path(sys.argv[1]))
    wait_for_own_file()
    os._exit(threads())
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
wait(lambda: "} 1.0" in figures().partition("vision_events_outbox_info{")[2])
print(figures())
"""


def test_the_age_of_the_oldest_event_is_told_and_none_of_an_unknown_one(tmp_path):
    now_s = time.time()
    clocks = {"right": lambda: now_s - 100.0, "wrong": lambda: 5.0}
    ages_s = {}
    for name, clock in clocks.items():
        outbox = Outbox(tmp_path / name, OutboxLimits(min_free_bytes=0), now=clock)
        store(outbox, "a")
        registry = CollectorRegistry()
        registry.register(metrics.OutboxCollector(tmp_path / name))
        ages_s[name] = registry.get_sample_value("vision_events_outbox_oldest_age_seconds")
        outbox.close()
    assert 100.0 <= ages_s["right"] < 110.0
    assert ages_s["wrong"] == 0.0


def test_what_a_process_that_is_gone_said_about_its_links_does_not_count(workers, registry):
    one, other = workers
    for outbox, state in ((one, "open"), (other, "down")):
        destination = {"address": "there", "state": state, "last_success_s": None}
        write_status(outbox, {"pid": 1, "destinations": [destination]})

    def state():
        return registry.get_sample_value("vision_events_link_state", {"destination": "there"})

    assert state() == 1.0
    other.close()
    assert state() == 0.0


@pytest.mark.parametrize(
    "status",
    [
        {"destinations": [{"state": "open"}, {"address": "a"}, 7, None]},
        {"destinations": [{"address": "a", "state": ["x"], "last_success_s": "soon"}]},
        {"destinations": 7},
        {"destinations": {"address": "a"}},
    ],
)
def test_what_a_process_says_of_itself_by_halves_does_no_harm(workers, status, registry):
    one, _ = workers
    store(one, "a")
    write_status(one, {"pid": 1, **status})
    assert b"vision_events_outbox_events 1.0" in generate_latest(registry)


_PIPELINE = """
import sys
from vision_event_block.delivery import metrics
from pathlib import Path
folder = Path(sys.argv[1])
for _ in sys.stdin:
    metrics.expose(folder)
    print("said", flush=True)
"""


class Pipeline:
    """A process without an HTTP server, which shows its outbox whenever it is told to."""

    def __init__(self, folder, port):
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PIPELINE, folder],
            env={**os.environ, "VISION_EVENT_METRICS_PORT": str(port)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def expose(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "said\n"

    def end(self):
        """What it said on the way."""
        return self.process.communicate(timeout=30)[1]


def scraped(port):
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        return answer.read().decode()


def test_a_process_without_a_server_serves_its_metrics_on_a_port_and_the_next_takes_over(
    workers, tmp_path
):
    store(workers[0], "a")
    port = free_port()
    first, second = Pipeline(tmp_path, port), Pipeline(tmp_path, port)

    first.expose()
    assert "vision_events_outbox_events 1.0" in scraped(port)
    for _ in range(3):
        second.expose()  # the port is taken, and the pipeline goes on
    assert first.end() == ""
    second.expose()
    assert "vision_events_outbox_events 1.0" in scraped(port)

    said = second.end()
    assert said.count("VISION_EVENT_METRICS_PORT") == 1
    assert "Traceback" not in said


def test_a_forked_child_does_not_keep_its_parents_port(tmp_path):
    port = free_port()
    program = (
        "import os, sys; from pathlib import Path\n"
        "from vision_event_block.delivery import metrics\n"
        "folder = Path(sys.argv[1])\n"
        "metrics.expose(folder)\n"
        "if os.fork(): os._exit(0)\n"
        "print('child', flush=True)\n"
        "sys.stdin.readline()\n"
        "metrics.expose(folder)\n"
        "print('serves', flush=True)\n"
        "sys.stdin.readline()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path],
        env={**os.environ, "VISION_EVENT_METRICS_PORT": str(port)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "child\n"
    process.wait(30)  # the parent
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        pass
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "serves\n"
    assert "vision_events_outbox_events" in scraped(port)
    process.stdin.close()


def test_a_port_without_the_package_that_serves_it_is_said_and_costs_nothing(tmp_path):
    program = (
        "import sys; sys.modules['prometheus_client.core'] = None\n"
        "from pathlib import Path\n"
        "from vision_event_block.delivery import metrics\n"
        "for _ in range(2): metrics.expose(Path(sys.argv[1]))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path],
        env={**os.environ, "VISION_EVENT_METRICS_PORT": str(free_port())},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stderr.count("prometheus-client") == 1

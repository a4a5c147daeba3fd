"""The outbox as metrics: the same figures from whichever worker is asked."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import REGISTRY

from vision_event_block.delivery import metrics
from vision_event_block.delivery.tally import ACCEPTED, Tally
from vision_event_block.outbox.entry import Address, Moment, Notes
from vision_event_block.outbox.outbox import Outbox
from vision_event_block.outbox.room import OutboxLimits

NOTES = Notes(Address("api", "http://127.0.0.1:9", "abc"), Moment(2e9, 5.0, "boot"))


@pytest.fixture
def workers(tmp_path):
    """Two processes' holds on one outbox."""
    both = [Outbox(tmp_path, OutboxLimits(min_free_bytes=0)) for _ in range(2)]
    yield both
    for outbox in both:
        outbox.close()


def store(outbox, event_id):
    payload = {
        "bundleFormatVersion": 1,
        "eventId": event_id,
        "images": [{"label": "workflow", "file": "images/a.jpg"}],
    }
    return outbox.store(event_id, payload, {"images/a.jpg": bytes(1000)}, NOTES)


def test_each_worker_answers_for_all_and_none_takes_its_counts_with_it(workers, tmp_path):
    one, other = workers
    registry = CollectorRegistry()
    registry.register(metrics.OutboxCollector(tmp_path))
    store(one, "a")
    one.delivered(store(one, "b"))
    other.drop(store(other, "c"), "age")
    other.bury(store(other, "d"), {"reason": "no such use case"})

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


def test_the_worst_state_of_a_destination_counts_and_its_last_success(workers, tmp_path):
    states = [("open", 100.0), ("key refused", None)]
    for outbox, (state, last_s) in zip(workers, states, strict=True):
        destination = {"address": "there", "state": state, "last_success_s": last_s}
        outbox.write_status({"pid": 1, "destinations": [destination]})
    registry = CollectorRegistry()
    registry.register(metrics.OutboxCollector(tmp_path))

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


def test_requests_are_counted_and_timed_by_what_became_of_them(workers, tmp_path):
    one, other = workers
    for worker in workers:
        tally = Tally()
        tally.add(ACCEPTED)
        tally.add_request("upload", "ok", 0.25)
        tally.add_request("upload", "link", 5.0)
        for name, number in tally.take().items():
            worker.journal.count(name, number)
        assert tally.take() == {}
    one.journal.count("rejected 400", 1)
    registry = CollectorRegistry()
    registry.register(metrics.OutboxCollector(tmp_path))

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

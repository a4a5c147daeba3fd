"""What a server and a relay say of themselves: metrics, the log, and refusals on the page."""

from __future__ import annotations

import json
import re
from datetime import datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.server.conftest import error_of, event, picture
from tests.integration.server.serve_process import launch, serve
from tests.waiting import eventually
from vision_event_block.delivery.client import Secret, VisionEventsClient
from vision_event_block.delivery.errors import RejectedError
from vision_event_block.testing import StandInApi

READER = "a-key-that-reads-alone:read"
WRITER = "a-key-that-writes-too"


def bearer(key):
    return {"Authorization": f"Bearer {key.partition(':')[0]}"}


def samples(server, **options):
    """All samples of a scrape, by name and labels."""
    reply = server.get("/metrics", **options)
    assert reply.status_code == 200, reply.text
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
    }


def test_each_reason_is_there_before_the_first_refusal(start):
    """Else Prometheus sees no rise, and no alert comes for the first one."""
    said = samples(start())

    reasons = {key[1] for key in said if key[0] == "vision_events_server_refused_requests_total"}
    assert {"unknown use case", "no space", "other"} <= reasons
    assert {said["vision_events_server_refused_requests_total", reason] for reason in reasons} == {
        0
    }


def test_a_scrape_says_what_came_in_and_what_is_kept(start):
    server = start()
    use_case, content = server.new_use_case(), picture()
    server.upload(content)
    for _ in range(3):
        assert server.post("/vision-events", json=event(use_case)).status_code == 201
    batch = {"events": [event(use_case, eventType="safety_alert")]}
    assert server.post("/vision-events/batch", json=batch).status_code == 201

    said = samples(server)

    assert said["vision_events_server_events_total", "custom"] == 3
    assert said["vision_events_server_events_total", "safety_alert"] == 1
    assert said["vision_events_server_answers_total", "201", "POST /vision-events"] == 3
    assert said["vision_events_server_request_seconds_count", "POST /vision-events"] == 3
    assert said["vision_events_server_stored_events",] == 4
    assert said["vision_events_server_stored_pictures",] == 1
    assert said["vision_events_server_stored_bytes", "pictures"] == len(content)
    assert said["vision_events_server_stored_bytes", "database"] > 0
    assert said["vision_events_server_disk_free_bytes",] > 0
    assert said["vision_events_server_received_bytes_total",] > len(content)


def test_with_keys_a_scrape_needs_one_that_reads(start):
    server = start(keys=[READER, "a-key-that-writes:write"])

    assert server.get("/metrics").status_code == 401
    assert server.get("/metrics", headers=bearer("a-key-that-writes")).status_code == 403
    assert samples(server, headers=bearer(READER))


def test_labels_are_of_a_small_set_whatever_is_asked(start):
    server = start()
    for number in range(5):
        server.get(f"/nowhere/{number}")
        server.request(f"VERB{number}", "/vision-events")
        server.get(f"/vision-events/pictures/{number}")
        server.post("/vision-events", json=event(f"use-case-{number}"))

    said = samples(server)

    assert said["vision_events_server_refused_requests_total", "unknown use case"] == 5
    assert said["vision_events_server_answers_total", "404", "none"] == 5
    named = {key for key in said if any(re.search(r"VERB|nowhere|case-\d", part) for part in key)}
    assert named == set()


@pytest.mark.parametrize(
    ("path", "options", "reason"),
    [
        ("/vision-events", {"json": {"eventType": "custom"}}, "invalid request"),
        ("/vision-events", {"data": b"x" * 11 * 2**20}, "body too large"),
        ("/vision-events", {"json": {}, "headers": {"Origin": "http://evil"}}, "not allowed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_refusal_is_counted_under_its_reason(server, path, options, reason):
    key = ("vision_events_server_refused_requests_total", reason)
    before = samples(server).get(key, 0)

    assert server.post(path, **options).status_code >= 400

    assert samples(server)[key] == before + 1


def test_refused_requests_stand_in_the_log_once_a_minute_for_each_client_and_on_the_page(
    start, caplog
):
    server = start(proxies=["127.0.0.1"], keys=[WRITER])
    use_case = server.new_use_case()

    def send(body, client):
        headers = {**bearer(WRITER), "X-Forwarded-For": client}
        return server.post("/vision-events", json=body, headers=headers)

    for _ in range(12):
        assert "not known" in error_of(send(event("x"), "10.0.0.7"))
    error_of(send(event("x"), "10.0.0.8"))
    error_of(send({**event(use_case), "eventType": "?"}, "10.0.0.8"))
    page = logged_in(server).get("/").text

    lines = [each.getMessage() for each in caplog.records if "refused" in each.getMessage()]
    assert lines[:2] == [
        "request refused: unknown use case 'x', from 10.0.0.7",
        "request refused: unknown use case 'x', from 10.0.0.8",
    ]
    assert lines[2].startswith("request refused: invalid request (eventType must be one of")
    assert len(lines) == 3
    shown = re.sub(r"<[^>]+>", "", page)
    assert re.search(
        r"12 requests refused since .{10,40}: unknown use case &#39;x&#39;, from 10.0.0.7", shown
    )
    assert re.search(r"1 request refused since .*: invalid request \(eventType must be", shown)


def logged_in(server):
    assert server.post("/login", data={"key": WRITER}).ok
    return server


def test_a_person_who_mistypes_in_a_form_is_answered_and_stands_in_no_list(start, caplog):
    server = start()

    assert server.post("/use-cases", data={"name": ""}).status_code == 400

    assert "refused" not in caplog.text
    assert "refused since" not in server.get("/").text


def test_the_question_of_doctor_whether_a_key_may_write_worries_nobody(start, caplog):
    server = start()

    with pytest.raises(RejectedError):
        VisionEventsClient(base_url=server.url, api_key=Secret("a-key")).create({})

    assert samples(server)["vision_events_server_refused_requests_total", "empty event"] == 1
    assert "refused" not in caplog.text
    assert "refused since" not in server.get("/").text


def test_a_refusal_cannot_write_into_the_log_or_the_page(start, caplog):
    server = start()

    server.post("/vision-events", json=event("<b>\x1b[2J\nWARNING all is well"))

    assert "unknown use case '<b>\\x1b[2J\\nWARNING all is well'" in caplog.text
    assert "<b>" not in server.get("/").text


def test_a_relay_says_what_waits_and_what_was_rejected(tmp_path):
    use_case = "line-4"
    environment = {
        "ROBOFLOW_API_KEY": "rf_key",
        "VISION_EVENT_OUTBOX_MIN_FREE_BYTES": "0",
        "VISION_EVENT_MAX_BACKOFF_S": "0.2",
    }
    with StandInApi() as cloud, serve(tmp_path, "--forward-to", cloud.url, **environment) as relay:
        bad, good = event(use_case), event(use_case)
        cloud.poison(bad["eventId"])
        with cloud.refusing():
            for body in (bad, good):
                assert relay.post("/vision-events", json=body).status_code == 201
            waiting = samples(relay)
        eventually(lambda: samples(relay)["vision_events_dead_letters",] == 1)
        eventually(lambda: samples(relay)["vision_events_delivered_total", ""] == 1)
        # It is counted as delivered a moment before its file goes.
        eventually(lambda: samples(relay)["vision_events_outbox_events",] == 0)
        ended = samples(relay)

    assert waiting["vision_events_outbox_events",] == 2
    assert waiting["vision_events_outbox_bytes",] > 0
    assert ended["vision_events_server_events_total", "custom"] == 2


def test_the_log_has_time_and_level(tmp_path):
    with serve(tmp_path, "--log-requests") as server:
        server.post("/vision-events", json=event("x\n"))

    lines = (tmp_path / "serve.log").read_text().splitlines()
    moment = r"\d{4}-\d\d-\d\dT[\d:.]{12}[+-]\d\d:\d\d"
    refused = f"{moment} WARNING request refused: unknown use case 'x\\\\n', from 127.0.0.1"
    assert any(re.fullmatch(refused, line) for line in lines), lines
    assert any(re.fullmatch(f'{moment} INFO .*"POST /vision-events .*', line) for line in lines)


def test_with_json_each_line_of_the_log_is_an_object_the_first_ones_too(tmp_path):
    process = launch(tmp_path, "--log-format", "json")
    log = tmp_path / "serve.log"
    try:
        eventually(lambda: "Ctrl-C" in log.read_text())
    finally:
        process.terminate()
        printed, _ = process.communicate()

    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert printed == ""
    assert {"Vision Events at", "Stopped."} <= {
        each["message"].partition(" http")[0] for each in records
    }
    assert all(each["level"] == "INFO" and datetime.fromisoformat(each["time"]) for each in records)

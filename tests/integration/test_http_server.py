"""The block on the host's stock HTTP server, which runs as a process of its own.

Blocks are new for each request there, and the server's threads are few: that is what matters here.
"""

from __future__ import annotations

import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import requests

from tests.host_environment import IS_OLD_HOST, needs_new_host
from tests.integration import coordinate_process
from tests.integration.coordinate_rows import ROWS
from tests.integration.host_server import BLOCK_TYPE, host_server, plain_image, workflow
from tests.waiting import eventually
from vision_event_block.testing import StandInApi

MANIFEST = Path(__file__).parents[2] / "manifests/vision_event@v1.json"
TRACK_MANIFEST = MANIFEST.with_name("track_event@v1.json")
TRACK_EVENT = "vision_event_block/track_event@v1"
BOXES = {"type": "WorkflowBatchInput", "name": "p", "kind": ["object_detection_prediction"]}

pytestmark = pytest.mark.timeout(600)

#: Of the server under test: how long a step waits for the API with Fire and Forget off.
WAIT_S = 1.5
#: As many as the server has threads for requests; one more would wait for a free one.
SERVER_THREADS = 40


@pytest.fixture(scope="module")
def stand_in():
    with StandInApi() as stand_in:
        yield stand_in


@pytest.fixture
def api(stand_in):
    """The API that the server talks to: one for all tests here, healthy again after each."""
    yield stand_in
    stand_in.heal()


@pytest.fixture(scope="module")
def _server(stand_in, tmp_path_factory):
    folder = tmp_path_factory.mktemp("host-server")
    environment = {
        "API_BASE_URL": stand_in.url,
        "VISION_EVENT_WAIT_S": str(WAIT_S),
        # Tests in this process may have left events behind whose API is gone.
        "VISION_EVENT_OUTBOX": str(folder / "outbox"),
    }
    with host_server(folder, **environment) as server:
        yield server


@pytest.fixture
def server(_server):
    """The server; what it logs during a test is shown if the test fails."""
    said_before = _server.log.stat().st_size
    yield _server
    with _server.log.open("rb") as lines:
        lines.seek(said_before)
        print(lines.read().decode("utf-8", "replace"))  # noqa: T201 - pytest keeps it for failures


@pytest.fixture
def step(request):
    """A step's definition; the test's name as its use case gives it cooldowns of its own."""
    return {
        "type": BLOCK_TYPE,
        "name": "event",
        "input_image": "$inputs.image",
        "event_type": "quality_check",
        "use_case": request.node.name,
    }


def grey_of(picture):
    """The grey of an uploaded picture."""
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    assert pixels.shape == (48, 64, 3)
    return float(pixels.mean())


def arrived(api, outputs):
    """The events that the outputs name, once all of them are with the API."""
    ids = [output["event_id"] for output in outputs]
    assert all(ids), outputs
    eventually(lambda: set(ids) <= set(api.events), 60)
    return [api.events[event_id] for event_id in ids]


def test_the_server_describes_the_block_with_every_field_and_output(server):
    described = server.post("/workflows/blocks/describe", {}).json()["blocks"]

    [block] = [block for block in described if block["manifest_type_identifier"] == BLOCK_TYPE]
    manifest = json.loads(MANIFEST.read_text(encoding="utf-8"))
    if not IS_OLD_HOST:  # which words some of it in its own way
        assert block == manifest
    schema = block["block_schema"]
    assert set(schema["properties"]) == set(manifest["block_schema"]["properties"])
    assert schema["required"] == ["type", "name", "event_type"]
    assert schema["anyOf"] == [{"required": ["use_case"]}, {"required": ["solution"]}]
    assert schema["block_type"] == "sink"
    assert schema["ui_manifest"]["section"] == "data_storage"
    assert schema["ui_manifest"]["icon"].startswith("fal fa-")
    assert "## Outputs" in schema["long_description"]
    assert block["human_friendly_block_name"] == "Vision Event"
    assert {output["name"]: output["kind"][0]["name"] for output in block["outputs_manifest"]} == {
        "error_status": "boolean",
        "throttling_status": "boolean",
        "event_id": "string",
        "message": "string",
        "delivery_status": "string",
    }


def test_the_server_describes_track_event_and_it_says_that_it_needs_a_pipeline(api, server, step):
    described = server.post("/workflows/blocks/describe", {}).json()["blocks"]
    step = {**step, "type": TRACK_EVENT, "predictions": "$steps.tracker.tracked_detections"}
    tracker = {
        "type": "roboflow_core/byte_tracker@v3",
        "name": "tracker",
        "image": "$inputs.image",
        "detections": "$inputs.p",
    }
    specification = workflow(tracker, step, inputs=[BOXES])
    found = {"x": 30, "y": 20, "width": 20, "height": 20, "confidence": 0.9, "class": "car"}
    image = plain_image(90)
    prediction = {"image": {"width": 64, "height": 48}, "predictions": [{**found, "class_id": 0}]}

    before = len(api.events)
    [output] = server.run(specification, image, inputs={"image": image, "p": [prediction]})

    [block] = [block for block in described if block["manifest_type_identifier"] == TRACK_EVENT]
    if not IS_OLD_HOST:  # which words some of it in its own way
        assert block == json.loads(TRACK_MANIFEST.read_text(encoding="utf-8"))
    assert block["human_friendly_block_name"] == "Track Event"
    assert block["block_schema"]["ui_manifest"]["section"] == "data_storage"
    assert [output["name"] for output in block["outputs_manifest"]][-1] == "events"
    if not IS_OLD_HOST:  # which does not tell a plugin of its server
        assert "needs a pipeline" in output["message"]
    assert output["events"] == []
    assert len(api.events) == before


def test_the_server_tells_the_editor_how_to_show_the_fields(server):
    described = server.post("/workflows/blocks/describe", {}).json()["blocks"]

    [block] = [block for block in described if block["manifest_type_identifier"] == BLOCK_TYPE]
    fields = block["block_schema"]["properties"]
    use_case_kinds = [kind["name"] for kind in fields["use_case"]["anyOf"][1]["kind"]]
    assert use_case_kinds[0] == "roboflow_solution", "this kind makes the editor show its picker"
    assert set(fields["event_type"]["values_metadata"]) == {
        "quality_check",
        "inventory_count",
        "safety_alert",
        "custom",
        "operator_feedback",
    }
    shown_for = {
        name: set(field["relevant_for"]["event_type"]["values"])
        for name, field in fields.items()
        if "event_type" in field.get("relevant_for", ())
    }
    assert shown_for == {
        "qc_result": {"quality_check"},
        "item_count": {"inventory_count"},
        "item_type": {"inventory_count"},
        "location": {"inventory_count"},
        "alert_type": {"safety_alert"},
        "severity": {"safety_alert"},
        "alert_description": {"safety_alert"},
        "custom_value": {"custom"},
        "related_event_id": {"operator_feedback"},
        "feedback": {"operator_feedback"},
        "feedback_comment": {"operator_feedback"},
        "external_id": {"quality_check", "inventory_count", "safety_alert", "custom"},
    }
    assert "step_fingerprint" not in fields
    names = list(fields)
    assert names[names.index("trigger") :][:9] == [
        *("trigger", "cooldown_seconds", "cooldown_key", "sample_percent"),
        *("before_seconds", "after_seconds", "story_fps", "story_side"),
        "fire_and_forget",
    ]
    assert fields["trigger"]["default"] is True
    assert fields["before_seconds"]["default"] == fields["after_seconds"]["default"] == 0
    assert (fields["story_fps"]["default"], fields["story_side"]["default"]) == (2, 640)
    [_, selector] = fields["trigger"]["anyOf"]
    assert [kind["name"] for kind in selector["kind"]] == ["boolean"]


def test_a_good_workflow_is_valid_and_validating_it_records_nothing(server, api, step):
    requests_before = len(api.requests)

    answer = server.post("/workflows/validate", workflow(step))

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert len(api.requests) == requests_before


@needs_new_host("nobody asks a block for its workload")
@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, {"cooldown_timer_resets_on_stateless_http"}),
        ({"cooldown_seconds": 0}, set()),
        (
            {"cooldown_seconds": 0, "before_seconds": 2},
            {"stateful_video_state_resets_on_stateless_http"},
        ),
        (
            {"type": TRACK_EVENT, "predictions": "$inputs.p", "before_seconds": 2},
            {"stateful_video_state_resets_on_stateless_http"},
        ),
    ],
)
def test_the_server_knows_all_work_of_a_step_and_what_limits_it(server, step, fields, named):
    specification = workflow({**step, **fields}, inputs=[BOXES])

    answer = server.post(
        "/workflows/describe_workload", {"specification": specification, "api_key": "any"}
    )

    (found,) = answer.json()["steps"]
    told = {name: found[name] for name in ("operations", "restrictions", "resources")}
    assert all(each["complete"] and not each["unknown_reasons"] for each in told.values()), told
    assert set(told["operations"]["items"]) == {
        "image_encoding", "storage_write", "external_request"
    }  # fmt: skip
    limits = {each["code"] for each in told["restrictions"]["items"]}
    assert limits == {"ephemeral_container_disk_loses_writes"} | named


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"qc_result": "passed"}, ["qc_result", "'pass' or 'fail'"]),
        ({"qc_reslt": "pass"}, ["qc_reslt: there is no such field", "did you mean qc_result?"]),
        ({"use_case": None}, ["use_case: a step needs the use case"]),
        ({"solution": "another"}, ["use_case: also given as `solution`"]),
        ({"cooldown_seconds": -1}, ["cooldown_seconds", "greater than or equal to 0"]),
        ({"timestamp": "yesterday"}, ["timestamp 'yesterday' cannot be read", "ISO 8601"]),
        ({"jpeg_quality": 0}, ["jpeg_quality must be a whole number from 1 to 100, not 0"]),
        ({"max_image_side": 3}, ["max_image_side must be a whole number from 16 to 65500"]),
        ({"event_type": "nonsense"}, ["event_type", "'quality_check', 'inventory_count'"]),
        ({"before_seconds": 61}, ["before_seconds", "must be a number from 0 to 60, not 61"]),
        ({"story_fps": 0}, ["story_fps must be more than 0"]),
        ({"story_side": 2000}, ["story_side must be a whole number from 64 to 1280"]),
        ({"sample_percent": 101}, ["sample_percent must be a number from 0 to 100, not 101"]),
        ({"trigger": "$inputs.image"}, ["property: trigger", "'image'"]),
        ({"predictions": "$inputs.image"}, ["property: predictions", "'image'"]),
        ({"predictions": "$steps.nope.predictions"}, ["predictions", "$steps.nope"]),
        ({"extra_images": {"top": "top.jpg"}}, ["extra_images.top"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_a_wrong_step_is_refused_with_the_field_named(server, step, change, words):
    wrong = {name: value for name, value in {**step, **change}.items() if value is not None}

    answer = server.post("/workflows/validate", workflow(wrong))

    assert answer.status_code == 400
    said = answer.json()
    told = f"{said['message']} {said['inner_error_message']} {said.get('blocks_errors')}"
    missing = [word for word in words if word not in told]
    assert not missing, told
    assert "event" in {error["block_id"] for error in said.get("blocks_errors") or ()} or (
        "$steps.event" in said["message"]
    )


OFFICIAL = "roboflow_core/roboflow_vision_events@v1"


@pytest.mark.parametrize("block_type", [OFFICIAL, BLOCK_TYPE])
def test_behind_a_gate_only_the_pictures_that_pass_are_recorded(server, api, step, block_type):
    """Boxes are drawn only where the gate is open; the sink itself has a picture either way."""
    gate = {
        "type": "roboflow_core/continue_if@v1",
        "name": "gate",
        "condition_statement": {
            "type": "StatementGroup",
            "statements": [
                {
                    "type": "UnaryStatement",
                    "operand": {"type": "DynamicOperand", "operand_name": "open"},
                    "operator": {"type": "(Boolean) is True"},
                }
            ],
        },
        "evaluation_parameters": {"open": "$inputs.open"},
        "next_steps": ["$steps.blur"],
    }
    blur = {"type": "roboflow_core/image_blur@v1", "name": "blur", "image": "$inputs.image"}
    sink = {
        **{key: value for key, value in step.items() if key != "use_case"},
        "type": block_type,
        "solution": step["use_case"],
        "output_image": "$steps.blur.image",
        "fire_and_forget": False,
        "cooldown_seconds": 0,
    }
    specification = workflow(
        gate, blur, sink, inputs=[{"type": "WorkflowParameter", "name": "open"}]
    )
    specification["outputs"] = specification["outputs"][-1:]
    before = len(api.events)

    for is_open in (False, True, False, False, True):
        body = {
            "specification": specification,
            "inputs": {"image": plain_image(90), "open": is_open},
            "api_key": "key-of-the-tests",
        }
        answer = server.post("/workflows/run", body)
        assert answer.status_code == 200, answer.text

    eventually(lambda: len(api.events) >= before + 2)  # the step stops waiting after a while
    assert len(api.events) == before + 2


def from_camera(name, image):
    """The picture as a client sends it that says which video it is from."""
    video = {
        "video_identifier": name,
        "frame_number": 1,
        "frame_timestamp": "2026-03-01T09:15:27",
        "fps": 30,
    }
    return {**image, "video_metadata": video}


def test_still_pictures_of_separate_requests_do_not_hold_each_other_back(server, api, step):
    specification = workflow({**step, "cooldown_seconds": 3600})

    outputs = [server.run(specification, plain_image(90))[0] for _ in range(10)]

    assert [output["delivery_status"] for output in outputs] == ["stored"] * 10
    arrived(api, outputs)


def test_what_names_itself_has_one_cooldown_across_requests(server, api, step):
    inputs = [{"type": "WorkflowParameter", "name": "station"}]
    named = {**step, "stream_id": "$inputs.station", "cooldown_seconds": 3600}

    def statuses(station):
        body = {
            "specification": workflow(named, inputs=inputs),
            "inputs": {"image": plain_image(90), "station": station},
        }
        rows = [server.post("/workflows/run", body).json()["outputs"] for _ in range(3)]
        return [row["event"]["delivery_status"] for [row] in rows]

    assert statuses("north") == ["stored", "throttled", "throttled"]
    assert statuses("south") == ["stored", "throttled", "throttled"]


def test_cameras_count_apart_and_across_requests(server, api, step):
    specification = workflow({**step, "cooldown_seconds": 3600})

    def statuses(camera):
        frame = from_camera(camera, plain_image(90))
        return [server.run(specification, frame)[0]["delivery_status"] for _ in range(2)]

    assert statuses("gate-1") == ["stored", "throttled"]
    assert statuses("gate-2") == ["stored", "throttled"]


def test_the_cooldown_holds_across_requests_and_ends(server, api, step):
    specification = workflow({**step, "cooldown_seconds": 1.5, "stream_id": "gate"})
    image = plain_image(90)

    started_s = time.monotonic()
    [first] = server.run(specification, image)
    [second] = server.run(specification, image)
    third = second
    while third["throttling_status"] and time.monotonic() < started_s + 30:
        time.sleep(0.05)
        [third] = server.run(specification, image)
    accepted_again_after_s = time.monotonic() - started_s

    assert first["delivery_status"] == "stored"
    assert second["delivery_status"] == "throttled"
    assert (second["event_id"], second["error_status"]) == ("", False)
    assert third["delivery_status"] == "stored"
    assert accepted_again_after_s >= 1.5
    arrived(api, [first, third])


@needs_new_host("it does not tell a plugin of its server")
def test_a_story_is_not_for_a_block_that_sees_one_request_and_a_trigger_is(server, api, step):
    specification = workflow({**step, "before_seconds": 5, "after_seconds": 1})

    [told] = server.run(specification, plain_image(90))
    [waiting] = server.run(workflow({**step, "trigger": False}), plain_image(90))

    assert "story: left out" in told["message"]
    assert "need a pipeline" in told["message"]
    [event] = arrived(api, [told])
    assert len(event["images"]) == 1
    assert (waiting["delivery_status"], waiting["event_id"]) == ("waiting", "")
    assert not waiting["error_status"]


def test_all_pictures_of_a_batch_pass_the_cooldown_with_their_own_picture(server, api, step):
    greys = [40, 120, 200]
    specification = workflow({**step, "cooldown_seconds": 3600, "stream_id": "gate"})

    outputs = server.run(specification, [plain_image(grey) for grey in greys])
    again = server.run(specification, [plain_image(grey) for grey in greys])

    assert [output["delivery_status"] for output in outputs] == ["stored"] * 3
    pictures = [grey_of(api.picture_of(event, "input")) for event in arrived(api, outputs)]
    assert pictures == pytest.approx(greys, abs=2)
    assert [output["delivery_status"] for output in again] == ["throttled"] * 3


def test_steps_of_one_workflow_have_cooldowns_of_their_own(server, api, step):
    step = {**step, "cooldown_seconds": 3600, "stream_id": "gate"}
    specification = workflow(step, {**step, "name": "other"})
    body = {"specification": specification, "inputs": {"image": plain_image(90)}}

    [first] = server.post("/workflows/run", body).json()["outputs"]
    [second] = server.post("/workflows/run", body).json()["outputs"]

    arrived(api, [first["event"], first["other"]])
    assert second["event"]["throttling_status"]
    assert second["other"]["throttling_status"]


@needs_new_host("a host could not tell a plugin to disable its sinks")
def test_a_request_that_disables_sinks_records_nothing(server, api, step):
    requests_before = len(api.requests)

    [disabled] = server.run(
        workflow({**step, "fire_and_forget": False}), plain_image(90), disable_sinks=True
    )

    assert disabled["delivery_status"] == "disabled"
    assert (disabled["event_id"], disabled["error_status"]) == ("", False)
    assert len(api.requests) == requests_before


@pytest.mark.parametrize(
    ("request_key", "sent_key"),
    [
        pytest.param(
            {"api_key": "key-of-line-3"},
            "key-of-line-3",
            marks=needs_new_host("a host kept the key of a request to itself"),
        ),
        ({}, "key-of-the-tests"),
    ],
    ids=["of the request", "of the server"],
)
def test_the_event_is_sent_with_the_key(server, api, step, request_key, sent_key):
    requests_before = len(api.requests)
    specification = workflow({**step, "fire_and_forget": False})

    [output] = server.run(specification, plain_image(90), **request_key)

    assert output["delivery_status"] == "delivered"
    # The host has calls of its own now and then.
    sent = [request for request in api.requests[requests_before:] if request.route]
    assert [request.route for request in sent] == ["upload", "create"]
    assert {request.headers["Authorization"] for request in sent} == {f"Bearer {sent_key}"}


def test_the_event_names_the_workflow_that_the_request_names(server, api, step):
    specification = workflow({**step, "cooldown_seconds": 0})

    [named] = server.run(specification, plain_image(90), workflow_id="line-3")
    [unnamed] = server.run(specification, plain_image(90))

    named_event, unnamed_event = arrived(api, [named, unnamed])
    assert named_event["workflowId"] == "line-3"
    assert "workflowId" not in unnamed_event


def test_concurrent_requests_each_record_their_own_picture_once(server, api, step):
    specification = workflow(
        {**step, "cooldown_seconds": 0, "external_id": "$inputs.serial"},
        inputs=[{"type": "WorkflowParameter", "name": "serial"}],
    )
    greys = [10 * number + 5 for number in range(24)]

    def inspect(grey):
        image, serial = plain_image(grey), str(grey)
        body = {"specification": specification, "inputs": {"image": image, "serial": serial}}
        [output] = server.post("/workflows/run", body).json()["outputs"]
        return output["event"]

    with ThreadPoolExecutor(8) as clients:
        outputs = list(clients.map(inspect, greys))

    events = arrived(api, outputs)
    assert len({event["eventId"] for event in events}) == len(greys)
    assert [event["eventData"] for event in events] == [{"externalId": str(g)} for g in greys]
    pictures = [grey_of(api.picture_of(event, "input")) for event in events]
    assert pictures == pytest.approx(greys, abs=2)
    use_cases = [event["useCaseId"] for event in api.events.values()]
    assert use_cases.count(step["use_case"]) == len(greys)


def test_a_hanging_api_neither_slows_requests_nor_occupies_the_server(server, api, step):
    specification = workflow({**step, "cooldown_seconds": 0})
    server.run(specification, plain_image(80))  # the first one waits until the host is ready
    api.hang(60)

    def inspect(_number):
        started_s = time.monotonic()
        [output] = server.run(specification, plain_image(90))
        return output, time.monotonic() - started_s

    with ThreadPoolExecutor(4) as clients:
        runs = list(clients.map(inspect, range(SERVER_THREADS + 10)))
    started_s = time.monotonic()
    server.post("/workflows/validate", workflow(step))
    plain_request_s = time.monotonic() - started_s
    api.heal()

    assert max(seconds for _, seconds in runs) < 50
    assert plain_request_s < 50
    arrived(api, [output for output, _ in runs])


def test_waiting_for_a_hanging_api_ends_in_time_and_the_event_goes_on(server, api, step):
    specification = workflow({**step, "fire_and_forget": False})
    api.hang(60, route="upload", times=1)

    started_s = time.monotonic()
    [output] = server.run(specification, plain_image(90))
    waited_s = time.monotonic() - started_s
    api.heal()

    assert WAIT_S - 0.1 < waited_s < 50
    assert output["delivery_status"] == "stored"
    assert output["error_status"] is False
    assert "has not answered in time" in output["message"]
    arrived(api, [output])


def test_an_event_taken_before_an_outage_arrives_after_it(server, api, step):
    specification = workflow({**step, "cooldown_seconds": 0})

    with api.refusing():
        [output] = server.run(specification, plain_image(90))
        time.sleep(0.5)  # long enough for some tries to fail
        assert output["event_id"] not in api.events

    assert output["delivery_status"] == "stored"
    arrived(api, [output])


def test_the_hosts_own_metrics_show_what_became_of_events(server, api, step):
    def value(name):
        lines = requests.get(server.url + "/metrics", timeout=60).text.splitlines()
        found = [float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)]
        return found[0] if found else 0.0

    def figures():
        return {
            name: value(f"vision_events_{name}")
            for name in (
                "accepted_total",
                "stored_total",
                "delivered_total",
                'request_seconds_count{outcome="ok",route="upload"}',
            )
        }

    def is_settled():
        """Whether all is written, which is done each second."""
        before = figures()
        time.sleep(2.5)
        return figures() == before

    arrived(api, server.run(workflow(step), plain_image(80)))
    eventually(lambda: value("vision_events_outbox_events") == 0)  # also of tests before
    eventually(is_settled)
    wanted = {name: number + 1 for name, number in figures().items()}

    arrived(api, server.run(workflow({**step, "cooldown_seconds": 0}), plain_image(90)))

    eventually(lambda: figures() == wanted)


@needs_new_host("it has not all of these steps")
def test_boxes_that_were_rolled_up_from_crops_lie_where_the_official_block_has_them(server, api):
    name = "`detections_list_rollup@v1`"
    _, pixels = coordinate_process.scene()
    _, png = cv2.imencode(".png", pixels)
    answer = server.post(
        "/workflows/run",
        {
            "api_key": "key",
            "specification": coordinate_process.workflow(ROWS[name], name),
            "inputs": {"image": {"type": "base64", "value": base64.b64encode(png).decode()}},
        },
    )

    assert answer.status_code == 200, answer.text
    [outputs] = answer.json()["outputs"]
    arrived(api, outputs.values())
    found = coordinate_process.middles(
        api.events[output["event_id"]] for output in outputs.values()
    )
    assert found == {
        f"{name}|whole|{kind}|{block}": [(430, 330)]
        for kind in ROWS[name].kinds
        for block in coordinate_process.BLOCKS
    }

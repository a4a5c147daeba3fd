"""The blocks that ship with the host record on the server, with nothing but its address set."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.host_environment import host_environment
from tests.integration.server.conftest import running

pytestmark = pytest.mark.timeout(600)

SCRIPT = Path(__file__).with_name("block_process.py")
KEY = "a-key-of-the-host"
CLOUD = "roboflow_core/roboflow_vision_events@v1"
BUNDLE = "roboflow_core/vision_event_bundle@v1"
SHOWN = {
    "input_image": "$inputs.image",
    "output_image": "$inputs.image",
    "predictions": "$inputs.predictions",
    "custom_metadata": {"shift": "night", "door": 4},
}
BOXES = "object_detection_prediction"

#: name -> (fields of the step, kind of its predictions, the event's data, the annotation list).
EVENTS = {
    "a check with boxes": (
        {"event_type": "quality_check", "qc_result": "fail", "external_id": "part-7"},
        BOXES,
        {"result": "fail", "externalId": "part-7"},
        "objectDetections",
    ),
    "a count with outlines": (
        {"event_type": "inventory_count", "location": "dock", "item_count": 18},
        "instance_segmentation_prediction",
        {"location": "dock", "itemCount": 18},
        "instanceSegmentations",
    ),
    "an alert with skeletons": (
        {"event_type": "safety_alert", "alert_type": "no_helmet", "severity": "high"},
        "keypoint_detection_prediction",
        {"alertType": "no_helmet", "severity": "high"},
        "keypoints",
    ),
    "a custom event": (
        {"event_type": "custom", "custom_value": "spill"},
        BOXES,
        {"value": "spill"},
        "objectDetections",
    ),
    "feedback": (
        {"event_type": "operator_feedback", "related_event_id": "e-0", "feedback": "incorrect"},
        BOXES,
        {"relatedEventId": "e-0", "feedback": "incorrect"},
        "objectDetections",
    ),
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A server, and what the blocks answered: one process for all, the host is slow to import."""
    folder = tmp_path_factory.mktemp("blocks")
    with running(folder / "server", keys=[KEY]) as server:
        server.headers["Authorization"] = f"Bearer {KEY}"
        use_cases = {name: server.new_use_case() for name in ("cloud", "device", "bundle")}
        kinds = {
            "cloud": {"type": CLOUD},
            "device": {
                "type": CLOUD,
                "write_to_event_store": True,
                "event_store_url": server.url,
            },
            "bundle": {"type": BUNDLE, "target_directory": str(folder / "bundles")},
        }
        steps = [
            ({**kinds[way], **SHOWN, "solution": use_cases[way], **fields}, kind)
            for way in kinds
            for fields, kind, _, _ in EVENTS.values()
        ]
        environment = host_environment(
            API_BASE_URL=server.url,
            ROBOFLOW_API_KEY=KEY,
            EVENT_INGESTION_API_KEY=KEY,
            MODEL_CACHE_DIR=str(folder / "models"),
            WORKFLOWS_PLUGINS="",
        )
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(SCRIPT), json.dumps(steps)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        answers = json.loads(done.stdout.splitlines()[-1])
        for number, answer in enumerate(answers):
            assert not answer["error_status"], (steps[number], answer)
        for path in sorted((folder / "bundles").iterdir()):
            reply = server.post("/vision-events/bundle", data=path.read_bytes())
            assert reply.status_code == 201, reply.text
            assert reply.json() == {"eventId": reply.json()["eventId"], "created": True}
        yield server, use_cases


@pytest.mark.parametrize("way", ["cloud", "device", "bundle"])
@pytest.mark.parametrize("name", EVENTS)
def test_an_official_block_records_an_event_with_all_it_saw(recorded, way, name):
    server, use_cases = recorded
    fields, _, event_data, annotations = EVENTS[name]

    [found] = server.events_of(use_cases[way], eventType=fields["event_type"])

    assert "warnings" not in found
    assert found["eventData"] == event_data
    assert found["customMetadata"] == {"shift": "night", "door": 4}
    [image] = found["images"]
    for key in ("sourceId", "inputSourceId"):
        shown = server.get(f"/vision-events/pictures/{image[key]}")
        assert (shown.status_code, shown.headers["content-type"]) == (200, "image/jpeg")
    [seen] = image[annotations]
    assert (seen["class"], seen["x"], seen["y"], seen["confidence"]) == ("pallet", 20, 15, 0.75)

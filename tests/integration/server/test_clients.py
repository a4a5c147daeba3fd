"""The official SDK, its command line and our own client work with the server unchanged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest

from tests.integration.server.conftest import answered, bundle, device_event, event, picture
from vision_event_block.delivery.client import EventStoreClient, VisionEventsClient
from vision_event_block.delivery.errors import AuthError, RejectedError
from vision_event_block.delivery.secret import Secret

KEY = "a-key-of-the-sdk"
CAMERA_KEY = "a-key-of-a-camera"


@pytest.fixture
def environment(start, tmp_path):
    """What a user of the SDK sets, for a server that wants a key."""
    server = start(keys=[KEY, f"{CAMERA_KEY}:device:update"])
    server.headers["Authorization"] = f"Bearer {KEY}"
    (tmp_path / "picture.jpg").write_bytes(picture())
    return server, {
        **os.environ,
        "API_URL": server.url,
        "ROBOFLOW_API_KEY": KEY,
        "ROBOFLOW_CONFIG_DIR": str(tmp_path / "none.json"),
    }


def run(*command, environment, folder):
    done = subprocess.run(
        [sys.executable, *command],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,  # the SDK is slow to import
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_call_of_the_official_sdk_is_answered_as_it_expects(environment, tmp_path):
    server, variables = environment
    script = Path(__file__).with_name("sdk_process.py")

    output = run(
        str(script), KEY, "picture.jpg", CAMERA_KEY, environment=variables, folder=tmp_path
    )

    answers = json.loads(output.splitlines()[-1])
    low, guide, high = answers["low"], answers["guide"], answers["high"]
    use_case_id = low["use_case_id"]
    assert server.get(f"/vision-events/pictures/{low['uploaded']['sourceId']}").content == picture()
    assert low["written"]["created"] is True
    assert low["batch"]["created"] == len(low["batch"]["eventIds"]) == 3
    assert set(low["queried"]) == {"events", "nextCursor", "hasMore", "lookbackDays"}
    assert (len(low["queried"]["events"]), low["queried"]["hasMore"]) == (2, True)
    assert low["schema"]["fields"] == {"door": {"types": ["number"]}}
    [listed] = low["listed"]["useCases"]
    assert (listed["id"], listed["eventCount"]) == (use_case_id, 4)
    assert low["renamed"] == {"id": use_case_id, "name": "Renamed"}
    assert low["archived"] == low["unarchived"] == {"success": True}
    assert [each["id"] for each in low["inactive"]["useCases"]] == [use_case_id]
    for refused in ("refused", "unknown", "duplicate"):
        assert list(low[refused]) == ["error"]

    ids = [guide["written"]["eventId"], *guide["batch"]["eventIds"]]
    assert [each["path"] for each in guide["written"]["warnings"]] == ["eventId"]
    assert len(guide["batch"]["warnings"]) == 4
    kept = guide["queried"]["events"]
    assert {each["eventId"] for each in kept} == set(ids)
    assert guide["schema"]["fields"] == {"door": {"types": ["number"]}}
    assert guide["incomplete"] == {"error": "eventType is required"}

    [limited] = answers["limited"]
    entry = {"field": "solution", "replacement": "useCaseId", "message": "use useCaseId"}
    assert limited["written"]["deprecations"] == [entry]
    assert limited["refused"] == {"error": "Insufficient permissions for this resource."}

    assert high["name"] == "local"
    assert [len(page) for page in high["pages"]] == [3, 3, 1]
    assert list(chain.from_iterable(high["pages"])) == high["written"][::-1]
    assert high["use_case_id"] in high["use_cases"]
    assert high["schema"] == {"n": {"types": ["number"]}}
    assert high["renamed"] == "Higher"


def test_the_official_command_line_works(environment, tmp_path):
    server, variables = environment

    def roboflow(*arguments):
        command = "from roboflow.roboflowpy import main; main()"
        output = run("-c", command, *arguments, environment=variables, folder=tmp_path)
        return json.loads(output[output.index("{") :])

    base = ("--json", "vision-events")
    use_case = server.store.use_cases.create("By hand").id
    uploaded = roboflow(*base, "upload-image", "picture.jpg", "-M", '{"camera": "north"}')
    sent = event(use_case, images=[{"sourceId": uploaded["sourceId"]}], customMetadata={"n": 1})
    written = roboflow(*base, "write", json.dumps(sent))
    found = roboflow(*base, "query", use_case, "--limit", "5")
    listed = roboflow(*base, "use-cases")

    assert written == {"eventId": sent["eventId"], "created": True}
    assert found["events"] == [answered(sent)]
    assert [each["name"] for each in listed["useCases"]] == ["By hand"]


@pytest.fixture
def client(server):
    client = VisionEventsClient(base_url=server.url, api_key=Secret(KEY))
    yield client
    client.close()


def test_our_own_client_understands_each_answer(server, use_case, client):
    source_id = client.upload(picture(), metadata={"camera": "north"}).source_id
    single = event(use_case, images=[{"sourceId": source_id}], deviceId=5)
    created = client.create(single)
    batch = client.batch([event(use_case), event(use_case, colour="red")])
    older = event(use_case)
    older["solution"] = older.pop("useCaseId")
    deprecated = client.create(older)
    archive = bundle({"bundleFormatVersion": 1, **event("nowhere")})
    bundled = client.bundle(archive, is_gzipped=True, use_case_id=use_case)

    assert created.event_id == single["eventId"]
    assert [(each.type, each.path) for each in created.warnings] == [("string.base", "deviceId")]
    assert (batch.created, len(batch.event_ids)) == (2, 2)
    assert [each.path for each in batch.warnings] == ["colour"]
    assert [str(each) for each in deprecated.deprecations] == [
        "solution is deprecated: use useCaseId"
    ]
    assert bundled.created
    assert len(server.events_of(use_case)) == 5


def test_our_own_client_knows_whose_trouble_a_refusal_is(server, client, start):
    with pytest.raises(RejectedError, match="nowhere"):
        client.create(event("nowhere"))
    locked = start(keys=[KEY, "another-key:read"])
    for key in ("an-unknown-key", "another-key"):
        other = VisionEventsClient(base_url=locked.url, api_key=Secret(key))
        with pytest.raises(AuthError):
            other.create(event("nowhere"))
        other.close()


def test_our_own_client_of_the_event_store_works(server, use_case):
    client = EventStoreClient(base_url=server.url)

    kept = client.create(device_event(use_case))
    with pytest.raises(RejectedError, match="colour"):
        client.create(device_event(use_case, event_data={"colour": "red"}))

    client.close()
    assert [each["eventId"] for each in server.events_of(use_case)] == [kept.id]

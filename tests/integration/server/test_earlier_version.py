"""A data folder that a server of version 0.1.0 wrote is opened and shown, and more goes into it."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
import requests
from PIL import Image

from tests.integration.server.conftest import event, running

ARCHIVE = Path(__file__).with_name("data-0.1.0.tar.gz")
KEY = "a-key-of-the-office"
#: The names and ids of its use cases.
DOCK, LINE = "anw9okdf", "lpqh5u6n"
OF_A_DEVICE = "804cc3c1-d352-4d25-97fa-aa8b365211f8"
#: Pictures of one colour, 32 x 24.
ORANGE, BLUE, GREEN = (
    "9756292f2bb408c4f9dd44ae4e3aa4aa",
    "aedc94baab1d1590d08d491ba84a314a",
    "66913defdb247158cb6274a06a78c4e1",
)
BOX = {"class": "dent", "x": 10.5, "y": 8, "width": 6, "height": 4, "confidence": 0.75}
CHECK = {
    "eventId": "check",
    "eventType": "quality_check",
    "useCaseId": DOCK,
    "timestamp": "2026-11-25T22:00:00.000000+00:00",
    "eventData": {"result": "fail", "externalId": "part-7"},
    "deviceId": "cam-1",
    "streamId": "north",
    "customMetadata": {"shift": "night", "door": 4},
    "images": [
        {
            "sourceId": ORANGE,
            "inputSourceId": BLUE,
            "label": "workflow",
            "objectDetections": [BOX, {**BOX, "class": "scratch"}],
        }
    ],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder)
    with running(folder / "data", keys=[KEY], lookback_days=None) as server:
        server.headers["Authorization"] = f"Bearer {KEY}"
        yield server


def ids(server, use_case_id, **query):
    return [each["eventId"] for each in server.events_of(use_case_id, **query)]


def test_its_use_cases_have_their_names_and_counts(server):
    listed = server.get("/vision-events/use-cases").json()["useCases"]

    assert {each["id"]: (each["name"], each["eventCount"]) for each in listed} == {
        DOCK: ("Dock", 3),
        LINE: ("Line", 4),
    }


def test_its_events_come_in_order_with_all_that_they_had(server):
    assert ids(server, LINE) == [OF_A_DEVICE, "row-2", "row-1", "row-0"]
    feedback, count, check = server.events_of(DOCK)
    assert {**check, "useCaseId": DOCK} == CHECK
    assert feedback["eventData"] == {"relatedEventId": "check", "feedback": "incorrect"}
    assert count["images"] == [
        {"sourceId": GREEN, "keypoints": [{**BOX, "keypoints": [{"id": 0, "x": 9, "y": 8}]}]}
    ]
    [*_, row] = server.events_of(LINE)
    assert [each["path"] for each in row["warnings"]] == ["images.0.objectDetections.0.colour"]


@pytest.mark.parametrize(
    "query",
    [
        {"deviceId": "cam-1"},
        {"streamId": "north"},
        {"eventType": "quality_check"},
        {"customMetadataFilters": [{"field": "door", "operator": "eq", "value": 4}]},
        {"eventFieldFilters": [{"column": "externalId", "operator": "contains", "value": "rt-7"}]},
    ],
    ids=lambda query: next(iter(query)),
)
def test_its_events_are_found_by_what_they_say(server, query):
    assert ids(server, DOCK, **query) == ["check"]


@pytest.mark.parametrize(
    ("picture_id", "media_type", "colour"),
    [
        (ORANGE, "image/jpeg", (255, 165, 0)),
        (BLUE, "image/jpeg", (0, 0, 255)),
        (GREEN, "image/png", (0, 128, 0)),
    ],
)
def test_its_pictures_and_their_thumbnails_are_served(server, picture_id, media_type, colour):
    address = f"/vision-events/pictures/{picture_id}"

    whole, small = server.get(address), server.get(f"{address}?side=160")

    assert whole.headers["content-type"] == media_type
    for reply in (whole, small):
        with Image.open(io.BytesIO(reply.content)) as shown:
            assert shown.size == (32, 24)
            assert shown.convert("RGB").getpixel((16, 12)) == pytest.approx(colour, abs=3)


def test_the_page_shows_it_after_a_login(server):
    with requests.Session() as browser:
        browser.trust_env = False
        entered = browser.post(f"{server.url}/login", data={"key": KEY}, timeout=60)
        assert entered.status_code == 200
        assert "Dock" in entered.text
        grid = browser.get(f"{server.url}/use-cases/{DOCK}", timeout=60).text
        one = browser.get(f"{server.url}/events/check", timeout=60).text
        charts = browser.get(f"{server.url}/use-cases/{DOCK}/charts", timeout=60)

    assert all(f"/events/{event_id}" in grid for event_id in ("check", "count"))
    assert all(words in one for words in ("part-7", "cam-1", "scratch", ORANGE, "incorrect"))
    assert charts.status_code == 200


def test_more_goes_in_beside_it_and_what_is_sent_again_takes_its_place(server):
    changed = {**CHECK, "eventId": "row-1", "useCaseId": LINE, "deviceId": "cam-9"}
    for body in (event(LINE, eventId="new"), changed):
        assert server.post("/vision-events", json=body).status_code == 201

    assert set(ids(server, LINE)) == {"new", OF_A_DEVICE, "row-0", "row-1", "row-2"}
    assert ids(server, LINE, deviceId="cam-9") == ["row-1"]
    server.store.clean_up()
    assert server.get(f"/vision-events/pictures/{ORANGE}").status_code == 200

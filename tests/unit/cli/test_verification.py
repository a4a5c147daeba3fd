"""`vision-events verify` against a real server, of what a real process delivered."""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone

import pytest
from typer.testing import CliRunner

from tests.unit.cli.entries import real_run
from tests.unit.server.scenes import picture
from tests.waiting import eventually
from vision_event_block import settings
from vision_event_block.cli import verification
from vision_event_block.cli.commands import app
from vision_event_block.delivery.client import Secret, VisionEventsClient
from vision_event_block.delivery.destinations import ApiDestination
from vision_event_block.delivery.dispatch import Dispatch, DispatchLimits
from vision_event_block.events.event import EventImage, VisionEvent
from vision_event_block.events.images import Picture
from vision_event_block.outbox import receipts
from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.outbox import OutboxLimits
from vision_event_block.outbox.receipts import NEW, OLD, Receipt, Receipts, receipts_in
from vision_event_block.server.http_server import serving
from vision_event_block.server.keys import Keys
from vision_event_block.server.storage import Store

KEY = "key-for-all-of-it-1"
DISK = RealDisk()


@pytest.fixture
def store(tmp_path, monkeypatch):
    with (
        Store.open(tmp_path / "server", lookback_days=14) as store,
        serving(store, Keys([KEY])) as url,
    ):
        store.use_cases.create("Dock", id="dock")
        store.use_cases.create("Line", id="line")
        monkeypatch.setenv("VISION_EVENT_API_URL", url)
        monkeypatch.setenv("VISION_EVENT_READ_TIMEOUT_S", "60")
        monkeypatch.setenv("ROBOFLOW_API_KEY", KEY)
        settings.current.cache_clear()
        store.url = url
        yield store


def event(use_case="dock", **changes):
    image = EventImage(label="workflow", input=Picture(content=picture()))
    values = {"event_type": "custom", "use_case_id": use_case, "images": (image, image)}
    return VisionEvent(timestamp=datetime.now(timezone.utc), **{**values, **changes})


@pytest.fixture
def delivered(store, folder):
    """Has a process deliver events."""

    def deliver(*events, waits=True):
        limits = DispatchLimits(folder, outbox=OutboxLimits(min_free_bytes=0))
        dispatch = Dispatch(limits)
        client = VisionEventsClient(base_url=store.url, api_key=Secret(KEY))
        destination = ApiDestination(client, store.url, Secret(KEY))
        for each in events:
            dispatch.record(each, destination, waits=waits)
        eventually(lambda: all(store.get(each.event_id) for each in events))
        eventually(lambda: not dispatch.courier.pending)
        dispatch.close(5.0)
        return [each.event_id for each in events]

    return deliver


def checked(*arguments):
    result = CliRunner().invoke(app, ["verify", *arguments])
    return result.exit_code, result.output


def found(*arguments):
    result = CliRunner().invoke(app, ["verify", "--json", *arguments])
    return json.loads(result.stdout[result.stdout.index("{") :])


@pytest.mark.parametrize("waits", [True, False], ids=["stored first", "sent from memory"])
def test_everything_that_was_delivered_is_there(delivered, waits):
    delivered(event(), event("line"), event(), waits=waits)
    assert checked()[0] == 0
    assert "Complete: 3 of 3 events" in checked()[1]


def test_what_is_missing_is_named(delivered, store):
    one, two, three = delivered(event(), event("line"), event())
    store.delete("dock", [three])
    result = real_run("verify")
    assert result.returncode == 1
    assert "Complete: 2 of 3 events" in result.stdout
    assert f"Missing: {three} of use case dock, delivered " in result.stdout
    assert one not in result.stdout
    assert two not in result.stdout
    assert found()["missing"] == [{"eventId": three, "useCaseId": "dock"}]


def test_an_event_that_lost_an_image_is_named(delivered, store):
    [name] = delivered(event())
    client = VisionEventsClient(base_url=store.url, api_key=Secret(KEY))
    stored = store.get(name)
    client.create({**stored.body, "images": stored.body["images"][:1]})
    client.close()
    assert f"Images missing: {name} has 1 of 2" in checked()[1]
    assert found()["withoutImages"] == [{"eventId": name, "images": 1, "sent": 2}]


def test_many_events_take_several_pages(delivered, monkeypatch):
    monkeypatch.setattr(verification, "PAGE_EVENTS", 2)
    delivered(*(event() for _ in range(7)))
    assert found()["complete"] == 7


def test_only_so_many_pages_are_asked_for_and_the_rest_is_said(delivered, monkeypatch):
    monkeypatch.setattr(verification, "PAGE_EVENTS", 2)
    monkeypatch.setattr(verification, "MAX_PAGES", 2)
    delivered(*(event() for _ in range(7)))
    code, output = checked()
    assert code == 1
    assert "Complete: 4 of 7 events" in output
    assert "Not checked: 3 events" in output


def test_what_is_older_than_the_api_shows_is_not_missing(store, folder):
    (folder / "slots").mkdir(parents=True)
    old = "2020-01-01T00:00:00Z"
    Receipts(folder, DISK).add(Receipt(time.time(), store.url, "dock", "long-ago", old, 1))
    code, output = checked()
    assert code == 0
    assert "Too old for the API to show: 1 event" in output


def test_without_an_answer_nothing_is_called_missing(delivered, monkeypatch):
    delivered(event())
    monkeypatch.setenv("ROBOFLOW_API_KEY", "another-key-of-this-test")
    code, output = checked()
    assert code == 1
    assert "Not checked: 1 event" in output
    assert "Missing" not in output


def test_only_what_is_recent_and_of_this_address_is_checked(store, folder):
    (folder / "slots").mkdir(parents=True)
    written, now_s = Receipts(folder, DISK), time.time()
    stamp = datetime.now(timezone.utc).isoformat()
    written.add(Receipt(now_s - 7200, store.url, "dock", "before", stamp, 0))
    written.add(Receipt(now_s, "https://elsewhere.example", "dock", "elsewhere", stamp, 0))
    assert "Complete: 0 of 0 events" in checked("--since", "60m")[1]
    assert [each["eventId"] for each in found("--since", "3h")["missing"]] == ["before"]


def test_wrong_use_is_said(store, folder):
    assert checked()[0] == 2
    assert "There is no outbox" in checked()[1]
    (folder / "slots").mkdir(parents=True)
    code, output = checked("--since", "yesterday")
    assert code == 2
    assert "90m, 24h or 7d" in output


def test_receipts_take_a_bounded_part_of_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(receipts, "MAX_BYTES", 20_000)
    written = Receipts(tmp_path, DISK)
    for number in range(2_000):
        written.add(Receipt(float(number), "http://x", "dock", f"event-{number}", "t", 1))
    assert {path.name for path in tmp_path.iterdir()} == {NEW, OLD}
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 60_000
    kept = list(receipts_in(tmp_path, DISK, since_s=0.0))
    assert kept[-1].event_id == "event-1999"
    assert [each.delivered_at_s for each in kept] == sorted(each.delivered_at_s for each in kept)
    (tmp_path / NEW).write_bytes((tmp_path / NEW).read_bytes()[:-9])
    assert next(reversed(list(receipts_in(tmp_path, DISK, since_s=0.0)))).event_id == "event-1998"

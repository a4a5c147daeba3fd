"""A server with a few events, and a browser that looks at it."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from importlib import resources

import cv2
import pytest
from playwright.sync_api import Error, expect, sync_playwright

from tests.tools import missing
from vision_event_block.server.api.ingest import ingest
from vision_event_block.server.http_server import serving
from vision_event_block.server.keys import Keys
from vision_event_block.server.relay.opening import relaying
from vision_event_block.server.storage import Store
from vision_event_block.testing import scenes

KEY = "a-key-for-tests"
NOWHERE = "http://127.0.0.1:9"
WIDTH_PX, HEIGHT_PX = scenes.WIDTH_PX, scenes.HEIGHT_PX
MARKUP = '<img src=x onerror="document.title=1"><script>document.title=1</script>'
BOX = {"class": "cap", "x": 110.0, "y": 110.0, "width": 64.0, "height": 64.0, "confidence": 0.91}
OUTLINE = {
    "class": "scratch", "x": 320.0, "y": 240.0, "width": 200.0, "height": 100.0,
    "confidence": 0.7, "points": [[220, 190], [420, 190], [420, 290], [220, 290]],
}  # fmt: skip
PERSON = {
    "class": "person", "x": 500.0, "y": 300.0, "width": 100.0, "height": 200.0, "confidence": 0.8,
    "keypoints": [{"id": 5, "x": 470, "y": 250}, {"id": 7, "x": 460, "y": 300, "occluded": True}],
}  # fmt: skip


@dataclass
class Site:
    """The server under test, and a hand in its store."""

    address: str
    store: Store
    now: datetime

    def new_use_case(self, name):
        return self.store.use_cases.create(name).id

    def picture(self, caps=1):
        content = cv2.imencode(".jpg", scenes.tray(caps))[1].tobytes()
        return self.store.pictures.put(content).id

    def event(self, use_case_id, event_id, *, minutes=1.0, kind="custom", **body):
        event = {
            "eventId": event_id,
            "eventType": kind,
            "useCaseId": use_case_id,
            "timestamp": (self.now - timedelta(minutes=minutes)).isoformat(),
            **body,
        }
        return ingest(event, now=self.now).event

    def put(self, use_case_id, event_id, **fields):
        self.store.put([self.event(use_case_id, event_id, **fields)])

    def put_many(self, use_case_id, count):
        """Events that follow each other, the newest with the lowest number."""
        images = [{"inputSourceId": self.picture(), "objectDetections": [BOX]}]
        self.store.put(
            [
                self.event(
                    use_case_id, f"many-{use_case_id}-{number}", minutes=5 + number, images=images
                )
                for number in range(count)
            ]
        )


@pytest.fixture(scope="module")  # while it runs, no other test of the process can use asyncio
def browser():
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        missing("Chromium")
    expect.set_options(timeout=30_000)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium)
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    with Store.open(tmp_path_factory.mktemp("site")) as store, serving(store) as address:
        yield Site(address, store, datetime.now(timezone.utc))


@pytest.fixture(autouse=True)
def _now(site):
    """Each test has its own: who was to be heard of a minute ago would fall silent meanwhile."""
    site.now = datetime.now(timezone.utc)


@pytest.fixture(scope="session")
def locked_site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("locked")
    with Store.open(folder) as store, serving(store, Keys([KEY])) as address:
        yield Site(address, store, datetime.now(timezone.utc))


@pytest.fixture(scope="module")  # its courier tries again and again, and says so in the log
def relay_site(tmp_path_factory):
    """The address of a server that forwards to a place where nobody listens."""
    folder = tmp_path_factory.mktemp("relay")
    with (
        Store.open(folder) as store,
        relaying(NOWHERE, store, folder / "outbox", host="127.0.0.1", port=0) as relay,
        serving(store, forwarding=relay) as address,
    ):
        use_case = store.use_cases.create("Line 4").id
        now = datetime.now(timezone.utc)
        body = {"eventId": "waits", "eventType": "custom", "useCaseId": use_case}
        event = ingest({**body, "timestamp": now.isoformat()}, now=now).event
        relay.forward([event], store.put)
        yield address


@pytest.fixture(scope="session")
def line(site):
    """A use case with one event of each kind; not changed by tests."""
    case = site.new_use_case("Line <b>3</b>")
    tray, drawn = site.picture(3), site.picture(1)
    site.put(
        case, "checked", minutes=10, kind="quality_check", deviceId="cam-1",
        eventData={"result": "fail", "externalId": "part-7"},
        customMetadata={"shift": "night", "torque": 2.5, "note": MARKUP},
        images=[{
            "label": "top", "inputSourceId": tray, "sourceId": drawn,
            "metadata": {"exposure us": 900, "lens": MARKUP},
            "objectDetections": [BOX], "instanceSegmentations": [OUTLINE],
        }],
    )  # fmt: skip
    site.put(
        case, "alert", minutes=20, kind="safety_alert", deviceId="cam-2",
        eventData={"alertType": "no-hard-hat", "severity": "high"},
        images=[{"inputSourceId": tray, "keypoints": [PERSON]}, {"sourceId": drawn}],
    )  # fmt: skip
    site.put(
        case, "counted", minutes=30, kind="inventory_count", deviceId="cam-2",
        eventData={"itemCount": 3, "itemType": "cap"},
        images=[{"sourceId": tray, "classifications": [{"class": "full", "confidence": 0.6}]}],
    )  # fmt: skip
    site.put(case, "bare", minutes=40, kind="custom", eventData={"value": MARKUP}, unknown=1)
    site.put(
        case, "verdict", minutes=5, kind="operator_feedback", comment="a clear case",
        eventData={"relatedEventId": "alert", "feedback": "correct"},
    )  # fmt: skip
    return case


@pytest.fixture(scope="session")
def axe():
    script = resources.files("axe_playwright_python").joinpath("axe.min.js")
    return script.read_text(encoding="utf-8")


def opened_everything(page):
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")


def hold_scripts(context):
    """With TEST_LATE_MS each script comes so much later, and a test that is too early fails."""
    late_ms = float(os.environ.get("TEST_LATE_MS", "0"))

    def hold(route):
        with suppress(Error):  # its page may have gone
            route.request.frame.page.wait_for_timeout(late_ms)
            route.continue_()

    if late_ms:
        context.route("**/*.js", hold)


@pytest.fixture
def open_page(browser, request):
    """Opens an address in a browser of its own, which must ask nobody but the server."""
    strangers, errors, contexts = [], [], []

    def open_it(address, **options):
        context = browser.new_context(
            **{
                "locale": "en-GB",
                "timezone_id": "Asia/Kolkata",
                "reduced_motion": "reduce",
                **options,
            }
        )
        contexts.append(context)
        context.set_default_timeout(30_000)
        hold_scripts(context)
        page = context.new_page()
        server = "/".join(address.split("/")[:3]) + "/"

        def note(asked):
            if not asked.url.startswith((server, "data:", "blob:")):
                strangers.append(asked.url)

        page.on("request", note)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.goto(address)
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert not strangers, "the page asked somebody else"
    if "expects_errors" not in request.keywords:
        assert not errors


def pytest_configure(config):
    config.addinivalue_line("markers", "expects_errors: the browser's console may complain")

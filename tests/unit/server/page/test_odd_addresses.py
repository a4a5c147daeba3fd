"""Addresses that somebody typed, or clicked too often: a page for each, and never an error."""

from __future__ import annotations

import re
from html import unescape

import pytest
import requests

from tests.unit.server.scenes import event
from vision_event_block.server.http_server import serving
from vision_event_block.server.storage import Store

FIRST, LAST = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with Store.open(tmp_path_factory.mktemp("odd"), lookback_days=None) as store:
        store.use_cases.create("Dock", id="dock")
        store.put([event(f"e{n}", minutes=n) for n in range(3)])
        store.put([event("two", pictures=("a", "b"))])
        with serving(store) as address:
            yield address


@pytest.mark.parametrize("zone", ["UTC", "local:America/New_York", "local:Asia/Tokyo"])
@pytest.mark.parametrize(
    "path",
    [
        f"use-cases/dock?start={FIRST}",
        f"use-cases/dock?end={LAST}",
        f"use-cases/dock?start={FIRST}&end={LAST}",
        f"use-cases/dock?at={FIRST}",
        f"use-cases/dock?at={LAST}",
        f"use-cases/dock/charts?start={FIRST}&end={LAST}",
        f"use-cases/dock/charts?start={FIRST}&beside=28",
        f"use-cases/dock/charts?end={LAST}&beside=28",
        "events/two?image=0000009",
    ],
)
def test_there_is_a_page(url, path, zone):
    reply = requests.get(f"{url}/{path}", cookies={"zone": zone}, timeout=30)

    assert reply.status_code == 200


def test_who_zooms_out_again_and_again_comes_to_all_events(url):
    address = "/use-cases/dock?start=2026-03-01T00:00:00Z&end=2026-03-02T00:00:00Z&type=custom"
    for _ in range(20):
        reply = requests.get(url + address, timeout=30)
        assert reply.status_code == 200
        link = re.search(r'href="([^"]*)">Zoom out<', reply.text)
        if link is None:
            break
        address = unescape(link[1])

    assert address == "/use-cases/dock?type=custom"

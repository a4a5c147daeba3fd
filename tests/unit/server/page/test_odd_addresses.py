"""Addresses that somebody typed, or clicked too often: a page for each, and never an error."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

import pytest
import requests
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import insert, select

from tests.unit.server.scenes import event
from vision_event_block.server.app import Patience
from vision_event_block.server.http_server import serving
from vision_event_block.server.storage import Store
from vision_event_block.server.store import schema
from vision_event_block.server.store.devices import MAX_DEVICES
from vision_event_block.server.store.timestamps import utc_now

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


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "use-cases/dock?part=grid&shown=abc", 400, "Shown: Input should be"),
        ("GET", "devices?page=0", 400, "Page: Input should be"),
        ("GET", "devices?page=1e9", 400, "Page: Input should be"),
        ("GET", "use-cases/dock/export/csv?range=1y", 400, "There is no time range"),
        ("GET", "use-cases/dock/nothing", 404, "There is no such page"),
        ("PUT", "use-cases/dock", 405, "There is no such page"),
        ("POST", "use-cases/gone/archive", 404, "There is no such page"),
    ],
)
def test_a_mistake_is_a_page_to_readers_and_an_error_to_programs(url, method, path, status, words):
    reader = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    page = requests.request(method, f"{url}/{path}", headers=reader, timeout=30)
    reply = requests.request(method, f"{url}/{path}", timeout=30)

    assert (page.status_code, page.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert words in unescape(page.text)
    assert (reply.status_code, list(reply.json())) == (status, ["error"])


@pytest.mark.parametrize(
    "path",
    [
        *("", "devices", "use-cases/dock", "use-cases/dock/charts", "events/two", "health"),
        *("static/page.css", "use-cases/dock/export/csv", "vision-events/use-cases", "nothing"),
    ],
)
def test_head_answers_as_get_without_a_body(url, path):
    answers = [requests.request(method, f"{url}/{path}", timeout=30) for method in ("GET", "HEAD")]

    got, asked = ((each.status_code, each.headers["Content-Type"]) for each in answers)
    assert asked == got
    assert answers[1].content == b""


def test_head_of_an_export_reads_no_more_than_its_first_piece(tmp_path):
    statements = []
    with Store.open(tmp_path, lookback_days=None) as store:
        store.use_cases.create("Dock", id="dock")
        store.put([event(f"e{n}", metadata={"note": "x" * 900}) for n in range(2_000)])

        @sqlalchemy_event.listens_for(store._database._engine, "before_cursor_execute")
        def note(connection, cursor, statement, *_):
            statements.append("bodies" in statement)

        reads = {}
        for method in ("GET", "HEAD"):
            with serving(store) as address, requests.Session() as session:
                session.request(method, f"{address}/use-cases/dock/export/jsonl", timeout=60)
                assert session.get(f"{address}/health", timeout=60).ok
            reads[method] = sum(statements)
            statements.clear()

    assert reads["HEAD"] < reads["GET"] / 2


def test_a_busy_server_says_so_on_a_page_and_when_to_come_back(tmp_path):
    with Store.open(tmp_path, lookback_days=None) as store:
        store.use_cases.create("Dock", id="dock")
        store.put([event(f"e{n}", minutes=n, metadata={"lot": f"{n}"}) for n in range(3_000)])
        with serving(store, patience=Patience(read_s=0)) as address:
            page = f"{address}/use-cases/dock?meta_key=lot&meta_is=contains&meta_value=none"
            reply = requests.get(page, headers={"Accept": "text/html"}, timeout=30)

    assert reply.status_code == 503
    assert "The server is busy" in reply.text
    assert int(reply.headers["Retry-After"]) > 0


def test_the_worst_of_many_devices_stands_first_and_all_have_their_page(tmp_path):
    now = utc_now()
    quiet = [
        event(f"quiet {n}", time=now - timedelta(minutes=300 + n), deviceId="zz-quiet")
        for n in range(200)
    ]
    others = [
        event(f"busy {n}", time=now - timedelta(seconds=n), deviceId=f"cam-{n:03}")
        for n in range(249)
    ]
    with Store.open(tmp_path, lookback_days=None) as store:
        store.use_cases.create("Dock", id="dock")
        store.put(quiet + others)
        with serving(store) as address:
            pages = [
                requests.get(f"{address}/{path}", timeout=30).text
                for path in ("", "devices", "devices?page=2", "devices?page=3", "devices?page=4")
            ]
        with serving(store, patience=Patience(first_page_s=0)) as address:
            hurried = requests.get(address, timeout=30).text

    shown = [re.findall(r'\?device=[^"]*">([^<]*)<', page) for page in pages]
    assert [len(each) for each in shown] == [5, 100, 100, 50, 50]
    assert shown[0][0] == shown[1][0] == "zz-quiet"
    assert len({name for each in shown[1:4] for name in each}) == 250
    assert "All 250 devices and streams" in pages[0]
    assert "101 to 200 of 250" in pages[2]
    assert 'href="/devices?page=3"' in pages[2]
    assert "201 to 250 of 250" in pages[4]  # who asks for more gets the last one
    assert "missing here" not in pages[0]
    assert "Those of 1 use case are missing here" in hurried
    assert 'href="/devices"' in hurried


def test_blank_and_very_long_values_lead_to_their_events_or_nowhere(tmp_path):
    now, long = utc_now(), "x" * 250
    values = ["", " ", " cam ", f"{long}a", f"{long}b", "y" * 200, "y" * 199]
    with Store.open(tmp_path) as store:
        store.use_cases.create("Dock", id="dock")
        store.put(
            [
                event(f"e{n}", time=now, deviceId=value, metadata={"lot": value})
                for n, value in enumerate(values)
            ]
        )
        with serving(store) as address:

            def links(path, after):
                page = requests.get(f"{address}/{path}", timeout=30).text.partition(after)[2]
                found = re.findall(r'<a [^>]*?href="(/use-cases/dock[^"]*)"([^>]*)>([^<]*)', page)
                for href, about, text in found:
                    reply = requests.get(address + unescape(href), timeout=30).text
                    count = re.search(r"data-count>([\d,]+) event", reply)[1]
                    yield unescape(text), int(re.search(r": (\d+) |$", about)[1] or 1), int(count)

            bars = {
                split: [
                    counts
                    for _, *counts in links(f"use-cases/dock/charts?split={split}", "chart-panel")
                ]
                for split in ("device", "meta:lot")
            }
            shown = [text for text, *_ in links("devices", "<ul>")]
            facts = [list(links(f"events/e{n}", 'class="facts"')) for n in range(4)]

    # The last bar counts all events by their type.
    assert sorted(bars["device"]) == [[1, 1], [1, 1], [1, 1], [2, 2], [7, 7]]
    assert sorted(bars["meta:lot"]) == [[1, 1], [1, 1], [1, 1], [1, 1], [2, 2], [7, 7]]
    assert sorted(shown) == sorted([" cam ", "y" * 199])
    assert facts == [[], [(" ", 1, 1)], [(" cam ", 1, 1)] * 2, [(f"{long}a", 1, 1)] * 2]


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


def test_who_makes_names_up_is_told_which_devices_are_looked_at(tmp_path):
    now = utc_now()
    with Store.open(tmp_path, lookback_days=None) as store:
        store.use_cases.create("Dock", id="dock")
        store.put([event("real", time=now, deviceId="zz-real")])
        with store._database.writing() as connection:
            found = select(schema.facets).where(schema.facets.c.key == "zz-real")
            [facet] = connection.execute(found).mappings()
            rows = [
                {**facet, "event_no": 100 + n, "key": f"run-{n:05}"} for n in range(MAX_DEVICES)
            ]
            connection.execute(insert(schema.facets), rows[1:])
        with serving(store) as address:
            before = requests.get(f"{address}/devices", timeout=60).text
            with store._database.writing() as connection:
                connection.execute(insert(schema.facets), rows[:1])
            pages = [requests.get(f"{address}/{path}", timeout=60).text for path in ("", "devices")]

    words = "In 1 use case, only the first 10,000 devices or streams by name are checked."
    assert words not in before
    assert "of 10,000, worst first" in before
    assert all(words in page for page in pages)

"""A picture is saved under a name that a person understands."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
import requests

from tests.unit.server.scenes import event, picture
from vision_event_block.server.http_server import serving
from vision_event_block.server.page.picture_download import file_stem
from vision_event_block.server.storage import Store


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path, lookback_days=None) as opened:
        opened.use_cases.create("Dock: pallets / Nord", id="dock")
        yield opened


def stem(event_id="5b0a3a52-6d2f", case="Dock pallets", position=0, which="input", **body):
    return file_stem(case, event(event_id, **body), position, which)


def test_a_name_says_where_when_and_which():
    taken = "2026-03-01_12-00-00Z"

    assert stem(streamId="north") == f"Dock-pallets_{taken}_north_5b0a3a52"
    assert stem(deviceId="cam 2") == f"Dock-pallets_{taken}_cam-2_5b0a3a52"
    assert stem() == f"Dock-pallets_{taken}_5b0a3a52"
    assert stem(pictures=("a", "b"), position=1, which="output") == (
        f"Dock-pallets_{taken}_5b0a3a52_image-2_output"
    )


def test_a_name_is_one_on_every_file_system():
    odd = stem("../..", case='Ü<>:"/\\|?*\0\n. ' + "x" * 300, streamId="rtsp://user:pass@cam/1" * 9)

    assert len(odd.encode()) < 200
    assert not set(odd) & set('<>:"/\\|?*\0\n. ')
    assert odd.startswith("Ü-xxx")


def test_the_picture_comes_as_it_was_sent(store):
    content = picture()
    shown = store.pictures.put(content).id
    sent = event("a/b", streamId="north")
    sent.body["images"] = [{"inputSourceId": shown}, {"sourceId": "f" * 32}]
    store.put([sent])

    with serving(store) as url:
        found = requests.get(f"{url}/events/a%2Fb/pictures/0/input", timeout=30)
        page = requests.get(f"{url}/events/a%2Fb", timeout=30).text
        others = [
            requests.get(f"{url}/events/{path}", timeout=30).status_code
            for path in ("a%2Fb/pictures/1/output", "a%2Fb/pictures/9/input", "no/pictures/0/input")
        ]

    assert found.content == content
    disposition = found.headers["Content-Disposition"]
    assert disposition.startswith("attachment; ")
    assert unquote(disposition).endswith(
        "''Dock-pallets-Nord_2026-03-01_12-00-00Z_north_a-b_image-1.jpg"
    )
    assert 'href="/events/a%2Fb/pictures/0/input"' in page
    assert others == [404, 404, 404]

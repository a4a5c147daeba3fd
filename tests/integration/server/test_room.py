"""A server that may take no more of its disk refuses in words, and clients try again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.server.conftest import bundle, device_event, event, picture
from tests.waiting import eventually
from vision_event_block.server.store.disk_quota import DiskLimits


def test_uploads_without_events_are_refused_before_they_fill_the_disk(start):
    content = picture("BMP", (100, 100))
    server = start(quota=DiskLimits(max_idle_bytes=10 * len(content)))
    use_case = server.new_use_case()

    with ThreadPoolExecutor(8) as threads:
        replies = list(threads.map(lambda _: server.upload(content), range(40)))

    taken = [reply.json()["sourceId"] for reply in replies if reply.status_code == 201]
    refused = [reply for reply in replies if reply.status_code != 201]
    assert len(taken) == 10
    assert {reply.status_code for reply in refused} == {503}
    assert "create their events first" in refused[0].json()["error"]
    assert int(refused[0].headers["retry-after"]) > 0
    images = [{"sourceId": each} for each in taken]
    assert server.post("/vision-events", json=event(use_case, images=images)).status_code == 201
    # Refusals share a sum for the longer, the longer it took.
    eventually(lambda: server.upload(content).status_code == 201)


@pytest.mark.parametrize("quota", [DiskLimits(max_bytes=1), DiskLimits(min_free_bytes=2**60)])
def test_a_server_that_may_take_no_more_says_so_with_words_and_loses_nothing(start, quota):
    server = start(quota=quota)
    use_case = server.new_use_case()

    replies = [
        server.upload(picture()),
        server.post("/vision-events", json=event(use_case)),
        server.post("/vision-events/batch", json={"events": [event(use_case)]}),
        server.post(
            "/vision-events/bundle", data=bundle({"bundleFormatVersion": 1, **event(use_case)})
        ),
        server.post("/v2/events", json=device_event(use_case)),
    ]

    assert [reply.status_code for reply in replies] == [507, 507, 507, 507, 529]
    words = [reply.json().get("error") or reply.json()["detail"] for reply in replies]
    assert all("bytes)" in each for each in words), words
    assert server.events_of(use_case) == []
    assert server.get("/").status_code == 200

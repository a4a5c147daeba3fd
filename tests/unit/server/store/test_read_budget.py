"""What a request reads ends when it takes too long, and when nobody waits for it any more."""

from __future__ import annotations

import threading
import time

import pytest
from sqlalchemy import text

from tests.unit.server.scenes import event, everything
from vision_event_block.server.store.errors import Busy
from vision_event_block.server.store.read_budget import Budget, spending
from vision_event_block.server.store.reading import MAX_LOADED_BYTES

#: Hours of work for either database.
ENDLESS = text(
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000000) "
    "SELECT max(i) FROM n"
)


def endless(store):
    with store._database.reading() as connection:
        connection.execute(ENDLESS).scalar()


def test_a_read_that_takes_too_long_is_cut_short_with_words(store):
    started_s = time.monotonic()

    with spending(Budget(read_s=0.2)), pytest.raises(Busy, match="longer than 0.2 s; ask for a"):
        endless(store)

    assert time.monotonic() - started_s < 20
    # The connection is as good as before, within a budget and without one.
    store.put([event("a")])
    with spending(Budget()):
        assert [each.event_id for each in store.query(everything(), limit=5).events] == ["a"]
    assert store.count(everything()) == 1


def test_a_read_ends_when_the_client_leaves(store):
    budget = Budget(read_s=60)
    leaving = threading.Timer(0.3, budget.leave)
    leaving.start()
    started_s = time.monotonic()

    with spending(budget), pytest.raises(Busy):
        endless(store)

    leaving.join()
    assert time.monotonic() - started_s < 20


def test_a_client_that_left_before_reads_nothing_and_harms_nobody(store):
    store.put([event(f"{number}") for number in range(50)])
    gone = Budget()
    gone.leave()
    with spending(gone), pytest.raises(Busy):
        endless(store)

    gone.leave()
    with spending(Budget()):
        assert store.count(everything()) == 50


def fat(number):
    boxes = [{"class": "a", "x": 1, "y": 1, "width": 1, "height": 1, "confidence": 1}] * 1000
    return event(f"{number:03d}", images=[{"objectDetections": boxes}] * 12)


def test_a_page_of_large_events_is_short_and_nothing_is_missed(store):
    store.put([fat(number) for number in range(20)])
    one_bytes = len(str(fat(0).body))
    assert one_bytes < MAX_LOADED_BYTES < 20 * one_bytes

    pages, cursor = [], None
    while True:
        page = store.query(everything(), limit=50, cursor=cursor)
        pages.append([each.event_id for each in page.events])
        cursor = page.next_cursor
        assert page.has_more == (cursor is not None)
        if cursor is None:
            break

    assert 1 < len(pages) < 20
    assert max(len(page) for page in pages) * one_bytes < 2 * MAX_LOADED_BYTES
    found = [event_id for page in pages for event_id in page]
    assert sorted(found) == [f"{number:03d}" for number in range(20)]
    assert [each.event_id for each in store.walk(everything())] == found


def test_an_event_larger_than_a_page_is_a_page(store):
    huge = event("huge", comment="x" * (MAX_LOADED_BYTES + 1))
    store.put([huge, event("small")])

    pages = [store.query(everything(), limit=1).events, list(store.walk(everything()))]

    assert {each.event_id for each in pages[1]} == {"huge", "small"}
    assert len(pages[0]) == 1

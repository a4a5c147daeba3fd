"""A server that keeps so many bytes: under full ingest, and what a reader sees of it."""

from __future__ import annotations

import itertools
import random
import threading
from datetime import datetime, timezone

from tests.integration.server.conftest import Running, ago, error_of, event
from tests.unit.server.scenes import kept_at_one_moment, kept_bytes, noise
from tests.waiting import eventually
from vision_event_block.server.http_server import serving
from vision_event_block.server.keys import Keys
from vision_event_block.server.storage import Store
from vision_event_block.server.store.disk_quota import DiskLimits
from vision_event_block.server.store.keep_rules import KeepRule
from vision_event_block.server.store.records import NewEvent

LIMIT_BYTES = 8_000_000
WRITERS = 3
EVENTS = 600
#: One writer may be ahead of another one by so many events.
AHEAD = 20


def test_under_full_ingest_it_stays_within_two_percent_of_its_limit(tmp_path):
    numbers = itertools.count()
    shown, moments, samples, done = {}, {}, [], threading.Event()

    def write(store, chance):
        while (number := next(numbers)) < EVENTS:
            original, annotated = (store.pictures.put(noise(chance)).id for _ in range(2))
            images = [{"inputSourceId": original, "sourceId": annotated}]
            sent = new_event(number, images)
            store.put([sent])
            shown[number], moments[number] = (original, annotated), sent.timestamp
            if number == 5:
                store.pin("caps", ["5"])

    def watch(store):
        while not done.wait(0.02):
            samples.append(kept_at_one_moment(store))

    with Store.open(tmp_path, quota=DiskLimits(keep_bytes=LIMIT_BYTES)) as store:
        store.use_cases.create("Caps", id="caps")
        with serving(store, Keys()):
            watcher = threading.Thread(target=watch, args=[store])
            writers = [
                threading.Thread(target=write, args=[store, random.Random(seed)])
                for seed in range(WRITERS)
            ]
            watcher.start()
            for thread in writers:
                thread.start()
            for thread in writers:
                thread.join()
            done.set()
            watcher.join()

        assert len(shown) == EVENTS
        assert max(samples) < 1.02 * LIMIT_BYTES
        first = next(number for number, size in enumerate(samples) if size > 0.99 * LIMIT_BYTES)
        assert len(samples) - first > 20
        assert min(samples[first:]) > 0.98 * LIMIT_BYTES

        # What the database says is what the disk has, once the last step has ended.
        eventually(lambda: kept_at_one_moment(store) == kept_bytes(store, tmp_path / "pictures"))
        files = {path.stem for path in (tmp_path / "pictures").glob("??/*")}
        assert set(shown[5]) < files
        # By their moments: a writer may stand still between its number and its event.
        places = {number: at for at, number in enumerate(sorted(shown, key=moments.get))}
        for kind in (0, 1):
            there = {number for number, ids in shown.items() if ids[kind] in files} - {5}
            gone = set(shown) - there - {5}
            assert gone
            assert max(map(places.get, gone)) < min(map(places.get, there)) + AHEAD
        assert store.use_cases.get("caps").event_count == EVENTS


def new_event(number, images):
    moment = datetime.now(timezone.utc)
    return NewEvent(
        event_id=str(number),
        event_type="custom",
        use_case_id="caps",
        timestamp=moment,
        body={"eventId": str(number), "timestamp": moment.isoformat(), "images": images},
    )


def put_with_two_pictures(server, use_case):
    """An event of two days ago, and the ids of its original and its annotated picture."""
    chance = random.Random(7)
    ids = [server.upload(noise(chance)).json()["sourceId"] for _ in range(2)]
    images = [{"inputSourceId": ids[0], "sourceId": ids[1]}]
    sent = event(use_case, timestamp=ago(days=2), images=images)
    assert server.post("/vision-events", json=sent).status_code == 201
    return sent, ids


def test_a_reader_sees_what_is_kept_and_what_went(tmp_path):
    rules = [KeepRule.of("pass=7d")]
    with (
        Store.open(tmp_path, quota=DiskLimits(keep_bytes=50_000_000), keep_rules=rules) as store,
        serving(store, Keys()) as url,
        Running(url, store) as server,
    ):
        use_case = server.new_use_case()
        sent, ids = put_with_two_pictures(server, use_case)
        server.post(
            "/vision-events/pin", json={"useCaseId": use_case, "eventIds": [sent["eventId"]]}
        )

        home = server.get("/").text
        assert "of 50 MB used. Beyond that the oldest is removed" in home
        assert "1 event pinned" in home
        assert "Kept by age: pass: 7 days" in home

        server.store.pin(use_case, [sent["eventId"]], on=False)
        limits = DiskLimits(keep_bytes=kept_bytes(store, tmp_path / "pictures") - 20_000)
        with Store.open(tmp_path, quota=limits) as smaller:
            assert smaller.room.make().pictures == 2

        address = f"/vision-events/pictures/{ids[0]}"
        assert "was removed on" in error_of(server.get(address), 410)
        assert server.get(address, headers={"Accept": "image/png"}).status_code == 404


def test_a_picture_that_went_is_named_on_the_pages_of_its_event(tmp_path):
    with (
        Store.open(tmp_path) as store,
        serving(store, Keys()) as url,
        Running(url, store) as server,
    ):
        use_case = server.new_use_case()
        sent, ids = put_with_two_pictures(server, use_case)
        limits = DiskLimits(keep_bytes=kept_bytes(store, tmp_path / "pictures") - 3_000)
        with Store.open(tmp_path, quota=limits) as smaller:
            assert smaller.room.make().pictures == 1

        page = server.get(f"/events/{sent['eventId']}").text
        assert page.count("Removed to free space") == 1
        assert page.count("64 \u00d7 64") == 2
        assert f"/vision-events/pictures/{ids[0]}" not in page
        tiles = server.get(f"/use-cases/{use_case}").text
        assert ids[1] in tiles
        assert ids[0] not in tiles

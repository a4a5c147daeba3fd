"""Two `vision-events serve` processes on one PostgreSQL and one place for the pictures.

Threads of one process take turns at a lock before they write, so that they never meet in the
database. Without these tests nothing would show that two processes, which meet nowhere else, lose
no event, count none twice, give out no number twice, and show no client a deadlock.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.integration.server.conftest import ago, event, picture
from tests.integration.server.serve_process import launch, serve, started
from tests.waiting import eventually
from vision_event_block.server.storage import Store
from vision_event_block.server.store.filters import Condition, Filters
from vision_event_block.server.store.stored_keys import FRESH_S

if TYPE_CHECKING:
    from pathlib import Path


CASES = "/vision-events/use-cases"
CLIENTS = 4
EVENTS = 60
SHARED = 20


@pytest.fixture
def database_url(postgres):
    return postgres.new_database()


@dataclass(frozen=True)
class Pair:
    """Two servers with one database and one folder, in which they keep the pictures."""

    servers: list
    database_url: str
    folder: Path

    def everything_agrees(self, use_case_id):
        return everything_agrees(self.database_url, self.folder, use_case_id)


@pytest.fixture(scope="module")
def pair(postgres, tmp_path_factory):
    """For all tests that stop neither of the two, and for the one that comes last."""
    folder, database_url = tmp_path_factory.mktemp("pair"), postgres.new_database()
    with ExitStack() as running:
        options = ("--database-url", database_url)
        servers = [running.enter_context(serve(folder, *options)) for _ in "ab"]
        yield Pair(servers, database_url, folder)


@pytest.fixture
def two(pair):
    return pair.servers


def at_once(calls):
    """What each call gave, all of them made at the same time."""
    barrier = threading.Barrier(len(calls))

    def make(call):
        barrier.wait(30)
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(make, calls))


def post(server, path, body):
    reply = server.post(path, json=body)
    assert reply.status_code == 201, reply.text
    return reply.json()


def new_use_case(server, name="Dock"):
    return post(server, CASES, {"name": name})["id"]


def statuses(replies):
    return sorted(reply.status_code for reply in replies)


def everything_agrees(database_url, folder, use_case_id):
    """How many events there are, once every way to count has come to the same."""
    with Store.open(folder / "data", database_url=database_url, lookback_days=None) as store:
        everything = Filters(use_case_id=use_case_id)
        ids = [each.event_id for each in store.walk(everything)]
        assert len(set(ids)) == len(ids)
        assert store.count(everything) == len(ids)
        assert store.use_cases.get(use_case_id).event_count == len(ids)
        timeline = store.timeline(everything, buckets=10)
        assert timeline.event_count == len(ids)
        devices = store.choices(use_case_id)["deviceId"]
        by_device = {
            device: store.count(Filters(use_case_id=use_case_id, device_id=Condition("eq", device)))
            for device in devices
        }
        of_device = sum("deviceId" in each.body for each in store.walk(everything))
        assert sum(by_device.values()) == of_device
    with psycopg.connect(database_url) as connection:
        for table, column in (("bodies", "event_no"), ("traits", "event_no")):
            orphans = (
                f"SELECT count(*) FROM {table} LEFT JOIN events ON no = {column} WHERE no IS NULL"
            )
            assert connection.execute(orphans).fetchone() == (0,)
    return len(ids)


def test_what_comes_through_both_at_once_is_all_there_and_counted_once(two, pair):
    use_case_id = new_use_case(two[0])
    before = latest_change(two[1], use_case_id)

    def send(server, name):
        for number in range(EVENTS):
            source_id = server.upload(picture()).json()["sourceId"]
            post(
                server,
                "/vision-events",
                event(
                    use_case_id,
                    eventId=f"{name} {number}",
                    deviceId=f"cam {name}",
                    images=[{"sourceId": source_id}],
                    customMetadata={f"key of {name} {number % 7}": number},
                ),
            )
            shared = [
                event(use_case_id, eventId=f"shared {each}", deviceId=f"cam {name}")
                for each in range(SHARED)
            ]
            # Each client in another order: what would lock row by row would lock in a circle.
            batch = shared if number % 2 else shared[::-1]
            post(server, "/vision-events/batch", {"events": batch})
        return name

    names = [f"{place}{number}" for number in range(CLIENTS // 2) for place in "ab"]
    at_once([lambda name=name: send(two["ab".index(name[0])], name) for name in names])

    expected = CLIENTS * EVENTS + SHARED
    assert pair.everything_agrees(use_case_id) == expected
    seen = [server.query(use_case_id) for server in two]
    assert len(seen[0]) == expected
    assert seen[0] == seen[1]
    for server in two:
        for each in seen[0][:: expected // 20]:
            for image in each.get("images", ()):
                shown = server.get(f"/vision-events/pictures/{image['sourceId']}")
                assert shown.content == picture()
        assert latest_change(server, use_case_id) > before
    assert latest_change(two[0], use_case_id) == latest_change(two[1], use_case_id)
    log = (pair.folder / "serve.log").read_text()
    assert "deadlock" not in log
    assert "Traceback" not in log


def latest_change(server, use_case_id):
    return server.get(f"/use-cases/{use_case_id}/changes").json()["latest"]


def test_of_use_cases_with_one_name_one_is_made(two):
    for number in range(10):
        replies = at_once(
            [partial(server.post, CASES, json={"name": f"Line {number}"}) for server in two * 3]
        )
        assert statuses(replies)[0] == 201
        assert set(statuses(replies)[1:]) <= {400, 409}

    listed = [server.get(CASES).json()["useCases"] for server in two]
    assert listed[0] == listed[1]
    names = Counter(each["name"] for each in listed[0])
    assert [names[f"Line {n}"] for n in range(10)] == [1] * 10


def test_devices_that_name_no_use_case_meet_in_one(two):
    bodies = [
        {"inference_timestamp": ago(), "event_schema": "custom", "event_data": {"value": str(n)}}
        for n in range(8)
    ]
    replies = at_once(
        [
            lambda server=two[n % 2], body=body: server.post("/v2/events", json=body)
            for n, body in enumerate(bodies)
        ]
    )

    assert statuses(replies) == [201] * 8
    assert [len(server.query("unassigned")) for server in two] == [8, 8]


def test_both_clean_up_while_both_take_events(tmp_path, database_url):
    options = ("--database-url", database_url)
    with serve(tmp_path, *options) as server:
        use_case_id = new_use_case(server)
        for number in range(6):
            source_ids = [server.upload(picture()).json()["sourceId"] for _ in range(10)]
            old = [
                event(
                    use_case_id,
                    timestamp=ago(days=9, minutes=each),
                    deviceId=f"old {number}",
                    images=[{"sourceId": source_ids[each % 10]}],
                )
                for each in range(100)
            ]
            post(server, "/vision-events/batch", {"events": old})
        idle = [server.upload(picture()).json()["sourceId"] for _ in range(150)]
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE pictures SET idle_since_us = 0 WHERE idle_since_us > 0")

    both = [launch(tmp_path, *options, "--delete-after-days", "5") for _ in "ab"]
    with ExitStack() as running:
        for process in both:
            running.callback(process.communicate)
            running.callback(process.kill)
        servers = at_once([lambda process=process: started(tmp_path, process) for process in both])

        def send(server, name):
            for number in range(30):
                young = [
                    event(use_case_id, eventId=f"{name} {number} {each}", deviceId=name)
                    for each in range(5)
                ]
                post(server, "/vision-events/batch", {"events": young})

        at_once([lambda n=n: send(servers[n % 2], f"young {n}") for n in range(CLIENTS)])
        with psycopg.connect(database_url, autocommit=True) as connection:
            count = "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM pictures)"
            # The pictures of the old events have a day left.
            expected = (CLIENTS * 150, 60)
            eventually(lambda: connection.execute(count).fetchone() == expected, 60)
        for server in servers:
            assert server.get(f"/vision-events/pictures/{idle[0]}").status_code == 404
            assert len(server.query(use_case_id)) == CLIENTS * 150

    assert everything_agrees(database_url, tmp_path, use_case_id) == CLIENTS * 150
    assert len(list((tmp_path / "data" / "pictures").glob("??/*"))) == 60
    log = (tmp_path / "serve.log").read_text()
    assert "deadlock" not in log
    assert "Traceback" not in log


def test_both_may_start_at_once_on_an_empty_database(tmp_path, postgres):
    for _ in range(2):
        database_url = postgres.new_database()
        processes = [launch(tmp_path, "--database-url", database_url) for _ in range(3)]
        try:
            servers = [started(tmp_path, process) for process in processes]
            use_case_id = new_use_case(servers[0])
            for server in servers:
                post(server, "/vision-events", event(use_case_id))
            assert [len(server.query(use_case_id)) for server in servers] == [3, 3, 3]
            with psycopg.connect(database_url) as connection:
                versions = connection.execute("SELECT count(*) FROM schema_version").fetchone()
            assert versions == (1,)
        finally:
            for process in processes:
                process.kill()
                process.communicate()
    assert "Traceback" not in (tmp_path / "serve.log").read_text()


def test_a_login_holds_on_both_and_a_logout_or_a_revoked_key_ends_it_on_both(
    tmp_path, database_url
):
    given = "a-key-of-the-environment"
    with ExitStack() as running:
        one, other = (
            running.enter_context(
                serve(tmp_path, "--database-url", database_url, VISION_EVENT_API_KEYS=given)
            )
            for _ in "ab"
        )
        with Store.open(tmp_path / "data", database_url=database_url) as store:
            made = store.keys.new("office")

            for key, end in ((given, "logout"), (made, "revoked")):
                time.sleep(FRESH_S)
                cookies = one.post("/login", data={"key": key}, allow_redirects=False).cookies
                for server in (one, other):
                    server.cookies.clear()
                    assert server.get(CASES, cookies=cookies).status_code == 200
                if end == "logout":
                    other.post("/logout", cookies=cookies, allow_redirects=False)
                else:
                    store.keys.revoke("office")
                    time.sleep(FRESH_S)
                for server in (one, other):
                    server.cookies.clear()
                    assert server.get(CASES, cookies=cookies).status_code == 401


def test_what_one_was_told_before_it_was_killed_the_other_knows(two, pair):
    use_case_id = new_use_case(two[0], "Killed")
    told = []

    def send():
        with suppress(OSError):
            for number in range(10_000):
                sent = event(use_case_id, eventId=f"e{number}")
                told.append(post(two[0], "/vision-events", sent)["eventId"])

    thread = threading.Thread(target=send)
    thread.start()
    eventually(lambda: len(told) >= 20)
    two[0].kill()
    thread.join(60)

    found = {each["eventId"] for each in two[1].query(use_case_id)}
    assert set(told) <= found
    post(two[1], "/vision-events", event(use_case_id))  # the lock went with the process
    assert pair.everything_agrees(use_case_id) == len(found) + 1

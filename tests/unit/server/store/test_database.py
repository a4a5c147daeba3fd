from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from sqlalchemy import inspect, select, text, update

from tests.unit.server.scenes import event, everything, found, seen
from tests.unit.server.versions import as_version_1
from vision_event_block.server.storage import Store
from vision_event_block.server.store import schema
from vision_event_block.server.store.database import Database
from vision_event_block.server.store.errors import NewerSchema
from vision_event_block.server.store.filters import FieldCondition
from vision_event_block.server.store.migrations import VERSION
from vision_event_block.server.store.records import Waiting


def test_a_database_of_a_later_version_is_refused_and_left_as_it_is(store, open_store):
    with store._database.writing() as connection:
        connection.execute(update(schema.version).values(number=VERSION + 1))

    with pytest.raises(NewerSchema, match=f"schema version {VERSION + 1}"):
        open_store()

    with store._database.reading() as connection:
        assert connection.execute(select(schema.version.c.number)).scalar() == VERSION + 1


def test_events_of_version_1_are_found_by_the_filters_of_now(store, open_store):
    several = [event(f"e{n}", seen=[("pallet", 0.9), ("pallet", n / 1000)]) for n in range(1100)]
    store.put([*several, event("bare", use_case="line", pictures=["1" * 32, "2" * 32])])
    as_version_1(store)

    store = open_store()

    assert found(store, **seen("pallet", lt=0.003)) == ["e2", "e1", "e0"]
    assert found(store, **seen(lt=0.003)) == ["e2", "e1", "e0"]
    assert len(found(store, **seen("pallet", gte=0.9))) == 1100
    two = FieldCondition("imageCount", "eq", 2.0, "number")
    assert found(store, everything("line", image_count=two)) == ["bare"]
    store.put([event("new", seen=[("pallet", 0.0005)])])
    assert found(store, **seen("pallet", lt=0.001)) == ["new", "e0"]


def test_a_database_of_version_1_gets_all_that_a_new_one_has(store, open_store):
    def shape():
        with store._database.reading() as connection:
            there = inspect(connection)
            tables = sorted(there.get_table_names())
            return {
                name: (
                    {(each["name"], str(each["type"])) for each in there.get_columns(name)},
                    {each["name"]: each["column_names"] for each in there.get_indexes(name)},
                )
                for name in tables
            }

    new = shape()
    as_version_1(store)
    assert shape() != new

    open_store()

    assert shape() == new


def test_a_database_of_version_1_is_read_and_written_on(store, open_store):
    store.put([event("old", metadata={"k": 1})])
    as_version_1(store)

    store = open_store()

    old = store.get("old")
    assert (old.body["customMetadata"], old.other) == ({"k": 1}, {})
    new = event("new")
    store.put([replace(new, received={**new.body, "odd": [1]}, waits_as=Waiting("o", "e"))])
    assert store.get("new").other == {"odd": [1]}


def as_version_between(store):
    """No release wrote it; it has all that later ones look for."""
    with store._database.writing() as connection:
        connection.execute(update(schema.version).values(number=VERSION - 1))


@pytest.mark.parametrize(("before", "is_slow"), [(as_version_1, True), (as_version_between, False)])
def test_who_updates_is_told_how_long_it_takes(store, open_store, caplog, before, is_slow):
    store.put([event("old")])
    before(store)

    store = open_store()

    [said] = [line for line in caplog.messages if "schema version" in line]
    assert ("takes minutes" in said) == is_slow
    assert found(store) == ["old"]


def test_an_update_that_fails_changes_nothing(store, open_store):
    store.put([event("broken")])
    as_version_1(store)
    with store._database.writing() as connection:
        connection.execute(update(schema.bodies).values(body="{"))

    with pytest.raises(ValueError, match="Expecting property name"):
        open_store()

    with store._database.reading() as connection:
        there = inspect(connection)
        assert there.has_table("hourly")
        assert not there.has_table("columns")
        assert "received" not in {each["name"] for each in there.get_columns("bodies")}
        assert connection.execute(select(schema.version.c.number)).scalar() == 1


def test_two_that_open_an_empty_database_at_once_share_it(tmp_path, database_url):
    stores = []

    def open_it():
        stores.append(Store.open(tmp_path / "data", database_url=database_url))

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    stores[0].use_cases.create("Dock", id="dock")
    assert [store.use_cases.get("dock").name for store in stores] == ["Dock"] * 4
    for store in stores:
        store.close()


_PUTTER = """
import sys
from pathlib import Path
from tests.unit.server.scenes import event
from vision_event_block.server.storage import Store

_, folder, url, name = sys.argv
with Store.open(Path(folder), database_url=url or None) as store:
    for number in range(40):
        store.put([event(f"{name} {number} {each}", deviceId=f"{name} {number}") for each in "ab"])
        store.put([event("shared", deviceId=name)])
"""


def test_two_processes_put_into_one_database_and_nothing_is_lost(store, tmp_path, database_url):
    folder = tmp_path / "data"
    putters = [
        subprocess.Popen([sys.executable, "-c", _PUTTER, folder, database_url or "", name])
        for name in ("one", "two")
    ]

    assert [putter.wait(60) for putter in putters] == [0, 0]

    assert store.count(everything()) == 161
    assert len(found(store)) == 161
    assert store.use_cases.get("dock").event_count == 161
    assert store.timeline(everything(), buckets=1).event_count == 161
    assert len(store.choices("dock")["deviceId"]) == 81


def test_a_reader_sees_one_moment_while_others_write(store):
    store.put([event("a")])
    counted = select(schema.events.c.event_id)

    with store._database.reading() as connection:
        before = connection.execute(counted).scalars().all()
        store.put([event("b")])
        after = connection.execute(counted).scalars().all()

    assert before == after == ["a"]


def test_a_transaction_that_fails_changes_nothing(store):
    def fail():
        with store._database.writing() as connection:
            connection.execute(update(schema.use_cases).values(name="other"))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        fail()

    assert store.use_cases.get("dock").name == "Dock"


def test_the_sqlite_file_syncs_with_every_commit(tmp_path):
    database = Database.open(tmp_path)
    for opened in (database.reading(), database.writing()):
        with opened as connection:
            assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
            assert connection.execute(text("PRAGMA synchronous")).scalar() == 2
    database.close()

    assert sqlite3.connect(tmp_path / "vision-events.db").execute(
        "PRAGMA integrity_check"
    ).fetchall() == [("ok",)]


def test_another_kind_of_database_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the database is mysql"):
        Database.open(tmp_path, "mysql://localhost/x")


def test_postgresql_plans_each_statement_for_its_values_and_walks_through_indexes(
    tmp_path, postgres
):
    database = Database.open(tmp_path, postgres.new_database())
    for opened in (database.reading(), database.writing()):
        with opened as connection:
            shown = [
                connection.execute(text(f"SHOW {name}")).scalar()
                for name in ("plan_cache_mode", "enable_hashjoin", "enable_mergejoin", "jit")
            ]
            assert shown == ["force_custom_plan", "off", "off", "off"]
    database.close()

"""The views hold what was sent, in both databases, and DuckDB reads them as the docs say."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path

import duckdb
import duckdb_extension_postgres_scanner
import duckdb_extension_sqlite_scanner
from sqlalchemy.engine import make_url

from tests.unit.server.scenes import NOON, event, feedback
from tests.unit.server.versions import as_version_1
from vision_event_block.server.store.views import NAMES

STORAGE = Path(__file__).parents[4] / "docs/storage.md"
BOX = {"class": "dent", "x": 40.5, "y": 30.25, "width": 21.0, "height": 10.5, "confidence": 0.9}
RING = {**BOX, "class": "scratch", "points": [[1, 1], [2, 1], [2, 2]]}
WET = {"class": "wet", "confidence": 0.5}


def rows_of(store, view, order):
    with store._database.reading() as connection:
        rows = connection.exec_driver_sql(f"SELECT * FROM {view} ORDER BY {order}")
        return [dict(row) for row in rows.mappings()]


def fill(store):
    """A quality check with everything, a count, a verdict about the first."""
    checked = event(
        "checked",
        event_type="quality_check",
        data={"result": "fail", "externalId": "part-7"},
        metadata={"shift": "night", "door": 4, "share": 3.25, "sealed": True, 'a\'b "c"': "ü"},
        time=NOON.replace(microsecond=123456),
        deviceId="cam-1",
        streamId="north",
    )
    checked.body["images"] = [
        {"label": "top", "inputSourceId": "in", "sourceId": "out", "objectDetections": [BOX],
         "instanceSegmentations": [RING], "classifications": [WET]},
        {"sourceId": "out", "keypoints": [{**BOX, "keypoints": [{"id": 0, "x": 1, "y": 2}]}]},
    ]  # fmt: skip
    counted = event(
        "counted", use_case="line", event_type="inventory_count", data={"itemCount": 3}, minutes=5
    )
    store.put([checked, counted, feedback("verdict", "checked", "incorrect", minutes=-1)])


def test_events_have_a_row_each(store):
    fill(store)
    store.pin("dock", ["checked"])

    verdict, checked, counted = rows_of(store, "v_events", "happened_at DESC")

    assert {key: value for key, value in checked.items() if value is not None} == {
        "event_id": "checked",
        "use_case_id": "dock",
        "use_case": "Dock",
        "event_type": "quality_check",
        "happened_at": checked["happened_at"],
        "received_at": checked["received_at"],
        "device_id": "cam-1",
        "stream_id": "north",
        "result": "fail",
        "external_id": "part-7",
        "image_count": 2,
        "feedback": "incorrect",
        "pinned": True,
    }
    happened_at = checked["happened_at"]
    if isinstance(happened_at, str):
        assert happened_at == "2026-03-01T12:00:00.123Z"
    else:
        assert happened_at == datetime(2026, 3, 1, 12, 0, 0, 123456, timezone.utc)
    assert (counted["use_case_id"], counted["item_count"]) == ("line", 3)
    assert not counted["pinned"]
    assert (verdict["related_event_id"], verdict["verdict"]) == ("checked", "incorrect")


def test_detections_have_a_row_each(store):
    fill(store)

    rows = rows_of(store, "v_detections", "image, kind")

    assert [
        (each["image"], each["label"], each["picture_id"], each["kind"], each["class"])
        for each in rows
    ] == [
        (0, "top", "in", "box", "dent"),
        (0, "top", "in", "outline", "scratch"),
        (0, "top", "in", "picture", "wet"),
        (1, None, "out", "key points", "dent"),
    ]
    sides = ("x", "y", "width", "height", "confidence")
    assert [rows[0][side] for side in sides] == [40.5, 30.25, 21.0, 10.5, 0.9]
    assert [rows[2][side] for side in sides] == [None, None, None, None, 0.5]
    assert {each["event_id"] for each in rows} == {"checked"}


def test_metadata_have_a_row_each(store):
    fill(store)

    rows = rows_of(store, "v_metadata", "name")

    assert {each["name"]: (each["value"], each["number"]) for each in rows} == {
        "shift": ("night", None),
        "door": ("4", 4),
        "share": ("3.25", 3.25),
        "sealed": ("true", None),
        'a\'b "c"': ("ü", None),
    }


def test_a_database_of_an_earlier_version_gets_them(open_store, store):
    fill(store)
    as_version_1(store)
    store.close()

    again = open_store()

    assert [len(rows_of(again, name, "event_id")) for name in NAMES] == [3, 4, 5]


def test_views_and_rights_of_others_stay_through_an_update(open_store, store):
    fill(store)
    with store._database.writing() as connection:
        connection.exec_driver_sql(
            "CREATE VIEW failed AS SELECT event_id FROM v_events WHERE result = 'fail'"
        )
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("GRANT SELECT ON v_events TO PUBLIC")
    as_version_1(store)
    store.close()

    again = open_store()

    assert rows_of(again, "failed", "event_id") == [{"event_id": "checked"}]
    with again._database.reading() as connection:
        if connection.dialect.name == "postgresql":
            query = "SELECT grantee FROM information_schema.role_table_grants WHERE table_name = "
            grantees = connection.exec_driver_sql(f"{query} 'v_events'").scalars().all()
            assert "PUBLIC" in grantees


def test_duckdb_reads_them_as_the_docs_say(tmp_path, store, database_url, monkeypatch):
    fill(store)
    monkeypatch.chdir(tmp_path / "data")
    page = STORAGE.read_text(encoding="utf-8")
    (recipe,) = re.findall(r"```sql\n(-- DuckDB.*?)```", page, re.DOTALL)
    attach, *questions = duckdb.extract_statements(recipe)
    attaching, package = attach.query, duckdb_extension_sqlite_scanner
    if database_url is not None:
        (attaching,) = re.findall(r"`(ATTACH [^`]*TYPE postgres[^`]*)`", page)
        parts = make_url(database_url).translate_connect_args(database="dbname", username="user")
        parts |= make_url(database_url).query
        address = " ".join(f"{key}={value}" for key, value in parts.items())
        attaching = attaching.replace("dbname=vision_events", address)
        package = duckdb_extension_postgres_scanner
    extension = next(Path(package.__file__).parent.rglob("*.duckdb_extension"))

    with duckdb.connect(config={"extension_directory": str(tmp_path / "extensions")}) as session:
        # What DuckDB loads from the network elsewhere.
        session.execute(f"INSTALL '{extension}'")
        session.execute(attaching)
        by_shift, by_class, _ = (session.execute(each.query).fetchall() for each in questions)

    assert by_shift == [("night", 1, 100.0, 1)]
    assert by_class == [("wet", 1, 0.5), ("dent", 2, 0.9), ("scratch", 1, 0.9)]
    with duckdb.connect() as session:
        written = session.execute("SELECT count(*), max(x) FROM 'detections.parquet'").fetchall()
    assert written == [(4, 40.5)]

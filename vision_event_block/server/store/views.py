"""Views for users who query the database themselves: events, detections and metadata as rows.

Names and columns stay stable across versions, unlike those of the tables. They are the same in
SQLite and in PostgreSQL; times are UTC text in SQLite and `timestamptz` in PostgreSQL.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from vision_event_block.contract.names import (
    BOXES,
    CLASSES,
    KEY_POINTS,
    OUTLINES,
    SOURCE_IDS,
)
from vision_event_block.server.store.facets import FEEDBACK, PINNED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

NAMES: Final = ("v_events", "v_detections", "v_metadata")

#: Columns of text by their key in an event, and in its `eventData`.
_CONTEXT: Final = {
    "deviceId": "device_id",
    "streamId": "stream_id",
    "workflowId": "workflow_id",
    "workflowVersion": "workflow_version",
    "comment": "comment",
}
_DATA: Final = {
    "result": "result",
    "severity": "severity",
    "alertType": "alert_type",
    "description": "description",
    "location": "location",
    "itemType": "item_type",
    "value": "value",
    "externalId": "external_id",
    "relatedEventId": "related_event_id",
    "feedback": "verdict",
}
_NUMBERS: Final = ("confidence", "x", "y", "width", "height")
#: A JSON object, which both databases can expand into rows. A UNION would not survive DuckDB, which
#: rewrites the definition of a view in SQLite.
_KINDS: Final = json.dumps(
    {BOXES: "box", OUTLINES: "outline", KEY_POINTS: "key points", CLASSES: "picture"}
)
_FROM: Final = (
    "FROM events e JOIN use_cases u ON u.no = e.use_case_no JOIN bodies b ON b.event_no = e.no"
)
_EVENT_DATA: Final = "j.body -> 'eventData'"
#: Facets that are set on an event later. The SQL contains only our constants, no client input.
_FEEDBACK, _PINNED = (
    "(SELECT t.key FROM traits t JOIN fields f ON f.no = t.field_no "  # noqa: S608
    f"WHERE t.event_no = e.no AND f.use_case_no = e.use_case_no AND f.part = '{field.part}' "
    f"AND f.name = '{field.name}' AND f.type = '{field.type}')"
    for field in (FEEDBACK, PINNED)
)


def make_views(connection: Connection) -> None:
    """Creates or replaces the views.

    In PostgreSQL, dropping a view would lose its grants and fail if other views depend on it. So it
    is replaced there, and new columns have to come last.
    """
    is_postgresql = connection.dialect.name == "postgresql"
    queries = _in_postgresql() if is_postgresql else _in_sqlite()
    for name, query in zip(NAMES, queries, strict=True):
        if not is_postgresql:
            connection.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")
        verb = "CREATE OR REPLACE" if is_postgresql else "CREATE"
        connection.exec_driver_sql(f"{verb} VIEW {name} AS {query}")


def _in_sqlite() -> tuple[str, str, str]:
    def time(column: str) -> str:
        return f"strftime('%Y-%m-%dT%H:%M:%fZ', e.{column} / 1000000.0, 'unixepoch')"

    def columns(found: Mapping[str, str], place: str) -> str:
        return ", ".join(
            f"json_extract(b.body, '{place}.{key}') AS {n}" for key, n in found.items()
        )

    numbers = ", ".join(f"json_extract(d.value, '$.{key}') AS {key}" for key in _NUMBERS)
    events = (
        f"SELECT e.event_id, u.id AS use_case_id, u.name AS use_case, b.event_type, "
        f"{time('time_us')} AS happened_at, {time('received_us')} AS received_at, "
        f"{columns(_CONTEXT, '$')}, {columns(_DATA, '$.eventData')}, "
        "json_extract(b.body, '$.eventData.itemCount') AS item_count, "
        "coalesce(json_array_length(b.body, '$.images'), 0) AS image_count, "
        f"{_FEEDBACK} AS feedback, EXISTS {_PINNED} AS pinned {_FROM}"
    )
    detections = (
        f"SELECT e.event_id, u.id AS use_case_id, {time('time_us')} AS happened_at, "
        "i.key AS image, json_extract(i.value, '$.label') AS label, "
        f"coalesce(json_extract(i.value, '$.{SOURCE_IDS.input}'), "
        f"json_extract(i.value, '$.{SOURCE_IDS.output}')) AS picture_id, k.value AS kind, "
        f"json_extract(d.value, '$.class') AS class, {numbers} {_FROM}, "
        f"json_each(b.body, '$.images') i, json_each('{_KINDS}') k, "
        "json_each(i.value, '$.' || k.key) d"
    )
    metadata = (
        f"SELECT e.event_id, u.id AS use_case_id, {time('time_us')} AS happened_at, "
        "m.key AS name, CASE m.type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' "
        "ELSE CAST(m.value AS TEXT) END AS value, "
        "CASE WHEN m.type IN ('integer', 'real') THEN m.value END AS number "
        f"{_FROM}, json_each(b.body, '$.customMetadata') m"
    )
    return events, detections, metadata


def _in_postgresql() -> tuple[str, str, str]:
    def time(column: str) -> str:
        return f"to_timestamp(e.{column} / 1000000.0)"

    def columns(found: Mapping[str, str], place: str) -> str:
        return ", ".join(f"{place} ->> '{key}' AS {name}" for key, name in found.items())

    def number(key: str) -> str:
        return f"(d.value ->> '{key}')::double precision AS {key}"

    # Read once for all columns of an event.
    read = f"{_FROM}, LATERAL (SELECT b.body::jsonb AS body OFFSET 0) j"
    images = "jsonb_array_elements(j.body -> 'images') WITH ORDINALITY AS i(value, place)"
    events = (
        "SELECT e.event_id, u.id AS use_case_id, u.name AS use_case, b.event_type, "
        f"{time('time_us')} AS happened_at, {time('received_us')} AS received_at, "
        f"{columns(_CONTEXT, 'j.body')}, {columns(_DATA, _EVENT_DATA)}, "
        f"({_EVENT_DATA} ->> 'itemCount')::double precision AS item_count, "
        "coalesce(jsonb_array_length(j.body -> 'images'), 0) AS image_count, "
        f"{_FEEDBACK} AS feedback, EXISTS {_PINNED} AS pinned {read}"
    )
    detections = (
        f"SELECT e.event_id, u.id AS use_case_id, {time('time_us')} AS happened_at, "
        "i.place - 1 AS image, i.value ->> 'label' AS label, "
        f"coalesce(i.value ->> '{SOURCE_IDS.input}', i.value ->> '{SOURCE_IDS.output}') "
        "AS picture_id, k.value AS kind, d.value ->> 'class' AS class, "
        f"{', '.join(number(key) for key in _NUMBERS)} "
        f"{read}, {images}, jsonb_each_text('{_KINDS}') k, jsonb_array_elements(i.value -> k.key) d"
    )
    metadata = (
        f"SELECT e.event_id, u.id AS use_case_id, {time('time_us')} AS happened_at, "
        "m.key AS name, m.value #>> '{}' AS value, CASE jsonb_typeof(m.value) "
        "WHEN 'number' THEN (m.value #>> '{}')::double precision END AS number "
        f"{read}, jsonb_each(j.body -> 'customMetadata') m"
    )
    return events, detections, metadata

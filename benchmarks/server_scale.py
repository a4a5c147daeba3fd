"""How the local server's store copes with many events: filling, querying and deleting.

    python benchmarks/server_scale.py --events 1000000 --json figures.json
    python benchmarks/server_scale.py --database-url postgresql://user@/scale?host=/var/run/postgresql

Without --folder everything is created in a temporary folder, which is removed again. A PostgreSQL
database stays, and is only queried if it is already filled.
"""

from __future__ import annotations

import io
import json
import os
import random
import statistics
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from zoneinfo import ZoneInfo

import typer
from PIL import Image
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from vision_event_block.contract.limits import MAX_DELETED_EVENTS
from vision_event_block.server.page.exports import export
from vision_event_block.server.storage import Store
from vision_event_block.server.store.facets import DEVICE_ID, STREAM_ID, WORKFLOW_ID, Field
from vision_event_block.server.store.filters import (
    Condition,
    Confidence,
    Detection,
    FieldCondition,
    Filters,
)
from vision_event_block.server.store.records import NewEvent
from vision_event_block.server.store.statistics import BY_CHARTED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

USE_CASE: Final = "dock"
BATCH: Final = 100
PERIOD: Final = timedelta(days=13)
PAGE: Final = 50
EXPORTED: Final = 10_000
#: Pages fetched of each pair of filters.
PAGES: Final = 4
ZONE: Final = ZoneInfo("Europe/Berlin")
#: What charts are split by.
SPLITS: Final = {
    "nothing": (),
    "device": (DEVICE_ID,),
    "stream": (STREAM_ID,),
    "operator": (Field("metadata", "operator", "string"),),
    "door": (Field("metadata", "door", "number"),),
    "workflow": (WORKFLOW_ID,),
    "shift": (Field("metadata", "shift", "string"),),
}
#: What the bar of hours is made of.
BAD: Final = {name: BY_CHARTED[name] for name in ("result", "severity")}
#: How often each class is seen: from nearly always to a few times in a million.
CLASSES: Final = {
    "pallet": 0.6,
    "person": 0.3,
    "forklift": 0.1,
    "scratch": 0.01,
    "dent": 0.001,
    "fire": 0.00002,
}


def made_event(number: int, moment: datetime, chance: random.Random) -> NewEvent:
    """One event as a line records it: a picture, some detections, five keys of metadata."""
    event_id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
    event_type, data = _event_data(number, chance)
    seen = [name for name, share in CLASSES.items() if chance.random() < share]
    detections = [
        {
            "class": name,
            "x": chance.uniform(0, 1920),
            "y": chance.uniform(0, 1080),
            "width": chance.uniform(20, 400),
            "height": chance.uniform(20, 400),
            "confidence": chance.random() ** 0.3,
        }
        for name in seen
        for _ in range(3)
    ]
    metadata = {
        "shift": chance.choice(("day", "night", "late")),
        "door": chance.randrange(40),
        "temp_c": round(chance.gauss(20, 5), 2),
        "sealed": chance.random() < 0.9,
        "operator": f"operator {chance.randrange(200)}",
        "duration_s": round(chance.expovariate(0.1), 2),
    }
    image_count = 0 if chance.random() < 0.01 else 1 + int(chance.expovariate(4))
    body = {
        "eventId": event_id,
        "eventType": event_type,
        "useCaseId": USE_CASE,
        "timestamp": moment.isoformat(),
        "deviceId": f"cam-{min(int(chance.expovariate(0.3)), 40)}",
        "streamId": f"stream-{chance.randrange(8)}",
        "workflowId": "pallet-counter",
        "eventData": data,
        "images": [
            {
                "label": "workflow",
                "sourceId": f"{chance.getrandbits(128):032x}",
                "inputSourceId": f"{chance.getrandbits(128):032x}",
                "objectDetections": [] if position else detections,
            }
            for position in range(image_count)
        ],
        "customMetadata": metadata,
    }
    warnings = ({"type": "object.unknown", "path": "colour"},) if number % 1000 == 0 else ()
    return NewEvent(
        event_id=event_id,
        event_type=event_type,
        use_case_id=USE_CASE,
        timestamp=moment,
        body=body,
        warnings=warnings,
    )


def _event_data(number: int, chance: random.Random) -> tuple[str, dict[str, Any]]:
    dice = chance.random()
    if dice < 0.7:
        result = "fail" if chance.random() < 0.05 else "pass"
        return "quality_check", {"result": result, "externalId": f"order-{number}"}
    if dice < 0.95:
        count = chance.randrange(100)
        return "inventory_count", {"location": "dock-2", "itemCount": count, "itemType": "pallet"}
    severity = chance.choice(("low", "low", "low", "medium", "high"))
    return "safety_alert", {"alertType": "no_helmet", "severity": severity, "description": "gate"}


def filters_to_pair(count: int) -> dict[str, dict[str, Any]]:
    """One filter of each kind and of every selectivity."""

    def metadata(name: str, operator: Any, value: Any, type_: Any) -> dict[str, Any]:
        return {"metadata": (FieldCondition(name, operator, value, type_),)}

    def seen(*classes: str, neither: bool = False, **confidence: Any) -> dict[str, Any]:
        sure = [Confidence(*each) for each in confidence.items()] or [None]
        return {"detections": tuple(Detection(classes, each, neither) for each in sure)}

    def images(operator: Any, value: float) -> dict[str, Any]:
        return {"image_count": FieldCondition("imageCount", operator, value, "number")}

    return {
        "device common": {"device_id": Condition("eq", "cam-0")},
        "device rare": {"device_id": Condition("eq", "cam-30")},
        "device neq": {"device_id": Condition("neq", "cam-0")},
        "type common": {"event_types": ("quality_check",)},
        "two types": {"event_types": ("safety_alert", "inventory_count")},
        "class common": seen("pallet", gte=0.5),
        "class rare": seen("dent"),
        "class very rare": seen("fire"),
        "class, sure": seen("person", gte=0.99),
        "class, hardly": seen("pallet", lte=0.1),
        "class, at most": seen("pallet", lt=0.8),
        "class, between": seen("person", gte=0.4, lte=0.6),
        "anything, hardly": seen(lte=0.1),
        "anything, at most": seen(lte=0.8),
        "one of classes": seen("person", "forklift"),
        "one of rare classes": seen("dent", "fire"),
        "one of classes, sure": seen("forklift", "scratch", gt=0.98),
        "no pallet": seen("pallet", neither=True),
        "neither class": seen("pallet", "person", neither=True),
        "no sure pallet": seen("pallet", neither=True, gte=0.9),
        "no picture": images("eq", 0.0),
        "many pictures": images("gte", 4.0),
        "not one picture": images("neq", 1.0),
        "longer than": metadata("duration_s", "gt", 60.0, "number"),
        "longer than a bit": metadata("duration_s", "gt", 5.0, "number"),
        "item count": {"event_fields": (FieldCondition("itemCount", "lt", 3.0, "number"),)},
        "shift": metadata("shift", "eq", "night", "string"),
        "temp high": metadata("temp_c", "gt", 35.0, "number"),
        "temp mild": metadata("temp_c", "gt", 15.0, "number"),
        "door": metadata("door", "eq", 4, "number"),
        "not sealed": metadata("sealed", "eq", value=False, type_="boolean"),
        "operator contains": metadata("operator", "contains", "or 17", "string"),
        "external id": {"external_id": Condition("eq", f"order-{count // 2}")},
        "failed": {"event_fields": (FieldCondition("result", "eq", "fail", "string"),)},
        "severe": {"event_fields": (FieldCondition("severity", "eq", "high", "string"),)},
        "judged wrong": {"feedback": ("incorrect",)},
        "not judged": {"feedback": ("none",)},
        "judged somehow": {"feedback": ("correct", "incorrect", "inconclusive")},
        "not judged, or wrong": {"feedback": ("none", "incorrect")},
        "with warnings": {"has_warnings": True},
        "last day": {"start": datetime.now(timezone.utc) - timedelta(days=1)},
    }


def filters_of_charts(count: int) -> dict[str, dict[str, Any]]:
    """Every parameter of a chart, one at a time."""
    return {
        "nothing": {},
        **filters_to_pair(count),
        "stream": {"stream_id": Condition("eq", "stream-3")},
        "workflow": {"workflow_id": Condition("eq", "pallet-counter")},
        "pinned": {"is_pinned": True},
        "part of a text": {"external_id": Condition("contains", "er-77")},
    }


def paired(first: dict[str, Any], second: dict[str, Any]) -> Filters:
    """Both filters; lists of conditions are joined."""
    both = {**first, **second}
    for name in ("metadata", "event_fields", "detections"):
        if name in first and name in second:
            both[name] = first[name] + second[name]
    return Filters(use_case_id=USE_CASE, **both)


@dataclass
class Figures:
    """What was measured."""

    events: int
    database: str
    fill_events_per_s: float = 0.0
    #: Of the last hundred batches, when the indexes are largest.
    last_events_per_s: float = 0.0
    batch_p95_ms: float = 0.0
    size_mb: float = 0.0
    #: Of the machine, after the fill and at the end: what else was running.
    load_averages: tuple[float, ...] = ()
    query_p50_ms: float = 0.0
    query_p95_ms: float = 0.0
    query_max_ms: float = 0.0
    #: Processor time of it, whatever else was running.
    query_cpu_p95_ms: float = 0.0
    query_cpu_max_ms: float = 0.0
    #: Of a page with one filter.
    alone_max_ms: float = 0.0
    queries: int = 0
    #: Of what is counted: every filter alone, by each of SPLITS.
    chart_p50_ms: float = 0.0
    chart_p95_ms: float = 0.0
    chart_max_ms: float = 0.0
    chart_cpu_p95_ms: float = 0.0
    charts: int = 0
    slowest_charts_ms: dict[str, float] = field(default_factory=dict)
    #: Of the bar of hours with every filter alone, and of the list of devices.
    hours_p95_ms: float = 0.0
    hours_cpu_p95_ms: float = 0.0
    #: Of counting up to 10,000 matches, and of choosing that many, with every filter alone.
    count_p95_ms: float = 0.0
    count_cpu_p95_ms: float = 0.0
    choice_p95_ms: float = 0.0
    choice_cpu_p95_ms: float = 0.0
    devices_p95_ms: float = 0.0
    devices_cpu_p95_ms: float = 0.0
    #: Of as many events as one request may name, with their pictures.
    deletion_s: float = 0.0
    deleted_pictures: int = 0
    #: Of a data set of EXPORTED events: how much was written, and how much more memory it took.
    export_s: float = 0.0
    export_mb: float = 0.0
    export_memory_mb: float = 0.0
    #: The slowest pairs of filters, by their worst page.
    slowest_ms: dict[str, float] = field(default_factory=dict)
    other_ms: dict[str, float] = field(default_factory=dict)


def batches(count: int) -> Iterator[list[NewEvent]]:
    """Events over PERIOD, in the order of time, some followed by an operator's feedback."""
    chance = random.Random(7)  # noqa: S311 - the same events each time
    start = datetime.now(timezone.utc) - PERIOD
    batch: list[NewEvent] = []
    for number in range(count):
        moment = start + PERIOD * (number / count)
        event = made_event(number, moment, chance)
        batch.append(event)
        if number % 200 == 0:
            batch.append(_feedback(event, moment + timedelta(seconds=1), chance))
        if len(batch) >= BATCH:
            yield batch
            batch = []
    yield batch


def _feedback(event: NewEvent, moment: datetime, chance: random.Random) -> NewEvent:
    verdict = chance.choice(("correct", "correct", "incorrect", "inconclusive"))
    return NewEvent(
        event_id=f"feedback on {event.event_id}",
        event_type="operator_feedback",
        use_case_id=USE_CASE,
        timestamp=moment,
        body={"eventData": {"relatedEventId": event.event_id, "feedback": verdict}},
    )


def fill(store: Store, count: int, figures: Figures) -> None:
    """Times only the puts, not the making of the events."""
    store.use_cases.create("Dock", id=USE_CASE)
    batch_s = []
    for batch in batches(count):
        started_s = time.perf_counter()
        store.put(batch)
        batch_s.append(time.perf_counter() - started_s)
    figures.fill_events_per_s = count / sum(batch_s)
    figures.last_events_per_s = BATCH * len(batch_s[-100:]) / sum(batch_s[-100:])
    figures.batch_p95_ms = _percentile(batch_s, 95)


def ask(store: Store, figures: Figures) -> None:
    """Every filter alone and each pair of them, several pages deep."""
    every_ms: list[float] = []
    cpu_ms: list[float] = []
    worst_ms: dict[str, float] = {}
    named = filters_to_pair(figures.events)
    alone = [(each, ("nothing", {})) for each in named.items()]
    for (first, one), (second, other) in (*alone, *combinations(named.items(), 2)):
        cursor = None
        for _ in range(PAGES):
            started_s, busy_s = time.perf_counter(), time.thread_time()
            page = store.query(paired(one, other), limit=PAGE, cursor=cursor)
            taken_ms = 1000 * (time.perf_counter() - started_s)
            every_ms.append(taken_ms)
            cpu_ms.append(1000 * (time.thread_time() - busy_s))
            name = f"{first} + {second}"
            figures.alone_max_ms = max(figures.alone_max_ms, taken_ms * (other == {}))
            worst_ms[name] = max(worst_ms.get(name, 0.0), taken_ms)
            cursor = page.next_cursor
            if cursor is None:
                break
    figures.queries = len(every_ms)
    figures.query_p50_ms = statistics.median(every_ms)
    figures.query_p95_ms = _percentile([each / 1000 for each in every_ms], 95)
    figures.query_max_ms = max(every_ms)
    figures.query_cpu_p95_ms = _percentile([each / 1000 for each in cpu_ms], 95)
    figures.query_cpu_max_ms = max(cpu_ms)
    slowest = sorted(worst_ms.items(), key=lambda item: -item[1])[:12]
    figures.slowest_ms = dict(slowest)


def look(store: Store, figures: Figures) -> None:
    """The page's other requests."""
    everything = Filters(use_case_id=USE_CASE)
    one_device = Filters(use_case_id=USE_CASE, device_id=Condition("eq", "cam-0"))
    last_hour = Filters(
        use_case_id=USE_CASE, start=datetime.now(timezone.utc) - PERIOD / 13 - timedelta(hours=1)
    )
    rare_part = Filters(use_case_id=USE_CASE, external_id=Condition("contains", "er-77777"))
    asked: dict[str, Callable[[], object]] = {
        "first page, no filter": lambda: store.query(everything, limit=PAGE),
        "count, no filter": lambda: store.count(everything),
        "count, one device": lambda: store.count(one_device),
        "external id contains, rare": lambda: store.query(rare_part, limit=PAGE),
        "choices": lambda: store.choices(USE_CASE),
        "metadata schema": lambda: store.metadata_schema(USE_CASE),
        "list of use cases": store.use_cases.list,
        "timeline, everything": lambda: store.timeline(everything, buckets=60),
        "timeline, one device": lambda: store.timeline(one_device, buckets=60),
        "timeline, a day by quarter hours": lambda: store.timeline(last_hour, buckets=120),
        "latest change": lambda: store.latest_change(USE_CASE),
    }
    for name, call in asked.items():
        taken_s = []
        for _ in range(5):
            started_s = time.perf_counter()
            call()
            taken_s.append(time.perf_counter() - started_s)
        figures.other_ms[name] = 1000 * max(taken_s)


def count(store: Store, figures: Figures) -> None:
    """Charts with any one filter and every split; the bar of hours; and devices."""
    named = filters_of_charts(figures.events)
    newest = store.query(Filters(use_case_id=USE_CASE), limit=PAGE).events
    store.pin(USE_CASE, [event.event_id for event in newest])
    mark = store.mark()
    chart_ms: dict[str, float] = {}
    chart_cpu_ms, hours_ms, counts_ms, choices_ms = [], [], [], []
    for name, filters in named.items():
        asked = Filters(use_case_id=USE_CASE, **filters)
        for split, fields in SPLITS.items():
            by = {**BY_CHARTED, **({"split": fields} if fields else {})}
            taken_ms, busy_ms = _timed(
                lambda asked=asked, by=by: store.timeline(asked, buckets=48, zone=ZONE, by=by)
            )
            chart_ms[f"{name}, by {split}"] = taken_ms
            chart_cpu_ms.append(busy_ms)

        hours_ms.append(
            _timed(lambda asked=asked: store.timeline(asked, buckets=169, zone=ZONE, by=BAD))
        )
        counts_ms.append(_timed(lambda asked=asked: store.count(asked)))
        choices_ms.append(_timed(lambda asked=asked: store.ids(asked, until=mark, at_most=10_000)))
    devices_ms = [_timed(lambda: store.devices(USE_CASE)) for _ in range(20)]
    figures.charts = len(chart_ms)
    figures.chart_p50_ms = statistics.median(chart_ms.values())
    figures.chart_p95_ms = _percentile([each / 1000 for each in chart_ms.values()], 95)
    figures.chart_max_ms = max(chart_ms.values())
    figures.chart_cpu_p95_ms = _percentile([each / 1000 for each in chart_cpu_ms], 95)
    slowest = sorted(chart_ms.items(), key=lambda item: -item[1])[:5]
    figures.slowest_charts_ms = dict(slowest)
    for name, taken_ms in (
        ("hours", hours_ms),
        ("count", counts_ms),
        ("choice", choices_ms),
        ("devices", devices_ms),
    ):
        for part, unit in enumerate(("p95_ms", "cpu_p95_ms")):
            value = _percentile([each[part] / 1000 for each in taken_ms], 95)
            setattr(figures, f"{name}_{unit}", value)


def _timed(call: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds by the clock, and of processor time."""
    started_s, busy_s = time.perf_counter(), time.thread_time()
    call()
    return 1000 * (time.perf_counter() - started_s), 1000 * (time.thread_time() - busy_s)


def erase(store: Store, figures: Figures) -> None:
    """Deletes events with two pictures each, as many as one request may name."""
    chance = random.Random(11)  # noqa: S311 - the same events each time
    content = io.BytesIO()
    Image.effect_noise((640, 480), 50).save(content, "JPEG")
    now = datetime.now(timezone.utc)
    events = [made_event(number, now, chance) for number in range(MAX_DELETED_EVENTS)]
    for event in events:
        for image in event.body["images"]:
            for key in ("sourceId", "inputSourceId"):
                image[key] = store.pictures.put(content.getvalue()).id
    store.put(events)
    started_s = time.perf_counter()
    deleted = store.delete(USE_CASE, [event.event_id for event in events], with_pictures=True)
    figures.deletion_s = time.perf_counter() - started_s
    figures.deleted_pictures = deleted.pictures


def export_pictures(folder: Path, figures: Figures) -> None:
    """Exports 10,000 events with a picture each, in a store of their own, as YOLO."""
    chance = random.Random(13)  # noqa: S311 - the same events each time
    content = io.BytesIO()
    Image.effect_noise((640, 480), 50).save(content, "JPEG")
    with Store.open(folder, lookback_days=None) as store:
        store.use_cases.create("Export", id=USE_CASE)
        picture_id = store.pictures.put(content.getvalue()).id
        now = datetime.now(timezone.utc)
        events = [made_event(number, now, chance) for number in range(EXPORTED)]
        for image in (image for event in events for image in event.body["images"]):
            image["inputSourceId"] = picture_id
        for start in range(0, EXPORTED, BATCH):
            store.put(events[start : start + BATCH])
        del events
        started_s, before_mb = time.perf_counter(), _memory_mb()
        for piece in export(store, "yolo", Filters(use_case_id=USE_CASE), []):
            figures.export_mb += len(piece) / 1e6
            figures.export_memory_mb = max(figures.export_memory_mb, _memory_mb() - before_mb)
        figures.export_s = time.perf_counter() - started_s


def _memory_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def size_bytes(store: Store, folder: Path) -> int:
    """Of the database with its indexes."""
    with store._database.reading() as connection:  # noqa: SLF001 - there is no other way to ask
        if connection.dialect.name == "postgresql":
            asked = text("SELECT pg_database_size(current_database())")
            return int(connection.execute(asked).scalar_one())
    return sum(file.stat().st_size for file in folder.glob("*.db*"))


def _percentile(seconds: list[float], percent: int) -> float:
    """In milliseconds."""
    ordered = sorted(seconds)
    return 1000 * ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def show(figures: Figures) -> None:
    """A table on the terminal."""
    table = Table(title=f"{figures.events:,} events in {figures.database}")
    table.add_column("what")
    table.add_column("figure", justify="right")
    loads = ", ".join(f"{each:.1f}" for each in figures.load_averages)
    table.add_row("load averages", f"{loads} on {os.cpu_count()} cores")
    if figures.fill_events_per_s:
        table.add_row("ingest", f"{figures.fill_events_per_s:,.0f} events/s")
        table.add_row("ingest, last 100 batches", f"{figures.last_events_per_s:,.0f} events/s")
        table.add_row(f"batch of {BATCH}, p95", f"{figures.batch_p95_ms:.0f} ms")
    table.add_row("size on disk", f"{figures.size_mb:,.0f} MB")
    table.add_row(f"query, {figures.queries} pages, p50", f"{figures.query_p50_ms:.1f} ms")
    table.add_row("query, p95", f"{figures.query_p95_ms:.1f} ms")
    table.add_row("query, p95 of processor time", f"{figures.query_cpu_p95_ms:.1f} ms")
    table.add_row("query, most processor time", f"{figures.query_cpu_max_ms:.1f} ms")
    table.add_row("query, slowest", f"{figures.query_max_ms:.1f} ms")
    table.add_row("query, one filter, slowest", f"{figures.alone_max_ms:.1f} ms")
    for name, taken_ms in figures.slowest_ms.items():
        table.add_row(f"  {name}", f"{taken_ms:.1f} ms")
    table.add_row(f"{figures.charts} charts, p50", f"{figures.chart_p50_ms:.1f} ms")
    table.add_row("charts, p95", f"{figures.chart_p95_ms:.1f} ms")
    table.add_row("charts, p95 of processor time", f"{figures.chart_cpu_p95_ms:.1f} ms")
    table.add_row("charts, slowest", f"{figures.chart_max_ms:.1f} ms")
    for name, taken_ms in figures.slowest_charts_ms.items():
        table.add_row(f"  {name}", f"{taken_ms:.1f} ms")
    table.add_row("bar of hours, p95", f"{figures.hours_p95_ms:.1f} ms")
    table.add_row("bar of hours, p95 of processor time", f"{figures.hours_cpu_p95_ms:.1f} ms")
    table.add_row("count up to 10,000, p95", f"{figures.count_p95_ms:.1f} ms")
    table.add_row("count, p95 of processor time", f"{figures.count_cpu_p95_ms:.1f} ms")
    table.add_row("choice of 10,000, p95", f"{figures.choice_p95_ms:.1f} ms")
    table.add_row("choice, p95 of processor time", f"{figures.choice_cpu_p95_ms:.1f} ms")
    table.add_row("devices, p95", f"{figures.devices_p95_ms:.1f} ms")
    table.add_row("devices, p95 of processor time", f"{figures.devices_cpu_p95_ms:.1f} ms")
    for name, taken_ms in figures.other_ms.items():
        table.add_row(name, f"{taken_ms:.1f} ms")
    pictures = f"{figures.deleted_pictures:,} pictures"
    table.add_row(
        f"deletion, {MAX_DELETED_EVENTS:,} events, {pictures}", f"{figures.deletion_s:.2f} s"
    )
    table.add_row(
        f"YOLO export, {EXPORTED:,} events, {figures.export_mb:,.0f} MB",
        f"{figures.export_s:.1f} s",
    )
    table.add_row("memory that it took", f"{figures.export_memory_mb:.1f} MB")
    Console().print(table)


def main(
    events: Annotated[int, typer.Option(help="How many events to fill in.")] = 1_000_000,
    database_url: Annotated[str | None, typer.Option(help="An empty PostgreSQL database.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for the figures.")] = None,
    folder: Annotated[
        Path | None, typer.Option(help="An earlier run's folder to query again; kept.")
    ] = None,
) -> None:
    """Fills a store, queries it, and prints how long everything took."""
    figures = Figures(events, "SQLite" if database_url is None else "PostgreSQL")
    with tempfile.TemporaryDirectory() as temporary:
        at = folder or Path(temporary)
        with Store.open(at, database_url=database_url, lookback_days=14) as store:
            if store.use_cases.get(USE_CASE) is None:
                fill(store, events, figures)
            figures.size_mb = size_bytes(store, at) / 1e6
            loads = [os.getloadavg()[0]]
            ask(store, figures)
            look(store, figures)
            count(store, figures)
            erase(store, figures)
            export_pictures(Path(temporary) / "export", figures)
            figures.load_averages = (*loads, os.getloadavg()[0])
    show(figures)
    if json_file is not None:
        figures_and_machine = {**figures.__dict__, "cpus": os.cpu_count()}
        json_file.write_text(json.dumps(figures_and_machine, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)

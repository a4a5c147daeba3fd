"""The server's Prometheus metrics: requests, refusals, events, and what is stored.

Counts are per process. What is stored is read from the store at each scrape, and is the same for
all servers on one database.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily

from vision_event_block import __version__
from vision_event_block.logs import QuietLog
from vision_event_block.server.refusals import ALL_REASONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vision_event_block.server.forwarding import Forwarding
    from vision_event_block.server.storage import Store
    from vision_event_block.server.store.records import NewEvent

_PREFIX: Final = "vision_events_server"
_BUCKETS_S: Final = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

_log = QuietLog(logging.getLogger(__name__))


class ServerMetrics:
    """A server's counters. Any thread may add to them."""

    def __init__(self, store: Store, forwarding: Forwarding | None) -> None:
        self.registry = CollectorRegistry()
        self._events = Counter(
            f"{_PREFIX}_events",
            "Events written, by type; an overwritten event counts again",
            ["event_type"],
            registry=self.registry,
        )
        self._requests = Histogram(
            f"{_PREFIX}_request_seconds",
            "Time from the head of a request to the start of its answer",
            ["route"],
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self._answers = Counter(
            f"{_PREFIX}_answers",
            "Answers, by route and status",
            ["route", "status"],
            registry=self.registry,
        )
        self._refused = Counter(
            f"{_PREFIX}_refused_requests",
            "Requests that were refused, by reason",
            ["reason"],
            registry=self.registry,
        )
        for reason in ALL_REASONS:
            self._refused.labels(reason)
        self._received = Counter(
            f"{_PREFIX}_received_bytes", "Bytes of request bodies received", registry=self.registry
        )
        self.registry.register(_Collector(partial(_kept, store)))
        if forwarding is not None:
            # Under the same names as the outbox of a block.
            self.registry.register(_Collector(forwarding.metrics))

    def add_events(self, events: Sequence[NewEvent]) -> None:
        for event in events:
            self._events.labels(event.event_type).inc()

    def add_answer(self, route: str, status: int, took_s: float, received_bytes: int) -> None:
        self._requests.labels(route).observe(took_s)
        self._answers.labels(route, str(status)).inc()
        self._received.inc(received_bytes)

    def add_refusal(self, reason: str) -> None:
        self._refused.labels(reason).inc()


class _Collector:
    """Metrics that are read at each scrape, not on registration."""

    def __init__(self, collect: Callable[[], Iterator[Any]]) -> None:
        self.collect = collect

    def describe(self) -> list[Any]:
        return []


def _kept(store: Store) -> Iterator[Any]:
    """What the store holds; only the version if the database cannot be read."""
    info = GaugeMetricFamily(f"{_PREFIX}_info", "Version of the server", labels=["version"])
    info.add_metric([__version__], 1)
    yield info
    try:
        kept = store.sizes()
    except Exception as error:  # noqa: BLE001 -- a scrape shows what there is, whatever fails
        _log.say(logging.WARNING, "kept", f"metrics of the store are missing: {error}")
        return
    yield GaugeMetricFamily(f"{_PREFIX}_stored_events", "Events stored", value=kept.events)
    yield GaugeMetricFamily(f"{_PREFIX}_stored_pictures", "Pictures stored", value=kept.pictures)
    size = GaugeMetricFamily(f"{_PREFIX}_stored_bytes", "Disk space used", labels=["kind"])
    size.add_metric(["pictures"], kept.picture_bytes)
    size.add_metric(["database"], kept.database_bytes)
    yield size
    if kept.free_bytes is not None:
        yield GaugeMetricFamily(
            f"{_PREFIX}_disk_free_bytes", "Free disk space", value=kept.free_bytes
        )

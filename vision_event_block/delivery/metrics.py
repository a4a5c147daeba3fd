"""The outbox as Prometheus metrics, on the `/metrics` of a host that has one.

All figures are read from the folder when they are asked for. So each of several workers answers
for all of them, and a worker that ends takes no count with it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from vision_event_block.delivery.tally import ACCEPTED, REJECTED, REQUEST_MS, REQUESTS
from vision_event_block.outbox.census import Census, census
from vision_event_block.outbox.disk import RealDisk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PREFIX = "vision_events"
#: By the state of a destination, the higher the worse.
_LINK_STATES = {"open": 0, "down": 1, "key refused": 2, "no key": 3}

_exposed: set[Path] = set()


def expose(folder: Path) -> None:
    """Adds the metrics of this folder to the process's registry, where there is one."""
    try:
        from prometheus_client.core import REGISTRY  # noqa: PLC0415 - only a host with metrics has it
    except ImportError:
        return
    if folder not in _exposed:
        _exposed.add(folder)
        REGISTRY.register(OutboxCollector(folder))


class OutboxCollector:
    """Reads the folder at each scrape."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def describe(self) -> list[Any]:
        """Nothing: registering must not read the folder."""
        return []

    def collect(self) -> Iterator[Any]:
        """The metrics as of now."""
        from prometheus_client.core import (  # noqa: PLC0415 - see above
            CounterMetricFamily,
            GaugeMetricFamily,
        )

        # One reading: a scrape tolerates an event on the move, and shall not wait.
        now = census(self._folder, RealDisk(), pause=lambda _: None)
        counters = {
            "accepted": ("Events taken from workflows", now.under(ACCEPTED) or {"": 0}),
            "stored": ("Events written to disk", {"": now.stored}),
            "delivered": ("Events that the API has", {"": now.delivered}),
            "rejected": ("Events that the API refused, by status", now.under(REJECTED)),
            "dropped": ("Events given up", now.dropped),
            "shed": ("Pictures given up to save room", now.shed),
        }
        for name, (meaning, by_reason) in counters.items():
            counter = CounterMetricFamily(f"{_PREFIX}_{name}", meaning, labels=["reason"])
            for reason, number in by_reason.items():
                counter.add_metric([reason], number)
            yield counter
        yield _requests(now)
        pending = now.pending
        ages_s = [age_s for file in pending[:1] if (age_s := file.age_s(time.time())) is not None]
        gauges = {
            "outbox_events": ("Events that wait", len(pending)),
            "outbox_bytes": ("Room that they take, with dead letters", now.size_bytes),
            "outbox_oldest_age_seconds": ("Age of the oldest one", max(ages_s, default=0.0)),
            "dead_letters": ("Events that need a person", len(now.dead) + len(now.corrupt)),
        }
        for name, (meaning, value) in gauges.items():
            yield GaugeMetricFamily(f"{_PREFIX}_{name}", meaning, value=value)
        yield from self._links(now.slots)

    def _links(self, slots: Any) -> Iterator[Any]:
        from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415 - see above

        state = GaugeMetricFamily(
            f"{_PREFIX}_link_state",
            "0 open, 1 down, 2 key refused, 3 no process knows the key; the worst of all workers",
            labels=["destination"],
        )
        success = GaugeMetricFamily(
            f"{_PREFIX}_last_success_timestamp_seconds",
            "When a request last went through",
            labels=["destination"],
        )
        states: dict[str, int] = {}
        successes_s: dict[str, float] = {}
        for slot in slots:
            if not slot.has_owner:
                continue
            for destination in slot.status.get("destinations", ()):
                address = str(destination["address"])
                level = _LINK_STATES.get(str(destination["state"]), 1)
                states[address] = max(level, states.get(address, 0))
                last_s = destination["last_success_s"]
                if last_s is not None:
                    successes_s[address] = max(last_s, successes_s.get(address, 0.0))
        for address, level in states.items():
            state.add_metric([address], level)
        for address, last_s in successes_s.items():
            success.add_metric([address], last_s)
        yield state
        yield success


def _requests(now: Census) -> Any:
    from prometheus_client.core import SummaryMetricFamily  # noqa: PLC0415 - see above

    summary = SummaryMetricFamily(
        f"{_PREFIX}_request_seconds",
        "Requests to the API; an outcome that is not ok says whose trouble it was",
        labels=["route", "outcome"],
    )
    took_ms = now.under(REQUEST_MS)
    for name, number in now.under(REQUESTS).items():
        summary.add_metric(name.split(" "), number, took_ms.get(name, 0) / 1000)
    return summary

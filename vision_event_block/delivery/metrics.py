"""The outbox as Prometheus metrics, on the `/metrics` of a host that has one, or on a port.

All figures are read from the folder on request. So any one of several workers answers for all of
them, and a worker that ends takes no count with it. Across workers of one folder, use the maximum
and not the sum; `vision_events_outbox_info` shows which of them share a folder.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

from vision_event_block import settings
from vision_event_block.delivery.counters import (
    ACCEPTED,
    INTERNAL_ERRORS,
    REJECTED,
    REPLACED,
    REQUEST_MS,
    REQUESTS,
)
from vision_event_block.logs import QuietLog
from vision_event_block.outbox import clock
from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.owner_status import DestinationState
from vision_event_block.outbox.snapshot import OutboxSnapshot, take_snapshot
from vision_event_block.process import OnePerProcess
from vision_event_block.redaction import without_passwords

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_log = QuietLog(logging.getLogger(__name__))

_PREFIX = "vision_events"
#: Higher is worse.
_LEVELS: Final = {
    DestinationState.OPEN: 0,
    DestinationState.DOWN: 1,
    DestinationState.UNKNOWN: 1,
    DestinationState.KEY_REFUSED: 2,
    DestinationState.NO_KEY: 3,
}
#: Where workers leave their figures for each other; `/metrics` then shows nothing else.
MULTIPROCESS_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
#: The shortest pause between two times that they are left there, and how many times longer than
#: reading a full outbox that pause is.
LEAVE_EVERY_S: Final = 3.0
PAUSES_FACTOR: Final = 20

#: How long a client of the port may take.
REQUEST_TIMEOUT_S: Final = 10

#: A series for each of this many addresses, and one more for the others.
MAX_DESTINATIONS: Final = 16

_exposed: dict[Path, threading.Thread | None] = {}


def expose(folder: Path) -> None:
    """Adds the metrics of this folder to the process's own, and serves these if a port is set.

    Call it periodically: a port that another process had may have become free.
    """
    port = settings.current().metrics_port
    try:
        from prometheus_client.core import REGISTRY  # noqa: PLC0415 - only a host with metrics has it
    except ImportError:
        if port is not None:
            words = f"metrics are not served on port {port}: install prometheus-client"
            _port().say(words)
        return
    if folder not in _exposed:
        REGISTRY.register(OutboxCollector(folder))
        _exposed[folder] = None
    writer = _exposed[folder]
    # A forked child has its parent's registry, but not its threads.
    if MULTIPROCESS_FOLDER in os.environ and (writer is None or not writer.is_alive()):
        writer = threading.Thread(
            target=_keep_leaving_figures,
            args=(folder,),
            name="vision-event-metrics",
            daemon=True,
        )
        _exposed[folder] = writer
        writer.start()
    if port is not None:
        _port().serve(port)


class _Port:
    """Serves the process's metrics to this machine, if possible."""

    def __init__(self) -> None:
        self._server: ThreadingHTTPServer | None = None
        self._has_said = False

    def serve(self, port: int) -> None:
        """Starts serving if it does not yet; a port that is taken never affects the workflow."""
        if self._server is not None:
            return
        from prometheus_client import MetricsHandler  # noqa: PLC0415 - see above

        # Hangs up on a client that sends no request.
        handler: Any = type("Handler", (MetricsHandler,), {"timeout": REQUEST_TIMEOUT_S})
        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
            thread = threading.Thread(
                target=self._server.serve_forever, name="vision-event-metrics-port", daemon=True
            )
            thread.start()
        except (OSError, RuntimeError) as error:
            self.close()
            self.say(
                f"metrics are not served on port {port} ({error}): if another process with this "
                "outbox has the port, it answers for this one; otherwise set another "
                "VISION_EVENT_METRICS_PORT"
            )

    def say(self, words: str) -> None:
        """Logs it once; whether it still holds is checked every second."""
        if not self._has_said:
            self._has_said = True
            _log.say(logging.WARNING, "port", words)

    def close(self) -> None:
        """Closes the port; in a forked child, the socket that it has from its parent."""
        if self._server is not None:
            self._server.server_close()
            self._server = None


_port = OnePerProcess(_Port, abandon=_Port.close)


def _keep_leaving_figures(folder: Path) -> None:
    gauges: dict[str, Any] = {}
    while True:
        began_s = time.monotonic()
        try:
            _leave_figures(folder, gauges)
        except Exception as error:  # noqa: BLE001 - whatever the client library or the disk refuses
            _log.say(logging.WARNING, "figures", f"could not collect metrics of {folder}: {error}")
        took_s = time.monotonic() - began_s
        time.sleep(max(LEAVE_EVERY_S, PAUSES_FACTOR * took_s))


def _leave_figures(folder: Path, gauges: dict[str, Any]) -> None:
    """Writes the figures to the workers' common folder, through the gauges made so far.

    There, counts of all workers would be added up, including dead ones. In these gauges the figure
    written last counts, whichever worker wrote it.
    """
    from prometheus_client import CollectorRegistry, Gauge  # noqa: PLC0415 - see above

    of_nobody = CollectorRegistry()  # what is served is read from the files
    for family in OutboxCollector(folder).collect():
        for sample in family.samples:
            if sample.name not in gauges:
                gauges[sample.name] = Gauge(
                    sample.name,
                    family.documentation,
                    sorted(sample.labels),
                    multiprocess_mode="mostrecent",
                    registry=of_nobody,
                )
            gauge = gauges[sample.name]
            (gauge.labels(**sample.labels) if sample.labels else gauge).set(sample.value)


def outbox_id(folder: Path) -> str:
    """The same for all processes that share this folder, even from several containers."""
    found = folder.stat()
    whole = f"{clock.boot_id()} {found.st_dev} {found.st_ino}"
    return hashlib.sha256(whole.encode()).hexdigest()[:12]


class OutboxCollector:
    """Reads the folder at each scrape."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def describe(self) -> list[Any]:
        """Nothing: registering must not read the folder."""
        return []

    def collect(self) -> Iterator[Any]:
        """The metrics as of now; none while the folder cannot be read.

        An exception would break the host's own metrics, too.
        """
        try:
            # One reading: a scrape tolerates an event that is moving, and must not wait.
            now = take_snapshot(self._folder, RealDisk(), pause=lambda _: None)
            same = outbox_id(self._folder)
        except OSError as error:
            _log.say(
                logging.WARNING, "metrics", f"could not collect metrics of {self._folder}: {error}"
            )
            return
        yield from _counts(now)
        yield _requests(now)
        yield from _waiting(now)
        yield from _destinations(now)
        yield _info(self._folder, same)


def _counts(now: OutboxSnapshot) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415 - see above

    counters = {
        "accepted": ("Events taken from workflows", now.under(ACCEPTED)),
        "stored": ("Events written to disk", {"": now.stored}),
        "unstored": ("Events that were never on disk and have ended", {"": now.unstored}),
        "delivered": ("Events that the API has", {"": now.delivered}),
        "rejected": ("Events that the API rejected, by status", now.under(REJECTED)),
        "dropped": ("Events dropped", now.dropped),
        "versions": ("Newer versions of events taken from workflows", {"": now.versions}),
        "superseded": ("Versions that a newer one replaced unsent", {"": now.superseded}),
        "internal_errors": (
            "Failures inside this process, by what it was doing; not of the network or the API",
            now.under(INTERNAL_ERRORS),
        ),
        "threads_replaced": ("Threads that died and were replaced", now.under(REPLACED)),
        "shed": ("Pictures shed to save space", now.shed),
    }
    for name, (meaning, by_reason) in counters.items():
        counter = CounterMetricFamily(f"{_PREFIX}_{name}", meaning, labels=["reason"])
        # Starts with 0: Prometheus sees no rise in a count that starts with 1.
        for reason, number in (by_reason or {"": 0}).items():
            counter.add_metric([reason], number)
        yield counter


def _waiting(now: OutboxSnapshot) -> Iterator[Any]:
    from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415 - see above

    pending = now.pending
    updates = [file for file in pending if file.is_update]
    ages_s = [age_s for file in pending[:1] if (age_s := file.age_s(time.time())) is not None]
    gauges = {
        "outbox_events": ("Events waiting", len(pending) - len(updates)),
        "outbox_versions": ("Newer versions that wait, of events that are counted", len(updates)),
        "outbox_bytes": ("Disk space used, dead letters included", now.size_bytes),
        "outbox_oldest_age_seconds": ("Age of the oldest waiting event", max(ages_s, default=0.0)),
        "dead_letters": (
            "Rejected and damaged events, for an operator to look at",
            len(now.dead) + len(now.corrupt),
        ),
    }
    for name, (meaning, value) in gauges.items():
        yield GaugeMetricFamily(f"{_PREFIX}_{name}", meaning, value=value)


def _destinations(now: OutboxSnapshot) -> Iterator[Any]:
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
    for slot in now.slots:
        if not slot.has_owner:
            continue
        for destination in slot.status.destinations:
            address = _shown(destination.address)
            states[address] = max(_LEVELS[destination.state], states.get(address, 0))
            if destination.last_success_s is not None:
                last_s = max(destination.last_success_s, successes_s.get(address, 0.0))
                successes_s[address] = last_s
    # The worst come first, so that those that are merged are those that work.
    for number, address in enumerate(sorted(states, key=lambda each: -states[each])):
        if number < MAX_DESTINATIONS:
            state.add_metric([address], states[address])
            if address in successes_s:
                success.add_metric([address], successes_s[address])
        elif number == MAX_DESTINATIONS:
            state.add_metric(["others"], states[address])
    yield state
    yield success


def _shown(address: str) -> str:
    """An address as a label: without a password, and without the key that identifies a tenant."""
    return without_passwords(address.partition(" (key ")[0])


def _requests(now: OutboxSnapshot) -> Any:
    from prometheus_client.core import SummaryMetricFamily  # noqa: PLC0415 - see above

    summary = SummaryMetricFamily(
        f"{_PREFIX}_request_seconds",
        "Requests to the API; an outcome other than ok says whose fault it was",
        labels=["route", "outcome"],
    )
    took_ms = now.under(REQUEST_MS)
    for name, number in now.under(REQUESTS).items():
        summary.add_metric(name.split(" "), number, took_ms.get(name, 0) / 1000)
    return summary


def _info(folder: Path, same: str) -> Any:
    from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415 - see above

    info = GaugeMetricFamily(
        f"{_PREFIX}_outbox_info",
        "Identifies the outbox: workers that share one report the same figures",
        labels=["folder", "outbox"],
    )
    info.add_metric([str(folder), same], 1)
    return info

"""Refused requests: logged once a minute for each reason and client, and shown on the page."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from vision_event_block.contract.text import cut
from vision_event_block.logs import QuietLog
from vision_event_block.redaction import printable
from vision_event_block.server.store.timestamps import utc_now

if TYPE_CHECKING:
    from vision_event_block.server.store.timestamps import Clock

#: The reason for a refusal unless it gives one of its own.
REASONS: Final = {
    400: "invalid request",
    401: "missing or unknown API key",
    403: "not allowed",
    404: "not found",
    405: "not found",
    408: "body too slow",
    413: "body too large",
    429: "too many logins",
    500: "internal error",
    503: "busy",
    507: "no space",
    529: "no space",
}
UNKNOWN_USE_CASE: Final = "unknown use case"
ARCHIVED_USE_CASE: Final = "archived use case"
NOT_FORWARDED: Final = "cannot be forwarded"
#: What `vision-events doctor` sends to check whether a key may write.
EMPTY_EVENT: Final = "empty event"
OTHER: Final = "other"
#: Present from the first scrape on: Prometheus sees no increase in a count that begins at 1.
ALL_REASONS: Final = {
    *REASONS.values(),
    UNKNOWN_USE_CASE,
    ARCHIVED_USE_CASE,
    NOT_FORWARDED,
    EMPTY_EVENT,
    OTHER,
}
#: Runs to remember; beyond that, the oldest is forgotten.
MAX_RUNS: Final = 100
#: A run ends after this long without a refusal.
RUN_ENDS_AFTER: Final = timedelta(hours=1)
_MAX_CHARS: Final = 120


@dataclass(frozen=True)
class Refusal:
    """Why a request is refused: one of a few reasons, and what it is about."""

    reason: str
    #: For example the unknown use case; empty if the reason says it all.
    subject: str = ""

    def __str__(self) -> str:
        subject = printable(cut(self.subject, 60))
        return f"{self.reason} '{subject}'" if subject else self.reason


@dataclass(frozen=True, kw_only=True)
class RefusalRun:
    """Requests of one client that were refused for one reason, less than an hour apart."""

    #: The reason with its subject, or with the sentence of the latest answer.
    what: str
    client: str
    count: int
    first_at: datetime
    last_at: datetime


class Refusals:
    """What was refused recently. Any thread may use it."""

    def __init__(self, clock: Clock = utc_now) -> None:
        self._clock = clock
        self._log = QuietLog(logging.getLogger(__name__))
        self._lock = threading.Lock()
        self._runs: dict[tuple[Refusal, str], RefusalRun] = {}

    def add(self, refusal: Refusal, *, client: str, words: str) -> None:
        """Counts a refusal, and logs it unless it was logged within the last minute."""
        client, words = printable(client) or "an unknown address", cut(words, _MAX_CHARS)
        what = str(refusal) if refusal.subject else f"{refusal} ({printable(words)})"
        # Not by subject: a client that sends a new one each time must not flood the log.
        kind = (refusal.reason, client)
        self._log.say(logging.WARNING, kind, f"request refused: {what}, from {client}")
        now = self._clock()
        with self._lock:
            run = self._runs.pop((refusal, client), None)
            if run is None or now - run.last_at > RUN_ENDS_AFTER:
                run = RefusalRun(what=what, client=client, count=0, first_at=now, last_at=now)
            self._runs[refusal, client] = replace(run, what=what, count=run.count + 1, last_at=now)
            if len(self._runs) > MAX_RUNS:
                del self._runs[next(iter(self._runs))]

    def recent(self) -> list[RefusalRun]:
        """The ongoing runs, latest refusal first."""
        since = self._clock() - RUN_ENDS_AFTER
        with self._lock:
            return [run for run in reversed(self._runs.values()) if run.last_at >= since]

"""Log lines: at most one per kind and minute, since a camera repeats itself thirty times a second.

And the format of a server's lines: with time and level, as text or as JSON.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from datetime import datetime
from typing import TYPE_CHECKING

from vision_event_block.process import OnePerProcess
from vision_event_block.redaction import printable, without_passwords

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

PERIOD_S = 60.0
#: More kinds than a process ever has; beyond it the oldest is forgotten.
MAX_KINDS = 1000


class _Memory:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        #: kind -> (when it was last written, how many were held back since). Guarded by the lock.
        self.said: dict[Hashable, tuple[float, int]] = {}


class QuietLog:
    """Writes to a logger, but counts repeats within a minute instead of writing them."""

    def __init__(
        self,
        logger: logging.Logger,
        *,
        period_s: float = PERIOD_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger
        self._period_s = period_s
        self._clock = clock
        self._memory = OnePerProcess(_Memory)

    def say(
        self,
        level: int,
        kind: Hashable,
        message: str,
        *,
        exc_info: BaseException | None = None,
    ) -> None:
        """Writes the message, unless its kind was written less than a minute ago."""
        now = self._clock()
        memory = self._memory()
        with memory.lock:
            said_at, held_back = memory.said.get(kind, (float("-inf"), 0))
            if now - said_at < self._period_s:
                memory.said[kind] = (said_at, held_back + 1)
                return
            memory.said.pop(kind, None)
            if len(memory.said) >= MAX_KINDS:
                del memory.said[next(iter(memory.said))]
            memory.said[kind] = (now, 0)
        # Answers, addresses and ids in it are text from elsewhere.
        message = printable(without_passwords(message))
        repeats = f" (and {held_back} more like it before)" if held_back else ""
        self._logger.log(level, "%s%s", message, repeats, exc_info=exc_info)


class PlainFormatter(logging.Formatter):
    """Log lines without control characters for the terminal; tracebacks keep their line breaks."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        lines = text.split("\n") if record.exc_info else [text]
        return "\n".join(map(printable, lines))


class TimedFormatter(PlainFormatter):
    """`2026-03-01T09:15:27.512+01:00 WARNING what happened`."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{_time_of(record)} {record.levelname} {super().format(record)}"


class JsonFormatter(logging.Formatter):
    """One object per line: `time`, `level`, `logger`, `message`, and any `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        document = {
            "time": _time_of(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document)


def _time_of(record: logging.LogRecord) -> str:
    """Local time, with the zone's offset."""
    return datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")

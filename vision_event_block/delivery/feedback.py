"""What became of a step's earlier events, reported by its next frames.

In the background nothing waits for the API's verdict. So a step that names a use case which does
not exist would lose all of its events to the dead letters while its output says "stored". That is
why the frames after an event report its verdict, for a minute. A later event of the step that gets
through ends this, but not before the verdict was reported once.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vision_event_block.delivery.queued_event import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from vision_event_block.delivery.queued_event import DeliveryOutcome

#: How long a verdict is reported after it came; the same as for a refused key.
SAID_FOR_S: Final = 60.0
#: More steps than a process ever runs; beyond it the oldest are forgotten.
MAX_STEPS: Final = 1000


@dataclass(frozen=True)
class Feedback:
    """What a frame reports about its step's earlier events; empty if there is nothing to report."""

    #: Why the API rejected one.
    rejected: str = ""
    #: Why one could not be stored; it is in memory only, or lost.
    not_stored: str = ""
    #: What the API has warned of.
    warnings: tuple[str, ...] = ()


@dataclass
class _Note:
    text: tuple[str, ...]
    at_s: float
    is_said: bool = False
    is_over: bool = False


class StepFeedback:
    """What there is to report, by step. Any thread may use it."""

    def __init__(self, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock_s
        self._lock = threading.Lock()
        #: Guarded by the lock: the notes of each step, by name.
        self._steps: dict[Hashable, dict[str, _Note]] = {}

    def hear(self, step: Hashable, outcome: DeliveryOutcome) -> None:
        """Records what became of an event of this step."""
        with self._lock:
            if outcome.verdict is Verdict.REJECTED:
                self._note(step, "rejected", (outcome.reason,))
            elif outcome.verdict is Verdict.DELIVERED:
                self._end(step, "rejected", "not_stored", "warnings")
                if outcome.warnings:
                    self._note(step, "warnings", tuple(map(str, outcome.warnings)))

    def hear_not_stored(self, step: Hashable, reason: str) -> None:
        """Records that an event of this step is not on disk though it should be."""
        with self._lock:
            self._note(step, "not_stored", (reason,))

    def say(self, step: Hashable) -> Feedback:
        """What the step's current frame reports about the events before it."""
        with self._lock:
            notes = self._steps.get(step)
            if notes is None:
                return Feedback()
            since_s = self._clock() - SAID_FOR_S
            current = {name: note for name, note in notes.items() if note.at_s >= since_s}
            self._steps[step] = {name: note for name, note in current.items() if not note.is_over}
            if not self._steps[step]:
                del self._steps[step]
            for note in current.values():
                note.is_said = True
        return Feedback(
            rejected=_text(current.get("rejected")),
            not_stored=_text(current.get("not_stored")),
            warnings=current["warnings"].text if "warnings" in current else (),
        )

    def _note(self, step: Hashable, name: str, text: tuple[str, ...]) -> None:
        notes = self._steps.pop(step, {})
        while len(self._steps) >= MAX_STEPS:
            del self._steps[next(iter(self._steps))]
        self._steps[step] = {**notes, name: _Note(text, self._clock())}  # the newest comes last

    def _end(self, step: Hashable, *names: str) -> None:
        notes = self._steps.get(step, {})
        for name in names:
            note = notes.get(name)
            if note is None:
                continue
            note.is_over = True
            if note.is_said:
                del notes[name]


def _text(note: _Note | None) -> str:
    return "" if note is None else note.text[0]

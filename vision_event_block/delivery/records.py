"""What becomes of events that are handed over: one by one, and in the end all together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vision_event_block.delivery.feedback import Feedback

if TYPE_CHECKING:
    from vision_event_block.delivery.queued_event import DeliveryHandle
    from vision_event_block.events.event import VisionEvent


class NotTaken(Exception):  # noqa: N818 - a state, and nobody's error
    """The event is neither stored nor kept; the message says why."""


@dataclass(frozen=True)
class RecordResult:
    """What became of an event that was handed over."""

    event: VisionEvent
    is_stored: bool
    #: None while the event is still being encoded.
    handle: DeliveryHandle | None = None
    #: Why it is not stored, if it should be.
    trouble: str = ""
    #: It is in memory only, and nothing says that it will leave before the process ends.
    is_in_danger: bool = False
    #: What became of events of the same step before it.
    feedback: Feedback = field(default_factory=Feedback)


@dataclass(frozen=True)
class Remainder:
    """What was not delivered when somebody left, or the process ended."""

    #: All that was not delivered and may still be, lost events included.
    left: int = 0
    #: Of these, those that are in memory only.
    unstored: int = 0
    #: Whether the unstored are gone with the process.
    has_ended: bool = False
    #: Events that the API rejected for good.
    rejected: int = 0

    def __bool__(self) -> bool:
        return bool(self.left or self.rejected)

    def __str__(self) -> str:
        parts = []
        if self.left:
            when = "before the process ended" if self.has_ended else "yet"
            parts.append(f"{_events(self.left)} not delivered {when}")
            stored = self.left - self.unstored
            whose = "they" if stored == self.left else f"{stored} of them"
            if stored:
                parts.append(f"{whose} wait in the outbox (`vision-events status` shows them)")
            whose = "they" if not stored else f"{self.unstored} of them"
            if self.unstored and self.has_ended:
                parts.append(f"{whose} were not stored and are lost")
            elif self.unstored:
                parts.append(f"{whose} are in memory only and are lost if the process ends")
        if self.rejected:
            parts.append(
                f"{_events(self.rejected)} rejected by the API and became dead letters "
                "(`vision-events list --dead` says why)"
            )
        return "; ".join(parts)


def _events(number: int) -> str:
    return "1 event was" if number == 1 else f"{number} events were"

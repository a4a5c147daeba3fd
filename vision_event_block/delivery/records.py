"""What becomes of events that are handed over: for each, and at the end for all."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from vision_event_block.delivery.feedback import Feedback

if TYPE_CHECKING:
    from vision_event_block.delivery.queued_event import DeliveryHandle
    from vision_event_block.events.event import VisionEvent


class NotTaken(Exception):  # noqa: N818 - a state, not an error
    """The event is neither stored nor kept; the message says why."""


@dataclass(frozen=True)
class RecordResult:
    """What became of an event that was handed over."""

    event: VisionEvent
    is_stored: bool
    #: None while the event is still being encoded.
    handle: DeliveryHandle | None = None
    #: Why it is not stored, if it should be.
    problem: str = ""
    #: It is in memory only, and nothing suggests that it will be sent before the process ends.
    is_in_danger: bool = False
    #: What became of earlier events of the same step.
    feedback: Feedback = field(default_factory=Feedback)


@dataclass(frozen=True)
class Remainder:
    """What became of events by the time that a user left or the process ended."""

    #: All that were not delivered and may still be, lost events included.
    left: int = 0
    #: How many of these are in memory only.
    unstored: int = 0
    #: Whether the unstored ones are gone with the process.
    has_ended: bool = False
    #: Events that the API rejected for good.
    rejected: int = 0
    #: Events that the API has, including those from an earlier process.
    delivered: int = 0
    #: Events that could be neither stored nor sent, before the end.
    lost: int = 0

    def __bool__(self) -> bool:
        """Whether something went wrong or is unfinished."""
        return bool(self.left or self.rejected or self.lost)

    def since(self, before: Remainder) -> Remainder:
        """The same without the events that were counted earlier."""
        return replace(
            self,
            rejected=self.rejected - before.rejected,
            delivered=self.delivered - before.delivered,
            lost=self.lost - before.lost,
        )

    def __str__(self) -> str:
        in_memory = 0 if self.has_ended else self.unstored
        lost = self.lost + (self.unstored if self.has_ended else 0)
        parts = [
            f"{self.delivered:,} delivered",
            f"{self.left - self.unstored:,} waiting on disk",
            *([f"{in_memory:,} waiting in memory"] if in_memory else []),
            f"{self.rejected:,} rejected",
            f"{lost:,} lost",
        ]
        more = "vision-events status"
        if self.rejected:
            more = "vision-events list --dead" if not self.left else f"{more} and list --dead"
        return f"vision events: {', '.join(parts)} (`{more}` shows more)"


def say_last(logger: logging.Logger, found: Remainder) -> None:
    """Logs the last line of a pipeline or process: a warning if something is not delivered."""
    if found or found.delivered:
        logger.log(logging.WARNING if found else logging.INFO, "%s", found)

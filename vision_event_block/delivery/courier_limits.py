"""How many threads the courier has and how patient they are, and what a process keeps where."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vision_event_block.outbox.quota import OutboxLimits
from vision_event_block.settings import outbox_max_bytes

if TYPE_CHECKING:
    from collections import Counter
    from pathlib import Path

    from vision_event_block.delivery.queue import Queue
    from vision_event_block.settings import Settings

#: Of all threads: how many may be busy with destinations that do not answer, how many with those
#: that never answered yet, and how many with any single one, if there are several.
SILENT_SHARE: Final = 0.2
NEW_SHARE: Final = 0.5
SINGLE_SHARE: Final = 0.8


@dataclass(frozen=True)
class CourierLimits:
    """The number of threads, and how patient they are."""

    threads: int = 16
    max_backoff_s: float = 60.0
    key_retry_s: float = 300.0
    backlog_bytes_per_s: int = 0
    #: Images that were uploaded longer ago are uploaded again.
    max_image_age_s: float = 6 * 3600.0

    def __post_init__(self) -> None:
        for name in ("max_backoff_s", "key_retry_s", "max_image_age_s"):
            seconds = getattr(self, name)
            if not (math.isfinite(seconds) and seconds > 0):
                raise ValueError(f"{name} must be a positive number of seconds, not {seconds!r}")

    @classmethod
    def of(cls, settings: Settings) -> CourierLimits:
        return cls(
            threads=settings.senders,
            max_backoff_s=settings.max_backoff_s,
            key_retry_s=settings.key_retry_s,
            backlog_bytes_per_s=settings.backlog_bytes_per_s,
            max_image_age_s=settings.image_reuse_s,
        )


@dataclass(frozen=True)
class DispatchLimits:
    """Where events are stored, and how much of everything there may be."""

    folder: Path
    outbox: OutboxLimits = field(default_factory=OutboxLimits)
    courier: CourierLimits = field(default_factory=CourierLimits)
    memory_bytes: int = 64 * 2**20
    #: How long an event that the workflow does not wait for may stay in memory only.
    hold_s: float = 2.0

    @classmethod
    def of(cls, settings: Settings, folder: Path) -> DispatchLimits:
        """What the settings say, for an outbox in this folder."""
        return cls(
            folder=folder,
            outbox=OutboxLimits(
                max_bytes=outbox_max_bytes(folder),
                min_free_bytes=settings.outbox_min_free_bytes,
                max_events=settings.outbox_max_events,
                max_age_s=settings.outbox_max_age_days * 86_400,
            ),
            courier=CourierLimits.of(settings),
            memory_bytes=settings.max_pending_bytes,
            hold_s=settings.hold_s,
        )


def has_thread_left(queue: Queue, busy: Counter[Queue], threads: int) -> bool:
    """Whether one more of the threads may be busy with a destination.

    Most threads are kept for destinations that answer: others hold theirs until a time-out.
    """
    if busy[queue] >= max(1, int(SINGLE_SHARE * threads)):
        return False
    share = _share(queue)
    return share is None or sum(
        number for other, number in busy.items() if _share(other) == share
    ) < max(1, int(share * threads))


def _share(queue: Queue) -> float | None:
    """The share of the threads for destinations like this one; None for one that answers."""
    if queue.last_error is not None:
        return SILENT_SHARE
    return NEW_SHARE if queue.last_success_s is None else None

"""How many threads the courier has and how patient they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vision_event_block.settings import Settings


@dataclass(frozen=True)
class CourierLimits:
    """So many threads, and how patient they are."""

    threads: int = 10
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

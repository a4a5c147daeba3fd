"""Drops events that have waited longer than the age limit, as far as a clock can tell."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from vision_event_block.outbox import clock
from vision_event_block.outbox.entry import ClockReading
from vision_event_block.outbox.entry_names import stored_at_s

if TYPE_CHECKING:
    from vision_event_block.outbox.entry_index import EntryIndex
    from vision_event_block.outbox.leaving import Leaving
    from vision_event_block.outbox.slot import Slot

_logger = logging.getLogger(__name__)


class AgeLimit:
    """The age limit of one process, which has to watch its clock for a while. For one thread."""

    def __init__(self, max_age_s: float) -> None:
        self._max_age_s = max_age_s
        self._clock_trust = clock.Trust()

    def drop_old(
        self, slot: Slot, index: EntryIndex, leaving: Leaving, *, wall_s: float, uptime_s: float
    ) -> None:
        """Drops what has waited too long, unless it is being sent."""
        now = ClockReading(wall_s, uptime_s, clock.boot_id())
        is_wall_trusted = self._clock_trust.given(wall_s, uptime_s)
        for entry in index.entries():
            waited_s = clock.waited_s(
                entry.metadata.taken, stored_at_s(entry.name), now, is_wall_trusted=is_wall_trusted
            )
            if waited_s is None or waited_s <= self._max_age_s:
                continue
            if index.hold(entry.name) is None:
                continue  # it is being sent
            try:
                slot.journal.dropped(entry.key, "age")
            except OSError as error:
                index.release(entry.name)
                _logger.debug(
                    "event %s is too old but could not be dropped, will retry: %s",
                    entry.event_id,
                    error,
                )
                continue
            _logger.error("event %s exceeded the age limit and was dropped", entry.event_id)
            index.give_out(entry.name)
            leaving.remove(entry.name)

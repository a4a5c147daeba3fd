"""What a process does for its outbox periodically, one method for each housekeeping step."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vision_event_block.outbox.owner_status import OwnerStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from vision_event_block.delivery.courier import Courier
    from vision_event_block.outbox.owner_status import DestinationStatus

_logger = logging.getLogger(__name__)

#: How often slots whose process is gone are looked for, and limits are applied.
ADOPT_EVERY_S: Final = 5.0
#: How often the disk is checked for stored events that nothing delivers.
COMPARE_EVERY_S: Final = 30.0
#: How often a status without news is written.
STATUS_EVERY_S: Final = 10.0


class Upkeep:
    """Looks after the courier's outbox; without one, each step does nothing. For one thread."""

    def __init__(self, courier: Courier, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._courier = courier
        self._clock = clock_s
        self._adopted_at_s = self._kept_at_s = self._compared_at_s = float("-inf")
        #: What the status last said apart from times, and when.
        self._shown: tuple[DestinationStatus, ...] | None = None
        self._shown_at_s = float("-inf")
        #: Whether the courier has what earlier processes left.
        self.has_adopted = False
        #: Names of entries that were stored but in no queue at the last comparison.
        self._forgotten: set[str] = set()

    def hand_over(self) -> None:
        if self._courier.outbox is not None:
            self._courier.outbox.hand_over()

    def retry(self) -> None:
        """Retries what is waiting for a pause to end, if an operator has asked for that."""
        if self._courier.outbox is not None and self._courier.outbox.take_retry_request():
            self._courier.queues.retry_now()

    def adopt(self) -> None:
        """Delivers the events of processes that are gone."""
        if self._courier.outbox is not None and self._is_due(self._adopted_at_s, ADOPT_EVERY_S):
            self._adopted_at_s = self._clock()
            self._courier.take(self._courier.outbox.adoptions())
            self.has_adopted = True

    def do_housekeeping(self) -> None:
        """Applies the outbox's limits, and frees space each time."""
        if self._courier.outbox is None:
            return
        if self._is_due(self._kept_at_s, ADOPT_EVERY_S):
            self._kept_at_s = self._clock()
            self._courier.outbox.do_housekeeping()
        else:
            self._courier.outbox.make_room()

    def compare(self) -> None:
        """Delivers stored events that are in no queue, and forgets those that are no longer stored.

        The former must be seen twice: the first time, they may be on their way from disk to the
        courier. The latter exceeded the age limit, or another process took them: in a long outage
        their turn never comes.
        """
        outbox = self._courier.outbox
        if outbox is None or not self._is_due(self._compared_at_s, COMPARE_EVERY_S):
            return
        self._compared_at_s = self._clock()
        known, stored = self._courier.queues.entry_names(), outbox.entries()
        self._courier.queues.let_go(known.difference(entry.name for entry in stored))
        unknown = {entry.name: entry for entry in stored if entry.name not in known}
        self._courier.take(entry for name, entry in unknown.items() if name in self._forgotten)
        self._forgotten = set(unknown) - self._forgotten

    def write_counts(self) -> None:
        if self._courier.outbox is not None:
            self._courier.counters.hand_over(self._courier.outbox.journal.count_all)

    def write_status(self, *, at_once: bool = True) -> None:
        """Reports the state of each destination, for the commands and the metrics.

        Unless `at_once`, it waits a while if the only news is one more delivery: replacing a file
        writes it to the medium, and the medium may be flash.
        """
        outbox = self._courier.outbox
        if outbox is None:
            return
        states = tuple(self._courier.states())
        news = tuple(replace(state, last_success_s=None) for state in states)
        is_due = self._is_due(self._shown_at_s, STATUS_EVERY_S)
        if not at_once and news == self._shown and not is_due:
            return
        try:
            outbox.write_status(OwnerStatus(os.getpid(), states))
        except OSError as error:
            _logger.debug("could not write the status: %s", error)
        else:
            self._shown, self._shown_at_s = news, self._clock()

    def _is_due(self, last_s: float, period_s: float) -> bool:
        return self._clock() - last_s >= period_s

"""Where the courier takes parcels from and puts them back: the outbox, for those that lie in it.

An event that could not be stored lives in memory only; for it there is nothing to do here.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from vision_event_block.outbox import clock

if TYPE_CHECKING:
    from vision_event_block.delivery.errors import VisionEventsError
    from vision_event_block.delivery.parcel import Parcel
    from vision_event_block.outbox.outbox import Outbox

_logger = logging.getLogger(__name__)


class Shelf:
    """The outbox as the courier uses it. Any thread may."""

    def __init__(self, outbox: Outbox | None) -> None:
        #: Also set later, if it could not be opened at first.
        self.outbox = outbox

    def fetch(self, parcel: Parcel) -> bool:
        """Reads the event into its parcel and claims it; False if it is not there any more."""
        if parcel.entry is None:
            return True
        if self.outbox is None or not self.outbox.claim(parcel.entry):
            return False
        contents = parcel.contents or self.outbox.read(parcel.entry)
        if contents is None:
            return False
        timestamp = clock.corrected(
            contents.payload["timestamp"], contents.notes.taken, clock.moment()
        )
        parcel.contents = replace(contents, payload={**contents.payload, "timestamp": timestamp})
        if parcel.is_backlog and not parcel.source_ids:
            parcel.source_ids.update(self.outbox.progress(parcel.entry))
        return True

    def put_back(self, parcel: Parcel) -> None:
        """Lets go of an event that is tried again later."""
        self.note_progress(parcel)
        if parcel.entry is not None and self.outbox is not None:
            self.outbox.unclaim(parcel.entry)

    def note_progress(self, parcel: Parcel) -> None:
        """Keeps which pictures are up."""
        if parcel.entry is None or self.outbox is None:
            return
        if len(parcel.source_ids) > parcel.noted_uploads:
            self.outbox.note_progress(parcel.entry, parcel.source_ids)
            parcel.noted_uploads = len(parcel.source_ids)

    def take_off(self, parcel: Parcel) -> None:
        """Removes a delivered event."""
        if parcel.entry is None or self.outbox is None:
            return
        try:
            self.outbox.delivered(parcel.entry)
        except OSError as error:  # it is sent again some day, and overwrites itself
            _logger.warning("the delivered event %s cannot be removed: %s", parcel.event_id, error)

    def bury(self, parcel: Parcel, error: VisionEventsError) -> None:
        """Puts a refused event among the dead letters."""
        if parcel.entry is None or self.outbox is None:
            return
        reason = {
            "event_id": parcel.event_id,
            "status": error.status,
            "route": error.route,
            "reason": error.message,
            "attempts": parcel.stumbles + 1,
            "at_s": time.time(),
        }
        try:
            self.outbox.bury(parcel.entry, reason)
        except OSError as trouble:
            _logger.error(  # noqa: TRY400 - the words say it all
                "event %s cannot be put aside: %s", parcel.event_id, trouble
            )

"""What became of a stream: what the server has of the events that its workflow made."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from vision_event_block.contract.names import SOURCE_IDS, pictures_named

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vision_event_block.demo.engine import Played
    from vision_event_block.demo.recordings import Recording
    from vision_event_block.demo.streams import Stream
    from vision_event_block.server.storage import Store

ARRIVES_WITHIN_S: Final = 30.0


@dataclass(frozen=True)
class Outcome:
    stream: Stream
    recording: Recording
    played: Played
    #: The events as the server has them.
    events: tuple[Mapping[str, Any], ...]
    #: How many of their pictures are there.
    pictures: int

    @property
    def is_complete(self) -> bool:
        """Whether every frame was played, and every event arrived with its pictures."""
        sent = len(self.played.event_ids)
        return (
            self.played.frames == self.recording.frames
            and not self.played.troubles
            and 0 < sent == len(self.events)
            and self.pictures == sent * self.stream.pictures_per_event
        )


def outcome_of(
    store: Store,
    stream: Stream,
    recording: Recording,
    played: Played,
    *,
    timeout_s: float = ARRIVES_WITHIN_S,
) -> Outcome:
    """What the server has, once all is there or the time is over.

    The pipeline's end lets all events out; only a host too old to close its blocks does not.
    """
    ends_at_s = time.monotonic() + timeout_s
    while True:
        found = [stored for each in played.event_ids if (stored := store.get(each))]
        if len(found) == len(played.event_ids) or time.monotonic() > ends_at_s:
            break
        time.sleep(0.1)
    events = tuple(stored.body for stored in found)
    # One that is an event's input and output is kept once, and there as either.
    pictures = sum(
        store.pictures.exists(picture_id)
        for event in events
        for key in SOURCE_IDS
        for picture_id in pictures_named(event, [key])
    )
    return Outcome(stream, recording, played, events, pictures)

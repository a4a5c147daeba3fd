"""Recovers the events that a killed process had in memory only: encodes and stores them."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from vision_event_block.events.bundle import encode_payload
from vision_event_block.outbox.entry import Corrupt, DeliveryMetadata, pack
from vision_event_block.outbox.entry_names import entry_key, entry_name, is_update
from vision_event_block.outbox.journal import DELIVERED, DROPPED, SUPERSEDED, UNSTORED
from vision_event_block.outbox.spool import NoSpool

if TYPE_CHECKING:
    from vision_event_block.outbox.ballast import Ballast
    from vision_event_block.outbox.slot import Slot

_logger = logging.getLogger(__name__)


def store_recovered(slot: Slot, content: bytes, ballast: Ballast) -> None:
    """Stores the event of a frame in a slot that this process owns, unless it is there.

    Raises:
        OSError: it cannot be stored now.
        NoSpool: this process cannot encode it.
    """
    try:  # a process that only sends stored events needs no image library
        from vision_event_block.events.frames import recovered  # noqa: PLC0415
    except ImportError as error:
        raise NoSpool(f"encoding its pictures needs the host ({error})") from None
    try:
        found = recovered(content)
        metadata = DeliveryMetadata.from_json(found.metadata)
        event_id = found.bundle.payload["eventId"]
    except (ValueError, LookupError, TypeError) as error:
        # A process leaves whole frames, so the power was cut and some pages never reached the disk.
        slot.journal.count_all({UNSTORED: 1, f"{DROPPED} lost": 1})
        _logger.error("an event was lost that was in memory when the power was cut (%s)", error)  # noqa: TRY400 -- the message says it all
        return
    key = entry_key(event_id, metadata)
    versions = {name: _version(slot, name) for name in slot.entries_of(event_id)}
    if max(versions.values(), default=-1) >= metadata.version:
        if not (metadata.is_update or slot.knows(key)):
            # A newer version was read first, and not counted: the event was not in the sum yet.
            slot.journal.count_all({UNSTORED: 1, DELIVERED: 1, SUPERSEDED: 1})
        return
    if not versions and slot.knows(key):
        return  # the process was killed after it was stored
    for reason in found.left_out:
        _logger.warning("event %s: a picture was left out (%s)", event_id, reason)
    name = max(versions, key=versions.__getitem__, default="")
    if name:  # an older version is stored and has not left
        metadata = replace(metadata, is_update=is_update(name))
    chunks = pack(encode_payload(found.bundle.payload), found.bundle.pictures, metadata)
    if name:
        ballast.afford(lambda: slot.replace(name, chunks))
        return
    name = entry_name(metadata.taken.wall_s, key)
    ballast.afford(lambda: slot.commit(name, chunks))
    slot.journal.stored(key)


def _version(slot: Slot, name: str) -> int:
    try:
        return slot.entry(name).version
    except Corrupt:  # anything is better
        return -1

"""Which pictures of an entry are up already, in a small file beside it that may be lost."""

from __future__ import annotations

import json
import logging
import zlib
from typing import TYPE_CHECKING

from vision_event_block.outbox.entry_names import state_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vision_event_block.outbox.slot import Slot

_logger = logging.getLogger(__name__)


def write_progress(slot: Slot, name: str, source_ids: Mapping[str, str]) -> None:
    """Keeps the API's id of each picture that is up."""
    text = json.dumps(dict(source_ids))
    state = {"sourceIds": text, "crc32": zlib.crc32(text.encode())}
    try:
        slot.write_beside(state_name(name), json.dumps(state).encode())
    except OSError as error:
        _logger.debug("could not save the upload progress of %s: %s", name, error)


def read_progress(slot: Slot, name: str) -> dict[str, str]:
    """The API's id of each picture that is up; none if they cannot be told for certain."""
    try:
        state = json.loads(slot.read(state_name(name)))
        if zlib.crc32(state["sourceIds"].encode()) != state["crc32"]:
            return {}  # a wrong id would have the event refused
        known: dict[str, str] = json.loads(state["sourceIds"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return known

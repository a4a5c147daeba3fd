"""What the name of an entry's file says: when it was stored, and what the journal calls it.

1764172800123-0b1c....tar        an event, as whatever version of it is the newest
1764172803456-0b1c....v2.tar     a newer version of one that has ended, usually by being delivered
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from vision_event_block.outbox.entry import DeliveryMetadata

_STAMP_DIGITS: Final = 13
#: The end of an update's key, with the version that it was stored as. No id ends like this: the
#: block's are UUIDs, and a relay's end with a hyphen and eight digits.
_UPDATE: Final = re.compile(r"\.v\d+$")


def entry_name(stored_at_s: float, key: str) -> str:
    """The file name of an entry: names sort by time."""
    return f"{max(0, int(stored_at_s * 1000)):0{_STAMP_DIGITS}d}-{key}.tar"


def entry_key(event_id: str, metadata: DeliveryMetadata) -> str:
    """The key by which file names and the journal identify an event.

    An update has a key of its own: its event is counted already, and may have ended.
    """
    return f"{event_id}.v{metadata.version}" if metadata.is_update else event_id


def is_entry(name: str) -> bool:
    stamp, dash, rest = name.partition("-")
    return bool(dash) and stamp.isascii() and stamp.isdigit() and rest.endswith(".tar")


def key_of(name: str) -> str:
    """The journal's key of an entry, from the entry's name."""
    return name.partition("-")[2].removesuffix(".tar")


def event_id_of(name: str) -> str:
    """The event's id, from the name of its entry."""
    return _UPDATE.sub("", key_of(name))


def is_update(key: str) -> bool:
    """Whether an entry is counted separately from its event, by its key or name."""
    return _UPDATE.search(key.removesuffix(".tar")) is not None


def stored_at_s(name: str) -> float:
    """When the event was stored, by the wall clock at that time, from its entry's name."""
    return int(name.partition("-")[0]) / 1000


def state_name(name: str) -> str:
    return f"{name.removesuffix('.tar')}.state.json"

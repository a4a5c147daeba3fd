"""What was delivered recently, a line for each event, so that `verify` can ask the API for it.

Losing a line does no harm, so nothing is synced. All processes of an outbox append to one file; a
full one is kept next to its successor, and the one before that is removed.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any, Final

from vision_event_block.contract.names import MEMBERS, pictures_named

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from vision_event_block.outbox.disk import Disk

NEW: Final = "receipts"
OLD: Final = "receipts.1"
#: For one file, some twenty thousand events.
MAX_BYTES: Final = 4 * 2**20
#: The size is checked after this many lines.
_LOOK_EVERY: Final = 100


@dataclass(frozen=True)
class Receipt:
    """An event that the API has confirmed."""

    delivered_at_s: float
    url: str
    use_case_id: str
    event_id: str
    timestamp: str
    #: How many of its images have a picture.
    images: int

    @classmethod
    def of(cls, payload: Mapping[str, Any], url: str, now_s: float) -> Receipt:
        """The receipt of an event, from its bundle's payload."""
        images = [
            image
            for image in payload.get("images", ())
            if pictures_named({"images": [image]}, MEMBERS)
        ]
        return cls(
            round(now_s, 3),
            url,
            str(payload.get("useCaseId")),
            str(payload.get("eventId")),
            str(payload.get("timestamp")),
            len(images),
        )


class Receipts:
    """Writes them for one process. Any thread may use it."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self._folder = folder
        self._disk = disk
        self._added = 0

    def add(self, receipt: Receipt) -> None:
        """Appends a line; raises OSError."""
        line = json.dumps(astuple(receipt), separators=(",", ":"))
        self._disk.append(self._folder / NEW, f"{line}\n".encode())
        self._added += 1
        if self._added % _LOOK_EVERY == 1 and self._disk.size_bytes(self._folder / NEW) > MAX_BYTES:
            self._disk.rename(self._folder / NEW, self._folder / OLD)


def receipts_in(folder: Path, disk: Disk, *, since_s: float) -> Iterator[Receipt]:
    """The receipts from a certain time on, oldest first; raises OSError."""
    for name in (OLD, NEW):
        with suppress(FileNotFoundError):
            for line in disk.read(folder / name).splitlines():
                with suppress(ValueError, TypeError):  # cut off by a kill
                    receipt = Receipt(*json.loads(line))
                    if receipt.delivered_at_s >= since_s:
                        yield receipt

"""Finished entries, until their files are gone: a disk that refuses is asked again."""

from __future__ import annotations

import logging
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from vision_event_block.outbox.slot import CORRUPT, DEAD

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vision_event_block.outbox.entry_index import EntryIndex
    from vision_event_block.outbox.set_aside import SetAside
    from vision_event_block.outbox.slot import Slot

_logger = logging.getLogger(__name__)


class Leaving:
    """What remains to be done with the files of entries that the index knows as leaving.

    It is decided and counted, so nothing here raises OSError: what fails is done later. A process
    that ends first leaves it to the next owner of the slot.
    """

    def __init__(self, slot: Slot, index: EntryIndex, aside: SetAside) -> None:
        self._slot = slot
        self._index = index
        self._aside = aside
        self._lock = threading.Lock()
        self._owed: dict[str, Callable[[], None]] = {}

    def remove(self, name: str) -> None:
        """Unlinks an entry that was delivered or dropped, or that could not be stored."""
        self._do(name, partial(self._slot.remove, name))

    def move_to_dead_letters(self, name: str, reason: Mapping[str, Any]) -> None:
        self._do(name, partial(self._aside.put, name, DEAD, dict(reason)))

    def move_to_corrupt(self, name: str) -> None:
        self._do(name, partial(self._aside.put, name, CORRUPT))

    def retry(self) -> None:
        """Asks the disk again for what it has refused."""
        with self._lock:
            owed = list(self._owed.items())
        for name, action in owed:
            self._do(name, action)

    def _do(self, name: str, action: Callable[[], None]) -> None:
        with self._lock:
            is_new = name not in self._owed
            self._owed[name] = action
        try:
            action()
        except OSError as error:
            level = logging.WARNING if is_new else logging.DEBUG
            _logger.log(
                level, "could not remove or move the finished entry %s, will retry: %s", name, error
            )
            return
        with self._lock:
            self._owed.pop(name, None)
        self._index.gone(name)

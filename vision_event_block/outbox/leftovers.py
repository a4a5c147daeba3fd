"""Files that a failure or a killed process has left, removed once it is clear that nobody is at it.

A file that is being written looks the same. But it is renamed within moments, so what is there
at two looks in a row is left over.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from vision_event_block.outbox.entry_names import is_entry, state_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from vision_event_block.outbox.disk import Disk


class Leftovers:
    """What was left in some folders when they were looked at last. For one thread."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._seen: dict[Path, set[str]] = {}

    def sweep_slot(self, folder: Path, is_in_hand: Callable[[str], bool]) -> None:
        """Removes what was there at the last look already, and belongs to no entry.

        Args:
            folder: The own slot.
            is_in_hand: Whether an entry of this name is being written; on a slow disk that lasts.

        Raises:
            OSError: the folder cannot be looked at.
        """
        names = self._disk.names(folder)
        belonging = {state_name(name) for name in names if is_entry(name)}
        left = _of_kind(names, (".tmp", state_name(""))) - belonging
        self._sweep(folder, {name for name in left if not is_in_hand(name.removesuffix(".tmp"))})

    def sweep_aside(self, folder: Path) -> None:
        """The same where several processes set events aside."""
        names = self._disk.names(folder)
        belonging = {f"{name.removesuffix('.tar')}.json" for name in names if is_entry(name)}
        self._sweep(folder, _of_kind(names, (".tmp", ".json")) - belonging)

    def _sweep(self, folder: Path, left: set[str]) -> None:
        for name in left & self._seen.get(folder, set()):
            with suppress(OSError):  # or at the next look
                self._disk.remove(folder / name)
        self._seen[folder] = left


def _of_kind(names: Collection[str], endings: tuple[str, ...]) -> set[str]:
    return {name for name in names if name.endswith(endings)}

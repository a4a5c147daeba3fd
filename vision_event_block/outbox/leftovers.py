"""Files that a failure or a killed process has left, removed once it is clear that nobody is at it.

A file that is being written looks the same. But it is renamed within moments, so what is there
at two looks in a row is left over.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from vision_event_block.outbox.slot import is_entry, state_name

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from vision_event_block.outbox.disk import Disk


class Leftovers:
    """What was left in some folders when they were looked at last. For one thread."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._seen: dict[Path, frozenset[str]] = {}

    def sweep(self, folder: Path, *, is_shared: bool = False) -> None:
        """Removes what was there at the last look already, and belongs to no entry.

        Args:
            folder: A slot, or one in which several processes set events aside.
            is_shared: It is the latter.

        Raises:
            OSError: the folder cannot be looked at.
        """
        names = self._disk.names(folder)
        entries = set(filter(is_entry, names))
        if is_shared:
            belonging = {f"{name.removesuffix('.tar')}.json" for name in entries}
            left = _of_kind(names, (".tmp", ".json")) - belonging
        else:
            left = _of_kind(names, (".tmp", state_name(""))) - set(map(state_name, entries))
        for name in left & self._seen.get(folder, frozenset()):
            with suppress(OSError):  # or at the next look
                self._disk.remove(folder / name)
        self._seen[folder] = frozenset(left)


def _of_kind(names: Collection[str], endings: tuple[str, ...]) -> set[str]:
    return {name for name in names if name.endswith(endings)}

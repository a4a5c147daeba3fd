"""Events set aside: dead letters, with the reason, and damaged files. No process owns them.

A process that acts on one first renames it into its own slot: of several that try, one gets it,
and if that one is killed, the event is in the queue again.
"""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from vision_event_block.outbox.entry import Corrupt, unpack
from vision_event_block.outbox.entry_names import entry_name, is_entry, key_of
from vision_event_block.outbox.slot import DEAD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from vision_event_block.outbox.ballast import Ballast
    from vision_event_block.outbox.disk import Disk
    from vision_event_block.outbox.slot import Slot

_logger = logging.getLogger(__name__)


class SetAside:
    """The folders `dead` and `corrupt`, as the owner of a slot uses them."""

    def __init__(self, folder: Path, slot: Slot, disk: Disk) -> None:
        self._folder = folder
        self._slot = slot
        self._disk = disk

    def names(self, place: str) -> list[str]:
        """The events in one of the folders, oldest first; raises OSError."""
        return sorted(filter(is_entry, self._disk.names(self._folder / place)))

    def path(self, place: str, name: str) -> Path:
        return self._folder / place / name

    def is_healthy(self, place: str, name: str) -> bool:
        """Whether a file can be read as an event after all; raises OSError if that fails."""
        try:
            unpack(self._disk.read(self.path(place, name)))
        except Corrupt:
            return False
        return True

    def put(self, name: str, place: str, reason: Mapping[str, Any] | None = None) -> None:
        """Moves an entry out of the slot, with the reason next to it.

        Raises:
            OSError: the entry is still in the slot.
        """
        if reason is not None:
            self._write_reason(name, place, reason)
        source, target = self._slot.folder / name, self.path(place, name)
        try:
            self._disk.rename(source, target)
        except FileNotFoundError:
            if name not in self._disk.names(self._slot.folder):
                return  # it is there already
            self._disk.make_folder(target.parent)  # it was removed by hand
            self._disk.rename(source, target)
        self._sync(target.parent, source.parent)
        self._slot.journal.moved_on(key_of(name))
        self._slot.remove_progress(name)

    def take(self, name: str, place: str, *, stored_at_s: float | None = None) -> str | None:
        """Moves an event into the slot; returns its name there, None if another process was faster.

        Args:
            name: The event's file.
            place: Where that is.
            stored_at_s: From when on it waits, if the waiting starts again.

        Raises:
            OSError: it is still there.
        """
        key = key_of(name)
        new_name = name if stored_at_s is None else entry_name(stored_at_s, key)
        self._slot.journal.adopted([key])
        try:
            self._disk.rename(self.path(place, name), self._slot.folder / new_name)
        except OSError as error:
            self._slot.journal.moved_on(key)
            if isinstance(error, FileNotFoundError):
                return None
            raise
        return new_name

    def take_all(
        self, names: Iterable[str], place: str, ballast: Ballast, *, stored_at_s: float | None
    ) -> list[str]:
        """The same for several, and the reasons of dead letters; returns the names of those it got.

        Raises:
            OSError: one is still there, and so are those after it.
        """
        taken: list[str] = []
        try:
            for name in names:
                got = ballast.afford(partial(self.take, name, place, stored_at_s=stored_at_s))
                if got is not None:
                    taken.append(got)
                    self.forget_reason(name)
        finally:
            if taken:
                self._sync(self._slot.folder, self._folder / place)
        return taken

    def forget_reason(self, name: str) -> None:
        """Removes the reason of an event that is no longer a dead letter."""
        with suppress(OSError):  # it is swept later
            self._disk.remove(self._reason_path(name, DEAD))

    def _sync(self, target: Path, source: Path) -> None:
        """Makes moves durable: the target folder first, so that a power cut leaves one of the two.

        If the disk cannot, that is no reason to undo them: the moves are complete.
        """
        for folder in (target, source):
            try:
                self._disk.sync_folder(folder)
            except OSError as error:  # noqa: PERF203 -- each for itself
                _logger.warning("could not sync %s: %s", folder, error)

    def _write_reason(self, name: str, place: str, reason: Mapping[str, Any]) -> None:
        path = self._reason_path(name, place)
        temporary = path.with_suffix(".tmp")
        try:
            self._disk.write(temporary, [json.dumps(reason).encode()], sync=True)
            self._disk.rename(temporary, path)
        except OSError as error:  # usually a full disk; the event itself takes no more space there
            with suppress(OSError):  # it is swept later
                self._disk.remove(temporary)
            _logger.warning("could not record why %s was rejected: %s", name, error)

    def _reason_path(self, name: str, place: str) -> Path:
        return self.path(place, f"{name.removesuffix('.tar')}.json")

"""The journal of a slot: one line for each event that came or went, so that counts survive.

A line is appended before a file goes and after it came. A process that is killed in between leaves
a file that does not match the journal, and the next owner of the slot settles it
(`Slot.settle`). Lines are not synced one by one: after a power cut the last ones may be missing,
and the counts are then off by that many; the files are not. For the same reason a line that the
disk refuses stops nothing: it is written with the next one, or the whole journal is rewritten
(`tend`) if the refused line may be in the file after all.

    S id          stored
    A id          adopted from another slot or requeued: stored, and counted, elsewhere
    D id          delivered
        X id reason   dropped: by age, by an operator, for lack of space
    + name n      counted: pictures shed, events rejected and the like
    T {json}      totals of everything before, the first line after a rotation
    K id          known: in the slot at the time of the rotation
        G id          gone: delivered or dropped before the rotation, with its file still there
    F name        the journal of that name is part of the totals from here on
"""

from __future__ import annotations

import errno
import json
import logging
import threading
from collections import Counter
from typing import TYPE_CHECKING, Final

from vision_event_block.outbox.disk import FULL, size_if_there
from vision_event_block.outbox.entry_names import is_update

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping
    from pathlib import Path

    from vision_event_block.outbox.disk import Disk

_logger = logging.getLogger(__name__)

#: A journal longer than this is rewritten as its totals.
MAX_BYTES: Final = 512 * 1024

STORED: Final = "stored"
#: For events that were never on disk; together with `stored`, all that ever came.
UNSTORED: Final = "unstored"
DELIVERED: Final = "delivered"
DROPPED: Final = "dropped"
#: Not part of the sum: newer versions of events that were taken, and versions that were never
#: sent because a newer one has replaced them.
VERSIONS: Final = "versions"
SUPERSEDED: Final = "superseded"
#: A count with more digits is damaged.
_MAX_DIGITS: Final = 16


class Journal:
    """The counts of one slot. Any thread may write; there is one process."""

    def __init__(self, disk: Disk, path: Path, *, is_ours: bool = True) -> None:
        self._disk = disk
        self._path = path
        #: If not, it is only read.
        self._is_ours = is_ours
        self._lock = threading.Lock()
        self.totals: Counter[str] = Counter()
        #: Came and has not gone, as far as the journal knows.
        self.open_ids: set[str] = set()
        self.delivered_ids: set[str] = set()
        self.dropped_ids: set[str] = set()
        #: The delivered and dropped ones whose files may still be there.
        self._leaving_ids: set[str] = set()
        #: Journals that were taken over, and may still be there.
        self._folded: set[str] = set()
        self._unwritten = b""
        #: What is certainly in the file; there may be more if an append has failed.
        self._size_bytes = 0
        self._failed = False
        self._shorten_from_bytes = MAX_BYTES
        self._read()

    def stored(self, event_id: str, *, shed: int = 0) -> None:
        """An event is on disk, without this many of its pictures."""
        counted = [f"+ shed quota {shed}"] if shed else []
        self._write([f"S {event_id}", *counted])

    def adopted(self, event_ids: Iterable[str]) -> None:
        """Events are about to be moved here.

        Raises:
            OSError: that cannot be recorded, so they would count twice. On a full disk they may.
        """
        refused = self._write([f"A {event_id}" for event_id in event_ids])
        if refused is not None and refused.errno not in FULL:
            raise refused

    def delivered(self, event_id: str) -> None:
        """The API has the event, and its file is about to go."""
        self._write([f"D {event_id}"])

    def dropped(self, event_id: str, reason: str) -> None:
        """The event is dropped, and its file is about to go.

        Raises:
            OSError: that cannot be recorded, so the file has to stay. A full disk is no such
                reason: the file makes space for the line.
        """
        with self._lock:
            unwritten, totals = self._unwritten, self.totals
            self._add([f"X {event_id} {reason}"])
            try:
                self._append()
            except (OSError, MemoryError) as error:
                if isinstance(error, OSError) and error.errno in FULL:
                    return
                self._unwritten, self.totals = unwritten, totals
                self._reopen(event_id)
                raise

    def count(self, name: str, number: int = 1) -> None:
        """Counts something that is only counted."""
        self._write([f"+ {name} {number}"])

    def count_all(self, numbers: Mapping[str, int]) -> None:
        """Counts several things: all of them, or none if it raises."""
        self._write([f"+ {name} {number}" for name, number in numbers.items()])

    def moved_on(self, event_id: str) -> None:
        """An event has gone elsewhere: nothing to write, as it is adopted where it arrives."""
        with self._lock:
            self.open_ids.discard(event_id)

    def removed(self, event_id: str) -> None:
        """The file of an event that was delivered or dropped is gone."""
        with self._lock:
            self._leaving_ids.discard(event_id)

    def only_there(self, event_ids: Container[str]) -> None:
        """Of the delivered and dropped events, only these still have files."""
        with self._lock:
            self._leaving_ids = {each for each in self._leaving_ids if each in event_ids}

    def fold(self, other: Journal, name: str) -> None:
        """Adds the totals of a journal that was taken over, once."""
        if not self.has_folded(name):
            lines = [f"+ {total} {number}" for total, number in sorted(other.totals.items())]
            self._write([*lines, f"F {name}"])

    def has_folded(self, name: str) -> bool:
        """Whether the totals include those of a journal that was taken over."""
        return name in self._folded

    @property
    def is_written(self) -> bool:
        """Whether all lines are in the file."""
        return not self._unwritten

    def unfolded(self, name: str) -> None:
        """The file of a journal that was taken over is gone."""
        with self._lock:
            self._folded.discard(name)

    def tend(self) -> None:
        """Shortens a long journal, and writes what the disk refused before.

        Raises:
            OSError: the disk refuses again.
        """
        with self._lock:
            if self._size_bytes >= self._shorten_from_bytes:
                self._rotate()
            elif self._unwritten or self._failed:
                try:
                    self._append()
                except OSError:
                    self._rotate()

    def _rotate(self) -> None:
        """Rewrites the journal as its totals, and what they do not cover."""
        lines = [
            f"T {json.dumps(self.totals)}",
            *(f"K {event_id}" for event_id in sorted(self.open_ids | self._leaving_ids)),
            *(f"G {event_id}" for event_id in sorted(self._leaving_ids)),
            *(f"F {name}" for name in sorted(self._folded)),
        ]
        content = _as_bytes(lines)
        new = self._path.with_name("journal.tmp")
        size_bytes = len(content)
        # The ids of many events may take that much, and would be rewritten each time.
        self._shorten_from_bytes = max(MAX_BYTES, 2 * size_bytes)
        self._failed = True
        self._disk.write(new, [content], sync=True)
        self._disk.rename(new, self._path)
        self._failed, self._size_bytes, self._unwritten = False, size_bytes, b""
        self.delivered_ids &= self._leaving_ids
        self.dropped_ids &= self._leaving_ids

    def _write(self, lines: list[str]) -> OSError | None:
        """Accepts lines; returns why they are not in the file yet, if so.

        Raises:
            MemoryError: none of them is accepted.
        """
        if not lines:
            return None
        with self._lock:
            self._add(lines)
            try:
                self._append()
            except (OSError, MemoryError) as error:
                _logger.debug("could not write to the journal, will retry: %s", error)
                return error if isinstance(error, OSError) else OSError(errno.ENOMEM, "no memory")
        return None

    def _add(self, lines: list[str]) -> None:
        """All of them or none: steps that can be repeated come first, and then all the counting."""
        unwritten, totals = self._unwritten + _as_bytes(lines), self.totals.copy()
        for line in lines:
            self._take(line, totals)
        self._unwritten, self.totals = unwritten, totals

    def _reopen(self, event_id: str) -> None:
        """Undoes the closing of an event."""
        if event_id in self.dropped_ids:
            self.dropped_ids.discard(event_id)
            self._leaving_ids.discard(event_id)
            self.open_ids.add(event_id)

    def _append(self) -> None:
        """Writes what is not written yet; raises OSError if it is not, or may be there already."""
        if self._failed and size_if_there(self._disk, self._path) != self._size_bytes:
            raise OSError(errno.EIO, "a failed append left data behind")
        size_bytes = self._size_bytes + len(self._unwritten)
        self._failed = True
        self._disk.append(self._path, self._unwritten)
        self._failed, self._size_bytes, self._unwritten = False, size_bytes, b""

    def _read(self) -> None:
        try:
            content = self._disk.read(self._path)
        except FileNotFoundError:
            return
        self._size_bytes = len(content)
        if self._is_ours and content and not content.endswith(b"\n"):
            # Cut off in the middle of a line: the next one must not continue it.
            self._unwritten = b"\n"
        for line in content.decode(errors="replace").split("\n"):
            self._take(line, self.totals)

    def _take(self, line: str, totals: Counter[str]) -> None:
        kind, _, rest = line.partition(" ")
        event_id, _, more = rest.partition(" ")
        if not event_id:
            return  # empty, or cut off
        # An update is not part of the sum: its event is counted, wherever that is now.
        counts = not is_update(event_id)
        if kind == "S":
            totals[STORED] += counts
            self.open_ids.add(event_id)
        elif kind in ("A", "K"):
            self.open_ids.add(event_id)
        elif kind == "D":
            totals[DELIVERED] += counts
            self._close(event_id, self.delivered_ids)
        elif kind == "X":
            totals[f"{DROPPED} {more}"] += counts
            self._close(event_id, self.dropped_ids)
        elif kind == "+":
            _take_count(rest, totals)
        elif kind == "G":
            self._close(event_id, self.delivered_ids)
        elif kind == "T":
            _take_totals(rest, totals)
        elif kind == "F":
            self._folded.add(rest)

    def _close(self, event_id: str, closed_ids: set[str]) -> None:
        if event_id in self.open_ids:  # else the line is damaged, and no reason to unlink a file
            self.open_ids.discard(event_id)
            closed_ids.add(event_id)
            self._leaving_ids.add(event_id)


def _take_count(text: str, totals: Counter[str]) -> None:
    name, _, number = text.rpartition(" ")
    if number.isascii() and number.isdigit() and len(number) < _MAX_DIGITS:
        totals[name] += int(number)


def _take_totals(text: str, totals: Counter[str]) -> None:
    try:
        found = json.loads(text)
    except ValueError:
        return
    if isinstance(found, dict):
        totals.clear()
        totals.update({name: n for name, n in found.items() if isinstance(n, int)})


def _as_bytes(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()

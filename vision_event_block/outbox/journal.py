"""The journal of a slot: one line for each event that came or went, so that counts survive.

A line is appended before a file goes and after it came. A process that is killed in between
leaves a file that the journal does not fit, and the next owner of the slot settles it
(`Slot.settle`). Lines are not synced one by one: after a power cut the last ones may be missing,
and the counts are then off by as many; the files are not. For the same reason a line that the disk
refuses stops nobody: it is written with the next one.

    S id          stored
    A id          adopted from another slot or requeued: stored, and counted, elsewhere
    D id          delivered
    X id reason   given up: by age, by an operator, for want of room
    + name n      counted: pictures shed, events refused and the like
    T {json}      totals of everything before, the first line after a rotation
    K id          known: in the slot at the time of the rotation
    F name        the journal of that name is part of the totals from here on
"""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from vision_event_block.outbox.disk import Disk

_logger = logging.getLogger(__name__)

#: A longer journal is written anew as its totals.
MAX_BYTES: Final = 512 * 1024

STORED: Final = "stored"
#: Of events that were never on disk; with `stored` it is all that ever came.
UNSTORED: Final = "unstored"
DELIVERED: Final = "delivered"
DROPPED: Final = "dropped"
#: A count with more of them is a damaged one.
_MAX_DIGITS: Final = 16


class Journal:
    """The counts of one slot. Any thread may write; there is one process."""

    def __init__(self, disk: Disk, path: Path, *, is_ours: bool = True) -> None:
        self._disk = disk
        self._path = path
        #: Otherwise it is only read.
        self._is_ours = is_ours
        self._lock = threading.Lock()
        self.totals: Counter[str] = Counter()
        #: Came and has not gone, as far as the journal knows.
        self.open_ids: set[str] = set()
        self.delivered_ids: set[str] = set()
        self.dropped_ids: set[str] = set()
        self._unwritten = b""
        self._folded: set[str] = set()
        self._size_bytes = 0
        self._read()

    def stored(self, event_id: str) -> None:
        """An event is on disk."""
        self._write([f"S {event_id}"])

    def adopted(self, event_ids: Iterable[str]) -> None:
        """Events are about to be moved here."""
        self._write([f"A {event_id}" for event_id in event_ids])

    def delivered(self, event_id: str) -> None:
        """The API has the event, and its file is about to go."""
        self._write([f"D {event_id}"])

    def dropped(self, event_id: str, reason: str) -> None:
        """The event is given up, and its file is about to go."""
        self._write([f"X {event_id} {reason}"])

    def count(self, name: str, number: int = 1) -> None:
        """Something that is only counted."""
        self._write([f"+ {name} {number}"])

    def moved_on(self, event_id: str) -> None:
        """An event has gone elsewhere: nothing to write, where it arrives it is adopted."""
        with self._lock:
            self.open_ids.discard(event_id)

    def fold(self, other: Journal, name: str) -> None:
        """Adds the totals of a journal that was taken over, once."""
        if name not in self._folded:
            lines = [f"+ {total} {number}" for total, number in sorted(other.totals.items())]
            self._write([*lines, f"F {name}"])

    def rotate_if_long(self) -> None:
        """Writes a long journal anew, shorter."""
        with self._lock:
            if self._size_bytes < MAX_BYTES:
                return
            known = (f"K {event_id}" for event_id in sorted(self.open_ids))
            lines = [f"T {json.dumps(self.totals)}", *known]
            content = "".join(f"{line}\n" for line in lines).encode()
            new = self._path.with_name("journal.tmp")
            self._disk.write(new, [content], sync=True)
            self._disk.rename(new, self._path)
            self._size_bytes = len(content)
            self._unwritten = b""
            self.delivered_ids.clear()
            self.dropped_ids.clear()
            self._folded.clear()

    def _write(self, lines: list[str]) -> None:
        if not lines:
            return
        content = "".join(f"{line}\n" for line in lines).encode()
        with self._lock:
            self._unwritten += content
            try:
                self._disk.append(self._path, self._unwritten)
            except OSError as error:
                _logger.debug("the journal cannot be written now: %s", error)
            else:
                self._size_bytes += len(self._unwritten)
                self._unwritten = b""
            for line in lines:
                self._take(line)

    def _read(self) -> None:
        try:
            content = self._disk.read(self._path)
        except FileNotFoundError:
            return
        self._size_bytes = len(content)
        if self._is_ours and content and not content.endswith(b"\n"):
            # Cut off in the middle of a line: the next one must not continue it.
            self._disk.append(self._path, b"\n")
        for line in content.decode(errors="replace").split("\n"):
            self._take(line)

    def _take(self, line: str) -> None:
        kind, _, rest = line.partition(" ")
        event_id, _, more = rest.partition(" ")
        if not event_id:
            return  # empty, or cut off
        if kind == "S":
            self.totals[STORED] += 1
            self.open_ids.add(event_id)
        elif kind in ("A", "K"):
            self.open_ids.add(event_id)
        elif kind == "D":
            self.totals[DELIVERED] += 1
            self._close(event_id, self.delivered_ids)
        elif kind == "X":
            self.totals[f"{DROPPED} {more}"] += 1
            self._close(event_id, self.dropped_ids)
        elif kind == "+":
            name, _, number = rest.rpartition(" ")
            if number.isascii() and number.isdigit() and len(number) < _MAX_DIGITS:
                self.totals[name] += int(number)
        elif kind == "T":
            self._take_totals(rest)
        elif kind == "F":
            self._folded.add(rest)

    def _close(self, event_id: str, closed_ids: set[str]) -> None:
        if event_id in self.open_ids:  # else the line is damaged, and no reason to unlink a file
            self.open_ids.discard(event_id)
            closed_ids.add(event_id)

    def _take_totals(self, text: str) -> None:
        try:
            totals = json.loads(text)
        except ValueError:
            return
        if isinstance(totals, dict):
            self.totals = Counter(
                {name: number for name, number in totals.items() if isinstance(number, int)}
            )

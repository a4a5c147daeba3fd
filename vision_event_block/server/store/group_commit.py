"""Writes events to the database; those that arrive together share a commit."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

from vision_event_block.server.store.timestamps import now_us
from vision_event_block.server.store.writing import put_events

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vision_event_block.server.store.database import Database
    from vision_event_block.server.store.fields import Fields
    from vision_event_block.server.store.records import NewEvent
    from vision_event_block.server.store.timestamps import Clock

    PendingWrite = tuple[Sequence[NewEvent], Future[None]]

#: Per commit; with more, the first of them would wait too long.
_MAX_EVENTS: Final = 500


class GroupCommit:
    """Writes the events of many threads.

    Every thread queues its events, then waits for its turn to write. The thread whose turn it is
    writes everything that is pending with one commit, so that many threads share one wait for a
    slow disk. A thread whose events were written along with others notices when its turn comes.
    """

    def __init__(self, database: Database, fields: Fields, clock: Clock) -> None:
        self._database = database
        self._fields = fields
        self._clock = clock
        self._turn = threading.Lock()
        #: Guards what is pending.
        self._pending_lock = threading.Lock()
        self._pending: list[PendingWrite] = []

    def put(self, events: Sequence[NewEvent]) -> None:
        """Returns when the events are on disk.

        Raises:
            NoSuchUseCase: an event's use case does not exist; none of the events were stored.
        """
        if not events:
            return
        written: Future[None] = Future()
        with self._pending_lock:
            self._pending.append((events, written))
        with self._turn:
            while not written.done():
                self._write_together(self._next_writes())
        written.result()

    def _next_writes(self) -> list[PendingWrite]:
        """The oldest pending write, and as many after it as fit into one commit."""
        with self._pending_lock:
            taken: list[PendingWrite] = []
            count = 0
            while self._pending and (not taken or count + len(self._pending[0][0]) <= _MAX_EVENTS):
                taken.append(self._pending.pop(0))
                count += len(taken[-1][0])
            return taken

    def _write_together(self, writes: list[PendingWrite]) -> None:
        try:
            events = [event for some, _ in writes for event in some]
            with self._database.writing() as connection:
                numbers = put_events(connection, events, self._fields, now_us=now_us(self._clock))
            self._fields.remember(numbers)
        except Exception as error:  # noqa: BLE001 - raised in `put`, by the thread concerned
            if len(writes) == 1:
                writes[0][1].set_exception(error)
                return
            # One of them is at fault: write each by itself, so that the others succeed.
            for one in writes:
                self._write_together([one])
        else:
            for _, written in writes:
                written.set_result(None)

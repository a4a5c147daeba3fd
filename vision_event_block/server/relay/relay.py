"""The relay itself: accepts events for the cloud, and reports on their delivery."""

from __future__ import annotations

import hashlib
import logging
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from vision_event_block.delivery.dispatch import WITHDRAWN
from vision_event_block.delivery.errors import VisionEventsError
from vision_event_block.delivery.metrics import OutboxCollector
from vision_event_block.delivery.records import NotTaken
from vision_event_block.events.bundle import Bundle
from vision_event_block.logs import QuietLog
from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.entry_names import event_id_of, is_entry
from vision_event_block.outbox.key_salt import key_salt
from vision_event_block.outbox.owner_status import DestinationState
from vision_event_block.outbox.slot import CORRUPT, DEAD, SLOTS
from vision_event_block.outbox.snapshot import dead_letter_reason, take_snapshot
from vision_event_block.server.forwarding import (
    DeadLetter,
    ForwardingReport,
    ForwardingSummary,
    NotForwarded,
)
from vision_event_block.server.relay.packing import (
    entry_id,
    event_id_in,
    missing_in,
    payload_of,
    source_ids_in,
    stem_of,
)
from vision_event_block.server.store.records import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from vision_event_block.delivery.dispatch import Dispatch, DispatchLimits
    from vision_event_block.outbox.owner_status import DestinationStatus
    from vision_event_block.outbox.slot import Entry
    from vision_event_block.outbox.snapshot import OutboxSnapshot
    from vision_event_block.server.relay.relay_destination import RelayDestination
    from vision_event_block.server.storage import Store
    from vision_event_block.server.store.records import NewEvent

#: Rejected events to list one by one.
MAX_LETTERS: Final = 50
#: The journal's name for references to pictures that this server did not have.
MISSING_PICTURES: Final = "missing pictures"
#: The journal's reason for dropping an event that was deleted here.
DELETED: Final = "deleted"
#: The states of the connection in words for the page.
_STATES: Final = {
    DestinationState.OPEN: "works",
    DestinationState.DOWN: "does not answer; events wait",
    DestinationState.KEY_REFUSED: "refuses the key; events wait until it is fixed",
}
#: Events per request: few enough to be answered in time.
DELETED_AT_ONCE: Final = 200
_OUTBOX_DIGITS: Final = 32

_logger = logging.getLogger(__name__)


class Relay:
    """Forwards to one address under one key. Any thread may use it."""

    def __init__(
        self,
        dispatch: Dispatch,
        limits: DispatchLimits,
        destination: RelayDestination,
        store: Store,
        *,
        deletes: bool = False,
    ) -> None:
        self._dispatch = dispatch
        self._limits = limits
        self._destination = destination
        self._store = store
        self._deletes = deletes
        self._disk = RealDisk()
        self._log = QuietLog(_logger)
        #: The store's name for the outbox; it lasts as long as the outbox.
        self._outbox = hashlib.sha256(key_salt(limits.folder)).hexdigest()[:_OUTBOX_DIGITS]
        dispatch.courier.register(destination)  # so that earlier events can be sent

    def forward(
        self, events: Sequence[NewEvent], put: Callable[[Sequence[NewEvent]], None]
    ) -> None:
        """Writes the events to the outbox, then to the store, then starts sending them.

        So after a crash every event in the store has an entry, and an entry sends what the store
        has. If an entry lacks its event, the client got no answer and will send the event again.

        Raises:
            NotForwarded: the outbox does not accept one of them; then none is stored.
        """
        entries: list[Entry] = []
        try:
            for event in events:
                entries.append(self._keep(event))  # noqa: PERF401 -- one may fail
            put(
                [
                    replace(event, waits_as=Waiting(self._outbox, entry.event_id))
                    for event, entry in zip(events, entries, strict=True)
                ]
            )
        except BaseException:
            for entry in entries:
                self._withdraw(entry)
            raise
        for entry in entries:
            self._dispatch.carry(entry)

    def forget(self, event_ids: Collection[str]) -> set[str]:
        """Drops the entries and dead letters of these events; returns which were waiting.

        Requests in progress are not stopped.
        """
        outbox = self._dispatch.courier.outbox
        if outbox is None or not event_ids:
            return set()
        by_stem = {stem_of(event_id): event_id for event_id in event_ids}
        withdrawn = set()
        for entry in outbox.entries():
            event_id = by_stem.get(entry.event_id.rpartition("-")[0])
            # The claim keeps others from starting to send it.
            if event_id is not None and outbox.claim(entry):
                try:
                    outbox.drop(entry, DELETED)
                    withdrawn.add(event_id)
                except OSError as error:
                    outbox.unclaim(entry)
                    _logger.warning("the deleted event %s will still be sent: %s", event_id, error)
        for name in filter(is_entry, self._disk.names(self._limits.folder / DEAD)):
            if event_id_of(name).rpartition("-")[0] in by_stem:
                with suppress(OSError):
                    outbox.drop_aside(self._limits.folder / DEAD / name, DELETED)
        return withdrawn

    def delete_there(self, use_case_id: str, event_ids: Sequence[str]) -> set[str]:
        """Deletes events from the API that they were sent to; returns those that are gone there.

        One attempt: the client learns how many are left there, and can repeat the request.
        """
        gone: set[str] = set()
        if not self._deletes:
            return gone
        try:
            for start in range(0, len(event_ids), DELETED_AT_ONCE):
                batch = event_ids[start : start + DELETED_AT_ONCE]
                self._destination.delete(use_case_id, batch)
                gone |= set(batch)
        except VisionEventsError as error:
            self._log.say(
                logging.WARNING, "not deleted", f"deleted events may remain at the API: {error}"
            )
        return gone

    def settle(self) -> None:
        """Tells the store to forget the entries that are no longer in the outbox."""
        try:
            self._store.settle_forwarding(self._outbox, self._entry_ids)
        except OSError as error:  # then they all count as waiting until the next time
            _logger.warning("the outbox cannot be read: %s", error)

    def summary(self) -> ForwardingSummary:
        """The state of forwarding; asks the courier, and reads one folder."""
        state = self._state()
        trouble = ""
        if state.state is not DestinationState.OPEN:
            trouble = state.last_error or state.state.value
        dead = self._disk.names(self._limits.folder / DEAD)
        waiting = self._dispatch.courier.pending
        if not self._dispatch.has_adopted:  # the courier does not have the earlier events yet
            found = take_snapshot(self._limits.folder, self._disk, pause=lambda _: None)
            waiting = max(waiting, len(found.pending))  # files may be moving right now
        return ForwardingSummary(
            host=urlsplit(self._destination.address.url).netloc,
            waiting=waiting,
            refused=sum(map(is_entry, dead)),
            trouble=trouble,
        )

    def report(self) -> ForwardingReport:
        """The state of forwarding in full, from the files of the outbox."""
        found = take_snapshot(self._limits.folder, self._disk, pause=lambda _: None)
        state = self._state()
        states = self._dispatch.courier.states()
        others = (row.pending for row in states if row.address != state.address)
        pending = found.pending
        # The clients that sent these got an error and will send them again.
        withdrawn = found.dropped.get(WITHDRAWN, 0)
        return ForwardingReport(
            summary=self.summary(),
            url=self._destination.address.url,
            connection=_STATES.get(state.state, state.state.value),
            last_success_at=_moment(state.last_success_s),
            taken=found.stored - withdrawn,
            delivered=found.delivered,
            for_others=sum(others),
            oldest_waiting_at=_moment(pending[0].stored_at_s) if pending else None,
            dead_letters=list(self._dead_letters(found)),
            damaged=len(found.corrupt),
            dropped={k: v for k, v in found.dropped.items() if k != WITHDRAWN},
            missing_pictures=found.totals[MISSING_PICTURES],
            size_bytes=found.size_bytes,
            max_bytes=self._limits.outbox.max_bytes,
            folder=str(self._limits.folder),
        )

    def metrics(self) -> Iterator[Any]:
        return OutboxCollector(self._limits.folder).collect()

    def _keep(self, event: NewEvent) -> Entry:
        body = event.as_it_came
        missing = missing_in(body, self._store.pictures.info_of_many(source_ids_in(body)))
        try:
            entry = self._dispatch.keep_bundle(
                entry_id(event.event_id),
                Bundle(payload_of(event), {}),
                self._destination,
                is_urgent=event.body.get("eventData", {}).get("severity") == "high",
            )
        except NotTaken as refused:
            self._log.say(
                logging.ERROR, "not taken", f"events cannot be accepted for forwarding: {refused}"
            )
            raise NotForwarded(str(refused)) from None
        if missing:
            self._dispatch.courier.counters.add(MISSING_PICTURES, missing)
            self._log.say(
                logging.WARNING,
                MISSING_PICTURES,
                f"event {event.event_id} is forwarded without {missing} of its pictures: "
                "they are not on this server",
            )
        return entry

    def _entry_ids(self) -> set[str]:
        """The ids of all files in the outbox, in whatever state.

        Read twice: a file that moves to a folder that was already read is found the second time.
        """
        found: set[str] = set()
        for _ in range(2):
            slots = self._limits.folder / SLOTS
            folders = [slots / name for name in self._disk.names(slots)]
            for folder in (*folders, self._limits.folder / DEAD, self._limits.folder / CORRUPT):
                with suppress(NotADirectoryError):  # not one of ours
                    found.update(map(event_id_of, filter(is_entry, self._disk.names(folder))))
        return found

    def _withdraw(self, entry: Entry) -> None:
        try:
            self._dispatch.withdraw(entry)
        except OSError as error:  # it will be sent later, as the store has it
            _logger.warning("the entry %s cannot be withdrawn: %s", entry.name, error)

    def _state(self) -> DestinationStatus:
        mine = str(self._destination.address)
        return next(row for row in self._dispatch.courier.states() if row.address == mine)

    def _dead_letters(self, found: OutboxSnapshot) -> Iterator[DeadLetter]:
        for file in sorted(found.dead, key=lambda file: file.name, reverse=True)[:MAX_LETTERS]:
            said = dead_letter_reason(self._limits.folder, file.name, self._disk)
            yield DeadLetter(
                event_id=event_id_in(file.event_id),
                reason=str(said.get("reason") or "no reason was recorded"),
                status=said.get("status"),
                refused_at=_moment(said.get("at_s")),
            )


def _moment(wall_s: Any) -> datetime | None:
    if not isinstance(wall_s, int | float):
        return None
    return datetime.fromtimestamp(wall_s, timezone.utc)

"""The relay itself: takes events on for the cloud, and says how they fare."""

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

#: Refused events that are told one by one.
MAX_LETTERS: Final = 50
#: Under this name the outbox's journal counts references to pictures that were not here.
MISSING_PICTURES: Final = "missing pictures"
#: Why an event was dropped, in the journal: somebody deleted it here.
DELETED: Final = "deleted"
#: What a state of the connection means to whoever reads the page.
_STATES: Final = {
    DestinationState.OPEN: "works",
    DestinationState.DOWN: "does not answer; events wait",
    DestinationState.KEY_REFUSED: "rejects the key; events wait until it is fixed",
}
#: Few enough to be answered in time.
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
        #: What the store calls the outbox; as lasting as the outbox is.
        self._outbox = hashlib.sha256(key_salt(limits.folder)).hexdigest()[:_OUTBOX_DIGITS]
        dispatch.courier.register(destination)  # so that what waits from before may go

    def forward(
        self, events: Sequence[NewEvent], put: Callable[[Sequence[NewEvent]], None]
    ) -> None:
        """Events in the outbox, then in the store, then on their way.

        Whatever a crash leaves: what is in the store has an entry, and an entry sends what the
        store has. One without its event is of a client that had no answer and sends it again.

        Raises:
            NotForwarded: the outbox does not take one of them; then none is put.
        """
        entries: list[Entry] = []
        try:
            for event in events:
                entries.append(self._keep(event))  # noqa: PERF401 -- one may fail
            put([self._noted(event, entry) for event, entry in zip(events, entries, strict=True)])
        except BaseException:
            for entry in entries:
                self._withdraw(entry)
            raise
        for entry in entries:
            self._dispatch.carry(entry)

    def forget(self, event_ids: Collection[str]) -> set[str]:
        """Drops what waits about these events, and their dead letters; which of them waited.

        What is being sent at this moment is not stopped.
        """
        outbox = self._dispatch.courier.outbox
        if outbox is None or not event_ids:
            return set()
        by_stem = {stem_of(event_id): event_id for event_id in event_ids}
        withdrawn = set()
        for entry in outbox.entries():
            event_id = by_stem.get(entry.event_id.rpartition("-")[0])
            # With the claim, nobody begins to send it meanwhile.
            if event_id is not None and outbox.claim(entry):
                try:
                    outbox.drop(entry, DELETED)
                    withdrawn.add(event_id)
                except OSError as error:
                    outbox.unclaim(entry)
                    _logger.warning("the deleted event %s is sent: %s", event_id, error)
        for name in filter(is_entry, self._disk.names(self._limits.folder / DEAD)):
            if event_id_of(name).rpartition("-")[0] in by_stem:
                with suppress(OSError):
                    outbox.drop_aside(self._limits.folder / DEAD / name, DELETED)
        return withdrawn

    def delete_there(self, use_case_id: str, event_ids: Sequence[str]) -> set[str]:
        """Deletes events from the API that they were sent to; gives those that it does not have.

        One attempt: who deletes is told how many are left there, and may ask again.
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
                logging.WARNING, "not deleted", f"deleted events may still be there: {error}"
            )
        return gone

    def settle(self) -> None:
        """Has the store forget the entries that are not in the outbox any more."""
        try:
            self._store.settle_forwarding(self._outbox, self._entry_ids)
        except OSError as error:  # then all of them count as waiting until the next time
            _logger.warning("the outbox cannot be read: %s", error)

    def summary(self) -> ForwardingSummary:
        """How it goes; asks the courier, and looks into one folder."""
        state = self._state()
        trouble = ""
        if state.state is not DestinationState.OPEN:
            trouble = state.last_error or state.state.value
        dead = self._disk.names(self._limits.folder / DEAD)
        waiting = self._dispatch.courier.pending
        if not self._dispatch.has_adopted:  # the courier does not have what was left before
            found = take_snapshot(self._limits.folder, self._disk, pause=lambda _: None)
            waiting = max(waiting, len(found.pending))  # files may be on the move just now
        return ForwardingSummary(
            host=urlsplit(self._destination.address.url).netloc,
            waiting=waiting,
            refused=sum(map(is_entry, dead)),
            trouble=trouble,
        )

    def report(self) -> ForwardingReport:
        """How it goes in full, from the files of the outbox."""
        found = take_snapshot(self._limits.folder, self._disk, pause=lambda _: None)
        state = self._state()
        states = self._dispatch.courier.states()
        others = (row.pending for row in states if row.address != state.address)
        pending = found.pending
        # Of these the clients were told, and they come again.
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
            dead_letters=self._dead_letters(found),
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
                logging.ERROR, "not taken", f"events cannot be taken for forwarding: {refused}"
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

    def _noted(self, event: NewEvent, entry: Entry) -> NewEvent:
        return replace(event, waits_as=Waiting(self._outbox, entry.event_id))

    def _entry_ids(self) -> set[str]:
        """Of all files in the outbox, whatever became of them.

        Two readings: a file that moves from a folder to one that was read already is in the second.
        """
        found: set[str] = set()
        for _ in range(2):
            slots = self._limits.folder / SLOTS
            folders = [slots / name for name in self._disk.names(slots)]
            for folder in (*folders, self._limits.folder / DEAD, self._limits.folder / CORRUPT):
                with suppress(NotADirectoryError):  # it is none of ours
                    found.update(map(event_id_of, filter(is_entry, self._disk.names(folder))))
        return found

    def _withdraw(self, entry: Entry) -> None:
        try:
            self._dispatch.withdraw(entry)
        except OSError as error:  # it is sent some day, as what the store has of it
            _logger.warning("the entry %s cannot be withdrawn: %s", entry.name, error)

    def _state(self) -> DestinationStatus:
        mine = str(self._destination.address)
        return next(row for row in self._dispatch.courier.states() if row.address == mine)

    def _dead_letters(self, found: OutboxSnapshot) -> list[DeadLetter]:
        newest = sorted(found.dead, key=lambda file: file.name, reverse=True)[:MAX_LETTERS]
        return [self._dead_letter(file.name, file.event_id) for file in newest]

    def _dead_letter(self, name: str, its_entry_id: str) -> DeadLetter:
        said = dead_letter_reason(self._limits.folder, name, self._disk)
        return DeadLetter(
            event_id=event_id_in(its_entry_id),
            reason=str(said.get("reason") or "nobody wrote down why"),
            status=said.get("status"),
            refused_at=_moment(said.get("at_s")),
        )


def _moment(wall_s: Any) -> datetime | None:
    if not isinstance(wall_s, int | float):
        return None
    return datetime.fromtimestamp(wall_s, timezone.utc)

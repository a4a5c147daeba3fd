"""The outbox as the commands use it, to carry out what an operator has decided about events."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import TYPE_CHECKING

from vision_event_block.outbox import clock
from vision_event_block.outbox.journal import SUPERSEDED
from vision_event_block.outbox.outbox import Outbox
from vision_event_block.outbox.slot import CORRUPT, DEAD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from vision_event_block.outbox.entry import Address
    from vision_event_block.outbox.slot import Entry


class OperatorOutbox(Outbox):
    """One process's hold on an outbox folder, to requeue, redirect and collect what is in it."""

    def collect(
        self, names_by_slot: Mapping[str, Sequence[str]], *, patience_s: float
    ) -> list[Entry]:
        """Moves entries, given by their slots, into this process's slot.

        Slots without an owner are adopted, live owners asked; what they are sending stays there.

        Raises:
            OSError: the disk refuses.
        """
        hold = self._hold
        wanted = {name for names in names_by_slot.values() for name in names}
        entries = {entry.name: entry for entry in self.adoptions() if entry.name in wanted}
        came = hold.handover.collect(names_by_slot, patience_s)
        entries.update((entry.name, entry) for entry in hold.handover.take_in(came))
        return [entries[name] for name in sorted(entries)]

    def readdress(
        self, entry: Entry, *, address: Address | None = None, use_case_id: str | None = None
    ) -> None:
        """Sends an event elsewhere; it is in this process's slot, and not being sent.

        Raises:
            OSError: it is unchanged.
        """
        contents = self.read(entry)
        if contents is None:
            raise OSError(errno.EIO, "it cannot be read")
        if use_case_id is not None:
            contents = replace(contents, payload={**contents.payload, "useCaseId": use_case_id})
        if address is not None:
            contents = replace(contents, metadata=replace(contents.metadata, address=address))
        hold = self._hold
        self._ballast.afford(lambda: hold.rewrite(entry, contents))

    def adopt_dead(self, names: Iterable[str]) -> list[Entry]:
        """Requeues dead letters; they wait from now on.

        Raises:
            OSError: some of them stay where they are.
        """
        now_s = self._now()
        outdated = set(self._marks.newer_files(names := list(names)))
        names = [name for name in names if name not in outdated]
        return self._hold.take_back(
            self._ballast, names, DEAD, now_s if clock.is_plausible(now_s) else None
        )

    def drop_outdated(self, names: Iterable[str]) -> list[str]:
        """Drops dead letters of which a newer version was sent or waits; returns their names.

        Raises:
            OSError: they stay where they are.
        """
        hold = self._hold
        dropped = [it for it in self._marks.newer_files(names) if hold.quota.drop_aside(it, DEAD)]
        hold.slot.journal.count_all({SUPERSEDED: len(dropped)} if dropped else {})
        return dropped

    def recheck(self) -> list[Entry]:
        """Takes back what was set aside as damaged and can be read after all.

        Raises:
            OSError: some of it stays where it is.
        """
        aside = self._hold.aside
        names = [name for name in aside.names(CORRUPT) if aside.is_healthy(CORRUPT, name)]
        return self._hold.take_back(self._ballast, names, CORRUPT, None)

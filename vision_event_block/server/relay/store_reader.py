"""What the relay reads of the server's store: an event as it is now, and pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from vision_event_block.server.storage import Store
    from vision_event_block.server.store.records import StoredEvent, StoredPicture


class StoreReader:
    """The store, for reading. Any thread may use it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def event(self, event_id: str) -> StoredEvent | None:
        """The event as it is now; None if it was deleted."""
        return self._store.get(event_id)

    def known(self, picture_ids: Iterable[str]) -> Mapping[str, StoredPicture]:
        """What is known of the pictures that are there."""
        return self._store.pictures.info_of_many(picture_ids)

    def picture(self, picture_id: str) -> bytes | None:
        """The bytes as they came; None if there is no such picture."""
        file = self._store.pictures.get(picture_id)
        try:
            return None if file is None else file.read()
        except FileNotFoundError:  # deleted this very moment
            return None

    def settle_forwarding(self, outbox: str, waiting: Callable[[], set[str]]) -> None:
        """Forgets what an outbox has no more."""
        self._store.settle_forwarding(outbox, waiting)

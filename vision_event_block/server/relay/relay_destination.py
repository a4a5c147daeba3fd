"""The API as the relay's courier sees it: each event goes as the store holds it then."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from vision_event_block.contract import limits
from vision_event_block.delivery.courier import CourierLimits
from vision_event_block.delivery.destinations import API, Place, Sent, create
from vision_event_block.delivery.errors import InternalError, VisionEventsError
from vision_event_block.delivery.queued_event import UploadedImage
from vision_event_block.delivery.secret import PROCESS_SALT
from vision_event_block.outbox import clock
from vision_event_block.server.pictures.formats import FORMATS, appearance_of
from vision_event_block.server.relay.packing import packing_of, request_body, source_ids_in
from vision_event_block.server.store.errors import NotAPicture

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from typing import Any

    from vision_event_block.delivery.client import VisionEventsClient
    from vision_event_block.delivery.secret import Secret
    from vision_event_block.outbox.entry import EntryContents
    from vision_event_block.server.relay.store_reader import StoreReader

#: Ids of pictures that came from the store, kept until their events are through.
_MAX_KNOWN_UPLOADS: Final = 10_000


class RelayDestination(Place):
    """The Vision Events API under the relay's key. Any thread may use it."""

    max_batch_events = limits.MAX_BATCH_EVENTS
    uploads_images = True

    def __init__(  # noqa: PLR0913 -- two of them have defaults
        self,
        client: VisionEventsClient,
        url: str,
        key: Secret,
        reader: StoreReader,
        *,
        salt: bytes = PROCESS_SALT,
        max_image_age_s: float = CourierLimits.max_image_age_s,
    ) -> None:
        super().__init__(API, url, key, salt)
        self._client = client
        self._max_image_age_s = max_image_age_s
        self._reader = reader
        self._turns = _Turns()
        #: By member. A failed request does not upload them once more, unless that is long ago.
        self._uploaded: dict[str, UploadedImage] = {}

    def upload(self, image: bytes) -> str:
        """Sends an image as what it is and gives the API's id of it."""
        media_type = "image/jpeg"
        with suppress(NotAPicture):
            media_type = appearance_of(image).media_type
        name = f"image.{FORMATS[media_type][0]}"
        return self._client.upload(image, file_name=name, media_type=media_type).source_id

    def send(self, events: Sequence[tuple[EntryContents, Mapping[str, str]]]) -> Sent:
        """Sends events whose images are up; of two entries about one event, one goes."""
        each_once = {contents.payload["eventId"]: (contents, ids) for contents, ids in events}
        with self._turns.of(each_once):
            bodies = [self._body(contents, ids) for contents, ids in each_once.values()]
            return create(self._client, bodies)

    def close(self) -> None:
        """Closes connections."""
        self._client.close()

    def _body(self, contents: EntryContents, source_ids: Mapping[str, str]) -> dict[str, Any]:
        """The event as the store has it; as the entry has it if the store has it no more."""
        try:
            held = self._reader.event(contents.payload["eventId"])
            if held is None:
                return request_body(contents.payload, source_ids)
            packing = packing_of(held.body, self._reader.known(source_ids_in(held.body)))
            ids = dict(source_ids)
            for member, picture_id in packing.members.items():
                if member not in ids:
                    ids |= self._upload_from_store(member, picture_id)
        except VisionEventsError:
            raise
        except Exception as error:  # noqa: BLE001 -- whatever a database raises, the event waits
            words = f"this server's own store cannot be read: {type(error).__name__}"
            raise InternalError(words, route="store") from None
        when = clock.corrected(
            packing.payload["timestamp"], contents.metadata.taken, clock.reading()
        )
        return request_body({**packing.payload, "timestamp": when}, ids)

    def _upload_from_store(self, member: str, picture_id: str) -> dict[str, str]:
        now = clock.reading()
        known = self._uploaded.get(member)
        if known is None or not known.is_fresh(now, self._max_image_age_s):
            picture = self._reader.picture(picture_id)
            if picture is None:
                return {}
            if len(self._uploaded) >= _MAX_KNOWN_UPLOADS:
                self._uploaded.clear()
            known = self._uploaded[member] = UploadedImage(self.upload(picture), now)
        return {member: known.source_id}


class _Turns:
    """Sees to it that one thread at a time is busy with an event."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._busy: set[str] = set()

    @contextmanager
    def of(self, event_ids: Collection[str]) -> Iterator[None]:
        """All of these at once, so that nobody waits for another one while holding some."""
        with self._changed:
            self._changed.wait_for(lambda: self._busy.isdisjoint(event_ids))
            self._busy.update(event_ids)
        try:
            yield
        finally:
            with self._changed:
                self._busy.difference_update(event_ids)
                self._changed.notify_all()

"""The API as the relay's courier sees it: each event is sent as the store has it at that moment."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vision_event_block.contract import limits
from vision_event_block.delivery.courier import CourierLimits
from vision_event_block.delivery.destinations import API, RELAY, Endpoint, Sent, create
from vision_event_block.delivery.errors import InternalError, VisionEventsError
from vision_event_block.delivery.queued_event import UploadedImage
from vision_event_block.delivery.secret import PROCESS_SALT
from vision_event_block.events.bundle import create_body
from vision_event_block.events.times import iso
from vision_event_block.outbox import clock
from vision_event_block.server.pictures.formats import FORMATS, appearance_of
from vision_event_block.server.relay.packing import (
    RECEIVED,
    member_of,
    request_body,
    source_ids_in,
    with_members,
)
from vision_event_block.server.store.errors import NotAPicture

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from typing import Any

    from vision_event_block.delivery.client import VisionEventsClient
    from vision_event_block.delivery.secret import Secret
    from vision_event_block.outbox.entry import Address, EntryContents
    from vision_event_block.server.storage import Store

#: Memory for the pictures of one event; further ones are read one by one.
MAX_HELD_PICTURE_BYTES: Final = 64 * 2**20
#: Ids of pictures that were read one by one, kept until their events are sent.
_MAX_KNOWN_UPLOADS: Final = 10_000


class RelayDestination(Endpoint):
    """The Vision Events API under the relay's key. Any thread may use it."""

    max_batch_events = limits.MAX_BATCH_EVENTS
    uploads_images = True

    def __init__(  # noqa: PLR0913 -- three of them have defaults
        self,
        client: VisionEventsClient,
        url: str,
        key: Secret,
        store: Store,
        *,
        salt: bytes = PROCESS_SALT,
        max_image_age_s: float = CourierLimits.max_image_age_s,
        max_held_picture_bytes: int = MAX_HELD_PICTURE_BYTES,
    ) -> None:
        super().__init__(RELAY, url, key, salt)
        self._client = client
        self._max_image_age_s = max_image_age_s
        self._max_held_picture_bytes = max_held_picture_bytes
        self._store = store
        self._turns = _Turns()
        #: By member. After a failed request they are reused instead of uploaded again, while fresh.
        self._uploaded: dict[str, UploadedImage] = {}

    def takes(self, address: Address) -> bool:
        """Whether events with this address go here.

        This server's own events do, whatever its key was when they came: the key may have changed,
        and nobody else can send them. Entries of the first versions have the address of the API.
        """
        if address.kind == RELAY:
            return address.url == self.address.url
        return address.kind == API and super().takes(replace(address, kind=RELAY))

    def delete(self, use_case_id: str, event_ids: Sequence[str]) -> None:
        """Deletes events; raises VisionEventsError if the API does not confirm it."""
        self._client.delete(use_case_id, event_ids)

    def completed(self, contents: EntryContents) -> EntryContents:
        """The entry, with the pictures that the store has for its event.

        Raises:
            InternalError: the store cannot be read now.
        """
        if RECEIVED not in contents.payload:
            return contents  # from the first versions: its pictures are in it
        with _own_trouble():
            known = self._store.pictures.info_of_many(source_ids_in(self._current(contents)))
            pictures: dict[str, bytes] = {}
            left_bytes = self._max_held_picture_bytes
            for picture in known.values():
                if picture.size_bytes > left_bytes:
                    continue
                found = self._store.pictures.read(picture.id)
                if found is not None:
                    pictures[member_of(picture)] = found[1]
                    left_bytes -= len(found[1])
        payload = with_members(contents.payload, list(pictures))
        return replace(contents, payload=payload, pictures=pictures)

    def upload(self, image: bytes) -> str:
        """Uploads an image with its real media type; returns the API's id for it."""
        media_type = "image/jpeg"
        with suppress(NotAPicture):
            media_type = appearance_of(image).media_type
        name = f"image.{FORMATS[media_type][0]}"
        return self._client.upload(image, file_name=name, media_type=media_type).source_id

    def send(self, events: Sequence[tuple[EntryContents, Mapping[str, str]]]) -> Sent:
        """Sends events whose images are uploaded; of two entries about one event, only one."""
        each_once = {contents.payload["eventId"]: (contents, ids) for contents, ids in events}
        with self._turns.of(each_once):
            bodies = [self._body(contents, ids) for contents, ids in each_once.values()]
            return create(self._client, bodies)

    def close(self) -> None:
        self._client.close()

    def _current(self, contents: EntryContents) -> Mapping[str, Any]:
        """The event as last received; as in the entry if the store does not have it."""
        held = self._store.get(contents.payload["eventId"])
        if held is None:
            return contents.payload.get(RECEIVED) or contents.payload
        now = clock.reading()
        time = iso(held.timestamp)
        when = clock.corrected(time, contents.metadata.taken, now)
        return held.as_it_came if when == time else {**held.as_it_came, "timestamp": when}

    def _body(self, contents: EntryContents, uploaded: Mapping[str, str]) -> dict[str, Any]:
        with _own_trouble():
            body = self._current(contents)
            if body is contents.payload:
                return create_body(body, uploaded)
            known = self._store.pictures.info_of_many(source_ids_in(body))
            source_ids: dict[str, str] = {}
            for picture in known.values():
                member = member_of(picture)
                source_id = uploaded.get(member) or self._upload_from_store(member, picture.id)
                if source_id is not None:
                    source_ids[picture.id] = source_id
        return request_body(body, source_ids)

    def _upload_from_store(self, member: str, picture_id: str) -> str | None:
        now = clock.reading()
        known = self._uploaded.get(member)
        if known is None or not known.is_fresh(now, self._max_image_age_s):
            found = self._store.pictures.read(picture_id)
            if found is None:
                return None
            if len(self._uploaded) >= _MAX_KNOWN_UPLOADS:
                self._uploaded.clear()
            known = self._uploaded[member] = UploadedImage(self.upload(found[1]), now)
        return known.source_id


@contextmanager
def _own_trouble() -> Iterator[None]:
    """Turns any error of the store into InternalError, so that the event waits."""
    try:
        yield
    except VisionEventsError:
        raise
    except Exception as error:  # noqa: BLE001 -- neither the event nor the API is at fault
        words = f"this server's own store cannot be read: {type(error).__name__}"
        raise InternalError(words, route="store") from None


class _Turns:
    """Lets only one thread at a time work on an event."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._busy: set[str] = set()

    @contextmanager
    def of(self, event_ids: Collection[str]) -> Iterator[None]:
        """Takes all of these together, so that nobody holds some while waiting for others."""
        with self._changed:
            self._changed.wait_for(lambda: self._busy.isdisjoint(event_ids))
            self._busy.update(event_ids)
        try:
            yield
        finally:
            with self._changed:
                self._busy.difference_update(event_ids)
                self._changed.notify_all()

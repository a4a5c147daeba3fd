"""The stage on which a server forwards to a cloud: its store is the truth, its outbox the way."""

from __future__ import annotations

import hashlib
import io
import uuid
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

from PIL import Image

from tests.faults.stage import Stage
from tests.faults.worker import KEY
from vision_event_block.delivery.client import Secret, Timeouts, VisionEventsClient
from vision_event_block.delivery.dispatch import Dispatch
from vision_event_block.server.api.ingest import ingest
from vision_event_block.server.relay.relay import Relay
from vision_event_block.server.relay.relay_destination import RelayDestination
from vision_event_block.server.storage import Store

if TYPE_CHECKING:
    from vision_event_block.server.store.records import NewEvent

USE_CASE = "bottles"


class RelayStage(Stage):
    """Events come from clients of the server; one who is told of a failure sends again."""

    def __init__(self, *where: Any) -> None:
        super().__init__(*where)
        self._store = Store.open(self.home / "store")
        self._store.use_cases.create("Bottles", id=USE_CASE)
        self._relay: Relay | None = None
        self._sent: dict[str, NewEvent] = {}

    def open(self) -> None:
        """The server starts."""
        with self.tried():
            limits = self.dispatch_limits()
            client = VisionEventsClient(
                base_url=self.api.url, api_key=Secret(KEY), timeouts=Timeouts(read_s=2.0)
            )
            destination = RelayDestination(client, self.api.url, Secret(KEY), self._store)
            self.dispatch = Dispatch(limits)
            try:
                self._relay = Relay(self.dispatch, limits, destination, self._store)
            except BaseException:
                self.close()  # a server without its relay does not start
                raise

    def record(self, *, waits: bool = True) -> str:
        """A client sends an event of which the server has the picture; its id."""
        del waits
        event_id = str(uuid.uuid4())
        content = _picture(event_id)
        self.logs.hashes[event_id] = [hashlib.sha256(content).hexdigest()] * 2
        source_id = self._store.pictures.put(content).id
        now = datetime.now(timezone.utc)
        body = {
            "eventId": event_id,
            "eventType": "custom",
            "useCaseId": USE_CASE,
            "timestamp": now.isoformat(),
            "eventData": {"value": event_id},
            "images": [{"sourceId": source_id, "inputSourceId": source_id}],
        }
        self._sent[event_id] = ingest(body, now=now).event
        self._forward(event_id)
        return event_id

    def send_again(self) -> None:
        """What clients do who got no answer; notes what the server kept for itself until then."""
        for event_id in sorted(self.logs.refused):
            is_known = self._store.get(event_id) is not None
            if is_known and not self.until(partial(self._has_arrived, event_id)):
                self.left_over.append("an event in the store that failed and never goes")
            self.logs.refused.discard(event_id)
            self.resent += 1
            self._forward(event_id)

    def end(self) -> None:
        """The server is gone."""
        self._store.close()

    def _has_arrived(self, event_id: str) -> bool:
        return event_id in self.api.events

    def _forward(self, event_id: str) -> None:
        event = self._sent[event_id]
        if self._relay is None:  # nobody listens
            self.logs.refused.add(event_id)
            return
        try:
            self._relay.forward([event], self._store.put)
        except Exception as error:  # noqa: BLE001 -- the server answers 500 whatever it is
            self.note(error)
            self.logs.refused.add(event_id)
        else:
            self.logs.stored.add(event_id)

    def close(self) -> None:
        """The server ends in order."""
        self._relay = None
        super().close()


def _picture(event_id: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(buffer, "JPEG", comment=event_id)
    return buffer.getvalue()

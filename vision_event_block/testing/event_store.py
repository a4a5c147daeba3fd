"""The event store on a device while all is well. It is another service than the API."""

from __future__ import annotations

import uuid
from datetime import datetime, timezone
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from vision_event_block.server.api.device_ingest import read_device_event
from vision_event_block.server.api.ingest import RequestRefused
from vision_event_block.testing.offers import parse_json
from vision_event_block.testing.routes import Refused
from vision_event_block.testing.wire import Response

if TYPE_CHECKING:
    from vision_event_block.testing.wire import Call


class EventStore:
    """Events in order of arrival, each with the `id` that it was given. Not thread-safe."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def carry_out(self, call: Call, key: str | None) -> Response:
        """The answer to a request, whose event is kept then, also if it was kept before.

        Raises:
            Refused: it is not kept.
        """
        if key is not None and call.headers.get("X-API-Key") != key:
            raise Refused(HTTPStatus.UNAUTHORIZED, "invalid or missing API key")
        event = parse_json(call.body, "body")
        event_id = str(uuid.uuid4())
        try:
            read_device_event(event, event_id=event_id, now=datetime.now(timezone.utc))
        except RequestRefused as refused:
            raise Refused(refused.status, refused.words) from None
        event["id"] = event_id
        self.events.append(event)
        return Response.of_json(201, {"id": event_id})

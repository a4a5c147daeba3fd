"""The Vision Events API while all is well: what is sent is checked, kept and answered."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

from vision_event_block.events import limits
from vision_event_block.testing.checks import strict_error, warnings_about
from vision_event_block.testing.wire import Call, Response, parse_form

if TYPE_CHECKING:
    from collections.abc import Mapping

Route = Literal["upload", "create", "batch"]


@dataclass(frozen=True)
class Upload:
    """A picture that was uploaded."""

    picture: bytes
    file_name: str | None
    media_type: str
    metadata: dict[str, Any] | None
    headers: Mapping[str, str]


class Store:
    """Pictures by source id and events by event id, in order of arrival. Not thread-safe."""

    def __init__(self) -> None:
        self.uploads: dict[str, Upload] = {}
        self.events: dict[str, dict[str, Any]] = {}
        #: The status that answers a key; any other key is good.
        self.bad_keys: dict[str, int] = {}

    def carry_out(self, call: Call, route: Route | None) -> Response:
        """The API's answer to a request; what it asks for is stored then."""
        if route is None or call.method != "POST":
            return _refusal(HTTPStatus.NOT_FOUND, f"no such route: {call.method} {call.path}")
        scheme, _, key = call.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not key:
            return _refusal(HTTPStatus.UNAUTHORIZED, "missing API key")
        if key in self.bad_keys:
            return _refusal(self.bad_keys[key], "this API key may not write vision events")
        if route == "upload":
            return self._store_picture(call)
        try:
            document = json.loads(call.body)
        except ValueError:
            return _refusal(HTTPStatus.BAD_REQUEST, "body must be JSON")
        return self._store_batch(document) if route == "batch" else self._store_event(document)

    def _store_picture(self, call: Call) -> Response:
        form = parse_form(call.headers.get("Content-Type", ""), call.body)
        if "file" not in form or not form["file"].content:
            return _refusal(HTTPStatus.BAD_REQUEST, "file is required")
        file = form["file"]
        metadata = json.loads(form["metadata"].content) if "metadata" in form else None
        source_id = uuid.uuid4().hex
        self.uploads[source_id] = Upload(
            file.content, file.file_name, file.media_type, metadata, call.headers
        )
        url = f"https://pictures.invalid/{source_id}"
        return Response.of_json(201, {"success": True, "sourceId": source_id, "url": url})

    def _store_event(self, event: Any) -> Response:
        error = strict_error(event)
        if error is not None:
            return _refusal(HTTPStatus.BAD_REQUEST, error)
        reply: dict[str, Any] = {"eventId": event["eventId"], "created": True}
        warnings = self._store(event)
        return Response.of_json(201, {**reply, "warnings": warnings} if warnings else reply)

    def _store_batch(self, document: Any) -> Response:
        """All events or none, as one event that breaks a strict rule refuses the whole batch."""
        events = document.get("events") if isinstance(document, dict) else None
        if not isinstance(events, list) or not 1 <= len(events) <= limits.MAX_BATCH_EVENTS:
            return _refusal(
                HTTPStatus.BAD_REQUEST, f"events must hold 1 to {limits.MAX_BATCH_EVENTS} events"
            )
        for position, event in enumerate(events):
            error = strict_error(event)
            if error is not None:
                return _refusal(HTTPStatus.BAD_REQUEST, f"events.{position}: {error}")
        reply: dict[str, Any] = {
            "created": len(events),
            "eventIds": [event["eventId"] for event in events],
        }
        warnings = [
            {"eventId": event["eventId"], **warning}
            for event in events
            for warning in self._store(event)
        ]
        return Response.of_json(201, {**reply, "warnings": warnings} if warnings else reply)

    def _store(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """The warnings about an event, which is stored either way, if need be without its data."""
        warnings = warnings_about(event)
        self.events[event["eventId"]] = {**event, "eventData": {}} if warnings else event
        return warnings


def _refusal(status: int, error: str) -> Response:
    return Response.of_json(status, {"error": error})

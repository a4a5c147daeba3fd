"""The services when all is well: what is sent is checked, stored and answered."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from datetime import datetime, timezone
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from vision_event_block.server.api import ingest
from vision_event_block.server.api.device_ingest import read_device_event
from vision_event_block.server.keys import FORBIDDEN
from vision_event_block.testing.offers import parse_json
from vision_event_block.testing.wire import Refused, Response

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from vision_event_block.server.api.ingest import Ingested
    from vision_event_block.testing.offers import Offer, Upload
    from vision_event_block.testing.wire import Call, Route


class StandInStore:
    """Pictures by source id and events by event id, in order of arrival. Not thread-safe."""

    def __init__(self, *, keeps_pictures: bool, strict: bool) -> None:
        self.uploads: dict[str, Upload] = {}
        self.events: dict[str, dict[str, Any]] = {}
        #: The same events, as they came.
        self.bodies: dict[str, dict[str, Any]] = {}
        #: Each time an event was stored, on the monotonic clock.
        self.arrivals: list[tuple[str, float]] = []
        #: The status for each bad key; any other key is accepted.
        self.bad_keys: dict[str, int] = {}
        #: The status and reason for each refused event id; any other is accepted.
        self.poisons: dict[str, tuple[int, str]] = {}
        #: The entry in `deprecations` for each deprecated field of an event.
        self.deprecated: dict[str, Any] = {}
        self._keeps_pictures = keeps_pictures
        self._strict = strict

    def forgetful(self) -> StandInStore:
        """A store that answers as this one does, to be thrown away after one request."""
        other = StandInStore(keeps_pictures=False, strict=self._strict)
        other.bad_keys, other.poisons = self.bad_keys, self.poisons
        other.deprecated = self.deprecated
        return other

    def carry_out(self, route: Route, headers: Mapping[str, str], offer: Offer) -> Response:
        """The API's answer to a request, after storing all of its offer.

        Raises:
            Refused: nothing was stored.
        """
        self._check_key(headers)
        if offer.refused is not None:
            raise offer.refused
        events = self._checked(route, offer)

        for source_id, upload in offer.uploads.items():
            kept = upload if self._keeps_pictures else replace(upload, picture=b"")
            self.uploads[source_id] = kept
        for ingested, body in zip(events, offer.events, strict=True):
            self.bodies[ingested.event.event_id] = body
            self.events[ingested.event.event_id] = ingested.event.body
            self.arrivals.append((ingested.event.event_id, time.monotonic()))
        return Response.of_json(201, self._reply(route, offer, events))

    def _reply(self, route: Route, offer: Offer, events: list[Ingested]) -> dict[str, Any]:
        if route == "upload":
            (source_id,) = offer.uploads
            url = f"https://pictures.invalid/{source_id}"
            return {"success": True, "sourceId": source_id, "url": url}
        warnings: list[Any] = []
        deprecations: list[Any] = []
        for each, body in zip(events, offer.events, strict=True):
            about = {"eventId": each.event.event_id} if route == "batch" else {}
            deprecated = [entry for field, entry in self.deprecated.items() if field in body]
            warnings += _entries(about, each.event.warnings)
            deprecations += _entries(about, [*each.deprecations, *deprecated])
        ids = [each.event.event_id for each in events]
        reply: dict[str, Any] = {"eventId": ids[0], "created": True}
        if route == "batch":
            reply = {"created": len(ids), "eventIds": ids}
        said = {"warnings": warnings, "deprecations": deprecations}
        return {**reply, **{name: entries for name, entries in said.items() if entries}}

    def _check_key(self, headers: Mapping[str, str]) -> None:
        scheme, _, key = headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not key:
            raise Refused(HTTPStatus.UNAUTHORIZED, "missing API key")
        if key in self.bad_keys:
            status = self.bad_keys[key]
            words = FORBIDDEN if status == HTTPStatus.FORBIDDEN else "this API key is not known"
            raise Refused(status, words)

    def _checked(self, route: Route, offer: Offer) -> list[Ingested]:
        """The events, checked by the local server's rules: the API's, as far as they are known."""
        checked = [
            self._ingested(route, body, position) for position, body in enumerate(offer.events)
        ]
        for event_id in offer.event_ids:
            if event_id in self.poisons:
                raise Refused(*self.poisons[event_id])
        return checked

    def _ingested(self, route: Route, body: Any, position: int) -> Ingested:
        # A bundle always has both an id and a time.
        spare_id = None if self._strict or route == "bundle" else str(uuid.uuid4())
        try:
            return ingest.ingest(body, now=datetime.now(timezone.utc), spare_id=spare_id)
        except ingest.RequestRefused as refused:
            where = f"events.{position}: " if route == "batch" else ""
            raise Refused(HTTPStatus.BAD_REQUEST, where + refused.words) from None


class EventStore:
    """The event store on a device, a different service from the API: events in order of arrival.

    Each has the `id` that the store gave it. Not thread-safe.
    """

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def carry_out(self, call: Call, key: str | None) -> Response:
        """The answer to a request, after storing its event, even if it was stored before.

        Raises:
            Refused: the event was not stored.
        """
        if key is not None and call.headers.get("X-API-Key") != key:
            raise Refused(HTTPStatus.UNAUTHORIZED, "invalid or missing API key")
        event = parse_json(call.body, "body")
        event_id = str(uuid.uuid4())
        try:
            read_device_event(event, event_id=event_id, now=datetime.now(timezone.utc))
        except ingest.RequestRefused as refused:
            raise Refused(refused.status, refused.words) from None
        event["id"] = event_id
        self.events.append(event)
        return Response.of_json(201, {"id": event_id})


def _entries(about: Mapping[str, str], entries: Iterable[Any]) -> list[Any]:
    """The entries; those that are objects also say which event they are about."""
    return [{**about, **entry} if isinstance(entry, dict) else entry for entry in entries]

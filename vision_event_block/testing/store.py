"""The Vision Events API while all is well: what is sent is checked, kept and answered."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timezone
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from vision_event_block.server import ingest
from vision_event_block.testing.routes import Refused
from vision_event_block.testing.wire import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vision_event_block.server.records import NewEvent
    from vision_event_block.testing.offers import Offer, Upload
    from vision_event_block.testing.routes import Route


class Store:
    """Pictures by source id and events by event id, in order of arrival. Not thread-safe."""

    def __init__(self, *, keeps_pictures: bool = True) -> None:
        self.uploads: dict[str, Upload] = {}
        self.events: dict[str, dict[str, Any]] = {}
        #: Each time that an event was kept, on the monotonic clock.
        self.arrivals: list[tuple[str, float]] = []
        #: The status that answers a key; any other key is good.
        self.bad_keys: dict[str, int] = {}
        #: The status and words that answer an event id; any other is good.
        self.poisons: dict[str, tuple[int, str]] = {}
        self._keeps_pictures = keeps_pictures

    def forgetful(self) -> Store:
        """One that answers as this one does, and of which nothing is left."""
        other = Store(keeps_pictures=False)
        other.bad_keys, other.poisons = self.bad_keys, self.poisons
        return other

    def carry_out(self, route: Route, headers: Mapping[str, str], offer: Offer) -> Response:
        """The API's answer to a request, all of whose offer is kept then, or nothing of it.

        Raises:
            Refused: nothing of it.
        """
        self._check_key(headers)
        if offer.refused is not None:
            raise offer.refused
        events = self._checked(route, offer)

        for source_id, upload in offer.uploads.items():
            kept = upload if self._keeps_pictures else replace(upload, picture=b"")
            self.uploads[source_id] = kept
        warnings = [warning for event in events for warning in self._keep(event)]

        reply: dict[str, Any]
        if route == "upload":
            (source_id,) = offer.uploads
            url = f"https://pictures.invalid/{source_id}"
            reply = {"success": True, "sourceId": source_id, "url": url}
        elif route == "batch":
            reply = {"created": len(offer.events), "eventIds": list(offer.event_ids)}
        else:
            reply = {"eventId": offer.event_ids[0], "created": True}
            for warning in warnings:
                del warning["eventId"]  # only one can be meant
        return Response.of_json(201, {**reply, "warnings": warnings} if warnings else reply)

    def _check_key(self, headers: Mapping[str, str]) -> None:
        scheme, _, key = headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not key:
            raise Refused(HTTPStatus.UNAUTHORIZED, "missing API key")
        if key in self.bad_keys:
            raise Refused(self.bad_keys[key], "this API key may not write vision events")

    def _checked(self, route: Route, offer: Offer) -> list[NewEvent]:
        """The events by the rules of the local server, which are the API's as far as known."""
        checked = [
            _event_of(body, f"events.{position}: " if route == "batch" else "")
            for position, body in enumerate(offer.events)
        ]
        for event_id in offer.event_ids:
            if event_id in self.poisons:
                raise Refused(*self.poisons[event_id])
        return checked

    def _keep(self, event: NewEvent) -> list[dict[str, Any]]:
        """The warnings about an event, which is kept either way, if need be in part."""
        self.events[event.event_id] = event.body
        self.arrivals.append((event.event_id, time.monotonic()))
        return [{"eventId": event.event_id, **warning} for warning in event.warnings]


def _event_of(body: Any, where: str) -> NewEvent:
    try:
        return ingest.ingest(body, now=datetime.now(timezone.utc)).event
    except ingest.Refused as refused:
        raise Refused(HTTPStatus.BAD_REQUEST, where + refused.words) from None

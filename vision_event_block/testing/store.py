"""The Vision Events API while all is well: what is sent is checked, kept and answered."""

from __future__ import annotations

import time
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from vision_event_block.testing.checks import strict_error, warnings_about
from vision_event_block.testing.routes import Refused
from vision_event_block.testing.wire import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

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

    def carry_out(self, route: Route, headers: Mapping[str, str], offer: Offer) -> Response:
        """The API's answer to a request, all of whose offer is kept then, or nothing of it.

        Raises:
            Refused: nothing of it.
        """
        self._check_key(headers)
        if offer.refused is not None:
            raise offer.refused
        self._check_events(route, offer)

        for source_id, upload in offer.uploads.items():
            kept = upload if self._keeps_pictures else replace(upload, picture=b"")
            self.uploads[source_id] = kept
        warnings = [warning for event in offer.events for warning in self._keep(event)]

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

    def _check_events(self, route: Route, offer: Offer) -> None:
        for position, event in enumerate(offer.events):
            error = strict_error(event)
            if error is not None:
                words = f"events.{position}: {error}" if route == "batch" else error
                raise Refused(HTTPStatus.BAD_REQUEST, words)
        for event_id in offer.event_ids:
            if event_id in self.poisons:
                raise Refused(*self.poisons[event_id])

    def _keep(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """The warnings about an event, which is kept either way, if need be without its data."""
        warnings = warnings_about(event)
        event_id = event["eventId"]
        self.events[event_id] = {**event, "eventData": {}} if warnings else event
        self.arrivals.append((event_id, time.monotonic()))
        return [{"eventId": event_id, **warning} for warning in warnings]

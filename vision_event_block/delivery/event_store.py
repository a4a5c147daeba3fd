"""The event store on the device as one call: keep this event, with its pictures in the body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vision_event_block.delivery.body import json_body
from vision_event_block.delivery.http import Timeouts
from vision_event_block.delivery.replies import EventStoreReply
from vision_event_block.delivery.secret import Credentials, Secret
from vision_event_block.delivery.service import Service
from vision_event_block.events.bundle import encode_payload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["EventStoreClient", "EventStoreReply", "Secret", "Timeouts"]


class EventStoreClient:
    """The event store under one address. Any number of threads may use it at once.

    Its errors are those of the Vision Events API. A full store answers 529, which is `NotNow`: it
    has room again once its own uploads are through.
    """

    def __init__(
        self,
        *,
        base_url: Callable[[], str] | str,
        api_key: Secret | None = None,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 -- frozen
    ) -> None:
        """Opens nothing yet.

        Args:
            base_url: Such as "http://localhost:8001". A function is asked for each request.
            api_key: Sent as `X-API-Key`; None for a store that wants none. Never the key of the
                Vision Events API, which is none of its business.
            timeouts: How long a request may stand still.
        """
        self._service = Service(
            name="the event store", base_url=base_url, timeouts=timeouts, word="detail"
        )
        self._credentials = Credentials({} if api_key is None else {"X-API-Key": api_key})

    def create(self, body: Mapping[str, Any]) -> EventStoreReply:
        """What the store says about an event. The same body again is kept as another event."""
        return self._service.ask(
            "/v2/events",
            EventStoreReply.from_json,
            json_body(encode_payload(body)),
            credentials=self._credentials,
        )

    def close(self) -> None:
        """Closes its connections. A later call would open a new one."""
        self._service.close()

"""Where events go: the API's address, the key and the host's way to the outside."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from vision_event_block import host
from vision_event_block.delivery.client import Secret, Timeouts, VisionEventsClient
from vision_event_block.delivery.destination import ApiDestination, EventStoreDestination
from vision_event_block.delivery.event_store import EventStoreClient
from vision_event_block.events.values import as_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from vision_event_block.delivery.destination import Destination
    from vision_event_block.settings import Settings


class NoDestination(Exception):  # noqa: N818 - a state the operator can change
    """Nothing can be sent from here; the message says what to do."""


#: Where the event store listens, as in the official block.
DEFAULT_EVENT_STORE_URL = "http://localhost:8001"
#: More keys than a server ever serves at once; beyond it the oldest are made anew.
MAX_DESTINATIONS = 64

_destinations: dict[tuple[Any, ...], Destination] = {}
_lock = threading.Lock()


def api_for(api_key: str | None, platform_client: Any, settings: Settings) -> Destination:
    """The API under this key; blocks come and go, its connections stay open.

    Raises:
        NoDestination: no usable key, or the host is told to stay offline.
    """
    if settings.api_url is None and host.is_offline():
        raise NoDestination(
            "the host is in OFFLINE_MODE; to record on a server of your own, "
            "set VISION_EVENT_API_URL to its address"
        )
    if not api_key:
        if settings.api_url is None:
            raise NoDestination(
                "no API key; set ROBOFLOW_API_KEY on the host or send api_key with the request"
            )
        api_key = "local"  # a server of one's own may need none, but the API wants a bearer
    secret = _secret(api_key, "ROBOFLOW_API_KEY")
    url = settings.api_url or host.api_base_url()
    return _kept(
        ("api", url, secret, settings, type(platform_client)),
        lambda: ApiDestination(
            _client(url, secret, platform_client, settings), url, secret.fingerprint
        ),
    )


def event_store_for(given_url: Any, settings: Settings) -> Destination:
    """The event store on the device.

    Raises:
        NoDestination: there is no such address, or its key cannot be sent.
    """
    url = as_text(given_url).strip() if given_url else DEFAULT_EVENT_STORE_URL
    if not url.startswith(("http://", "https://")):
        raise NoDestination(f"event_store_url must begin with http:// or https://, not {url!r}")
    key = os.environ.get("EVENT_INGESTION_API_KEY")
    secret = _secret(key, "EVENT_INGESTION_API_KEY") if key else None
    timeouts = Timeouts(connect_s=settings.connect_timeout_s, read_s=settings.read_timeout_s)
    return _kept(
        ("event store", url, secret, settings),
        lambda: EventStoreDestination(
            EventStoreClient(base_url=url, api_key=secret, timeouts=timeouts),
            url,
            secret.fingerprint if secret else "",
        ),
    )


def _secret(key: str, variable: str) -> Secret:
    try:
        return Secret(key)
    except ValueError as error:
        raise NoDestination(f"{error}; set {variable} anew") from None


def _kept(identity: tuple[Any, ...], make: Callable[[], Destination]) -> Destination:
    with _lock:
        destination = _destinations.get(identity)
        if destination is None:
            while len(_destinations) >= MAX_DESTINATIONS:
                # Its connections are the courier's to close, once nothing waits for it there.
                del _destinations[next(iter(_destinations))]
            destination = _destinations[identity] = make()
        return destination


def _client(
    url: str, secret: Secret, platform_client: Any, settings: Settings
) -> VisionEventsClient:
    timeouts = Timeouts(connect_s=settings.connect_timeout_s, read_s=settings.read_timeout_s)
    if settings.api_url is not None:
        return VisionEventsClient(base_url=url, api_key=secret, timeouts=timeouts)
    platform_client = host.platform_client(platform_client)
    return VisionEventsClient(
        base_url=url,
        api_key=secret,
        timeouts=timeouts,
        wrap_url=getattr(platform_client, "wrap_url", None),
        build_headers=getattr(platform_client, "build_api_headers", None),
    )


def _forget() -> None:
    """A forked child makes clients of its own: a connection has one owner."""
    global _lock  # noqa: PLW0603 - it may have been held in the parent
    _destinations.clear()
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

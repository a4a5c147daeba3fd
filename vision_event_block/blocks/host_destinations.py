"""Where events go: the API's address, the key, and the host's gateway and headers."""

from __future__ import annotations

import os
import threading
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from vision_event_block import host
from vision_event_block.contract.text import cut
from vision_event_block.delivery.client import (
    EventStoreClient,
    Secret,
    Timeouts,
    VisionEventsClient,
)
from vision_event_block.delivery.destinations import ApiDestination, EventStoreDestination
from vision_event_block.outbox.key_salt import key_salt
from vision_event_block.process import OnePerProcess
from vision_event_block.redaction import printable, without_passwords
from vision_event_block.settings import outbox_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from vision_event_block.delivery.destinations import Destination
    from vision_event_block.settings import Settings


class NoDestination(Exception):  # noqa: N818 - a state the operator can change
    """Nothing can be sent from here; the message says what to do."""


#: Where the event store listens, as in the official block.
DEFAULT_EVENT_STORE_URL = "http://localhost:8001"
_MAX_SHOWN_CHARS = 200
#: More keys than a server ever serves at once; beyond it the oldest are recreated.
MAX_DESTINATIONS = 64


class _Destinations:
    """The destinations in use, each made once: blocks come and go, and connections stay open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[tuple[Any, ...], Destination] = {}

    def get(self, identity: tuple[Any, ...], make: Callable[[], Destination]) -> Destination:
        with self._lock:
            destination = self._made.get(identity)
            if destination is None:
                while len(self._made) >= MAX_DESTINATIONS:
                    # The courier closes its connections, once nothing waits for it there.
                    del self._made[next(iter(self._made))]
                destination = self._made[identity] = make()
            return destination


_destinations: Final = OnePerProcess(_Destinations)


def api_for(api_key: str | None, platform_client: Any, settings: Settings) -> Destination:
    """The API under this key.

    Raises:
        NoDestination: no usable key, or the host is in OFFLINE_MODE.
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
        api_key = "local"  # your own server may need none, but the API wants a bearer
    secret = _secret(api_key, "ROBOFLOW_API_KEY")
    url = settings.api_url or host.api_base_url()
    return _destinations().get(
        ("api", url, secret, settings, type(platform_client)),
        lambda: ApiDestination(
            _client(url, secret, platform_client, settings),
            url,
            secret,
            salt=key_salt(outbox_folder()),
        ),
    )


def event_store_for(given_url: str, settings: Settings) -> Destination:
    """The event store on the device, or one that the operator allows.

    Anyone who can run a workflow can choose `event_store_url`. The key, and a request from inside
    the operator's network, are sent only where the operator allows it.

    Raises:
        NoDestination: the operator does not allow the address, or the key cannot be sent.
    """
    url = _allowed_event_store(given_url, settings)
    key = os.environ.get("EVENT_INGESTION_API_KEY")
    secret = _secret(key, "EVENT_INGESTION_API_KEY") if key else None
    timeouts = Timeouts(connect_s=settings.connect_timeout_s, read_s=settings.read_timeout_s)
    return _destinations().get(
        ("event store", url, secret, settings),
        lambda: EventStoreDestination(
            EventStoreClient(base_url=url, api_key=secret, timeouts=timeouts),
            url,
            secret,
            salt=key_salt(outbox_folder()),
        ),
    )


def _allowed_event_store(given_url: str, settings: Settings) -> str:
    """The operator's spelling of an address, so that no other program reads it differently."""
    own_url = settings.store_url or DEFAULT_EVENT_STORE_URL
    if given_url in ("", DEFAULT_EVENT_STORE_URL):  # the same as not given
        return own_url
    shown = cut(printable(without_passwords(given_url)), _MAX_SHOWN_CHARS)
    if not given_url.startswith(("http://", "https://")):
        raise NoDestination(f"event_store_url must begin with http:// or https://, not {shown!r}")
    if any(char in "?#@\\" or not "!" <= char <= "~" for char in given_url):
        raise NoDestination(
            "event_store_url must be a plain address such as http://localhost:8001, without "
            "?, #, @, spaces or a password"
        )
    place = _place(given_url)
    for url in (own_url, *(settings.store_allowed_urls or "").split()):
        if place is not None and _place(url) == place:
            return url
    raise NoDestination(
        f"event_store_url is {shown}, which this host does not allow. On the host, set "
        "VISION_EVENT_STORE_URL to it, or add it to VISION_EVENT_STORE_ALLOWED_URLS"
    )


def _place(url: str) -> tuple[str, str, int, str] | None:
    """What identifies an address, however it is spelt; None if it is not an address."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except ValueError:
        return None
    name = (parts.hostname or "").rstrip(".")
    return parts.scheme, "localhost" if _is_loopback(name) else name, port, parts.path.rstrip("/")


def _is_loopback(name: str) -> bool:
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _secret(key: str, variable: str) -> Secret:
    try:
        return Secret(key)
    except ValueError as error:
        raise NoDestination(f"{error}; set {variable} again") from None


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

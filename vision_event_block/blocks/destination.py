"""Where events go: the API's address, the key and the host's way to the outside."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from vision_event_block import host
from vision_event_block.delivery.client import Secret, Timeouts, VisionEventsClient

if TYPE_CHECKING:
    from vision_event_block.settings import Settings


class NoDestination(Exception):  # noqa: N818 - a state the operator can change
    """Nothing can be sent from here; the message says what to do."""


#: More keys than a server ever serves at once; beyond it the oldest client is closed.
MAX_CLIENTS = 64

_clients: dict[tuple[Any, ...], VisionEventsClient] = {}
_lock = threading.Lock()


def client_for(api_key: str | None, platform_client: Any, settings: Settings) -> VisionEventsClient:
    """The process's client for this key; blocks come and go, its connections stay open.

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
    try:
        secret = Secret(api_key)
    except ValueError as error:
        raise NoDestination(f"{error}; set ROBOFLOW_API_KEY anew") from None
    identity = (secret, settings, type(platform_client))
    with _lock:
        client = _clients.get(identity)
        if client is None:
            while len(_clients) >= MAX_CLIENTS:
                _clients.pop(next(iter(_clients))).close()
            client = _clients[identity] = _new_client(secret, platform_client, settings)
        return client


def _new_client(secret: Secret, platform_client: Any, settings: Settings) -> VisionEventsClient:
    timeouts = Timeouts(connect_s=settings.connect_timeout_s, read_s=settings.read_timeout_s)
    if settings.api_url is not None:
        return VisionEventsClient(base_url=settings.api_url, api_key=secret, timeouts=timeouts)
    platform_client = host.platform_client(platform_client)
    return VisionEventsClient(
        base_url=host.api_base_url,
        api_key=secret,
        timeouts=timeouts,
        wrap_url=getattr(platform_client, "wrap_url", None),
        build_headers=getattr(platform_client, "build_api_headers", None),
    )


def _forget() -> None:
    """A forked child makes clients of its own: a connection has one owner."""
    global _lock  # noqa: PLW0603 - it may have been held in the parent
    _clients.clear()
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

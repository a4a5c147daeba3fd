"""The relay of a server, configured from the environment and closed with the server."""

from __future__ import annotations

import logging
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from vision_event_block import settings
from vision_event_block.delivery.client import Secret, Timeouts, VisionEventsClient
from vision_event_block.delivery.dispatch import Dispatch, DispatchLimits
from vision_event_block.outbox.key_salt import key_salt
from vision_event_block.server.loopback import is_loopback
from vision_event_block.server.relay.relay import Relay
from vision_event_block.server.relay.relay_destination import RelayDestination

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from urllib.parse import SplitResult

    from vision_event_block.server.storage import Store

_PORTS: Final = {"http": 80, "https": 443}
_EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 -- compared, not bound

_logger = logging.getLogger(__name__)


class BadForwarding(ValueError):  # noqa: N818 -- like the other names here
    """Events cannot be forwarded to this address; the message says what to do."""


@contextmanager
def relaying(  # noqa: PLR0913 -- the options of `serve`
    url: str | None,
    store: Store,
    folder: Path,
    *,
    host: str,
    port: int,
    deletes: bool = False,
) -> Iterator[Relay | None]:
    """The relay to an address, for the duration of the `with` block; None without an address.

    Args:
        url: A Vision Events API.
        store: The store of the server whose events are forwarded.
        folder: The outbox; created if missing.
        host: Where the server will listen, to recognize its own address.
        port: As above.
        deletes: Whether events that are deleted here are deleted there as well.

    Raises:
        BadForwarding: the address is invalid or the server's own, or there is no key for it.
        ValueError: a setting of the environment is invalid.
    """
    if url is None:
        yield None
        return
    parts = _parts(url)
    if _is_own(parts, host, port):
        raise BadForwarding(f"--forward-to {url} is this server's own address")
    key = _key(parts)
    given = settings.current()
    limits = DispatchLimits.of(given, folder)
    timeouts = Timeouts(connect_s=given.connect_timeout_s, read_s=given.read_timeout_s)
    client = VisionEventsClient(base_url=url, api_key=key, timeouts=timeouts)
    dispatch = Dispatch(limits)
    try:
        if not dispatch.stores:
            raise BadForwarding(f"{folder} cannot be used to keep events until they are forwarded")
        destination = RelayDestination(
            client,
            url,
            key,
            store,
            salt=key_salt(folder),
            max_image_age_s=given.image_reuse_s,
        )
        yield Relay(dispatch, limits, destination, store, deletes=deletes)
    finally:
        found = dispatch.close(given.close_timeout_s)
        if found.left:
            _logger.warning("%d events are not forwarded yet; they wait in %s", found.left, folder)


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in _PORTS and parts.hostname and parts.port != 0
    except ValueError:  # an invalid port, an unbalanced bracket
        is_address = False
    if not is_address or parts.query or parts.fragment:
        raise BadForwarding("--forward-to is an address such as https://api.roboflow.com")
    if parts.username is not None or parts.password is not None:
        # It would appear on the page and in the outbox.
        raise BadForwarding("--forward-to takes no password; set ROBOFLOW_API_KEY")
    return parts


def _key(parts: SplitResult) -> Secret:
    key = os.environ.get("ROBOFLOW_API_KEY")
    if not key:
        if not is_loopback(parts.hostname or ""):
            raise BadForwarding(f"--forward-to {parts.hostname} needs a key: set ROBOFLOW_API_KEY")
        key = "local"  # your own server may not need a key, but the API requires a bearer token
    try:
        return Secret(key)
    except ValueError as error:
        raise BadForwarding(f"{error}; set ROBOFLOW_API_KEY again") from None


def _is_own(parts: SplitResult, host: str, port: int) -> bool:
    """Whether the server would forward to itself. A name that cannot be resolved is not its own."""
    if (parts.port or _PORTS[parts.scheme]) != port:
        return False
    target = _addresses(parts.hostname or "")
    if host in _EVERYWHERE:
        return any(map(_is_here, target))
    return not target.isdisjoint(_addresses(host.strip("[]")))


def _addresses(host: str) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
    except OSError:
        return set()


def _is_here(address: str) -> bool:
    """Whether an address belongs to this machine: no other can be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True

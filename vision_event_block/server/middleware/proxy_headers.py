"""The client and scheme of a request when there is a proxy in front of the server."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Receive, Scope, Send


class BadProxy(ValueError):  # noqa: N818 -- named for what it is
    """This is not an address or a network."""


class ProxyHeaders:
    """Accepts `X-Forwarded-For` and `X-Forwarded-Proto` from trusted proxies only.

    Anybody can send these headers. A proxy appends the address that it sees, so the client is the
    last address in the list that is not one of the proxies.
    """

    def __init__(self, app: ASGIApp, trusted: Iterable[str]) -> None:
        """Trusts these addresses and networks, such as `127.0.0.1` and `10.0.0.0/8`.

        Raises:
            BadProxy: one is invalid.
        """
        self._app = app
        self._trusted = networks(trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._is_trusted((scope.get("client") or ("",))[0]):
            headers = Headers(scope=scope)
            protocol = headers.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower()
            if protocol in ("http", "https"):
                scope["scheme"] = protocol
            # A list may also come in several headers.
            passed = ",".join(headers.getlist("x-forwarded-for")).split(",")
            for address in map(str.strip, reversed(passed)):
                if not address:
                    break
                scope["client"] = (address, 0)
                if not self._is_trusted(address):
                    break
        await self._app(scope, receive, send)

    def _is_trusted(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        return any(found in network for network in self._trusted)


def networks(given: Iterable[str]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """The networks; a single address counts as a network.

    Raises:
        BadProxy: one is invalid.
    """
    try:
        return [ipaddress.ip_network(text, strict=False) for text in given]
    except ValueError as error:
        raise BadProxy(
            f"a trusted proxy is an address or a network such as 127.0.0.1 or 10.0.0.0/8: {error}"
        ) from None

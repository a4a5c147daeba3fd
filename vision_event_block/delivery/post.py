"""A request: what is prepared once for all requests of a route, and what for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import requests
from requests.structures import CaseInsensitiveDict
from urllib3.util import parse_url

from vision_event_block import __version__
from vision_event_block.delivery.secret import Credentials

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vision_event_block.delivery.body import Body

_USER_AGENT: Final = f"vision-event-block/{__version__}"
_NOBODY: Final = Credentials({})


class Template:
    """What the requests of a route have in common: `requests` checks and encodes it only once.

    It is valid while address and headers stay the same; a host may change them each time. Neither
    the body nor the credentials are in it. Any thread may use it.
    """

    def __init__(self, method: str = "POST") -> None:
        self.method = method
        #: With the address and headers that it was made for.
        self._made: tuple[tuple[str, Any], requests.PreparedRequest, bytes] | None = None

    def copy(self, url: str, headers: Mapping[str, str]) -> requests.PreparedRequest:
        """A copy of it; raises a `RequestException` for an invalid address or header."""
        return self._made_for(url, headers)[0].copy()

    def head(self, url: str, headers: Mapping[str, str]) -> bytes:
        """The same as the lines that are sent, without the empty line at the end."""
        return self._made_for(url, headers)[1]

    def _made_for(
        self, url: str, headers: Mapping[str, str]
    ) -> tuple[requests.PreparedRequest, bytes]:
        made, wanted = self._made, (url, tuple(headers.items()))
        if made is None or made[0] != wanted:
            all_headers = CaseInsensitiveDict({"User-Agent": _USER_AGENT})
            all_headers.update(headers)
            # Without any credentials, a password in the address would become a header.
            request = requests.Request(self.method, url, headers=all_headers, auth=_NOBODY)
            prepared = request.prepare()
            made = self._made = wanted, prepared, _head(prepared)
        return made[1:]


@dataclass(frozen=True)
class Post:
    """A request that may be sent more than once."""

    template: Template
    url: str
    headers: Mapping[str, str]
    body: Body
    credentials: Credentials

    def prepared(self) -> requests.PreparedRequest:
        """The request as it is sent."""
        request = self.template.copy(self.url, self.headers)
        # Ours to set, whatever else the host adds: it holds the boundary of an upload.
        request.headers["Content-Type"] = self.body.content_type
        request.headers["Content-Length"] = str(len(self.body))
        body: Any = self.body  # in pieces, as any iterable is sent
        request.body = body
        return self.credentials(request)

    def head(self) -> bytes:
        """Everything but the body, as it is sent."""
        lines = {
            "Content-Type": self.body.content_type,
            "Content-Length": str(len(self.body)),
            **self.credentials.revealed(),
        }
        return self.template.head(self.url, self.headers) + _lines(lines) + b"\r\n"


def _head(request: requests.PreparedRequest) -> bytes:
    """What http.client would send of a request, except for what differs from one to the next."""
    address = parse_url(request.url or "")
    host = address.host or ""
    if address.port not in (None, {"http": 80, "https": 443}.get(address.scheme or "")):
        host += f":{address.port}"
    headers = CaseInsensitiveDict({"Host": host, "Accept-Encoding": "identity"})
    headers.update(request.headers)
    for name in ("Content-Type", "Content-Length"):
        headers.pop(name, None)
    return f"{request.method} {request.path_url} HTTP/1.1\r\n".encode() + _lines(headers)


def _lines(headers: Mapping[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("latin-1")

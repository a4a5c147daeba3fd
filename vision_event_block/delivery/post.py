"""A request: what of it is prepared once for all requests of a route, and what each time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import requests
from requests.structures import CaseInsensitiveDict

from vision_event_block import __version__
from vision_event_block.delivery.secret import Credentials

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vision_event_block.delivery.body import Body

_USER_AGENT: Final = f"vision-event-block/{__version__}"
_NOBODY: Final = Credentials({})


class Template:
    """What the requests of a route have in common: `requests` checks and encodes it once.

    That is for as long as address and headers stay the same; a host may change them each time.
    Neither the body nor the credentials are in it. Any thread may use it.
    """

    def __init__(self, method: str = "POST") -> None:
        self._method = method
        #: With the address and the headers that it was made for.
        self._made: tuple[tuple[str, Any], requests.PreparedRequest] | None = None

    def copy(self, url: str, headers: Mapping[str, str]) -> requests.PreparedRequest:
        """A copy of it; raises a `RequestException` for an address or header that is none."""
        made, wanted = self._made, (url, tuple(headers.items()))
        if made is None or made[0] != wanted:
            all_headers = CaseInsensitiveDict({"User-Agent": _USER_AGENT})
            all_headers.update(headers)
            # With no credentials at all, a password in the address would become a header.
            request = requests.Request(self._method, url, headers=all_headers, auth=_NOBODY)
            made = self._made = wanted, request.prepare()
        return made[1].copy()


@dataclass(frozen=True)
class Post:
    """A request that may be sent more than once."""

    template: Template
    url: str
    headers: Mapping[str, str]
    body: Body
    credentials: Credentials

    def prepared(self) -> requests.PreparedRequest:
        """As it is sent."""
        request = self.template.copy(self.url, self.headers)
        # Ours to say, whatever else the host adds: it holds the boundary of an upload.
        request.headers["Content-Type"] = self.body.content_type
        request.headers["Content-Length"] = str(len(self.body))
        body: Any = self.body  # in pieces, as any iterable is sent
        request.body = body
        return self.credentials(request)

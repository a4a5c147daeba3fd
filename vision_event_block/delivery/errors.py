"""What can go wrong with a request, and whether it is worth sending again.

    VisionEventsError
    ├── LinkTrouble       nobody's fault: again after a back-off, for as long as it takes
    │   ├── Unreachable   no connection: DNS, refused, TLS, connect time-out; nothing was sent
    │   ├── NoAnswer      sent and perhaps carried out, but the API's answer never came
    │   ├── NotNow        the API cannot take it now: 408, 425, 429, any 5xx
    │   └── Unforeseen    something on this side failed that nobody thought of
    ├── KeyTrouble        401, 403: keep everything of this key until somebody mends the key
    └── EventTrouble      every other 4xx: this event only, never again unchanged

Three answers look like one thing and are another. A redirect, or a success that is not the
API's JSON, is the login page of a captive portal: nothing was delivered, so `NoAnswer`. A 404
or 405 without the API's JSON comes from a proxy or a mistyped address, and would condemn every
event: `NoAnswer` too. And 407 is about the proxy, not about the event: `NotNow`.

The text of each error is a sentence with the API's own words in it. It never holds the API
key, and an error never refers to the request that caused it, whose headers do hold the key.
"""

from __future__ import annotations


class VisionEventsError(Exception):
    """A request to the Vision Events API that did not succeed."""

    def __init__(self, message: str, *, route: str, status: int | None = None) -> None:
        super().__init__(f"{route}: {message}")
        self.message = message
        #: Method and path, such as "POST /vision-events".
        self.route = route
        #: The HTTP status, or None if no answer came.
        self.status = status


class LinkTrouble(VisionEventsError):  # noqa: N818 -- says whose trouble it is
    """The way to the API does not work right now; the event is not to blame."""

    def __init__(
        self,
        message: str,
        *,
        route: str,
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, route=route, status=status)
        #: The API's own wish: not before so many seconds from now. None if it named none.
        self.retry_after_s = retry_after_s


class Unreachable(LinkTrouble):
    """No connection could be made, so nothing was sent."""


class NoAnswer(LinkTrouble):
    """The request was sent and may have been carried out; the API's answer never came."""


class NotNow(LinkTrouble):
    """The API answered that it cannot take the request now."""


class Unforeseen(LinkTrouble):
    """Something on this side failed, such as a disk's read. The log has the details."""


class KeyTrouble(VisionEventsError):  # noqa: N818 -- says whose trouble it is
    """The API key is wrong or may not do this. Waiting does not help; mending the key does."""


class EventTrouble(VisionEventsError):  # noqa: N818 -- says whose trouble it is
    """The API will never take this request as it is."""

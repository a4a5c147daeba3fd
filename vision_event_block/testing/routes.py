"""The routes of the stand-in, and how each words its refusals."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

from vision_event_block.testing.wire import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

#: All belong to the Vision Events API except the last, the event store on a device.
Route = Literal["upload", "create", "batch", "bundle", "event_store"]

_ROUTES: Final[Mapping[str, Route]] = MappingProxyType(
    {
        "/vision-events/upload": "upload",
        "/vision-events": "create",
        "/vision-events/batch": "batch",
        "/vision-events/bundle": "bundle",
        "/v2/events": "event_store",
    }
)


class Refused(Exception):  # noqa: N818 -- an answer, not an error of the stand-in
    """A service refuses a request; the arguments are the status and the reason."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(status, words)
        self.status = status
        self.words = words


def route_of(path: str) -> Route | None:
    """The route of a request's target: a path, or the full address that a proxy gets."""
    return _ROUTES.get(urlsplit(path).path)


def refusal(route: Route | None, status: int, words: str) -> Response:
    """The answer with a reason, under the key that the route's service uses for it."""
    return Response.of_json(status, {"detail" if route == "event_store" else "error": words})

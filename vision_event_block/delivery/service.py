"""A server under one address: what the clients of the API and of the event store share."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlencode

from vision_event_block.delivery import connections
from vision_event_block.delivery.errors import Fault
from vision_event_block.delivery.post import Post, Template
from vision_event_block.delivery.replies import error_for, not_from_the_api, read_success

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vision_event_block.delivery.body import Body
    from vision_event_block.delivery.errors import VisionEventsError
    from vision_event_block.delivery.http import Timeouts
    from vision_event_block.delivery.secret import Credentials

Reply = TypeVar("Reply")

_NO_HEADERS: Final = MappingProxyType[str, str]({})


class Service:
    """A server that any number of threads may call at the same time."""

    def __init__(
        self,
        *,
        name: str,
        base_url: str,
        timeouts: Timeouts,
        wrap_url: Callable[[str], str] | None = None,
        word: str = "error",
    ) -> None:
        """Opens nothing yet.

        Args:
            name: What its errors call it, such as "the API".
            base_url: Such as "https://api.roboflow.com".
            timeouts: How long a request may make no progress.
            wrap_url: Turns the full address into the one to call, such as a gateway's.
            word: The key under which it gives its reasons for a refusal, in addition to `error`.
        """
        self._name = name
        self._base_url = base_url.rstrip("/")
        self._timeouts = timeouts
        self._wrap_url = wrap_url
        self._word = word
        #: By method and path; there are a handful.
        self._templates: dict[str, Template] = {}

    def ask(  # noqa: PLR0913 -- a request has these parts
        self,
        path: str,
        parse: Callable[[Mapping[str, Any]], Reply],
        body: Body,
        *,
        credentials: Credentials,
        headers: Mapping[str, str] = _NO_HEADERS,
        query: Mapping[str, str] | None = None,
        method: str = "POST",
    ) -> Reply:
        """The parsed reply, or the error that fits, without a trace of the request in it."""
        route = f"{method} {path}"
        template = self._templates.setdefault(route, Template(method))
        request = Post(template, self._url(path, query), headers, body, credentials)
        hide = credentials.hide_in

        is_expected = False
        lent = connections.shared()
        connection = lent.take(self)
        try:
            answer = connection.exchange(request, route, self._timeouts, hide)
            error: VisionEventsError
            if 200 <= answer.status < 300:  # noqa: PLR2004 -- HTTP's own figures
                try:
                    reply = parse(read_success(answer))
                except ValueError as odd:
                    error = not_from_the_api(answer, route, hide, str(odd))
                else:
                    is_expected = True
                    return reply
            else:
                error = error_for(answer, route, hide, server=self._name, word=self._word)
                # A verdict in the server's own words is an answer like any other.
                is_expected = error.fault is not Fault.LINK
        finally:
            lent.give_back(connection, keep=is_expected)
        raise error

    def close(self) -> None:
        """Closes its connections and aborts requests under way; later ones open a connection."""
        connections.shared().close(self)

    def _url(self, path: str, query: Mapping[str, str] | None) -> str:
        url = self._base_url + path
        if query:
            url += f"?{urlencode(query)}"
        return url if self._wrap_url is None else self._wrap_url(url)

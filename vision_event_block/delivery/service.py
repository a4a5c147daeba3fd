"""A server under one address: what the clients of the API and of the event store share."""

from __future__ import annotations

import threading
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlencode
from weakref import WeakSet

import requests
from requests.structures import CaseInsensitiveDict

from vision_event_block import __version__
from vision_event_block.delivery.link import Link
from vision_event_block.delivery.replies import error_for, not_from_the_api, read_success

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vision_event_block.delivery.body import Body
    from vision_event_block.delivery.errors import VisionEventsError
    from vision_event_block.delivery.link import Timeouts
    from vision_event_block.delivery.secret import Credentials

Reply = TypeVar("Reply")

_NO_HEADERS: Final = MappingProxyType[str, str]({})


class Service:
    """A server that any number of threads may ask at once.

    Each thread keeps its own connection open between its requests.
    """

    def __init__(
        self,
        *,
        name: str,
        base_url: Callable[[], str] | str,
        timeouts: Timeouts,
        wrap_url: Callable[[str], str] | None = None,
    ) -> None:
        """Opens nothing yet.

        Args:
            name: What its errors call it: "the API".
            base_url: Such as "https://api.roboflow.com". A function is asked for each request.
            timeouts: How long a request may stand still.
            wrap_url: Turns the full address into the one to call, such as a gateway's.
        """
        self._name = name
        self._base_url = base_url
        self._timeouts = timeouts
        self._wrap_url = wrap_url
        self._threads = threading.local()
        self._links_lock = threading.Lock()
        #: Guarded by the lock. Weak, so that the connection of a thread ends with the thread.
        self._links: WeakSet[Link] = WeakSet()

    def post(  # noqa: PLR0913 -- a request has these parts
        self,
        path: str,
        parse: Callable[[Mapping[str, Any]], Reply],
        body: Body,
        *,
        credentials: Credentials,
        headers: Mapping[str, str] = _NO_HEADERS,
        query: Mapping[str, str] | None = None,
    ) -> Reply:
        """The parsed reply, or the error that fits, without a trace of the request in it."""
        route = f"POST {path}"
        all_headers = CaseInsensitiveDict({"User-Agent": f"vision-event-block/{__version__}"})
        all_headers.update(headers)
        # Ours to say, whatever else the host adds: it holds the boundary of an upload.
        all_headers["Content-Type"] = body.content_type
        request = requests.Request(
            "POST", self._url(path, query), headers=all_headers, data=body, auth=credentials
        )
        hide = credentials.hide_in

        answer = self._link().exchange(request, route, self._timeouts, hide)
        error: VisionEventsError
        if 200 <= answer.status < 300:  # noqa: PLR2004 -- HTTP's own figures
            try:
                return parse(read_success(answer))
            except ValueError as odd:
                error = not_from_the_api(answer, route, hide, str(odd))
        else:
            error = error_for(answer, route, hide, server=self._name)
        raise error

    def close(self) -> None:
        """Closes the connections of all threads and breaks off what is under way."""
        with self._links_lock:
            links = list(self._links)
            self._links.clear()
        self._threads = threading.local()  # a later request opens a new one
        for link in links:
            link.break_off()

    def _url(self, path: str, query: Mapping[str, str] | None) -> str:
        base_url = self._base_url if isinstance(self._base_url, str) else self._base_url()
        url = base_url.rstrip("/") + path
        if query:
            url += f"?{urlencode(query)}"
        return url if self._wrap_url is None else self._wrap_url(url)

    def _link(self) -> Link:
        link: Link | None = getattr(self._threads, "link", None)
        if link is None:
            link = self._threads.link = Link()
            with self._links_lock:
                self._links.add(link)
        return link

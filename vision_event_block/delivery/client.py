"""The Vision Events API as three calls: upload a picture, create an event, create many.

A call sends one request and gives the reply or raises one of `delivery.errors`. It neither
waits, nor tries later, nor logs: that is for whoever knows what else is due.
"""

from __future__ import annotations

import hashlib
import json
import threading
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote
from weakref import WeakSet

import requests
from requests.auth import AuthBase
from requests.structures import CaseInsensitiveDict

from vision_event_block import __version__
from vision_event_block.delivery.errors import KeyTrouble
from vision_event_block.delivery.link import Link, Timeouts
from vision_event_block.delivery.replies import (
    ApiWarning,
    BatchReply,
    CreateReply,
    UploadReply,
    error_for,
    not_from_the_api,
    read_success,
)
from vision_event_block.events import limits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from vision_event_block.delivery.errors import VisionEventsError

__all__ = [
    "ApiWarning",
    "BatchReply",
    "CreateReply",
    "Secret",
    "Timeouts",
    "UploadReply",
    "VisionEventsClient",
]

Reply = TypeVar("Reply")


class Secret:
    """A text that does not show itself: an API key, or a header made of one."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        # Keys come from files and variables, where a line end is easily left on them.
        self._value = value.strip()
        if not self._value:
            raise ValueError("the API key is empty")
        if not (self._value.isascii() and self._value.isprintable()):
            raise ValueError("the API key holds characters that no HTTP header can carry")

    def reveal(self) -> str:
        """The text itself."""
        return self._value

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits that tell keys apart and may be written down."""
        return hashlib.sha256(self._value.encode()).hexdigest()[:12]

    def hide_in(self, text: str) -> str:
        """The text with every occurrence of the secret masked, also where it is URL-quoted."""
        return text.replace(self._value, "***").replace(quote(self._value, safe=""), "***")

    def __eq__(self, other: object) -> bool:
        return self._value == other._value if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__


class VisionEventsClient:
    """The API under one address and key. Any number of threads may use it at once.

    Each thread keeps its own connection open between its requests.
    """

    def __init__(
        self,
        *,
        base_url: Callable[[], str] | str,
        api_key: Secret,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 -- frozen
        wrap_url: Callable[[str], str] | None = None,
        build_headers: Callable[[Mapping[str, str] | None], Mapping[str, str | list[str]]]
        | None = None,
    ) -> None:
        """Opens nothing yet.

        Args:
            base_url: Such as "https://api.roboflow.com". A function is asked for each request.
            api_key: Sent as bearer.
            timeouts: How long a request may stand still.
            wrap_url: Turns the full address into the one to call, such as a gateway's.
            build_headers: Called with None, gives headers to add to each request. An
                `Authorization` among them replaces the bearer.
        """
        self._base_url = base_url
        self._api_key = api_key
        self._timeouts = timeouts
        self._wrap_url = wrap_url
        self._build_headers = build_headers
        self._threads = threading.local()
        self._links_lock = threading.Lock()
        #: Guarded by the lock. Weak, so that the connection of a thread ends with the thread.
        self._links: WeakSet[Link] = WeakSet()

    def upload(
        self,
        picture: bytes,
        *,
        file_name: str = "image.jpg",
        media_type: str = "image/jpeg",
        metadata: Mapping[str, Any] | None = None,
    ) -> UploadReply:
        """The id under which the API keeps an encoded picture from now on."""
        return self._post(
            "/vision-events/upload",
            UploadReply.from_json,
            files={"file": (file_name, picture, media_type)},
            data={"metadata": _encode(metadata)} if metadata else None,
        )

    def create(self, event: Mapping[str, Any]) -> CreateReply:
        """What the API says about one event. The same `eventId` again overwrites it."""
        return self._post("/vision-events", CreateReply.from_json, data=_encode(event))

    def batch(self, events: Sequence[Mapping[str, Any]]) -> BatchReply:
        """What the API says about up to a hundred events at once."""
        if not 1 <= len(events) <= limits.MAX_BATCH_EVENTS:
            raise ValueError(
                f"a batch holds 1 to {limits.MAX_BATCH_EVENTS} events, not {len(events)}"
            )
        return self._post(
            "/vision-events/batch",
            lambda reply: BatchReply.from_json(reply, sent=len(events)),
            data=_encode({"events": list(events)}),
        )

    def close(self) -> None:
        """Closes the connections of all threads. A later call would open a new one."""
        with self._links_lock:
            links = list(self._links)
        for link in links:
            link.close()

    def _post(
        self,
        path: str,
        parse: Callable[[Mapping[str, Any]], Reply],
        *,
        data: bytes | dict[str, bytes] | None,
        files: dict[str, tuple[str, bytes, str]] | None = None,
    ) -> Reply:
        """The parsed reply, or the error that fits, without a trace of the request in it."""
        route = f"POST {path}"
        base_url = self._base_url if isinstance(self._base_url, str) else self._base_url()
        url = base_url.rstrip("/") + path
        if self._wrap_url is not None:
            url = self._wrap_url(url)
        headers, credentials = self._headers(route)
        if files is None:
            headers["Content-Type"] = "application/json"
        request = requests.Request(
            "POST", url, headers=headers, data=data, files=files, auth=credentials
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
            error = error_for(answer, route, hide)
        raise error

    def _headers(self, route: str) -> tuple[CaseInsensitiveDict[str], _Credentials]:
        headers = CaseInsensitiveDict({"User-Agent": f"vision-event-block/{__version__}"})
        if self._build_headers is not None:
            for name, value in self._build_headers(None).items():
                headers[name] = ", ".join(value) if isinstance(value, list) else str(value)
        headers.pop("Content-Type", None)  # ours to say: it holds the boundary of an upload
        authorization = headers.pop("Authorization", f"Bearer {self._api_key.reveal()}")
        try:
            return headers, _Credentials(Secret(authorization))
        except ValueError:
            words = "the host's own Authorization header cannot be sent"
        raise KeyTrouble(words, route=route)

    def _link(self) -> Link:
        link: Link | None = getattr(self._threads, "link", None)
        if link is None:
            link = self._threads.link = Link()
            with self._links_lock:
                self._links.add(link)
        return link


class _Credentials(AuthBase):
    """Sets the `Authorization` header when all else is done.

    As a plain header it would lose against a password for the host in ~/.netrc.
    """

    def __init__(self, authorization: Secret) -> None:
        self._authorization = authorization

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._authorization.reveal()
        return request

    def hide_in(self, text: str) -> str:
        """The text without the header's value and without the token in it."""
        token = self._authorization.reveal().rpartition(" ")[2]
        return Secret(token).hide_in(self._authorization.hide_in(text))


def _encode(document: Mapping[str, Any]) -> bytes:
    """The document as JSON; raises ValueError for NaN and infinity, which are not."""
    return json.dumps(document, allow_nan=False, separators=(",", ":")).encode()

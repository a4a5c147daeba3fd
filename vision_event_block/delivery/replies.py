"""What an answer from the API means: a usable reply, or the error that fits.

Pure: bytes and a status in, values out.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from vision_event_block.delivery.errors import AuthError, NotNow, RejectedError, UnknownReply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from vision_event_block.delivery.errors import VisionEventsError

#: No `Retry-After` stops a sender for longer than this, however wrong the server's clock is.
MAX_RETRY_AFTER_S: Final = 3600.0
#: How much of the API's own words an error repeats.
MAX_EXCERPT_CHARS: Final = 500

_COME_BACK: Final = frozenset({407, 408, 425, 429})
_NO_SUCH_PLACE: Final = frozenset({404, 405})
_KEY_STATUSES: Final = frozenset({401, 403})
_SECRETS_IN_URLS: Final = re.compile(
    r"""((?:api_key|service_secret)=)[^&\s"'<>]+ | (?<=://)[^/@\s]+(?=@)""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True)
class Answer:
    """What came back from the server, unchanged."""

    status: int
    #: Not shown: the other side may have put the key into it.
    body: bytes = field(repr=False)
    retry_after: str | None = None

    def json_object(self) -> dict[str, Any] | None:
        """The body, if it is a JSON object."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return document if isinstance(document, dict) else None


@dataclass(frozen=True)
class ApiWarning:
    """Something that the API says it stored differently from what was sent."""

    type: str
    path: str
    value: Any = None
    value_type: str | None = None
    #: The event of a batch that is meant, if the API says so.
    event_id: str | None = None

    @classmethod
    def from_json(cls, warning: Any) -> ApiWarning:
        """The warning in whatever form it came: the documented object, or just a text."""
        if not isinstance(warning, dict):
            return cls(type="warning", path=str(warning))
        value_type, event_id = warning.get("valueType"), warning.get("eventId")
        return cls(
            type=str(warning.get("type", "warning")),
            path=_dotted(warning.get("path", "the event")),
            value=warning.get("value"),
            value_type=None if value_type is None else str(value_type),
            event_id=event_id if isinstance(event_id, str) else None,
        )

    def __str__(self) -> str:
        verdicts = {
            "any.required": "is missing",
            "any.only": "is not one of the accepted values",
            "object.unknown": "is not a known key",
        }
        return f"{self.path} {verdicts.get(self.type, 'was not accepted')} ({self.type})"


@dataclass(frozen=True)
class ApiDeprecation:
    """Something that was sent under a name that the API is going to drop."""

    words: str
    event_id: str | None = None

    @classmethod
    def from_json(cls, deprecation: Any) -> ApiDeprecation:
        """The deprecation; its shape is not documented, so any text or object will do."""
        if not isinstance(deprecation, dict):
            return cls(f"{_printable(deprecation)} is deprecated")
        named = [deprecation.get(key) for key in ("path", "field", "name")]
        place = next((_dotted(name) for name in named if name), "")
        words = _sentence(deprecation.get("message")) or _sentence(deprecation.get("reason"))
        event_id = deprecation.get("eventId")
        if not place and not words:
            words = _printable(deprecation)
        said = f"{place} is deprecated" if place else "deprecated"
        return cls(
            f"{said}: {words}" if words else said, event_id if isinstance(event_id, str) else None
        )

    def __str__(self) -> str:
        return self.words


#: What the API says about an event that it accepted.
Remark = ApiWarning | ApiDeprecation


@dataclass(frozen=True)
class UploadReply:
    """A picture that the API now holds."""

    source_id: str
    url: str | None = None

    @classmethod
    def from_json(cls, reply: Mapping[str, Any]) -> UploadReply:
        """The reply; raises ValueError if it does not give the picture's id."""
        source_id, url = reply.get("sourceId"), reply.get("url")
        if not isinstance(source_id, str) or not source_id:
            raise ValueError("it has no sourceId")
        return cls(source_id, url if isinstance(url, str) else None)


@dataclass(frozen=True)
class CreateReply:
    """An event that the API now holds, and what the API changed about it."""

    event_id: str | None
    created: bool
    warnings: tuple[ApiWarning, ...] = ()
    deprecations: tuple[ApiDeprecation, ...] = ()

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """Everything that the API says about what it accepted."""
        return (*self.warnings, *self.deprecations)

    @classmethod
    def from_json(cls, reply: Mapping[str, Any], *, sent: str | None = None) -> CreateReply:
        """The reply to an event with the id `sent`, or with any id if that is None.

        Raises:
            ValueError: it does not say that this event was created. `created` is enough, or the id.
        """
        refuse_hidden_error(reply)
        event_id, created = reply.get("eventId"), reply.get("created")
        if created is False:
            raise ValueError("it says that nothing was created")
        if event_id is None and created is not True:
            raise ValueError("it does not say that the event was created")
        if event_id is not None and (not isinstance(event_id, str) or sent not in (None, event_id)):
            raise ValueError("it is about another event")
        return cls(
            event_id,
            created=True,
            warnings=_warnings(reply),
            deprecations=_deprecations(reply),
        )


@dataclass(frozen=True)
class BatchReply:
    """Which of a batch's events the API certainly holds now."""

    #: In the order in which they were sent; the missing ones are to be sent again, alone.
    event_ids: tuple[str, ...] = ()
    warnings: tuple[ApiWarning, ...] = ()
    deprecations: tuple[ApiDeprecation, ...] = ()

    @property
    def created(self) -> int:
        """The number of these events."""
        return len(self.event_ids)

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """Everything that the API says about what it accepted."""
        return (*self.warnings, *self.deprecations)

    @classmethod
    def from_json(cls, reply: Mapping[str, Any], *, sent: Sequence[str]) -> BatchReply:
        """The reply to events with these ids.

        The ids that it names are created, and all if it gives only their number. A reply whose
        number fits neither what it names nor what was sent counts as naming nothing.

        Raises:
            ValueError: it does not say of any event that it was created.
        """
        refuse_hidden_error(reply)
        if reply.get("created") is False:
            raise ValueError("it says that nothing was created")
        count, listed = count_in(reply.get("created")), reply.get("eventIds")
        if isinstance(listed, list) and listed:
            named = set(map(_id_in, listed))
            if count is not None and count < len(named):
                raise ValueError(f"it says {count} were created but names {len(named)}")
            created = tuple(event_id for event_id in sent if event_id in named)
        elif count == len(sent):
            created = tuple(sent)
        elif count is not None:
            raise ValueError(f"it says {count} of {len(sent)} were created but not which")
        else:
            raise ValueError("it does not say which events were created")
        if not created:
            raise ValueError("it is about other events")
        return cls(created, _warnings(reply), _deprecations(reply))


def count_in(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _id_in(item: Any) -> str:
    """An event's id in a list of ids, or of objects with one."""
    if isinstance(item, dict):
        item = item.get("eventId")
    return item if isinstance(item, str) else ""


@dataclass(frozen=True)
class EventStoreReply:
    """An event that the event store holds now."""

    #: The store's own id of it, if given. The store does not know the event's id.
    id: str | None

    @classmethod
    def from_json(cls, reply: Mapping[str, Any]) -> EventStoreReply:
        """The reply; ids in it are texts or numbers."""
        refuse_hidden_error(reply)
        event_id = reply.get("id")
        return cls(None if event_id is None else str(event_id))


def read_success(answer: Answer) -> dict[str, Any]:
    """The JSON object of a 2xx answer; raises ValueError if it is anything else."""
    reply = answer.json_object()
    if reply is None:
        raise ValueError("it is not the API's JSON")
    return reply


def error_for(
    answer: Answer,
    route: str,
    hide: Callable[[str], str],
    *,
    server: str = "the API",
    word: str = "error",
) -> VisionEventsError:
    """The error that fits an answer that is not a success.

    Args:
        answer: The answer.
        route: Method and path of the request.
        hide: Replaces what others must not read in a text.
        server: The name of the server in the error's text.
        word: The key under which the server gives its reasons, in addition to `error`.
    """
    status, words = answer.status, excerpt(answer, hide)
    if status >= 500 or status in _COME_BACK:  # noqa: PLR2004 -- HTTP's own figures
        return NotNow(
            f"{server} is temporarily unavailable ({status}): {words}",
            route=route,
            status=status,
            retry_after_s=parse_retry_after(answer.retry_after),
        )
    if status < 400 or not _is_verdict(answer, word):  # noqa: PLR2004 -- see above
        return not_from_the_api(answer, route, hide)
    if status in _KEY_STATUSES:
        verdict = "was refused" if status == 401 else "may not do this"  # noqa: PLR2004 -- see above
        return AuthError(f"{server} key {verdict} ({status}): {words}", route=route, status=status)
    return RejectedError(f"{server} refused it ({status}): {words}", route=route, status=status)


def _is_verdict(answer: Answer, word: str) -> bool:
    """Whether the server itself says this, and not a firewall, a proxy or another service.

    A web framework that serves something else at this address has JSON for a 404 as well, but only
    the API has `error` in it.
    """
    reply = answer.json_object() or {}
    if isinstance(reply.get("error"), str):
        return True
    return answer.status not in _NO_SUCH_PLACE and word != "error" and word in reply


def not_from_the_api(
    answer: Answer, route: str, hide: Callable[[str], str], why: str = "not from the API"
) -> UnknownReply:
    """The error for an answer that did not come from the API, such as a captive portal's."""
    return UnknownReply(
        f"unexpected response ({answer.status}): {why}; check the URL, a proxy or a captive "
        f"portal. It reads: {excerpt(answer, hide)}",
        route=route,
        status=answer.status,
        retry_after_s=parse_retry_after(answer.retry_after),
    )


def excerpt(answer: Answer, hide: Callable[[str], str]) -> str:
    """The server's own words about an error, or the beginning of what came instead.

    The API gives an `error`; the event store a `detail`, perhaps next to an `error` that is a code.
    """
    reply = answer.json_object() or {}
    words = _sentence(reply.get("detail")) or _sentence(reply.get("error"))
    if not words:
        words = answer.body.decode("utf-8", errors="replace")
    return shorten(words, hide) or "no reason given"


def shorten(words: str, hide: Callable[[str], str]) -> str:
    """The words on one line, without secrets, cut to a readable length."""
    # Hidden before it is cut: half a key at the end would no longer be recognised.
    words = " ".join(_SECRETS_IN_URLS.sub(r"\1***", hide(words)).split())
    return words if len(words) <= MAX_EXCERPT_CHARS else words[: MAX_EXCERPT_CHARS - 1] + "…"


def parse_retry_after(header: str | None) -> float | None:
    """The seconds that a `Retry-After` asks for, at most an hour; None if it cannot be read."""
    if header is None:
        return None
    try:
        wait_s = Retry().parse_retry_after(header)
    except (InvalidHeader, ValueError, OverflowError):
        return None
    return min(max(wait_s, 0.0), MAX_RETRY_AFTER_S)


def _warnings(reply: Mapping[str, Any]) -> tuple[ApiWarning, ...]:
    return tuple(ApiWarning.from_json(warning) for warning in _array(reply.get("warnings")))


def _deprecations(reply: Mapping[str, Any]) -> tuple[ApiDeprecation, ...]:
    return tuple(map(ApiDeprecation.from_json, _array(reply.get("deprecations"))))


def _printable(value: Any) -> str:
    words = value if isinstance(value, str) else json.dumps(value)
    return shorten(words, str)


def _array(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list) else ()


def _dotted(path: Any) -> str:
    return ".".join(map(str, path)) if isinstance(path, list) else str(path)


def _sentence(words: Any) -> str:
    """A text as it is; a validator's list of findings on one line; empty if it is neither."""
    if isinstance(words, list):
        return "; ".join(filter(None, map(_finding, words)))
    return words.strip() if isinstance(words, str) else ""


def _finding(finding: Any) -> str:
    """One finding with its place, but without the input, which may be a whole picture."""
    if not isinstance(finding, dict):
        return _sentence(finding) if isinstance(finding, str) else ""
    place, words = finding.get("loc"), _sentence(finding.get("msg"))
    if isinstance(place, list) and place[:1] == ["body"]:
        place = place[1:]
    return f"{_dotted(place)}: {words}" if place and words else words


def refuse_hidden_error(reply: Mapping[str, Any]) -> None:
    """Raises ValueError for a failure that a gateway has wrapped in a 200."""
    if reply.get("error") or reply.get("success") is False:
        raise ValueError("it reports an error")

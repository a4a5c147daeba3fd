"""What can go wrong with a request, whose fault it is, and whether it is worth sending again.

    VisionEventsError
    ├── TransientError       nobody's fault: retried after a back-off, for as long as it takes
    │   ├── Unreachable      no connection: DNS, refused, TLS, connect time-out; nothing was sent
    │   ├── NoAnswer         sent and perhaps carried out, but the API's answer never came
    │   │   └── UnknownReply a success that does not say what was created
    │   └── NotNow           the API cannot take it now: 408, 425, 429, any 5xx
    ├── AuthError            401, 403: everything with this key waits until somebody fixes it
    ├── RejectedError        every other 4xx: this event only, never again unchanged
    └── InternalError        our own process or disk failed, not the network or the API

A verdict on a key or an event counts only in the API's own words: a JSON object with an `error`.
A firewall's page, a proxy's 413 or a portal's redirect would otherwise condemn healthy events.

The text of each error is a sentence with the API's own words in it. It never holds the API
key, and an error never refers to the request that caused it, whose headers do hold the key.
"""

from __future__ import annotations

from enum import Enum
from typing import ClassVar


class Fault(Enum):
    """Whose fault a failure is, most serious first: what ends an event before what delays it."""

    EVENT = "event"
    KEY = "key"
    LINK = "link"
    INTERNAL = "internal"

    @property
    def weight(self) -> int:
        """Higher is more serious."""
        return -list(Fault).index(self)


class VisionEventsError(Exception):
    """A request to the Vision Events API that did not succeed."""

    fault: ClassVar[Fault]
    #: Whether the same request may succeed later.
    may_retry: ClassVar[bool] = True
    #: Nothing was sent: a waiting caller may as well stop waiting.
    is_unsent: ClassVar[bool] = False
    #: It may have been carried out all the same; sending it again under the same id settles it.
    is_unanswered: ClassVar[bool] = False
    #: There was an answer, in a form that is not known here.
    is_unknown_reply: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        route: str,
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{route}: {message}")
        self.message = message
        #: Method and path, such as "POST /vision-events".
        self.route = route
        #: The HTTP status, or None if no answer came.
        self.status = status
        #: The API's own wish: not before this many seconds from now. None if it stated none.
        self.retry_after_s = retry_after_s


class TransientError(VisionEventsError):
    """The API cannot be reached or used right now; the event is not to blame."""

    fault = Fault.LINK


class Unreachable(TransientError):  # noqa: N818 -- a state of the network
    """No connection could be made, so nothing was sent."""

    is_unsent = True


class NoAnswer(TransientError):  # noqa: N818 -- as above
    """The request was sent and may have been carried out; the API's answer never came."""

    is_unanswered = True


class UnknownReply(NoAnswer):
    """A success that does not confirm that what was sent was created, so it counts for nothing."""

    is_unknown_reply = True


class NotNow(TransientError):  # noqa: N818 -- as above
    """The API answered that it cannot take the request now."""


class AuthError(VisionEventsError):
    """The API key is wrong or may not do this. Waiting does not help; fixing the key does."""

    fault = Fault.KEY


class RejectedError(VisionEventsError):
    """The API will never take this request as it is."""

    fault = Fault.EVENT
    may_retry = False


class InternalError(VisionEventsError):
    """Something in this process failed, such as a read from disk or a hook. The log has more."""

    fault = Fault.INTERNAL

    @classmethod
    def of(cls, error: BaseException, doing: str) -> InternalError:
        """The error for an exception that was raised while doing something."""
        words = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
        return cls(f"internal error, {type(error).__name__}{words}", route=doing)

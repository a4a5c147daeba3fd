"""What the API answers to queries, deletions and requests for use cases. Pure, like `replies`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vision_event_block.delivery.replies import count_in, refuse_hidden_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class DeleteReply:
    """What became of events that were to be deleted."""

    deleted: int
    not_found: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, reply: Mapping[str, Any], *, sent: Sequence[str]) -> DeleteReply:
        """The reply; raises ValueError if it does not say how many were deleted."""
        refuse_hidden_error(reply)
        deleted, listed = count_in(reply.get("deleted")), reply.get("notFound") or []
        if deleted is None or deleted > len(sent) or not isinstance(listed, list):
            raise ValueError("it does not say how many of them were deleted")
        return cls(deleted, tuple(each for each in sent if each in listed))


@dataclass(frozen=True)
class QueryReply:
    """A page of events."""

    events: tuple[dict[str, Any], ...]
    #: For the next page; None on the last one.
    next_cursor: str | None
    #: How old an event may be and still be shown by the API; None if it does not say.
    lookback_days: float | None

    @classmethod
    def from_json(cls, reply: Mapping[str, Any]) -> QueryReply:
        """The reply; raises ValueError if it lists no events."""
        refuse_hidden_error(reply)
        events, cursor = reply.get("events"), reply.get("nextCursor")
        days = reply.get("lookbackDays")
        if not isinstance(events, list):
            raise ValueError("it does not list events")  # noqa: TRY004 -- of the reply, not of a call
        return cls(
            tuple(each for each in events if isinstance(each, dict)),
            cursor if isinstance(cursor, str) and reply.get("hasMore") is not False else None,
            float(days) if isinstance(days, int | float) and not isinstance(days, bool) else None,
        )


@dataclass(frozen=True)
class UseCaseReply:
    """A use case, as far as a reply describes it."""

    id: str
    name: str
    status: str = ""
    events: int | None = None

    @classmethod
    def from_json(cls, reply: Mapping[str, Any]) -> UseCaseReply:
        """The use case; raises ValueError if the reply has none."""
        use_case_id, name = reply.get("id"), reply.get("name")
        if not isinstance(use_case_id, str) or not use_case_id:
            raise ValueError("the use case has no id")
        status = reply.get("status")
        return cls(
            use_case_id,
            name if isinstance(name, str) else "",
            status if isinstance(status, str) else "",
            count_in(reply.get("eventCount")),
        )

    @classmethod
    def all_from_json(cls, reply: Mapping[str, Any]) -> list[UseCaseReply]:
        """The use cases in a list, once called `solutions`; raises ValueError if there is none.

        One without an id is left out, since nothing could refer to it.
        """
        found = reply.get("useCases", reply.get("solutions"))
        if not isinstance(found, list):
            raise ValueError("it lists no use cases")  # noqa: TRY004 -- an odd reply is a value
        named = (each for each in found if isinstance(each, dict) and each.get("id"))
        return [cls.from_json(each) for each in named]

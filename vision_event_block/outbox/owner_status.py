"""What a slot's owner reports about itself: `status.json`, written within a second of any news.

The commands, the metrics and other processes read it. It may come from another version, or be cut
off, so reading it takes what is there.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Final

from vision_event_block.redaction import without_passwords


class DestinationState(Enum):
    """What is known about a destination. The only list of these states."""

    OPEN = "open"
    #: Requests fail; one at a time checks whether the destination is back.
    DOWN = "down"
    #: Its events wait until somebody fixes the key.
    KEY_REFUSED = "key refused"
    #: No process knows its key, or its address.
    NO_KEY = "no key"
    #: A state that this version does not know.
    UNKNOWN = "unknown"

    @property
    def needs_key(self) -> bool:
        """Whether its events wait for somebody to set or fix a key."""
        return self in {DestinationState.KEY_REFUSED, DestinationState.NO_KEY}


_STATES: Final = {state.value: state for state in DestinationState}


@dataclass(frozen=True)
class DestinationStatus:
    """What one process knows about a destination."""

    address: str
    state: DestinationState
    pending: int
    last_error: str | None = None
    last_success_s: float | None = None
    #: What failed in this process at the last attempt; the network is not to blame.
    internal_error: str | None = None
    #: An answer that keeps coming and is not understood, in the destination's own words.
    unknown_reply: str | None = None
    #: When this state began, by the wall clock.
    since_s: float | None = None
    #: Of the waiting events, those in memory only.
    unstored: int = 0

    def to_json(self) -> dict[str, Any]:
        """The status as it stands in the file and in `vision-events status --json`."""
        return {**asdict(self), "state": self.state.value}

    @classmethod
    def from_json(cls, row: Any) -> DestinationStatus | None:
        """The status in a row of the file; None if the row names no destination.

        Passwords that an older version may have left in it are masked.
        """
        if not isinstance(row, dict) or not isinstance(row.get("address"), str):
            return None
        state = row.get("state")
        return cls(
            address=without_passwords(row["address"]),
            state=_STATES.get(str(state), DestinationState.UNKNOWN),
            pending=_count(row.get("pending")),
            last_error=_text(row.get("last_error")),
            last_success_s=_moment(row.get("last_success_s")),
            internal_error=_text(row.get("internal_error")),
            unknown_reply=_text(row.get("unknown_reply")),
            since_s=_moment(row.get("since_s")),
            unstored=_count(row.get("unstored")),
        )


@dataclass(frozen=True)
class OwnerStatus:
    """What a process reports about itself; without a pid nothing has been reported yet."""

    pid: int | None = None
    destinations: tuple[DestinationStatus, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"pid": self.pid, "destinations": [row.to_json() for row in self.destinations]}

    @classmethod
    def from_json(cls, document: Any) -> OwnerStatus:
        """The status in a file, as much of it as can be read."""
        if not isinstance(document, dict):
            return cls()
        pid, rows = document.get("pid"), document.get("destinations")
        found = map(DestinationStatus.from_json, rows if isinstance(rows, list) else ())
        return cls(
            pid if isinstance(pid, int) else None, tuple(row for row in found if row is not None)
        )


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _moment(value: Any) -> float | None:
    return value if isinstance(value, int | float) else None


def _text(value: Any) -> str | None:
    return None if value is None else without_passwords(str(value))

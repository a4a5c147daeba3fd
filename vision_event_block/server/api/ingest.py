"""Turns a body into an event to store, or refuses it. Pure: no network and no store.

Ingestion is lenient. Four fields are checked strictly: an event with an invalid one is refused, and
so is one without an event type or a use case. Anything else that breaks a rule becomes a warning,
and the event is kept without it:

    eventId, timestamp    generated if missing, where the caller gives a spare id
    eventData             one violation empties the whole object
    images                one violation drops the whole list, but unknown keys are kept
    customMetadata        only the keys with violations are dropped
    any other field       is dropped

Only query results and the usual views lack these parts: the body as received is kept with the event
(`NewEvent.received`), for the event's own page, for exports and for forwarding.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from vision_event_block.contract import limits
from vision_event_block.events.times import iso
from vision_event_block.server.api.event_rules import EVENT_DATA, FIELDS, IDENTITY, clean_metadata
from vision_event_block.server.api.rules import Violation
from vision_event_block.server.refusals import EMPTY_EVENT, Refusal
from vision_event_block.server.store.records import NewEvent, is_storable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: How many violations an event's reply names; further ones are dropped silently.
MAX_WARNINGS: Final = 100

#: Old name -> name. Early clients know a use case as a solution.
DEPRECATED: Final = MappingProxyType({"solution": "useCaseId", "solutionId": "useCaseId"})
_TIMESTAMP: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)"
    r"(?:[Tt ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d+))?\s?([Zz]|[+-]\d\d(?::?\d\d)?)?)?"
)


class RequestRefused(Exception):  # noqa: N818 -- an answer, not an error of the server
    """The server refuses a request; the message says why and names the field."""

    def __init__(self, words: str, status: int = 400, refusal: Refusal | None = None) -> None:
        """A `refusal` gives log, page and metrics a more exact reason than the status."""
        super().__init__(words)
        self.words = words
        self.status = status
        self.refusal = refusal


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The four required fields of an event."""

    event_id: str
    event_type: str
    #: The use case as the sender names it: by its id or, to a server, by its name.
    use_case_id: str
    #: In UTC.
    timestamp: datetime
    #: One for each field that the sender left out and that was generated here.
    violations: tuple[Violation, ...] = ()


@dataclass(frozen=True)
class Ingested:
    """An event to store, with warnings and deprecations for its sender."""

    event: NewEvent
    deprecations: list[dict[str, str]] = field(default_factory=list)


def ingest(
    body: Any, *, now: datetime, use_case_id: str | None = None, spare_id: str | None = None
) -> Ingested:
    """The event in a body: `identify`, with the same arguments, followed by `fit`."""
    identity = identify(body, now=now, use_case_id=use_case_id, spare_id=spare_id)
    return fit(body, identity)


def identify(
    body: Any, *, now: datetime, use_case_id: str | None = None, spare_id: str | None = None
) -> Identity:
    """The strict fields of a body. A null counts as missing, an empty text as invalid.

    Args:
        body: The parsed JSON of `POST /vision-events`.
        now: The present time, to check the timestamp against.
        use_case_id: Replaces the one in the body.
        spare_id: The id for an event that has none; if it has no time either, its time is `now`.
            Without a spare id, an event that lacks its id or time is refused.

    Raises:
        RequestRefused: a field is missing or invalid.
    """
    if not isinstance(body, dict):
        raise RequestRefused("an event must be a JSON object")
    event_type = body.get("eventType")
    if event_type is None:
        refusal = None if body else Refusal(EMPTY_EVENT)
        raise RequestRefused("eventType is required", refusal=refusal)
    if not IDENTITY["eventType"].allows(event_type):
        raise RequestRefused(f"eventType must be one of {', '.join(limits.EVENT_TYPES)}")
    given = {"eventId": body.get("eventId"), "timestamp": body.get("timestamp")}
    missing = [key for key, value in given.items() if value is None and spare_id is not None]
    made = {"eventId": spare_id, "timestamp": iso(now)}
    given |= {key: made[key] for key in missing}
    if use_case_id is None:
        names = (body.get(key) for key in ("useCaseId", *DEPRECATED))
        use_case_id = next((name for name in names if name is not None), None)
    return Identity(
        event_id=_name(given["eventId"], "eventId"),
        event_type=event_type,
        use_case_id=_name(use_case_id, "useCaseId"),
        timestamp=event_time(given["timestamp"], now=now),
        violations=tuple(Violation("any.required", key) for key in missing),
    )


def fit(body: Mapping[str, Any], identity: Identity) -> Ingested:
    """The event of a body under its identity, without anything that breaks a rule."""
    kept, violations = _fitting(body, identity.event_type)
    found = [*identity.violations, *violations][:MAX_WARNINGS]
    event = NewEvent(
        event_id=identity.event_id,
        event_type=identity.event_type,
        use_case_id=identity.use_case_id,
        timestamp=identity.timestamp,
        body={
            "eventId": identity.event_id,
            "eventType": identity.event_type,
            "useCaseId": identity.use_case_id,
            "timestamp": iso(identity.timestamp),
            **kept,
        },
        received={
            **{key: value for key, value in body.items() if key not in DEPRECATED},
            "eventId": identity.event_id,
            "useCaseId": identity.use_case_id,
            "timestamp": body.get("timestamp") or iso(identity.timestamp),
        },
        warnings=tuple(violation.as_warning() for violation in found),
    )
    return Ingested(event, [_deprecation(key) for key in DEPRECATED if body.get(key) is not None])


def event_time(given: Any, *, now: datetime, name: str = "timestamp") -> datetime:
    """When an event happened; refused unless it is in the window that the API accepts."""
    if given is None:
        raise RequestRefused(f"{name} is required")
    moment = parse_timestamp(given, name)
    if not now - limits.MAX_EVENT_AGE <= moment <= now + limits.MAX_EVENT_LEAD:
        raise RequestRefused(
            f"{name} must be between one year ago and tomorrow; it is now {iso(now)} here"
        )
    return moment


def parse_timestamp(given: Any, name: str) -> datetime:
    """UTC from ISO 8601 text; without a zone it is UTC. Raises RequestRefused if it is invalid.

    >>> parse_timestamp("2026-03-01T09:15:27.5+01:00", "timestamp").isoformat()
    '2026-03-01T08:15:27.500000+00:00'
    """
    found = _TIMESTAMP.fullmatch(given) if isinstance(given, str) and given.isascii() else None
    if found is not None:
        day, clock, fraction, zone = found.groups()
        digits = (fraction or "0")[:6].ljust(6, "0")
        seconds = clock if clock and len(clock) > len("00:00") else f"{clock or '00:00'}:00"
        offset = "+0000" if zone in (None, "Z", "z") else zone.replace(":", "").ljust(5, "0")
        text = f"{day}T{seconds}.{digits}{offset[:3]}:{offset[3:]}"  # as Python 3.10 reads it
        try:
            return datetime.fromisoformat(text).astimezone(timezone.utc)
        except (ValueError, OverflowError):
            pass
    raise RequestRefused(f"{name} must be an ISO 8601 date such as 2026-03-01T09:15:27Z")


def _fitting(body: Mapping[str, Any], event_type: str) -> tuple[dict[str, Any], list[Violation]]:
    """The parts of an event to keep besides its identity, and the violations in the rest."""
    violations: list[Violation] = []
    kept: dict[str, Any] = {"eventData": {}}
    event_data = body.get("eventData", {})
    wrong = _some(EVENT_DATA[event_type](event_data, "eventData"))
    if not wrong:
        kept["eventData"] = event_data
    violations += wrong
    for key, value in body.items():
        if key in IDENTITY or key in DEPRECATED or key == "eventData":
            continue
        if key == "customMetadata":
            kept[key], about_metadata = clean_metadata(value, key)
            violations += _some(about_metadata)
            continue
        rule = FIELDS.get(key)
        if rule is None:
            violations.append(Violation("object.unknown", key, value))
            continue
        wrong, harmless = _sorted_out(rule(value, key))
        if not wrong:
            kept[key] = value
        violations += [*wrong, *harmless]
    return kept, violations


def _sorted_out(violations: Iterator[Violation]) -> tuple[list[Violation], list[Violation]]:
    """The violations that drop the value, and the harmless ones; no more than are reported."""
    wrong: list[Violation] = []
    harmless: list[Violation] = []
    for violation in violations:
        found = harmless if violation.is_harmless else wrong
        if len(found) < MAX_WARNINGS:
            found.append(violation)
        elif not violation.is_harmless:
            break
    return wrong, harmless


def _some(violations: Iterator[Violation]) -> list[Violation]:
    """The first ones, as many as are reported: a million wrong boxes need no million violations."""
    return list(islice(violations, MAX_WARNINGS))


def _name(given: Any, key: str) -> str:
    if given is None:
        raise RequestRefused(f"{key} is required")
    rule = IDENTITY[key]
    if not rule.allows(given):
        max_chars = rule.schema["maxLength"]
        raise RequestRefused(f"{key} must be a string of 1 to {max_chars} characters")
    if not is_storable(given):
        raise RequestRefused(f"{key} holds a character that cannot be stored")
    return str(given)


def _deprecation(key: str) -> dict[str, str]:
    replacement = DEPRECATED[key]
    return {"field": key, "replacement": replacement, "message": f"use {replacement}"}

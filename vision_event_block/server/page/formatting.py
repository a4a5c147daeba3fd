"""Events, times and warnings as people read them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

TYPE_NAMES: Final = {
    "quality_check": "Quality check",
    "inventory_count": "Inventory count",
    "safety_alert": "Safety alert",
    "custom": "Custom",
    "operator_feedback": "Operator feedback",
}
FIELD_NAMES: Final = {
    "result": "Result",
    "externalId": "External id",
    "location": "Location",
    "itemCount": "Item count",
    "itemType": "Item type",
    "alertType": "Alert type",
    "severity": "Severity",
    "description": "Description",
    "value": "Value",
    "relatedEventId": "About event",
    "feedback": "Feedback",
    "deviceId": "Device",
    "streamId": "Stream",
    "workflowId": "Workflow",
    "workflowVersion": "Workflow version",
}
#: The metadata key for how long an event lasted, in seconds.
DURATION: Final = "duration_s"
#: The state of a tracked object that has not left.
_STILL_THERE: Final = "still there"
_SEVERITY_TONES: Final = {"low": "neutral", "medium": "warn", "high": "bad"}
_FEEDBACK_TONES: Final = {"correct": "good", "incorrect": "bad", "inconclusive": "warn"}
_MAX_HEADLINE_CHARS: Final = 80

#: What a validator's code says about the value at a path.
_COMPLAINTS: Final = {
    "any.required": "is required and missing",
    "any.only": "is not one of the allowed values",
    "object.unknown": "is not a field that the API knows",
    "string.base": "must be text",
    "string.empty": "must not be empty",
    "string.max": "is too long",
    "string.min": "is too short",
    "string.pattern.base": "contains characters that are not allowed",
    "number.base": "must be a number",
    "number.integer": "must be a whole number",
    "number.min": "is too small",
    "number.max": "is too large",
    "number.precision": "has too many decimals",
    "boolean.base": "must be true or false",
    "array.base": "must be a list",
    "array.min": "has too few entries",
    "array.max": "has too many entries",
    "object.base": "must be an object",
    "object.max": "has too many keys",
}
_FATES: Final = {
    "eventId": "The server generated one.",
    "timestamp": "The time of arrival was used.",
    "eventData": "The whole event data was left out.",
    "images": "All images of the event were left out.",
    "customMetadata": "That key was left out.",
}


@dataclass(frozen=True)
class Headline:
    """An event in a few words, and whether it is good news."""

    text: str
    tone: str = "neutral"


def headline(event_type: str, event_data: Mapping[str, Any]) -> Headline:
    """What a reader wants to know first about an event.

    >>> headline("quality_check", {"result": "pass"})
    Headline(text='Pass', tone='good')
    """
    get = event_data.get
    if event_type == "quality_check" and get("result") in ("pass", "fail"):
        return Headline("Pass", "good") if get("result") == "pass" else Headline("Fail", "bad")
    if event_type == "inventory_count" and get("itemCount") is not None:
        times = "\N{MULTIPLICATION SIGN}"
        return _headline(f"{get('itemCount')} {times} {get('itemType') or 'items'}")
    if event_type == "safety_alert" and (get("alertType") or get("severity")):
        severity = get("severity")
        name = str(get("alertType") or "Alert").replace("_", " ").replace("-", " ")
        return _headline(
            f"{name[:1].upper()}{name[1:]}", _SEVERITY_TONES.get(str(severity), "neutral")
        )
    if event_type == "operator_feedback" and get("feedback"):
        verdict = str(get("feedback"))
        return _headline(verdict.capitalize(), _FEEDBACK_TONES.get(verdict, "neutral"))
    if event_type == "custom" and get("value"):
        return _headline(str(get("value")))
    return Headline(TYPE_NAMES.get(event_type, event_type))


def feedback_tone(verdict: str | None) -> str:
    return _FEEDBACK_TONES.get(str(verdict), "neutral")


def warning_in_words(warning: Mapping[str, Any]) -> str:
    """What the API found wrong, and what it did about it.

    >>> warning_in_words({"type": "number.max", "path": "images.0.confidence", "value": 7})
    'images, 1, confidence is too large: 7. All images of the event were left out.'
    """
    path = str(warning.get("path") or "The event")
    complaint = _COMPLAINTS.get(str(warning.get("type")), f"is not valid ({warning.get('type')})")
    value = warning.get("value")
    given = "" if value is None or value == "" else f": {shortened(str(value))}"
    steps = [str(int(step) + 1) if step.isdecimal() else step for step in path.split(".")]
    fate = _FATES.get(steps[0], "It was left out.")
    return f"{', '.join(steps)} {complaint}{given}. {fate}"


def field_name(key: str) -> str:
    """The name of an event's field for readers; for an unknown field, the key itself."""
    return FIELD_NAMES.get(key, key)


def plain_value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def ago(moment: datetime, now: datetime) -> str:
    """How long ago, as a person would say it.

    >>> ago(datetime(2026, 3, 1), datetime(2026, 3, 3))
    '2 days ago'
    """
    gone = now - moment
    if gone < timedelta(seconds=-60):
        return "in the future"
    if gone < timedelta(seconds=10):
        return "just now"
    if gone < timedelta(minutes=1):
        return f"{gone.seconds} s ago"
    if gone < timedelta(hours=1):
        return f"{gone.seconds // 60} min ago"
    if gone < timedelta(days=1):
        return f"{gone.seconds // 3600} h ago"
    return "yesterday" if gone.days == 1 else f"{gone.days} days ago"


def duration(metadata: Mapping[str, Any]) -> str | None:
    """How long an event lasted, if its metadata says so.

    >>> duration({"duration_s": 4.24}), duration({"duration_s": 96}), duration({})
    ('4.2 s', '1 min 36 s', None)
    >>> duration({"duration_s": 4.24, "state": "still there"})
    '4.2 s so far'
    """
    seconds = metadata.get(DURATION)
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        return None
    if not 0 <= seconds < math.inf:  # nor NaN
        return None
    minutes, rest = divmod(round(seconds), 60)
    if round(seconds, 1) < 60:  # noqa: PLR2004 -- a minute
        text = f"{seconds:.1f} s"
    elif minutes < 60:  # noqa: PLR2004 -- an hour
        text = f"{minutes} min {rest} s"
    else:
        text = f"{minutes // 60:,} h {minutes % 60} min"
    return f"{text} so far" if metadata.get("state") == _STILL_THERE else text


def count(number: int, noun: str, *, at_most: int | None = None) -> str:
    """`1 event`, `1,200 events`, `10,000+ events`."""
    plus = "+" if at_most is not None and number >= at_most else ""
    return f"{number:,}{plus} {noun}" + ("" if number == 1 else "s")


def size(number_bytes: float) -> str:
    """`812 MB`, `1.5 GB`, `200 GB`.

    >>> size(812e6), size(1.5e9), size(200e9)
    ('812 MB', '1.5 GB', '200 GB')
    """
    number, unit = number_bytes / 1e6, "MB"
    for larger in ("GB", "TB"):
        if number >= 1000:  # noqa: PLR2004 -- what the prefixes mean
            number, unit = number / 1000, larger
    return f"{number:.1f}".removesuffix(".0") + f" {unit}"


def numbers_in(params: Mapping[str, str], *names: str) -> dict[str, int]:
    """The parameters under these names that are numbers.

    >>> numbers_in({"deleted": "12", "kept": "x"}, "deleted", "kept")
    {'deleted': 12}
    """
    given = {name: params.get(name, "") for name in names}
    return {name: int(text[:7]) for name, text in given.items() if text.isdecimal()}


def sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."


def _headline(text: str, tone: str = "neutral") -> Headline:
    return Headline(shortened(text), tone)


def shortened(text: str, max_chars: int = _MAX_HEADLINE_CHARS) -> str:
    return text if len(text) <= max_chars else text[: max_chars - 1] + "…"

"""What the stand-in refuses and what it warns about: the rules that a client must meet in tests.

Pure: JSON in, verdicts out. Far from all rules of the API; those that change what a client does.
"""

from __future__ import annotations

from datetime import datetime, timezone
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from vision_event_block.events import limits

if TYPE_CHECKING:
    from collections.abc import Mapping

_EVENT_DATA_KEYS: Final = MappingProxyType(
    {
        "quality_check": ("result", "externalId"),
        "inventory_count": ("location", "itemCount", "itemType", "externalId"),
        "safety_alert": ("alertType", "severity", "description", "externalId"),
        "custom": ("value", "externalId"),
        "operator_feedback": ("relatedEventId", "feedback"),
    }
)
_REQUIRED_KEYS: Final = MappingProxyType({"operator_feedback": ("relatedEventId", "feedback")})
_CHOICES: Final = MappingProxyType(
    {
        ("quality_check", "result"): limits.QC_RESULTS,
        ("safety_alert", "severity"): limits.SEVERITIES,
        ("operator_feedback", "feedback"): limits.FEEDBACKS,
    }
)


def strict_error(event: Any) -> str | None:
    """Why an event is refused as a whole, or None: only four fields can be the reason."""
    if not isinstance(event, dict):
        return "event must be an object"
    if not _is_text(event.get("eventId")):
        return "eventId is required"
    if event.get("eventType") not in limits.EVENT_TYPES:
        return f"eventType must be one of {', '.join(limits.EVENT_TYPES)}"
    use_case_id = event.get("useCaseId")
    if not _is_text(use_case_id) or len(use_case_id) > limits.MAX_USE_CASE_ID_CHARS:
        return f"useCaseId must be a string of 1 to {limits.MAX_USE_CASE_ID_CHARS} characters"
    return _timestamp_error(event.get("timestamp"))


def warnings_about(event: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is wrong with an event that is kept nevertheless, as the API words it."""
    event_type = event["eventType"]
    event_data = event.get("eventData") or {}
    if not isinstance(event_data, dict):
        return [{**_warning("object.base", "", event_data), "path": "eventData"}]
    found = [
        _warning("any.required", key, None)
        for key in _REQUIRED_KEYS.get(event_type, ())
        if key not in event_data
    ]
    for key, value in event_data.items():
        if key not in _EVENT_DATA_KEYS[event_type]:
            found.append(_warning("object.unknown", key, value))
        elif value not in _CHOICES.get((event_type, key), (value,)):
            found.append(_warning("any.only", key, value))
    return found


def event_store_error(event: Any) -> str | None:
    """Why the event store on a device refuses an event, or None."""
    if not isinstance(event, dict):
        return "event must be an object"
    if not _is_text(event.get("inference_timestamp")):
        return "inference_timestamp is required"
    schema, event_data = event.get("event_schema"), event.get("event_data")
    if schema not in limits.EVENT_TYPES:
        return f"event_schema must be one of {', '.join(limits.EVENT_TYPES)}"
    if not isinstance(event_data, dict):
        return "event_data is required"
    unknown = event_data.keys() - set(_EVENT_DATA_KEYS[schema])
    return f"event_data.{min(unknown)} is not permitted" if unknown else None


def _warning(kind: str, key: str, value: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "path": f"eventData.{key}",
        "value": value,
        "valueType": _javascript_type(value),
    }


def _javascript_type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    return "number" if isinstance(value, int | float) else "object"


def _is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value)


def _timestamp_error(timestamp: Any) -> str | None:
    try:
        # Python 3.10 does not know the Z.
        moment = datetime.fromisoformat(timestamp.replace("Z", "+00:00"))
    except (AttributeError, ValueError):
        return "timestamp must be an ISO 8601 date"
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    now = datetime.now(timezone.utc)
    if not now - limits.MAX_EVENT_AGE <= moment <= now + limits.MAX_EVENT_LEAD:
        return "timestamp must be between one year ago and tomorrow"
    return None

"""Event data by event type: what the user gave, in the shape and within the limits of the API.

One wrong value would make the API empty the whole object. So a value that cannot be corrected
is left out and named, and the rest arrives.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from vision_event_block.contract import limits
from vision_event_block.contract.names import EVENT_DATA_KEYS, REQUIRED_EVENT_DATA
from vision_event_block.contract.text import cut
from vision_event_block.events.adjustments import Adjustment
from vision_event_block.events.errors import UnfitEvent
from vision_event_block.events.values import as_text, plain, short_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: The block's field for each key of the API.
FIELD_OF: Final[Mapping[str, str]] = {
    "externalId": "external_id",
    "result": "qc_result",
    "location": "location",
    "itemCount": "item_count",
    "itemType": "item_type",
    "alertType": "alert_type",
    "severity": "severity",
    "description": "alert_description",
    "value": "custom_value",
    "relatedEventId": "related_event_id",
    "feedback": "feedback",
}
COMMENT_FIELD: Final = "feedback_comment"
#: Every field that holds event data, for events of any type.
DATA_FIELDS: Final = (*FIELD_OF.values(), COMMENT_FIELD)


@dataclass(frozen=True)
class EventData:
    """The API's `eventData` and top-level `comment`, and what had to be changed for them."""

    values: dict[str, Any]
    comment: str | None = None
    adjustments: list[Adjustment] = field(default_factory=list)


def event_data(event_type: str, fields: Mapping[str, Any]) -> EventData:
    """The event data of this type, from the block's fields by name.

    Raises:
        UnfitEvent: the API has no such type, or a key that it requires is missing.
    """
    if event_type not in EVENT_DATA_KEYS:
        raise UnfitEvent(
            f"event_type {cut(as_text(event_type), 60)!r} is not one of "
            f"{', '.join(limits.EVENT_TYPES)}"
        )
    adjustments: list[Adjustment] = []
    values = {}
    for key in EVENT_DATA_KEYS[event_type]:
        name = FIELD_OF[key]
        given = plain(fields.get(name))
        if given is None or given == "":
            continue
        value = _FITTERS[key](given, name, adjustments)
        if value is not None:
            values[key] = value
    for key in REQUIRED_EVENT_DATA.get(event_type, ()):
        if key not in values:
            raise UnfitEvent(_missing(FIELD_OF[key], fields.get(FIELD_OF[key])))
    comment = None
    if event_type == "operator_feedback" and fields.get(COMMENT_FIELD):
        fit = _text(limits.MAX_COMMENT_CHARS)
        comment = fit(fields[COMMENT_FIELD], COMMENT_FIELD, adjustments)
    return EventData(values, comment, adjustments)


def _missing(name: str, given: Any) -> str:
    if given is None or given == "":
        return f"an operator_feedback event needs {name}; connect it or fill it in"
    return (
        f"an operator_feedback event needs {name}; {cut(as_text(given), 60)!r} is not one of "
        f"{', '.join(limits.FEEDBACKS)}"
    )


def _text(max_chars: int) -> Callable[[Any, str, list[Adjustment]], str | None]:
    def fit(value: Any, name: str, adjustments: list[Adjustment]) -> str | None:
        text, named = short_text(value, name, max_chars=max_chars)
        adjustments += named
        return text

    return fit


def _choice(*allowed: str) -> Callable[[Any, str, list[Adjustment]], str | None]:
    def fit(value: Any, name: str, adjustments: list[Adjustment]) -> str | None:
        text = as_text(value)
        if text in allowed:
            return text
        if (simpler := text.strip().lower()) in allowed:
            adjustments.append(
                Adjustment(name, f"{text!r} became {simpler!r}", "the API knows it in lower case")
            )
            return simpler
        adjustments.append(
            Adjustment(name, f"{cut(text, 60)!r} left out", f"must be {' or '.join(allowed)}")
        )
        return None

    return fit


def _alert_type(value: Any, name: str, adjustments: list[Adjustment]) -> str | None:
    text = as_text(value)
    fitted = "".join(
        char if limits.ALERT_TYPE_PATTERN.fullmatch(char) else "_" for char in text.strip()
    )[: limits.MAX_ALERT_TYPE_CHARS]
    if fitted != text:
        adjustments.append(
            Adjustment(
                name,
                f"{cut(text, 60)!r} became {cut(fitted, 60)!r}" if fitted else f"{text!r} left out",
                f"letters, digits, '_' and '-', at most {limits.MAX_ALERT_TYPE_CHARS}",
            )
        )
    return fitted or None


def _count(value: Any, name: str, adjustments: list[Adjustment]) -> int | None:
    with suppress(TypeError, ValueError, OverflowError):
        number = float(value)
        count = value if isinstance(value, int) else int(number)
        is_in_range = count == number and 0 <= count <= limits.MAX_EXACT_INTEGER
        if is_in_range and not isinstance(value, bool):
            return count
    what = f"{cut(as_text(value), 60)!r} left out"
    adjustments.append(Adjustment(name, what, "must be a whole number from 0 up"))
    return None


_FITTERS: Final[Mapping[str, Callable[[Any, str, list[Adjustment]], Any]]] = {
    "result": _choice(*limits.QC_RESULTS),
    "externalId": _text(limits.MAX_SHORT_TEXT_CHARS),
    "location": _text(limits.MAX_SHORT_TEXT_CHARS),
    "itemCount": _count,
    "itemType": _text(limits.MAX_SHORT_TEXT_CHARS),
    "alertType": _alert_type,
    "severity": _choice(*limits.SEVERITIES),
    "description": _text(limits.MAX_LONG_TEXT_CHARS),
    "value": _text(limits.MAX_LONG_TEXT_CHARS),
    "relatedEventId": _text(limits.MAX_CONTEXT_ID_CHARS),
    "feedback": _choice(*limits.FEEDBACKS),
}

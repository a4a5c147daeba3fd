"""The filters of the API's query and of the page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from vision_event_block.contract import limits
from vision_event_block.server.store.timestamps import microseconds

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

Operator = Literal["eq", "neq", "gt", "gte", "lt", "lte", "contains"]
ValueType = Literal["string", "number", "boolean"]
Value = str | float | bool

#: The operators for each type of value. `contains` and the order of text are case-sensitive.
OPERATORS: Final[Mapping[ValueType, tuple[Operator, ...]]] = {
    "string": ("eq", "neq", "contains", "gt", "gte", "lt", "lte"),
    "number": ("eq", "neq", "gt", "gte", "lt", "lte"),
    "boolean": ("eq", "neq"),
}
#: For a context id. The API names the first two.
TEXT_OPERATORS: Final[tuple[Operator, ...]] = ("eq", "neq", "contains")
DETECTION_OPERATORS: Final = ("eq", "neq", "in", "not_in")
CONFIDENCE_OPERATORS: Final[tuple[Operator, ...]] = ("gt", "gte", "lt", "lte")
#: The fields to filter on: the event's type, keys of `eventData`, and the top-level `comment`.
EVENT_FIELDS: Final[Mapping[str, ValueType]] = {
    "eventType": "string",
    "result": "string",
    "externalId": "string",
    "location": "string",
    "itemCount": "number",
    "itemType": "string",
    "alertType": "string",
    "severity": "string",
    "description": "string",
    "value": "string",
    "relatedEventId": "string",
    "feedback": "string",
    "comment": "string",
}
#: Each field under both of its names: in snake case, as in the API, and as events spell it.
COLUMNS: Final[Mapping[str, str]] = {
    **{
        re.sub("[A-Z]", lambda capital: f"_{capital[0].lower()}", name): name
        for name in EVENT_FIELDS
    },
    **{name: name for name in EVENT_FIELDS},
}
FEEDBACK_STATES: Final = (*limits.FEEDBACKS, "none")
MAX_EVENT_TYPES: Final = 20
#: For each list of conditions. The API names no limit; this one is ours.
MAX_CONDITIONS: Final = 20
#: For one condition on detections, likewise.
MAX_CLASSES: Final = 100
#: Events per page.
DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1_000


@dataclass(frozen=True)
class Condition:
    """A condition on a text: `eq`, `neq` or `contains`. `neq` also holds where there is no text."""

    operator: Operator
    value: str


@dataclass(frozen=True)
class FieldCondition:
    """A condition on a field. `neq` also holds for events without the field."""

    field: str
    operator: Operator
    value: Value
    type: ValueType


@dataclass(frozen=True)
class Confidence:
    operator: Operator
    value: float


@dataclass(frozen=True)
class Detection:
    """A detection that an event must have, or must not have: in any list of any of its images."""

    #: Any of these; empty for any class.
    classes: tuple[str, ...] = ()
    confidence: Confidence | None = None
    is_negated: bool = False


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Selects the events of one use case for which all given conditions hold."""

    use_case_id: str
    #: Both ends are part of the period.
    start: datetime | None = None
    end: datetime | None = None
    #: Any of these; empty for any type.
    event_types: tuple[str, ...] = ()
    device_id: Condition | None = None
    stream_id: Condition | None = None
    workflow_id: Condition | None = None
    external_id: Condition | None = None
    metadata: tuple[FieldCondition, ...] = ()
    #: What any image of the event must have; with `neq`, what none may have.
    image_metadata: tuple[FieldCondition, ...] = ()
    event_fields: tuple[FieldCondition, ...] = ()
    detections: tuple[Detection, ...] = ()
    #: The number of images.
    image_count: FieldCondition | None = None
    #: Any of these FEEDBACK_STATES; empty for any state.
    feedback: tuple[str, ...] = ()
    has_warnings: bool | None = None
    is_pinned: bool | None = None

    def bounds_us(self, since_us: int | None) -> tuple[int | None, int | None]:
        """The first and last microsecond of the period, not before `since_us`; None if open."""
        start = None if self.start is None else microseconds(self.start)
        firsts = [each for each in (since_us, start) if each is not None]
        return max(firsts, default=None), None if self.end is None else microseconds(self.end)

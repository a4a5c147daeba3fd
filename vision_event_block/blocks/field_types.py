"""Types of the block's fields: a value of the field's own type, or a wire to a step or input."""

# ruff: noqa: UP006, UP007, UP035, UP045 - the engine reads the JSON schema, and the spelling with typing's old
# names gives the same schema on every Python.

from __future__ import annotations

from typing import TYPE_CHECKING, List, Literal, Optional, Union

from pydantic import NonNegativeFloat, NonNegativeInt
from pydantic.json_schema import SkipJsonSchema

from vision_event_block import host
from vision_event_block.blocks import track_inputs
from vision_event_block.contract import limits

if TYPE_CHECKING:
    Picture = str | None
    Predictions = str | None
    RequiredPicture = str
    TrackedPredictions = str
    Report = str
    Pictures = str
    Classes = list[str] | str | None
    ManyPredictions = list[str]
    Text = str | None
    Count = int | str | None
    Seconds = float | str
    Number = float | str
    Switch = bool | str
    Moment = str | float | None
    SmallNumber = int | str | None
    Share = float | str | None
    UseCase = str
    Durability = str
    NotInTheForm = str
    EventType = str
    QcResult = str | None
    Severity = str | None
    Feedback = str | None
    MetadataValue = str | int | float | bool
else:
    _text_kinds = host.kinds(
        host.STRING_KIND, host.TOP_CLASS_KIND, host.INTEGER_KIND, host.FLOAT_KIND
    )
    _text_selector = host.Selector(kind=_text_kinds)
    _string_selector = host.Selector(kind=host.kinds(host.STRING_KIND, host.TOP_CLASS_KIND))
    _numbers = host.kinds(host.INTEGER_KIND, host.FLOAT_KIND)
    Picture = Optional[host.Selector(kind=[host.IMAGE_KIND])]
    Predictions = Optional[host.Selector(kind=host.PREDICTION_KINDS)]
    RequiredPicture = host.Selector(kind=[host.IMAGE_KIND])
    TrackedPredictions = host.Selector(kind=host.TRACKED_KINDS)
    Report = Union[Literal[track_inputs.REPORTS], host.Selector(kind=[host.STRING_KIND])]
    Pictures = Union[Literal[track_inputs.PICTURES], host.Selector(kind=[host.STRING_KIND])]
    Classes = Optional[Union[List[str], host.Selector(kind=[host.LIST_OF_VALUES_KIND])]]
    ManyPredictions = List[host.Selector(kind=host.PREDICTION_KINDS)]
    Text = Optional[Union[_text_selector, str]]
    Count = Optional[Union[host.Selector(kind=_numbers), NonNegativeInt]]
    Seconds = Union[NonNegativeInt, NonNegativeFloat, host.Selector(kind=_numbers)]
    Number = Seconds
    Switch = Union[bool, host.Selector(kind=[host.BOOLEAN_KIND])]
    Moment = Optional[
        Union[host.Selector(kind=host.kinds(host.TIMESTAMP_KIND, *_text_kinds)), str, int, float]
    ]
    SmallNumber = Optional[Union[int, host.Selector(kind=[host.INTEGER_KIND])]]
    Share = Optional[Union[float, host.Selector(kind=[host.FLOAT_KIND])]]
    UseCase = Union[str, host.Selector(kind=host.kinds(host.USE_CASE_KIND, host.STRING_KIND))]
    Durability = Union[Literal["disk", "memory"], host.Selector(kind=[host.STRING_KIND])]
    NotInTheForm = SkipJsonSchema[str]
    EventType = Union[Literal[limits.EVENT_TYPES], host.Selector(kind=[host.STRING_KIND])]
    QcResult = Optional[Union[_string_selector, Literal[limits.QC_RESULTS]]]
    Severity = Optional[Union[_string_selector, Literal[limits.SEVERITIES]]]
    Feedback = Optional[Union[_string_selector, Literal[limits.FEEDBACKS]]]
    MetadataValue = Union[str, int, float, bool, host.Selector()]

"""What an event can be filtered by, and what is counted and charted. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal

from vision_event_block.contract import limits
from vision_event_block.contract.names import ANNOTATION_LISTS, SOURCE_IDS
from vision_event_block.server.store.image_metadata import image_metadata
from vision_event_block.server.store.records import is_picture_id
from vision_event_block.server.store.schema import MAX_KEY_CHARS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vision_event_block.server.store.filters import ValueType
    from vision_event_block.server.store.records import NewEvent

Part = Literal["context", "data", "metadata", "image", "class"]


@dataclass(frozen=True)
class Field:
    """A field of the events of one use case; one name may have fields of several types."""

    part: Part
    name: str
    type: ValueType


@dataclass(frozen=True)
class Facet:
    """A field with a value. Numbers are compared as numbers, everything else by key and text."""

    field: Field
    #: Distinguishes the values of one event; empty for a number if the field can have only one.
    key: str
    #: The whole text, if it is longer than the key.
    text: str | None = None
    number: float | None = None
    #: For a detected class: the highest and the lowest confidence.
    confidence: float | None = None
    least_confidence: float | None = None

    def row(self, event_no: int, field_no: int, time_us: int) -> dict[str, Any]:
        return {
            "event_no": event_no,
            "field_no": field_no,
            "key": self.key,
            "text": self.text,
            "number": self.number,
            "confidence": self.confidence,
            "least_confidence": self.least_confidence,
            "time_us": time_us,
        }


EVENT_TYPE: Final = Field("context", "eventType", "string")
DEVICE_ID: Final = Field("context", "deviceId", "string")
STREAM_ID: Final = Field("context", "streamId", "string")
WORKFLOW_ID: Final = Field("context", "workflowId", "string")
HAS_WARNINGS: Final = Field("context", "hasWarnings", "boolean")
FEEDBACK: Final = Field("context", "feedbackStatus", "string")
#: Only on events that the clean-up must not delete; others do not have this facet.
PINNED: Final = Field("context", "isPinned", "boolean")
EXTERNAL_ID: Final = Field("data", "externalId", "string")
RESULT: Final = Field("data", "result", "string")
SEVERITY: Final = Field("data", "severity", "string")
CLASS: Final = Field("class", "class", "string")
#: Detections of any class: one facet with an empty key, for their confidences.
ANY_CLASS: Final = Field("class", "any", "string")
IMAGE_COUNT: Final = Field("context", "imageCount", "number")

#: What charts show by default.
CHARTED: Final = (EVENT_TYPE, RESULT, SEVERITY, CLASS)
#: Facets that are set after an event was written.
LATER: Final = (FEEDBACK, PINNED)

#: Values of image metadata by which one event can be found; the rest are only shown.
MAX_IMAGE_VALUES: Final = 1000


def facets_of(event: NewEvent) -> list[Facet]:
    """Everything that the event can be filtered by.

    A field occurs once, except classes and image metadata, which may occur several times.
    """
    body = event.body
    context = {EVENT_TYPE.name: event.event_type} | {
        name: body.get(name) for name in ("deviceId", "streamId", "workflowId", "workflowVersion")
    }
    if event.warnings:
        context[HAS_WARNINGS.name] = True
    data = {**_mapping(body.get("eventData")), "comment": body.get("comment")}
    found = [
        *_scalars("context", context),
        *_scalars("data", data),
        *_scalars("metadata", _mapping(body.get("customMetadata"))),
        *islice(_of_images(body), MAX_IMAGE_VALUES),
        *picture_facets(body),
    ]
    return list({(facet.field, facet.key): facet for facet in found}.values())


def picture_facets(body: Mapping[str, Any]) -> list[Facet]:
    """How many images the event has, and which classes were detected in them, each once."""
    images = _images(body)
    found: dict[str, list[float]] = {}
    for image in images:
        for name in ANNOTATION_LISTS:
            for annotation in image.get(name) or ():
                class_name = annotation.get("class")
                if isinstance(class_name, str):
                    # Only the first characters of longer names count.
                    sure = found.setdefault(storable(class_name)[:MAX_KEY_CHARS], [])
                    confidence = _finite(annotation.get("confidence"))
                    sure += [] if confidence is None else [confidence]
    everything = [confidence for sure in found.values() for confidence in sure]
    return [
        Facet(IMAGE_COUNT, "", number=float(len(images))),
        *(_seen(CLASS, class_name, sure) for class_name, sure in found.items()),
        *([_seen(ANY_CLASS, "", everything)] if everything else []),
    ]


def text_facet(field: Field, value: str) -> Facet:
    value = storable(value)
    whole = value if len(value) > MAX_KEY_CHARS else None
    return Facet(field, value[:MAX_KEY_CHARS], text=whole)


def storable(value: str) -> str:
    """Text as both databases can hold it: NUL and half surrogate pairs become question marks."""
    return value.replace("\0", "?").encode("utf-8", "replace").decode()


def verdict_of(event: NewEvent) -> tuple[str, str] | None:
    """For operator feedback: the id of the event that it is about, and the verdict."""
    data = _mapping(event.body.get("eventData"))
    subject_id, feedback = data.get("relatedEventId"), data.get("feedback")
    if event.event_type != "operator_feedback" or feedback not in limits.FEEDBACKS:
        return None
    return (storable(subject_id), feedback) if isinstance(subject_id, str) else None


def pictures_of(event_as_it_came: Mapping[str, Any]) -> dict[str, bool]:
    """The pictures of this store that an event refers to, and whether each is an annotated one.

    They need not exist. Pictures of images that broke a rule are included: they may be forwarded
    as they came.
    """
    images = event_as_it_came.get("images")
    found: dict[str, bool] = {}
    for image in images if isinstance(images, list) else ():
        for key in SOURCE_IDS if isinstance(image, dict) else ():
            if is_picture_id(image.get(key)):
                is_output = key == SOURCE_IDS.output
                found[image[key]] = found.get(image[key], False) or is_output
    return found


def _scalars(part: Part, values: Mapping[str, Any]) -> Iterator[Facet]:
    for given_name, value in values.items():
        name = storable(given_name)
        if isinstance(value, bool):
            yield Facet(Field(part, name, "boolean"), "true" if value else "false")
        elif isinstance(value, (int, float)):
            number = _finite(value)
            if number is not None:
                yield Facet(Field(part, name, "number"), "", number=number)
        elif isinstance(value, str):
            yield text_facet(Field(part, name, "string"), value)


def _of_images(body: Mapping[str, Any]) -> Iterator[Facet]:
    for image in _images(body):
        for facet in _scalars("image", image_metadata(image)):
            yield facet if facet.number is None else replace(facet, key=repr(facet.number))


def _seen(field: Field, key: str, sure: list[float]) -> Facet:
    return Facet(
        field,
        key,
        confidence=max(sure, default=None),
        least_confidence=min(sure, default=None),
    )


def _images(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    return body.get("images") or []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None

"""The shapes of events, for the OpenAPI document.

They say what is right. What is nearly right is taken too, with warnings: see `ingest`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from vision_event_block.contract import limits
from vision_event_block.server.api.event_rules import MAX_EVENT_ID_CHARS

EventType = Literal[
    "quality_check", "inventory_count", "safety_alert", "custom", "operator_feedback"
]
ContextId = Annotated[str, Field(max_length=limits.MAX_CONTEXT_ID_CHARS)]
Version = Annotated[str, Field(max_length=limits.MAX_WORKFLOW_VERSION_CHARS)]
ShortText = Annotated[str, Field(max_length=limits.MAX_SHORT_TEXT_CHARS)]
LongText = Annotated[str, Field(max_length=limits.MAX_LONG_TEXT_CHARS)]
Time = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Confidence = Annotated[float, Field(ge=0, le=1)]
Metadata = Annotated[
    dict[str, str | float | bool],
    Field(
        max_length=limits.MAX_METADATA_KEYS,
        description="Flat. Keys of letters, digits, `_`, `-` and spaces, at most "
        f"{limits.MAX_METADATA_KEY_CHARS} characters; texts of at most "
        f"{limits.MAX_METADATA_VALUE_CHARS}; numbers with up to {limits.METADATA_DECIMALS} "
        "decimals.",
    ),
]


def optional(**about: Any) -> Any:
    """A field that may be absent, which is not the same as null."""
    return Field(default=None, json_schema_extra=_without_default, **about)


def _without_default(schema: dict[str, Any]) -> None:
    del schema["default"]


class Model(BaseModel):
    """A shape with these keys and no other."""

    model_config = ConfigDict(extra="forbid")


class QualityCheck(Model):
    """The data of a `quality_check`."""

    result: Literal["pass", "fail"] = optional()
    external_id: ShortText = optional(alias="externalId")


class InventoryCount(Model):
    """The data of an `inventory_count`."""

    location: ShortText = optional()
    item_count: int = optional(alias="itemCount", ge=0)
    item_type: ShortText = optional(alias="itemType")
    external_id: ShortText = optional(alias="externalId")


class SafetyAlert(Model):
    """The data of a `safety_alert`."""

    alert_type: str = optional(
        alias="alertType",
        max_length=limits.MAX_ALERT_TYPE_CHARS,
        pattern=f"^{limits.ALERT_TYPE_PATTERN.pattern}$",
    )
    severity: Literal["low", "medium", "high"] = optional()
    description: LongText = optional()
    external_id: ShortText = optional(alias="externalId")


class Custom(Model):
    """The data of a `custom` event."""

    value: LongText = optional()
    external_id: ShortText = optional(alias="externalId")


class OperatorFeedback(Model):
    """The data of `operator_feedback`."""

    related_event_id: str = Field(alias="relatedEventId", max_length=MAX_EVENT_ID_CHARS)
    feedback: Literal["correct", "incorrect", "inconclusive"]


EventData = QualityCheck | InventoryCount | SafetyAlert | Custom | OperatorFeedback


class Classification(Model):
    """A class of the whole picture."""

    class_: str = Field(alias="class")
    confidence: Confidence


class ObjectDetection(Classification):
    """A box: its centre and size in pixels of the picture."""

    x: float
    y: float
    width: float
    height: float


class InstanceSegmentation(ObjectDetection):
    """A box with an outline."""

    points: list[Annotated[list[float], Field(min_length=2, max_length=2)]] = Field(
        min_length=limits.MIN_POLYGON_POINTS
    )


class KeyPoint(Model):
    """A point of a skeleton, in pixels of the picture."""

    id: float | str
    x: float
    y: float
    occluded: bool = False


class KeyPointDetection(ObjectDetection):
    """A box with a skeleton."""

    keypoints: list[KeyPoint] = Field(min_length=limits.MIN_KEYPOINTS)


class Annotations(Model):
    """What was seen on a picture."""

    label: str = optional()
    object_detections: list[ObjectDetection] = Field(
        alias="objectDetections", default=[], max_length=limits.MAX_ANNOTATIONS
    )
    classifications: list[Classification] = Field(default=[], max_length=limits.MAX_ANNOTATIONS)
    instance_segmentations: list[InstanceSegmentation] = Field(
        alias="instanceSegmentations", default=[], max_length=limits.MAX_ANNOTATIONS
    )
    keypoints: list[KeyPointDetection] = Field(default=[], max_length=limits.MAX_ANNOTATIONS)


class Image(Annotations):
    """A view of an event."""

    source_id: str = optional(
        alias="sourceId", description="The annotated picture, by its upload id."
    )
    input_source_id: str = optional(
        alias="inputSourceId", description="The original, by its upload id."
    )


class NewEvent(Model):
    """An event.

    `eventId`, `eventType`, `useCaseId` and `timestamp` are checked strictly. Anything else that
    is wrong is left out, and named in the `warnings` of the reply; so are an id and a time that
    the server made.
    """

    event_id: str = optional(
        alias="eventId",
        min_length=1,
        max_length=MAX_EVENT_ID_CHARS,
        description="The same id again overwrites the earlier event. Without one the server makes "
        "it, and an event that is sent again is there twice.",
    )
    event_type: EventType = Field(alias="eventType")
    use_case_id: str = Field(
        alias="useCaseId",
        min_length=1,
        max_length=limits.MAX_USE_CASE_ID_CHARS,
        description="The id of an active use case, or its exact name. The id is what is kept.",
    )
    timestamp: Time = optional(
        description="Between one year ago and tomorrow. Without one it is the time of arrival."
    )
    event_data: EventData = optional(alias="eventData")
    device_id: ContextId = optional(alias="deviceId")
    stream_id: ContextId = optional(alias="streamId")
    workflow_id: ContextId = optional(alias="workflowId")
    workflow_version: Version = optional(alias="workflowVersion")
    images: list[Image] = Field(default=[], max_length=limits.MAX_IMAGES)
    display_image_position: int = optional(alias="displayImagePosition", ge=0, lt=limits.MAX_IMAGES)
    custom_metadata: Metadata = Field(alias="customMetadata", default={})
    comment: str = optional(
        max_length=limits.MAX_COMMENT_CHARS, description="The note beside operator feedback."
    )


class DeviceImage(Annotations):
    """A view of an event, with its pictures."""

    base64_image: str | None = Field(alias="base64Image", default=None)
    input_base64_image: str | None = Field(alias="inputBase64Image", default=None)


class DeviceEvent(Model):
    """An event as devices send it to their event store."""

    model_config = ConfigDict(extra="ignore")

    inference_timestamp: Time
    event_schema: EventType
    event_data: EventData = Field(description="Unknown keys are refused.")
    images: list[DeviceImage] = Field(default=[], max_length=limits.MAX_IMAGES)
    solution: str | None = Field(
        default=None, max_length=limits.MAX_USE_CASE_ID_CHARS, description="The use case."
    )
    custom_metadata: Metadata = {}
    display_image_position: int | None = Field(alias="displayImagePosition", default=None)
    device_id: ContextId | None = None
    stream_id: ContextId | None = None
    workflow_id: ContextId | None = None
    workflow_version: Version | None = None

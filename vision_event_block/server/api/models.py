"""The shapes of bodies and answers, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

from vision_event_block.contract import limits
from vision_event_block.server.api.event_models import (
    Confidence,
    DeviceEvent,
    EventType,
    Model,
    NewEvent,
    Time,
    optional,
)
from vision_event_block.server.api.event_rules import MAX_EVENT_ID_CHARS

Status = Literal["active", "inactive"]


class Error(Model):
    """What went wrong."""

    error: str


class EventStoreError(BaseModel):
    """What went wrong, as the event store says it."""

    detail: str
    error: str | None = None


class EventWarning(Model):
    """Something about an event that was left out or made, and why."""

    type: str = Field(examples=["any.required", "any.only", "object.unknown"])
    path: str = Field(examples=["eventData.feedback"])
    value: Any
    value_type: Literal["string", "number", "boolean", "object"] = Field(alias="valueType")


class BatchWarning(EventWarning):
    """A warning about one event of many."""

    event_id: str = Field(alias="eventId")


class Deprecation(Model):
    """An old name that was used."""

    field: str
    replacement: str
    message: str = Field(examples=["use useCaseId"])


class BatchDeprecation(Deprecation):
    """An old name that was used in one event of many."""

    event_id: str = Field(alias="eventId")


class Created(Model):
    """An event that is on disk now."""

    event_id: str = Field(alias="eventId")
    created: Literal[True]
    warnings: list[EventWarning] = optional()
    deprecations: list[Deprecation] = optional()


class Batch(Model):
    """Events, all or none of which are stored."""

    events: list[NewEvent] = Field(min_length=1, max_length=limits.MAX_BATCH_EVENTS)


class BatchCreated(Model):
    """Events that are on disk now."""

    created: int
    event_ids: list[str] = Field(alias="eventIds")
    warnings: list[BatchWarning] = optional()
    deprecations: list[BatchDeprecation] = optional()


class Condition(Model):
    """What a field must be."""

    operator: Literal["eq", "neq", "contains"] = "eq"
    value: str


class MetadataCondition(Model):
    """What a key of the custom metadata must be."""

    field: str
    operator: Literal["eq", "neq", "gt", "gte", "lt", "lte", "contains"]
    value: str | float | bool
    type: Literal["string", "number", "boolean"] | None = None


class EventFieldCondition(Model):
    """What a key of the event data must be."""

    column: str
    operator: Literal["eq", "neq", "gt", "gte", "lt", "lte", "contains"]
    value: str | float | bool


class DetectionClass(Model):
    """A class that was seen."""

    class_: str = Field(alias="class")
    min_confidence: Confidence | None = Field(alias="minConfidence", default=None)


class Query(Model):
    """Which events; all conditions hold together."""

    use_case_id: str = Field(
        alias="useCaseId", description="An id, or the exact name of an active use case."
    )
    start_time: Time | None = Field(alias="startTime", default=None)
    end_time: Time | None = Field(alias="endTime", default=None)
    event_type: EventType | None = Field(alias="eventType", default=None)
    event_types: list[EventType] = Field(alias="eventTypes", default=[], max_length=20)
    device_id: Condition | None = Field(alias="deviceId", default=None)
    stream_id: Condition | None = Field(alias="streamId", default=None)
    workflow_id: Condition | None = Field(alias="workflowId", default=None)
    external_id: Condition | None = Field(alias="externalId", default=None)
    custom_metadata_filters: list[MetadataCondition] = Field(
        alias="customMetadataFilters", default=[]
    )
    event_field_filters: list[EventFieldCondition] = Field(alias="eventFieldFilters", default=[])
    detection_class: DetectionClass | None = Field(
        alias="detectionClass", default=None, description="An extension of this server."
    )
    feedback_status: Literal["correct", "incorrect", "inconclusive", "none"] | None = Field(
        alias="feedbackStatus", default=None, description="An extension of this server."
    )
    has_warnings: bool | None = Field(
        alias="hasWarnings", default=None, description="An extension of this server."
    )
    limit: int = Field(default=50, ge=1, description="More than 100 counts as 100.")
    cursor: str | None = Field(default=None, description="`nextCursor` of the page before.")


class Event(NewEvent):
    """An event as it is kept."""

    event_id: str = Field(alias="eventId", min_length=1, max_length=MAX_EVENT_ID_CHARS)
    timestamp: Time
    warnings: list[EventWarning] = optional()


class Events(Model):
    """A page of events, newest first."""

    events: list[Event]
    next_cursor: str | None = Field(alias="nextCursor")
    has_more: bool = Field(alias="hasMore")
    lookback_days: float | None = Field(
        alias="lookbackDays", description="Older events are not found; null is no limit."
    )


class UseCase(Model):
    """A use case."""

    id: str
    name: str
    status: Status
    workspace_id: str = Field(alias="workspaceId")
    created_at: Time = Field(alias="createdAt")
    updated_at: Time = Field(alias="updatedAt")
    event_count: int = Field(alias="eventCount")


class UseCases(Model):
    """The use cases of a status."""

    use_cases: list[UseCase] = Field(alias="useCases")
    lookback_days: float | None = Field(alias="lookbackDays")


class NewUseCase(Model):
    """A use case to create."""

    name: str = Field(min_length=1, max_length=limits.MAX_USE_CASE_ID_CHARS)
    id: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="An extension of this server: an id of your choice.",
    )


class UseCaseChange(Model):
    """A new name, a new status, or both."""

    name: str | None = Field(default=None, min_length=1, max_length=limits.MAX_USE_CASE_ID_CHARS)
    status: Status | None = None


class UseCaseName(Model):
    """A use case by id and name."""

    id: str
    name: str


class Success(Model):
    """It is done."""

    success: Literal[True]


class FieldTypes(Model):
    """The types that were seen under a key."""

    types: list[Literal["string", "number", "boolean"]]


class MetadataSchema(Model):
    """The keys of custom metadata that the events of a use case have."""

    use_case_id: str = Field(alias="useCaseId")
    fields: dict[str, FieldTypes]


class Uploaded(Model):
    """A picture that is on disk now."""

    success: Literal[True]
    source_id: str = Field(alias="sourceId")
    url: str
    warnings: list[EventWarning] = optional()


class DeviceEventCreated(Model):
    """An event of a device that is on disk now."""

    id: str
    warnings: list[EventWarning] = optional()


class Workspace(Model):
    """The one workspace of this server, as far as the official SDK asks."""

    workspace: Any


class Health(Model):
    """The server is there."""

    status: Literal["ok"]
    version: str


BODIES: Final = (NewEvent, Batch, Query, NewUseCase, UseCaseChange, DeviceEvent)


def body_schemas() -> dict[str, Any]:
    """The schemas of what routes take and parse themselves, by name."""
    _, document = models_json_schema(
        [(model, "validation") for model in BODIES],
        ref_template="#/components/schemas/{model}",
    )
    schemas: dict[str, Any] = document["$defs"]
    return schemas

"""The schemas of replies, for the OpenAPI document. Those of requests are in `bodies`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

Time = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
#: As `bodies` has it.
Event = Annotated[dict[str, Any], WithJsonSchema({"$ref": "#/components/schemas/Event"})]


def optional(**about: Any) -> Any:
    """A field that may be absent, which is not the same as null."""
    return Field(default=None, json_schema_extra=_without_default, **about)


def _without_default(schema: dict[str, Any]) -> None:
    del schema["default"]


class Model(BaseModel):
    """A schema with exactly these keys."""

    model_config = ConfigDict(extra="forbid")


class Error(Model):
    """What went wrong."""

    error: str


class EventStoreError(Model):
    """What went wrong, in the event store's format."""

    detail: str


class EventWarning(Model):
    """A part of an event that was left out or generated, and why."""

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


class BatchCreated(Model):
    """Events that are on disk now."""

    created: int
    event_ids: list[str] = Field(alias="eventIds")
    warnings: list[BatchWarning] = optional()
    deprecations: list[BatchDeprecation] = optional()


class Events(Model):
    """A page of events, newest first."""

    events: list[Event]
    next_cursor: str | None = Field(alias="nextCursor")
    has_more: bool = Field(alias="hasMore")
    lookback_days: float | None = Field(
        alias="lookbackDays", description="Older events are not found; null means no limit."
    )


class Withdrawn(Model):
    """What a relay did about deleted events."""

    withdrawn: int = Field(description="Were still waiting, and will not be sent.")
    remote: int = Field(description="Are or may be in the cloud, and stay there.")
    deleted: int = Field(description="Were deleted from the cloud as well (`--forward-deletes`).")


class EventsDeleted(Model):
    """Events that are gone."""

    deleted: int
    not_found: list[str] = Field(alias="notFound", description="Not events of this use case.")
    forwarding: Withdrawn = optional(description="On a relay only.")


class EventsPinned(Model):
    """Events that are now pinned, or no longer."""

    changed: int = Field(description="Now are as requested, including those that already were.")
    not_found: list[str] = Field(alias="notFound", description="Not events of this use case.")


class ListedUseCase(Model):
    """A use case."""

    id: str
    name: str
    status: Literal["active", "inactive"]
    workspace_id: str = Field(alias="workspaceId")
    created_at: Time = Field(alias="createdAt")
    updated_at: Time = Field(alias="updatedAt")
    event_count: int = Field(alias="eventCount")


class UseCaseList(Model):
    """The use cases of a status."""

    use_cases: list[ListedUseCase] = Field(alias="useCases")
    lookback_days: float | None = Field(alias="lookbackDays")


class UseCaseName(Model):
    """A use case by id and name."""

    id: str
    name: str


class Success(Model):
    """It is done."""

    success: Literal[True]


class FieldTypes(Model):
    """The types seen under a key."""

    types: list[Literal["string", "number", "boolean"]]


class MetadataSchema(Model):
    """The keys of metadata that the events of a use case have, or their images."""

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
    """The one workspace of this server, with what the official SDK asks for."""

    workspace: Any


class Health(Model):
    """The server is up."""

    status: Literal["ok"]
    version: str

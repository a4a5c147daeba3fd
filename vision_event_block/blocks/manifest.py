"""What the forms of both blocks have in common: the event's data, its context, where it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Final  # noqa: UP035 - as in field_types

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from vision_event_block import host
from vision_event_block.blocks import editor, inputs, step_definition, track_inputs
from vision_event_block.blocks import field_types as types
from vision_event_block.contract import limits
from vision_event_block.events.times import parse_time
from vision_event_block.story.ring import DEFAULT_FPS, DEFAULT_SIDE_PX

if TYPE_CHECKING:
    from collections.abc import Callable

#: The blocks of this plugin.
BLOCK_TYPES: Final = ("vision_event_block/vision_event@v1", "vision_event_block/track_event@v1")
#: What a literal value of a field must pass, beyond its type; some fields are of one block only.
_CHECKS: dict[str, Callable[[Any], object]] = {
    "timestamp": parse_time,
    "jpeg_quality": inputs.jpeg_quality,
    "max_image_side": inputs.max_image_side,
    "max_open": track_inputs.max_open,
    "occluded_below": inputs.share,
    "sample_percent": inputs.sample_percent,
    "before_seconds": inputs.story_seconds,
    "after_seconds": inputs.story_seconds,
    "story_fps": inputs.story_fps,
    "story_side": inputs.story_side,
}


#: The engine asks for them with each run.
_OUTPUTS = (
    host.OutputDefinition(name="error_status", kind=[host.BOOLEAN_KIND]),
    host.OutputDefinition(name="throttling_status", kind=[host.BOOLEAN_KIND]),
    host.OutputDefinition(name="event_id", kind=[host.STRING_KIND]),
    host.OutputDefinition(name="message", kind=[host.STRING_KIND]),
    host.OutputDefinition(name="delivery_status", kind=[host.STRING_KIND]),
)


class EventManifest(host.WorkflowBlockManifest):
    # The engine tries out the values of a run's input parameters by assigning them here, and
    # ends the whole run if one does not fit. The block takes them as they come and names what
    # is wrong with them; a wrong literal is still an error when the workflow is compiled.
    model_config = ConfigDict(validate_assignment=False)

    event_type: types.EventType = Field(
        title="Event Type",
        description="The kind of event. It determines which data the event can hold.",
        examples=["quality_check", "$inputs.event_type"],
        json_schema_extra={
            **editor.FIRST,
            **editor.choices(
                quality_check=("Quality Check", "A part was inspected: pass or fail"),
                inventory_count=("Inventory Count", "Items were counted at a location"),
                safety_alert=("Safety Alert", "Something dangerous was seen, with its severity"),
                custom=("Custom", "Anything else, with your own text"),
                operator_feedback=("Operator Feedback", "A person judged an earlier event"),
            ),
        },
    )
    use_case: types.UseCase = Field(
        default="",
        title="Use Case",
        description="The use case the event belongs to. It must exist and be active.",
        examples=["my-use-case", "$inputs.use_case"],
        json_schema_extra=editor.FIRST,
    )
    solution: types.UseCase = Field(
        default="",
        title="Use Case (older name)",
        description="The official block's name for Use Case. Use only one of the two.",
        examples=["my-use-case", "$inputs.use_case"],
        json_schema_extra=editor.ADVANCED,
    )

    qc_result: types.QcResult = Field(
        default=None,
        title="Result",
        description="Result of the quality check: pass or fail.",
        examples=["pass", "$steps.verdict.output"],
        json_schema_extra={
            **editor.only_for("quality_check", first=True),
            **editor.choices(
                **{"pass": ("Pass", "The part is good"), "fail": ("Fail", "The part is not good")}
            ),
        },
    )
    item_count: types.Count = Field(
        default=None,
        title="Item Count",
        description="How many items were counted: a whole number, 0 or more.",
        examples=[18, "$steps.count.output"],
        json_schema_extra=editor.only_for("inventory_count", first=True),
    )
    item_type: types.Text = Field(
        default=None,
        title="Item Type",
        description="What kind of item was counted.",
        examples=["pallet", "$inputs.item_type"],
        json_schema_extra=editor.only_for("inventory_count"),
    )
    location: types.Text = Field(
        default=None,
        title="Location",
        description="Where the items were counted.",
        examples=["dock-2", "$inputs.location"],
        json_schema_extra=editor.only_for("inventory_count"),
    )
    alert_type: types.Text = Field(
        default=None,
        title="Alert Type",
        description="Short name of the hazard: letters, digits, underscores and hyphens.",
        examples=["no_hardhat", "$steps.classifier.top"],
        json_schema_extra=editor.only_for("safety_alert", first=True),
    )
    severity: types.Severity = Field(
        default=None,
        title="Severity",
        description="How bad it is: low, medium or high.",
        examples=["high", "$inputs.severity"],
        json_schema_extra={
            **editor.only_for("safety_alert", first=True),
            **editor.choices(
                low=("Low", "Worth knowing"),
                medium=("Medium", "Needs attention"),
                high=("High", "Needs action now"),
            ),
        },
    )
    alert_description: types.Text = Field(
        default=None,
        title="Description",
        description="What happened, in words.",
        examples=["Person without hard hat in zone B"],
        json_schema_extra={**editor.only_for("safety_alert"), "multiline": True},
    )
    custom_value: types.Text = Field(
        default=None,
        title="Value",
        description="The text of the custom event.",
        examples=["belt stopped", "$steps.reader.text"],
        json_schema_extra=editor.only_for("custom", first=True),
    )
    related_event_id: types.Text = Field(
        default=None,
        title="Related Event ID",
        description="Id of the event being judged: the block's output `event_id`.",
        examples=["$inputs.event_id"],
        json_schema_extra=editor.only_for("operator_feedback", first=True),
    )
    feedback: types.Feedback = Field(
        default=None,
        title="Feedback",
        description="The operator's judgement: correct, incorrect or inconclusive.",
        examples=["incorrect", "$inputs.feedback"],
        json_schema_extra={
            **editor.only_for("operator_feedback", first=True),
            **editor.choices(
                correct=("Correct", "The event was right"),
                incorrect=("Incorrect", "The event was wrong"),
                inconclusive=("Inconclusive", "It is not possible to say"),
            ),
        },
    )
    feedback_comment: types.Text = Field(
        default=None,
        title="Comment",
        description="The operator's note.",
        examples=["Reflection, no scratch"],
        json_schema_extra={**editor.only_for("operator_feedback"), "multiline": True},
    )
    external_id: types.Text = Field(
        default=None,
        title="External ID",
        description="The part, batch or order in your own systems.",
        examples=["batch-2026-001", "$inputs.serial_number"],
        json_schema_extra=editor.only_for(
            "quality_check", "inventory_count", "safety_alert", "custom"
        ),
    )
    custom_metadata: Dict[str, types.MetadataValue] = Field(  # noqa: UP006
        default_factory=dict,
        title="Custom Metadata",
        description="Your own keys and values: text, numbers and booleans, up to "
        f"{limits.MAX_METADATA_KEYS}. The dashboard can filter by them.",
        examples=[{"shift": "night", "line": "$inputs.line"}],
        json_schema_extra=editor.ADVANCED,
    )

    before_seconds: types.Seconds = Field(
        default=0,
        title="Seconds Before",
        description="The event also gets small pictures of the seconds before it, each labelled "
        f"with its time offset, such as -3.5 s. At most {inputs.MAX_STORY_S:g} seconds. Needs a "
        "pipeline: over HTTP a block sees one request and nothing before it.",
        examples=[5, "$inputs.before_seconds"],
        json_schema_extra=editor.FIRST,
    )
    after_seconds: types.Seconds = Field(
        default=0,
        title="Seconds After",
        description="Like Seconds Before, for what comes after: the event is recorded "
        "immediately, and replaced under the same id when these seconds are over.",
        examples=[2, "$inputs.after_seconds"],
        json_schema_extra=editor.FIRST,
    )
    story_fps: types.Number = Field(
        default=DEFAULT_FPS,
        title="Story Pictures per Second",
        description="How many pictures a second are kept for Seconds Before and Seconds After: "
        f"more than 0, up to {inputs.MAX_STORY_FPS:g}.",
        examples=[2, "$inputs.story_fps"],
        json_schema_extra=editor.ADVANCED,
    )
    story_side: types.SmallNumber = Field(
        default=DEFAULT_SIDE_PX,
        title="Longest Story Side",
        description="These pictures are scaled down so that no side is longer, in pixels: "
        f"{inputs.MIN_STORY_SIDE_PX} to {inputs.MAX_STORY_SIDE_PX}.",
        examples=[640],
        json_schema_extra=editor.ADVANCED,
    )
    fire_and_forget: types.Switch = Field(
        default=True,
        title="Fire and Forget",
        description="On: the workflow continues immediately and the event is sent in the "
        "background. Off: the block waits for the API and reports its answer.",
        examples=[True, "$inputs.fire_and_forget"],
    )
    disable_sink: types.Switch = Field(
        default=False,
        title="Disable Sink",
        description="On: nothing is recorded.",
        examples=[False, "$inputs.disable_vision_events"],
    )

    image_metadata: Dict[str, types.MetadataValue] = Field(  # noqa: UP006
        default_factory=dict,
        title="Image Metadata",
        description="Your own keys and values about the pictures rather than the event, such as "
        "the exposure: the same for all of them. Sent only where the host sets "
        "VISION_EVENT_IMAGE_METADATA_KEY to the API's name for them.",
        examples=[{"exposure_us": 900, "lens": "$inputs.lens"}],
        json_schema_extra=editor.ADVANCED,
    )
    occluded_below: types.Share = Field(
        default=None,
        title="Occluded Below",
        description="Key points with a lower confidence, from 0 to 1, are recorded as occluded. "
        "Unset: none.",
        examples=[0.3, "$inputs.key_point_threshold"],
        json_schema_extra=editor.ADVANCED,
    )
    device_id: types.Text = Field(
        default=None,
        title="Device ID",
        description="Id of the device. Unset: the host's own device id.",
        examples=["line-3-jetson", "$inputs.device_id"],
        json_schema_extra=editor.ADVANCED,
    )
    stream_id: types.Text = Field(
        default=None,
        title="Stream ID",
        description="Id of the camera. Unset: the video source's id.",
        examples=["dock-2/main", "$inputs.stream_id"],
        json_schema_extra=editor.ADVANCED,
    )
    workflow_id: types.Text = Field(
        default=None,
        title="Workflow ID",
        description="Id of the workflow. Unset: the id in the HTTP request.",
        examples=["pallet-counter"],
        json_schema_extra=editor.ADVANCED,
    )
    workflow_version: types.Text = Field(
        default=None,
        title="Workflow Version",
        description="Version of the workflow, if you number them.",
        examples=["7"],
        json_schema_extra=editor.ADVANCED,
    )
    timestamp: types.Moment = Field(
        default=None,
        title="Timestamp",
        description="When it happened: ISO 8601, or seconds since 1970. Without a time zone "
        "it is local time. Unset: the time of the live frame, else now.",
        examples=["2026-03-01T09:15:27Z", "$inputs.captured_at"],
        json_schema_extra=editor.ADVANCED,
    )
    jpeg_quality: types.SmallNumber = Field(
        default=None,
        title="JPEG Quality",
        description="1 to 100. Unset: 95 for the input image, 85 for the others.",
        examples=[90],
        json_schema_extra=editor.ADVANCED,
    )
    max_image_side: types.SmallNumber = Field(
        default=None,
        title="Longest Image Side",
        description="Larger pictures are scaled down, together with their annotations, so that "
        "no side is longer, in pixels. Unset: full size.",
        examples=[1280],
        json_schema_extra=editor.ADVANCED,
    )
    durability: types.Durability = Field(
        default="disk",
        title="Durability",
        description="What must be done before the workflow continues. disk: the event is written "
        "to disk and survives a killed process and a power cut. memory: it is only copied, "
        "and survives a killed process but not a power cut.",
        examples=["disk", "memory", "$inputs.durability"],
        json_schema_extra={
            **editor.ADVANCED,
            **editor.choices(
                disk=("Stored", "The event is on disk before the workflow continues"),
                memory=("Fastest", "The event is only copied, and stored a moment later"),
            ),
        },
    )
    write_to_event_store: types.Switch = Field(
        default=False,
        title="Write to Event Store",
        description="On: the event goes to the Event Ingestion Service on the device instead of "
        "the cloud. Its key, if it requires one, is read from EVENT_INGESTION_API_KEY.",
        examples=[False, "$inputs.write_to_event_store"],
        json_schema_extra=editor.ADVANCED,
    )
    event_store_url: types.Text = Field(
        default="http://localhost:8001",
        title="Event Store URL",
        description="Address of the Event Ingestion Service. Any address other than the default "
        "must be allowed on the host by VISION_EVENT_STORE_URL or VISION_EVENT_STORE_ALLOWED_URLS.",
        examples=["http://localhost:8001", "$inputs.event_store_url"],
        json_schema_extra={
            **editor.ADVANCED,
            "relevant_for": {"write_to_event_store": {"values": [True], "required": False}},
        },
    )
    #: Filled in by the block itself: what tells this step's cooldown from other workflows'.
    step_fingerprint: types.NotInTheForm = ""

    @model_validator(mode="before")
    @classmethod
    def _read_step(cls, step: Any) -> Any:
        return step_definition.read_step(step, cls.model_fields) if isinstance(step, dict) else step

    @field_validator(*_CHECKS, check_fields=False)
    @classmethod
    def _check_literal(cls, value: Any, info: ValidationInfo) -> Any:
        return step_definition.checked(value, _CHECKS[str(info.field_name)])

    @classmethod
    def describe_outputs(cls) -> list[Any]:
        """The official block's four outputs, and how far the event got."""
        return list(_OUTPUTS)

    @classmethod
    def get_execution_engine_compatibility(cls) -> str:
        return ">=1.3.0,<2.0.0"

    def discover_dependent_resources(self) -> list[Any]:
        """None: no model and no project is needed."""
        return []

    def discover_work_operations(self) -> list[Any]:
        return host.work_operations("image_encoding", "storage_write", "external_request")

    def get_actual_restrictions(self, *, ignore_environment_restrictions: bool = False) -> Any:
        return host.restrictions(
            self.name, self.caveats(), of_any_host=ignore_environment_restrictions
        )

    def caveats(self) -> list[dict[str, Any]]:
        """The same in the host's words, as far as this step's fields make it matter."""
        return [step_definition.LOST_WITH_THE_DISK]

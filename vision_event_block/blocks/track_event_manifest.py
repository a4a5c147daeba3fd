"""Track Event's form: what the Workflow editor shows and what a workflow JSON may hold."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from vision_event_block import host
from vision_event_block.blocks import editor, step_definition
from vision_event_block.blocks import field_types as types
from vision_event_block.blocks.manifest import EventManifest


class TrackEventManifest(EventManifest):
    model_config = ConfigDict(
        json_schema_extra=editor.complete(
            editor.card(
                "Track Event",
                "Record one event for each tracked object: from its first frame to its last, with "
                "its best picture.",
                file="track_event.md",
                icon="fal fa-route",
                keywords=("track", "tracker", "object", "best picture", "dwell", *editor.KEYWORDS),
            ),
            before={
                "event_type": ("input_image", "predictions"),
                "before_seconds": (
                    "report",
                    "pictures",
                    "minimum_seconds",
                    "lost_after_seconds",
                    "classes",
                    "update_seconds",
                    "max_open",
                ),
            },
        )
    )
    type: Literal["vision_event_block/track_event@v1"]

    input_image: types.RequiredPicture = Field(
        title="Input Image",
        description="The frame as the camera saw it. Pictures of the objects are taken from it.",
        examples=["$inputs.image"],
        json_schema_extra=editor.FIRST,
    )
    predictions: types.TrackedPredictions = Field(
        title="Tracked Predictions",
        description="Detections with tracker ids: the output of a tracker, such as ByteTrack. "
        "Each id becomes one event.",
        examples=["$steps.byte_tracker.tracked_detections"],
        json_schema_extra=editor.FIRST,
    )
    report: types.Report = Field(
        default="start_and_end",
        title="Report",
        description="When an object's event is sent. start_and_end: as soon as the object is "
        "confirmed, and replaced by the complete event when it has left. end: only when it has "
        "left. start: only when it is confirmed.",
        examples=["start_and_end", "end", "$inputs.report"],
        json_schema_extra={
            **editor.FIRST,
            **editor.choices(
                start_and_end=("Start and End", "Sent immediately, and completed when it has left"),
                end=("End", "Sent once, when it has left"),
                start=("Start", "Sent once, when it has appeared"),
            ),
        },
    )
    pictures: types.Pictures = Field(
        default="best",
        title="Pictures",
        description="Which frames the event holds. best: the one with the most confidence and the "
        "largest box, away from the edges. first, last: of the object. first_best_last: all three.",
        examples=["best", "first_best_last", "$inputs.pictures"],
        json_schema_extra={
            **editor.FIRST,
            **editor.choices(
                best=("Best", "The frame that shows it best"),
                first=("First", "The first frame that shows it"),
                last=("Last", "The last frame that shows it; each frame is copied for this"),
                first_best_last=("First, best and last", "All three"),
            ),
        },
    )
    minimum_seconds: types.Seconds = Field(
        default=0.5,
        title="Minimum Time",
        description="An object that is seen for less than this many seconds is noise and is not "
        "recorded.",
        examples=[0.5, 2, "$inputs.minimum_seconds"],
        json_schema_extra=editor.FIRST,
    )
    lost_after_seconds: types.Seconds = Field(
        default=2,
        title="Lost After",
        description="An object has left once it has not been seen for this many seconds; after a "
        "shorter gap it is still the same object.",
        examples=[2, 5, "$inputs.lost_after_seconds"],
        json_schema_extra=editor.FIRST,
    )
    classes: types.Classes = Field(
        default=None,
        title="Classes",
        description="The classes to record. Unset: all.",
        examples=[["person", "forklift"], "$inputs.classes"],
        json_schema_extra=editor.ADVANCED,
    )
    update_seconds: types.Seconds = Field(
        default=0,
        title="Update Every",
        description="While an object is still there, its event is replaced by a newer one every "
        "this many seconds. 0: never.",
        examples=[0, 30, "$inputs.update_seconds"],
        json_schema_extra=editor.ADVANCED,
    )
    max_open: types.SmallNumber = Field(
        default=200,
        title="Most Open Objects",
        description="How many objects of a camera are followed at the same time. Beyond that, "
        "events are completed early: first those of objects out of sight, then the oldest.",
        examples=[200],
        json_schema_extra=editor.ADVANCED,
    )

    def caveats(self) -> list[dict[str, Any]]:
        return [step_definition.FOLLOWS_NOTHING_OVER_HTTP, *super().caveats()]

    @classmethod
    def describe_outputs(cls) -> list[host.OutputDefinition]:
        """Vision Event's outputs for the last change, and all changes of the frame."""
        return [
            *super().describe_outputs(),
            host.OutputDefinition(name="events", kind=[host.LIST_OF_VALUES_KIND]),
        ]

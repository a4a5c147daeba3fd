"""Vision Event's form: what the Workflow editor shows and what a workflow JSON may hold."""

from __future__ import annotations

from typing import Any, Dict, Literal  # noqa: UP035 - as in field_types

from pydantic import ConfigDict, Field

from vision_event_block.blocks import editor, step_definition
from vision_event_block.blocks import field_types as types
from vision_event_block.blocks.manifest import EventManifest


class VisionEventManifest(EventManifest):
    model_config = ConfigDict(
        json_schema_extra=editor.complete(
            editor.card(
                "Vision Event",
                "Record pictures, predictions and data as a vision event.",
                file="vision_event.md",
                icon="fal fa-camera-viewfinder",
                keywords=editor.KEYWORDS,
            ),
            before={
                "event_type": ("input_image", "output_image", "predictions"),
                "before_seconds": ("trigger", "cooldown_seconds", "cooldown_key", "sample_percent"),
                "image_metadata": ("extra_images", "extra_predictions", "more_predictions"),
                "occluded_below": ("display_image",),
            },
        )
    )
    type: Literal["vision_event_block/vision_event@v1"]

    input_image: types.Picture = Field(
        default=None,
        title="Input Image",
        description="The picture as the camera saw it. Predictions are drawn on this one.",
        examples=["$inputs.image", "$steps.crop.crops"],
        json_schema_extra=editor.FIRST,
    )
    output_image: types.Picture = Field(
        default=None,
        title="Output Image",
        description="The annotated picture, from a visualization step. "
        "The dashboard shows it first.",
        examples=["$steps.bounding_boxes.image"],
        json_schema_extra=editor.FIRST,
    )
    predictions: types.Predictions = Field(
        default=None,
        title="Predictions",
        description="What the model found: boxes, masks, key points, classes, actions, QR or bar "
        "codes. Recorded as data, in the coordinates of the input image.",
        examples=["$steps.model.predictions"],
        json_schema_extra=editor.FIRST,
    )

    trigger: types.Switch = Field(
        default=True,
        title="Trigger",
        description="Off: nothing is recorded, and the picture may become part of the story of a "
        "later event (Seconds Before). Connect the step that decides whether something happened.",
        examples=[True, "$steps.is_in_zone.output"],
        json_schema_extra=editor.FIRST,
    )
    cooldown_seconds: types.Seconds = Field(
        default=1,
        title="Cooldown",
        description="At most one event in this many seconds from each camera, Stream ID and "
        "Cooldown Key; for a video file, seconds of the video. Still pictures without any of "
        "these are counted per block, so separate requests do not throttle each other. "
        "0 records every frame.",
        examples=[1, 0.5, "$inputs.cooldown_seconds"],
        json_schema_extra=editor.FIRST,
    )
    cooldown_key: types.Text = Field(
        default=None,
        title="Cooldown Key",
        description="Events with different keys do not throttle each other: connect a class or "
        "a zone to get one event for each. Still pictures with the same key share one cooldown, "
        "across requests and servers.",
        examples=["zone-a", "$steps.classifier.top"],
        json_schema_extra=editor.ADVANCED,
    )

    sample_percent: types.Number = Field(
        default=100,
        title="Sample",
        description="The percentage of frames, 0 to 100, for which an event is recorded. The frame "
        "itself decides: all steps with the same number choose the same frames of a video.",
        examples=[100, 5, "$inputs.sample_percent"],
        json_schema_extra=editor.ADVANCED,
    )

    extra_images: Dict[str, types.Picture] = Field(  # noqa: UP006
        default_factory=dict,
        title="Extra Images",
        description="More views of the same event, such as other cameras: a label and a picture "
        "for each.",
        examples=[{"top": "$inputs.top_camera", "side": "$inputs.side_camera"}],
        json_schema_extra=editor.ADVANCED,
    )
    extra_predictions: Dict[str, types.Predictions] = Field(  # noqa: UP006
        default_factory=dict,
        title="Extra Predictions",
        description="What a model found on the extra images, by the image's label.",
        examples=[{"top": "$steps.top_model.predictions"}],
        json_schema_extra=editor.ADVANCED,
    )
    more_predictions: types.ManyPredictions = Field(
        default_factory=list,
        title="More Predictions",
        description="Further predictions on the same picture as Predictions, such as a "
        "classification in addition to boxes.",
        examples=[["$steps.classifier.predictions"]],
        json_schema_extra=editor.ADVANCED,
    )
    display_image: types.Text = Field(
        default="output",
        title="Display Image",
        description="Which picture the dashboard shows first: output, input, or the label of an "
        "extra image.",
        examples=["output", "input", "top"],
        json_schema_extra=editor.ADVANCED,
    )

    def caveats(self) -> list[dict[str, Any]]:
        declared = super().caveats()
        if self.cooldown_seconds != 0:
            declared.insert(0, step_definition.COOLDOWN_BEGINS_AGAIN)
        if self.before_seconds != 0 or self.after_seconds != 0:
            declared.append(step_definition.STORY_IS_NOT_KEPT)
        return declared

"""Behind a gate the block follows the engine's rule, as the host's own block does.

Whatever is connected and comes out of a step that did not run keeps the block from running: one
event for each frame on which the gate was open, wherever the gate stands.
"""

from __future__ import annotations

import pytest

from tests.host_environment import needs_new_host
from tests.integration.workflows import predicted, workflow

OFFICIAL = "roboflow_core/roboflow_vision_events@v1"
OURS = "vision_event_block/vision_event@v1"

FRAMES = 20
#: Those on which somebody is to be seen.
OPEN = (5, 13)

SOMEBODY = {
    "image": {"width": 640, "height": 480},
    "predictions": [
        {"x": 100, "y": 60, "width": 40, "height": 20, "confidence": 0.9, "class": "person",
         "class_id": 1, "detection_id": "d-1"}
    ],
}  # fmt: skip


def gate(*next_steps):
    """Lets a frame through while the run's parameter `open` is true."""
    return {
        "type": "roboflow_core/continue_if@v1",
        "name": "gate",
        "condition_statement": {
            "type": "StatementGroup",
            "statements": [
                {
                    "type": "BinaryStatement",
                    "left_operand": {"type": "DynamicOperand", "operand_name": "open"},
                    "comparator": {"type": "=="},
                    "right_operand": {"type": "StaticOperand", "value": True},
                }
            ],
        },
        "evaluation_parameters": {"open": "$inputs.open"},
        "next_steps": [f"$steps.{name}" for name in next_steps],
    }


#: Stands for the model: predictions in, the same predictions out.
MODEL = {
    "type": "roboflow_core/detections_transformation@v1",
    "name": "model",
    "predictions": "$inputs.p",
    "operations": [],
}
BOXES = {
    "type": "roboflow_core/bounding_box_visualization@v1",
    "name": "boxes",
    "image": "$inputs.image",
    "predictions": "$steps.model.predictions",
}
COUNT = {
    "type": "roboflow_core/property_definition@v1",
    "name": "count",
    "data": "$inputs.p",
    "operations": [{"type": "SequenceLength"}],
}
VERDICT = {
    "type": "roboflow_core/expression@v1",
    "name": "verdict",
    "data": {"p": "$inputs.p"},
    "switch": {
        "type": "CasesDefinition",
        "cases": [],
        "default": {"type": "StaticCaseResult", "value": "fail"},
    },
}
ALERT = {"event_type": "safety_alert", "severity": "high"}

#: name -> (the steps before the sink, what the sink's fields are).
GATES = {
    "before the visualization": (
        [MODEL, gate("boxes"), BOXES],
        {
            **ALERT,
            "input_image": "$inputs.image",
            "output_image": "$steps.boxes.image",
            "predictions": "$steps.model.predictions",
        },
    ),
    "before the model": (
        [gate("model"), MODEL, BOXES],
        {
            **ALERT,
            "input_image": "$inputs.image",
            "output_image": "$steps.boxes.image",
            "predictions": "$steps.model.predictions",
        },
    ),
    "before the step that gives the result": (
        [gate("verdict"), VERDICT],
        {
            "event_type": "quality_check",
            "input_image": "$inputs.image",
            "qc_result": "$steps.verdict.output",
        },
    ),
    "before a step that only data come from": (
        [gate("count"), COUNT],
        {"event_type": "inventory_count", "item_count": "$steps.count.output"},
    ),
    "before a step that metadata come from": (
        [gate("count"), COUNT],
        {
            **ALERT,
            "input_image": "$inputs.image",
            "custom_metadata": {"shift": "night", "count": "$steps.count.output"},
        },
    ),
    "on the sink with a picture": ([gate("event")], {**ALERT, "input_image": "$inputs.image"}),
    "on the sink with literals only": ([gate("event")], ALERT),
    "on the sink with a batch of texts": (
        [gate("event")],
        {"event_type": "custom", "custom_value": "$inputs.text"},
    ),
}
#: The same with fields that only ours has.
ONLY_OURS = {
    "on the sink with a device alone": ([gate("event")], {**ALERT, "device_id": "$inputs.device"}),
    "before an extra picture": (
        [MODEL, gate("boxes"), BOXES],
        {
            **ALERT,
            "input_image": "$inputs.image",
            "extra_images": {"marked": "$steps.boxes.image"},
        },
    ),
    "before further predictions": (
        [gate("model"), MODEL],
        {
            **ALERT,
            "input_image": "$inputs.image",
            "more_predictions": ["$steps.model.predictions"],
        },
    ),
    "before predictions of an extra picture": (
        [gate("model"), MODEL],
        {
            **ALERT,
            "extra_images": {"top": "$inputs.image"},
            "extra_predictions": {"top": "$steps.model.predictions"},
        },
    ),
}


@pytest.fixture
def play(api, compiled, photo):
    """A function that runs a step of a block type on every frame and gives the events."""

    def run(block_type, steps, fields):
        step = {
            "type": block_type,
            "name": "event",
            "solution": "dock",
            "fire_and_forget": False,
            "cooldown_seconds": 0,
            **fields,
        }
        inputs = [
            predicted("p"),
            predicted("text", "string"),
            {"type": "WorkflowParameter", "name": "open"},
            {"type": "WorkflowParameter", "name": "device"},
        ]
        engine = compiled(workflow(*steps, step, inputs=inputs), api_key="a-key")
        api.events.clear()
        outputs = []
        for number in range(FRAMES):
            rows = engine.run(
                runtime_parameters={
                    "image": [photo],
                    "p": [SOMEBODY],
                    "text": ["somebody"],
                    "open": number in OPEN,
                    "device": "gate-7",
                }
            )
            outputs += [row["event"] for row in rows]
        return outputs, list(api.events.values())

    return run


@pytest.mark.parametrize(("steps", "fields"), GATES.values(), ids=GATES)
def test_both_blocks_record_the_frames_on_which_the_gate_was_open(play, steps, fields):
    _, official = play(OFFICIAL, steps, fields)
    outputs, ours = play(OURS, steps, fields)

    assert len(official) == len(ours) == len(OPEN)
    recorded = [number for number, output in enumerate(outputs) if output["event_id"]]
    assert recorded == list(OPEN)
    ran = [output for output in outputs if output["delivery_status"] is not None]
    assert len(ran) == len(OPEN)


@needs_new_host("a gate did not hold back a step without any batch of its own")
@pytest.mark.parametrize(("steps", "fields"), ONLY_OURS.values(), ids=ONLY_OURS)
def test_fields_that_only_ours_has_are_held_back_too(play, steps, fields):
    outputs, ours = play(OURS, steps, fields)

    assert len(ours) == len(OPEN)
    assert [number for number, output in enumerate(outputs) if output["event_id"]] == list(OPEN)


def test_a_model_that_found_nothing_is_no_gate(play):
    _, fields = GATES["before the visualization"]

    _, ours = play(OURS, [MODEL, BOXES], fields)

    assert len(ours) == FRAMES


def test_an_event_without_its_visualization_is_recorded_where_the_workflow_says_so(play):
    steps, fields = GATES["before the visualization"]
    either = {
        "type": "roboflow_core/first_non_empty_or_default@v1",
        "name": "either",
        "data": ["$steps.boxes.image", "$inputs.image"],
        "default": None,
    }

    _, ours = play(OURS, [*steps, either], {**fields, "output_image": "$steps.either.output"})

    assert len(ours) == FRAMES

"""Workflows for the host's engine."""

from __future__ import annotations

IMAGE = {"type": "WorkflowImage", "name": "image"}


def predicted(name, kind="object_detection_prediction"):
    """An input that a model's predictions are handed in by."""
    return {"type": "WorkflowBatchInput", "name": name, "kind": [kind]}


def workflow(*steps, inputs=(), shown=("event",)):
    """Steps for the input `image` and others; it answers with all that the shown ones put out."""
    return {
        "version": "1.0",
        "inputs": [IMAGE, *inputs],
        "steps": list(steps),
        "outputs": [
            {"type": "JsonField", "name": name, "selector": f"$steps.{name}.*"} for name in shown
        ],
    }

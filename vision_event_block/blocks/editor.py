"""What the Workflow editor shows: the block's card, and how it treats each field."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

_CARD: dict[str, Any] = {
    "name": "Vision Event",
    "version": "v1",
    "short_description": "Record pictures, predictions and data as a vision event.",
    "long_description": files(__package__).joinpath("vision_event.md").read_text(encoding="utf-8"),
    "license": "Apache-2.0",
    "block_type": "sink",
    "search_keywords": [
        "vision events",
        "event",
        "record",
        "defect",
        "quality check",
        "inspection",
        "inventory",
        "count",
        "safety alert",
        "operator feedback",
        "use case",
        "dashboard",
        "sink",
    ],
    "ui_manifest": {
        "section": "data_storage",
        "icon": "fal fa-camera-viewfinder",
        "blockPriority": 0,
        "popular": True,
        # A key is not needed with a server of one's own.
        "requires_rf_key": False,
    },
}


def complete(schema: dict[str, Any]) -> None:
    """Puts into the form's schema what the fields themselves do not say."""
    schema.update(_CARD)
    # The docstring of the class is for readers of the code.
    schema.pop("description", None)
    # Neither name of the use case is required, but one of them is.
    del schema["properties"]["use_case"]["default"]
    schema["anyOf"] = [{"required": ["use_case"]}, {"required": ["solution"]}]


#: Shown without unfolding.
FIRST: dict[str, Any] = {"always_visible": True}
#: Shown apart, in a section of its own.
ADVANCED: dict[str, Any] = {"additional_section": True}


def only_for(*event_types: str, first: bool = False) -> dict[str, Any]:
    """The editor shows the field only for these event types; `first` without unfolding."""
    extra: dict[str, Any] = {
        "relevant_for": {"event_type": {"values": list(event_types), "required": True}}
    }
    return {**extra, "always_visible": True} if first else extra


def choices(**names: tuple[str, str]) -> dict[str, Any]:
    """The editor shows each value of a choice under this name, with this description."""
    return {
        "values_metadata": {
            value: {"name": name, "description": description}
            for value, (name, description) in names.items()
        }
    }

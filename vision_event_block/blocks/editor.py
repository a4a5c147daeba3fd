"""What the Workflow editor shows: a block's card, and how it treats each field."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: Words that users search for when they want to record something.
KEYWORDS: Final = (
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
)


def card(
    name: str, short_description: str, *, file: str, icon: str, keywords: Sequence[str]
) -> dict[str, Any]:
    """What the catalogue shows about a block; the file holds the long description."""
    return {
        "name": name,
        "version": "v1",
        "short_description": short_description,
        "long_description": files(__package__).joinpath(file).read_text(encoding="utf-8"),
        "license": "Apache-2.0",
        "block_type": "sink",
        "search_keywords": list(keywords),
        "ui_manifest": {
            "section": "data_storage",
            "icon": icon,
            "blockPriority": 0,
            "popular": True,
            # A server of one's own needs no key.
            "requires_rf_key": False,
        },
    }


def complete(
    card: dict[str, Any], *, before: Mapping[str, Sequence[str]]
) -> Callable[[dict[str, Any]], None]:
    """Adds to a form's schema what the fields themselves do not say.

    Args:
        card: The block's card.
        before: For a field that all blocks share, the block's own fields shown before it.
    """

    def completed(schema: dict[str, Any]) -> None:
        schema.update(card)
        own = {name for names in before.values() for name in names}
        fields = schema["properties"]
        schema["properties"] = {
            each: fields[each]
            for name in fields
            if name not in own
            for each in (*before.get(name, ()), name)
        }
        # Neither name of the use case is required, but one of them is.
        del fields["use_case"]["default"]
        schema["anyOf"] = [{"required": ["use_case"]}, {"required": ["solution"]}]

    return completed


#: Shown without unfolding.
FIRST: dict[str, Any] = {"always_visible": True}
#: Shown in a section of its own.
ADVANCED: dict[str, Any] = {"additional_section": True}


def only_for(*event_types: str, first: bool = False) -> dict[str, Any]:
    """Shows the field only for these event types; with `first`, without unfolding."""
    extra: dict[str, Any] = {
        "relevant_for": {"event_type": {"values": list(event_types), "required": True}}
    }
    return {**extra, "always_visible": True} if first else extra


def choices(**names: tuple[str, str]) -> dict[str, Any]:
    """Shows each value of a choice under this name, with this description."""
    return {
        "values_metadata": {
            value: {"name": name, "description": description}
            for value, (name, description) in names.items()
        }
    }

"""What can be told from a step's definition before anything runs."""

from __future__ import annotations

import hashlib
import json
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from vision_event_block.events.encoding import MAX_JPEG_SIDE_PX
from vision_event_block.events.errors import UnfitEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

#: Fields that hold pictures and predictions: behind a closed gate all of them arrive empty.
PICTURE_FIELDS = ("input_image", "output_image", "extra_images", "predictions")
DATA_FIELDS = (
    "external_id",
    "qc_result",
    "location",
    "item_count",
    "item_type",
    "alert_type",
    "severity",
    "alert_description",
    "custom_value",
    "related_event_id",
    "feedback",
    "feedback_comment",
)
#: The official block's name for the use case, which a step may keep when its type is changed.
USE_CASE_ALIAS = "solution"
#: Filled in from the step's definition, whatever stands there.
COMPUTED_FIELDS = ("wired_fields", "step_fingerprint")


def read_step(step: dict[str, Any], field_names: Collection[str]) -> dict[str, Any]:
    """The step's definition with our names for its fields and the list of its wires.

    Raises:
        ValueError: a field is misspelled, given twice, or asks for what this version cannot do.
    """
    known = {*field_names, USE_CASE_ALIAS}
    for name in step:
        # Other unknown fields are the editor's or another version's and do no harm.
        alike = [] if name in known else get_close_matches(name, known, n=1, cutoff=0.8)
        if alike and alike[0] not in step:
            raise ValueError(f"{name}: there is no such field; did you mean {alike[0]}?")
    step = _with_use_case(step)
    return {
        **step,
        "wired_fields": wired_fields(step),
        "step_fingerprint": step_fingerprint(step),
    }


def step_fingerprint(step: dict[str, Any]) -> str:
    """What tells this step from others of the same name in other workflows.

    The workflow itself cannot be seen from a block, but its step can: name, literals and wires.
    """
    definition = {key: step[key] for key in step if key not in COMPUTED_FIELDS}
    text = json.dumps(definition, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def wired_fields(step: dict[str, Any]) -> list[str]:
    """The fields whose being empty means that there is nothing to record.

    Those with pictures and predictions, if any is connected; else the data from earlier steps.
    An entry of a mapping is written as `extra_images.top`.
    """
    pictures = _holding_selectors(step, PICTURE_FIELDS, ("$inputs.", "$steps."))
    return pictures or _holding_selectors(step, (*DATA_FIELDS, "custom_metadata"), ("$steps.",))


def _holding_selectors(
    step: dict[str, Any], names: tuple[str, ...], prefixes: tuple[str, ...]
) -> list[str]:
    found = []
    for name in names:
        value = step.get(name)
        entries = (
            {f"{name}.{key}": inner for key, inner in value.items()}
            if isinstance(value, dict)
            else {name: value}
        )
        found += [
            path
            for path, entry in entries.items()
            if isinstance(entry, str) and entry.startswith(prefixes)
        ]
    return found


def checked(value: Any, check: Callable[[Any], object]) -> Any:
    """A literal value after its check; what comes over a wire is checked when it comes."""
    if value is not None and not _is_selector(value):
        check(value)
    return value


def jpeg_quality(value: Any) -> int:
    """The quality as OpenCV takes it; raises UnfitEvent outside of 1 to 100."""
    return _whole_number(value, "jpeg_quality", 1, 100)


def max_image_side(value: Any) -> int:
    """The longest side in pixels; raises UnfitEvent where no picture would be left."""
    return _whole_number(value, "max_image_side", 16, MAX_JPEG_SIDE_PX)


def _whole_number(value: Any, name: str, least: int, most: int) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or number != value or not least <= number <= most:
        raise UnfitEvent(f"{name} must be a whole number from {least} to {most}, not {value!r}")
    return number


def _with_use_case(step: dict[str, Any]) -> dict[str, Any]:
    """The step with the official block's name for the use case read as ours."""
    if USE_CASE_ALIAS not in step:
        return step
    given = step[USE_CASE_ALIAS]
    if step.get("use_case", given) != given:
        raise ValueError(f"use_case: also given as `{USE_CASE_ALIAS}`, another one; keep one")
    return {**{key: step[key] for key in step if key != USE_CASE_ALIAS}, "use_case": given}


def _is_selector(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("$inputs.", "$steps."))

"""What can be told from a step's definition before anything runs."""

from __future__ import annotations

import hashlib
import json
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from vision_event_block.blocks.inputs import MAIN_PICTURES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

#: The official block's name for the use case, which a step may keep when its type is changed.
USE_CASE_ALIAS = "solution"
#: Filled in from the step's definition, whatever stands there.
FINGERPRINT = "step_fingerprint"


#: The codes are the host's own, for caveats that mean the same.
COOLDOWN_BEGINS_AGAIN: Final[dict[str, Any]] = {
    "code": "cooldown_timer_resets_on_stateless_http",
    "note": "The cooldown is kept in the server's process, and in Redis where the host has one. "
    "Still pictures without a Stream ID or Cooldown Key are counted per block, so that separate "
    "requests do not throttle each other.",
    "runtimes": ["hosted_serverless", "dedicated_deployment"],
}
STORY_IS_NOT_KEPT: Final[dict[str, Any]] = {
    "code": "stateful_video_state_resets_on_stateless_http",
    "note": "A block that lives for one request has seen nothing before it and sees nothing after "
    "it: Seconds Before and Seconds After add no pictures there. Use a pipeline.",
    "runtimes": ["hosted_serverless", "dedicated_deployment"],
}
FOLLOWS_NOTHING_OVER_HTTP: Final[dict[str, Any]] = {
    "code": "stateful_video_state_resets_on_stateless_http",
    "note": "Objects are followed from frame to frame, which needs a pipeline: over HTTP a block "
    "lives for one request and records nothing.",
    "runtimes": ["hosted_serverless", "dedicated_deployment"],
}
LOST_WITH_THE_DISK: Final[dict[str, Any]] = {
    "code": "ephemeral_container_disk_loses_writes",
    "note": "Events that wait for the network are kept on disk, and are lost with a container "
    "that has no volume.",
    "runtimes": ["hosted_serverless"],
}


def read_step(step: dict[str, Any], field_names: Collection[str]) -> dict[str, Any]:
    """The step's definition with our names for its fields and a fingerprint of it.

    Raises:
        ValueError: a field is misspelled, given twice, or asks for what this version cannot do.
    """
    known = set(field_names)
    for name in step:
        # Other unknown fields are the editor's or another version's and do no harm.
        alike = [] if name in known else get_close_matches(name, known, n=1, cutoff=0.8)
        if alike and alike[0] not in step:
            raise ValueError(f"{name}: there is no such field; did you mean {alike[0]}?")
    step = _with_use_case(step)
    _check_labels(step)
    return {**step, FINGERPRINT: step_fingerprint(step)}


def step_fingerprint(step: dict[str, Any]) -> str:
    """Distinguishes this step from others of the same name in other workflows.

    A block cannot see the workflow, but it can see its step: name, literals and connections.
    """
    definition = {key: step[key] for key in step if key != FINGERPRINT}
    text = json.dumps(definition, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def checked(value: Any, check: Callable[[Any], object]) -> Any:
    """A literal value after its check; a connected value is checked when it arrives."""
    if value is not None and not _is_selector(value):
        check(value)
    return value


def _with_use_case(step: dict[str, Any]) -> dict[str, Any]:
    """The step with the official block's name for the use case read as ours."""
    given = {name: step[name] for name in ("use_case", USE_CASE_ALIAS) if step.get(name)}
    if not given:
        raise ValueError("use_case: a step needs the use case that its events belong to")
    if len(set(map(str, given.values()))) > 1:
        raise ValueError(
            f"use_case: also given as `{USE_CASE_ALIAS}`, with another value; keep one"
        )
    rest = {key: step[key] for key in step if key != USE_CASE_ALIAS}
    return {**rest, "use_case": next(iter(given.values()))}


def _check_labels(step: dict[str, Any]) -> None:
    """Checks that every reference to an extra image names an existing label."""
    labels = step.get("extra_images")
    labels = [*labels] if isinstance(labels, dict) else []
    referring = step.get("extra_predictions")
    for label in referring if isinstance(referring, dict) else ():
        if label not in labels:
            raise ValueError(f"extra_predictions.{label}: extra_images has no picture {label!r}")
    shown = step.get("display_image")
    if (
        isinstance(shown, str)
        and not _is_selector(shown)
        and shown not in (*MAIN_PICTURES, *labels)
    ):
        raise ValueError(
            f"display_image: {shown!r} is neither output, input nor the label of an extra image"
        )


def _is_selector(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("$inputs.", "$steps."))

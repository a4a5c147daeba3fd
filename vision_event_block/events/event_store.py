"""The event store on the device: an event as the body of its `POST /v2/events`.

It is a different service from the Vision Events API: it has its own names at the top level, the
API's inside `event_data` and `images`, and the pictures in the body. It assigns event ids itself,
and it has no `comment`, which therefore travels in the custom metadata.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final

from vision_event_block.contract import limits
from vision_event_block.contract.names import PictureKeys
from vision_event_block.contract.text import cut, utf16_length
from vision_event_block.events.adjustments import Adjustment
from vision_event_block.events.bundle import picture_members, referring

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The metadata key for the comment on operator feedback.
COMMENT_KEY: Final = "feedback_comment"

_PICTURES: Final = PictureKeys("base64Image", "inputBase64Image")
_NAMES: Final = {
    "useCaseId": "solution",
    "deviceId": "device_id",
    "streamId": "stream_id",
    "workflowId": "workflow_id",
    "workflowVersion": "workflow_version",
}


def event_store_body(payload: Mapping[str, Any], pictures: Mapping[str, bytes]) -> dict[str, Any]:
    """The body of `POST /v2/events`.

    Args:
        payload: The payload of a bundle.
        pictures: JPEG bytes by member. A missing one is left out, and so is an image that is
            then empty.
    """
    base64 = {
        member: b64encode(pictures[member]).decode("ascii")
        for member in picture_members(payload)
        if member in pictures
    }
    metadata, _ = _metadata(payload)
    body: dict[str, Any] = {
        "inference_timestamp": payload["timestamp"],
        "event_schema": payload["eventType"],
        "event_data": payload.get("eventData", {}),
        **referring(payload, base64, _PICTURES),
        **{theirs: payload[ours] for ours, theirs in _NAMES.items() if ours in payload},
    }
    if metadata:
        body["custom_metadata"] = metadata
    return body


def event_store_adjustments(payload: Mapping[str, Any]) -> list[Adjustment]:
    """How the event store's copy will differ from the payload, pictures aside."""
    return _metadata(payload)[1]


def _metadata(payload: Mapping[str, Any]) -> tuple[dict[str, Any], list[Adjustment]]:
    """The custom metadata, with the comment included if there is room."""
    metadata = dict(payload.get("customMetadata", {}))
    comment = payload.get("comment")
    if not comment:
        return metadata, []
    if COMMENT_KEY in metadata or len(metadata) >= limits.MAX_METADATA_KEYS:
        what = f"left out, as custom_metadata has no room for {COMMENT_KEY}"
    else:
        metadata[COMMENT_KEY] = cut(comment, limits.MAX_METADATA_VALUE_CHARS)
        was_cut = metadata[COMMENT_KEY] != comment
        what = f"sent as {COMMENT_KEY} in custom_metadata" + (
            f", cut from {utf16_length(comment)} characters" if was_cut else ""
        )
    return metadata, [Adjustment("comment", what, "the event store has no place for it")]

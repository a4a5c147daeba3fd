"""Events in the format of a device's event store, which are accepted here too. Pure.

Their bodies use other names than the API's and hold the pictures themselves. Unknown keys of
`event_data` are refused, though the API might keep such an event with a warning.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from vision_event_block.contract import limits
from vision_event_block.server.api import rules
from vision_event_block.server.api.event_rules import (
    ANNOTATIONS,
    ANY_EVENT_DATA,
    EVENT_DATA,
    FIELDS,
    IDENTITY,
    METADATA,
)
from vision_event_block.server.api.ingest import RequestRefused, event_time

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

UNPROCESSABLE: Final = 422
#: The use case of events without one, which the event store allows.
UNASSIGNED: Final = "unassigned"

_PICTURE_KEYS: Final = MappingProxyType(
    {"base64Image": "sourceId", "inputBase64Image": "inputSourceId"}
)
#: The event store's name -> the API's. A null counts as absent.
_NAMES: Final = MappingProxyType(
    {
        "solution": "useCaseId",
        "event_data": "eventData",
        "custom_metadata": "customMetadata",
        "device_id": "deviceId",
        "stream_id": "streamId",
        "workflow_id": "workflowId",
        "workflow_version": "workflowVersion",
        "displayImagePosition": "displayImagePosition",
    }
)
#: What `read_device_event` accepts, for the OpenAPI document.
DEVICE_EVENT: Final = rules.record(
    {
        "inference_timestamp": rules.text(form="date-time"),
        "event_schema": IDENTITY["eventType"],
        "event_data": ANY_EVENT_DATA.described("Unknown keys are refused."),
        "images": rules.array(
            rules.record(
                {**ANNOTATIONS, **dict.fromkeys(_PICTURE_KEYS, rules.nullable(rules.text()))}
            ).named("DeviceImage", "A view of an event, with its pictures."),
            maximum=limits.MAX_IMAGES,
        ),
        "solution": rules.nullable(rules.text(limits.MAX_USE_CASE_ID_CHARS)).described(
            "The use case."
        ),
        "custom_metadata": METADATA,
        **{
            theirs: rules.nullable(FIELDS[ours])
            for theirs, ours in _NAMES.items()
            if ours in FIELDS
        },
    },
    ("inference_timestamp", "event_schema", "event_data"),
    is_open=True,
).named("DeviceEvent", "An event as devices send it to their event store.")


@dataclass(frozen=True)
class DeviceEvent:
    """A device's event, before its pictures have ids."""

    #: The API's body, still without `sourceId` and `inputSourceId`.
    body: dict[str, Any]
    #: By the position of the image and the key for the picture's id in it.
    pictures: Mapping[tuple[int, str], bytes] = field(repr=False)

    def create_body(self, source_ids: Mapping[tuple[int, str], str]) -> dict[str, Any]:
        """The body of `POST /vision-events`, given the id of each picture."""
        if not source_ids:
            return self.body
        images = [dict(image) for image in self.body["images"]]
        for (position, key), source_id in source_ids.items():
            images[position][key] = source_id
        return {**self.body, "images": images}


def read_device_event(body: Any, *, event_id: str, now: datetime) -> DeviceEvent:
    """The event in a body of `POST /v2/events`, under an id that the caller generates.

    Raises:
        RequestRefused: it is not a valid event.
    """
    if not isinstance(body, dict):
        raise RequestRefused("an event must be a JSON object", UNPROCESSABLE)
    event_type: Any = body.get("event_schema")
    if not IDENTITY["eventType"].allows(event_type):
        words = f"event_schema must be one of {', '.join(limits.EVENT_TYPES)}"
        raise RequestRefused(words, UNPROCESSABLE)
    try:
        event_time(body.get("inference_timestamp"), now=now, name="inference_timestamp")
    except RequestRefused as refused:
        raise RequestRefused(refused.words, UNPROCESSABLE) from None
    if "event_data" not in body:
        raise RequestRefused("event_data is required", UNPROCESSABLE)
    for violation in EVENT_DATA[event_type](body["event_data"], "event_data"):
        raise RequestRefused(f"{violation.path} is not accepted ({violation.code})", UNPROCESSABLE)
    images, pictures = _images(body.get("images"))
    return DeviceEvent(
        {
            "eventId": event_id,
            "eventType": event_type,
            "timestamp": body["inference_timestamp"],
            "useCaseId": UNASSIGNED,
            "images": images,
            **{ours: body[key] for key, ours in _NAMES.items() if body.get(key) is not None},
        },
        pictures,
    )


def _images(given: Any) -> tuple[list[dict[str, Any]], dict[tuple[int, str], bytes]]:
    if given is None:
        return [], {}
    if not isinstance(given, list) or not all(isinstance(image, dict) for image in given):
        raise RequestRefused("images must be a list of objects", UNPROCESSABLE)
    if len(given) > limits.MAX_IMAGES:
        raise RequestRefused(f"images must hold at most {limits.MAX_IMAGES}", UNPROCESSABLE)
    pictures = {}
    for position, image in enumerate(given):
        for key, ours in _PICTURE_KEYS.items():
            if image.get(key) is not None:
                pictures[position, ours] = _decoded(image[key], f"images.{position}.{key}")
    kept = [
        {key: value for key, value in image.items() if key not in _PICTURE_KEYS} for image in given
    ]
    return kept, pictures


def _decoded(given: Any, path: str) -> bytes:
    try:
        # A picture may come as a data URL: `data:image/png;base64,...`.
        head, comma, rest = given.partition(",")
        return b64decode(rest if comma and head.startswith("data:") else given, validate=True)
    except (AttributeError, TypeError, ValueError, binascii.Error):
        raise RequestRefused(f"{path} is not base64", UNPROCESSABLE) from None

"""The metadata of one image of an event, apart from the event's own. Pure.

It is not documented under which key of an image the API has it. So it is read from the likeliest
one, `metadata`, and likewise from any other object in an image.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from vision_event_block.contract import limits
from vision_event_block.contract.names import IMAGE_KEYS, IMAGE_METADATA

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def image_metadata(image: Mapping[str, Any]) -> dict[str, str | float | bool]:
    """The keys and values of an image that comply with the rules for metadata, up to their limit.

    >>> image_metadata({"metadata": {"gain": 2, "lens": {}}, "camera": {"gain": 9, "at": "N"}})
    {'gain': 2, 'at': 'N'}
    """
    found: dict[str, str | float | bool] = {}
    for key, value in islice(_pairs(image), limits.MAX_METADATA_KEYS):
        found.setdefault(key, value)
    return found


def _pairs(image: Mapping[str, Any]) -> Iterator[tuple[str, str | float | bool]]:
    for name in dict.fromkeys((IMAGE_METADATA, *image)):
        inner = image.get(name)
        if name not in IMAGE_KEYS and isinstance(inner, dict):
            for key, value in inner.items():
                if _is_key(key) and _is_value(value):
                    yield key, value


def _is_key(key: str) -> bool:
    is_short = len(key) <= limits.MAX_METADATA_KEY_CHARS
    return is_short and limits.METADATA_KEY_PATTERN.fullmatch(key) is not None


def _is_value(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= limits.MAX_METADATA_VALUE_CHARS
    return isinstance(value, (bool, int, float)) and abs(value) <= limits.MAX_EXACT_INTEGER

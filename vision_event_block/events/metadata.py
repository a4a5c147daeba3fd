"""Custom metadata: any mapping turned into the flat one that the API takes."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, TypeAlias

from vision_event_block.contract import limits
from vision_event_block.contract.text import cut
from vision_event_block.events.adjustments import Adjustment
from vision_event_block.events.values import as_text, plain

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

MetadataValue: TypeAlias = str | int | float | bool

FIELD = "customMetadata"

_ILLEGAL_IN_KEY = re.compile(r"[^a-zA-Z0-9_ -]")


def clean_metadata(
    metadata: Mapping[Any, Any], field: str = FIELD
) -> tuple[dict[str, MetadataValue], list[Adjustment]]:
    """The metadata with legal keys and values, and what had to be changed for it."""
    adjustments: list[Adjustment] = []
    kept: dict[Any, MetadataValue] = {}
    for key, value in metadata.items():
        cleaned, change = clean_value(value)
        if change:
            adjustments.append(Adjustment(field, f"{_quoted(key)} {change[0]}", change[1]))
        if cleaned is not None:
            kept[key] = cleaned
    if len(kept) > limits.MAX_METADATA_KEYS:
        adjustments.append(
            Adjustment(
                field,
                f"the first {limits.MAX_METADATA_KEYS} of {len(kept)} keys kept",
                f"the API takes at most {limits.MAX_METADATA_KEYS}",
            )
        )
        kept = dict(list(kept.items())[: limits.MAX_METADATA_KEYS])

    # Legal keys keep their names; only the others are renamed when two would clash.
    taken = {key for key in kept if _is_legal_key(key)}
    result: dict[str, MetadataValue] = {}
    for key, cleaned in kept.items():
        if _is_legal_key(key):
            name = key
        else:
            name = clean_key(key, taken=taken)
            taken.add(name)
            if name != as_text(key):
                adjustments.append(
                    Adjustment(
                        field,
                        f"key {_quoted(key)} became {_quoted(name)}",
                        "keys hold letters, digits, '_', '-' and spaces, "
                        f"at most {limits.MAX_METADATA_KEY_CHARS}",
                    )
                )
        result[name] = cleaned
    return result, adjustments


def clean_key(key: object, *, taken: Collection[str] = ()) -> str:
    """A legal key close to the given one and not among `taken`.

    >>> clean_key("temp.°C", taken={"temp__C"})
    'temp__C_2'
    """
    base = _ILLEGAL_IN_KEY.sub("_", as_text(key))[: limits.MAX_METADATA_KEY_CHARS] or "_"
    name, number = base, 1
    while name in taken:
        number += 1
        suffix = f"_{number}"
        name = base[: limits.MAX_METADATA_KEY_CHARS - len(suffix)] + suffix
    return name


def clean_value(value: Any) -> tuple[MetadataValue | None, tuple[str, str] | None]:
    """The value as string, number or boolean; None if it holds nothing.

    The second part says what was done to it and why, if something was lost or reshaped.
    Dates become ISO text, enumerations their value and numpy scalars plain ones; numbers are
    rounded to the API's decimals. None of that counts as a change.
    """
    value = plain(value)
    if value is None or value == "":
        return None, ("left out", "the API takes no empty values")
    if isinstance(value, bool):
        return value, None
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value), ("sent as text", "JSON has no such number")
        value = round(value, limits.METADATA_DECIMALS)
    if isinstance(value, int | float):
        if abs(value) > limits.MAX_EXACT_INTEGER:
            return _short(as_text(value)), ("sent as text", "too large for an exact number")
        return value, None
    change = None
    if not isinstance(value, str):
        change = ("sent as JSON text", "the API takes no nested values")
    text = as_text(value)
    short = _short(text)
    if short != text:
        limit = limits.MAX_METADATA_VALUE_CHARS
        change = (f"cut to {limit} characters", f"the API takes at most {limit}")
    return short, change


def _short(text: str) -> str:
    return cut(text, limits.MAX_METADATA_VALUE_CHARS)


def _is_legal_key(key: object) -> bool:
    return (
        type(key) is str
        and len(key) <= limits.MAX_METADATA_KEY_CHARS
        and limits.METADATA_KEY_PATTERN.fullmatch(key) is not None
    )


def _quoted(key: object) -> str:
    return repr(cut(as_text(key), 40))

"""Any value the host hands over, as one of the few types that JSON knows."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

import numpy as np

from vision_event_block.contract.limits import MAX_EXACT_INTEGER
from vision_event_block.contract.text import clean_text, cut, utf16_length
from vision_event_block.events.adjustments import Adjustment

#: Values nested deeper than this are written as the name of their type.
MAX_NESTING = 20
#: Larger integers are described, not written out; Python refuses to print huge ones.
MAX_PRINTED_BITS = 10_000


def plain(value: Any) -> Any:
    """The value as str, int, float, bool, None, or a mapping or list of unknown content.

    Dates become ISO text, time spans seconds, enumerations their value, numpy scalars and
    zero-dimensional tensors plain numbers.

    >>> plain(np.float32(0.5)), plain(date(2026, 3, 1))
    (0.5, '2026-03-01')
    """
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None:
        return None
    for basic in (bool, str, int, float):
        if isinstance(value, basic):  # subclasses (np.str_, np.float64) become what they stand for
            return basic(value)
    if isinstance(value, (Mapping, list)):
        return value
    if isinstance(value, np.generic):
        return plain(value.item()) if value.dtype.kind in "biuf" else str(value)
    if hasattr(value, "tolist"):  # arrays and tensors
        return plain(value.tolist())
    return _plain_library_type(value)


def _plain_library_type(value: Any) -> Any:
    if isinstance(value, (date, time)):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return float(value) if value.is_finite() else str(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "replace")
    return str(value)


def as_text(value: Any) -> str:
    """The value as clean text; mappings and lists as short JSON.

    >>> as_text({"a": (1, 2)})
    '{"a":[1,2]}'
    """
    value = plain(value)
    if isinstance(value, (Mapping, list)):
        nested = _nested(value, MAX_NESTING)
        value = json.dumps(nested, ensure_ascii=False, separators=(",", ":"))
    elif isinstance(value, int) and value.bit_length() > MAX_PRINTED_BITS:
        value = f"an integer of {value.bit_length()} bits"
    return clean_text(value)


def short_text(given: Any, name: str, *, max_chars: int) -> tuple[str | None, list[Adjustment]]:
    """The text of a field within its limit; None if there is none."""
    text = as_text(given) if given is not None else ""
    short = cut(text, max_chars)
    if short == text:
        return text or None, []
    what = f"cut from {utf16_length(text)} characters"
    return short, [Adjustment(name, what, f"the API takes at most {max_chars}")]


def _nested(value: Any, depth: int) -> Any:
    value = plain(value)
    if isinstance(value, (Mapping, list)) and depth <= 0:
        return type(value).__name__
    if isinstance(value, Mapping):
        return {as_text(key): _nested(inner, depth - 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [_nested(inner, depth - 1) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and abs(value) > MAX_EXACT_INTEGER:
        return as_text(value)
    return value

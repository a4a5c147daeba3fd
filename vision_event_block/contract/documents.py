"""Untrusted JSON, read so that what comes out can be stored and sent back."""

from __future__ import annotations

import gc
import json
import re
import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np

from vision_event_block.contract.text import clean_text

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Escapes of NUL and of surrogates, which databases and UTF-8 cannot hold when alone.
_SUSPECT: Final = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


#: Lists and objects in a document, and values in all of them. The largest event that fits into a
#: body has fewer, and a million empty lists take a hundred megabytes.
MAX_CONTAINERS: Final = 1_000_000
MAX_VALUES: Final = 4_000_000
#: Levels of nesting. An event has seven.
MAX_DEPTH: Final = 64
_LARGE_BYTES: Final = 2**20
#: Held while garbage collection is off, so that two threads do not switch it at the same time.
_collecting: Final = threading.Lock()
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
#: The bit that tells an opening bracket from a closing one, of either kind.
_OPENS: Final = 2


class NotJson(ValueError):  # noqa: N818 -- named for what it is
    """The text is not JSON that can be kept; the message says why."""


def parse_json(content: bytes) -> Any:
    """The document, with U+FFFD in place of characters that cannot be stored.

    Raises:
        NotJson: it is not JSON, holds NaN or a number that is too large, holds too much, or is
            nested too deep.
    """
    may_be_deep = _refuse_endless(content)
    try:
        with _collecting_later() if len(content) > _LARGE_BYTES else nullcontext():
            document = json.loads(
                content.decode("utf-8-sig"), parse_constant=_refuse, parse_float=_finite
            )
        if may_be_deep:
            _refuse_deep(document)
        # A file cannot hold a bare NUL or half a surrogate pair as UTF-8 JSON, only escaped.
        return _cleaned(document) if _SUSPECT.search(content) else document
    except NotJson:
        raise
    except UnicodeDecodeError:
        raise NotJson("it is not UTF-8") from None
    except RecursionError:
        raise NotJson("it is nested too deep") from None
    except json.JSONDecodeError as error:
        raise NotJson(f"{error.msg}, line {error.lineno} column {error.colno}") from None
    except ValueError:
        raise NotJson("it holds a number with too many digits") from None


@contextmanager
def _collecting_later() -> Iterator[None]:
    """Puts off garbage collection, for a document has no garbage.

    Nothing else runs while one is read, and scanning all that has been read, again and again,
    takes several times as long as reading it.
    """
    with _collecting:
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if was_enabled:
                gc.enable()


def _refuse_endless(content: bytes) -> bool:
    """Refuses what would take too long to read, by its punctuation; returns whether it may be deep.

    Punctuation in texts counts as well, but no text of an event has that much.
    """
    brackets = np.frombuffer(content.translate(None, _NO_BRACKETS), np.uint8)
    opening = brackets & _OPENS
    containers = np.count_nonzero(opening)
    if containers > MAX_CONTAINERS:
        raise NotJson(f"it holds more than {MAX_CONTAINERS} lists and objects")
    if containers + content.count(b",") > MAX_VALUES:
        raise NotJson(f"it holds more than {MAX_VALUES} values")
    if containers <= MAX_DEPTH:
        return False
    depths = np.cumsum(opening.astype(np.int8) - 1, dtype=np.int64)
    return bool(depths.max() > MAX_DEPTH)


def _refuse_deep(document: Any) -> None:
    """The same once more, now without the brackets in texts."""
    level, depth = [document], 0
    while level := [each for each in level if isinstance(each, (list, dict))]:
        depth += 1
        if depth > MAX_DEPTH:
            raise NotJson(f"it is nested deeper than {MAX_DEPTH}")
        level = [
            inner for each in level for inner in (each.values() if isinstance(each, dict) else each)
        ]


def _refuse(constant: str) -> NoReturn:
    raise NotJson(f"{constant} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise NotJson("it holds a number that is too large")
    return number


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):
        return [_cleaned(inner) for inner in value]
    if isinstance(value, dict):
        return {clean_text(key): _cleaned(inner) for key, inner in value.items()}
    return value

"""JSON of strangers, read so that whatever comes out can be stored and answered again."""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

from vision_event_block.events.text import clean_text

#: Escapes of NUL and of surrogates, which databases and UTF-8 cannot hold when alone.
_SUSPECT: Final = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


class NotJson(ValueError):  # noqa: N818 -- named for what it is
    """The text is no JSON that can be kept; the message says why."""


def parse_json(content: bytes) -> Any:
    """The document, with U+FFFD in place of characters that cannot be stored.

    Raises:
        NotJson: it is none, it holds NaN or a number beyond all measure, or it is nested too deep.
    """
    try:
        document = json.loads(
            content.decode("utf-8-sig"), parse_constant=_refuse, parse_float=_finite
        )
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

"""Text that any JSON parser and any database takes, within a limit."""

from __future__ import annotations

ELLIPSIS = "…"


def clean_text(value: object) -> str:
    r"""`str(value)` without lone surrogates and NUL, which strict parsers refuse.

    >>> clean_text("a\x00b")
    'a�b'
    """
    text = str(value)
    if text.isascii() and "\x00" not in text:
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\x00", "�")


def cut(text: str, max_chars: int) -> str:
    """The text itself, or its beginning and an ellipsis, together `max_chars` long.

    The length is counted in UTF-16 units, as JavaScript does: an emoji counts twice.

    >>> cut("conveyor", 5)
    'conv…'
    """
    if utf16_length(text) <= max_chars:
        return text
    kept = text.encode("utf-16-le")[: 2 * (max_chars - len(ELLIPSIS))]
    return kept.decode("utf-16-le", "ignore") + ELLIPSIS


def utf16_length(text: str) -> int:
    """The length that a JavaScript validator sees."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2

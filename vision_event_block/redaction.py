"""Keeps passwords in addresses and control characters out of logs, labels and terminals.

Names, answers and addresses come from elsewhere. A line end in one of them would forge a log line,
and an escape sequence would control the operator's terminal.
"""

from __future__ import annotations

import re
from typing import Final
from unicodedata import category

#: `user:password@` of an address, up to its last `@` before a path begins.
_USER_INFO: Final = re.compile(r"(?<=://)[^/\s?#]*(?=@)")
#: Control characters, those that turn the direction of writing, and line ends of Unicode.
_UNPRINTABLE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def without_passwords(text: str) -> str:
    """The text with everything before the `@` of an address masked.

    >>> without_passwords("no route to https://ann:s3cret@api.example/v1")
    'no route to https://***@api.example/v1'
    """
    return _USER_INFO.sub("***", text)


def printable(text: str) -> str:
    r"""The text on one line, with its control characters spelt out.

    >>> print(printable("a\nb \x1b[2J c\u202e"))
    a\nb \x1b[2J c\u202e
    """
    if text.isprintable():  # the usual case; Python's notion is ours or stricter
        return text
    return "".join(_spelt_out(char) if category(char) in _UNPRINTABLE else char for char in text)


def _spelt_out(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
